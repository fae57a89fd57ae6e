"""A3: an undo long after its run: what came since is kept with all it rests on, and nothing is left half."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from connector.reconcile import run
from connector.reconcile.by_hand.sign_in import Arrival, claim
from connector.reconcile.show.outcome import Undone
from ledger.identity import Email
from ledger.store import people, seats
from ledger.store.engine import Ledger
from tests.parts.directories import ORGANIZATION, World, make_world, mapping, policy, sell, stand_in_gate
from tests.parts.fences import ALONE
from tests.parts.year_records import Picture


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


async def begun(ledger: Ledger, now: datetime, *uids: str, seats: int = 5, **delays: str) -> tuple[World, str]:
    """Everybody in Design with a seat where there is one; the world and its first run."""
    chosen = policy(mapping("design", "Design", "CAD"), mapping("site", "Site", "CAD"), offboarding=delays)
    world = await make_world(ledger, now, chosen, Design_CAD=seats, Site_CAD=5)
    world.source.put(*uids, groups=["design"])
    world.source.groups.setdefault("site", [])
    return world, await apply(world)


async def apply(world: World) -> str:
    return (await run.apply(world.ledger, world.setup, fence=ALONE, now=world.now, actor="test", auto=True)).run_id


async def undo(world: World, run_id: str) -> Undone:
    world.later(minutes=1)
    return await run.undo(
        world.ledger, world.setup, run_id, actor="ada", reason="wrong", fence=ALONE, now=world.now, dry_run=False
    )


async def picture(world: World) -> Picture:
    async with world.ledger.read(ORGANIZATION.id) as reader:
        return await Picture.of(reader)


async def test_a3_who_signed_in_since_keeps_the_seat_its_reason_and_the_membership(
    ledger: Ledger, now: datetime
) -> None:
    world, first = await begun(ledger, now, "anna", "bo")
    arrival = Arrival(Email.parse("anna@acme.example"), "idp", "anna")
    await claim(ledger, ORGANIZATION.id, arrival, now=world.later(minutes=1))
    done = await undo(world, first)
    after = await picture(world)
    assert after.faults() == []
    assert sorted(after.people.values()) == [("anna@acme.example", "active"), ("bo@acme.example", "removed")]
    assert (len(after.members), len(after.seats), len(after.grants)) == (1, 1, 1)
    assert {problem.code for problem in done.kept} == {"edited-since"}


async def test_a3_a_seat_that_a_later_run_gave_keeps_its_membership(ledger: Ledger, now: datetime) -> None:
    world, first = await begun(ledger, now, "anna", "bo", seats=1)
    world.source.change("anna", disabled=True)
    world.later(hours=1)
    await apply(world)
    world.later(days=8)
    await apply(world)
    before = await picture(world)
    assert [before.people[row[0]][0] for row in before.seats.values()] == ["bo@acme.example"]
    await undo(world, first)
    after = await picture(world)
    assert after.faults() == []
    assert after.seats == before.seats


async def test_a3_a_release_undone_is_due_after_the_whole_delay_again(ledger: Ledger, now: datetime) -> None:
    world, _ = await begun(ledger, now, "anna", "bo")
    world.source.change("bo", disabled=True)
    world.later(hours=1)
    await apply(world)
    before = await picture(world)
    world.later(days=7)
    released = await apply(world)
    await undo(world, released)
    assert (await picture(world)).seats == before.seats
    world.later(days=6)
    await apply(world)
    assert (await picture(world)).seats == before.seats, "the next run does not undo the undo"
    world.later(days=1)
    await apply(world)
    assert len((await picture(world)).seats) == 1


async def test_a3_a_second_undo_names_the_first(ledger: Ledger, now: datetime) -> None:
    world, first = await begun(ledger, now, "anna", "bo")
    done = await undo(world, first)
    assert done.outcome is not None
    again = await undo(world, first)
    assert (again.changes, again.earlier) == ((), done.outcome.run_id)
    assert again.lines[0] == f"nothing of run {first} is left to undo: run {done.outcome.run_id} did"


async def test_a3_a_release_undone_gives_nothing_to_somebody_removed_since(ledger: Ledger, now: datetime) -> None:
    world, _ = await begun(ledger, now, "anna", "bo")
    world.source.change("bo", disabled=True)
    world.later(hours=1)
    await apply(world)
    world.later(days=7)
    released = await apply(world)
    world.later(days=30)
    await apply(world)
    before = await picture(world)
    done = await undo(world, released)
    assert await picture(world) == before
    assert [problem.subjects for problem in done.kept] == [("bo@acme.example in Design",)]


async def test_a3_a_leave_undone_gives_nothing_to_somebody_removed_since(ledger: Ledger, now: datetime) -> None:
    world, _ = await begun(ledger, now, "anna", "bo")
    world.source.groups["design"].remove("bo")
    for _ in range(2):
        world.later(hours=1)
        left = await apply(world)
    assert len((await picture(world)).members) == 1, "bo has left"
    world.source.change("bo", disabled=True)
    for days in (1, 40):
        world.later(days=days)
        await apply(world)
    before = await picture(world)
    assert ("bo@acme.example", "removed") in before.people.values()
    done = await undo(world, left)
    assert await picture(world) == before
    assert ("bo@acme.example in Design",) in [problem.subjects for problem in done.kept]


async def test_a3_a_seat_that_comes_back_ends_the_place_on_the_waitlist(ledger: Ledger, now: datetime) -> None:
    world, _ = await begun(ledger, now, "anna", "bo", seats=2, release_after="0")
    world.source.change("bo", disabled=True)
    world.later(hours=1)
    released = await apply(world)
    world.source.put("cy", groups=["design"])
    world.later(hours=1)
    await apply(world)
    world.source.change("bo", disabled=False)
    world.later(hours=1)
    await apply(world)
    assert len((await picture(world)).waiting) == 1, "cy has the seat that bo had"
    world.source.change("cy", disabled=True)
    async with ledger.write(
        ORGANIZATION.id, ALONE, at=world.later(minutes=1)
    ) as book:  # cy's seat is given back by hand
        names = {row[1]: row[3] for row in await people.open_identities(book)}
        ending = [row for row in await seats.open_seats(book) if names[row[5]] == "cy@acme.example"]
        await seats.end_grants(book, [row[0] for row in await seats.open_grants(book) if row[1] == ending[0][1]])
        await seats.end_seats(book, [ending[0][0]])
    await undo(world, released)
    after = await picture(world)
    assert after.faults() == []
    assert after.waiting == frozenset()


async def test_a3_who_was_brought_back_and_given_something_since_is_not_removed_again(
    ledger: Ledger, now: datetime
) -> None:
    world, first = await begun(ledger, now, "anna", "bo")
    await undo(world, first)
    world.later(hours=1)
    again = await apply(world)
    async with ledger.write(ORGANIZATION.id, ALONE, at=world.later(minutes=1)) as book:
        bo = next(row[1] for row in await people.open_identities(book) if row[3] == "bo@acme.example")
        site = next(row[0] for row in await people.open_teams(book) if row[1] == "Site")
        await people.begin_memberships(book, [(bo, site, "manual", "", "by hand")])
    await undo(world, again)
    after = await picture(world)
    assert after.faults() == []
    assert after.people[bo] == ("bo@acme.example", "active")


async def test_a3_no_seat_comes_back_whose_term_has_ended(ledger: Ledger, now: datetime) -> None:
    chosen = policy(mapping("design", "Design", "CAD"), offboarding={"release_after": "0"})
    world = await make_world(ledger, now, chosen)
    await sell(ledger, now, "Design", "CAD", 2, starts_on=now.date(), ends_on=now.date() + timedelta(days=10))
    world.source.put("anna", "bo", "waits", groups=["design"])
    await apply(world)
    world.source.change("bo", disabled=True)
    world.later(hours=1)
    swapped = await apply(world)
    world.later(days=11)
    before = await picture(world)
    assert len(before.seats) == 2, "nobody loses a seat because the term ended"
    await undo(world, swapped)
    after = await picture(world)
    names = {after.people[row[0]][0] for row in after.seats.values()}
    assert names == {"anna@acme.example"}, "the seat that waits was given goes, and none is dealt out again"
    assert {after.people[who][0] for who, _ in after.waiting} == {"bo@acme.example", "waits@acme.example"}


async def test_a3_the_last_reason_of_a_seat_that_stays_is_kept(ledger: Ledger, now: datetime) -> None:
    chosen = policy(mapping("design", "Design", "CAD"), mapping("lab", "Design", "CAD"))
    world = await make_world(ledger, now, chosen, Design_CAD=5)
    world.source.put("anna", "bo", groups=["design"])
    world.source.put("cy", groups=["lab"])
    await apply(world)
    world.source.groups["lab"].append("bo")
    world.later(hours=1)
    added = await apply(world)
    world.source.groups["design"].remove("bo")
    for _ in range(2):
        world.later(hours=1)
        await apply(world)
    before = await picture(world)
    await undo(world, added)
    assert await picture(world) == before, "lab is by now the only reason bo has a seat for"


@pytest.mark.parametrize("how", ["admin", "listed"])
async def test_a3_g4_nobody_protected_is_removed_with_the_run_that_invited_them(
    ledger: Ledger, now: datetime, how: str
) -> None:
    chosen = policy(
        mapping("design", "Design", "CAD"),
        admins={"Design": "anna@acme.example"} if how == "admin" else {},
        sync={"protected": ["anna@acme.example"]} if how == "listed" else {},
    )
    world = await make_world(ledger, now, chosen, Design_CAD=5)
    world.source.put("anna", "bo", groups=["design"])
    first = await apply(world)
    before = await picture(world)
    done = await undo(world, first)
    after = await picture(world)
    assert after.faults() == []
    assert sorted(after.people.values()) == [("anna@acme.example", "active"), ("bo@acme.example", "removed")]
    anna = next(key for key, (mail, _) in after.people.items() if mail == "anna@acme.example")
    assert [row for row in after.members if anna in row] == [row for row in before.members if anna in row]
    assert [(problem.code, problem.subjects) for problem in done.kept] == [("protected", ("anna@acme.example",))]
