"""Claims jobs and does each in a worker process: heartbeats while it lives, ends it past its deadline (A4).

Decides nothing about a job; never runs one in this process.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec

from ledger.errors import RosterdError, Stale
from ledger.jobs import Job, JobState, RetryRules
from ledger.store import jobs
from rosterd.handover import Handover
from rosterd.health import Metrics
from rosterd.job_kinds import KINDS
from rosterd.leasing import holder
from rosterd.logs import event
from rosterd.service import Service

_log = logging.getLogger(__name__)
_POLL = 0.5
_HEARTBEAT = 15.0
_CARE_EVERY = timedelta(seconds=30)
_MOST_OUTPUT = 4 * 1024 * 1024


class Supervisor:
    """Runs at most ``most`` worker processes at a time."""

    def __init__(self, service: Service, metrics: Metrics, *, most: int = 2) -> None:
        self._service = service
        self._metrics = metrics
        self._most = most
        self._holder = holder()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._rules = RetryRules()

    async def run(self) -> None:
        """Until ``stop``: claim what is due, bring back what died."""
        care_at = self._service.clock()
        while not self._stopping.is_set():
            try:
                now = self._service.clock()
                if now >= care_at:
                    care_at = now + _CARE_EVERY
                    for dead in await jobs.requeue_dead(self._service.ledger, now=now, rules=self._rules):
                        event(_log, "job.dead", level=logging.WARNING, job=dead.id, kind=dead.kind, holder=dead.holder)
                while len(self._tasks) < self._most and (job := await self._claim()) is not None:
                    self._begin(job)
            except RosterdError as error:
                event(_log, "supervisor.waiting", level=logging.WARNING, why=error.what)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _POLL)

    async def stop(self, drain: timedelta) -> None:
        """Claim nothing more; give workers ``drain`` to end, then end them: their jobs go back to waiting."""
        self._stopping.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=drain.total_seconds())
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    @property
    def running(self) -> int:
        """Worker processes at work."""
        return len(self._tasks)

    async def _claim(self) -> Job | None:
        """Look without a write first: on SQLite a claim waits for whoever writes."""
        waiting = await jobs.recent(self._service.ledger, states=(JobState.WAITING,), limit=1000)
        now = self._service.clock()
        if not any(job.run_after <= now for job in waiting):
            return None
        deadline = self._service.settings.installation.schedule.run_deadline
        return await jobs.claim(self._service.ledger, KINDS, self._holder, now=now, deadline=deadline)

    def _begin(self, job: Job) -> None:
        task = asyncio.create_task(self._attend(job), name=f"job {job.kind} of {job.organization}")
        self._tasks.add(task)
        self._metrics.running.set(len(self._tasks))
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._metrics.running.set(len(self._tasks))
        if not task.cancelled() and task.exception() is not None:
            event(_log, "job.lost", level=logging.ERROR, task=task.get_name(), error=repr(task.exception()))

    async def _attend(self, job: Job) -> None:
        if job.organization not in self._service.settings.customers:
            await self._fail(job, "the organization has no file any more", None)
            return
        handover = Handover(self._service.settings, job.organization, job.kind, dict(job.payload or {}), job.claim)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "rosterd.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_MOST_OUTPUT,
        )
        event(_log, "job.started", job=job.id, kind=job.kind, organization=job.organization, worker=process.pid)
        heart = asyncio.create_task(self._keep_alive(job, process), name=f"heartbeat of {job.id}")
        try:
            await self._settle(job, await self._converse(job, process, handover))
        except asyncio.CancelledError:
            _end(process)
            await asyncio.shield(self._fail(job, "the daemon stopped before it was done", 0.0))
            raise
        finally:
            heart.cancel()
            _end(process)
            await process.wait()

    async def _converse(self, job: Job, process: asyncio.subprocess.Process, handover: Handover) -> dict[str, Any]:
        """The worker's answer, or why there is none."""
        assert process.stdin is not None  # noqa: S101 - it was asked for
        assert process.stdout is not None  # noqa: S101 - likewise
        limit = self._service.settings.installation.schedule.run_deadline
        try:
            async with asyncio.timeout(limit.total_seconds()):
                with suppress(ConnectionError):  # it died at once: its exit code says more
                    process.stdin.write(handover.to_line())
                    await process.stdin.drain()
                line = await process.stdout.readline()
                code = None if line else await process.wait()
        except TimeoutError:
            return {"error": "it overran its deadline and was ended; nothing of it was committed", "retry_after": None}
        if not line:
            return {"error": f"the worker process ended with {code} and no answer", "retry_after": 5.0}
        answer: dict[str, Any] = msgspec.json.decode(line)
        return answer

    async def _settle(self, job: Job, answer: dict[str, Any]) -> None:
        if "error" in answer:
            await self._fail(job, str(answer["error"]), answer["retry_after"])
            return
        with suppress(Stale):
            await jobs.finish(self._service.ledger, job, now=self._service.clock(), outcome=answer["outcome"])
        self._metrics.jobs.labels(job.kind, "done").inc()
        outcome = loggable(answer["outcome"])
        event(_log, "job.done", job=job.id, kind=job.kind, organization=job.organization, outcome=outcome)

    async def _fail(self, job: Job, why: str, retry_after: float | None) -> None:
        now = self._service.clock()
        again = None
        if retry_after is not None:
            again = self._rules.next_try(job.attempts, now)
        with suppress(Stale):
            await jobs.fail(self._service.ledger, job, now=now, outcome={"error": why}, retry_at=again)
        self._metrics.jobs.labels(job.kind, "again" if again else "failed").inc()
        level = logging.WARNING if again else logging.ERROR
        event(_log, "job.failed", level=level, job=job.id, kind=job.kind, organization=job.organization, why=why)

    async def _keep_alive(self, job: Job, process: asyncio.subprocess.Process) -> None:
        """Heartbeats for as long as the process lives; ends it when the job was taken away."""
        while True:
            await asyncio.sleep(_HEARTBEAT)
            try:
                await jobs.heartbeat(self._service.ledger, job, now=self._service.clock())
            except Stale:
                event(_log, "job.taken", level=logging.WARNING, job=job.id, kind=job.kind)
                _end(process)
                return
            except RosterdError as error:  # busy, perhaps with the worker's own transaction
                event(_log, "job.heartbeat_late", level=logging.DEBUG, job=job.id, why=error.what)


def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()


def loggable(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """What of a job's outcome goes into the log: single values and counts. Lists name people, and stay out of it."""
    found = {name: value for name, value in outcome.items() if value not in ("", None, {}, [])}
    return {name: value for name, value in found.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else (value,)
    return not any(isinstance(item, dict | list) for item in inner)
