"""Durable jobs, leases and fences: their values, and the rules of who may take what when, and write by what right.

Safety never rests on a clock here: a lease carries a fencing token that grows with every acquisition, a job the number
of its attempt, and whoever was overtaken finds its token refused. Clocks only decide how soon somebody else may try,
and never two hosts' clocks held against each other: what another host has is dead when no sign of life came for some
time of one's own. Pure: no I/O here, ``now`` is passed in.
"""

from __future__ import annotations

from collections.abc import Sequence
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


@dataclass(frozen=True, slots=True)
class Leased:
    """The writer acts under ``lease``, whose token its transaction checks. ``claim``: the attempt at a job that it is,
    whose outcome is written with what it does."""

    lease: Lease
    claim: Claim | None = None


class Unleased(StrEnum):
    """Why a writer needs no lease: it reads what it changes inside its own short transaction."""

    BY_HAND = "by hand"
    """Somebody's edit, a token, a setting of the files."""
    SIGN_IN = "sign-in"
    """Requests to sign in and their answers."""
    EVIDENCE = "evidence"
    """What was found about a domain or a connection."""
    INTAKE = "intake"
    """Usage events and dimension rows: a batch is one transaction."""
    PUBLICATION = "publication"
    """A number of its own decides which of two is published."""
    SEAL = "seal"
    """The head of the audit."""
    DELIVERY = "delivery"
    """Where messages go, and what somebody does about one by hand."""


@dataclass(frozen=True, slots=True)
class Errand:
    """The writer needs no lease, for ``why``, but is an attempt at a job: once given up it writes nothing."""

    why: Unleased
    claim: Claim


Fence = Leased | Errand | Unleased
"""By what right a transaction writes: under a lease, as an attempt at a job, or without either for a reason that is
named (A2). A writer cannot begin without one, so that nobody forgets to hand over what they hold."""


def run_lease(organization: str) -> str:
    """The name of the lease under which one process applies runs of an organization (A2)."""
    return f"run:{organization}"


class Whereabouts(StrEnum):
    """What the asking process knows of a holder: on this host and not known to be dead, dead, or on another host."""

    HERE = "here"
    GONE = "gone"
    ELSEWHERE = "elsewhere"


def may_take(
    lease: Lease | None,
    holder: str,
    *,
    now: datetime,
    ttl: timedelta,
    where: Whereabouts = Whereabouts.HERE,
    silent: Lease | None = None,
) -> bool:
    """Whether ``holder`` may acquire: the lease is free, its own, of a process that is gone, or over.

    On this host it is over when it expired, or when it expires more than two ``ttl`` ahead: such an expiry comes from a
    clock that was set back since, and waiting for it could take days. On another host, whose clock may differ, it is
    over when it is still ``silent``: as it was when the asking process began to wait for a sign of life. Taking it is
    safe in each case, because the token fences the other.
    """
    if lease is None or lease.holder in {"", holder} or where is Whereabouts.GONE:
        return True
    if where is Whereabouts.ELSEWHERE:
        return lease == silent
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
    queued_at: datetime | None = None
    """Since when it waits for ``run_after``; later than now where the clock was set back since: it is due then."""

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


class Watch:
    """What one process has seen of running jobs, and since when on its own steady clock (seconds)."""

    def __init__(self, rules: RetryRules) -> None:
        self._rules = rules
        self._seen: dict[Claim, tuple[float, float, datetime | None]] = {}

    def dead(self, running: Sequence[Job], at: float) -> list[Job]:
        """The jobs that gave no sign of life for ``silence``, or that run longer than their deadline allows, as far as
        this process has seen; ``at``: its steady clock now. What the writers' clocks said does not count."""
        seen: dict[Claim, tuple[float, float, datetime | None]] = {}
        dead = []
        for job in running:
            began, heard, sign = self._seen.get(job.claim, (at, at, job.heartbeat_at))
            heard = heard if sign == job.heartbeat_at else at
            seen[job.claim] = (began, heard, job.heartbeat_at)
            limit = job.deadline_at - job.started_at if job.deadline_at and job.started_at else None
            overran = limit is not None and at - began > limit.total_seconds()
            if overran or at - heard > self._rules.silence.total_seconds():
                dead.append(job)
        self._seen = seen
        return dead
