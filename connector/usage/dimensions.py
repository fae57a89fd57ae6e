"""The datasets that describe: seats, subscriptions, Teams, offerings and (pseudonymous) people, from history.

Pure: no I/O, no clock here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from connector.usage.seat_view import HeldSeat, judge_seat
from ledger.identity import MANUAL
from ledger.seat import SeatState, Tier
from ledger.store.histories import Histories
from ledger.usage import Activity, Calendar

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Views:
    """What the views are made from, as of ``now``.

    ``collected_from``: first day since which use was collected without a gap, None while it is not. ``opted_out``: by
    identity, intervals.
    ``complete_through``: last day that sources have reported past, None before the first batch.
    """

    now: datetime
    calendar: Calendar
    past: Histories
    activity: Activity
    key_of: Callable[[str], str]
    collected_from: date | None
    opted_out: Mapping[str, Sequence[tuple[datetime, datetime | None]]]
    complete_through: date | None
    inactive_days: int

    @property
    def today(self) -> date:
        """The day of ``now`` in the report zone."""
        return self.calendar.day_of(self.now)


def dimension_rows(views: Views) -> dict[str, Rows]:
    """The rows of every describing dataset, by its name."""
    names = offering_names(views.past)
    return {
        "seats": _seats(views, names),
        "subscriptions": _subscriptions(views, names),
        "teams": _teams(views),
        "offerings": [
            {"offering_code": row.code, "offering_name": row.name, "kind": row.kind, "eligible": row.eligible}
            for row in _last(views.past.offerings, "code").values()
        ],
        "users": [
            {
                "user_key": views.key_of(row.id),
                "department": row.attributes.get("department", ""),
                "cost_centre": row.attributes.get("cost_centre", ""),
                "country": row.attributes.get("country", ""),
                "directory_status": row.state,
            }
            for row in views.past.identities
        ],
    }


def offering_names(past: Histories) -> dict[str, str]:
    """Offering code → its newest name."""
    return {code: row.name for code, row in _last(past.offerings, "code").items()}


def _last(rows: Iterable[Any], key: str) -> dict[str, Any]:
    """The newest row per key; the rows come oldest first."""
    return {getattr(row, key): row for row in rows}


def _teams(views: Views) -> Rows:
    today = views.today
    business = {
        row.team_id
        for row in views.past.subscriptions
        if row.valid_to is None and row.tier == Tier.BUSINESS and row.starts_on <= today < row.ends_on
    }
    since: dict[str, datetime] = {}
    for row in views.past.teams:
        since.setdefault(row.id, row.valid_from)
    return [
        {
            "team_id": team_id,
            "team_name": row.name,
            "tier": str(Tier.BUSINESS if team_id in business else Tier.STANDARD),
            "since": since[team_id],
        }
        for team_id, row in _last(views.past.teams, "id").items()
    ]


def _subscriptions(views: Views, names: Mapping[str, str]) -> Rows:
    return [
        {
            "subscription_id": row.id,
            "team_id": row.team_id,
            "contract_number": row.contract_number,
            "offering_code": row.offering_code,
            "offering_name": names.get(row.offering_code, row.offering_code),
            "seat_quantity": row.quantity,
            "term": term(row.starts_on, row.ends_on),
            "start_date": row.starts_on,
            "end_date": row.ends_on,
            "status": _status(row, views.today),
            "tier": row.tier,
            "renews": row.renews,
        }
        for row in _last(views.past.subscriptions, "id").values()
    ]


def _status(row: Any, today: date) -> str:
    if row.valid_to is not None or row.ends_on <= today:
        return "expired"
    return "active" if row.starts_on <= today else "future"


def term(start: date, end: date) -> str:
    """``[start, end)`` as an ISO 8601 duration: whole months where it is some, days otherwise."""
    months = (end.year - start.year) * 12 + end.month - start.month
    return f"P{months}M" if months > 0 and end.day == start.day else f"P{(end - start).days}D"


def _seats(views: Views, names: Mapping[str, str]) -> Rows:
    months: dict[tuple[str, str], list[tuple[date, int, int]]] = {}
    for (month, identity, offering), masks in views.activity.items():
        months.setdefault((identity, offering), []).append((month, *masks))
    granted: set[str] = {row.seat_id for row in views.past.grants if row.provenance != MANUAL}
    first: dict[str, datetime] = {}
    for row in views.past.seats:
        first.setdefault(row.id, row.valid_from)
    tiers = {row.id: row.tier for row in views.past.subscriptions}
    return [
        _seat(views, row, first[seat_id], seat_id not in granted, months)
        | {
            "offering_name": names.get(row.offering_code, row.offering_code),
            "tier": tiers.get(row.subscription_id, str(Tier.STANDARD)),
        }
        for seat_id, row in _last(views.past.seats, "id").items()
    ]


def _seat(
    views: Views, row: Any, assigned_at: datetime, direct: bool, months: Mapping[tuple[str, str], Sequence[Any]]
) -> dict[str, Any]:
    state = SeatState.RELEASED if row.valid_to is not None else SeatState(row.state)
    verdict = judge_seat(
        HeldSeat(
            state=state,
            direct=direct,
            held_from=views.calendar.day_of(assigned_at),
            held_until=views.calendar.day_of(row.valid_to or views.now),
            months=months.get((row.identity_id, row.offering_code), ()),
            observed_from=_observed_from(views, row.identity_id),
            complete_through=views.complete_through,
        ),
        views.inactive_days,
    )
    return {
        "seat_id": row.id,
        "subscription_id": row.subscription_id,
        "team_id": row.team_id,
        "user_key": views.key_of(row.identity_id),
        "offering_code": row.offering_code,
        "state": str(state),
        "assigned_at": assigned_at,
        "unassigned_at": row.valid_to,
        "assignment": "direct" if direct else "group",
        "days_used": verdict.days_used,
        "days_inactive": verdict.days_inactive,
        "last_used_on": verdict.last_used_on,
        "last_activity_state": verdict.last_activity_state,
        "monthly_average": verdict.monthly_average,
        "reclaimable": verdict.reclaimable,
        "reason": verdict.reason,
    }


def _observed_from(views: Views, identity: str) -> date | None:
    """First day from which this person's use would have been collected without a gap until now (R13c)."""
    start = views.collected_from
    for _, until in views.opted_out.get(identity, ()):
        if until is None or start is None:
            return None
        start = max(start, views.calendar.day_of(until) + timedelta(days=1))
    return start
