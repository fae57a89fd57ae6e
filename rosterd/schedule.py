"""What is due when: APScheduler lives here only. Enqueues durable jobs; decides and runs nothing."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from ledger.errors import RosterdError
from ledger.store import jobs
from rosterd.job_kinds import EVIDENCE, PUBLISH, RECONCILE, SEAL
from rosterd.logs import event
from rosterd.service import Service

_SEAL_EVERY = timedelta(hours=1)
_log = logging.getLogger(__name__)


class Schedule:
    """Interval jobs for every organization of the settings in force."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._scheduler = AsyncIOScheduler(timezone="UTC")

    def start(self) -> None:
        """Begin; everything is due at once, since nobody knows how long the daemon was down."""
        self._plan()
        self._scheduler.start()

    def reload(self) -> None:
        """Take over changed intervals."""
        self._scheduler.remove_all_jobs()
        self._plan()

    def stop(self) -> None:
        """Enqueue nothing any more."""
        if self._scheduler.running:
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
            self.enqueue,
            IntervalTrigger(seconds=int(interval.total_seconds()), jitter=int(interval.total_seconds() * 0.05)),
            args=(kind,),
            id=kind,
            name=f"enqueue {kind}",
            next_run_time=now,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )

    async def enqueue(self, kind: str) -> None:
        """One job of this kind per organization, unless one waits already."""
        for name in self._service.settings.customers:
            try:
                await jobs.enqueue(self._service.ledger, name, kind, now=self._service.clock(), dedupe_key=kind)
            except RosterdError as error:
                event(_log, "job.not_enqueued", level=logging.WARNING, kind=kind, organization=name, why=error.what)
