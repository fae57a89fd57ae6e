"""What a plan comes to, and what proves each loss: told by the tests' own words, without the product's planning.

``Standing`` is who has what; ``after`` carries changes out on it. ``Proof`` looks at the directories and at the
absences noted before, and says why a change that takes something away may not happen (D3, G7).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from connector.reconcile.plan.changes import Bundle, Change, Kind
from connector.reconcile.plan.recorded import Recorded
from connector.reconcile.policy.policy import MAPPING, Rule
from ledger.identity import fold
from tests.parts.directories import BASE, HandSource, Somebody
from tests.parts.random_organization import Organization

CONFIRM = timedelta(minutes=15)
Pool = tuple[str, str]


@dataclass
class Standing:
    """``states``: person → state. ``teams``: row → (person, Team, provenance). ``seats``: seat → (person, Team,
    offering, state). ``grants``: row → (seat, provenance). ``groups``: row → (person, group, provenance). Somebody new
    is called by their mail key."""

    states: dict[str, str]
    teams: dict[str, tuple[str, str, str]]
    seats: dict[str, tuple[str, str, str, str]]
    grants: dict[str, tuple[str, str]]
    groups: dict[str, tuple[str, str, str]]

    @classmethod
    def of(cls, recorded: Recorded) -> Standing:
        """As the ledger holds it."""
        return cls(
            {row.id: row.state for row in recorded.identities.values()},
            {m.row_id: (who, m.team_id, m.provenance) for who, rows in recorded.memberships.items() for m in rows},
            {s.id: (who, s.team_id, s.offering_code, s.state) for who, rows in recorded.seats.items() for s in rows},
            {g.row_id: (seat, g.provenance) for seat, rows in recorded.grants.items() for g in rows},
            {m.row_id: (who, m.group_id, m.provenance) for who, rows in recorded.group_members.items() for m in rows},
        )

    def after(self, bundles: Iterable[Bundle]) -> Standing:
        """When exactly these bundles are applied."""
        out = replace(self, states=dict(self.states), teams=dict(self.teams), seats=dict(self.seats),
                      grants=dict(self.grants), groups=dict(self.groups))  # fmt: skip
        for bundle in bundles:
            who = bundle.identity or bundle.subject
            for change in sorted(bundle.changes, key=lambda c: c.kind is not Kind.ASSIGN_SEAT):
                out._apply(who, change)
        return out

    def _apply(self, who: str, change: Change) -> None:
        name = f"new-{who}-{change.offering}"
        if change.kind in {Kind.INVITE, Kind.DISABLE_IDENTITY, Kind.REMOVE_IDENTITY} or (
            change.kind is Kind.REINSTATE and not change.object
        ):
            self.states[who] = "active" if change.kind is Kind.INVITE else change.after
        elif change.kind is Kind.JOIN_TEAM:
            self.teams[f"new-{who}-{change.mapping}"] = (who, change.team, MAPPING + change.mapping)
        elif change.kind is Kind.LEAVE_TEAM or (change.kind is Kind.END_GRANT and not change.offering):
            del self.teams[change.ref]
        elif change.kind is Kind.END_GRANT:
            del self.grants[change.ref]
        elif change.kind is Kind.ASSIGN_SEAT:
            assert name not in self.seats
            self.seats[name] = (who, change.team, change.offering, change.after)
            self.grants[f"{name}-{change.mapping}"] = (name, MAPPING + change.mapping)
        elif change.kind is Kind.ADD_GRANT:
            seat = change.ref or name
            assert seat in self.seats, "a reason for a seat that is not there"
            self.grants[f"{seat}-{change.mapping}-again"] = (seat, MAPPING + change.mapping)
        elif change.kind is Kind.RELEASE_SEAT:
            del self.seats[change.ref]
            self.grants = {row: grant for row, grant in self.grants.items() if grant[0] != change.ref}
        elif change.kind is Kind.MOVE_SEAT:
            self.seats[change.ref] = (self.seats[change.ref][0], change.team, *self.seats[change.ref][2:])
        elif change.kind is Kind.JOIN_GROUP:
            self.groups[f"new-{who}-{change.ref}"] = (who, change.ref, MAPPING + change.mapping)
        elif change.kind is Kind.LEAVE_GROUP:
            del self.groups[change.ref]
        elif change.kind in {Kind.PAUSE_SEAT, Kind.REINSTATE}:
            self.seats[change.ref] = (*self.seats[change.ref][:3], change.after)

    def used(self) -> Counter[Pool]:
        """Seats in each pool."""
        return Counter((team, code) for _, team, code, _ in self.seats.values())

    def members(self) -> dict[str, set[str]]:
        """Team → the active people in it."""
        found: dict[str, set[str]] = {}
        for who, team, _ in self.teams.values():
            if self.states.get(who) == "active":
                found.setdefault(team, set()).add(who)
        return found

    def inside(self) -> dict[str, set[str]]:
        """Kept group → the active people in it."""
        found: dict[str, set[str]] = {}
        for who, group, _ in self.groups.values():
            if self.states.get(who) == "active":
                found.setdefault(group, set()).add(who)
        return found

    def faults(self, start: Standing) -> list[str]:
        """What no plan may leave behind, where ``start`` was without it."""
        found: list[str] = []
        granted, before = {seat for seat, _ in self.grants.values()}, {seat for seat, _ in start.grants.values()}
        found += [f"{s} has no grant" for s in self.seats if s not in granted and (s in before or s not in start.seats)]
        found += [f"grant {row} of no seat" for row, (seat, _) in self.grants.items() if seat not in self.seats]
        twice = Counter((who, code) for who, _, code, _ in self.seats.values())
        found += [f"{who} has two seats of {code}" for (who, code), count in twice.items() if count > 1]
        inside = {(who, provenance) for who, _, provenance in self.teams.values()}
        for row, (seat, provenance) in self.grants.items():
            if provenance.startswith(MAPPING) and (self.seats[seat][0], provenance) not in inside:
                found.append(f"grant {row} without its membership")
        removed = {who for who, state in self.states.items() if state == "removed"}
        found += [f"{who} is removed and in {team}" for who, team, _ in self.teams.values() if who in removed]
        found += [f"{who} is removed and in {group}" for who, group, provenance in self.groups.values()
                  if who in removed and provenance.startswith(MAPPING)]  # fmt: skip
        both = Counter((who, group) for who, group, _ in self.groups.values())
        found += [f"{who} is in {group} twice" for (who, group), count in both.items() if count > 1]
        return found


class Proof:
    """What the readings of one organization prove about whom the ledger links to an entry."""

    def __init__(self, organization: Organization) -> None:
        self.organization = organization
        self.recorded = organization.recorded
        self.links = {
            link.identity_id: (source, anchor)
            for source, by_anchor in organization.recorded.links.items()
            for anchor, link in by_anchor.items()
        }

    def entry(self, who: str) -> Somebody | None:
        """The entry a person is linked to, if it is shown; of somebody never linked, the one with their address."""
        source, anchor = self.links.get(who, ("", ""))
        if source:
            shown = self.organization.sources[source].people.values()
            return next((person for person in shown if person.key == anchor), None)
        mail = self.recorded.identities[who].mail
        everybody = [person for one in self.organization.sources.values() for person in one.people.values()]
        found = [person for person in everybody if (person.mail or f"{person.uid}@acme.example") == mail]
        return found[0] if len(found) == 1 else None

    def scope_fault(self, who: str, change: Change) -> str:
        """Why the scopes that were read do not reach this person; empty when they do (or none is needed)."""
        entry, (name, anchor) = self.entry(who), self.links.get(who, ("", ""))
        if change.kind is Kind.LEAVE_GROUP and not self._leaver(who):
            return self._kept_fault(who, change)
        if change.kind in {Kind.LEAVE_TEAM, Kind.RELEASE_SEAT} and not self._leaver(who):
            rules = [self.organization.policy.rules.get(mapping) for mapping in self._mappings(change)]
            unread = [r.group for r in rules if r is not None and not _group_read(self._source(r), r.group)]
            return f"{unread} not read to their end" if unread and change.kind is Kind.LEAVE_TEAM else ""
        if entry is not None:
            return "" if entry.disabled else "the entry is there and enabled"
        if not name:
            return "linked to no entry"
        source = self.organization.sources[name]
        if anchor in source.tombstones:
            return ""
        stated = self.recorded.identities[who].state == "disabled"
        if source.told and not stated:
            return "not there, and nobody said that it was deleted"
        if BASE in source.unknown or source.hidden_sentinels:
            return "the base was not read to its end"
        for row in () if stated else self.recorded.memberships.get(who, ()):
            rule = self.organization.policy.rule_of(row.provenance)
            if rule is not None and f"group:{rule.group}" in self._source(rule).unknown:
                return f"group {rule.group} was not read to its end"
        return ""

    def proof_fault(self, who: str, change: Change) -> str:
        """Why this change rests on one reading alone; empty when evidence is positive or confirmed."""
        if self._leaver(who):
            return self._stage_fault(who, change)
        if change.kind is Kind.LEAVE_TEAM:
            return self._left_fault(who, change.mapping)
        if change.kind is Kind.LEAVE_GROUP:
            return self._kept_fault(who, change)
        if change.kind is Kind.RELEASE_SEAT:
            faults = [self._left_fault(who, mapping) for mapping in self._mappings(change)]
            return "; ".join(fault for fault in faults if fault)
        return "no evidence that the person is gone or disabled"

    def _leaver(self, who: str) -> bool:
        """Disabled now or before, buried, or absent from two readings far enough apart."""
        entry, (name, anchor) = self.entry(who), self.links.get(who, ("", ""))
        if entry is not None:
            return entry.disabled
        if not name:
            return False
        stated = self.recorded.identities[who].state == "disabled"  # and nothing says the opposite
        if stated or anchor in self.organization.sources[name].tombstones:
            return True
        if any(fold(f"uid={who},ou=People") in {fold(v) for v in values} for values in self._unresolved(who)):
            return False
        source = self.organization.sources[name]
        return not source.told and self._noted(name, anchor, "people")

    def _stage_fault(self, who: str, change: Change) -> str:
        """G7: paused at once, released and removed only when due."""
        state, now = self.recorded.identities[who].state, self.organization.now
        removal = self.recorded.removal_due.get(who)
        last = {Kind.LEAVE_TEAM, Kind.LEAVE_GROUP, Kind.REMOVE_IDENTITY}
        if state not in {"disabled", "absent"} and change.kind in last:
            return "removed before the delay began"
        if change.kind in last:
            return "" if removal is not None and removal <= now else "removed before it was due"
        if change.kind is Kind.RELEASE_SEAT:
            seat = next(row for row in self.recorded.seats[who] if row.id == change.ref)
            rules = [self.organization.policy.rules.get(mapping) for mapping in self._mappings(change)]
            at_once = all(rule is not None and not rule.release_after for rule in rules)
            due = (seat.release_due_at is not None and seat.release_due_at <= now) or (
                removal is not None and removal <= now
            )
            return "" if due or at_once else "released before it was due"
        return ""

    def _kept_fault(self, who: str, change: Change) -> str:
        """Why a kept group is not left yet: a mapping that keeps it still means the person, or may."""
        group = next(row.group_id for row in self.recorded.group_members[who] if row.row_id == change.ref)
        for rule in self.organization.policy.rules.values():
            if not rule.keep_group or f"kept-{rule.directory}-{rule.group}" != group:
                continue
            held = any(row.provenance == rule.provenance for row in self.recorded.memberships.get(who, ()))
            if held and (fault := self._left_fault(who, rule.id)):
                return fault
            if held and not _group_read(self._source(rule), rule.group):
                return f"{rule.group} was not read to its end"
            entry = self.entry(who)
            if entry is not None and entry.uid in self._source(rule).groups.get(rule.group, ()):
                return f"listed in {rule.group}"
        return ""

    def _left_fault(self, who: str, mapping: str) -> str:
        rule = self.organization.policy.rules.get(mapping)
        if rule is None:
            return ""  # the file no longer has it: not a matter of evidence
        entry, (name, anchor) = self.entry(who), self.links.get(who, ("", ""))
        if not any(row.provenance == rule.provenance for row in self.recorded.memberships.get(who, ())):
            return ""
        if entry is None or entry.uid in self._source(rule).groups.get(rule.group, ()):
            return f"nothing shows the person outside {rule.group}"
        return "" if self._noted(name, anchor, f"group:{rule.group}") else f"outside {rule.group} in one reading only"

    def _noted(self, source: str, anchor: str, scope: str) -> bool:
        first = self.recorded.absences.get((source, anchor, scope))
        return first is not None and self.organization.now - first >= CONFIRM

    def _mappings(self, change: Change) -> list[str]:
        """The mappings whose end a change rests on."""
        if change.kind is Kind.LEAVE_TEAM:
            return [change.mapping]
        return [grant.provenance.removeprefix(MAPPING) for grant in self.recorded.grants.get(change.ref, ())]

    def _unresolved(self, who: str) -> list[set[str]]:
        rules = [self.organization.policy.rule_of(row.provenance) for row in self.recorded.memberships.get(who, ())]
        return [self._source(rule).unresolved.get(rule.group, set()) for rule in rules if rule is not None]

    def _source(self, rule: Rule) -> HandSource:
        return self.organization.sources[rule.directory]


def _group_read(source: HandSource, group: str) -> bool:
    return f"group:{group}" not in source.unknown and group not in source.missing
