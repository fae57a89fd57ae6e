"""A4 on both databases: how a job ended is written down however busy the ledger is, once, and as it was."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ledger.jobs import Job, JobState
from ledger.store import jobs
from ledger.store.engine import Ledger
from rosterd import supervisor
from rosterd.health import Metrics
from rosterd.service import Service
from rosterd.supervisor import Supervisor

ANSWERS = {"done": {"outcome": {"state": "applied"}}, "failed": {"error": "refused", "retry_after": None}}


def now() -> datetime:
    return datetime.now(UTC)


class Answered(Supervisor):
    """A supervisor whose worker has answered; what it does then is the product's own."""

    async def _work(self, job: Job) -> None:
        await self._settle(job, cast(dict[str, Any], job.payload))


@pytest.fixture
async def impatient(ledger: Ledger, ledger_url: str) -> AsyncIterator[Ledger]:
    """The same ledger for a process that waits a tenth of a second for another writer."""
    opened = Ledger.open(ledger_url, busy_seconds=0.1)
    yield opened
    await opened.close()


def supervising(ledger: Ledger) -> Answered:
    service = SimpleNamespace(ledger=ledger, clock=now, settings=None)
    return Answered(cast(Service, service), Metrics())


@pytest.mark.parametrize("ending", ANSWERS)
async def test_a4_a_busy_ledger_loses_no_outcome(
    ledger: Ledger, impatient: Ledger, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_POLL", 0.1)
    job_id = await jobs.enqueue(ledger, "acme", "seal", ANSWERS[ending], now=now())
    working = supervising(impatient)
    job = await jobs.claim(ledger, ["seal"], working._holder, now=now(), deadline=timedelta(hours=1))
    assert job is not None
    async with ledger.unscoped_write() as connection:
        await jobs._still_mine(connection, job)  # its row is locked, as by whoever looks for dead jobs
        task = asyncio.create_task(working._attend(job))
        await asyncio.sleep(1.5)
        assert not task.done()
    await task
    stored = await jobs.get(ledger, job_id)
    assert stored.state is (JobState.DONE if ending == "done" else JobState.FAILED)
    assert stored.outcome == ({"state": "applied"} if ending == "done" else {"error": "refused"})
    assert working._metrics.registry.get_sample_value("rosterd_jobs_total", {"kind": "seal", "outcome": ending}) == 1


async def test_a4_what_the_worker_s_transaction_settled_is_told_as_done_though_it_died(ledger: Ledger) -> None:
    died = {"error": "the worker process ended with -9 and no answer", "retry_after": 5.0}
    job_id = await jobs.enqueue(ledger, "acme", "approve", died, now=now())
    working = supervising(ledger)
    job = await jobs.claim(ledger, ["approve"], working._holder, now=now(), deadline=timedelta(hours=1))
    assert job is not None
    await jobs.finish(ledger, job, now=now(), outcome={"state": "applied"})
    await working._attend(job)
    stored = await jobs.get(ledger, job_id)
    assert (stored.state, stored.outcome) == (JobState.DONE, {"state": "applied"})
    told = working._metrics.registry.get_sample_value
    assert told("rosterd_jobs_total", {"kind": "approve", "outcome": "done"}) == 1
    assert told("rosterd_jobs_total", {"kind": "approve", "outcome": "again"}) is None


async def test_a4_a_job_whose_task_was_lost_here_comes_back_at_the_next_look(ledger: Ledger) -> None:
    await jobs.enqueue(ledger, "acme", "seal", now=now())
    working = supervising(ledger)
    job = await jobs.claim(ledger, ["seal"], working._holder, now=now(), deadline=timedelta(hours=1))
    assert job is not None
    working._attempts.add(job.claim)
    await working._bring_back()
    assert (await jobs.get(ledger, job.id)).state is JobState.RUNNING
    working._attempts.clear()
    await working._bring_back()
    assert (await jobs.get(ledger, job.id)).state is JobState.WAITING


async def test_a4_what_a_killed_daemon_of_this_host_left_running_comes_back_at_once(ledger: Ledger) -> None:
    named = "from rosterd.processes import holder; print(holder())"
    ended = await asyncio.create_subprocess_exec(sys.executable, "-c", named, stdout=asyncio.subprocess.PIPE)
    name = (await ended.communicate())[0].decode().strip()
    await jobs.enqueue(ledger, "acme", "seal", now=now())
    await jobs.enqueue(ledger, "globex", "seal", now=now())
    left = await jobs.claim(ledger, ["seal"], name, now=now(), deadline=timedelta(hours=1))
    far = await jobs.claim(ledger, ["seal"], "elsewhere:1:00000000:1:abc", now=now(), deadline=timedelta(hours=1))
    assert left is not None
    assert far is not None
    await supervising(ledger)._bring_back()
    assert (await jobs.get(ledger, left.id)).state is JobState.WAITING
    assert (await jobs.get(ledger, far.id)).state is JobState.RUNNING
