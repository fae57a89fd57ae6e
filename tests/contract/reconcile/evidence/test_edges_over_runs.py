"""What a membership rests on is kept from run to run, on both databases (E3): renamed twice, upgraded, undone."""

from __future__ import annotations

from datetime import datetime

import pytest
from sqlalchemy import delete, update

from connector.reconcile import run
from connector.reconcile.show.outcome import RunOutcome
from ledger.store import edges
from ledger.store.engine import Ledger
from ledger.store.tables import people as tables
from ledger.store.tables import reading
from tests.parts.directories import ORGANIZATION, World, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE

LEFT = {"LeaveTeam": 1, "ReleaseSeat": 1}
FIRST, SECOND = "uid=bo,ou=People", "uid=bob,ou=People"


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


@pytest.fixture
async def world(ledger: Ledger, now: datetime) -> World:
    made = await make_world(ledger, now, policy(mapping("design", "Design", "CAD"), limits={}), Design_CAD=20)
    made.source.put("anna", "bo", "cy", groups=["design"])
    await again(made)
    return made


async def again(world: World, **later: float) -> RunOutcome:
    return await run.apply(
        world.ledger, world.setup, fence=ALONE, now=world.later(**(later or {"hours": 1})), actor="test", auto=True
    )


def renamed(world: World, old: str, new: str, *, listed: set[str]) -> None:
    """The entry is called otherwise; the group shows these values, which name nobody."""
    mail, anchor = world.source.people[old].mail, world.source.people[old].key
    world.source.drop(old)
    world.source.put(new, groups=[] if listed else ["design"])
    world.source.change(new, anchor=anchor, mail=mail or f"{old}@acme.example")
    world.source.unresolved["design"] = listed


async def known(world: World) -> dict[str, frozenset[str]]:
    """The names by which groups list whoever has the entry of bo."""
    async with world.ledger.read(ORGANIZATION.id) as reader:
        found = await edges.known(reader, None)
    return next(names for (_, listed), names in found.items() if FIRST.lower() in names or SECOND.lower() in names)


async def test_e3_who_is_renamed_twice_keeps_what_the_group_lists_them_for_under_the_name_between(world: World) -> None:
    renamed(world, "bo", "bob", listed=set())
    await again(world)
    assert SECOND.lower() in await known(world)
    renamed(world, "bob", "bobby", listed={SECOND})
    outcomes = [await again(world) for _ in range(3)]
    assert not any(kind in LEFT for outcome in outcomes for kind in outcome.counts)
    assert any("still lists uid=bob,ou=People" in problem.what for problem in outcomes[-1].problems)
    world.source.unresolved["design"] = set()
    assert [(await again(world)).counts for _ in range(2)] == [{}, LEFT]


async def test_e3_what_nothing_rests_on_any_longer_is_forgotten(world: World) -> None:
    renamed(world, "bo", "bob", listed=set())
    await again(world)
    assert set(await known(world)) == {SECOND.lower()}


async def upgraded(world: World) -> None:
    """As an earlier version and migration 0010 leave it: no edges, and a last reading of another format."""
    async with world.ledger.unscoped_write() as connection:
        for table in (tables.edge, reading.reconcile_base):
            await connection.execute(delete(table))
        await connection.execute(update(reading.last_reading).values(rules="of before"))


async def test_e3_after_an_upgrade_the_names_that_were_last_read_count_too(world: World) -> None:
    renamed(world, "bo", "bob", listed=set())
    await again(world)
    await upgraded(world)
    world.source.drop("bob")
    world.source.unresolved["design"] = {SECOND}
    assert [(await again(world)).counts for _ in range(4)] == [{}, {}, {}, {}], "the cause names bo alone"


@pytest.mark.parametrize("listed", [True, False])
async def test_e3_a_ledger_from_before_there_were_edges_is_judged_by_causes(world: World, listed: bool) -> None:
    await upgraded(world)
    world.source.drop("bo")
    world.source.unresolved["design"] = {FIRST} if listed else set()
    off = {"PauseSeat": 1, "DisableIdentity": 1}
    assert [(await again(world)).counts for _ in range(3)] == [{}, {} if listed else off, {}]
    async with world.ledger.read(ORGANIZATION.id) as reader:
        found = await edges.known(reader, None)
    assert len([names for (_, who), names in found.items() if any(names.values()) and ":" not in who]) == 2


async def test_e3_undone_what_a_membership_rested_on_is_known_still(world: World) -> None:
    world.source.groups["design"].remove("bo")
    assert [(await again(world)).counts for _ in range(2)] == [{}, LEFT]
    ledger = world.ledger
    async with ledger.read(ORGANIZATION.id) as reader:
        last = await reader.tuples(reader.select(tables.team_membership, "ended_run"))
    run_id = next(row[0] for row in last if row[0])
    await run.undo(
        ledger, world.setup, run_id, actor="ann", reason="wrong", fence=ALONE, now=world.later(hours=1), dry_run=False
    )
    world.source.drop("bo")
    world.source.unresolved["design"] = {FIRST}
    assert [(await again(world)).counts for _ in range(3)] == [{}, {}, {}]
