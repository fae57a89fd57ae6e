"""Pages of runs and of the audit log, newest first, for whoever looks back. Reads only; decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Select, and_, or_

from ledger.store.book import Reader
from ledger.store.runs import RunRow
from ledger.store.tables import audit, runs
from ledger.store.tables.base import decode_json

_RUN = (
    *("id", "kind", "state", "actor", "reason", "started_at", "finished_at"),
    *("plan_digest", "counts", "evidence", "problems", "undoes"),
)
_EVENT = ("seq", "at", "actor", "verb", "subject", "run_id", "plan_digest")


async def runs_page(reader: Reader, before: tuple[datetime, str] | None, limit: int) -> list[RunRow]:
    """Up to ``limit`` runs before (started at, id), newest first."""
    table = runs.run
    statement = newest(reader.select(table, *_RUN), table.c.started_at, table.c.id, before, limit)
    return [RunRow(*tuple(row)) for row in await reader.all(statement)]


def newest(
    statement: Select[Any], at: Column[Any], key: Column[Any], before: tuple[datetime, str] | None, limit: int
) -> Select[Any]:
    """``statement`` by instant and key, newest first: up to ``limit`` rows before a place."""
    if before is not None:
        instant, last = before
        statement = statement.where(or_(at < instant, and_(at == instant, key < last)))
    return statement.order_by(at.desc(), key.desc()).limit(limit)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which events; empty means any. ``since`` ≤ at < ``until``; a greater number than ``after``."""

    subject: str = ""
    actor: str = ""
    verb: str = ""
    run_id: str = ""
    since: datetime | None = None
    until: datetime | None = None
    after: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """One audit event as it may be read; ``payload`` is None once erased (reason, before, after, changes)."""

    seq: int
    at: datetime
    actor: str
    verb: str
    subject: str
    run_id: str
    plan_digest: str
    payload: Any


async def audit_page(reader: Reader, asked: Asked, before: int | None, limit: int) -> Sequence[Event]:
    """Up to ``limit`` events with a smaller number than ``before``, newest first."""
    events, payloads = audit.audit_event, audit.audit_payload
    same = and_(events.c.organization_id == payloads.c.organization_id, events.c.seq == payloads.c.seq)
    statement = reader.select(events, *_EVENT).add_columns(payloads.c.payload)
    statement = statement.select_from(events.outerjoin(payloads, same))
    for column, value in (
        (events.c.subject, asked.subject),
        (events.c.actor, asked.actor),
        (events.c.verb, asked.verb),
        (events.c.run_id, asked.run_id),
    ):
        if value:
            statement = statement.where(column == value)
    if asked.since is not None:
        statement = statement.where(events.c.at >= asked.since)
    if asked.until is not None:
        statement = statement.where(events.c.at < asked.until)
    if asked.after:
        statement = statement.where(events.c.seq > asked.after)
    if before is not None:
        statement = statement.where(events.c.seq < before)
    found = await reader.all(statement.order_by(events.c.seq.desc()).limit(limit))
    return [Event(**{**row._mapping, "payload": decode_json(row.payload)}) for row in found]
