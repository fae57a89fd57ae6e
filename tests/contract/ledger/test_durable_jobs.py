"""Durable jobs on both databases: each is done once, dead ones come back, overtaken ones cannot finish (A4)."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta

import pytest

from ledger.book_time import HostTime
from ledger.errors import NotFound, Stale
from ledger.jobs import Job, JobState, RetryRules, Unleased, Watch
from ledger.store import jobs
from ledger.store.engine import Ledger

HOUR = timedelta(hours=1)
RULES = RetryRules(silence=timedelta(seconds=60), max_attempts=2, backoff=timedelta(seconds=30))


async def claimed(ledger: Ledger, now: datetime, holder: str = "w1") -> Job:
    job = await jobs.claim(ledger, ["run"], holder, now=now, deadline=HOUR)
    assert job is not None
    return job


async def brought_back(ledger: Ledger, watch: Watch, second: float, now: datetime) -> list[str]:
    """What a process with this watch gives back at a second of its own steady clock."""
    dead = await jobs.requeue_dead(ledger, lambda running: watch.dead(running, second), now=now, rules=RULES)
    return [job.id for job in dead]


async def test_a_job_lives_from_waiting_to_done(ledger: Ledger, now: datetime) -> None:
    job_id = await jobs.enqueue(ledger, "acme", "run", {"full": True}, now=now, run_after=now + HOUR)
    assert await jobs.claim(ledger, ["run"], "w1", now=now, deadline=HOUR) is None
    assert await jobs.claim(ledger, ["publish"], "w1", now=now + HOUR, deadline=HOUR) is None
    job = await claimed(ledger, now + HOUR)
    assert (job.id, job.organization, job.payload, job.state) == (job_id, "acme", {"full": True}, JobState.RUNNING)
    assert (job.attempts, job.holder, job.deadline_at) == (1, "w1", now + 2 * HOUR)
    assert await jobs.claim(ledger, ["run"], "w2", now=now + HOUR, deadline=HOUR) is None
    await jobs.finish(ledger, job, now=now + HOUR, outcome={"exit": 0})
    stored = await jobs.get(ledger, job_id)
    assert (stored.state, stored.outcome, stored.finished_at) == (JobState.DONE, {"exit": 0}, now + HOUR)


async def test_due_longest_is_first(ledger: Ledger, now: datetime) -> None:
    late = await jobs.enqueue(ledger, "acme", "run", now=now, run_after=now - HOUR)
    later = await jobs.enqueue(ledger, "globex", "run", now=now, run_after=now)
    latest = await jobs.enqueue(ledger, "acme", "run", now=now, run_after=now - 2 * HOUR)
    assert [(await claimed(ledger, now)).id for _ in range(3)] == [latest, late, later]


async def test_a_waiting_job_of_the_same_key_is_joined_and_never_delayed(ledger: Ledger, now: datetime) -> None:
    first = await jobs.enqueue(ledger, "acme", "run", now=now, run_after=now + HOUR, dedupe_key="run")
    same = await jobs.enqueue(ledger, "acme", "run", now=now, run_after=now + 2 * HOUR, dedupe_key="run")
    other = await jobs.enqueue(ledger, "globex", "run", now=now, run_after=now + HOUR, dedupe_key="run")
    assert (same == first, other == first) == (True, False)
    assert (await jobs.get(ledger, first)).run_after == now + HOUR
    assert await jobs.enqueue(ledger, "acme", "run", now=now, dedupe_key="run") == first
    assert (await claimed(ledger, now)).id == first
    behind = await jobs.enqueue(ledger, "acme", "run", now=now, dedupe_key="run")
    assert behind != first
    assert {await jobs.enqueue(ledger, "acme", "run", now=now), await jobs.enqueue(ledger, "acme", "run", now=now)}


async def test_a4_a_silent_job_comes_back_and_its_old_worker_cannot_finish_it(ledger: Ledger, now: datetime) -> None:
    await jobs.enqueue(ledger, "acme", "run", now=now)
    first = await claimed(ledger, now, "w1")
    watch = Watch(RULES)
    assert await brought_back(ledger, watch, 0, now) == []
    await jobs.heartbeat(ledger, first, now=now + timedelta(seconds=50))
    assert await brought_back(ledger, watch, 60, now) == []
    after = now + timedelta(seconds=111)
    assert await brought_back(ledger, watch, 120, now) == []
    assert await brought_back(ledger, watch, 121, after) == [first.id]
    assert await jobs.claim(ledger, ["run"], "w2", now=after, deadline=HOUR) is None
    second = await claimed(ledger, after + RULES.backoff, "w2")
    assert (second.id, second.attempts) == (first.id, 2)
    for overtaken in (
        jobs.heartbeat(ledger, first, now=after),
        jobs.finish(ledger, first, now=after),
        jobs.fail(ledger, first, now=after),
        jobs.fail(ledger, first, now=after, retry_at=after),
    ):
        with pytest.raises(Stale):
            await overtaken
    await jobs.finish(ledger, second, now=after)


async def test_a4_attempts_end(ledger: Ledger, now: datetime) -> None:
    job_id = await jobs.enqueue(ledger, "acme", "run", now=now)
    for _ in range(2):
        await claimed(ledger, now)
        watch = Watch(RULES)
        assert await brought_back(ledger, watch, 0, now) == []
        now += 2 * HOUR  # past its deadline
        assert len(await brought_back(ledger, watch, 7200, now)) == 1
        now += RULES.backoff
    stored = await jobs.get(ledger, job_id)
    assert (stored.state, stored.attempts) == (JobState.FAILED, 2)
    assert "went silent" in stored.outcome["error"]


@pytest.mark.parametrize("skew", [timedelta(hours=-5), timedelta(seconds=-90), timedelta(0), timedelta(days=2)])
async def test_a4_another_host_s_clock_neither_kills_a_job_nor_keeps_a_dead_one(
    ledger: Ledger, now: datetime, skew: timedelta
) -> None:
    await jobs.enqueue(ledger, "acme", "run", now=now)
    theirs = now + skew
    job = await jobs.claim(ledger, ["run"], "w2", now=max(theirs, now), deadline=HOUR)
    assert job is not None
    watch, found = Watch(RULES), []
    for second in range(0, 300, 30):
        await jobs.heartbeat(ledger, job, now=theirs + timedelta(seconds=second))
        found += await brought_back(ledger, watch, second, now + timedelta(seconds=second))
    assert found == [], "it lives, whatever its clock says"
    for second in range(300, 400, 30):
        found += await brought_back(ledger, watch, second, now + timedelta(seconds=second))
    assert found == [job.id]


async def test_a4_a_clock_set_back_keeps_no_retry_and_no_new_job_waiting(ledger: Ledger, now: datetime) -> None:
    ahead = now + timedelta(days=1)
    fresh = await jobs.enqueue(ledger, "acme", "run", now=ahead, run_after=ahead + HOUR)
    await jobs.enqueue(ledger, "globex", "run", now=ahead)
    tried = await jobs.claim(ledger, ["run"], "w1", now=ahead, deadline=HOUR)
    assert tried is not None
    await jobs.fail(ledger, tried, now=ahead, retry_at=ahead + timedelta(minutes=5))
    assert not await jobs.any_due(ledger, ["run"], now=ahead)
    assert await jobs.any_due(ledger, ["run"], now=now), "the clock was set back by a day"
    assert {(await claimed(ledger, now)).id, (await claimed(ledger, now)).id} == {fresh, tried.id}
    assert not await jobs.any_due(ledger, ["run"], now=now)


async def test_a4_who_looked_at_the_clock_before_a_job_failed_does_not_take_it_at_once(
    ledger: Ledger, now: datetime
) -> None:
    """A claim waits for the ledger while the job that it finds then goes back to waiting."""
    await jobs.enqueue(ledger, "acme", "run", now=now)
    failed_at = now + timedelta(seconds=30)
    await jobs.fail(ledger, await claimed(ledger, now), now=failed_at, retry_at=failed_at + timedelta(seconds=30))
    assert await jobs.claim(ledger, ["run"], "w2", now=now, deadline=HOUR) is None


async def test_a_failed_job_is_tried_again_when_it_says_so(ledger: Ledger, now: datetime) -> None:
    job_id = await jobs.enqueue(ledger, "acme", "run", now=now)
    await jobs.fail(ledger, await claimed(ledger, now), now=now, outcome={"why": "busy"}, retry_at=now + HOUR)
    assert (await jobs.get(ledger, job_id)).state is JobState.WAITING
    await jobs.fail(ledger, await claimed(ledger, now + HOUR), now=now + HOUR, outcome={"why": "broken"})
    stored = await jobs.get(ledger, job_id)
    assert (stored.state, stored.outcome, stored.attempts) == (JobState.FAILED, {"why": "broken"}, 2)


async def test_a_job_that_could_not_be_begun_waits_and_has_not_been_tried(ledger: Ledger, now: datetime) -> None:
    job_id = await jobs.enqueue(ledger, "acme", "run", now=now)
    for _ in range(2 * RULES.max_attempts):
        job = await claimed(ledger, now)
        later = now + timedelta(seconds=5)
        await jobs.give_back(ledger, job, now=now, outcome={"error": "no files"}, run_after=later)
        stored = await jobs.get(ledger, job_id)
        assert (stored.state, stored.attempts, stored.run_after) == (JobState.WAITING, 0, later)
        with pytest.raises(Stale):
            await jobs.give_back(ledger, job, now=now, outcome=None, run_after=now)
        now = later


async def test_more_than_a_thousand_waiting_jobs_hide_none_that_is_due(ledger: Ledger, now: datetime) -> None:
    due = await jobs.enqueue(ledger, "acme", "run", now=now)
    for number in range(1_001):
        await jobs.enqueue(ledger, f"o{number}", "run", now=now + timedelta(seconds=1), run_after=now + HOUR)
    assert await jobs.any_due(ledger, ["run"], now=now)
    assert (await claimed(ledger, now)).id == due
    assert not await jobs.any_due(ledger, ["run"], now=now)


async def test_a_dead_job_whose_work_waits_already_does_not_come_back(ledger: Ledger, now: datetime) -> None:
    first = await jobs.enqueue(ledger, "acme", "run", now=now, dedupe_key="run")
    await claimed(ledger, now)
    second = await jobs.enqueue(ledger, "acme", "run", now=now, dedupe_key="run")
    assert await jobs.requeue_dead(ledger, lambda running: running, now=now + HOUR, rules=RULES)
    states = {job.id: job.state for job in await jobs.recent(ledger, organization="acme")}
    assert states == {first: JobState.FAILED, second: JobState.WAITING}
    assert [job.id for job in await jobs.recent(ledger, states=[JobState.WAITING])] == [second]
    assert await jobs.recent(ledger, organization="globex") == []


async def test_an_unknown_job_is_not_found(ledger: Ledger) -> None:
    with pytest.raises(NotFound):
        await jobs.get(ledger, "nothing")


async def test_a2_two_processes_share_the_work_and_do_each_job_once(
    ledger: Ledger, ledger_url: str, now: datetime
) -> None:
    wanted = {await jobs.enqueue(ledger, f"org{n % 3}", "count", {"n": n}, now=now) for n in range(40)}
    pipe = asyncio.subprocess.PIPE
    workers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.parts.job_taker", ledger_url, holder, now.isoformat(), stdin=pipe, stdout=pipe
        )
        for holder in ("w1", "w2")
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert await worker.stdout.readline() == b"ready\n"
    answers = await asyncio.gather(*(worker.communicate(b"go\n") for worker in workers))
    done = [json.loads(out) for out, _ in answers]
    assert sorted(done[0] + done[1]) == sorted(wanted)
    assert {job.state for job in await jobs.recent(ledger)} == {JobState.DONE}


async def test_hosts_whose_clocks_differ_wait_equally_long(postgres_url: str) -> None:
    """What is due when goes by the database's clock, which they share (A4)."""
    real = datetime.now(UTC)
    behind, ahead = (
        Ledger.open(postgres_url, clock=lambda skew=skew: HostTime(datetime.now(UTC) + skew, 1.0, "boot"))
        for skew in (timedelta(minutes=-3), timedelta(minutes=3))
    )
    for one, other, skew in ((behind, ahead, -3), (ahead, behind, 3)):
        mine, theirs = real + timedelta(minutes=skew), real - timedelta(minutes=skew)
        job_id = await jobs.enqueue(one, "acme", "run", now=mine, run_after=mine + timedelta(minutes=2))
        for asking, at in ((one, mine), (other, theirs)):
            assert not await jobs.any_due(asking, ["run"], now=at)
            assert await jobs.claim(asking, ["run"], "w", now=at, deadline=HOUR) is None
        stored = await jobs.get(one, job_id)
        assert abs(stored.run_after - datetime.now(UTC) - timedelta(minutes=2)) < timedelta(seconds=30)
        now_id = await jobs.enqueue(one, "acme", "run", now=mine)
        taken = await jobs.claim(other, ["run"], "w", now=theirs, deadline=HOUR)
        assert taken is not None
        assert taken.id == now_id
        await jobs.fail(other, taken, now=theirs, retry_at=theirs + timedelta(seconds=30))
        assert await jobs.claim(one, ["run"], "w", now=mine, deadline=HOUR) is None
    await asyncio.gather(behind.close(), ahead.close())


