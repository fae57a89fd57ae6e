"""What one person's mappings mean for their seats: asked for, kept for another reason, or given back (P3, P4).

Pure: no I/O here. Pools are dealt out later, when everybody was heard (``seat_pools``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from operator import attrgetter

from connector.reconcile.desired.ground import Ground
from connector.reconcile.diff.seat_pools import Dealt, Pools, Request, grant_change
from connector.reconcile.evidence.judge import Evidence, following, removal, ruled
from connector.reconcile.plan.changes import Change, Harm, Kind, Problem
from connector.reconcile.plan.recorded import GrantRow, IdentityRow, SeatRow, WaitRow
from connector.reconcile.policy.invites import expired
from connector.reconcile.policy.policy import MAPPING, Rule
from ledger.identity import MANUAL, IdentityState, fold
from ledger.seat import SeatState

_PRECEDENCE = attrgetter("priority", "id")


@dataclass(frozen=True, slots=True)
class Case:
    """One person who is here. ``rules``: the mappings that hold now; ``ended``: why, of each membership row this plan
    ends; ``cause`` explains a mapping's grant."""

    subject: str
    identity: IdentityRow | None
    rules: tuple[Rule, ...]
    ended: Mapping[str, Evidence]
    cause: Callable[[Rule], str]


class Desk:
    """Hears every person, then deals out what is free."""

    def __init__(self, ground: Ground, pools: Pools, team_ids: Mapping[str, str]) -> None:
        self.recorded = ground.recorded
        self.policy = ground.policy
        self.pools = pools
        self.team_ids = team_ids
        self.names = ground.recorded.team_names()
        self.expired = expired(ground.recorded.invite_due, self._is_invited, ground.now)
        self.lapsed = self.expired if ground.policy.invites.release_expired else frozenset[str]()
        self._requests: list[Request] = []

    def _is_invited(self, identity_id: str) -> bool:
        row = self.recorded.identities.get(identity_id)
        return row is not None and row.state == IdentityState.ACTIVE and identity_id not in self.recorded.signed_in

    def notices(self) -> list[Problem]:
        """What is reported about seats: restricted Teams (R16), invites past their date."""
        found: list[Problem] = []
        if teams := tuple(sorted(self.names.get(team, team) for team in self.recorded.restricted)):
            found.append(Problem("restricted", "restricted (R16): no new seat of this Team is assigned", teams))
        if mails := tuple(sorted(self.recorded.identities[identity].mail_key for identity in self.expired)):
            found.append(Problem("invite-expired", "nobody accepted this invite in time", mails))
        return found

    def deal(self) -> Dealt:
        """Serve everybody who asked."""
        return self.pools.deal(self._requests)

    def serve(self, case: Case) -> list[Change]:
        """What existing seats mean at once; what is asked for and not held becomes a request, dealt out later."""
        changes: list[Change] = []
        wanted: dict[str, list[Rule]] = {}
        for rule in sorted((rule for rule in case.rules if rule.offerings), key=_PRECEDENCE):
            for offering in rule.offerings:
                wanted.setdefault(offering, []).append(rule)
        waits: list[WaitRow] = []
        if case.identity is not None:
            waits = self.recorded.waiting.get(case.identity.id, [])
            lapsed = case.identity.id in self.lapsed
            for seat in self.recorded.seats.get(case.identity.id, ()):
                asking = wanted.pop(seat.offering_code, [])
                gone = self._let_go(case, seat) if lapsed else None
                changes += [gone] if gone else self._held(case, seat, asking)
            if lapsed:  # asked for again once the invite is sent again, or accepted
                wanted.clear()
        if case.identity is not None and waits:
            self._add_manual(wanted, waits, self.recorded.seats.get(case.identity.id, ()))
        for offering, asking in wanted.items():
            self._ask(case, offering, tuple(asking), tuple(row for row in waits if row.offering_code == offering))
        for row in waits:
            if row.offering_code not in wanted and self._unwanted(case, row):
                name = f"{row.offering_code} @ {self.names.get(row.team_id, row.team_id)}"
                mapping = row.provenance.removeprefix(MAPPING)
                changes.append(
                    Change(Kind.WAIT, case.subject, name, "waiting", "", mapping, cause="no longer asked for",
                           team=row.team_id, offering=row.offering_code, ref=row.row_id)
                )  # fmt: skip
        return changes

    def waiting_by_hand(self, heard: set[str]) -> list[IdentityRow]:
        """Manual places on the waitlist of active people whom nothing else concerns in this plan: invited by hand, or
        frozen. ``heard``: identities that were served, or are leaving."""
        found: list[IdentityRow] = []
        for identity_id, waits in sorted(self.recorded.waiting.items()):
            identity = self.recorded.identities.get(identity_id)
            if identity is None or identity_id in heard or identity.state != IdentityState.ACTIVE:
                continue
            wanted: dict[str, list[Rule]] = {}
            self._add_manual(wanted, waits, self.recorded.seats.get(identity_id, ()))
            case = Case(identity.mail_key, identity, (), {}, lambda rule: rule.team)
            for offering, asking in wanted.items():
                self._ask(case, offering, tuple(asking), tuple(row for row in waits if row.offering_code == offering))
            if wanted:
                found.append(identity)
        return found

    def _add_manual(self, wanted: dict[str, list[Rule]], waits: Sequence[WaitRow], held: Sequence[SeatRow]) -> None:
        """A manual place on the waitlist asks for its seat as a mapping would (P4)."""
        have = {seat.offering_code for seat in held}
        for row in waits:
            if row.provenance == MANUAL and row.offering_code not in have and row.team_id in self.names:
                asking = wanted.setdefault(row.offering_code, [])
                asking.append(_by_hand(row, self.names[row.team_id]))
                asking.sort(key=_PRECEDENCE)

    def _ask(self, case: Case, offering: str, asking: tuple[Rule, ...], waits: tuple[WaitRow, ...]) -> None:
        signed_in = case.identity is not None and case.identity.id in self.recorded.signed_in
        self._requests.append(
            Request(
                subject=case.subject,
                identity=case.identity.id if case.identity else "",
                offering=offering,
                rules=asking,
                state=SeatState.ACTIVE.value if signed_in else SeatState.INVITED.value,
                cause=case.cause(asking[0]) if asking[0].id else "asked for by hand",
                priority=min(asking[0].priority, *(row.priority for row in waits)) if waits else asking[0].priority,
                since=min(row.since for row in waits) if waits else None,
                waiting=waits,
            )
        )

    def _unwanted(self, case: Case, row: WaitRow) -> bool:
        """A place on the waitlist ends with its membership, or when its mapping stopped asking; not while unknown."""
        rule = self.policy.rule_of(row.provenance)
        if rule is None:
            return row.provenance.startswith(MAPPING)
        rows = self.recorded.memberships.get(case.identity.id, ()) if case.identity else ()
        left = not any(item.provenance == row.provenance and item.row_id not in case.ended for item in rows)
        return left or row.offering_code not in rule.offerings or self.team_ids[rule.id] != row.team_id

    def _held(self, case: Case, seat: SeatRow, asking: list[Rule]) -> list[Change]:
        """A seat that exists: reasons are added and ended; it goes when the last one does (P3)."""
        changes: list[Change] = []
        keep, end = self._reasons(case, seat)
        granted = {grant.provenance for grant in keep}
        add = [rule for rule in asking if rule.provenance not in granted]
        for rule in add:
            team = self.team_ids[rule.id]
            changes.append(grant_change(case.subject, seat.offering_code, rule, team, case.cause(rule), seat.id))
        if not keep and not add:
            if end:
                changes.append(self._release(case, seat, end))
                self.pools.reclaim(seat)
            return changes
        changes.extend(self._end_grant(case.subject, seat, grant) for grant in end)
        owners = {grant.team_id for grant in keep} | {self.team_ids[rule.id] for rule in add}
        if seat.team_id not in owners and asking and not self.recorded.manual_seat(seat):
            cause = f"{seat.offering_code} is now granted through Team {asking[0].team}"
            self._requests.append(
                Request(case.subject, case.identity.id if case.identity else "", seat.offering_code, tuple(asking),
                        seat.state, cause, asking[0].priority, seat=seat)
            )  # fmt: skip
        return changes

    def _let_go(self, case: Case, seat: SeatRow) -> Change | None:
        """A seat whose invite nobody accepted in time goes back, unless something manual holds it (P3)."""
        if seat.state != SeatState.INVITED or self.recorded.manual_seat(seat):
            return None
        self.pools.reclaim(seat)
        evidence = ruled("nobody accepted the invite in time")
        return removal(evidence, Kind.RELEASE_SEAT, case.subject, Harm.RELEASE, object=self._name(seat),
                       before=seat.state, team=seat.team_id, offering=seat.offering_code, ref=seat.id)  # fmt: skip

    def _reasons(self, case: Case, seat: SeatRow) -> tuple[list[GrantRow], list[GrantRow]]:
        """The grants that stay (manual ones always) and those that end with their membership or mapping."""
        memberships = self.recorded.memberships.get(case.identity.id, ()) if case.identity else ()
        members = {row.provenance for row in memberships if row.row_id not in case.ended}
        keep: list[GrantRow] = []
        end: list[GrantRow] = []
        for grant in self.recorded.grants.get(seat.id, ()):
            rule = self.policy.rule_of(grant.provenance)
            manual = not grant.provenance.startswith(MAPPING)
            proper = (
                rule is not None
                and seat.offering_code in rule.offerings
                and self.team_ids[rule.id] == grant.team_id
                and grant.provenance in members
            )
            (keep if manual or proper else end).append(grant)
        return keep, end

    def _release(self, case: Case, seat: SeatRow, ended: list[GrantRow]) -> Change:
        provenances = {grant.provenance for grant in ended}
        rows = self.recorded.memberships.get(case.identity.id, ()) if case.identity else ()
        why = (case.ended.get(row.row_id) for row in rows if row.provenance in provenances)
        evidence = following(next(filter(None, why), None), "no mapping grants it any longer")
        return removal(evidence, Kind.RELEASE_SEAT, case.subject, Harm.RELEASE, object=self._name(seat),
                       before=seat.state, mapping=min(provenances).removeprefix(MAPPING), team=seat.team_id,
                       offering=seat.offering_code, ref=seat.id)  # fmt: skip

    def _end_grant(self, subject: str, seat: SeatRow, grant: GrantRow) -> Change:
        mapping = grant.provenance.removeprefix(MAPPING)
        return Change(Kind.END_GRANT, subject, self._name(seat), "granted", "", mapping,
                      cause="the seat is still held for another reason", team=grant.team_id,
                      offering=seat.offering_code, ref=grant.row_id)  # fmt: skip

    def _name(self, seat: SeatRow) -> str:
        return f"{seat.offering_code} @ {self.names.get(seat.team_id, seat.team_id)}"


def _by_hand(row: WaitRow, team: str) -> Rule:
    """What a manual place asks for, in the shape of a mapping without id."""
    never = timedelta(0)
    return Rule("", "", "", team, (row.offering_code,), row.priority, never, never, MANUAL, fold(team))
