"""G6: what an identity provider pushes changes the inbox at once, and nobody's seat outside a guarded plan.

On both databases; the inbox is the real one, filled through its store. The HTTP side is in acceptance/rosterd.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta

import pytest

from connector.directory.mapping import AttributeRules
from connector.directory.scim.inbox import Mailbox, ScimInboxSource
from connector.directory.scim.settings import ScimInboxSettings
from connector.reconcile import run
from connector.reconcile.policy.policy import Policy
from connector.reconcile.run import ConfiguredSource, Setup
from connector.reconcile.show.outcome import RunOutcome, RunState
from ledger.store import people, seats
from ledger.store.engine import Ledger
from ledger.store.inbox import Inbox
from tests.parts.directories import ORGANIZATION, World, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE
from tests.parts.pushing import Provider

STAFF = [f"p{number:02}" for number in range(30)]


class Firm:
    """An organization whose directory is an inbox."""

    def __init__(self, world: World, provider: Provider, setup: Setup) -> None:
        self.world = world
        self.provider = provider
        self.setup = setup

    async def run(self, **later: float) -> RunOutcome:
        self.provider.at = now = self.world.later(**later)
        return await run.apply(self.world.ledger, self.setup, fence=ALONE, now=now, actor="test", auto=True)

    async def approve(self, digest: str) -> RunOutcome:
        now = self.world.later(minutes=1)
        return await run.approve(
            self.world.ledger, self.setup, digest, reason="meant", actor="anna", fence=ALONE, now=now
        )

    async def seats(self) -> dict[str, str]:
        """Person → state of their seat."""
        async with self.world.ledger.read(ORGANIZATION.id) as reader:
            names = {row[1]: row[3].partition("@")[0] for row in await people.open_identities(reader)}
            return {names[row[5]]: row[6] for row in await seats.open_seats(reader)}

    async def in_team(self) -> int:
        async with self.world.ledger.read(ORGANIZATION.id) as reader:
            return len(await people.open_memberships(reader))


def guarded(**values: object) -> Policy:
    """The default limits: five people of thirty in a day."""
    return policy(mapping("cad", "Design", "CAD", directory="okta", **values), limits={})


@pytest.fixture
async def firm(ledger: Ledger, now: datetime, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Firm]:
    """Thirty people with seats, an empty view of nobody else."""
    stand_in_gate(monkeypatch)
    store = Inbox.open(ledger.url)
    await store.migrate()
    world = await make_world(ledger, now, guarded(), Design_CAD=40)
    settings = ScimInboxSettings(id="okta")
    source = ScimInboxSource(settings, Mailbox(store, ORGANIZATION.id))
    setup = Setup(ORGANIZATION, world.policy, (ConfiguredSource(source, AttributeRules.from_settings(settings)),))
    made = Firm(world, Provider(store, ORGANIZATION.id, "okta"), setup)
    await made.provider.hire(*STAFF, group="cad")
    digest = (await run.plan(ledger, setup, now=now)).digest
    await run.apply(ledger, setup, fence=ALONE, now=now, actor="test", digest=digest)
    world.later(days=2)
    assert len(await made.seats()) == len(STAFF)
    yield made
    await store.close()


Push = Callable[[Provider], Awaitable[None]]


async def _deletes(provider: Provider) -> None:
    await provider.delete(*STAFF[:20])


async def _deactivates(provider: Provider) -> None:
    await provider.deactivate(*STAFF[:20])


async def _both(provider: Provider) -> None:
    await provider.deactivate(*STAFF[:10])
    await provider.delete(*STAFF[10:20])


@pytest.mark.parametrize("push", [_deletes, _deactivates, _both])
async def test_g6_a_burst_changes_the_view_at_once_and_the_seats_wait(firm: Firm, push: Push) -> None:
    before = await firm.seats()
    await push(firm.provider)
    assert sum((await firm.provider.shown()).values()) == 10, "the view has it at once"
    held = await firm.run(minutes=1)
    assert (held.state, held.exit_code, held.held_counts) == (
        RunState.HELD, 3, {"DisableIdentity": 20, "PauseSeat": 20}
    )  # fmt: skip
    assert await firm.seats() == before
    again = await firm.run(hours=30)
    assert (again.state, again.held) == (RunState.HELD, held.held), "the same set waits, whatever time passes"
    assert await firm.seats() == before
    await firm.approve(held.held)
    after = await firm.seats()
    assert {name for name, state in after.items() if state == "paused"} == set(STAFF[:20])


async def test_g6_a_group_emptied_by_one_put_takes_nobodys_seat(firm: Firm) -> None:
    before = await firm.seats()
    await firm.provider.empty("cad")
    for _ in range(3):  # each of them a whole reading, long after the first one
        outcome = await firm.run(minutes=20)
        assert outcome.counts == {}
    assert (outcome.state, outcome.held_counts) == (RunState.HELD, {"LeaveTeam": 30, "ReleaseSeat": 30})
    assert (await firm.seats(), await firm.in_team()) == (before, 30)
    await firm.provider.hire("newbie", group="cad")
    await firm.run(minutes=20)
    assert "newbie" in await firm.seats(), "additions go on beside what is held"


async def test_g6_small_bursts_do_not_add_up_past_the_day(firm: Firm) -> None:
    """Three deletions every hour: after the fifth person of the day the rest waits (G1)."""
    for start in range(0, 12, 3):
        await firm.provider.delete(*STAFF[start : start + 3])
        outcome = await firm.run(hours=1)
    paused = [name for name, state in (await firm.seats()).items() if state == "paused"]
    assert len(paused) <= 5
    assert outcome.state is RunState.HELD


async def test_g6_one_deletion_is_positive_evidence_and_acts_at_once(firm: Firm) -> None:
    await firm.provider.delete("p07")
    outcome = await firm.run(minutes=1)
    assert outcome.counts == {"DisableIdentity": 1, "PauseSeat": 1}
    assert (await firm.seats())["p07"] == "paused"
    quiet = await firm.run(minutes=15)
    assert quiet.counts == {}, "the deletion counts once"
    assert (await firm.run(days=8)).counts == {"ReleaseSeat": 1}
    assert (await firm.run(days=31)).counts == {"LeaveTeam": 1, "RemoveIdentity": 1}


async def test_g6_who_is_active_again_has_everything_back(firm: Firm) -> None:
    before = await firm.seats()
    await firm.provider.deactivate("p01", "p02")
    await firm.run(minutes=1)
    assert (await firm.seats())["p01"] == "paused"
    await firm.provider.activate("p01", "p02")
    await firm.run(minutes=1)
    assert await firm.seats() == before


@pytest.mark.parametrize("whole_every", [timedelta(hours=24), timedelta(0)], ids=["near", "whole"])
async def test_g6_rows_lost_from_the_inbox_take_nothing_ever(firm: Firm, whole_every: timedelta) -> None:
    """A restored backup, a row that vanished: not there, and never deleted. No reading confirms that (D3)."""
    firm.setup = Setup(firm.setup.organization, firm.setup.policy, firm.setup.sources, whole_every)
    before = await firm.seats()
    await firm.provider.lose("p03", "p04")
    for _ in range(4):
        outcome = await firm.run(hours=7)
        assert outcome.counts == {}
        [said] = [problem for problem in outcome.problems if problem.code == "frozen"]
        assert "neither there nor was it deleted" in said.what
        assert set(said.subjects) == {"p03@acme.example", "p04@acme.example"}
    assert (await firm.seats(), await firm.in_team()) == (before, 30)


async def test_g6_an_empty_inbox_proves_nothing(firm: Firm) -> None:
    before = await firm.seats()
    await firm.provider.lose(*STAFF)
    outcome = await firm.run(hours=1)
    assert (outcome.state, outcome.exit_code) == (RunState.UNKNOWN, 4)
    assert await firm.seats() == before


async def test_g6_deleted_and_made_anew_with_the_same_number_is_the_same_person(firm: Firm) -> None:
    """D9: a hard delete and a new resource is a relink, not a leaver and a newcomer."""
    await firm.provider.hire("rita", group="cad", number="4711")
    await firm.run(minutes=1)
    await firm.provider.delete("rita")
    await firm.provider.hire("rita", group="cad", number="4711")
    outcome = await firm.run(minutes=1)
    assert outcome.counts == {"RelinkAnchor": 1}
    assert (await firm.seats())["rita"] == "invited"


async def test_g6_who_leaves_a_group_keeps_the_seat_until_a_second_reading(firm: Firm) -> None:
    await firm.provider.leave("cad", "p05")
    assert (await firm.run(minutes=1)).counts == {}
    assert (await firm.run(minutes=15)).counts == {"LeaveTeam": 1, "ReleaseSeat": 1}


async def test_e6_a_rehire_beside_the_deactivated_entry_waits_for_a_person(firm: Firm) -> None:
    """What Okta and Entra do: the old entry stays, ``active = false``, and the person comes back as a new one."""
    await firm.provider.deactivate("p18")
    await firm.provider.hire("p18.new", group="cad", mail="p18@acme.example")
    outcome = await firm.run(minutes=1)
    assert outcome.counts == {"DisableIdentity": 1, "PauseSeat": 1}, "stated: at once"
    (told,) = [problem.what for problem in outcome.problems if problem.code == "relink-waits"]
    back = {"Reinstate": 2, "UpdateIdentity": 1, "RelinkAnchor": 1}
    waits = await firm.run(minutes=15)
    assert (waits.counts, waits.held_counts) == ({}, back)
    for text in (told, "\n".join(waits.lines)):
        for part in ("okta:u-p18 ", "okta:u-p18.new", "rosterd relink p18@acme.example --to okta:u-p18.new"):
            assert part in text
    assert (await firm.approve(waits.held)).counts == back
    assert (await firm.seats())["p18"] == "invited"
    assert (await firm.run(minutes=15)).counts == {}


async def test_e6_a_rehire_with_the_number_is_only_relinked(firm: Firm) -> None:
    await firm.provider.hire("eve", group="cad", number="7")
    await firm.run(minutes=1)
    async with firm.provider.store.write(ORGANIZATION.id, at=firm.provider.at) as book:
        await firm.provider._put(book, "u-eve", "eve", active=False, number="7")
    await firm.provider.hire("eve.new", group="cad", number="7", mail="eve@acme.example")
    outcome = await firm.run(minutes=15)
    assert (outcome.counts, outcome.held_counts) == ({"UpdateIdentity": 1, "RelinkAnchor": 1}, {})
    assert (await firm.seats())["eve"] == "invited"
