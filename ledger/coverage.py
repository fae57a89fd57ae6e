"""Who has Business benefits (R7), which provisioning duties are broken (R8), which upgrades are unpaid (R13–R15).

Everything is computed from interval facts as of one instant, so that any past date can be asked again. Nothing here
takes anything from anybody: R16 is a reported state. Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import Generic, TypeVar

from ledger.seat import CARRIES_BENEFITS, Offering, OfferingKind, Seat, Subscription, Tier

Fact = TypeVar("Fact")


@dataclass(frozen=True, slots=True)
class Period(Generic[Fact]):
    """One fact, true in ``[valid_from, valid_to)``; ``valid_to`` None: still true."""

    fact: Fact
    valid_from: datetime
    valid_to: datetime | None = None

    def holds(self, at: datetime) -> bool:
        """Whether it was true at ``at``."""
        return self.valid_from <= at and (self.valid_to is None or at < self.valid_to)


@dataclass(frozen=True, slots=True)
class Member:
    """An identity is a user of a Team."""

    identity_id: str
    team_id: str


@dataclass(frozen=True, slots=True)
class Manages:
    """A Primary Admin manages a Team; every Team when ``team_id`` is empty."""

    identity_id: str
    team_id: str


@dataclass(frozen=True, slots=True)
class History:
    """The interval facts that coverage looks back on, each in any order."""

    offerings: Sequence[Period[Offering]] = ()
    subscriptions: Sequence[Period[Subscription]] = ()
    seats: Sequence[Period[Seat]] = ()
    members: Sequence[Period[Member]] = ()
    managers: Sequence[Period[Manages]] = ()

    def at(self, instant: datetime, day: date) -> Facts:
        """What held at ``instant``; terms are judged on ``day``, the organization's calendar day of that instant."""
        return Facts(
            day,
            tuple(_held(self.offerings, instant)),
            tuple(_held(self.subscriptions, instant)),
            tuple(_held(self.seats, instant)),
            tuple(_held(self.members, instant)),
            tuple(_held(self.managers, instant)),
        )


def _held(periods: Iterable[Period[Fact]], at: datetime) -> Iterable[Fact]:
    return (period.fact for period in periods if period.holds(at))


