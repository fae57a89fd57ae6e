"""People whose entries are no longer read and still there: disabled beside the filter, moved out, or deleted (E1).

Every test runs with whole readings that plan everybody, and with those of which only differences are planned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from connector.reconcile import run
from connector.reconcile.reading import traced
from connector.reconcile.run import Setup
from connector.reconcile.show.outcome import RunOutcome, RunState
from ledger.store import people, seats
from ledger.store.engine import Ledger
from tests.parts.directories import (
    ORGANIZATION,
    HandSource,
    Somebody,
    TracingSource,
    World,
    make_world,
    mapping,
    open_gate,
    policy,
    stand_in_gate,
)
from tests.parts.fences import ALONE

OFF = {"PauseSeat": 1, "DisableIdentity": 1}
STAFF = ("anna", "bo", "cy", "dan")
BO = "bo@acme.example"


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


@dataclass
class Firm:
    """A company that was applied once; every run is an hour after the one before."""

    world: World
    source: TracingSource
    everybody: bool

    @property
    def setup(self) -> Setup:
        return replace(self.world.setup, whole_every=timedelta() if self.everybody else timedelta(days=100))

    async def run(self, **later: float) -> RunOutcome:
        now = self.world.later(**(later or {"hours": 1}))
        return await run.apply(self.world.ledger, self.setup, fence=ALONE, now=now, actor="test", auto=True)

    async def plan(self) -> run.Planned:
        return await run.plan(self.world.ledger, self.setup, now=self.world.now)

    async def states(self) -> dict[str, str]:
        async with self.world.ledger.read(ORGANIZATION.id) as reader:
            return {row[3].partition("@")[0]: row[7] for row in await people.open_identities(reader)}

    async def seats(self) -> dict[str, str]:
        async with self.world.ledger.read(ORGANIZATION.id) as reader:
            who = {row[1]: row[3].partition("@")[0] for row in await people.open_identities(reader)}
            return {who[row[5]]: row[6] for row in await seats.open_seats(reader)}


@pytest.fixture(params=[True, False], ids=["everybody", "differences"])
async def firm(request: pytest.FixtureRequest, ledger: Ledger, now: datetime) -> Firm:
    chosen = policy(mapping("design", "Design", "CAD"), offboarding={"release_after": "5d", "remove_after": "30d"})
    world = await make_world(ledger, now, chosen, Design_CAD=50)
    source = world.source = TracingSource(groups={"design": []})
    source.put(*(Somebody(uid, number=f"n{uid}") for uid in STAFF), groups=["design"])
    here = Firm(world, source, request.param)
    assert (await here.run()).state is RunState.APPLIED
    return here


def still_listed(source: HandSource, uid: str) -> None:
    """The group was not told."""
    source.unresolved["design"] = {f"uid={uid},ou=People"}


def cause(planned: run.Planned) -> str:
    return next(c.cause for bundle in planned.plan.bundles for c in bundle.changes if c.kind == "DisableIdentity")


@pytest.mark.parametrize("listed", [False, True])
async def test_e1_whoever_is_disabled_beside_the_filter_is_disabled_by_one_reading(firm: Firm, listed: bool) -> None:
    firm.source.leave("bo", disabled=True)
    if listed:
        still_listed(firm.source, "bo")
    said = "the entry is disabled (disabled is yes), beside the filter or outside the base: uid=bo,ou=People"
    assert cause(await firm.plan()) == said
    outcome = await firm.run()
    assert (dict(outcome.counts), outcome.exit_code) == (OFF, 0)
    assert (await firm.states())["bo"] == "disabled"
    assert not any(BO in problem.subjects for problem in outcome.problems)


async def test_e1_nothing_is_asked_where_nobody_is_missing(firm: Firm) -> None:
    await firm.run()
    await firm.plan()
    assert firm.source.asked == []
    firm.source.leave("bo", disabled=True)
    await firm.run()
    assert firm.source.asked == [("anchor-bo",)]
    for _ in range(3):
        assert (await firm.run()).state is RunState.NOTHING
        await firm.plan()
    assert len(firm.source.asked) == 1, "who has left already is not asked after"


@pytest.mark.parametrize("then", ["stays outside", "is deleted", "is still listed", "its group is gone"])
async def test_e1_what_was_stated_stays_stated_through_every_stage(firm: Firm, then: str) -> None:
    firm.source.leave("bo", disabled=True)
    await firm.run()
    assert (await firm.seats())["bo"] == "paused"
    if then != "stays outside":
        firm.source.elsewhere.clear()
    if then == "is still listed":
        still_listed(firm.source, "bo")
    if then == "its group is gone":
        firm.source.missing.add("design")
    assert dict((await firm.run(days=4)).counts) == {}
    assert dict((await firm.run(days=2)).counts) == {"ReleaseSeat": 1}
    assert (await firm.run(days=30)).counts["RemoveIdentity"] == 1
    assert "bo" not in await firm.seats()


async def test_e1_an_enabled_entry_reinstates_only_where_it_is_read(firm: Firm) -> None:
    firm.source.leave("bo", disabled=True)
    await firm.run()
    firm.source.elsewhere["bo"] = replace(firm.source.elsewhere["bo"], disabled=False)
    assert dict((await firm.run()).counts) == {}
    assert (await firm.states())["bo"] == "disabled"
    firm.source.come_back("bo", "design")
    assert dict((await firm.run()).counts) == {"Reinstate": 2}
    assert ((await firm.states())["bo"], (await firm.seats())["bo"]) == ("active", "invited")


async def test_e1_whoever_moved_out_enabled_is_absent_and_that_takes_two_readings(firm: Firm) -> None:
    firm.source.leave("bo")
    first = await firm.run()
    assert (dict(first.counts), [p.code for p in first.problems]) == ({}, ["unconfirmed"])
    assert dict((await firm.run()).counts) == OFF
    assert (await firm.states())["bo"] == "absent"
    asked = len(firm.source.asked)
    await firm.run()
    assert len(firm.source.asked) == asked


async def test_e1_a_value_that_is_the_present_name_of_who_left_the_filter_is_no_doubt(firm: Firm) -> None:
    firm.source.leave("bo")
    still_listed(firm.source, "bo")
    assert [dict((await firm.run()).counts) for _ in range(2)] == [{}, OFF]


async def test_e1_who_is_kept_by_doubt_and_disabled_later_leaves(firm: Firm) -> None:
    firm.source.leave("bo")
    firm.source.elsewhere["bo"] = replace(firm.source.elsewhere["bo"], uid="archived", anchor="anchor-bo", mail=BO)
    still_listed(firm.source, "bo")
    for _ in range(3):
        assert dict((await firm.run()).counts) == {}
    firm.source.elsewhere["bo"] = replace(firm.source.elsewhere["bo"], disabled=True)
    assert dict((await firm.run()).counts) == OFF


async def test_e1_a_deletion_that_the_server_proves_acts_at_once(firm: Firm) -> None:
    firm.source.drop("bo")
    firm.source.missing.add("design")
    firm.source.deleted.add("anchor-bo")
    assert dict((await firm.run()).counts) == OFF
    assert (await firm.states())["bo"] == "absent"


async def test_e1_where_it_cannot_be_asked_absence_counts_as_ever_and_that_is_said(firm: Firm) -> None:
    firm.source.deaf = "the server is away"
    firm.source.leave("bo", disabled=True)
    first = await firm.run()
    assert (dict(first.counts), first.exit_code) == ({}, 0)
    assert any("the server is away" in line for line in first.lines)
    second = await firm.run()
    assert (dict(second.counts), second.exit_code) == (OFF, 0)
    assert (await firm.states())["bo"] == "absent"


async def test_e1_another_directory_that_shows_the_person_spares_the_question(firm: Firm) -> None:
    second = HandSource("second")
    second.put(Somebody("bo", anchor="second-bo", number="nbo"))
    async with firm.world.ledger.write(ORGANIZATION.id, ALONE, at=firm.world.now) as book:
        who = {row[3]: row[1] for row in await people.open_identities(book)}
        await people.begin_links(book, [(who[BO], "second", "second-bo", "")])
    firm.world.others = (second,)
    firm.source.leave("bo", disabled=True)
    outcome = await firm.run()
    assert "DisableIdentity" not in outcome.counts
    assert firm.source.asked == []
    second.unknown["people:ou=People"] = "cut"
    second.drop("bo")
    outcome = await firm.run()
    assert (dict(outcome.counts), outcome.exit_code) == ({}, 4), "the other entry may be enabled"
    second.unknown.clear()
    assert dict((await firm.run()).counts)["DisableIdentity"] == 1


async def test_e6_a_new_entry_with_the_same_number_is_relinked_and_nobody_is_disabled(firm: Firm) -> None:
    firm.source.leave("bo", disabled=True)
    firm.source.put(Somebody("bo2", mail=BO, number="nbo"), groups=["design"])
    assert dict((await firm.run()).counts) == {"RelinkAnchor": 1, "UpdateIdentity": 1}
    assert (await firm.states())["bo"] == "active"


async def test_e6_a_new_entry_with_the_address_alone_keeps_no_leaver(firm: Firm) -> None:
    firm.source.leave("bo", disabled=True)
    firm.source.put(Somebody("boris", mail=BO, number="nboris"), groups=["design"])
    assert dict((await firm.run()).counts) == OFF


async def test_e13_so_many_missing_at_once_doubt_the_reading(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traced, "MOST", 2)
    for uid in STAFF[:2]:
        firm.source.leave(uid)
    assert dict((await firm.run()).counts) == {}
    assert firm.source.asked == [("anchor-anna", "anchor-bo")]
    firm.source.leave(STAFF[2], disabled=True)
    before: Any = await firm.states()
    for _ in range(3):
        outcome = await firm.run()
        assert (dict(outcome.counts), outcome.exit_code, outcome.state) == ({}, 4, RunState.UNKNOWN)
        assert any(line.startswith("DOUBTED 3 active people are not shown by directory corp") for line in outcome.lines)
        assert not [line.scope for line in outcome.scopes if line.scope.startswith("people:") and line.complete]
        assert await firm.states() == before
    assert len(firm.source.asked) == 1
    firm.source.come_back("cy", "design", disabled=False)
    outcome = await firm.run()
    assert (outcome.exit_code, outcome.counts["DisableIdentity"]) == (0, 2)


async def test_d11_nobody_is_looked_for_whom_the_gate_keeps(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traced, "MOST", 0)
    await open_gate(firm.world.ledger, firm.world.now, "other.example")
    firm.source.leave("bo", disabled=True)
    for _ in range(2):
        await firm.plan()
        outcome = await firm.run()
        assert (dict(outcome.counts), outcome.exit_code) == ({}, 0)
    assert firm.source.asked == []
    await open_gate(firm.world.ledger, firm.world.now, "acme.example")
    monkeypatch.setattr(traced, "MOST", 1)
    assert dict((await firm.run()).counts) == OFF
