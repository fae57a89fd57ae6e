"""Claims jobs and does each in a worker process: heartbeats while it lives, ends it past its deadline (A4).

Decides nothing about a job; never runs one in this process.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec

from ledger.errors import Retryable, RosterdError, Stale
from ledger.jobs import Claim, Job, JobState, RetryRules, Watch, Whereabouts
from ledger.store import jobs
from rosterd import processes
from rosterd.handover import Handover
from rosterd.health import Metrics
from rosterd.job_kinds import KINDS
from rosterd.logs import event
from rosterd.service import Service

_log = logging.getLogger(__name__)
_POLL = 0.5
_HEARTBEAT = 15.0
_CARE_EVERY = 30.0
_LONGEST_PAUSE = 15.0
_NOT_STARTED = timedelta(seconds=5)
_MOST_OUTPUT = 4 * 1024 * 1024


class Supervisor:
    """Runs at most ``most`` worker processes at a time."""

    def __init__(self, service: Service, metrics: Metrics, *, most: int = 2) -> None:
        self._service = service
        self._metrics = metrics
        self._most = most
        self._holder = processes.holder()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._rules = RetryRules()
        self._watch = Watch(self._rules)
        self._attempts: set[Claim] = set()

    async def run(self) -> None:
        """Until ``stop``: claim what is due, bring back what died. The wall clock says what is due, nothing else."""
        steady = asyncio.get_running_loop().time
        care_at = steady()
        while not self._stopping.is_set():
            try:
                if steady() >= care_at:
                    care_at = steady() + _CARE_EVERY
                    await self._bring_back()
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
        now = self._service.clock()
        if not await jobs.any_due(self._service.ledger, KINDS, now=now):
            return None
        deadline = self._service.settings.installation.schedule.run_deadline
        return await jobs.claim(self._service.ledger, KINDS, self._holder, now=now, deadline=deadline)

    async def _bring_back(self) -> None:
        """Give back what died here or elsewhere: whose process is gone, or gave no sign of life for too long."""
        now = self._service.clock()
        for dead in await jobs.requeue_dead(self._service.ledger, self._dead, now=now, rules=self._rules):
            event(_log, "job.dead", level=logging.WARNING, job=dead.id, kind=dead.kind, holder=dead.holder)

    def _dead(self, running: Sequence[Job]) -> list[Job]:
        lost = [job for job in running if job.holder == self._holder and job.claim not in self._attempts]
        others = [job for job in running if job.holder != self._holder]
        silent = self._watch.dead(others, asyncio.get_running_loop().time())
        gone = [job for job in others if processes.whereabouts(job.holder) is Whereabouts.GONE and job not in silent]
        return [*lost, *silent, *gone]

    def _begin(self, job: Job) -> None:
        self._attempts.add(job.claim)
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
        try:
            await self._work(job)
        finally:
            self._attempts.discard(job.claim)

    async def _work(self, job: Job) -> None:
        if job.organization not in self._service.settings.customers:
            await self._settle(job, {"error": "the organization has no file any more", "retry_after": None})
            return
        handover = Handover.of(self._service.settings, job)
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "rosterd.worker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_MOST_OUTPUT,
            )
        except OSError as error:  # no file descriptors, no memory, no processes: not the job's fault
            await self._give_back(job, f"no worker could be started: {error.strerror or error}")
            return
        event(_log, "job.started", job=job.id, kind=job.kind, organization=job.organization, worker=process.pid)
        heart = asyncio.create_task(self._keep_alive(job, process), name=f"heartbeat of {job.id}")
        answer = {"error": "the daemon stopped before it was done", "retry_after": 0.0}
        try:
            answer = await self._converse(job, process, handover)
            await self._settle(job, answer)
        except asyncio.CancelledError:
            _end(process)
            await asyncio.shield(self._settle(job, answer, patient=False))
            raise
        finally:
            heart.cancel()
            _end(process)
            await asyncio.gather(heart, process.wait(), return_exceptions=True)

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

    async def _give_back(self, job: Job, why: str) -> None:
        """It waits again, for a while, and has not been tried."""
        event(_log, "job.not_started", level=logging.ERROR, job=job.id, kind=job.kind, why=why)
        with suppress(RosterdError):  # then it is found lost
            now = self._service.clock()
            await jobs.give_back(
                self._service.ledger, job, now=now, outcome={"error": why}, run_after=now + _NOT_STARTED
            )

    async def _settle(self, job: Job, answer: dict[str, Any], *, patient: bool = True) -> None:
        """Write down how the job ended, as often as it takes: a ledger that is busy loses no outcome. What the worker's
        own transaction settled stays as it is (A4). ``patient``: wait for the ledger."""
        pause = _POLL
        while True:
            try:
                ended = await self._write(job, answer)
                break
            except Stale:
                ended = await self._found(job)
                break
            except Retryable as error:
                event(_log, "job.unsettled", level=logging.WARNING, job=job.id, why=error.what)
                if not patient:
                    return
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        self._tell(job, answer, ended)

    async def _write(self, job: Job, answer: dict[str, Any]) -> str:
        """``done``, ``again`` or ``failed``. Raises ``Stale`` when the job is settled, or another's."""
        now = self._service.clock()
        if "error" not in answer:
            await jobs.finish(self._service.ledger, job, now=now, outcome=answer["outcome"])
            return "done"
        why = {"error": str(answer["error"])}
        if answer.get("untried"):
            later = now + timedelta(seconds=answer["retry_after"])
            await jobs.give_back(self._service.ledger, job, now=now, outcome=why, run_after=later)
            return "again"
        again = self._rules.next_try(job.attempts, now) if answer["retry_after"] is not None else None
        await jobs.fail(self._service.ledger, job, now=now, outcome=why, retry_at=again)
        return "again" if again else "failed"

    async def _found(self, job: Job) -> str:
        """How the job stands: ``done`` by its own transaction, or ``taken`` by another attempt."""
        stored = await jobs.get(self._service.ledger, job.id)
        return "done" if stored.state is JobState.DONE and stored.claim == job.claim else "taken"

    def _tell(self, job: Job, answer: dict[str, Any], ended: str) -> None:
        self._metrics.jobs.labels(job.kind, ended).inc()
        about: dict[str, Any] = {"job": job.id, "kind": job.kind, "organization": job.organization}
        if ended == "done":
            event(_log, "job.done", **about, outcome=loggable(answer.get("outcome", {"state": "settled"})))
        elif ended == "taken":
            event(_log, "job.taken", level=logging.WARNING, **about)
        else:
            level = logging.WARNING if ended == "again" else logging.ERROR
            event(_log, "job.failed", level=level, **about, why=str(answer["error"]))

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
