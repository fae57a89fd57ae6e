"""Staged usage: what ingest asks and writes, what a publish folds (R11, R13c).

Prohibition: decides about no row; it stores what it is told and counts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, case, func, type_coerce

from ledger.errors import NotFound
from ledger.store import usage_quarantine
from ledger.store.book import Book, Reader
from ledger.store.tables import people, seats, usage
from ledger.store.tables.usage import WHOLE_TOKEN
from ledger.usage import STATE_ORDER, Activity, Holding, UsageDay, UsageSource

_EVENT_COLUMNS = (
    "event_id",
    "day",
    "identity_id",
    "offering_code",
    "version",
    "source",
    "tokens",
    "collection_state",
    "batch_id",
)


@dataclass(frozen=True, slots=True)
class Touched:
    """A day that a batch has changed since it was last folded, by how many events."""

    day: date
    batch_id: str
    events: int


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """What became of the rows of one batch; ``dropped`` by reason."""

    accepted: int
    duplicates: int
    quarantined: int
    conflicts: int
    dropped: Mapping[str, int]


async def report_zone(reader: Reader) -> str:
    """The organization's IANA zone; raises ``NotFound`` when the ledger does not know the organization."""
    zone = await reader.scalar(reader.select(people.organization, "report_zone"))
    if zone is None:
        raise NotFound(
            f"organization {reader.organization} is not in the ledger", next_step="rosterd apply brings it there"
        )
    return str(zone)


async def holdings(reader: Reader, mail_keys: Collection[str]) -> dict[str, list[Holding]]:
    """Who held each of these addresses, and when; adjoining rows of one identity are one holding."""
    table = people.identity
    statement = reader.select(table, "mail_key", "id", "valid_from", "valid_to", "state")
    rows: Sequence[Any] = await reader.by_keys(statement, table.c.mail_key, sorted(mail_keys))
    found: dict[str, list[Holding]] = {}
    for key, identity, since, until, state in sorted(rows, key=lambda row: (row[0], row[1], row[2])):
        held = found.setdefault(key, [])
        removed = state == "removed"
        last = held[-1] if held else None
        if last and last.identity_id == identity and last.until == since and last.removed == removed:
            held[-1] = Holding(identity, last.since, until, removed)
        else:
            held.append(Holding(identity, since, until, removed))
    return found


async def offering_codes(reader: Reader) -> frozenset[str]:
    """Every offering that was ever recorded: late usage of one that is no longer sold still counts."""
    rows = await reader.all(reader.select(seats.offering, "code").distinct())
    return frozenset(row.code for row in rows)


async def sealed_days(reader: Reader) -> frozenset[date]:
    """Days whose staged events are gone."""
    rows = await reader.all(reader.select(usage.usage_day, "day").where(usage.usage_day.c.sealed))
    return frozenset(row.day for row in rows)


