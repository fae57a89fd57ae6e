"""Adopting a brownfield organization on both databases: shown, committed by digest, settled, undone (P3, A1, A3)."""

from __future__ import annotations

from datetime import datetime

import pytest

from connector.reconcile import run
from connector.reconcile.adopt import adopt as adoption
from connector.reconcile.plan.order import Order
from connector.reconcile.show.outcome import RunOutcome, RunState
from ledger.errors import NotFound, Refused, Stale, Unavailable
from ledger.instant import new_id
from ledger.store import audit, people, runs, seats
from ledger.store.engine import Ledger
from tests.contract.reconcile.test_reconcile_walk import apply, state, tiny
from tests.parts.directories import ORGANIZATION, World, make_world, open_gate, stand_in_gate
from tests.parts.fences import ALONE


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


async def brownfield(ledger: Ledger, now: datetime) -> World:
    """Anna, Bo and Cy are in Design by hand with a seat of CAD each, and no directory has seen them; Cy left."""
    world = await make_world(ledger, now, tiny(), Design_CAD=5)
    world.source.put("anna", "bo", groups=["design"])
    world.source.put("dan", groups=["site"])
    async with ledger.write(ORGANIZATION.id, ALONE, at=now) as book:
        team = next(row[0] for row in await people.open_teams(book) if row[1] == "Design")
        sold = (await seats.open_subscriptions(book))[0].id
        for uid in ("anna", "bo", "cy"):
            who, seat = new_id(), new_id()
            mail = f"{uid}@acme.example"
            await people.begin_identities(book, [(who, mail, mail, uid, "Test", uid, "active", "", {})])
            await people.begin_memberships(book, [(who, team, "manual", "", "by hand")])
            await seats.begin_seats(book, [(seat, sold, team, "CAD", who, "active", "", None)])
            await seats.begin_grants(book, [(seat, who, team, "manual", "by hand")])
    return world


async def adopt(world: World, digest: str, mapping: str = "design") -> RunOutcome:
    order = Order("adopt", "ada", world.now, ALONE, digest, "brownfield")
    return await adoption.adopt(world.ledger, world.setup, mapping, order)


async def shown(world: World, mapping: str = "design") -> str:
    return (await adoption.preview(world.ledger, world.setup, mapping, now=world.now)).digest


async def provenances(world: World) -> list[tuple[str, str]]:
    async with world.ledger.read(ORGANIZATION.id) as reader:
        mails = {row[1]: row[3].partition("@")[0] for row in await people.open_identities(reader)}
        members = [(mails[row[1]], row[3]) for row in await people.open_memberships(reader)]
        owners = {row[1]: mails[row[5]] for row in await seats.open_seats(reader)}
        return sorted([*members, *((f"{owners[row[1]]} CAD", row[3]) for row in await seats.open_grants(reader))])


async def test_p3_adopting_changes_who_cares_and_nobodys_access(ledger: Ledger, now: datetime) -> None:
    world = await brownfield(ledger, now)
    before = await state(world)
    seen = await adoption.preview(ledger, world.setup, "design", now=now)
    assert seen.plan.counts == {"RelinkAnchor": 2, "AdoptGrant": 4}
    assert [(p.code, p.subjects) for p in seen.plan.problems] == [("not-in-group", ("cy@acme.example",))]
    assert await state(world) == before, "showing writes nothing"
    outcome = await adopt(world, seen.digest[:12])
    assert (outcome.state, outcome.exit_code, outcome.counts) == (RunState.APPLIED, 0, seen.plan.counts)
    after = await state(world)
    assert (after["people"], after["seats"]) == (before["people"], before["seats"])
    assert await provenances(world) == [
        ("anna", "mapping:design"), ("anna CAD", "mapping:design"), ("bo", "mapping:design"),
        ("bo CAD", "mapping:design"), ("cy", "manual"), ("cy CAD", "manual"),
    ]  # fmt: skip
    async with ledger.read(ORGANIZATION.id) as reader:
        row = (await runs.latest(reader))[0]
        assert (row.kind, row.state, row.actor, row.reason) == ("adopt", "applied", "ada", "brownfield")
        assert (await audit.verify(reader)).ok
        assert await runs.cursor(reader, "corp") is None, "a cursor moves with a plan only (D13)"
    assert (await adoption.preview(ledger, world.setup, "design", now=world.now)).plan.empty


async def test_p3_after_an_adoption_a_brownfield_leaver_leaves(ledger: Ledger, now: datetime) -> None:
    world = await brownfield(ledger, now)
    await adopt(world, await shown(world))
    world.later(minutes=1)
    first = await apply(world)
    assert "JoinTeam" in first.counts, "dan comes in"
    assert {key for key in first.counts if key.startswith(("Leave", "Release", "AddGrant"))} == set()
    world.later(hours=1)
    assert (await apply(world)).counts == {}
    world.source.drop("bo")
    await apply(world)
    world.later(hours=1)
    assert (await apply(world)).counts == {"PauseSeat": 1, "DisableIdentity": 1}
    world.later(days=31)
    await apply(world)
    world.later(minutes=1)
    left = await state(world)
    assert [row[0] for row in left["teams"]] == ["anna@acme.example", "cy@acme.example", "dan@acme.example"]  # type: ignore[attr-defined]


