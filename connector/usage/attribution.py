"""Which Team a person's usage of a day belongs to: exactly one, so that Teams add up to the organization.

The Team of the seat they held for that offering on that day; else the Team they were a member of; else none (``""``).
Of several, the one still held at the end of the day that began first; when none was held at the end of the day, the one
that ended last. Pure: no I/O, no clock here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from ledger.usage import Calendar, UsageDay

NO_TEAM = ""


@dataclass(frozen=True, slots=True)
class Span:
    """One identity in one Team (or on one of its seats) for ``[since, until)``."""

    team_id: str
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class History:
    """Who was where: ``seats`` by (identity, offering), ``members`` by identity."""

    seats: Mapping[tuple[str, str], Sequence[Span]]
    members: Mapping[str, Sequence[Span]]


def history(seats: Iterable[tuple[str, str, Span]], members: Iterable[tuple[str, Span]]) -> History:
    """Group spans: ``seats`` as (identity, offering, span), ``members`` as (identity, span)."""
    by_seat: dict[tuple[str, str], list[Span]] = {}
    for identity, offering, span in seats:
        by_seat.setdefault((identity, offering), []).append(span)
    by_member: dict[str, list[Span]] = {}
    for identity, span in members:
        by_member.setdefault(identity, []).append(span)
    return History(by_seat, by_member)


class Attribution:
    """Answers for any usage day, from the history of the days that are folded."""

    def __init__(self, calendar: Calendar, past: History) -> None:
        self._calendar = calendar
        self._past = past
        self._edges: dict[date, tuple[datetime, datetime]] = {}

    def team_of(self, row: UsageDay) -> str:
        """The Team ``row`` counts for, or ``NO_TEAM``."""
        edges = self._edges.get(row.day)
        if edges is None:
            edges = (self._calendar.starts_at(row.day), self._calendar.starts_at(row.day + timedelta(days=1)))
            self._edges[row.day] = edges
        for spans in (
            self._past.seats.get((row.identity_id, row.offering_code), ()),
            self._past.members.get(row.identity_id, ()),
        ):
            team = _on(spans, *edges)
            if team is not None:
                return team
        return NO_TEAM


def _on(spans: Sequence[Span], start: datetime, end: datetime) -> str | None:
    held = [span for span in spans if span.since < end and (span.until is None or span.until > start)]
    if not held:
        return None
    if len(held) == 1:
        return held[0].team_id
    lasting = [span for span in held if span.until is None or span.until >= end]
    if lasting:
        return min(lasting, key=lambda span: (span.since, span.team_id)).team_id
    return max(held, key=lambda span: (span.until or end, span.since, span.team_id)).team_id
