"""Who may take a lease, when a job counts as dead, when it is tried again (A2, A4)."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from ledger.jobs import Job, JobState, Lease, RetryRules, is_dead, may_take

TTL = timedelta(seconds=30)


@pytest.mark.parametrize(
    ("holder", "left", "taken"),
    [
        ("", 30, True),  # given back
        ("me", 30, True),  # a restart of the same holder: its older token is fenced
        ("other", 30, False),
        ("other", 0.001, False),
        ("other", 0, True),  # half-open: at its end it is over
        ("other", -1, True),
        ("other", 60, False),
        ("other", 61, True),  # granted by a clock that was set back since
    ],
)
def test_a2_who_may_take_a_lease(now: datetime, holder: str, left: float, taken: bool) -> None:
    lease = Lease("run:acme", holder, 7, now + timedelta(seconds=left))
    assert may_take(lease, "me", now=now, ttl=TTL) is taken


def test_a_lease_nobody_ever_had_is_free(now: datetime) -> None:
    assert may_take(None, "me", now=now, ttl=TTL)


@pytest.mark.parametrize(
    ("state", "silent", "deadline", "dead"),
    [
        (JobState.RUNNING, 0, 100, False),
        (JobState.RUNNING, 60, 100, False),
        (JobState.RUNNING, 61, 100, True),
        (JobState.RUNNING, 0, 0, True),  # alive, but past its deadline
        (JobState.RUNNING, -3600, 100, True),  # its heartbeat is in the future: no sign of life
        (JobState.WAITING, 9999, -1, False),
        (JobState.DONE, 9999, -1, False),
    ],
)
def test_a4_when_a_job_is_dead(now: datetime, state: JobState, silent: int, deadline: int, dead: bool) -> None:
    job = Job(
        "j",
        "acme",
        "run",
        {},
        "",
        state,
        now,
        now,
        heartbeat_at=now - timedelta(seconds=silent),
        deadline_at=now + timedelta(seconds=deadline),
    )
    assert is_dead(job, RetryRules(silence=timedelta(seconds=60)), now) is dead


def test_retries_back_off_and_end(now: datetime) -> None:
    rules = RetryRules(max_attempts=4, backoff=timedelta(seconds=30), longest=timedelta(seconds=100))
    tries = [rules.next_try(attempts, now) for attempts in range(1, 5)]
    assert tries == [now + timedelta(seconds=30), now + timedelta(seconds=60), now + timedelta(seconds=100), None]
