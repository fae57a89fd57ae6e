"""What a plan does to full coverage and to the duties of a Business Team, before anybody applies it (P5, R8, R13).

Pure: no I/O, no clock here. The rules are ``ledger.coverage``'s, asked twice: about the state before the plan and after
all of it. They are asked about few people: those whom the plan changes (everybody, only when it changes who is touched
by R13), of them those who hold a seat that could be unpaid, and one witness for each fact about a whole Team.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, cast

import msgspec

from connector.reconcile.outlook.trace import Holder, Trace, follow, holder, teams_after, teams_of
from connector.reconcile.plan import words
from connector.reconcile.plan.changes import Plan
from connector.reconcile.plan.recorded import Recorded, SeatRow
from connector.reconcile.plan.settings import TeamSettings
from ledger.counted import counted
from ledger.coverage import Facts, Manages, Member, coverage, violations
from ledger.identity import Email, IdentityState, fold
from ledger.seat import CARRIES_BENEFITS, Offering, OfferingKind, Seat, SeatState, Subscription, Tier

_WITNESS = "witness"
_NAMES = 5
_ANY = SeatState.ACTIVE.value
_Managers = tuple[Manages, ...]


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
            names = words.some(self.empty_teams, _NAMES)
            out.append(f"coverage (R8): Business without a user would be left in {names}")
        if self.admins:
            names = words.some(self.admins, _NAMES)
            out.append(f"coverage (R8): no single-user subscription assigned any longer in a Team of {names}")
        return tuple(out)

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        owed = [{"admin": item.admin, "created": item.created, "cured": item.cured} for item in self.owed]
        duties = {"empty_teams": list(self.empty_teams), "admins_without_subscription": list(self.admins)}
        return {"created": self.created, "cured": self.cured, "owed": owed, **duties}


def preview(
    recorded: Recorded, plan: Plan, offerings: Sequence[Offering], teams: Sequence[TeamSettings], day: date
) -> CoveragePreview | None:
    """None when no Business subscription runs on ``day``; an empty preview for an empty plan. ``teams``: as the
    organization file has them; their Primary Admins begin when the plan brings them in (R6)."""
    running = {item.id: item for item in recorded.subscriptions if item.runs_on(day)}
    if all(item.tier is not Tier.BUSINESS for item in running.values()):
        return None
    if plan.empty:
        return CoveragePreview()
    managers = _managers(recorded, plan, teams)
    return _Preview(recorded, plan, offerings, managers, day).made()


def _managers(recorded: Recorded, plan: Plan, teams: Sequence[TeamSettings]) -> tuple[_Managers, _Managers]:
    """Who manages which Team before and after."""
    before = {team: frozenset(admins) for team, admins in recorded.primary_admins.items()}
    after = dict(before)
    wanted = {fold(team.name): Email.parse(team.primary_admin).key for team in teams if team.primary_admin}
    mails = set(wanted.values())
    known = {row.mail_key: row.id for row in recorded.identities.values()
             if row.mail_key in mails and row.state != IdentityState.REMOVED}  # fmt: skip
    known |= {bundle.subject: bundle.subject for bundle in plan.bundles
              if not bundle.identity and bundle.subject in mails}  # fmt: skip
    for name, mail in wanted.items():
        if name in recorded.teams and mail in known:
            after[recorded.teams[name].id] = frozenset({known[mail]})
    one, two = (
        tuple(Manages(admin, team) for team, admins in sorted(found.items()) for admin in sorted(admins))
        for found in (before, after)
    )
    return one, two


class _Side(msgspec.Struct, frozen=True):
    """One of the two states: seats in use by subscription, and who manages which Team."""

    assigned: Counter[str]
    managers: _Managers


class _Preview:
    def __init__(
        self,
        recorded: Recorded,
        plan: Plan,
        offerings: Sequence[Offering],
        managers: tuple[_Managers, _Managers],
        day: date,
    ) -> None:
        self.recorded = recorded
        self.plan = plan
        self.offerings = tuple(offerings)
        self.day = day
        self.running = {item.id: item for item in recorded.subscriptions if item.runs_on(day)}
        countable = {one.code for one in offerings if one.kind is OfferingKind.SINGLE_USER and one.eligible}
        counted = [one for one in self.running.values() if one.offering_code in countable]
        self.business = {one.id: one.team_id for one in counted if one.tier is Tier.BUSINESS}
        self.payable = frozenset(one.id for one in counted if one.tier is not Tier.BUSINESS)
        self.followed = follow(recorded, plan, day, self.payable)
        assigned = Counter(
            seat.subscription_id
            for seats in recorded.seats.values()
            for seat in seats
            if seat.state in CARRIES_BENEFITS and seat.subscription_id in self.running
        )
        after = assigned.copy()
        after.update({one: count for one, count in self.followed.net.items() if one in self.running})
        self.sides = _Side(assigned, managers[0]), _Side(after, managers[1])

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
        one, two = (self._touched(side) for side in self.sides)
        answering = one | two
        if not self.payable or not answering:
            return set(), set()
        people = [holder(self.recorded, trace) for trace in self.followed.watched if self._answers(trace, answering)]
        if one != two or self.sides[0].managers != self.sides[1].managers:
            people += self._others()
        before = [(one.key, one.seats, one.teams) for one in people]
        after = [(one.key, one.seats_after, one.teams_after) for one in people]
        return self._ask(before, self.sides[0]), self._ask(after, self.sides[1])

    def _touched(self, side: _Side) -> frozenset[str]:
        """The Teams of the Primary Admins whom R13 touches; ``""`` among them: every Team."""
        owners = {team for one, team in self.business.items() if side.assigned[one] > 0}
        admins = {one.identity_id for one in side.managers if one.team_id in owners or (owners and not one.team_id)}
        return frozenset(one.team_id for one in side.managers if one.identity_id in admins)

    def _answers(self, trace: Trace, touched: frozenset[str]) -> bool:
        """Whether somebody may be a user of a touched Team, before or after."""
        if "" in touched or any(change.team in touched for change in trace.bundle.changes):
            return True
        identity = trace.bundle.identity
        rows, seats = self.recorded.memberships.get(identity, ()), self.recorded.seats.get(identity, ())
        return any(row.team_id in touched for row in rows) or any(
            self.running[seat.subscription_id].team_id in touched
            for seat in seats
            if seat.subscription_id in self.running
        )

    def _others(self) -> Iterable[Holder]:
        """Everybody whom the plan does not change and who holds a seat that could be unpaid."""
        changed = {bundle.identity for bundle in self.plan.bundles if bundle.identity}
        for identity, seats in self.recorded.seats.items():
            if identity not in changed and any(seat.subscription_id in self.payable for seat in seats):
                teams = teams_of(self.recorded.memberships.get(identity, ()))
                yield Holder(identity, seats, teams, seats, teams)

    def _ask(
        self, people: Iterable[tuple[str, Sequence[SeatRow], frozenset[str]]], side: _Side
    ) -> set[tuple[str, str, str]]:
        asked = [one for one in people if any(seat.subscription_id in self.payable for seat in one[1])]
        if not asked:
            return set()
        seats = [seat for _, held, _ in asked for seat in held]
        seats += [_witness(self.running[one]) for one in self.business if side.assigned[one] > 0]
        members = tuple(Member(who, team) for who, _, teams in asked for team in teams)
        found = coverage(self._facts(seats, members, side))
        return {(admin, item.identity_id, item.offering_code) for item in found.unpaid for admin in item.admins}

    def _facts(self, seats: Sequence[SeatRow], members: tuple[Member, ...], side: _Side) -> Facts:
        # a SeatRow has every field of a Seat that coverage looks at, and making 100,000 Seats costs a tenth of a second
        assigned = cast("tuple[Seat, ...]", tuple(seats))
        return Facts(self.day, self.offerings, tuple(self.running.values()), assigned, members, side.managers)

    def _duties(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """R8 broken by this plan: Teams by name, Primary Admins by mail address."""
        found = []
        for side, users in zip(self.sides, self._members(), strict=True):
            seats = [_witness(self.running[one]) for one, count in side.assigned.items() if count > 0]
            everyone = tuple(Member(_WITNESS, team) for team, count in users.items() if count > 0)
            found.append({(item.kind, item.subject) for item in violations(self._facts(seats, everyone, side))})
        new = sorted(found[1] - found[0])
        names = self.recorded.team_names()
        empty = tuple(names.get(subject, subject) for kind, subject in new if kind == "empty_team")
        return empty, tuple(self._mail(subject) for kind, subject in new if kind != "empty_team")

    def _members(self) -> tuple[Counter[str], Counter[str]]:
        """People by Team, before and after; counted only where some Team's Business seats have no holder."""
        running = self.running.values()
        used = {one.team_id for one in running if self.sides[1].assigned[one.id] > 0}
        if {one.team_id for one in running if one.tier is Tier.BUSINESS} <= used:
            return Counter(), Counter()
        before = Counter(team for rows in self.recorded.memberships.values() for team in teams_of(rows))
        after = before.copy()
        for bundle in self.plan.bundles:
            after.subtract(teams_of(self.recorded.memberships.get(bundle.identity, ())))
            after.update(teams_after(self.recorded, bundle))
        return before, after

    def _mail(self, identity: str) -> str:
        row = self.recorded.identities.get(identity)
        return row.mail_key if row else identity


def _witness(subscription: Subscription) -> SeatRow:
    """Somebody holds a seat of it."""
    return SeatRow("", _WITNESS, subscription.id, subscription.team_id, subscription.offering_code, _WITNESS, _ANY, "")
