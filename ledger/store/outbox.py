"""The transactional outbox: what must be told elsewhere, written with the change itself, told at least once.

Prohibition: nothing is sent from here, and nothing here waits for anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select, update

from ledger.errors import Stale
from ledger.instant import new_ids
from ledger.store.book import Book
from ledger.store.engine import Ledger
from ledger.store.tables import audit

_TABLE = audit.outbox
_COLUMNS = ("id", "kind", "subject", "payload")


@dataclass(frozen=True, slots=True)
class Message:
    """Something to tell: ``kind`` (``invite.mail``, ``plan.held`` …), about which subject (an id), a JSON payload."""

    kind: str
    subject: str
    payload: Any


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message in somebody's hands until its claim ends; ``attempts`` counts this one and fences earlier claims."""

    organization: str
    id: str
    kind: str
    subject: str
    payload: Any
    run_id: str
    created_at: datetime
    attempts: int


async def append(book: Book, messages: Sequence[Message]) -> list[str]:
    """Write messages inside the book's transaction, due at once; returns their ids (also the receivers' dedupe key)."""
    ids = new_ids(len(messages))
    rows = [
        (message_id, message.kind, message.subject, message.payload)
        for message_id, message in zip(ids, messages, strict=True)
    ]
    same = {"run_id": book.run_id, "created_at": book.at, "next_at": book.at, "state": "waiting"}
    await book.insert(_TABLE, _COLUMNS, rows, same=same)
    return ids


async def claim(
    ledger: Ledger, *, now: datetime, hold: timedelta, limit: int = 100, kinds: Sequence[str] = ()
) -> list[Claimed]:
    """Take due messages of any organization, oldest first, for ``hold``; nobody else gets them meanwhile.

    A message whose claim ended without ``delivered`` or ``failed`` is due again: delivery is at least once.
    """
    due = select(_TABLE).where(_TABLE.c.state == "waiting", _TABLE.c.next_at <= now)
    if kinds:
        due = due.where(_TABLE.c.kind.in_(list(kinds)))
    due = due.order_by(_TABLE.c.next_at, _TABLE.c.id).limit(limit).with_for_update(skip_locked=True)
    async with ledger.unscoped_write() as connection:
        rows = (await connection.execute(due)).all()
        for row in rows:
            await connection.execute(
                update(_TABLE)
                .where(_TABLE.c.organization_id == row.organization_id, _TABLE.c.id == row.id)
                .values(attempts=row.attempts + 1, next_at=now + hold)
            )
    return [
        Claimed(
            row.organization_id,
            row.id,
            row.kind,
            row.subject,
            row.payload,
            row.run_id,
            row.created_at,
            row.attempts + 1,
        )
        for row in rows
    ]


async def delivered(ledger: Ledger, message: Claimed) -> None:
    """It was told. Raises ``Stale`` when the claim had ended and somebody else took it since."""
    await _settle(ledger, message, state="delivered", next_at=None, last_error="")


async def failed(ledger: Ledger, message: Claimed, *, error: str, retry_at: datetime | None) -> None:
    """It could not be told: due again at ``retry_at``, or dead when that is None. Raises ``Stale`` as ``delivered``."""
    state = "waiting" if retry_at else "dead"
    await _settle(ledger, message, state=state, next_at=retry_at, last_error=error)


async def _settle(ledger: Ledger, message: Claimed, **values: Any) -> None:
    mine = (
        _TABLE.c.organization_id == message.organization,
        _TABLE.c.id == message.id,
        _TABLE.c.state == "waiting",
        _TABLE.c.attempts == message.attempts,
    )
    async with ledger.unscoped_write() as connection:
        changed = (await connection.execute(update(_TABLE).where(*mine).values(**values))).rowcount
    if changed != 1:
        raise Stale(f"message {message.id} is no longer in these hands", where=message.organization)


async def revive(book: Book, ids: Sequence[str]) -> int:
    """Make dead messages due again; returns how many were dead."""
    dead = (_TABLE.c.state == "dead", _TABLE.c.id.in_(list(ids)))
    return await book.update(_TABLE, {"state": "waiting", "next_at": book.at}, *dead)


async def forget_delivered(ledger: Ledger, *, before: datetime) -> int:
    """Delete what was delivered and written before ``before``: payloads are personal. Dead messages stay."""
    statement = delete(_TABLE).where(_TABLE.c.state == "delivered", _TABLE.c.created_at < before)
    async with ledger.unscoped_write() as connection:
        return int((await connection.execute(statement)).rowcount)
