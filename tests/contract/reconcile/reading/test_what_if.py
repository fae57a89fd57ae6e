"""What another organization file would change, against what the directories last showed: nobody is asked (P6)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from connector.reconcile import run
from connector.reconcile.show.outcome import RunState
from ledger.store.engine import Ledger
from tests.parts.directories import World, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


@pytest.fixture
async def world(ledger: Ledger, now: datetime) -> World:
    """Four people in two groups, applied."""
    chosen = policy(mapping("design", "Design", "CAD"), mapping("site", "Site"))
    world = await make_world(ledger, now, chosen, Design_CAD=3)
    world.source.put("anna", "bo", groups=["design"])
    world.source.put("cy", "dan", groups=["site"])
    outcome = await run.apply(ledger, world.setup, fence=ALONE, now=now, actor="test", auto=True)
    assert outcome.state is RunState.APPLIED
    return world


async def test_p6_what_was_last_read_is_what_a_directory_shows(world: World) -> None:
    world.source.change("anna", name="Anna Nowa")
    await run.apply(world.ledger, world.setup, fence=ALONE, now=world.later(minutes=20), actor="test", auto=True)
    world.source.drop("cy")
    reads = world.source.reads
    later = world.later(minutes=20)
    remembered = await run.plan(world.ledger, world.setup, now=later, against_last=True)
    assert world.source.reads == reads
    assert (remembered.exit_code, remembered.plan.empty) == (0, True)
    assert [line.entries for line in remembered.plan.scopes if line.scope.startswith("people:")] == [4]


async def test_p6_another_file_shows_what_it_would_do(world: World) -> None:
    other = policy(mapping("design", "Studio", "CAD"), mapping("site", "Site", "CAD", priority=1))
    reads = world.source.reads
    found = await run.plan(world.ledger, replace(world.setup, policy=other), now=world.now, against_last=True)
    assert world.source.reads == reads
    moved = {"JoinTeam": 2, "LeaveTeam": 2, "AddGrant": 2, "EndGrant": 2}
    assert found.plan.counts == {**moved, "Wait": 2}
    live = await run.plan(world.ledger, replace(world.setup, policy=other), now=world.now)
    assert found.digest == live.digest


async def test_p6_what_was_not_read_then_is_unknown(world: World) -> None:
    other = policy(mapping("design", "Design", "CAD"), mapping("lab", "Lab"), mapping("site", "Site"))
    found = await run.plan(world.ledger, replace(world.setup, policy=other), now=world.now, against_last=True)
    assert found.exit_code == 4
    assert {line.scope for line in found.plan.unknown} == {"group:lab"}
    assert found.plan.empty


async def test_p6_without_a_last_reading_everything_is_unknown(ledger: Ledger, now: datetime) -> None:
    world = await make_world(ledger, now, policy(mapping("design", "Design")))
    world.source.put("anna", groups=["design"])
    found = await run.plan(ledger, world.setup, now=now, against_last=True)
    assert (found.exit_code, found.plan.empty, world.source.reads) == (4, True, 0)
    assert "never read to its end" in found.lines[0]
