"""Usage events come in: a batch is read, judged row by row, and staged in one transaction.

Idempotent by ``event_id``: a batch may be sent again after any failure. Prohibition: no row disappears; what is not
staged is in quarantine with its reasons, or dropped for want of a legal basis and counted (R13c).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from connector.usage.formats.bodies import MAX_EVENTS, BatchTooLarge, read_body
from connector.usage.judge import Quarantined, Verdict, World, judge, sift
from connector.usage.rows import Row, cause_of, clean, mail_key, parse_mapping
from connector.usage.settings import ReportingSettings
from ledger.instant import new_id
from ledger.jobs import Unleased
from ledger.store import consent, usage_quarantine
from ledger.store import usage as store
from ledger.store.book import Book
from ledger.store.engine import Ledger
from ledger.store.usage_quarantine import Kept, digest_of
from ledger.usage import Calendar

SHOWN_ROWS = 1_000
T = TypeVar("T")

_POOL = ThreadPoolExecutor(2, thread_name_prefix="usage-ingest")


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of a batch. ``accepted + duplicates + conflicts + quarantined_count + sum(dropped) == rows``.

    A conflict is a row whose event id is known with other content: it is kept in quarantine too, with that cause.
    ``fractions``: accepted rows with a fraction of a token. ``causes``: how many rows were set aside for each (a row
    may have several). ``quarantined`` lists at most ``SHOWN_ROWS`` rows, conflicts among them; the ledger keeps all.
    """

    batch_id: str
    rows: int
    accepted: int
    duplicates: int
    quarantined_count: int
    quarantined: tuple[Quarantined, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    conflicts: int = 0
    fractions: int = 0
    causes: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: IngestReport) -> IngestReport:
        return IngestReport(
            other.batch_id,
            self.rows + other.rows,
            self.accepted + other.accepted,
            self.duplicates + other.duplicates,
            self.quarantined_count + other.quarantined_count,
            (self.quarantined + other.quarantined)[:SHOWN_ROWS],
            dict(Counter(self.dropped) + Counter(other.dropped)),
            self.conflicts + other.conflicts,
            self.fractions + other.fractions,
            dict(Counter(self.causes) + Counter(other.causes)),
        )

    def to_json(self) -> dict[str, Any]:
        """The body of the HTTP answer and of ``--json``."""
        return {
            "batch_id": self.batch_id,
            "rows": self.rows,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "conflicts": self.conflicts,
            "quarantined": self.quarantined_count,
            "causes": dict(self.causes),
            "quarantined_rows": [
                {"place": row.place, "event_id": row.event_id, "reasons": list(row.reasons)} for row in self.quarantined
            ],
            "dropped": dict(self.dropped),
            "fractions": self.fractions,
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
    parsed = await (in_pool(read_body, rows) if isinstance(rows, bytes) else in_pool(_mappings, rows))
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
    """``ingest`` for rows that were read already, each with its place."""
    if len(rows) > MAX_EVENTS:
        raise BatchTooLarge(f"a batch holds at most {MAX_EVENTS} events")
    async with ledger.write(organization, Unleased.INTAKE, at=now) as book:
        verdict = await judged(book, rows, settings or ReportingSettings())
        return await _store(book, clean(source), rows, verdict)


async def in_pool(call: Callable[..., T], *arguments: Any) -> T:
    """Run CPU or file work off the loop, in this room's own threads."""
    return await asyncio.get_running_loop().run_in_executor(_POOL, call, *arguments)


async def judged(book: Book, rows: list[Row], settings: ReportingSettings) -> Verdict:
    """What becomes of ``rows``, by what the book knows at its instant."""
    keys = {key for _, row in rows if row.mail and (key := mail_key(row.mail))}
    return await in_pool(judge, rows, await _world(book, keys, settings))


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


async def _store(book: Book, source: str, rows: list[Row], verdict: Verdict) -> IngestReport:
    batch_id = new_id()
    staged = await store.staged_events(book, list({event[0] for event in verdict.accepted}))
    sifted = await in_pool(sift, rows, verdict, staged)
    if sifted.fresh:
        await store.stage(book, batch_id, sifted.fresh)
    aside = [*verdict.quarantined, *(row for _, row in sifted.conflicts)]
    await usage_quarantine.keep(book, await in_pool(lambda: [kept(row, batch_id, source, book.at) for row in aside]))
    counts = store.BatchCounts(
        len(sifted.fresh), sifted.duplicates, len(verdict.quarantined), len(sifted.conflicts), verdict.dropped
    )
    await store.record_batch(book, batch_id, source, counts)
    return IngestReport(
        batch_id,
        len(rows),
        counts.accepted,
        counts.duplicates,
        counts.quarantined,
        tuple(aside[:SHOWN_ROWS]),
        dict(verdict.dropped),
        counts.conflicts,
        sum(1 for event in sifted.fresh if event[6] is not None and event[6] % 1),
        dict(Counter(cause_of(reason) for row in aside for reason in row.reasons)),
    )


def kept(row: Quarantined, batch_id: str, source: str, received_at: datetime) -> Kept:
    """``row`` as the ledger keeps it."""
    causes = "; ".join(dict.fromkeys(map(cause_of, row.reasons)))
    digest = digest_of(row.payload)
    return Kept(digest, row.event_id, row.place, list(row.reasons), causes, row.payload, batch_id, source, received_at)
