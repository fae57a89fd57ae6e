"""Publications: the rows that make published tables visible, and what they say about days (design.md "Publication").

Prohibition: touches no table file; a publication only names snapshots.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from ledger.errors import NotFound, Stale
from ledger.publication import Freshness, Publication, PublishedTable
from ledger.store.book import Book, Reader
from ledger.store.tables import usage
from ledger.usage import DayStatus

_NAMES = ("id", "number", "created_at", "tables", "provisional_from")
_DAY_NAMES = ("day", "status", "revision", "rows", "digest", "publication_id", "sealed")


@dataclass(frozen=True, slots=True)
class DayState:
    """What is published about one day. ``digest``: of its rows; ``sealed``: its staged events are gone."""

    day: date
    status: DayStatus
    revision: int
    rows: int
    digest: str
    publication_id: str
    sealed: bool = False


@dataclass(frozen=True, slots=True)
class Revision:
    """A change of a day that had been final; ``previous_publication_id`` still shows what it was."""

    day: date
    revision: int
    publication_id: str
    previous_publication_id: str
    at: datetime
    reason: str
    late_events: int
    rows_before: int
    rows_after: int


async def latest(reader: Reader) -> Publication | None:
    """What is visible now; None before the first publication."""
    table = usage.publication
    row = await reader.first(reader.select(table, *_NAMES).order_by(table.c.number.desc()))
    return None if row is None else _publication(row)


async def get(reader: Reader, publication_id: str) -> Publication:
    """A publication by id; raises ``NotFound`` when it never was, or has been expired."""
    row = await reader.first(reader.select(usage.publication, *_NAMES).where(usage.publication.c.id == publication_id))
    if row is None:
        raise NotFound(f"publication {publication_id[:40]} is gone", next_step="ask without a snapshot")
    return _publication(row)


async def every(reader: Reader) -> list[Publication]:
    """All publications that are still named, oldest first."""
    table = usage.publication
    return [_publication(row) for row in await reader.all(reader.select(table, *_NAMES).order_by(table.c.number))]


async def record(book: Book, publication: Publication, *, base: Publication | None) -> None:
    """Make ``publication`` visible. Raises ``Stale`` when ``base`` is no longer the latest: another publish won."""
    now_latest = await latest(book)
    if (now_latest and now_latest.id) != (base and base.id):
        raise Stale("another publish finished first", where="publication", next_step="nothing was lost; publish again")
    tables = {
        name: {"snapshot": table.snapshot, "rows": table.rows, "digest": table.digest}
        for name, table in publication.tables.items()
    }
    values = (publication.id, publication.number, publication.created_at, tables, publication.provisional_from)
    await book.insert(usage.publication, _NAMES, [values])


async def freshness(reader: Reader) -> dict[str, Freshness]:
    """By dataset, how far it reaches; empty before the first publish."""
    names = ("dataset", "last_processed_at", "last_received_at", "complete_through", "final_through")
    rows: Sequence[Any] = await reader.all(reader.select(usage.publication_freshness, *names))
    return {row.dataset: Freshness(*row) for row in rows}


async def set_freshness(book: Book, facts: Iterable[Freshness]) -> None:
    """Replace the freshness of these datasets."""
    rows = [
        {
            "dataset": fact.dataset,
            "last_processed_at": fact.last_processed_at,
            "last_received_at": fact.last_received_at,
            "complete_through": fact.complete_through,
            "final_through": fact.final_through,
        }
        for fact in facts
    ]
    await book.upsert(usage.publication_freshness, ("dataset",), rows)


async def days(reader: Reader) -> dict[date, DayState]:
    """Every day that was ever folded."""
    rows: Sequence[Any] = await reader.all(reader.select(usage.usage_day, *_DAY_NAMES))
    return {row.day: DayState(row.day, DayStatus(row.status), *row[2:]) for row in rows}


async def put_days(book: Book, states: Collection[DayState]) -> None:
    """Replace what is known about these days."""
    await book.delete_keys(usage.usage_day, ("day",), [(state.day,) for state in states])
    rows = [(s.day, str(s.status), s.revision, s.rows, s.digest, s.publication_id, s.sealed, book.at) for s in states]
    await book.insert(usage.usage_day, (*_DAY_NAMES, "folded_at"), rows)


async def log_revisions(book: Book, revisions: Sequence[Revision]) -> None:
    """Append to the revision log."""
    names = tuple(Revision.__dataclass_fields__)
    rows = [tuple(getattr(revision, name) for name in names) for revision in revisions]
    await book.insert(usage.usage_revision, names, rows)


async def revisions(reader: Reader) -> list[Revision]:
    """The revision log, by day and number."""
    table = usage.usage_revision
    statement = reader.select(table, *Revision.__dataclass_fields__).order_by(table.c.day, table.c.revision)
    rows: Sequence[Any] = await reader.all(statement)
    return [Revision(*row) for row in rows]


async def pin(book: Book, publication_id: str, *, holder: str, until: datetime) -> None:
    """Keep a publication's snapshots until ``until``: a cursor, an export, a day file. Raises ``NotFound``."""
    await get(book, publication_id)
    row = {"publication_id": publication_id, "holder": holder, "until": until}
    await book.upsert(usage.publication_pin, ("publication_id", "holder"), [row])


async def expire(book: Book, *, before: datetime) -> list[Publication]:
    """Forget publications older than ``before`` that nothing needs; returns them.

    Kept: the latest, those pinned beyond now, and those that show what a revised day was before (revision log).
    """
    table, pins = usage.publication, usage.publication_pin
    newest = await latest(book)
    keep = {newest.id} if newest else set()
    keep |= {row.publication_id for row in await book.all(book.select(pins).where(pins.c.until > book.at))}
    keep |= {row.previous_publication_id for row in await book.all(book.select(usage.usage_revision))}
    gone = [one for one in await every(book) if one.created_at < before and one.id not in keep]
    await book.delete(pins, pins.c.until <= book.at)
    await book.delete_keys(table, ("id",), [(one.id,) for one in gone])
    return gone


def needed(publications: Iterable[Publication]) -> Mapping[str, frozenset[int]]:
    """By dataset, the snapshots these publications name."""
    found: dict[str, set[int]] = {}
    for publication in publications:
        for name, table in publication.tables.items():
            found.setdefault(name, set()).add(table.snapshot)
    return {name: frozenset(snapshots) for name, snapshots in found.items()}


def _publication(row: Any) -> Publication:
    tables = {
        name: PublishedTable(int(table["snapshot"]), int(table["rows"]), table["digest"])
        for name, table in row.tables.items()
    }
    return Publication(row.id, row.number, row.created_at, tables, row.provisional_from)