@dataclass(frozen=True)
class Facts:
    """What held at one instant."""

    day: date
    offerings: tuple[Offering, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    seats: tuple[Seat, ...] = ()
    members: tuple[Member, ...] = ()
    managers: tuple[Manages, ...] = ()

    @cached_property
    def running(self) -> Mapping[str, Subscription]:
        """Subscriptions whose term covers the day, by id."""
        return {one.id: one for one in self.subscriptions if one.runs_on(self.day)}

    @cached_property
    def single_user(self) -> frozenset[str]:
        """Codes of single-user offerings, excluded ones too."""
        return frozenset(one.code for one in self.offerings if one.kind is OfferingKind.SINGLE_USER)

    @cached_property
    def eligible(self) -> frozenset[str]:
        """Codes of offerings that may carry Business (R15: the others never count)."""
        return frozenset(one.code for one in self.offerings if one.eligible)

    @cached_property
    def assigned(self) -> tuple[tuple[Seat, Subscription], ...]:
        """Seats whose holder may use them, of running subscriptions: what R7, R8 and R13 count."""
        found = (
            (seat, self.running.get(seat.subscription_id)) for seat in self.seats if seat.state in CARRIES_BENEFITS
        )
        return tuple((seat, subscription) for seat, subscription in found if subscription is not None)

    @cached_property
    def users(self) -> Mapping[str, frozenset[str]]:
        """Team → its users: its members, and whoever holds a seat it owns (S1: a Team *is* the users of its seats)."""
        found: dict[str, set[str]] = defaultdict(set)
        for member in self.members:
            found[member.team_id].add(member.identity_id)
        for seat, subscription in self.assigned:
            found[subscription.team_id].add(seat.identity_id)
        return {team: frozenset(people) for team, people in found.items()}

    @cached_property
    def teams_of(self) -> Mapping[str, frozenset[str]]:
        """Primary Admin → the Teams they manage."""
        every = {*self.users, *(one.team_id for one in self.subscriptions)}
        every |= {one.team_id for one in self.managers if one.team_id}
        found: dict[str, set[str]] = defaultdict(set)
        for manager in self.managers:
            found[manager.identity_id] |= {manager.team_id} if manager.team_id else every
        return {admin: frozenset(teams) for admin, teams in found.items()}


@dataclass(frozen=True, slots=True)
class Benefit:
    """Whether one identity may use Business benefits now, and every reason why not."""

    identity_id: str
    granted: bool
    missing: tuple[str, ...] = ()


def benefit(facts: Facts, identity_id: str) -> Benefit:
    """R7: an Authorized User, assigned to an active, unexpired eligible offering provisioned with Business (S0), who
    holds an active, unexpired single-user subscription (S1). Losing the seat ends the benefit at once.
    """
    mine = [(seat, subscription) for seat, subscription in facts.assigned if seat.identity_id == identity_id]
    missing = []
    if not any(identity_id in people for people in facts.users.values()):
        missing.append("not a member of any Team")
    if not any(seat.offering_code in facts.single_user for seat, _ in mine):
        missing.append("no active, unexpired single-user subscription")
    if not any(_is_business(facts, seat, subscription) for seat, subscription in mine):
        missing.append("no seat of an eligible offering with Business")
    return Benefit(identity_id, not missing, tuple(missing))


def _is_business(facts: Facts, seat: Seat, subscription: Subscription) -> bool:
    return subscription.tier is Tier.BUSINESS and seat.offering_code in facts.eligible


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken duty of R8: ``kind`` is ``empty_team`` or ``admin_without_subscription``; ``subject`` its id."""

    kind: str
    subject: str
    team_ids: tuple[str, ...]


def violations(facts: Facts) -> tuple[Violation, ...]:
    """R8: a Team with Business single-user subscriptions needs a user (S0); a Primary Admin who manages such Teams
    needs at least one unexpired single-user subscription assigned in a managed Team (S1).

    A Business subscription is itself an upgraded single-user one and counts for the second duty: were only tier
    *standard* to count, full coverage (R13) would break R8.
    """
    business = {
        one.team_id
        for one in facts.running.values()
        if one.tier is Tier.BUSINESS and one.offering_code in facts.single_user
    }
    found = [Violation("empty_team", team, (team,)) for team in sorted(business) if not facts.users.get(team)]
    supplied = {one.team_id for seat, one in facts.assigned if seat.offering_code in facts.single_user}
    for admin, teams in sorted(facts.teams_of.items()):
        if teams & business and not teams & supplied:
            found.append(Violation("admin_without_subscription", admin, tuple(sorted(teams & business))))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Unpaid:
    """One unpaid Business subscription: a single-user seat for which Business should have been bought (R13).

    ``team_id`` owns the subscription; ``admins`` are the touched Primary Admins who answer for the holder, through
    ``through``, the Teams of theirs in which the holder is a user.
    """

    seat_id: str
    subscription_id: str
    team_id: str
    identity_id: str
    offering_code: str
    admins: tuple[str, ...]
    through: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """Full coverage as of one day. ``candidates``: to whom users or subscriptions may be moved instead (R14 ii)."""

    day: date
    touched: tuple[str, ...]
    required: int
    """Single-user seats of eligible offerings that must be Business."""
    covered: int
    unpaid: tuple[Unpaid, ...]
    candidates: tuple[str, ...] = field(default=())

    @property
    def full(self) -> bool:
        """Whether nothing is unpaid; False is the condition of R16, and only reported."""
        return not self.unpaid


def coverage(facts: Facts) -> Coverage:
    """R13 with R15, as reporting.md §7 and decision 0006 read them.

    A Primary Admin is *touched* when a Business subscription owned by one of their Teams has an assigned seat. Every
    single-user seat of an eligible offering held by any user of any Team of a touched admin, from whichever Team's
    subscription, must be Business. Being touched does not spread through a shared user.
    """
    owners = {one.team_id for seat, one in facts.assigned if _touches(facts, seat, one)}
    touched = {admin: teams for admin, teams in facts.teams_of.items() if teams & owners}
    answers: dict[str, tuple[set[str], set[str]]] = {}
    for admin, teams in touched.items():
        for team in teams:
            for person in facts.users.get(team, ()):
                admins, through = answers.setdefault(person, (set(), set()))
                admins.add(admin)
                through.add(team)
    required = covered = 0
    unpaid = []
    for seat, subscription in facts.assigned:
        countable = seat.offering_code in facts.single_user and seat.offering_code in facts.eligible
        if not countable or seat.identity_id not in answers:
            continue
        required += 1
        if subscription.tier is Tier.BUSINESS:
            covered += 1
        else:
            unpaid.append(_unpaid(seat, subscription, *answers[seat.identity_id]))
    unpaid.sort(key=lambda one: (one.team_id, one.identity_id, one.offering_code, one.seat_id))
    return Coverage(facts.day, tuple(sorted(touched)), required, covered, tuple(unpaid), _candidates(facts, touched))


def _touches(facts: Facts, seat: Seat, subscription: Subscription) -> bool:
    return _is_business(facts, seat, subscription) and seat.offering_code in facts.single_user


def _unpaid(seat: Seat, subscription: Subscription, admins: set[str], through: set[str]) -> Unpaid:
    return Unpaid(
        seat.id,
        subscription.id,
        subscription.team_id,
        seat.identity_id,
        seat.offering_code,
        tuple(sorted(admins)),
        tuple(sorted(through)),
    )


def _candidates(facts: Facts, touched: Mapping[str, frozenset[str]]) -> tuple[str, ...]:
    """R14 (ii): Primary Admins who manage no user and no Team with Business."""
    teams = {one.team_id for one in facts.running.values() if one.tier is Tier.BUSINESS}
    people = {seat.identity_id for seat, one in facts.assigned if one.tier is Tier.BUSINESS}
    return tuple(
        admin
        for admin, managed in sorted(facts.teams_of.items())
        if admin not in touched
        and not managed & teams
        and not any(people & facts.users.get(team, frozenset()) for team in managed)
    )


def unpaid_since(history: History, seat_id: str, at: datetime, days: Mapping[datetime, date]) -> datetime | None:
    """Since when the seat has been unpaid without a break, looking back from ``at``; None when it is not unpaid then.

    ``days``: the instants at which anything changed (a term's first and last midnight too), not after ``at``, each
    with its calendar day. Costs one evaluation per instant looked at.
    """
    since: datetime | None = None
    for instant in sorted((one for one in days if one <= at), reverse=True):
        found = coverage(history.at(instant, days[instant]))
        if not any(one.seat_id == seat_id for one in found.unpaid):
            return since
        since = instant
    return since
