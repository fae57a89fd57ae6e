"""What a plan does to full coverage and to the duties of a Business Team, before anybody applies it (P5, R8, R13).

Pure: no I/O, no clock here. The rules are ``ledger.coverage``'s, asked twice: about the state before the plan and after
all of it. They are asked about few people: those whom the plan changes (everybody, only when it changes who is touched
by R13), of them those who hold a seat that could be unpaid, and one witness for each fact about a whole Team.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, cast

import msgspec

from connector.reconcile.plan import Bundle, Kind, Plan
from connector.reconcile.recorded import MembershipRow, Recorded, SeatRow
from connector.reconcile.seating import running_by_pool, subscription_for
from connector.reconcile.wording import counted, some
from ledger.coverage import Facts, Manages, Member, coverage, violations
from ledger.seat import CARRIES_BENEFITS, Offering, OfferingKind, Seat, SeatState, Subscription, Tier

_WITNESS = "witness"
_NAMES = 5
_ANY = SeatState.ACTIVE.value


@dataclass(frozen=True, slots=True)
class Owed:
    """One Primary Admin (mail address): unpaid Business subscriptions this plan would create and cure (R13)."""

    admin: str
    created: int
    cured: int


@dataclass(frozen=True, slots=True)
class CoveragePreview:
    """``created``/``cured``: unpaid Business subscriptions, each counted once whoever answers for it; ``owed``: by
    Primary Admin. ``empty_teams``: Teams with Business that would be left without a user; ``admins``: Primary Admins of
    Business Teams who would be left without an assigned single-user subscription (R8); both new by this plan."""

    created: int = 0
    cured: int = 0
    owed: tuple[Owed, ...] = ()
    empty_teams: tuple[str, ...] = ()
    admins: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """In words; empty when the plan changes none of it."""
        out = []
        for item in self.owed:
            what = [f"creates {counted(item.created, 'unpaid Business subscription')}"] if item.created else []
            what += [f"cures {item.cured}"] if item.cured else []
            out.append(f"coverage (R13): this plan {' and '.join(what)} of {item.admin}")
        if self.empty_teams:
            names = some(self.empty_teams, _NAMES)
            out.append(f"coverage (R8): Business without a user would be left in {names}")
        if self.admins:
            names = some(self.admins, _NAMES)
            out.append(f"coverage (R8): no single-user subscription assigned any longer in a Team of {names}")
        return tuple(out)

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        owed = [{"admin": item.admin, "created": item.created, "cured": item.cured} for item in self.owed]
        duties = {"empty_teams": list(self.empty_teams), "admins_without_subscription": list(self.admins)}
        return {"created": self.created, "cured": self.cured, "owed": owed, **duties}


def preview(recorded: Recorded, plan: Plan, offerings: Sequence[Offering], day: date) -> CoveragePreview | None:
    """None when no Business subscription runs on ``day``; an empty preview for an empty plan."""
    running = {item.id: item for item in recorded.subscriptions if item.runs_on(day)}
    if all(item.tier is not Tier.BUSINESS for item in running.values()):
        return None
    if plan.empty:
        return CoveragePreview()
    return _Preview(recorded, plan, offerings, day, running).made()


class _Person(msgspec.Struct, gc=False):
    """One changed person: what they hold before and after. ``key``: identity id, or the subject of somebody new."""

    key: str
    seats: Sequence[SeatRow] = ()
    teams: frozenset[str] = frozenset()
    seats_after: Sequence[SeatRow] = ()
    teams_after: frozenset[str] = frozenset()


class _Preview:
    def __init__(
        self,
        recorded: Recorded,
        plan: Plan,
        offerings: Sequence[Offering],
        day: date,
        running: Mapping[str, Subscription],
    ) -> None:
        self.recorded = recorded
        self.offerings = tuple(offerings)
        self.day = day
        self.running = running
        self.managers = tuple(
            Manages(admin, team) for team, admins in recorded.primary_admins.items() for admin in admins
        )
        single = {one.code for one in offerings if one.kind is OfferingKind.SINGLE_USER}
        eligible = {one.code for one in offerings if one.eligible}
        rows = running.values()
        self.unpayable = {one.id for one in rows if one.tier is not Tier.BUSINESS
                          and one.offering_code in single and one.offering_code in eligible}  # fmt: skip
        self.touching = {one.id: one.team_id for one in rows if one.tier is Tier.BUSINESS
                         and one.offering_code in single and one.offering_code in eligible}  # fmt: skip
        self.changed = _Changed(recorded, plan, day).people()
        self.assigned = Counter(
            seat.subscription_id
            for seats in recorded.seats.values()
            for seat in seats
            if seat.state in CARRIES_BENEFITS and seat.subscription_id in running
        )
        self.assigned_after = self.assigned.copy()
        for person in self.changed.values():
            self.assigned_after.subtract(self._assigned(person.seats))
            self.assigned_after.update(self._assigned(person.seats_after))

    def _assigned(self, seats: Iterable[SeatRow]) -> Iterable[str]:
        return (
            seat.subscription_id
            for seat in seats
            if seat.state in CARRIES_BENEFITS and seat.subscription_id in self.running
        )

    def made(self) -> CoveragePreview:
        before, after = self._unpaid()
        created, cured = after - before, before - after
        admins = Counter(admin for admin, _, _ in created), Counter(admin for admin, _, _ in cured)
        owed = tuple(
            sorted(
                (Owed(self._mail(admin), admins[0][admin], admins[1][admin]) for admin in {*admins[0], *admins[1]}),
                key=lambda item: item.admin,
            )
        )
        empty, alone = self._duties()
        # whoever stays unpaid under another admin is neither created nor cured
        seats_before, seats_after = ({item[1:] for item in found} for found in (before, after))
        return CoveragePreview(len(seats_after - seats_before), len(seats_before - seats_after), owed, empty, alone)

    def _unpaid(self) -> tuple[set[tuple[str, str, str]], set[tuple[str, str, str]]]:
        """(admin, person, offering) of every unpaid Business subscription that this plan may change."""
        if not self.unpayable:
            return set(), set()
        owners = {team for one, team in self.touching.items() if self.assigned[one] > 0}
        owners_after = {team for one, team in self.touching.items() if self.assigned_after[one] > 0}
        people: Iterable[_Person] = self.changed.values()
        if owners != owners_after:
            people = [*people, *self._others()]
        before, after = [], []
        for one in people:
            if any(seat.subscription_id in self.unpayable for seat in one.seats):
                before.append((one.key, one.seats, one.teams))
            if any(seat.subscription_id in self.unpayable for seat in one.seats_after):
                after.append((one.key, one.seats_after, one.teams_after))
        return self._ask(before, self.assigned), self._ask(after, self.assigned_after)

    def _others(self) -> Iterable[_Person]:
        """Everybody whom the plan does not change and who holds a seat that could be unpaid."""
        for identity, seats in self.recorded.seats.items():
            if identity not in self.changed and any(seat.subscription_id in self.unpayable for seat in seats):
                teams = _teams(self.recorded.memberships.get(identity, ()))
                yield _Person(identity, seats, teams, seats, teams)

    def _ask(
        self, people: Sequence[tuple[str, Sequence[SeatRow], frozenset[str]]], assigned: Counter[str]
    ) -> set[tuple[str, str, str]]:
        if not people:
            return set()
        seats = [seat for _, held, _ in people for seat in held]
        seats += [_witness(self.running[one]) for one in self.touching if assigned[one] > 0]
        members = tuple(Member(who, team) for who, _, teams in people for team in teams)
        found = coverage(self._facts(seats, members))
        return {(admin, item.identity_id, item.offering_code) for item in found.unpaid for admin in item.admins}

    def _facts(self, seats: Sequence[SeatRow], members: tuple[Member, ...]) -> Facts:
        # a SeatRow has every field of a Seat that coverage looks at, and making 100,000 Seats costs a tenth of a second
        return Facts(
            self.day, self.offerings, tuple(self.running.values()), cast("tuple[Seat, ...]", tuple(seats)), members,
            self.managers,
        )  # fmt: skip

    def _duties(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """R8 broken by this plan: Teams by name, Primary Admins by mail address."""
        found = []
        members, members_after = self._members()
        for assigned, users in ((self.assigned, members), (self.assigned_after, members_after)):
            seats = [_witness(self.running[one]) for one, count in assigned.items() if count > 0]
            everyone = tuple(Member(_WITNESS, team) for team, count in users.items() if count > 0)
            found.append({(item.kind, item.subject) for item in violations(self._facts(seats, everyone))})
        new = sorted(found[1] - found[0])
        names = self.recorded.team_names()
        empty = tuple(names.get(subject, subject) for kind, subject in new if kind == "empty_team")
        return empty, tuple(self._mail(subject) for kind, subject in new if kind != "empty_team")

    def _members(self) -> tuple[Counter[str], Counter[str]]:
        """People by Team, before and after; counted only where some Team's Business seats have no holder."""
        left = {one.team_id for one in self.running.values() if self.assigned_after[one.id] > 0}
        if {one.team_id for one in self.running.values() if one.tier is Tier.BUSINESS} <= left:
            return Counter(), Counter()
        before = Counter(team for rows in self.recorded.memberships.values() for team in _teams(rows))
        after = before.copy()
        for person in self.changed.values():
            after.subtract(person.teams)
            after.update(person.teams_after)
        return before, after

    def _mail(self, identity: str) -> str:
        row = self.recorded.identities.get(identity)
        return row.mail_key if row else identity


