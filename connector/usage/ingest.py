"""Usage events come in: a batch is parsed, judged row by row, and staged in one transaction.

Idempotent by ``event_id``: a batch may be sent again after any failure. Prohibition: no row disappears; what is not
staged is in quarantine with its reasons, or dropped for want of a legal basis and counted (R13c).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from connector.usage.judge import Quarantined, Verdict, World, judge
from connector.usage.rows import BadRow, EventRow, mail_key, parse_line, parse_mapping
from connector.usage.settings import ReportingSettings
from ledger.errors import BadInput
from ledger.instant import new_id
from ledger.jobs import Unleased
from ledger.store import consent
from ledger.store import usage as store
from ledger.store.book import Book
from ledger.store.engine import Ledger
from ledger.usage import Calendar

MAX_EVENTS = 10_000
MAX_BYTES = 8 * 1024 * 1024
SHOWN_ROWS = 1_000
T = TypeVar("T")
Row = tuple[str, EventRow | BadRow]

_POOL = ThreadPoolExecutor(2, thread_name_prefix="usage-ingest")


class BatchTooLarge(BadInput):
    """More than ``MAX_EVENTS`` rows or ``MAX_BYTES`` bytes; nothing was read (HTTP 413)."""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of a batch. ``accepted + duplicates + quarantined_count + sum(dropped) == rows``.

    ``quarantined`` lists at most ``SHOWN_ROWS`` of them; all are kept in the ledger.
    """

    batch_id: str
    rows: int
    accepted: int
    duplicates: int
    quarantined_count: int
    quarantined: tuple[Quarantined, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: IngestReport) -> IngestReport:
        reasons = sorted({*self.dropped, *other.dropped})
        return IngestReport(
            other.batch_id,
            self.rows + other.rows,
            self.accepted + other.accepted,
            self.duplicates + other.duplicates,
            self.quarantined_count + other.quarantined_count,
            (self.quarantined + other.quarantined)[:SHOWN_ROWS],
            {reason: self.dropped.get(reason, 0) + other.dropped.get(reason, 0) for reason in reasons},
        )

    def to_json(self) -> dict[str, Any]:
        """The body of the HTTP answer and of ``--json``."""
        return {
            "batch_id": self.batch_id,
            "rows": self.rows,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "quarantined": self.quarantined_count,
            "quarantined_rows": [
                {"place": row.place, "event_id": row.event_id, "reasons": list(row.reasons)} for row in self.quarantined
            ],
            "dropped": dict(self.dropped),
        }


EMPTY = IngestReport("", 0, 0, 0, 0)
"""The report of nothing, to add others to."""


async def ingest(
    ledger: Ledger,
    organization: str,
    rows: Iterable[Mapping[str, Any]] | bytes,
    *,
    now: datetime,
    source: str,
    settings: ReportingSettings | None = None,
) -> IngestReport:
    """Take in one batch: NDJSON bytes, or rows as mappings (see ``rows.EventRow``). ``source`` names who sent it.

    Raises ``BatchTooLarge``; ``NotFound`` for an organization the ledger does not know; ``Busy`` and ``Unavailable`` of
    the ledger. Then nothing was stored, and the same batch may be sent again.
    """
    if isinstance(rows, bytes):
        if len(rows) > MAX_BYTES:
            raise BatchTooLarge(f"a batch holds at most {MAX_BYTES} bytes", next_step="send smaller batches")
        parsed = await in_pool(_lines, rows)
    else:
        parsed = await in_pool(_mappings, rows)
    return await ingest_parsed(ledger, organization, parsed, now=now, source=source, settings=settings)


async def ingest_parsed(
    ledger: Ledger,
    organization: str,
    rows: list[Row],
    *,
    now: datetime,
    source: str,
    settings: ReportingSettings | None = None,
) -> IngestReport:
    """``ingest`` for rows that were parsed already, each with its place."""
    if len(rows) > MAX_EVENTS:
        raise BatchTooLarge(f"a batch holds at most {MAX_EVENTS} events", next_step="send smaller batches")
    keys = {key for _, row in rows if row.mail and (key := mail_key(row.mail))}
    async with ledger.write(organization, Unleased.INTAKE, at=now) as book:
        world = await _world(book, keys, settings or ReportingSettings())
        verdict = await in_pool(judge, rows, world)
        return await _store(book, source, verdict, len(rows))


async def in_pool(call: Callable[..., T], *arguments: Any) -> T:
    """Run CPU or file work off the loop, in this room's own threads."""
    return await asyncio.get_running_loop().run_in_executor(_POOL, call, *arguments)


def _lines(body: bytes) -> list[Row]:
    lines = body.split(b"\n")
    if sum(1 for line in lines if line.strip()) > MAX_EVENTS:
        raise BatchTooLarge(f"a batch holds at most {MAX_EVENTS} events", next_step="send smaller batches")
    return [(f"line {number}", parse_line(line)) for number, line in enumerate(lines, 1) if line.strip()]


def _mappings(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    return [(f"row {number}", parse_mapping(row)) for number, row in enumerate(rows, 1)]


async def _world(book: Book, keys: set[str], settings: ReportingSettings) -> World:
    basis = await consent.legal_basis(book)
    return World(
        now=book.at,
        calendar=Calendar.of(await store.report_zone(book), settings.finalise_after_days),
        lateness_days=settings.lateness_days,
        clock_skew=settings.clock_skew,
        effective_on=basis.effective_on if basis else None,
        offerings=await store.offering_codes(book),
        holdings=await store.holdings(book, keys) if basis else {},
        opted_out=await consent.opted_out(book),
        sealed=await store.sealed_days(book),
    )


async def _store(book: Book, source: str, verdict: Verdict, total: int) -> IngestReport:
    batch_id = new_id()
    unique = {event[0]: event for event in reversed(verdict.accepted)}
    known = await store.known_events(book, list(unique))
    fresh = [event for event_id, event in unique.items() if event_id not in known]
    if fresh:
        await store.stage(book, batch_id, fresh)
    if verdict.quarantined:
        await store.quarantine(book, batch_id, source, _by_digest(verdict.quarantined))
    duplicates = len(verdict.accepted) - len(fresh)
    counts = store.BatchCounts(len(fresh), duplicates, len(verdict.quarantined), verdict.dropped)
    await store.record_batch(book, batch_id, source, counts)
    shown = tuple(verdict.quarantined[:SHOWN_ROWS])
    return IngestReport(batch_id, total, len(fresh), duplicates, len(verdict.quarantined), shown, dict(verdict.dropped))


def _by_digest(rows: Iterable[Quarantined]) -> dict[str, tuple[str, str, Any, str]]:
    found: dict[str, tuple[str, str, Any, str]] = {}
    for row in rows:
        text = "\x1f".join((row.payload, *row.reasons))
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        found.setdefault(digest, (row.event_id, row.place, list(row.reasons), row.payload))
    return found
