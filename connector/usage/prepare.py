"""What a publish starts from: everything it needs to know, read in one snapshot of the book.

Prohibition: writes nothing; what it reads is decided upon in ``publish``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from connector.usage.attribution import Attribution, Span, history
from connector.usage.settings import ReportingSettings
from ledger.publication import Freshness, Publication
from ledger.published.datasets import DATASETS, USAGE_DAILY
from ledger.store import consent, histories, publications
from ledger.store import usage as store
from ledger.store.book import Reader
from ledger.store.histories import Histories
from ledger.store.publications import DayState
from ledger.usage import Activity, Calendar, DayStatus, UsageDay


@dataclass(frozen=True, slots=True)
class Found:
    """What the book said when the publish began: one snapshot, nothing computed yet."""

    base: Publication | None
    calendar: Calendar
    touched: tuple[store.Touched, ...]
    states: Mapping[date, DayState]
    was_final_through: date | None
    last_received_at: datetime | None
    activity: Activity
    past: Histories
    collected_from: date | None
    opted_out: Mapping[str, Any]
    attribution: Attribution
    usage: tuple[UsageDay, ...]
    days: tuple[date, ...]


async def find(reader: Reader, now: datetime, settings: ReportingSettings) -> Found:
    """Read what a publish at ``now`` needs: which days to fold, their staged usage, and the histories behind them."""
    calendar = Calendar.of(await store.report_zone(reader), settings.finalise_after_days)
    base = await publications.latest(reader)
    fresh = (await publications.freshness(reader)).get(USAGE_DAILY.name)
    touched = tuple(await store.touched(reader))
    states = await publications.days(reader)
    days = {mark.day for mark in touched}
    days |= {
        day
        for day, state in states.items()
        if state.status is DayStatus.PROVISIONAL and calendar.status(day, now) is DayStatus.FINAL and not state.sealed
    }
    if base is not None:
        # an hour back: a run's instant is taken before it commits; an unchanged day is left alone by its digest
        moved = await store.changed_days(reader, base.created_at - timedelta(hours=1))
        moved_days = {calendar.day_of(at) for at in moved}
        days |= {day for day in moved_days if day in states and states[day].status is DayStatus.PROVISIONAL}
    ordered = tuple(sorted(days))
    basis, since = await consent.legal_basis(reader), await consent.collecting_since(reader)
    return Found(
        base=base,
        calendar=calendar,
        touched=touched,
        states=states,
        was_final_through=fresh.final_through if fresh else None,
        last_received_at=await store.last_received_at(reader),
        activity=await store.activity(reader),
        past=await histories.read_histories(reader),
        collected_from=max(basis.effective_on, calendar.day_of(since)) if basis and since else None,
        opted_out=await consent.opted_out(reader),
        attribution=await _attribution(reader, calendar, ordered),
        usage=tuple(await store.folded(reader, ordered)) if ordered else (),
        days=ordered,
    )


async def _attribution(reader: Reader, calendar: Calendar, days: tuple[date, ...]) -> Attribution:
    if not days:
        return Attribution(calendar, history((), ()))
    start, end = calendar.starts_at(days[0]), calendar.starts_at(days[-1] + timedelta(days=1))
    held = await histories.seat_holders(reader, start, end)
    members = await histories.team_members(reader, start, end)
    return Attribution(
        calendar,
        history(
            ((who, offering, Span(team, since, until)) for who, offering, team, since, until in held),
            ((who, Span(team, since, until)) for who, team, since, until in members),
        ),
    )


def complete_through(found: Found) -> date | None:
    """The last day that sources have reported past: a silent product does not make days complete."""
    if found.last_received_at is None:
        return None
    return found.calendar.day_of(found.last_received_at) - timedelta(days=1)


def final_through(found: Found, now: datetime) -> date | None:
    """The last final day at ``now``; None before the first batch."""
    return None if found.last_received_at is None else found.calendar.final_through(now)


def provisional_from(found: Found, now: datetime) -> date | None:
    """The first day that is not final at ``now``; None before the first batch."""
    final = final_through(found, now)
    return None if final is None else final + timedelta(days=1)


def freshness(found: Found, now: datetime) -> list[Freshness]:
    """How far every dataset reaches after a publish at ``now``."""
    complete, final = complete_through(found), final_through(found, now)
    return [
        Freshness(name, now, found.last_received_at, complete, final)
        if dataset.day_column
        else Freshness(name, now, None, None, None)
        for name, dataset in DATASETS.items()
    ]
