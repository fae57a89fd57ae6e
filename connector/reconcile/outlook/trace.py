"""Who holds which seats and is in which Team before and after a plan, as ``apply.rows`` would leave it.

Pure: no I/O, no clock here. Changes nothing. Everybody's seats are counted, but values are made only of the few whose
seats are watched: a first plan has a hundred thousand people.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date

import msgspec

from connector.reconcile.diff.seat_pools import running_by_pool, subscription_for
from connector.reconcile.plan.changes import Bundle, Change, Kind, Plan
from connector.reconcile.plan.recorded import MembershipRow, Recorded, SeatRow
from ledger.seat import CARRIES_BENEFITS


class Trace(msgspec.Struct, frozen=True, gc=False):
    """One bundle, and the subscriptions from which its new seats are taken, in the order of its changes."""

    bundle: Bundle
    taken: tuple[str, ...] = ()


class Holder(msgspec.Struct, frozen=True, gc=False):
    """What one person holds before and after. ``key``: identity id, or the subject of somebody new."""

    key: str
    seats: Sequence[SeatRow] = ()
    teams: frozenset[str] = frozenset()
    seats_after: Sequence[SeatRow] = ()
    teams_after: frozenset[str] = frozenset()


class Followed(msgspec.Struct, frozen=True):
    """``net``: assigned seats (invited or active) gained or lost, by subscription. ``watched``: whoever holds a seat of
    a watched subscription before or after."""

    net: Counter[str]
    watched: tuple[Trace, ...]


def follow(recorded: Recorded, plan: Plan, day: date, watched: frozenset[str]) -> Followed:
    """Goes through the plan once; seats come from the terms that run on ``day``, in the order of ``apply.rows``."""
    return _Following(recorded, day, watched).through(plan)


def holder(recorded: Recorded, trace: Trace) -> Holder:
    """One followed person in full."""
    bundle = trace.bundle
    rows = recorded.memberships.get(bundle.identity, ())
    seats = recorded.seats.get(bundle.identity, ())
    key = bundle.identity or bundle.subject
    taken = iter(trace.taken)
    after = {seat.id: seat for seat in seats}
    for change in bundle.changes:
        kind = change.kind
        if kind is Kind.ASSIGN_SEAT:
            new = f"new:{change.offering}"
            after[new] = SeatRow("", new, next(taken), change.team, change.offering, key, change.after, "")
        elif kind is Kind.MOVE_SEAT:
            moved = msgspec.structs.replace(after[change.ref], team_id=change.team, subscription_id=next(taken))
            after[change.ref] = moved
        elif kind is Kind.RELEASE_SEAT:
            after.pop(change.ref, None)
        elif kind in {Kind.PAUSE_SEAT, Kind.REINSTATE} and change.ref in after:
            after[change.ref] = msgspec.structs.replace(after[change.ref], state=change.after)
    return Holder(key, seats, teams_of(rows), tuple(after.values()), teams_after(recorded, bundle))


def teams_of(rows: Iterable[MembershipRow]) -> frozenset[str]:
    """The Teams of these memberships."""
    return frozenset(row.team_id for row in rows)


def teams_after(recorded: Recorded, bundle: Bundle) -> frozenset[str]:
    """The Teams in which a bundle leaves its person."""
    ended = {change.ref for change in bundle.changes if change.kind in {Kind.LEAVE_TEAM, Kind.END_GRANT}}
    joined = {change.team for change in bundle.changes if change.kind is Kind.JOIN_TEAM}
    rows = recorded.memberships.get(bundle.identity, ())
    return teams_of(row for row in rows if row.row_id not in ended) | joined


class _Following:
    def __init__(self, recorded: Recorded, day: date, watched: frozenset[str]) -> None:
        self.recorded = recorded
        self.watched = watched
        self.running = running_by_pool(recorded, day)
        self.used = Counter(seat.subscription_id for seats in recorded.seats.values() for seat in seats)
        self.net: Counter[str] = Counter()

    def through(self, plan: Plan) -> Followed:
        found = []
        for bundle in plan.bundles:
            taken: list[str] = []
            before = self.recorded.seats.get(bundle.identity, ()) if bundle.identity else ()
            for change in bundle.changes:
                if change.kind is Kind.ASSIGN_SEAT:
                    taken.append(self._take(change))
                elif before and change.ref:
                    self._change(before, change, taken)
            if not self.watched.isdisjoint(taken) or any(seat.subscription_id in self.watched for seat in before):
                found.append(Trace(bundle, tuple(taken)))
        return Followed(self.net, tuple(found))

    def _take(self, change: Change) -> str:
        found = subscription_for(self.running.get((change.team, change.offering), ()), self.used)
        self.used[found] += 1
        self.net[found] += 1
        return found

    def _change(self, before: Sequence[SeatRow], change: Change, taken: list[str]) -> None:
        """A seat that is there: paused, given back, moved, or back in use."""
        seat = next((seat for seat in before if seat.id == change.ref), None)
        if seat is None or change.kind not in _ON_SEATS:
            return
        counts = seat.state in CARRIES_BENEFITS
        if change.kind is Kind.REINSTATE:
            self.net[seat.subscription_id] += 1
            return
        self.net[seat.subscription_id] -= counts
        if change.kind is not Kind.PAUSE_SEAT:
            self.used[seat.subscription_id] -= 1
        if change.kind is Kind.MOVE_SEAT:
            taken.append(self._take(change))
            self.net[taken[-1]] -= not counts


_ON_SEATS = frozenset({Kind.PAUSE_SEAT, Kind.RELEASE_SEAT, Kind.MOVE_SEAT, Kind.REINSTATE})