async def test_the_same_work_asked_for_while_it_is_given_back_loses_no_outcome(
    postgres_url: str, now: datetime
) -> None:
    ledger = Ledger.open(postgres_url)
    for _ in range(20):
        job_id = await jobs.enqueue(ledger, "acme", "run", now=now, dedupe_key="run")
        job = await claimed(ledger, now)
        _, asked = await asyncio.gather(
            jobs.fail(ledger, job, now=now, outcome={"error": "the directory is down"}, retry_at=now),
            jobs.enqueue(ledger, "acme", "run", now=now, dedupe_key="run"),
        )
        stored = await jobs.get(ledger, job_id)
        assert stored.outcome == {"error": "the directory is down"}
        assert stored.state is (JobState.WAITING if asked == job_id else JobState.FAILED)
        await jobs.finish(ledger, await claimed(ledger, now), now=now)
    await ledger.close()


async def test_signs_of_life_do_not_wait_behind_the_writers_of_one_organization(
    postgres_url: str, now: datetime
) -> None:
    """Twenty sign-ins wait for a long commit: more than there are connections for them."""
    ledger = Ledger.open(postgres_url, busy_seconds=40.0)
    await jobs.enqueue(ledger, "acme", "run", now=now)
    job = await claimed(ledger, now)

    async def signs_in() -> None:
        async with ledger.write("acme", Unleased.SIGN_IN, at=now):
            pass

    async with ledger.write("acme", Unleased.BY_HAND, at=now):
        waiting = [asyncio.create_task(signs_in()) for _ in range(20)]
        await asyncio.sleep(0.5)
        async with asyncio.timeout(20):
            await jobs.heartbeat(ledger, job, now=now)
    await asyncio.gather(*waiting)
    await ledger.close()