async def staged_events(reader: Reader, event_ids: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """What is staged of these, by event id: the tuples that ``stage`` was given."""
    table = usage.usage_event
    rows = await reader.tuples_by_keys(reader.select(table, *_EVENT_COLUMNS[:-1]), table.c.event_id, event_ids)
    return {row[0]: row for row in rows}


async def stage(book: Book, batch_id: str, events: Sequence[tuple[Any, ...]]) -> None:
    """Stage new events (tuples: event_id, day, identity, offering, version, source, tokens, state), mark their days."""
    await book.insert(usage.usage_event, _EVENT_COLUMNS, [(*event, batch_id) for event in events])
    per_day: dict[date, int] = {}
    for event in events:
        per_day[event[1]] = per_day.get(event[1], 0) + 1
    rows = [(day, batch_id, count) for day, count in sorted(per_day.items())]
    await book.insert(usage.usage_touched, ("day", "batch_id", "events"), rows)
    await usage_quarantine.release(book, [event[0] for event in events])


async def record_batch(book: Book, batch_id: str, source: str, counts: BatchCounts) -> None:
    """The counters of one batch (R13c: what was dropped is counted, not kept)."""
    columns = ("accepted", "duplicates", "quarantined", "conflicts", "dropped")
    numbers = (counts.accepted, counts.duplicates, counts.quarantined, counts.conflicts, dict(counts.dropped))
    same = {"id": batch_id, "source": source, "received_at": book.at}
    await book.insert(usage.usage_batch, columns, [numbers], same=same)


async def last_received_at(reader: Reader) -> datetime | None:
    """When the newest batch arrived, empty ones included; None before the first."""
    table = usage.usage_batch
    row = await reader.first(reader.select(table, "received_at").order_by(table.c.received_at.desc()))
    return None if row is None else row.received_at


async def dropped_counts(reader: Reader) -> dict[str, int]:
    """All that was ever dropped, by reason."""
    totals: dict[str, int] = {}
    for row in await reader.all(reader.select(usage.usage_batch, "dropped").where(usage.usage_batch.c.dropped != {})):
        for reason, count in row.dropped.items():
            totals[reason] = totals.get(reason, 0) + count
    return totals


async def touched(reader: Reader) -> list[Touched]:
    """What has to be folded."""
    table = usage.usage_touched
    rows = await reader.all(reader.select(table, "day", "batch_id", "events").order_by(table.c.day, table.c.batch_id))
    return [Touched(row.day, row.batch_id, row.events) for row in rows]


async def settle(book: Book, folded: Collection[Touched]) -> None:
    """Forget exactly the marks that were folded; what arrived meanwhile stays marked."""
    await book.delete_keys(usage.usage_touched, ("day", "batch_id"), [(mark.day, mark.batch_id) for mark in folded])


async def folded(reader: Reader, days: Sequence[date]) -> list[UsageDay]:
    """The usage days of ``days`` from the staged events: ``ledger.usage.fold`` said in SQL, sorted like it."""
    table = usage.usage_event
    rank = case(
        {str(state): position for position, state in enumerate(STATE_ORDER)},
        value=table.c.collection_state,
        else_=len(STATE_ORDER) - 1,
    )
    key = (table.c.day, table.c.identity_id, table.c.offering_code, table.c.version, table.c.source)
    tokens = type_coerce(table.c.tokens, BigInteger)
    # whole tokens and millionths apart: their sums stay far inside 64 bits
    totals = (func.sum(tokens // WHOLE_TOKEN), func.sum(tokens % WHOLE_TOKEN), func.min(rank))
    statement = reader.select(table).with_only_columns(*key, *totals).group_by(*key)
    rows: Sequence[Any] = await reader.by_keys(statement, table.c.day, days)
    found = [
        UsageDay(day, who, offering, version, UsageSource(way), _tokens(whole, rest), STATE_ORDER[state])
        for day, who, offering, version, way, whole, rest, state in rows
    ]
    found.sort(key=lambda row: (row.day, row.identity_id, row.offering_code, row.version, row.source))
    return found


def _tokens(whole: int | None, millionths: int | None) -> Decimal | None:
    return None if whole is None or millionths is None else whole + Decimal(int(millionths)).scaleb(-6)


async def drop_staged(book: Book, before: date) -> int:
    """Let staged events of days before ``before`` go, and seal those days; a day still marked keeps its events."""
    marked = {mark.day for mark in await touched(book)}
    day = usage.usage_day
    keep = [usage.usage_event.c.day.not_in(sorted(marked))] if marked else []
    gone = await book.delete(usage.usage_event, usage.usage_event.c.day < before, *keep)
    condition = [day.c.day < before, ~day.c.sealed]
    if marked:
        condition.append(day.c.day.not_in(sorted(marked)))
    await book.update(day, {"sealed": True}, *condition)
    oldest = datetime.combine(before, time.min, tzinfo=UTC)
    await book.delete(usage.usage_quarantine, usage.usage_quarantine.c.received_at < oldest)
    return gone


async def changed_days(reader: Reader, since: datetime) -> list[datetime]:
    """Instants after ``since`` at which somebody's Team or seat changed: their days may be attributed anew."""
    found: set[datetime] = set()
    for table in (people.team_membership, seats.seat):
        for column in (table.c.valid_from, table.c.valid_to):
            statement = reader.select(table, column.name).where(column > since).distinct()
            rows: Sequence[Any] = await reader.all(statement)
            found.update(row[0] for row in rows)
    return sorted(found)


async def activity(reader: Reader) -> Activity:
    """Which days everybody used (or could not be observed using) which offering."""
    table = usage.usage_activity
    names = ("month", "identity_id", "offering_code", "days", "unobserved")
    rows: Sequence[Any] = await reader.all(reader.select(table, *names))
    return {(month, identity, offering): (days, unseen) for month, identity, offering, days, unseen in rows}


async def replace_activity(book: Book, before: Activity, after: Activity) -> None:
    """Write what differs between ``before`` (as read) and ``after``."""
    table = usage.usage_activity
    key = ("month", "identity_id", "offering_code")
    changed = [month for month, masks in after.items() if before.get(month) != masks]
    gone = [month for month in before if month not in after]
    await book.delete_keys(table, key, [month for month in changed if month in before] + gone)
    await book.insert(table, (*key, "days", "unobserved"), [(*month, *after[month]) for month in changed])
