"""The walk from entry to seat and back, on both databases: apply, off-boarding, held sets, undo, explain."""

from __future__ import annotations

from datetime import datetime

import pytest

from connector.reconcile import run
from connector.reconcile.policy.policy import Policy
from connector.reconcile.show.outcome import RunOutcome, RunState
from ledger.errors import NotFound, Refused, Stale
from ledger.store import audit, people, runs, seats
from ledger.store.engine import Ledger
from tests.parts.directories import ORGANIZATION, Somebody, World, make_world, mapping, open_gate, policy, stand_in_gate
from tests.parts.fences import ALONE


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


async def apply(world: World, **values: object) -> RunOutcome:
    choice = values or {"auto": True}
    return await run.apply(world.ledger, world.setup, fence=ALONE, now=world.now, actor="test", **choice)  # type: ignore[arg-type]


async def state(world: World) -> dict[str, object]:
    """What everybody has, by natural names: comparable between moments and databases."""
    async with world.ledger.read(ORGANIZATION.id) as reader:
        mails = {row[1]: row[3] for row in await people.open_identities(reader)}
        teams = {row[0]: row[1] for row in await people.open_teams(reader)}
        return {
            "people": sorted((row[3], row[7], row[6]) for row in await people.open_identities(reader)),
            "teams": sorted((mails[r[1]], teams[r[2]], r[3]) for r in await people.open_memberships(reader)),
            "seats": sorted((mails[r[5]], r[4], teams[r[3]], r[6]) for r in await seats.open_seats(reader)),
            "waiting": sorted((mails[r[1]], r[3], teams[r[2]]) for r in await seats.open_waiting(reader)),
        }


def tiny() -> Policy:
    return policy(mapping("design", "Design", "CAD", priority=10), mapping("site", "Site", "CAD", priority=20))


async def test_apply_invites_assigns_and_is_then_empty(ledger: Ledger, now: datetime) -> None:
    world = await make_world(ledger, now, tiny(), Design_CAD=2, Site_CAD=1)
    world.source.put("anna", "bo", "cy", groups=["design"])
    world.source.put("dan", groups=["site"])
    planned = await run.plan(ledger, world.setup, now=now)
    assert planned.plan.counts == {"Invite": 4, "JoinTeam": 4, "AssignSeat": 3, "Wait": 1}
    assert await state(world) == {"people": [], "teams": [], "seats": [], "waiting": []}, "plan writes nothing (P1)"
    outcome = await apply(world, digest=planned.digest)
    assert (outcome.state, outcome.exit_code) == (RunState.APPLIED, 0)
    assert outcome.counts == planned.plan.counts
    assert (await state(world))["waiting"] == [("cy@acme.example", "CAD", "Design")]
    again = await apply(world)
    assert (again.state, again.counts, again.exit_code) == (RunState.NOTHING, {}, 0)
    async with ledger.read(ORGANIZATION.id) as reader:
        assert (await audit.verify(reader)).ok


async def test_p1_apply_digest_must_match(ledger: Ledger, now: datetime) -> None:
    world = await make_world(ledger, now, tiny(), Design_CAD=2)
    world.source.put("anna", groups=["design"])
    world.source.groups["site"] = []
    planned = await run.plan(ledger, world.setup, now=now)
    world.source.put("bo", groups=["design"])
    with pytest.raises(Stale):
        await apply(world, digest=planned.digest)
    assert (await state(world))["people"] == []
    async with ledger.read(ORGANIZATION.id) as reader:
        assert [row.state for row in await runs.latest(reader)] == ["refused"], "A4: every outcome can be looked up"


async def test_g7_absent_is_confirmed_paused_released_removed(ledger: Ledger, now: datetime) -> None:
    world = await make_world(ledger, now, tiny(), Design_CAD=3)
    world.source.put("anna", "bo", "cy", groups=["design"])
    world.source.groups["site"] = []
    await apply(world)
    before = await state(world)
    world.source.drop("bo")
    world.later(hours=1)
    first = await apply(world)
    assert first.counts == {}, "D3: one complete reading takes nothing"
    assert await state(world) == before
    world.later(minutes=14)
    assert (await apply(world)).counts == {}, "D3: too soon"
    world.later(minutes=1)
    assert (await apply(world)).counts == {"PauseSeat": 1, "DisableIdentity": 1}
    world.later(days=7)
    assert (await apply(world)).counts == {"ReleaseSeat": 1}
    world.later(days=23)
    assert (await apply(world)).counts == {"LeaveTeam": 1, "RemoveIdentity": 1}
    assert (await apply(world)).counts == {}


