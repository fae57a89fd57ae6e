"""A step of the wall clock stops no schedule and floods none: the scheduler itself, its clock moved under it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Self, cast

import pytest

from rosterd import schedule as scheduling
from rosterd.health import Metrics
from rosterd.schedule import Schedule, _Every
from rosterd.service import Service

STEPS = [timedelta(days=days) for days in (-400, 40_000)] + [timedelta(hours=hours) for hours in (-2, 3)]


class Moved(datetime):
    """The real time, and a step."""

    step = timedelta(0)

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        moved = datetime.now(UTC) + cls.step
        return cls.fromtimestamp(moved.timestamp(), tz)


@pytest.fixture
def schedule(monkeypatch: pytest.MonkeyPatch) -> Schedule:
    """Fires every fifth of a second, into ``fired``."""
    monkeypatch.setattr("apscheduler.schedulers.base.datetime", Moved)
    monkeypatch.setattr(Moved, "step", timedelta(0))
    made = Schedule(cast(Service, None))
    fired: list[float] = []

    def plan(self: Schedule) -> None:
        self._add("reconcile", timedelta(seconds=0.2), Moved.now(UTC))

    async def enqueue(_kind: str) -> None:
        fired.append(asyncio.get_running_loop().time())

    monkeypatch.setattr(Schedule, "_plan", plan)
    monkeypatch.setattr(made, "enqueue", enqueue)
    made.fired = fired  # type: ignore[attr-defined]
    return made


async def firings(schedule: Any, seconds: float) -> int:
    before = len(schedule.fired)
    await asyncio.sleep(seconds)
    return len(schedule.fired) - before


@pytest.mark.parametrize(
    "step", [timedelta(hours=-2), timedelta(days=-400), timedelta(hours=3), timedelta(days=40_000)]
)
async def test_a_stepped_clock_neither_stops_nor_floods_the_schedule(
    schedule: Any, monkeypatch: pytest.MonkeyPatch, step: timedelta
) -> None:
    monkeypatch.setattr(scheduling, "_LOOK_EVERY", 0.1)
    metrics = Metrics()
    schedule.start()
    watching = asyncio.create_task(scheduling.watch_clock(lambda: Moved.now(UTC), metrics, schedule.reload))
    try:
        assert 2 <= await firings(schedule, 1.0) <= 8
        monkeypatch.setattr(Moved, "step", step)
        assert 2 <= await firings(schedule, 1.0) <= 9, "at most one more than without a step"
    finally:
        await schedule.stop()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    direction = "back" if step < timedelta(0) else "ahead"
    assert metrics.registry.get_sample_value("rosterd_clock_steps_total", {"direction": direction}) == 1


@pytest.mark.parametrize("taking", [0.2, 60.0])
async def test_the_end_waits_for_what_is_being_enqueued_and_logs_no_error(
    schedule: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, taking: float
) -> None:
    monkeypatch.setattr(scheduling, "_LAST_ONES", 0.5)
    ended: list[str] = []
    begun = asyncio.Event()

    async def enqueue(kind: str) -> None:
        begun.set()
        await asyncio.sleep(taking)
        ended.append(kind)

    monkeypatch.setattr(schedule, "enqueue", enqueue)
    schedule.start()
    await begun.wait()
    await schedule.stop()
    assert ended == (["reconcile"] if taking < 1 else [])
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_what_was_missed_is_not_counted_up() -> None:
    """Over a hundred years of every five minutes the next firing is asked for once."""
    now = datetime(2126, 1, 1, tzinfo=UTC)
    fires = _Every(timedelta(minutes=5)).get_next_fire_time(datetime(2026, 1, 1, tzinfo=UTC), now)
    assert timedelta(minutes=5) <= fires - now <= timedelta(minutes=5, seconds=15)
