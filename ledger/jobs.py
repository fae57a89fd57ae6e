"""Durable jobs and leases: their values, and the rules of who may take what when.

Safety never rests on a clock here: a lease carries a fencing token that grows with every acquisition, a job the number
of its attempt, and whoever was overtaken finds its token refused. Clocks only decide how soon somebody else may try.
Pure: no I/O here, ``now`` is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class Lease:
    """``holder`` may act in the name of ``name`` until ``expires_at``; ``token`` tells this acquisition from others."""

    name: str
    holder: str
    token: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """One attempt at a job, by one process: what another attempt makes void."""

    job: str
    attempts: int
    holder: str


def run_lease(organization: str) -> str:
    """The name of the lease under which one process applies runs of an organization (A2)."""
    return f"run:{organization}"


def may_take(lease: Lease | None, holder: str, *, now: datetime, ttl: timedelta) -> bool:
    """Whether ``holder`` may acquire: it is free, expired, its own, or dated by a clock that has since been set back.

    An expiry more than two ``ttl`` ahead cannot come from a clock that agrees with ours; waiting for it could take
    days. Taking it is safe, because the token fences the other.
    """
    if lease is None or lease.holder in {"", holder}:
        return True
    return lease.expires_at <= now or lease.expires_at > now + 2 * ttl


class JobState(StrEnum):
    """waiting → running → done, failed, or waiting again."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of durable work. ``attempts`` counts this run of it and fences earlier ones."""

    id: str
    organization: str
    kind: str
    payload: Any
    dedupe_key: str
    state: JobState
    run_after: datetime
    created_at: datetime
    attempts: int = 0
    holder: str = ""
    started_at: datetime | None = None
    heartbeat_at: datetime | None = None
    deadline_at: datetime | None = None
    finished_at: datetime | None = None
    outcome: Any = None

    @property
    def claim(self) -> Claim:
        """This attempt."""
        return Claim(self.id, self.attempts, self.holder)


@dataclass(frozen=True, slots=True)
class RetryRules:
    """When a running job counts as dead, and what then: ``backoff`` doubles per attempt up to ``longest``."""

    silence: timedelta = timedelta(seconds=60)
    max_attempts: int = 5
    backoff: timedelta = timedelta(seconds=30)
    longest: timedelta = timedelta(hours=1)

    def next_try(self, attempts: int, now: datetime) -> datetime | None:
        """When to try again after ``attempts`` failed ones, or None: no more."""
        if attempts >= self.max_attempts:
            return None
        return now + min(self.longest, self.backoff * (1 << max(0, min(attempts, 30) - 1)))


def is_dead(job: Job, rules: RetryRules, now: datetime) -> bool:
    """A running job is dead past its deadline, or when its last heartbeat is further than ``silence`` from now.

    Also when it is ahead of now: after a clock was set back, a future heartbeat is no sign of life (A4: "running for
    ever" cannot happen).
    """
    if job.state is not JobState.RUNNING:
        return False
    if job.deadline_at is not None and job.deadline_at <= now:
        return True
    last = job.heartbeat_at or job.started_at
    return last is None or abs(now - last) > rules.silence