async def test_p3_adoption_works_after_a_run_granted_beside_the_hand(ledger: Ledger, now: datetime) -> None:
    world = await brownfield(ledger, now)
    assert (await apply(world)).counts["AddGrant"] == 2
    world.later(minutes=1)
    seen = await adoption.preview(ledger, world.setup, "design", now=world.now)
    assert seen.plan.counts == {"AdoptGrant": 4}
    await adopt(world, seen.digest)
    assert ("anna", "manual") not in await provenances(world)
    world.later(minutes=1)
    assert (await apply(world)).state is RunState.NOTHING


async def test_p3_only_the_adoption_that_was_shown_is_committed(ledger: Ledger, now: datetime) -> None:
    world = await brownfield(ledger, now)
    digest = await shown(world)
    world.source.groups["design"].remove("bo")
    with pytest.raises(Stale):
        await adopt(world, digest)
    with pytest.raises(Stale):
        await adopt(world, (await shown(world))[:8])
    assert ("anna", "manual") in await provenances(world)
    async with ledger.read(ORGANIZATION.id) as reader:
        assert {row.state for row in await runs.latest(reader)} == {"refused"}, "A4: looked up afterwards"


async def test_p3_an_unread_group_a_shut_gate_and_an_unknown_mapping_adopt_nothing(
    ledger: Ledger, now: datetime
) -> None:
    world = await brownfield(ledger, now)
    digest = await shown(world)
    with pytest.raises(NotFound, match="did you mean 'design'"):
        await adopt(world, digest, "desing")
    world.source.unknown["group:design"] = "page 2: result 4"
    with pytest.raises(Unavailable, match="page 2"):
        await adopt(world, digest)
    world.source.unknown.clear()
    reads = world.source.reads
    await open_gate(ledger, now, "acme.example", state="closed")
    with pytest.raises(Refused):
        await adopt(world, digest)
    looked = await adoption.preview(ledger, world.setup, "design", now=now)
    assert (looked.exit_code, world.source.reads) == (3, reads)
    assert looked.lines[0].startswith("SUSPENDED")
    assert ("anna", "manual") in await provenances(world)


async def undone(world: World, run_id: str) -> list[tuple[str, str, str, str]]:
    done = await run.undo(
        world.ledger, world.setup, run_id, actor="ada", reason="r", fence=ALONE, now=world.now, dry_run=False
    )
    return sorted((change.subject, change.kind.value, change.object, change.after) for change in done.changes)


async def test_p3_an_adoption_is_undone_exactly(ledger: Ledger, now: datetime) -> None:
    world = await brownfield(ledger, now)
    before, rows = await state(world), await provenances(world)
    outcome = await adopt(world, await shown(world))
    world.later(minutes=1)
    back = (
        ("AdoptGrant", "CAD @ Design", "manual"),
        ("AdoptGrant", "Design", "manual"),
        ("RelinkAnchor", "", "unlinked"),
    )
    who = ("anna@acme.example", "bo@acme.example")
    assert await undone(world, outcome.run_id) == [(mail, *change) for mail in who for change in back]
    assert await state(world) == before
    assert await provenances(world) == rows
    async with ledger.read(ORGANIZATION.id) as reader:
        assert await people.directory_links(reader) == []
        assert (await audit.verify(reader)).ok


async def test_p3_undoing_an_adoption_gives_nothing_back_to_who_left_meanwhile(ledger: Ledger, now: datetime) -> None:
    world = await brownfield(ledger, now)
    outcome = await adopt(world, await shown(world))
    world.later(minutes=1)
    await apply(world)
    world.source.groups["design"].remove("bo")
    world.later(hours=1)
    await apply(world)
    world.later(hours=1)
    assert (await apply(world)).counts == {"LeaveTeam": 1, "ReleaseSeat": 1}
    world.later(minutes=1)
    kept = await run.undo(
        ledger, world.setup, outcome.run_id, actor="ada", reason="r", fence=ALONE, now=world.now, dry_run=False
    )
    assert [problem.subjects for problem in kept.kept if problem.code == "edited-since"] == [
        ("bo@acme.example in Design",)
    ]
    held = await provenances(world)
    assert ("anna", "manual") in held
    assert not [who for who, _ in held if who.startswith("bo")]


async def test_a3_undo_of_a_run_ends_the_links_it_made_for_people_known_before(ledger: Ledger, now: datetime) -> None:
    world = await brownfield(ledger, now)
    before, rows = await state(world), await provenances(world)
    first = await apply(world)
    assert first.counts["RelinkAnchor"] == 2
    world.later(minutes=1)
    changes = await undone(world, first.run_id)
    assert ("anna@acme.example", "RelinkAnchor", "", "unlinked") in changes
    assert await provenances(world) == rows
    assert [row for row in (await state(world))["people"] if row[1] != "removed"] == before["people"]  # type: ignore[attr-defined]
    async with ledger.read(ORGANIZATION.id) as reader:
        mails = {row[1]: row[3] for row in await people.open_identities(reader)}
        assert {mails[row[1]] for row in await people.directory_links(reader)} == {"dan@acme.example"}
    world.later(minutes=1)
    assert (await apply(world)).counts["RelinkAnchor"] == 2, "and the next run links them again"
