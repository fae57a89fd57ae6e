"""The transactional outbox: what must be told elsewhere, written with the change itself.

Prohibition: nothing is sent from here, and nothing here waits for anybody. What becomes of a message at each target is
in ``ledger.store.deliveries``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger.instant import new_ids
from ledger.store import deliveries
from ledger.store.book import Book, Reader
from ledger.store.tables import outbox

_COLUMNS = ("id", "kind", "subject", "payload")


@dataclass(frozen=True, slots=True)
class Message:
    """Something to tell: ``kind`` (``invite.mail``, ``plan.held`` …), about which subject (an id), a JSON payload."""

    kind: str
    subject: str
    payload: Any


async def append(book: Book, messages: Sequence[Message]) -> list[str]:
    """Write messages inside the book's transaction, due at once at every target that takes their kind; returns their
    ids, which every target repeats to its receivers (L1)."""
    ids = new_ids(len(messages))
    rows = [
        (message_id, message.kind, message.subject, message.payload)
        for message_id, message in zip(ids, messages, strict=True)
    ]
    await book.insert(outbox.outbox, _COLUMNS, rows, same={"run_id": book.run_id, "created_at": book.at})
    if messages:
        written = [(row[0], row[1], row[2], book.at) for row in rows]
        await deliveries.address(book, written)
    return ids


async def newer(reader: Reader, message: str, written: datetime, subject: str, kind: str) -> bool:
    """Whether a message that was written later says the same about the same subject."""
    table = outbox.outbox
    later = reader.select(table, "id").where(table.c.kind == kind, table.c.subject == subject)
    return await reader.first(later.where(table.c.created_at > written, table.c.id != message)) is not None
