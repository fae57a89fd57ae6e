"""What is due when: APScheduler lives here only. Enqueues durable jobs; decides and runs nothing.

The scheduler goes by the wall clock. A step of it is survived both ways: set back, everything is planned anew, so that
nothing waits until the clock has caught up; ahead, each kind fires once, however often it would have meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from ledger.errors import RosterdError
from ledger.store import jobs
from rosterd.clock import Clock
from rosterd.health import Metrics
from rosterd.job_kinds import EVIDENCE, PUBLISH, RECONCILE, SEAL
from rosterd.logs import event
from rosterd.service import Service

_SEAL_EVERY = timedelta(hours=1)
_SPREAD = 0.05
_OVERDUE = timedelta(minutes=1)
_LOOK_EVERY = 1.0
_LAST_ONES = 5.0
"""Seconds that what is being enqueued has to end in: a short transaction each."""
_TOLERATED = 5.0
"""Seconds between two looks that are no step: a busy loop, a clock that is slewed."""
_log = logging.getLogger(__name__)


class _Every(BaseTrigger):  # type: ignore[misc]
    """Fires an interval after the last firing, seen from now: what was missed is never counted up, one by one."""

    def __init__(self, interval: timedelta) -> None:
        self._interval = interval

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """An interval from now, or up to a twentieth of it more."""
        fires: datetime = self._apply_jitter(now + self._interval, self._interval.total_seconds() * _SPREAD, now)
        return fires


class Schedule:
    """Interval jobs for every organization of the settings in force."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._scheduler = AsyncIOScheduler(timezone="UTC")
        self._at_work: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin; everything is due at once, since nobody knows how long the daemon was down."""
        self._plan()
        self._scheduler.start()

    def reload(self) -> None:
        """Take over changed intervals, or a clock that was stepped; everything is due at once."""
        self._scheduler.remove_all_jobs()
        self._plan()

    async def watch(self) -> None:
        """For ever: plan anew when something is long overdue, since then the scheduler itself has stopped."""
        while True:
            await asyncio.sleep(_OVERDUE.total_seconds() / 2)
            now = self._service.clock()
            late = [job.id for job in self._scheduler.get_jobs() if now - job.next_run_time > _OVERDUE]
            if late:
                event(_log, "schedule.stalled", level=logging.ERROR, kinds=late)
                self.reload()

    async def stop(self) -> None:
        """Enqueue nothing any more; what is being enqueued ends first, or is given up after 5 s."""
        if not self._scheduler.running:
            return
        self._scheduler.pause()
        if at_work := list(self._at_work):
            _, late = await asyncio.wait(at_work, timeout=_LAST_ONES)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._scheduler.shutdown(wait=False)

    def _plan(self) -> None:
        section = self._service.settings.installation.schedule
        every = {
            EVIDENCE: section.evidence_every,
            RECONCILE: section.reconcile_every,
            PUBLISH: section.publish_every,
            SEAL: _SEAL_EVERY,
        }
        now = self._service.clock()
        for kind, interval in every.items():
            if interval:
                self._add(kind, interval, now)

    def _add(self, kind: str, interval: timedelta, now: datetime) -> None:
        self._scheduler.add_job(
            self._fire,
            _Every(interval),
            args=(kind,),
            id=kind,
            name=f"enqueue {kind}",
            next_run_time=now,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )

    async def _fire(self, kind: str) -> None:
        """In a task of its own: the scheduler cancels its own at the end, and logs that as an error."""
        task = asyncio.create_task(self.enqueue(kind), name=f"enqueue {kind}")
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()

    async def enqueue(self, kind: str) -> None:
        """One job of this kind per organization, unless one waits already."""
        for name in self._service.settings.customers:
            try:
                await jobs.enqueue(self._service.ledger, name, kind, now=self._service.clock(), dedupe_key=kind)
            except RosterdError as error:
                event(_log, "job.not_enqueued", level=logging.WARNING, kind=kind, organization=name, why=error.what)


async def watch_clock(clock: Clock, metrics: Metrics, stepped: Callable[[], None]) -> None:
    """Hold the wall clock against the loop's steady one, second by second, and tell its steps. Until cancelled.

    ``stepped`` is called after each. A host that slept shows as a step ahead.
    """
    steady = asyncio.get_running_loop().time
    wall, at = clock(), steady()
    while True:
        await asyncio.sleep(_LOOK_EVERY)
        now, then = clock(), steady()
        step = (now - wall).total_seconds() - (then - at)
        wall, at = now, then
        if abs(step) > _TOLERATED:
            metrics.clock_steps.labels("back" if step < 0 else "ahead").inc()
            event(_log, "clock.stepped", level=logging.WARNING, seconds=round(step, 1))
            stepped()