async def test_g7_return_within_the_delay_restores(ledger: Ledger, now: datetime) -> None:
    world = await make_world(ledger, now, tiny(), Design_CAD=3)
    world.source.put("anna", "bo", groups=["design"])
    world.source.groups["site"] = []
    await apply(world)
    before = await state(world)
    world.source.change("bo", disabled=True)
    world.later(hours=1)
    assert (await apply(world)).counts == {"PauseSeat": 1, "DisableIdentity": 1}, "positive evidence acts at once"
    world.later(days=6)
    world.source.change("bo", disabled=False)
    assert (await apply(world)).counts == {"Reinstate": 2}
    assert await state(world) == before
    world.later(days=40)
    assert (await apply(world)).counts == {}, "nothing stays due"


async def test_d5_rename_and_mail_change_are_updates(ledger: Ledger, now: datetime) -> None:
    world = await make_world(ledger, now, tiny(), Design_CAD=3)
    world.source.put("anna", "bo", groups=["design"])
    world.source.groups["site"] = []
    await apply(world)
    world.source.change("anna", mail="anna.nowak@acme.example", name="Anna Nowak")
    outcome = await apply(world)
    assert outcome.counts == {"UpdateIdentity": 1}
    assert ("anna.nowak@acme.example", "CAD", "Design", "invited") in (await state(world))["seats"]  # type: ignore[operator]


async def test_d9_rehire_is_relinked_by_employee_number(ledger: Ledger, now: datetime) -> None:
    world = await make_world(ledger, now, tiny(), Design_CAD=3)
    world.source.put(Somebody("anna", number="7"), "bo", groups=["design"])
    world.source.groups["site"] = []
    await apply(world)
    before = await state(world)
    world.source.drop("anna")
    world.later(hours=1)
    await apply(world)
    world.later(hours=1)
    await apply(world)
    world.source.put(Somebody("anna", number="7", anchor="second-hire"), groups=["design"])
    world.later(hours=1)
    assert (await apply(world)).counts == {"Reinstate": 2, "RelinkAnchor": 1}
    assert await state(world) == before
    assert (await apply(world)).counts == {}


async def test_d9_a_recycled_address_inherits_nothing(ledger: Ledger, now: datetime) -> None:
    world = await make_world(ledger, now, tiny(), Design_CAD=3)
    world.source.put(Somebody("anna", number="7"), "bo", groups=["design"])
    world.source.groups["site"] = []
    await apply(world)
    before = await state(world)
    world.source.drop("anna")
    world.source.put(Somebody("other", mail="anna@acme.example", number="99"), groups=["design"])
    outcome = await apply(world)
    assert outcome.counts == {}
    assert "recycled-mail" in {problem.code for problem in outcome.problems}
    assert await state(world) == before


async def test_p2_a_mover_leaves_and_joins_together(ledger: Ledger, now: datetime) -> None:
    world = await make_world(ledger, now, tiny(), Design_CAD=3, Site_CAD=1)
    world.source.put("anna", "bo", groups=["design"])
    world.source.put("cy", groups=["site"])
    world.source.groups["site"] = ["cy"]
    await apply(world)
    world.source.move("bo", "design", "site")
    world.later(hours=1)
    assert (await apply(world)).counts == {}, "the join waits with the leave (P2)"
    world.later(hours=1)
    outcome = await apply(world)
    assert outcome.counts == {"JoinTeam": 1, "LeaveTeam": 1, "AddGrant": 1, "EndGrant": 1}, (
        "Site is full: keeps the seat"
    )
    assert ("bo@acme.example", "Site", "mapping:site") in (await state(world))["teams"]  # type: ignore[operator]


async def test_p2_a_mover_takes_a_seat_of_the_new_team_when_there_is_one(ledger: Ledger, now: datetime) -> None:
    world = await make_world(ledger, now, tiny(), Design_CAD=2, Site_CAD=2)
    world.source.put("anna", "bo", "waits", groups=["design"])
    world.source.put("cy", groups=["site"])
    await apply(world)
    assert (await state(world))["waiting"] == [("waits@acme.example", "CAD", "Design")]
    world.source.move("bo", "design", "site")
    await apply(world)
    world.later(hours=1)
    outcome = await apply(world)
    assert outcome.counts["MoveSeat"] == 1
    assert outcome.counts["AssignSeat"] == 1, "reclaim before assign, in one plan (P4)"
    assert (await state(world))["waiting"] == []


