"""Dealing out seats: pools by Team and offering, reclaim before assign, stated order, never evict (P4, R7). Pure.

A pool's capacity is what the Team's running subscriptions allow on the day; every open seat of the pool counts against
it, also one bought under an earlier term, so a renewal needs no change of rows and nobody loses a seat at midnight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime

import msgspec

from connector.reconcile.plan.changes import Change, Kind
from connector.reconcile.plan.recorded import UNDO, Recorded, SeatRow, WaitRow
from connector.reconcile.policy.policy import Rule
from ledger.identity import MANUAL
from ledger.seat import Subscription

PoolKey = tuple[str, str]
"""(Team id, offering code)."""


class Request(msgspec.Struct, frozen=True):
    """One person asks for one seat of ``offering`` through ``rules`` (best priority first).

    ``priority``: of the best mapping, or of a better place on the waitlist. ``since``: when that place was taken, None
    for newcomers. ``seat`` is set when the person holds one of another Team already and only its owner should change (a
    mover).
    """

    subject: str
    identity: str
    offering: str
    rules: tuple[Rule, ...]
    state: str
    cause: str
    priority: int
    since: datetime | None = None
    seat: SeatRow | None = None
    waiting: tuple[WaitRow, ...] = ()


class Served(msgspec.Struct, frozen=True, gc=False):
    """``subject`` gets a seat of ``pool``: the order of serving. A mover ``frees`` another pool."""

    subject: str
    pool: PoolKey
    frees: PoolKey | None = None


class Dealt(msgspec.Struct, frozen=True):
    """What dealing gave whom. ``changes``: (subject, identity id) → what they get, or why they wait. ``unmoved``:
    subjects who keep a seat of another Team because the right pool has none."""

    allocation: Allocation
    changes: Mapping[tuple[str, str], Sequence[Change]]
    unmoved: frozenset[str]


class Allocation(msgspec.Struct, frozen=True):
    """``free``: seats left in each pool before anything of this plan; ``served`` in order. The guard needs both: what
    counts on a seat that is still held must wait too (P2)."""

    free: dict[PoolKey, int] = {}
    served: tuple[Served, ...] = ()
    bundles: int = 0
    """How many bundles the plan had when seats were dealt out; fewer now means that some no longer give back."""


class Pools:
    """Free seats by pool, and who is served in which order."""

    def __init__(self, recorded: Recorded, day: date) -> None:
        self._names = recorded.team_names()
        self._teams = {key: team.id for key, team in recorded.teams.items()}
        self._left: dict[PoolKey, int] = {}
        for item in recorded.subscriptions:
            if item.runs_on(day) and item.team_id not in recorded.restricted:  # R16: nothing new of a restricted Team
                key = (item.team_id, item.offering_code)
                self._left[key] = self._left.get(key, 0) + item.quantity
        for key, count in recorded.elsewhere.seats.items():
            if key in self._left:
                self._left[key] -= count
        for seats in recorded.seats.values():
            for seat in seats:
                key = (seat.team_id, seat.offering_code)
                if key in self._left:
                    self._left[key] -= 1
        self._start = dict(self._left)
        self._restricted = recorded.restricted
        self._served: list[Served] = []
        self._changes: dict[tuple[str, str], list[Change]] = {}

    def free(self) -> dict[PoolKey, int]:
        """Seats left in each pool; negative where more are held than the day's subscriptions allow."""
        return dict(self._left)

    def reclaim(self, seat: SeatRow) -> None:
        """A seat comes back in this plan."""
        key = (seat.team_id, seat.offering_code)
        if key in self._left:
            self._left[key] += 1

    def deal(self, requests: list[Request]) -> Dealt:
        """Serve movers first (they free a seat elsewhere), then everybody by priority, first come, mail key."""
        movers = sorted((item for item in requests if item.seat is not None), key=_order)
        moved = True
        while moved:  # one mover's old seat may be the next one's new seat
            waiting = [item for item in movers if not self._move(item)]
            moved = len(waiting) < len(movers)
            movers = waiting
        for item in sorted((item for item in requests if item.seat is None), key=_order):
            self._assign(item)
        allocation = Allocation(self._start, tuple(self._served))
        return Dealt(allocation, self._changes, frozenset(item.subject for item in movers))

    def _give(self, item: Request, *changes: Change) -> None:
        self._changes.setdefault((item.subject, item.identity), []).extend(changes)

    def _pool(self, rule: Rule, offering: str) -> PoolKey | None:
        key = (self._teams.get(rule.team_key, ""), offering)
        return key if self._left.get(key, 0) > 0 else None

    def _take(self, key: PoolKey, subject: str, frees: PoolKey | None = None) -> None:
        self._left[key] -= 1
        self._served.append(Served(subject, key, frees))

    def _move(self, item: Request) -> bool:
        seat = item.seat
        for rule in item.rules:
            key = self._pool(rule, item.offering)
            if key is None or seat is None:
                continue
            self._take(key, item.subject, (seat.team_id, seat.offering_code))
            self.reclaim(seat)
            old, new = self._names.get(seat.team_id, seat.team_id), self._names[key[0]]
            self._give(
                item,
                Change(Kind.MOVE_SEAT, item.subject, item.offering, old, new, rule.id, cause=item.cause,
                       team=key[0], offering=item.offering, ref=seat.id),
            )  # fmt: skip
            return True
        return False

    def _assign(self, item: Request) -> None:
        for rule in item.rules:
            key = self._pool(rule, item.offering)
            if key is not None:
                self._take(key, item.subject)
                name = f"{item.offering} @ {self._names[key[0]]}"
                self._give(
                    item,
                    Change(Kind.ASSIGN_SEAT, item.subject, name, "", item.state, rule.id, cause=item.cause,
                           team=key[0], offering=item.offering),
                    *(self._grant(item, other) for other in item.rules if other is not rule),
                )  # fmt: skip
                return
        best = item.rules[0]
        if any(row.provenance in (best.provenance, UNDO, MANUAL) for row in item.waiting):
            return
        team = self._teams.get(best.team_key, "")
        shut = team in self._restricted
        cause = f"Team {best.team} is restricted" if shut else f"no free seat of {item.offering} in Team {best.team}"
        self._give(
            item,
            Change(Kind.WAIT, item.subject, f"{item.offering} @ {best.team}", "", "waiting", best.id, cause=cause,
                   team=team, offering=item.offering),
        )  # fmt: skip

    def _grant(self, item: Request, rule: Rule) -> Change:
        return grant_change(item.subject, item.offering, rule, self._teams.get(rule.team_key, ""), item.cause)


