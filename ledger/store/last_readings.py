"""The last reading of each directory, in parts, and the base the next run may build on (D13, D14).

Prohibition: knows nothing of what the parts hold; ``connector/reconcile/reading/last_reading.py`` packs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import tuple_

from ledger.store.book import Book, Reader
from ledger.store.tables import reading

_PARTS = reading.last_reading_part
_AT_ONCE = 500

PartKey = tuple[str, str]
"""(kind, bucket)."""


@dataclass(frozen=True, slots=True)
class LastReading:
    """One source's. ``header`` is packed; ``buckets``: how many buckets each bucketed kind has; ``rules``: hash of what
    it was mapped with; ``whole_at``: when everything was last read."""

    source_id: str
    rules: str
    buckets: int
    read_at: datetime
    whole_at: datetime
    header: bytes


@dataclass(frozen=True, slots=True)
class Base:
    """The last run after which nobody but ``pending`` (packed) was unsettled. ``whole_at``: when everybody was last
    planned; ``standing``: its problems that stay true until an entry, a domain or the policy changes."""

    run_id: str
    at: datetime
    whole_at: datetime
    policy_hash: str
    domains: Sequence[str]
    pending: bytes
    standing: Sequence[Mapping[str, Any]]


_READING = ("source_id", "rules", "buckets", "read_at", "whole_at", "header")
_BASE = ("run_id", "at", "whole_at", "policy_hash", "domains", "pending", "standing")


async def readings(reader: Reader) -> dict[str, LastReading]:
    """The last reading of every source that has one, by source id."""
    rows = await reader.all(reader.select(reading.last_reading, *_READING))
    return {row[0]: LastReading(*tuple(row)) for row in rows}


async def parts(reader: Reader, source_id: str, kind: str, buckets: Iterable[str] | None = None) -> dict[str, bytes]:
    """bucket → content of one kind: the named buckets (those that exist), or all of them."""
    statement = reader.select(_PARTS, "bucket", "content").where(_PARTS.c.source_id == source_id, _PARTS.c.kind == kind)
    if buckets is None:
        rows = await reader.tuples(statement)
    else:
        rows = [tuple(row) for row in await reader.by_keys(statement, _PARTS.c.bucket, sorted(set(buckets)))]
    return {row[0]: row[1] for row in rows}


async def put_reading(book: Book, kept: LastReading) -> None:
    """Make or replace the header row of a source."""
    await book.upsert(reading.last_reading, ("source_id",), [{name: getattr(kept, name) for name in _READING}])


async def put_parts(book: Book, source_id: str, found: Mapping[PartKey, bytes]) -> None:
    """Write parts whole, over those of the same key."""
    rows = [
        {"source_id": source_id, "kind": kind, "bucket": bucket, "content": content}
        for (kind, bucket), content in sorted(found.items())
    ]
    for start in range(0, len(rows), _AT_ONCE):
        await book.upsert(_PARTS, ("source_id", "kind", "bucket"), rows[start : start + _AT_ONCE])


async def drop_parts(book: Book, source_id: str, keys: Sequence[PartKey] | None = None) -> None:
    """Forget parts of a source: the named ones, or all of them."""
    if keys is None:
        await book.delete(_PARTS, _PARTS.c.source_id == source_id)
    elif keys:
        await book.delete(_PARTS, _PARTS.c.source_id == source_id, tuple_(_PARTS.c.kind, _PARTS.c.bucket).in_(keys))


async def forget(book: Book, keep: Iterable[str]) -> None:
    """Forget the last readings of every source that is not in ``keep`` (directories that left the file)."""
    kept = list(keep)
    await book.delete(_PARTS, _PARTS.c.source_id.not_in(kept))
    await book.delete(reading.last_reading, reading.last_reading.c.source_id.not_in(kept))


async def base(reader: Reader) -> Base | None:
    """What the next run may build on, or None."""
    row = await reader.first(reader.select(reading.reconcile_base, *_BASE))
    return Base(*tuple(row)) if row else None


async def put_base(book: Book, found: Base) -> None:
    """Make or replace the base."""
    await book.upsert(reading.reconcile_base, (), [{name: getattr(found, name) for name in _BASE}])


async def forget_base(book: Book) -> None:
    """Make the next run look at everybody: call it whenever people, Teams or seats change outside a run."""
    await book.delete(reading.reconcile_base)