def _witness(subscription: Subscription) -> SeatRow:
    """Somebody holds a seat of it."""
    return SeatRow("", _WITNESS, subscription.id, subscription.team_id, subscription.offering_code, _WITNESS, _ANY, "")


def _teams(rows: Iterable[MembershipRow]) -> frozenset[str]:
    return frozenset(row.team_id for row in rows)


class _Changed:
    """Follows a plan as ``writing`` would: whose seats of which subscriptions, who is in which Team."""

    def __init__(self, recorded: Recorded, plan: Plan, day: date) -> None:
        self.recorded = recorded
        self.plan = plan
        self.running = running_by_pool(recorded, day)
        self.used = Counter(seat.subscription_id for seats in recorded.seats.values() for seat in seats)

    def people(self) -> dict[str, _Person]:
        """By key, everybody whose seats or Teams a bundle changes."""
        found = {}
        for bundle in self.plan.bundles:
            if any(change.team or change.ref for change in bundle.changes):
                found[bundle.identity or bundle.subject] = self._follow(bundle)
        return found

    def _follow(self, bundle: Bundle) -> _Person:
        rows = self.recorded.memberships.get(bundle.identity, ())
        seats = self.recorded.seats.get(bundle.identity, ())
        after = {seat.id: seat for seat in seats}
        ended = {change.ref for change in bundle.changes if change.kind in {Kind.LEAVE_TEAM, Kind.END_GRANT}}
        teams = {row.team_id for row in rows if row.row_id not in ended}
        key = bundle.identity or bundle.subject
        for change in bundle.changes:
            if change.kind is Kind.JOIN_TEAM:
                teams.add(change.team)
            elif change.kind is Kind.ASSIGN_SEAT:
                new = f"new:{change.offering}"
                after[new] = SeatRow("", new, self._take(change.team, change.offering), change.team, change.offering,
                                     key, change.after, "")  # fmt: skip
            elif change.kind is Kind.RELEASE_SEAT and change.ref in after:
                self.used[after.pop(change.ref).subscription_id] -= 1
            elif change.ref in after:
                after[change.ref] = self._changed(change.kind, after[change.ref], change.team, change.after)
        return _Person(key, seats, _teams(rows), tuple(after.values()), frozenset(teams))

    def _changed(self, kind: Kind, seat: SeatRow, team: str, state: str) -> SeatRow:
        if kind is Kind.MOVE_SEAT:
            self.used[seat.subscription_id] -= 1
            taken = self._take(team, seat.offering_code)
            return msgspec.structs.replace(seat, team_id=team, subscription_id=taken)
        if kind in {Kind.PAUSE_SEAT, Kind.REINSTATE}:
            return msgspec.structs.replace(seat, state=state)
        return seat

    def _take(self, team: str, offering: str) -> str:
        found = subscription_for(self.running.get((team, offering), ()), self.used)
        self.used[found] += 1
        return found