async def test_g2_mass_removal_is_held_then_approved(ledger: Ledger, now: datetime) -> None:
    limits = {"day_floor": 5, "day_percent": 10}
    world = await make_world(ledger, now, policy(mapping("design", "Design", "CAD"), limits=limits), Design_CAD=50)
    world.source.put(*(f"p{n:02}" for n in range(40)), groups=["design"])
    planned = await run.plan(ledger, world.setup, now=now)
    assert planned.guarded.held, "G1: forty invites at once are held"
    await apply(world, digest=planned.digest)
    before = await state(world)
    gone = [f"p{n:02}" for n in range(37)]
    for uid in gone:
        world.source.change(uid, disabled=True)
    world.source.put("newcomer", groups=["design"])
    world.later(days=2)
    held = await apply(world)
    assert (held.state, held.exit_code) == (RunState.HELD, 3)
    assert held.counts == {"Invite": 1, "JoinTeam": 1, "AssignSeat": 1}, "additions go on"
    assert held.lines[0] == f"0 removals applied, 37 held; approve with `rosterd approve {held.held[:12]}`"
    assert len((await state(world))["people"]) == len(before["people"]) + 1  # type: ignore[arg-type]
    again = await apply(world)
    assert again.held == held.held, "the same set keeps its name"
    world.source.change("p00", disabled=False)
    outcome = await run.approve(
        ledger, world.setup, held.held[:12], reason="plant closed", actor="anna", fence=ALONE, now=world.now
    )
    assert outcome.counts == {"PauseSeat": 36, "DisableIdentity": 36}, "G3: exactly the part still true"
    with pytest.raises(Refused):
        await run.approve(ledger, world.setup, held.held, reason="again", actor="anna", fence=ALONE, now=world.now)
    with pytest.raises(NotFound):
        await run.approve(ledger, world.setup, "0" * 64, reason="what", actor="anna", fence=ALONE, now=world.now)


async def test_a3_undo_restores_and_keeps_manual_edits(ledger: Ledger, now: datetime) -> None:
    world = await make_world(ledger, now, tiny(), Design_CAD=5)
    world.source.put("anna", "bo", "cy", groups=["design"])
    world.source.groups["site"] = []
    await apply(world)
    before = await state(world)
    world.later(hours=1)
    world.source.change("bo", disabled=True)
    world.source.change("cy", disabled=True)
    bad = await apply(world)
    assert bad.counts == {"PauseSeat": 2, "DisableIdentity": 2}
    damaged = await state(world)
    shown = await run.undo(
        ledger, world.setup, bad.run_id, actor="anna", reason="oops", fence=ALONE, now=world.now, dry_run=True
    )
    assert shown.outcome is None
    assert await state(world) == damaged, "a dry run writes nothing"
    world.later(minutes=1)
    done = await run.undo(
        ledger, world.setup, bad.run_id, actor="anna", reason="oops", fence=ALONE, now=world.now, dry_run=False
    )
    assert done.changes == shown.changes
    assert done.outcome is not None
    assert await state(world) == before
    async with ledger.read(ORGANIZATION.id) as reader:
        row = await runs.get(reader, done.outcome.run_id)
        assert row is not None
        assert (row.kind, row.undoes, row.actor) == ("undo", bad.run_id, "anna")
        assert (await audit.verify(reader)).ok


async def test_a3_undo_of_the_first_run_keeps_who_was_granted_something_by_hand(ledger: Ledger, now: datetime) -> None:
    world = await make_world(ledger, now, tiny(), Design_CAD=5)
    world.source.put("anna", "bo", groups=["design"])
    world.source.groups["site"] = []
    first = await apply(world)
    async with ledger.write(ORGANIZATION.id, ALONE, at=world.later(minutes=1)) as book:
        anna = (await people.identities_by_mail(book, "anna@acme.example"))[0][1]
        site = next(row[0] for row in await people.open_teams(book) if row[1] == "Site")
        await people.begin_memberships(book, [(anna, site, "manual", "", "by hand")])
    world.later(minutes=1)
    done = await run.undo(
        ledger, world.setup, first.run_id, actor="a", reason="r", fence=ALONE, now=world.now, dry_run=False
    )
    now_state = await state(world)
    assert now_state["teams"] == [("anna@acme.example", "Site", "manual")]
    assert [row[:2] for row in now_state["people"]] == [  # type: ignore[attr-defined]
        ("anna@acme.example", "active"),
        ("bo@acme.example", "removed"),
    ]
    assert any("anna@acme.example" in problem.subjects[0] for problem in done.kept)


