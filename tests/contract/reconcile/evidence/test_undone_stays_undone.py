"""What was undone does not come back by itself (E14)."""

from __future__ import annotations

from datetime import datetime

import pytest

from connector.reconcile import run
from connector.reconcile.show.outcome import RunOutcome
from ledger.store import people
from ledger.store.engine import Ledger
from tests.parts.directories import ORGANIZATION, World, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE

OFF = {"PauseSeat": 1, "DisableIdentity": 1}
LEFT = {"LeaveTeam": 1, "ReleaseSeat": 1}


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


async def again(world: World) -> RunOutcome:
    return await run.apply(world.ledger, world.setup, fence=ALONE, now=world.later(hours=1), actor="test", auto=True)


async def undone(world: World, how: str) -> dict[str, int]:
    """Bo is off-boarded, or leaves the Team; then that run is undone. What is now done again."""
    world.source.put("anna", "bo", "cy", groups=["design"])
    await again(world)
    if how == "off":
        world.source.change("bo", disabled=True)
    else:
        world.source.groups["design"].remove("bo")
        await again(world)
    harm = await again(world)
    assert harm.counts == (OFF if how == "off" else LEFT)
    done = await run.undo(
        world.ledger,
        world.setup,
        harm.run_id,
        actor="boss",
        reason="a mistake",
        now=world.later(hours=1),
        fence=ALONE,
        dry_run=False,
    )
    assert done.outcome is not None
    assert "the same does not happen again by itself: every run holds it for this person" in done.lines[-1]
    return OFF if how == "off" else LEFT


async def marks(world: World) -> int:
    async with world.ledger.read(ORGANIZATION.id) as reader:
        return len(await people.undone(reader))


@pytest.fixture
async def world(ledger: Ledger, now: datetime) -> World:
    return await make_world(ledger, now, policy(mapping("design", "Design", "CAD")), Design_CAD=9)


@pytest.mark.parametrize("how", ["off", "leave"])
async def test_e14_every_run_shows_it_held_until_somebody_approves(world: World, how: str) -> None:
    harm = await undone(world, how)
    outcomes = [await again(world) for _ in range(4)][-3:]  # a leave is noted first
    assert [(item.counts, item.held_counts, item.exit_code) for item in outcomes] == [({}, harm, 3)] * 3
    assert len({item.held for item in outcomes}) == 1
    assert any("the same was done before and undone" in line for line in outcomes[0].lines)
    assert any(f"rosterd approve {outcomes[0].held[:12]}" in line for line in outcomes[0].lines)
    await again(world)
    world.later(days=10)  # the held set expires, the mark does not
    late = await again(world)
    assert (late.counts, late.held_counts) == ({}, harm)
    done = await run.approve(
        world.ledger, world.setup, late.held, reason="meant", actor="boss", fence=ALONE, now=world.later(minutes=1)
    )
    assert (done.counts, await marks(world)) == (harm, 0)


@pytest.mark.parametrize("how", ["off", "leave"])
async def test_e14_the_opposite_shown_once_ends_it(world: World, how: str) -> None:
    harm = await undone(world, how)
    if how == "off":
        world.source.change("bo", disabled=False)
    else:
        world.source.groups["design"].append("bo")
    await again(world)
    assert await marks(world) == 0
    if how == "off":
        world.source.change("bo", disabled=True)
    else:
        world.source.groups["design"].remove("bo")
        await again(world)
    assert (await again(world)).counts == harm


async def test_e14_another_rule_is_another_reason(world: World) -> None:
    harm = await undone(world, "leave")
    world.policy = policy(mapping("design", "Design", "CAD", release_after="3d"))
    assert [(await again(world)).counts for _ in range(2)] == [{}, harm]


async def test_e14_nobody_else_waits(world: World) -> None:
    await undone(world, "off")
    world.source.change("cy", disabled=True)
    outcome = await again(world)
    assert (outcome.counts, outcome.held_counts) == (OFF, OFF)
