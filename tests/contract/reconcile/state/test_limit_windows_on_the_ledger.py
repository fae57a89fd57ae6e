"""G1, G7: what the store answers at the edges of both windows, after an undo, along an approved off-boarding."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from connector.reconcile import run
from connector.reconcile.show.outcome import RunOutcome, RunState
from ledger.store.engine import Ledger
from tests.parts.directories import World, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE

TICK = timedelta(microseconds=1)
DAY, MONTH = timedelta(days=1), timedelta(days=30)
TWO_A_DAY = {"day_floor": 2, "day_percent": 0, "month_percent": 0, "team_day_floor": 99}


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


async def company(ledger: Ledger, now: datetime, size: int = 12, **limits: int) -> World:
    """Everybody of design invited by digest."""
    chosen = policy(mapping("design", "Design", "CAD"), limits={**TWO_A_DAY, **limits})
    world = await make_world(ledger, now, chosen, Design_CAD=100)
    world.source.put(*(f"p{number:02}" for number in range(size)), groups=["design"])
    planned = await run.plan(ledger, world.setup, now=now)
    await run.apply(ledger, world.setup, fence=ALONE, now=now, actor="test", digest=planned.digest)
    return world


async def disable(world: World, at: datetime, *numbers: int) -> RunOutcome:
    world.now = at
    for number in numbers:
        world.source.change(f"p{number:02}", disabled=True)
    return await run.apply(world.ledger, world.setup, fence=ALONE, now=at, actor="test", auto=True)


@pytest.mark.parametrize(("after", "state"), [(DAY - TICK, RunState.HELD), (DAY, RunState.APPLIED)])
async def test_g1_the_day_window_ends_exactly_24_hours_later(
    ledger: Ledger, now: datetime, after: timedelta, state: RunState
) -> None:
    world = await company(ledger, now, month_percent=100)
    start = now + timedelta(hours=1)
    assert (await disable(world, start, 0, 1)).state is RunState.APPLIED
    assert (await disable(world, start + after, 2)).state is state


@pytest.mark.parametrize(("after", "state"), [(MONTH - TICK, RunState.HELD), (MONTH, RunState.APPLIED)])
async def test_g1_the_month_window_ends_exactly_30_days_later(
    ledger: Ledger, now: datetime, after: timedelta, state: RunState
) -> None:
    world = await company(ledger, now)
    start = now + timedelta(hours=1)
    assert (await disable(world, start, 0, 1)).state is RunState.APPLIED
    outcome = await disable(world, start + after, 2)
    # those of the first day are due for release and removal by then: each its own kind of harm
    assert ("DisableIdentity" in outcome.held_counts) is (state is RunState.HELD)


async def test_g1_one_by_one_is_no_way_round_and_a_return_gives_nothing_back(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    for hour in (1, 2):
        assert (await disable(world, now + timedelta(hours=hour), hour)).state is RunState.APPLIED
    world.source.change("p01", disabled=False)
    back = await run.apply(ledger, world.setup, fence=ALONE, now=now + timedelta(hours=3), actor="test", auto=True)
    assert back.counts == {"Reinstate": 2}
    assert (await disable(world, now + timedelta(hours=4), 3)).state is RunState.HELD
    world.source.change("p03", disabled=False)
    again = await disable(world, now + timedelta(hours=5), 1)
    assert again.state is RunState.APPLIED, "the same person twice is one person"


async def test_g1_harm_that_was_undone_counts_no_more(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    first = await disable(world, now + timedelta(hours=1), 0, 1)
    assert (await disable(world, now + timedelta(hours=2), 2)).state is RunState.HELD
    for uid in ("p00", "p01", "p02"):
        world.source.change(uid, disabled=False)
    when = now + timedelta(hours=3)
    await run.undo(
        ledger, world.setup, first.run_id, actor="ada", reason="a mistake", fence=ALONE, now=when, dry_run=False
    )
    assert (await disable(world, now + timedelta(hours=4), 3, 4)).state is RunState.APPLIED
    assert (await disable(world, now + timedelta(hours=5), 5)).state is RunState.HELD


async def test_g1_after_an_approved_mass_leave_the_rest_is_guarded_by_its_own_size(
    ledger: Ledger, now: datetime
) -> None:
    world = await company(ledger, now, size=60, day_percent=10, day_floor=1, month_percent=100)
    later = now + timedelta(days=2)
    held = await disable(world, later, *range(40))
    assert held.state is RunState.HELD
    await run.approve(ledger, world.setup, held.held, reason="a site closes", actor="ada", fence=ALONE, now=later)
    assert (await disable(world, later + timedelta(hours=1), 40, 41)).state is RunState.APPLIED
    more = await disable(world, later + timedelta(hours=2), 42)
    assert more.state is RunState.HELD, "ten per cent of the 20 who stayed are two, of the 60 before they were six"


async def test_g7_an_approved_mass_leave_is_not_held_again_when_its_delays_are_over(
    ledger: Ledger, now: datetime
) -> None:
    world = await company(ledger, now)
    held = await disable(world, now + timedelta(days=1), *range(8))
    assert (held.state, held.held_counts) == (RunState.HELD, {"PauseSeat": 8, "DisableIdentity": 8})
    approved = await run.approve(
        ledger, world.setup, held.held, reason="a site closes", actor="ada", fence=ALONE, now=world.now
    )
    assert approved.counts == {"PauseSeat": 8, "DisableIdentity": 8}
    released = await disable(world, now + timedelta(days=8))
    assert (released.state, released.counts) == (RunState.APPLIED, {"ReleaseSeat": 8})
    removed = await disable(world, now + timedelta(days=31))
    assert (removed.state, removed.counts) == (RunState.APPLIED, {"LeaveTeam": 8, "RemoveIdentity": 8})
    assert (await disable(world, now + timedelta(days=31, hours=1), 8, 9)).state is RunState.APPLIED, (
        "nothing was counted"
    )


async def test_g7_a_leaver_whom_nobody_approved_is_counted_at_every_stage(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now, month_percent=100)
    for day in range(2, 5):
        assert (await disable(world, now + timedelta(days=day), 2 * day, 2 * day + 1)).state is RunState.APPLIED
    late = await disable(world, now + timedelta(days=20))
    assert (late.state, late.held_counts) == (RunState.HELD, {"ReleaseSeat": 6}), "six at once are more than two"


async def test_g7_an_approval_is_used_up_when_its_leaver_came_back(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    held = await disable(world, now + timedelta(days=1), *range(8))
    await run.approve(ledger, world.setup, held.held, reason="a site closes", actor="ada", fence=ALONE, now=world.now)
    for number in range(8):
        world.source.change(f"p{number:02}", disabled=False)
    await run.apply(ledger, world.setup, fence=ALONE, now=now + timedelta(days=2), actor="test", auto=True)
    again = await disable(world, now + timedelta(days=6), *range(8))
    assert again.held_counts == {"PauseSeat": 8, "DisableIdentity": 8}, "leaving anew is decided anew"