async def test_a3_a_seat_that_was_given_away_comes_back_first_in_line(ledger: Ledger, now: datetime) -> None:
    hasty = policy(mapping("design", "Design", "CAD"), offboarding={"release_after": "0"})
    world = await make_world(ledger, now, hasty, Design_CAD=2)
    world.source.put("anna", "bo", "cy", groups=["design"])
    await apply(world)
    world.source.change("bo", disabled=True)
    world.later(hours=1)
    bad = await apply(world)
    assert bad.counts == {"AssignSeat": 1, "ReleaseSeat": 1, "DisableIdentity": 1}, "cy gets the seat at once"
    world.source.put("aaron", groups=["design"])
    await apply(world)
    world.source.change("bo", disabled=False)
    world.later(hours=1)
    request = {"actor": "a", "reason": "r", "now": world.now, "fence": ALONE, "dry_run": False}
    await run.undo(ledger, world.setup, bad.run_id, **request)  # type: ignore[arg-type]
    assert [row[0] for row in (await state(world))["seats"]] == ["anna@acme.example", "bo@acme.example"]  # type: ignore[attr-defined]
    again = await run.undo(ledger, world.setup, bad.run_id, **request)  # type: ignore[arg-type]
    assert again.changes == (), "nothing is left to undo"


async def test_a3_a_seat_that_somebody_else_has_meanwhile_is_waited_for_first_in_line(
    ledger: Ledger, now: datetime
) -> None:
    hasty = policy(mapping("design", "Design", "CAD"), offboarding={"release_after": "0"})
    world = await make_world(ledger, now, hasty, Design_CAD=2)
    world.source.put("anna", "bo", groups=["design"])
    await apply(world)
    world.source.change("bo", disabled=True)
    world.later(hours=1)
    bad = await apply(world)
    world.source.put("aaron", "abel", groups=["design"])
    await apply(world)
    world.source.change("bo", disabled=False)
    world.later(hours=1)
    done = await run.undo(
        ledger, world.setup, bad.run_id, actor="a", reason="r", fence=ALONE, now=world.now, dry_run=False
    )
    assert [change.kind for change in done.changes] == ["Reinstate", "Wait"]
    assert (await apply(world)).counts == {}
    world.source.change("aaron", disabled=True)
    await apply(world)
    assert [row[0] for row in (await state(world))["seats"]] == ["anna@acme.example", "bo@acme.example"]  # type: ignore[attr-defined]
    assert [row[0] for row in (await state(world))["waiting"]] == ["abel@acme.example"]  # type: ignore[attr-defined]


async def test_r5_closed_gate_suspends_and_reads_nothing(ledger: Ledger, now: datetime) -> None:
    world = await make_world(ledger, now, tiny(), Design_CAD=5)
    world.source.put("anna", "bo", groups=["design"])
    world.source.groups["site"] = []
    await apply(world)
    before, reads = await state(world), world.source.reads
    await open_gate(ledger, now, "acme.example", state="closed")
    world.source.people.clear()
    world.later(days=100)
    outcome = await apply(world)
    assert (outcome.state, outcome.exit_code) == (RunState.SUSPENDED, 3)
    assert (await run.plan(ledger, world.setup, now=world.now)).suspended
    assert world.source.reads == reads
    assert await state(world) == before


async def test_p6_explain_tells_the_chain(ledger: Ledger, now: datetime) -> None:
    world = await make_world(ledger, now, tiny(), Design_CAD=1)
    world.source.put("anna", "bo", groups=["design"])
    world.source.groups["site"] = []
    first = await apply(world)
    anna = await run.explain(ledger, world.setup, "Anna@acme.example", now=world.now)
    assert anna.teams[0].why == "uid=anna,ou=People → design → mapping design"
    assert anna.teams[0].run_id == first.run_id
    assert "invited" in anna.seats[0].what
    bo = await run.explain(ledger, world.setup, "bo@acme.example", now=world.now)
    assert "number 1 of 1" in bo.waiting[0].why
    with pytest.raises(NotFound):
        await run.explain(ledger, world.setup, "nobody@acme.example", now=world.now)
