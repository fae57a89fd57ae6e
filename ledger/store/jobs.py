"""Durable jobs: enqueue, claim, heartbeat, finish, bring back what died. Unscoped: workers serve every organization.

Prohibition: runs nothing, decides nothing about a job's kind or payload.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, case, select, text, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.errors import NotFound
from ledger.instant import new_id
from ledger.jobs import Job, JobState, RetryRules
from ledger.store import fencing
from ledger.store.engine import Ledger
from ledger.store.tables import jobs

_TABLE = jobs.job
_SET_BACK = timedelta(minutes=1)
_WAITING_KEYS = text("state = 'waiting' AND dedupe_key != ''")
"""As in the index: written out, since a bound value no longer matches it once PostgreSQL prepares the statement."""


async def enqueue(
    ledger: Ledger,
    organization: str,
    kind: str,
    payload: Any = None,
    *,
    now: datetime,
    run_after: datetime | None = None,
    dedupe_key: str = "",
) -> str:
    """Store a job, due at ``run_after`` (default: now); returns its id. How long that is from ``now`` counts: on
    PostgreSQL the instant is the database's, so that hosts whose clocks differ wait equally long.

    While a job with the same ``dedupe_key`` of this organization is *waiting*, its id is returned and nothing stored;
    a running one does not count, because it may have looked before what made this one necessary.
    """
    wait = (run_after or now) - now
    values = {
        "id": new_id(),
        "organization_id": organization,
        "kind": kind,
        "payload": payload if payload is not None else {},
        "dedupe_key": dedupe_key,
        "state": JobState.WAITING.value,
    }
    async with ledger.unscoped_write() as connection:
        await _lock_key(connection, organization, dedupe_key)
        now = await ledger.moment(connection, now)
        values |= {"run_after": now + wait, "created_at": now, "queued_at": now}
        make = sqlite_insert if ledger.dialect == "sqlite" else postgres_insert
        statement = make(_TABLE).values(**values)
        quiet = statement.on_conflict_do_update(
            index_elements=[_TABLE.c.organization_id, _TABLE.c.dedupe_key],
            index_where=_WAITING_KEYS,
            set_={"run_after": _earlier(statement)},
        )
        return str((await connection.execute(quiet.returning(_TABLE.c.id))).scalar_one())


def _earlier(statement: Any) -> Any:
    """The earlier of the waiting job's time and the new one's: asking again never makes anybody wait longer."""
    new, old = statement.excluded.run_after, _TABLE.c.run_after
    return case((new < old, new), else_=old)


def _due(now: datetime) -> ColumnElement[bool]:
    """Waiting long enough; or queued in the future, by a clock that was set back since: then at once. Who asks may have
    waited for the ledger since it looked at the clock."""
    waited = (_TABLE.c.run_after <= now) | (_TABLE.c.queued_at > now + _SET_BACK)
    return (_TABLE.c.state == JobState.WAITING.value) & waited


async def any_due(ledger: Ledger, kinds: Sequence[str], *, now: datetime) -> bool:
    """Whether a claim would find a job: asked without a write, which on SQLite waits for whoever writes."""
    async with ledger.unscoped_read() as connection:
        now = await ledger.moment(connection, now)
        statement = select(_TABLE.c.id).where(_due(now), _TABLE.c.kind.in_(list(kinds))).limit(1)
        return (await connection.execute(statement)).first() is not None


async def claim(ledger: Ledger, kinds: Sequence[str], holder: str, *, now: datetime, deadline: timedelta) -> Job | None:
    """Take the job that has been due longest, or None. It must be finished, or heard of, before ``deadline``."""
    async with ledger.unscoped_write() as connection:
        now = await ledger.moment(connection, now)
        due = (
            select(_TABLE)
            .where(_due(now), _TABLE.c.kind.in_(list(kinds)))
            .order_by(_TABLE.c.run_after, _TABLE.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        row = (await connection.execute(due)).first()
        if row is None:
            return None
        job = replace(
            _job(row),
            state=JobState.RUNNING,
            attempts=row.attempts + 1,
            holder=holder,
            started_at=now,
            heartbeat_at=now,
            deadline_at=now + deadline,
        )
        names = ("state", "attempts", "holder", "started_at", "heartbeat_at", "deadline_at")
        await _set(connection, job.id, {name: getattr(job, name) for name in names})
        return job


async def heartbeat(ledger: Ledger, job: Job, *, now: datetime) -> None:
    """The job is alive; raises ``Stale`` when it was taken away meanwhile (stop working on it)."""
    await _change(ledger, job, heartbeat_at=now)


async def finish(ledger: Ledger, job: Job, *, now: datetime, outcome: Any = None) -> None:
    """The job is done; raises ``Stale`` as ``heartbeat``."""
    await _change(ledger, job, state=JobState.DONE.value, finished_at=now, outcome=outcome)


async def fail(
    ledger: Ledger, job: Job, *, now: datetime, outcome: Any = None, retry_at: datetime | None = None
) -> None:
    """The job failed: again at ``retry_at``, or never when that is None. Raises ``Stale`` as ``heartbeat``."""
    if retry_at is None:
        await _change(ledger, job, state=JobState.FAILED.value, finished_at=now, outcome=outcome)
        return
    async with ledger.unscoped_write() as connection:
        await _still_mine(connection, job)
        await _wait(ledger, connection, job, retry_at - now, now=now, outcome=outcome)


async def give_back(ledger: Ledger, job: Job, *, now: datetime, outcome: Any, run_after: datetime) -> None:
    """The job waits again until ``run_after`` as if it had not been claimed: nothing of it was begun. Raises ``Stale``
    as ``heartbeat``."""
    async with ledger.unscoped_write() as connection:
        await _still_mine(connection, job)
        await _wait(ledger, connection, job, run_after - now, now=now, outcome=outcome)
        await _set(connection, job.id, {"attempts": job.attempts - 1})


async def requeue_dead(
    ledger: Ledger, dead_of: Callable[[Sequence[Job]], Sequence[Job]], *, now: datetime, rules: RetryRules
) -> list[Job]:
    """Bring back every running job that ``dead_of`` names dead; returns them as they were.

    One that has used up its attempts fails instead. Its process may still live: it will find itself ``Stale``.
    """
    running = select(_TABLE).where(_TABLE.c.state == JobState.RUNNING.value).with_for_update(skip_locked=True)
    async with ledger.unscoped_write() as connection:
        found = [_job(row) for row in (await connection.execute(running)).all()]
        dead = list(dead_of(found))
        now = await ledger.moment(connection, now)
        for job in dead:
            outcome = {"error": f"attempt {job.attempts} by {job.holder} went silent or passed its deadline"}
            retry_at = rules.next_try(job.attempts, now)
            await _back(connection, job, now=now, retry_at=retry_at, outcome=outcome)
        return dead


async def get(ledger: Ledger, job_id: str) -> Job:
    """One job; raises ``NotFound``."""
    async with ledger.unscoped_read() as connection:
        row = (await connection.execute(select(_TABLE).where(_TABLE.c.id == job_id))).first()
    if row is None:
        raise NotFound(f"there is no job {job_id}")
    return _job(row)


async def recent(
    ledger: Ledger, *, organization: str = "", states: Sequence[JobState] = (), limit: int = 100
) -> list[Job]:
    """Jobs, newest first; of one organization and in some states only, when given."""
    statement: Select[Any] = select(_TABLE).order_by(_TABLE.c.created_at.desc(), _TABLE.c.id.desc()).limit(limit)
    if organization:
        statement = statement.where(_TABLE.c.organization_id == organization)
    if states:
        statement = statement.where(_TABLE.c.state.in_([state.value for state in states]))
    async with ledger.unscoped_read() as connection:
        return [_job(row) for row in (await connection.execute(statement)).all()]


def _job(row: Row[Any]) -> Job:
    values = dict(row._mapping)
    values["organization"] = values.pop("organization_id")
    values["state"] = JobState(values["state"])
    return Job(**{field.name: values[field.name] for field in fields(Job)})


async def _set(connection: AsyncConnection, job_id: str, values: dict[str, Any]) -> None:
    await connection.execute(update(_TABLE).where(_TABLE.c.id == job_id).values(**values))


async def _change(ledger: Ledger, job: Job, **values: Any) -> None:
    async with ledger.unscoped_write() as connection:
        if (await connection.execute(update(_TABLE).where(fencing.mine(job.claim)).values(**values))).rowcount != 1:
            raise fencing.taken(job.claim)


async def _still_mine(connection: AsyncConnection, job: Job) -> None:
    if (await connection.execute(select(_TABLE.c.id).where(fencing.mine(job.claim)).with_for_update())).first() is None:
        raise fencing.taken(job.claim)


async def _wait(
    ledger: Ledger, connection: AsyncConnection, job: Job, span: timedelta, *, now: datetime, outcome: Any
) -> None:
    """To waiting for so long, by the clock that every host shares."""
    now = await ledger.moment(connection, now)
    await _back(connection, job, now=now, retry_at=now + span, outcome=outcome)


async def _back(
    connection: AsyncConnection, job: Job, *, now: datetime, retry_at: datetime | None, outcome: Any
) -> None:
    """To waiting, or to failed: no attempt left, or the same work already waits as another job."""
    twin = select(_TABLE.c.id).where(
        _TABLE.c.organization_id == job.organization,
        _TABLE.c.dedupe_key == job.dedupe_key,
        _TABLE.c.state == JobState.WAITING.value,
    )
    await _lock_key(connection, job.organization, job.dedupe_key)
    superseded = bool(job.dedupe_key) and (await connection.execute(twin)).first() is not None
    if retry_at is None or superseded:
        ended = {"state": JobState.FAILED.value, "finished_at": now, "outcome": outcome}
        await _set(connection, job.id, ended)
    else:
        again = {"state": JobState.WAITING.value, "run_after": retry_at, "queued_at": now, "outcome": outcome}
        await _set(connection, job.id, again)


async def _lock_key(connection: AsyncConnection, organization: str, key: str) -> None:
    """Whoever asks for this work, or gives it back, waits for the other; on SQLite the file is locked already."""
    if key and connection.dialect.name == "postgresql":
        name = f"{organization}\x1f{key}"
        lock = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 23))")
        await connection.execute(lock, {"name": name})
