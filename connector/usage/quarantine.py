"""What to do with rows that were set aside: judge them again by what the book knows now, or drop them. Both audited.

Prohibition: a replay accepts nothing that would not be accepted if it came today.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

from connector.usage.ingest import in_pool, judged, kept
from connector.usage.judge import Quarantined, sift
from connector.usage.rows import BadRow, EventRow, Row, parse_line
from connector.usage.settings import ReportingSettings
from ledger.audit import AuditEvent
from ledger.instant import new_id
from ledger.jobs import Unleased
from ledger.store import audit, usage_quarantine
from ledger.store import usage as store
from ledger.store.engine import Ledger
from ledger.store.usage_quarantine import Chosen, Kept, Place

PAGE = 10_000
"""Rows of one transaction of a replay."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of rows in quarantine. ``rows == accepted + duplicates + conflicts + quarantined + dropped``.

    Conflicts and quarantined rows are still there, each with the reasons of today; the others are gone from it.
    """

    rows: int = 0
    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    quarantined: int = 0
    dropped: int = 0

    def __add__(self, other: Replayed) -> Replayed:
        return Replayed(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    def to_json(self) -> dict[str, int]:
        """By name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


async def replay_page(
    ledger: Ledger,
    organization: str,
    chosen: Chosen,
    before: Place | None,
    *,
    now: datetime,
    actor: str,
    settings: ReportingSettings,
) -> tuple[Replayed, Place | None]:
    """Judge up to ``PAGE`` rows before a place again, in one transaction; where the next page begins, None at the end.

    Raises what ``ingest`` raises; then nothing of the page changed.
    """
    async with ledger.write(organization, Unleased.BY_HAND, at=now) as book:
        there = await usage_quarantine.page(book, chosen, before, PAGE)
        rows: list[Row] = await in_pool(lambda: [(row.place, _read_again(row)) for row in there])
        verdict = await judged(book, rows, settings)
        staged = await store.staged_events(book, list({event[0] for event in verdict.accepted}))
        sifted = sift(rows, verdict, staged)
        if sifted.fresh:
            await store.stage(book, new_id(), sifted.fresh)
        still = [*zip(verdict.set_aside, verdict.quarantined, strict=True), *sifted.conflicts]
        today = [_as_today(there[position], row) for position, row in still]
        left = {event[0] for event in sifted.fresh}  # staging took out every row of these events
        reasons = {row.digest: row.reasons for row in there if row.event_id not in left}
        same = {row.digest for row in today if reasons.get(row.digest) == row.reasons}
        await usage_quarantine.remove(book, [row.digest for row in there if row.digest not in same])
        await usage_quarantine.keep(book, [row for row in today if row.digest not in same])
        done = Replayed(
            len(there),
            len(sifted.fresh),
            sifted.duplicates,
            len(sifted.conflicts),
            len(verdict.quarantined),
            sum(verdict.dropped.values()),
        )
        if there:
            await audit.append(book, [AuditEvent(actor, "usage.replay", organization, after=done.to_json())])
    return done, (there[-1].received_at, there[-1].digest) if len(there) == PAGE else None


def _read_again(old: Kept) -> EventRow | BadRow:
    row = parse_line(old.payload.encode())
    unread = isinstance(row, BadRow) and row.reasons[0].startswith(("not JSON", "not a JSON object"))
    if unread or "is not UTF-8" in old.causes:  # the payload was cut, is no row, or lost what was wrong with it
        return BadRow(old.payload, tuple(old.reasons), event_id=old.event_id)
    return row


def _as_today(old: Kept, row: Quarantined) -> Kept:
    """``old`` with the reasons of today; what was sent, when and by whom stays."""
    now = kept(row, old.batch_id, old.source, old.received_at)
    return old._replace(reasons=now.reasons, causes=now.causes)


async def drop(ledger: Ledger, organization: str, chosen: Chosen, *, now: datetime, actor: str, reason: str) -> int:
    """Take the chosen rows out of quarantine for good; returns how many."""
    async with ledger.write(organization, Unleased.BY_HAND, at=now) as book:
        dropped = await usage_quarantine.drop(book, chosen)
        after = {"dropped": dropped, "cause": chosen.cause, "source": chosen.source, "batch": chosen.batch_id}
        await audit.append(book, [AuditEvent(actor, "usage.drop", organization, reason=reason, after=after)])
    return dropped
