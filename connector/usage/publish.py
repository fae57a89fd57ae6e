"""Publish: fold what was staged into days, write what changed as Iceberg snapshots, then flip one ledger row.

Days are recomputed from staged events, never added to; a publish that dies between the two storages leaves snapshots
nobody names, and the next one starts from the last named ones again.
Prohibition: nothing here is visible before ``publications.record``.

``publish`` takes eight arguments: two storages, whose and when, the secret, and three that may be left alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

import pyarrow as pa

from connector.usage.days import FoldedDay, keyed_days, usage_table
from connector.usage.dimensions import Views, dimension_rows, offering_names
from connector.usage.ingest import in_pool
from connector.usage.prepare import Found, complete_through, find, freshness, provisional_from
from connector.usage.settings import ReportingSettings
from ledger.instant import new_id
from ledger.jobs import Fence, Unleased
from ledger.publication import Publication, PublishedTable
from ledger.published.datasets import DATASETS, USAGE_DAILY, arrow_table
from ledger.published.iceberg import Warehouse
from ledger.store import publications
from ledger.store import usage as store
from ledger.store.book_times import present
from ledger.store.engine import Ledger
from ledger.store.publications import DayState, Revision
from ledger.usage import Activity, DayStatus, UsageDay, user_key, with_days

_ROWS_PER_WRITE = 500_000
_SEAL_MARGIN = timedelta(days=2)  # a batch that took its time before midnight must still find its days unsealed
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ChangedDay:
    """A day whose published rows will differ."""

    folded: FoldedDay
    status: DayStatus
    revision: int
    before: DayState | None
    was_final: bool

    def state(self, publication_id: str) -> DayState:
        """What the ledger will say about the day."""
        rows = len(self.folded.rows)
        return DayState(self.folded.day, self.status, self.revision, rows, self.folded.digest, publication_id)


@dataclass(frozen=True, slots=True)
class Written:
    """What lies in the tables and waits to be made visible."""

    found: Found
    changed: list[ChangedDay]
    publication: Publication
    activity: Activity


async def publish(
    ledger: Ledger,
    warehouse: Warehouse,
    organization: str,
    *,
    now: datetime,
    secret: bytes,
    settings: ReportingSettings | None = None,
    progress: Progress | None = None,
    fence: Fence = Unleased.PUBLICATION,
) -> Publication:
    """Make everything staged up to now visible, as one publication; the latest one when nothing changed. ``now`` counts
    where the book's time is not later: a day that was final stays so, whichever host publishes.

    ``secret`` is the key of pseudonyms; ``progress(days written, days to write)``. Raises ``Stale`` or ``Busy`` when
    another publish of the organization finished in between (run it again), ``Unavailable`` for either storage.
    """
    settings = settings or ReportingSettings()
    async with ledger.read(organization) as reader:
        now = await present(reader, now)
        found = await find(reader, now, settings)
    key_of = lru_cache(maxsize=None)(lambda identity: user_key(secret, organization, identity))
    changed = await in_pool(_changed_days, found, now, key_of)
    publication_id = new_id()
    activity = with_days(found.activity, [day.folded.day for day in changed], _usage_of(found, changed))
    tables = dict(found.base.tables) if found.base else {}
    usage = await _write_usage(warehouse, organization, found, changed, publication_id, progress)
    if usage is not None:
        tables[USAGE_DAILY.name] = usage
    views = _views(found, now, activity, key_of, settings)
    tables |= await _write_dimensions(warehouse, organization, views, tables)
    publication = found.base
    if found.base is None or tables != dict(found.base.tables):
        number = found.base.number + 1 if found.base else 1
        provisional = provisional_from(found, now)
        publication = Publication(publication_id, number, now, tables, provisional)
    assert publication is not None  # noqa: S101 - either there was one, or it has just been made
    await _flip(ledger, organization, now, settings, Written(found, changed, publication, activity), fence)
    return publication


def _changed_days(found: Found, now: datetime, key_of: Callable[[str], str]) -> list[ChangedDay]:
    """The folded days that differ from what is published; a final one gets its next revision."""
    changed = []
    for folded in keyed_days(found.days, found.usage, team_of=found.attribution.team_of, key_of=key_of):
        before = found.states.get(folded.day)
        status = found.calendar.status(folded.day, now)
        differs = before.digest != folded.digest if before else bool(folded.rows)
        if not differs and (before is None or before.status is status):
            continue
        was_final = found.was_final_through is not None and folded.day <= found.was_final_through
        revision = (before.revision if before else 0) + (1 if was_final and differs else 0)
        changed.append(ChangedDay(folded, status, revision, before, was_final and differs))
    return changed


def _usage_of(found: Found, changed: Collection[ChangedDay]) -> list[UsageDay]:
    days = {day.folded.day for day in changed}
    return [row for row in found.usage if row.day in days]


async def _write_usage(
    warehouse: Warehouse,
    organization: str,
    found: Found,
    changed: list[ChangedDay],
    publication_id: str,
    progress: Progress | None,
) -> PublishedTable | None:
    """Write the changed days, some at a time so that memory stays bounded; None when there is nothing to write."""
    published = found.base.tables.get(USAGE_DAILY.name) if found.base else None
    if published is not None and not changed:
        return None
    names = offering_names(found.past)
    snapshot = published.snapshot if published else None
    done = 0
    for part in _parts(changed) or [[]]:
        table = await in_pool(
            usage_table, [(day.folded, day.status, day.revision) for day in part], names, publication_id
        )
        days = [day.folded.day for day in part]
        snapshot = await warehouse.write(organization, USAGE_DAILY.name, table, base=snapshot, days=days)
        done += len(part)
        if progress is not None:
            progress(done, len(changed))
    assert snapshot is not None  # noqa: S101 - the loop runs at least once
    rows = (published.rows if published else 0) + sum(
        len(day.folded.rows) - (day.before.rows if day.before else 0) for day in changed
    )
    return PublishedTable(snapshot, rows, publication_id)


def _parts(changed: list[ChangedDay]) -> list[list[ChangedDay]]:
    parts: list[list[ChangedDay]] = []
    size = 0
    for day in changed:
        if not parts or size + len(day.folded.rows) > _ROWS_PER_WRITE:
            parts.append([])
            size = 0
        parts[-1].append(day)
        size += len(day.folded.rows)
    return parts


async def _write_dimensions(
    warehouse: Warehouse, organization: str, views: Views, before: Mapping[str, PublishedTable]
) -> dict[str, PublishedTable]:
    """Replace the describing datasets whose rows differ from what is published."""
    made = await in_pool(dimension_rows, views)
    written: dict[str, PublishedTable] = {}
    for name, rows in made.items():
        table, digest = await in_pool(_digested, name, rows)
        old = before.get(name)
        if old is not None and old.digest == digest:
            continue
        snapshot = await warehouse.write(organization, name, table, base=old.snapshot if old else None)
        written[name] = PublishedTable(snapshot, table.num_rows, digest)
    return written


def _digested(name: str, rows: list[dict[str, Any]]) -> tuple[pa.Table, str]:
    table = arrow_table(DATASETS[name], rows)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return table, hashlib.sha256(sink.getvalue()).hexdigest()


def _views(
    found: Found, now: datetime, activity: Activity, key_of: Callable[[str], str], settings: ReportingSettings
) -> Views:
    return Views(
        now=now,
        calendar=found.calendar,
        past=found.past,
        activity=activity,
        key_of=key_of,
        collected_from=found.collected_from,
        opted_out=found.opted_out,
        complete_through=complete_through(found),
        inactive_days=settings.inactive_days,
    )


async def _flip(
    ledger: Ledger, organization: str, now: datetime, settings: ReportingSettings, written: Written, fence: Fence
) -> None:
    """The one transaction that makes it visible: publication, day states, revisions, marks, freshness."""
    found, changed, publication = written.found, written.changed, written.publication
    late: dict[date, int] = {}
    for mark in found.touched:
        late[mark.day] = late.get(mark.day, 0) + mark.events
    async with ledger.write(organization, fence, at=now) as book:
        if publication is not found.base:
            await publications.record(book, publication, base=found.base)
            await publications.put_days(book, [day.state(publication.id) for day in changed])
            previous = found.base.id if found.base else ""
            await publications.log_revisions(
                book, [_revision(day, publication, previous, late) for day in changed if day.was_final]
            )
            await store.replace_activity(book, found.activity, written.activity)
        await store.settle(book, found.touched)
        await publications.set_freshness(book, freshness(found, now))
        oldest = found.calendar.day_of(now) - timedelta(days=settings.lateness_days)
        await store.drop_staged(book, oldest - _SEAL_MARGIN)


def _revision(day: ChangedDay, publication: Publication, previous: str, late: Mapping[date, int]) -> Revision:
    events = late.get(day.folded.day, 0)
    return Revision(
        day=day.folded.day,
        revision=day.revision,
        publication_id=publication.id,
        previous_publication_id=previous,
        at=publication.created_at,
        reason="late events" if events else "attributed anew",
        late_events=events,
        rows_before=day.before.rows if day.before else 0,
        rows_after=len(day.folded.rows),
    )