def grant_change(subject: str, offering: str, rule: Rule, team: str, cause: str, seat: str = "") -> Change:
    """One more reason for a seat that is (or is being) held."""
    return Change(Kind.ADD_GRANT, subject, f"{offering} @ {rule.team}", "", "granted", rule.id, cause=cause,
                  team=team, offering=offering, ref=seat)  # fmt: skip


def _order(item: Request) -> tuple[int, bool, datetime | int, str, str]:
    since = item.since
    return (item.priority, since is None, since or 0, item.subject, item.offering)


def running_by_pool(recorded: Recorded, day: date) -> dict[PoolKey, list[Subscription]]:
    """The subscriptions whose term covers ``day``, by pool, in the order in which they are filled."""
    found: dict[PoolKey, list[Subscription]] = {}
    for item in sorted(recorded.subscriptions, key=lambda item: (item.starts_on, item.ends_on, item.id)):
        if item.runs_on(day):
            found.setdefault((item.team_id, item.offering_code), []).append(item)
    return found


def subscription_for(running: Sequence[Subscription], used: Mapping[str, int]) -> str:
    """The subscription a new seat of a pool belongs to: the first with room."""
    for item in running:
        if used.get(item.id, 0) < item.quantity:
            return item.id
    return running[0].id if running else ""
