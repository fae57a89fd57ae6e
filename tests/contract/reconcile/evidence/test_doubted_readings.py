"""A directory that shows a part of its people while its groups still list them all is not believed (E13)."""

from __future__ import annotations

from datetime import datetime

import pytest

from connector.reconcile import run
from connector.reconcile.show.outcome import RunState
from ledger.store.engine import Ledger
from tests.parts.directories import World, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE

STAFF = [f"p{number:02}" for number in range(20)]


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


async def world_without(ledger: Ledger, now: datetime, hidden: int, **sync: int) -> World:
    """Everybody is in; then so many are no longer shown, and the group still lists them."""
    chosen = policy(mapping("design", "Design", "CAD"), sync=sync)
    world = await make_world(ledger, now, chosen, Design_CAD=30)
    world.source.put(*STAFF, groups=["design"])
    await run.apply(ledger, world.setup, fence=ALONE, now=world.now, actor="test", auto=True)
    for uid in STAFF[:hidden]:
        world.source.drop(uid)
        world.source.unresolved.setdefault("design", set()).add(f"uid={uid},ou=People")
    return world


@pytest.mark.parametrize(
    ("hidden", "sync", "doubted"),
    [(4, {}, False), (5, {}, True), (5, {"doubt_percent": 30}, False), (3, {"doubt_percent": 0}, False),
     (4, {"doubt_percent": 0}, True), (1, {"doubt_percent": 0, "doubt_floor": 0}, True)],
)  # fmt: skip
async def test_e13_many_kept_by_doubt_mean_that_the_reading_is_doubted(
    ledger: Ledger, now: datetime, hidden: int, sync: dict[str, int], doubted: bool
) -> None:
    world = await world_without(ledger, now, hidden, **sync)
    for _ in range(3):
        planned = await run.plan(ledger, world.setup, now=world.later(hours=1))
        outcome = await run.apply(ledger, world.setup, fence=ALONE, now=world.later(hours=1), actor="test", auto=True)
        assert outcome.counts == {}
        assert (outcome.state, outcome.exit_code, planned.exit_code) == (
            (RunState.UNKNOWN, 4, 4) if doubted else (RunState.NOTHING, 0, 0)
        )
        text = [*planned.lines, *outcome.lines]
        if doubted:
            said = f"DOUBTED {hidden} of 20 people are not shown"
            assert planned.lines[0].startswith(said)
            assert outcome.lines[0].startswith(said)
            assert not any("remove that member value" in line for line in text), "the very values that protect them"
        else:
            assert any("still lists" in line for line in text)


async def test_e13_what_is_held_goes_before_what_is_doubted(ledger: Ledger, now: datetime) -> None:
    world = await world_without(ledger, now, 6)
    world.policy = policy(mapping("design", "Design", "CAD"), limits={"day_floor": 0, "day_percent": 0})
    world.source.change(STAFF[-1], disabled=True)
    outcome = await run.apply(ledger, world.setup, fence=ALONE, now=world.later(hours=1), actor="test", auto=True)
    assert (outcome.state, outcome.exit_code) == (RunState.HELD, 3)
    assert outcome.lines[0].startswith("DOUBTED 6 of 20 people")
