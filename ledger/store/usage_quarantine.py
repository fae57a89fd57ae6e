"""Rows of usage that were set aside: kept with their reasons, summed by cause, listed page by page.

Prohibition: decides about no row.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, func

from ledger.instant import to_text
from ledger.store import pages
from ledger.store.book import Book, Reader
from ledger.store.tables.usage import usage_quarantine


class Kept(NamedTuple):
    """One row in quarantine. ``causes``: its reasons without what was found, joined by ``; ``; ``payload``: as sent."""

    digest: str
    event_id: str
    place: str
    reasons: list[str]
    causes: str
    payload: str
    batch_id: str
    source: str
    received_at: datetime

    def to_json(self) -> dict[str, Any]:
        """As programs see it."""
        return {
            "place": self.place,
            "event_id": self.event_id,
            "reasons": self.reasons,
            "payload": self.payload,
            "batch_id": self.batch_id,
            "source": self.source,
            "received_at": to_text(self.received_at),
        }


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which rows; empty means any. ``cause``: part of a cause; ``source``: who sent it."""

    cause: str = ""
    source: str = ""
    batch_id: str = ""
    event_id: str = ""

    def where(self) -> list[ColumnElement[bool]]:
        """As conditions."""
        table = usage_quarantine.c
        equal = ((table.source, self.source), (table.batch_id, self.batch_id), (table.event_id, self.event_id))
        found = [column == value for column, value in equal if value]
        return [*found, table.causes.contains(self.cause, autoescape=True)] if self.cause else found


Place = tuple[datetime, str]
"""received_at and digest: where a page ended."""


def digest_of(payload: str) -> str:
    """The key of a row in quarantine: the same row, sent again, is one row there."""
    return hashlib.sha256(payload.encode("utf-8", "surrogatepass")).hexdigest()


async def keep(book: Book, rows: Collection[Kept]) -> None:
    """Set rows aside. One that is there stays, unless other causes were found: then it is as it is now."""
    found = {row.digest: row for row in reversed(list(rows))}
    table = usage_quarantine
    known = await book.by_keys(book.select(table, "digest", "causes"), table.c.digest, list(found))
    changed = [row.digest for row in known if row.causes != found[row.digest].causes]
    same = {row.digest for row in known}.difference(changed)
    await book.delete_keys(table, ("digest",), [(digest,) for digest in changed])
    await book.insert(table, Kept._fields, [row for digest, row in found.items() if digest not in same])


async def release(book: Book, event_ids: Sequence[str]) -> None:
    """Events that have now been accepted leave quarantine."""
    table = usage_quarantine
    if await book.first(book.select(table, "digest")) is None:
        return
    rows = await book.by_keys(book.select(table, "digest"), table.c.event_id, event_ids)
    await remove(book, [row.digest for row in rows])


async def remove(book: Book, digests: Collection[str]) -> None:
    """Take rows out by key."""
    await book.delete_keys(usage_quarantine, ("digest",), [(digest,) for digest in digests])


async def drop(book: Book, chosen: Chosen) -> int:
    """Take rows out for good; returns how many."""
    return await book.delete(usage_quarantine, *chosen.where())


async def page(reader: Reader, chosen: Chosen, before: Place | None, limit: int) -> list[Kept]:
    """Up to ``limit`` rows before a place, newest first."""
    table = usage_quarantine
    statement = reader.select(table, *Kept._fields).where(*chosen.where())
    wanted = pages.newest(statement, table.c.received_at, table.c.digest, before, limit)
    return [Kept(*row) for row in await reader.tuples(wanted)]


async def sums(reader: Reader, chosen: Chosen) -> tuple[int, dict[str, int]]:
    """How many rows there are, and how many of them for each cause (a row may have several), the most first."""
    causes = usage_quarantine.c.causes
    grouped: Any = reader.select(usage_quarantine, "causes").add_columns(func.count()).where(*chosen.where())
    total, found = 0, Counter[str]()
    rows: Sequence[Any] = await reader.all(grouped.group_by(causes))
    for joined, count in rows:
        total += count
        for cause in joined.split("; ") if joined else ["set aside before causes were kept"]:
            found[cause] += count
    return total, dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
