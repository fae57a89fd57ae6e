"""Is a seat used? One pure judgement per seat, which never calls unobserved time idle (reporting.md §3, §6.4).

Pure: no I/O, no clock here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from ledger.seat import USES_CAPACITY, SeatState


@dataclass(frozen=True, slots=True)
class HeldSeat:
    """What is known about one seat. ``months``: (first day, days used, days not observable) as bits, in any order.

    ``held_from``/``held_until``: first and last day held (until: today while it is held). ``observed_from``: first day
    from which collection was allowed for its holder without interruption until today, None while it is not.
    ``complete_through``: last day that sources have reported past.
    """

    state: SeatState
    direct: bool
    held_from: date
    held_until: date
    months: Sequence[tuple[date, int, int]]
    observed_from: date | None
    complete_through: date | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The activity columns of the dataset ``seats``. ``days_inactive`` is None where silence proves nothing."""

    days_used: int
    days_inactive: int | None
    last_used_on: date | None
    last_activity_state: str
    monthly_average: float
    reclaimable: bool
    reason: str


def judge_seat(seat: HeldSeat, inactive_days: int) -> Verdict:
    """Days used while held, whether silence since then was observed, and whether that is enough to take it back."""
    used = sorted(
        day
        for day in _days((month, bits) for month, bits, _ in seat.months)
        if seat.held_from <= day <= seat.held_until
    )
    last = used[-1] if used else None
    quiet_from = last + timedelta(days=1) if last else seat.held_from
    unseen = set(_days((month, bits) for month, _, bits in seat.months))
    observed = _is_observed(seat, quiet_from, inactive_days, unseen)
    idle: int | None = None
    if observed and seat.complete_through is not None:
        idle = max(0, (min(seat.complete_through, seat.held_until) - quiet_from).days + 1)
    held = (seat.held_until - seat.held_from).days + 1
    state = "used" if used else ("never_used" if observed else "not_observed")
    reason = _reason(seat, idle, bool(used), inactive_days)
    average = round(len(used) / held * 30, 2)
    return Verdict(len(used), idle, last, state, average, reason in {"idle", "never_used"}, reason)


def _days(months: Iterable[tuple[date, int]]) -> Iterator[date]:
    for month, bits in months:
        while bits:
            low = bits & -bits
            yield month + timedelta(days=low.bit_length() - 1)
            bits ^= low


def _is_observed(seat: HeldSeat, quiet_from: date, inactive_days: int, unseen: Collection[date]) -> bool:
    """Whether every day that the judgement rests on was one on which use would have been seen."""
    if seat.observed_from is None or seat.complete_through is None:
        return False
    window = max(quiet_from, seat.complete_through - timedelta(days=inactive_days - 1))
    return seat.observed_from <= window and not any(window <= day <= seat.complete_through for day in unseen)


def _reason(seat: HeldSeat, idle: int | None, used: bool, inactive_days: int) -> str:
    if seat.state not in USES_CAPACITY:
        return "released"
    if seat.state is SeatState.PAUSED:
        return "paused"
    if idle is None:
        return "not_observed"
    if idle < inactive_days:
        return "in_use" if used else "too_new"
    if not seat.direct:
        return "group_assigned"
    return "idle" if used else "never_used"
