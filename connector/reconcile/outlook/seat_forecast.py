"""Seats ahead: per Team and offering what is free, what this plan wants, who waits, what ends soon (P4).

Pure: no I/O, no clock here. Changes nothing: nobody loses a seat because a term ends.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from connector.reconcile.diff.seat_pools import PoolKey
from connector.reconcile.plan.changes import Bundle, Change, Kind, Plan
from connector.reconcile.plan.recorded import Recorded
from connector.reconcile.plan.words import people
from ledger.counted import counted
from ledger.seat import Subscription

_MOVES_SEATS = frozenset({Kind.ASSIGN_SEAT, Kind.MOVE_SEAT, Kind.RELEASE_SEAT, Kind.WAIT})
AHEAD = timedelta(days=30)
"""How far ahead terms are looked at."""


@dataclass(frozen=True, slots=True)
class TermEnd:
    """``quantity`` seats of a pool end on ``day`` (the first day no longer covered). ``successor``: seats of what
    renews them by then; ``capacity``: all seats the pool has from that day; ``without``: people who hold a seat of the
    pool after this plan and would have none."""

    day: date
    quantity: int
    successor: int
    capacity: int
    without: int


@dataclass(frozen=True, slots=True)
class PoolForecast:
    """One Team's seats of one offering. ``capacity``: seats of terms that run today; ``held``: taken now; ``wanted``:
    people for whom this plan asks for a seat; ``given_back``: seats it frees; ``waiting``: people on the waitlist now
    and, in ``waiting_after``, after the plan. Counts are people or seats, of which each has one."""

    team: str
    team_id: str
    offering: str
    capacity: int
    held: int
    wanted: int
    given_back: int
    held_after: int
    waiting: int
    waiting_after: int
    ends: tuple[TermEnd, ...] = ()

    @property
    def name(self) -> str:
        """``CAD @ Design``."""
        return f"{self.offering} @ {self.team}"

    @property
    def lines(self) -> tuple[str, ...]:
        """In words; empty when there is nothing anybody must know."""
        out = []
        if self.waiting_after:
            more = self.waiting_after - self.waiting
            change = f" ({abs(more)} {'more' if more > 0 else 'fewer'} than now)" if more else ""
            seats = f"{self.held_after} of {counted(self.capacity, 'seat')} taken"
            wait = "waits" if self.waiting_after == 1 else "wait"
            out.append(f"{self.name}: {people(self.waiting_after)} {wait} for a seat after this plan{change}; {seats}")
        out += [_end(self.name, end) for end in self.ends]
        return tuple(out)

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name not in {"team_id", "ends"}}
        ends = [{**{name: getattr(end, name) for name in end.__slots__}, "day": end.day.isoformat()}
                for end in self.ends]  # fmt: skip
        return {**plain, "free": self.capacity - self.held, "ends": ends}


def _end(name: str, end: TermEnd) -> str:
    verb = "ends" if end.quantity == 1 else "end"
    then = f"successor with {counted(end.successor, 'seat')}" if end.successor else "no successor"
    other = end.capacity - end.successor
    then += f" and {counted(other, 'other seat')}" if other else ""
    lose = f"{people(end.without)} would be without a seat" if end.without else "everybody keeps a seat"
    return f"{counted(end.quantity, 'seat')} of {name} {verb} on {end.day.isoformat()}: {then}; {lose}"


def forecast(recorded: Recorded, plan: Plan, day: date) -> tuple[PoolForecast, ...]:
    """Every pool that has seats, is asked for, or has people waiting, sorted by Team and offering, on ``day``."""
    held = Counter((seat.team_id, seat.offering_code) for seats in recorded.seats.values() for seat in seats)
    waiting = Counter((row.team_id, row.offering_code) for rows in recorded.waiting.values() for row in rows)
    wanted, freed, net, queue = _effect(recorded, plan.bundles)
    sold: dict[PoolKey, list[Subscription]] = defaultdict(list)
    for item in recorded.subscriptions:
        sold[item.team_id, item.offering_code].append(item)
    names = recorded.team_names()
    known = {key for key, items in sold.items() if any(item.ends_on > day for item in items)}
    found = []
    for key in known | set(held) | set(waiting) | set(wanted):
        after = held[key] + net[key]
        found.append(
            PoolForecast(
                team=names.get(key[0], key[0]),
                team_id=key[0],
                offering=key[1],
                capacity=_capacity(sold[key], day),
                held=held[key],
                wanted=wanted[key],
                given_back=freed[key],
                held_after=after,
                waiting=waiting[key],
                waiting_after=waiting[key] + queue[key],
                ends=_ends(sold[key], day, after),
            )
        )
    return tuple(sorted(found, key=lambda item: (item.team, item.offering)))


def _effect(
    recorded: Recorded, bundles: Iterable[Bundle]
) -> tuple[Counter[PoolKey], Counter[PoolKey], Counter[PoolKey], Counter[PoolKey]]:
    """By pool: people who want a seat, seats given back, net seats, net places on the waitlist."""
    wanted: Counter[PoolKey] = Counter()
    freed: Counter[PoolKey] = Counter()
    net: Counter[PoolKey] = Counter()
    queue: Counter[PoolKey] = Counter()
    for bundle in bundles:
        for change in bundle.changes:
            if change.kind not in _MOVES_SEATS:
                continue
            key = (change.team, change.offering)
            if change.kind is Kind.ASSIGN_SEAT:
                wanted[key] += 1
                net[key] += 1
                _leave_queue(recorded, bundle, change, queue)
            elif change.kind is Kind.MOVE_SEAT:
                wanted[key] += 1
                net[key] += 1
                for seat in recorded.seats.get(bundle.identity, ()):
                    if seat.id == change.ref:
                        freed[seat.team_id, seat.offering_code] += 1
                        net[seat.team_id, seat.offering_code] -= 1
            elif change.kind is Kind.RELEASE_SEAT:
                freed[key] += 1
                net[key] -= 1
            elif change.kind is Kind.WAIT and change.before:
                queue[key] -= 1
            elif change.kind is Kind.WAIT:
                wanted[key] += 1
                _leave_queue(recorded, bundle, change, queue)
                queue[key] += 1
    return wanted, freed, net, queue


def _leave_queue(recorded: Recorded, bundle: Bundle, change: Change, queue: Counter[PoolKey]) -> None:
    """Whoever gets a seat, or a new place, gives up every place for that offering."""
    for row in recorded.waiting.get(bundle.identity, ()):
        if row.offering_code == change.offering:
            queue[row.team_id, row.offering_code] -= 1


def _capacity(sold: Iterable[Subscription], day: date) -> int:
    return sum(item.quantity for item in sold if item.runs_on(day))


def _ends(sold: list[Subscription], day: date, held: int) -> tuple[TermEnd, ...]:
    """The terms that run on ``day`` and end within ``AHEAD``, one line per day."""
    ending: dict[date, list[Subscription]] = defaultdict(list)
    for item in sold:
        if item.runs_on(day) and item.ends_on <= day + AHEAD:
            ending[item.ends_on].append(item)
    found = []
    for last, items in sorted(ending.items()):
        ids = {item.id for item in items}
        capacity = _capacity(sold, last)
        found.append(
            TermEnd(
                day=last,
                quantity=sum(item.quantity for item in items),
                successor=_capacity((item for item in sold if item.renews in ids), last),
                capacity=capacity,
                without=max(0, held - capacity),
            )
        )
    return tuple(found)
