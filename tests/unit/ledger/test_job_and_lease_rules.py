"""Who may take a lease, when a job counts as dead, when it is tried again (A2, A4)."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from ledger.jobs import Job, JobState, Lease, RetryRules, Watch, Whereabouts, may_take

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
    ("where", "silent", "taken"),
    [
        (Whereabouts.GONE, False, True),
        (Whereabouts.ELSEWHERE, False, False),  # expired by our clock, which need not be theirs
        (Whereabouts.ELSEWHERE, True, True),
        (Whereabouts.HERE, False, True),
    ],
)
@pytest.mark.parametrize("left", [-3600, 3600])
def test_a2_what_another_host_has_is_taken_only_when_it_is_silent(
    now: datetime, where: Whereabouts, silent: bool, taken: bool, left: int
) -> None:
    lease = Lease("run:acme", "other", 7, now + timedelta(seconds=left))
    renewed = Lease("run:acme", "other", 7, now + timedelta(seconds=left - 20))
    watched = lease if silent else renewed
    assert may_take(lease, "me", now=now, ttl=TTL, where=where, silent=watched) is taken


def running(now: datetime, beat: int, attempt: int = 1) -> Job:
    """A job of an hour at most, after this many signs of life."""
    beaten = now + timedelta(seconds=beat)
    return Job(
        "j", "acme", "run", {}, "", JobState.RUNNING, now, now, attempts=attempt, holder="other", started_at=now,
        heartbeat_at=beaten, deadline_at=now + timedelta(hours=1),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("looks", "dead"),
    [
        ([(0, 0), (60, 0)], False),
        ([(0, 0), (60.1, 0)], True),
        ([(0, 0), (50, 1), (110, 1)], False),
        ([(0, 0), (50, 1), (110.1, 1)], True),
        ([(0, 0), (50, -9000), (100, 5000)], False),  # any other value is a sign of life
        ([(9_000, 0)], False),  # first seen late: it gets its time
        ([(second, second) for second in range(0, 3_601, 30)], False),
        ([(second, second) for second in range(0, 3_640, 30)], True),  # alive, and longer than its deadline
    ],
)
def test_a4_a_job_is_dead_by_the_steady_clock_of_who_looks(
    now: datetime, looks: list[tuple[float, int]], dead: bool
) -> None:
    watch = Watch(RetryRules(silence=timedelta(seconds=60)))
    found = [watch.dead([running(now, beat)], at) for at, beat in looks]
    assert [bool(item) for item in found] == [*[False] * (len(looks) - 1), dead]


def test_a4_another_attempt_begins_anew(now: datetime) -> None:
    watch = Watch(RetryRules(silence=timedelta(seconds=60)))
    assert watch.dead([running(now, 0)], 0) == []
    assert watch.dead([running(now, 0, attempt=2)], 61) == []
    assert watch.dead([running(now, 0, attempt=2)], 122) != []


def test_retries_back_off_and_end(now: datetime) -> None:
    rules = RetryRules(max_attempts=4, backoff=timedelta(seconds=30), longest=timedelta(seconds=100))
    tries = [rules.next_try(attempts, now) for attempts in range(1, 5)]
    assert tries == [now + timedelta(seconds=30), now + timedelta(seconds=60), now + timedelta(seconds=100), None]
