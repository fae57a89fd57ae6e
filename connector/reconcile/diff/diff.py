"""desired × recorded → changes, one bundle per person (P2, P3, P4, G7). Pure: no I/O, no clock here.

Who is here gets what their mappings give (seats: ``seat_requests``), who leaves does so in stages (``offboarding``),
and who is in neither list keeps everything. Only what this product's mappings granted is ever ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from connector.reconcile.desired.ground import Ground
from connector.reconcile.desired.seen import Desired, Present
from connector.reconcile.desired.selection import matched
from connector.reconcile.diff.kept_groups import KeptGroups
from connector.reconcile.diff.membership_ends import Ending
from connector.reconcile.diff.offboarding import leave, restore
from connector.reconcile.diff.roles import Roles
from connector.reconcile.diff.seat_pools import Allocation, Pools
from connector.reconcile.diff.seat_requests import Case, Desk
from connector.reconcile.evidence.causes import ending
from connector.reconcile.evidence.judge import Evidence, stated
from connector.reconcile.evidence.undone import LEAVE, OFF, standing
from connector.reconcile.plan.changes import (
    A_PERSON_DECIDES,
    Bundle,
    Change,
    Harm,
    Kind,
    Notes,
    PersonSeen,
    Plan,
    Problem,
    sort_changes,
)
from connector.reconcile.plan.recorded import SECOND, IdentityRow
from connector.reconcile.policy.policy import MAPPING, Rule
from ledger.identity import IdentityState

_ACTIVE = IdentityState.ACTIVE.value
_CANONICAL = msgspec.json.Encoder(order="deterministic").encode


_Drafted = tuple[str, str, PersonSeen | None, list[Change]]
"""(subject, identity or empty, entry, changes) of one person."""


class Draft(msgspec.Struct, frozen=True):
    """A plan with how its seats were dealt out, and whom every later run has to look at again (``Desired``)."""

    plan: Plan
    allocation: Allocation
    unsettled: frozenset[tuple[str, str]] = frozenset()


def diff(wanted: Desired, ground: Ground) -> Draft:
    """The whole plan. ``now`` decides only what is due and which terms run."""
    work = _Work(wanted, ground)
    drafts: list[_Drafted] = []
    doubts: dict[str, str] = {}
    recorded = ground.recorded
    for item in wanted.present:
        identity = item.identity
        if identity is not None and item.leaves:
            cause = "the entry was disabled, and does not say the opposite" if item.unsaid else "the entry is disabled"
            subject = identity.mail_key
            changes = work.off(identity, IdentityState.DISABLED, stated(item.off or cause))
            if item.doubt and not changes:
                changes, doubts[identity.id] = restore(identity, subject, recorded), item.doubt
        else:
            if identity is not None and (
                work.settled(item) or (identity.state == IdentityState.REMOVED and not item.rules)
            ):
                continue
            subject = identity.mail_key if identity else item.person.mail.key
            changes = work.here(item, subject)
            if item.doubt and identity is not None:
                doubts[identity.id] = item.doubt
        drafts.append((subject, identity.id if identity else "", item.person, changes))
    for gone in wanted.gone:
        changes = work.off(gone.identity, IdentityState.ABSENT, gone.evidence)
        if gone.evidence.doubt:
            doubts[gone.identity.id] = gone.evidence.doubt
        drafts.append((gone.identity.mail_key, gone.identity.id, None, changes))
    drafts = work.beside(drafts, doubts)
    by_hand = work.desk.waiting_by_hand({identity for _, identity, _, _ in drafts})
    drafts += [(identity.mail_key, identity.id, None, []) for identity in by_hand]
    dealt = work.desk.deal()
    bundles = []
    for subject, identity_id, person, changes in drafts:
        changes += dealt.changes.get((subject, identity_id), ())
        if changes:
            teams = work.scopes_of(identity_id)
            doubt = doubts.get(identity_id) or work.taken_back(subject, identity_id, changes)
            bundles.append(Bundle(subject, identity_id, sort_changes(changes), person, teams, doubt))
    bundles.sort(key=lambda bundle: bundle.subject)
    unmoved = {
        (person.source_id, person.anchor) for subject, _, person, _ in drafts if person and subject in dealt.unmoved
    }
    scopes = tuple(line for _, source in sorted(ground.sources.items()) for line in source.scopes)
    plan = Plan(ground.policy.hash, tuple(bundles), tuple(sorted(work.problems())), scopes, work.notes())
    allocation = msgspec.structs.replace(dealt.allocation, bundles=len(bundles))
    return Draft(plan, allocation, wanted.unsettled | work.ending.unsettled | unmoved)


class _Work:
    """The state of one diff: pools, requests for seats, notes. Lives for one call of ``diff``."""

    def __init__(self, wanted: Desired, ground: Ground) -> None:
        self.wanted = wanted
        self.ground = ground
        self.recorded = recorded = ground.recorded
        self.sources = ground.sources
        self.pools = Pools(recorded, ground.now.date())
        self._cause_person: PersonSeen | None = None
        self._causes: dict[str, str] = {}
        self._endings: dict[tuple[str, str], str] = {}
        rules = ground.policy.rules.values()
        self.team_ids = {rule.id: self._team_id(rule) for rule in rules}
        self._team_of = {rule.provenance: self.team_ids[rule.id] for rule in rules}
        self.desk = Desk(ground, self.pools, self.team_ids)
        self.roles = Roles(ground, self.team_ids)
        self.groups = KeptGroups(ground)
        self.ending = Ending(wanted.frozen_rules, ground)
        self._fingerprints: list[tuple[str, str, str, str, str]] = []
        self._doubted = frozenset((source_id, anchor) for source_id, anchor, _ in recorded.absences)
        self._problems: list[Problem] = []
        self._lifted: list[tuple[str, str, str]] = []

    def _team_id(self, rule: Rule) -> str:
        team = self.recorded.teams.get(rule.team_key)
        return team.id if team else ""

    def problems(self) -> list[Problem]:
        """Everything reported instead of done."""
        found = [*self.wanted.problems, *self._problems, *self.ending.problems(), *self.desk.notices()]
        return [*found, *self.groups.problems()]

    def notes(self) -> Notes:
        """Absences begun and lifted, fingerprints to refresh; sorted."""
        return Notes(
            (*self.wanted.absent, *self.ending.absent),
            (*self.wanted.seen_again, *self.ending.seen_again),
            tuple(self._fingerprints),
            tuple(sorted(self._lifted)),
            tuple(sorted(item for item in self.wanted.met if not self._met(*item))),
        )

    def beside(self, drafts: list[_Drafted], doubts: dict[str, str]) -> list[_Drafted]:
        """With the relinks that wait for a person where nothing of what was stated of them is left to do now; else they
        are reported (E6). One bundle is one person's, and what was stated does not wait."""
        acting = {identity for _, identity, _, changes in drafts if changes} if self.wanted.beside else set()
        found = [draft for draft in drafts if draft[1] not in self.wanted.beside or draft[1] in acting]
        for identity, item in sorted(self.wanted.beside.items()):
            subject = self.recorded.identities[identity].mail_key
            if identity in acting:
                self._problems.append(Problem("relink-waits", item.doubt, (subject, item.person.dn)))
                continue
            doubts[identity] = item.doubt
            found.append((subject, identity, item.person, self.here(item, subject)))
        return found

    def _met(self, identity: str, entry: str) -> bool:
        return (SECOND, entry) in self.recorded.undone.get(identity, {})

    def taken_back(self, subject: str, identity: str, changes: Sequence[Change]) -> str:
        """Why a person has to decide: the same was done before, and undone (E14); empty for nearly everybody."""
        marks = self.recorded.undone.get(identity)
        if not marks or not standing(marks, changes, self.ground.policy):
            return ""
        return f"{subject}: the same was done before and undone: it does not happen again by itself"

    def scopes_of(self, identity: str) -> tuple[tuple[str, str], ...]:
        """(Team id, mapping id) of every synced membership."""
        rows = self.recorded.memberships.get(identity, ())
        return tuple(
            sorted((row.team_id, row.provenance[len(MAPPING) :]) for row in rows if row.provenance.startswith(MAPPING))
        )

    def off(self, identity: IdentityRow, state: IdentityState, evidence: Evidence) -> list[Change]:
        """A leaver's changes, and the seats they give back."""
        changes, problem = leave(identity, state, evidence, self.ground)
        changes += self.roles.off(identity, evidence)
        changes += self.groups.off(identity, evidence)
        self._give_back(identity.id, changes)
        if problem is not None:
            self._problems.append(problem)
        return changes

    def _give_back(self, identity: str, changes: list[Change]) -> None:
        released = {change.ref for change in changes if change.kind is Kind.RELEASE_SEAT}
        for seat in self.recorded.seats.get(identity, ()) if released else ():
            if seat.id in released:
                self.pools.reclaim(seat)

    def here(self, item: Present, subject: str) -> list[Change]:
        """Changes of somebody who is here and enabled; their requests for seats are queued."""
        person, identity, link = item.person, item.identity, item.link
        changes: list[Change] = []
        if identity is not None:
            shown = {(OFF, ""), *((LEAVE, rule.id) for rule in item.rules)}
            marks = self.recorded.undone.get(identity.id, {})
            self._lifted += [(identity.id, *mark) for mark in marks if mark in shown]
        if identity is None:
            best = min(item.rules, key=lambda rule: (rule.priority, rule.id))  # not the file's order: the hash has none
            changes.append(
                Change(Kind.INVITE, subject, "", "", person.display_name, best.id, Harm.INVITE,
                       cause=self.cause(person, best))
            )  # fmt: skip
        else:
            if identity.state != IdentityState.ACTIVE:
                changes += restore(identity, subject, self.recorded)
            if link is None:
                changes.append(_relink(subject, item))
            if link is None or link.fingerprint != person.fingerprint:
                changes += _update(identity, person)
                if link is not None:
                    row = (link.row_id, identity.id, link.source_id, link.anchor, person.fingerprint)
                    self._fingerprints.append(row)
        self._memberships(item, subject, changes)
        return changes

    def settled(self, item: Present) -> bool:
        """Whether everything is as it should be: the quick answer for nearly everybody on nearly every run (D14)."""
        identity, link, rules = item.identity, item.link, item.rules
        if identity is not None and identity.id in self.recorded.undone:
            return False
        if identity is None or link is None or link.fingerprint != item.person.fingerprint:
            return False
        if (link.source_id, link.anchor) in self._doubted:
            return False
        rows = self.recorded.memberships.get(identity.id, ())
        if identity.state != _ACTIVE or len(rows) != len(rules) or identity.id in self.recorded.waiting:
            return False
        if not self.roles.settled(identity.id, rules) or identity.id in self.desk.lapsed:
            return False
        if self.groups.used and not self.groups.settled(identity.id, rules):
            return False
        expected = {rule.provenance for rule in rules}
        team_of = self._team_of
        for row in rows:
            if row.provenance not in expected or team_of[row.provenance] != row.team_id:
                return False
        wanted = [(offering, rule.provenance) for rule in rules if rule.offerings for offering in rule.offerings]
        held = self.recorded.seats.get(identity.id)
        if held is None or not wanted:
            return not held and not wanted
        granted = [(s.offering_code, g.provenance) for s in held for g in self.recorded.grants.get(s.id, ())]
        if len(granted) != len(wanted) or (granted != wanted and set(granted) != set(wanted)):
            return False
        owners = {team_of[rule.provenance] for rule in rules}
        return all(seat.team_id in owners for seat in held)

    def cause(self, person: PersonSeen, rule: Rule) -> str:
        """The chain entry → group path → mapping (P6)."""
        if self._cause_person is not person:
            self._cause_person = person
            self._causes.clear()
        found = self._causes.get(rule.id)
        if found is None:
            found = self._causes[rule.id] = self._chain(person, rule)
        return found

    def _chain(self, person: PersonSeen, rule: Rule) -> str:
        if rule.where:
            return person.dn + ending((matched(rule, person),), rule.id)
        end = self._endings.get((person.source_id, rule.id))  # the same for everybody in a group without groups
        if end is None:
            group = self.sources[person.source_id].groups.get(rule.group)
            name = (group.name or rule.group) if group else rule.group
            path = group.paths.get(person.anchor, ()) if group and group.paths else ()
            end = ending((name, *path), rule.id)
            if group is None or not group.paths:
                self._endings[person.source_id, rule.id] = end
        return person.dn + end

    def _memberships(self, item: Present, subject: str, changes: list[Change]) -> None:
        person, identity = item.person, item.identity
        rows = self.recorded.memberships.get(identity.id, ()) if identity else ()
        held = {(row.provenance, row.team_id) for row in rows}
        rules, team_ids = item.rules, self.team_ids
        if self.recorded.absences:
            self.ending.note_seen(item, rows)
        joins = [rule for rule in rules if (rule.provenance, team_ids[rule.id]) not in held] if held else list(rules)
        ending, waiting = self.ending.of(item, rows, team_ids) if rows else ({}, False)
        if waiting and joins:  # a mover whose leave is not confirmed yet: the whole bundle waits, ends too (P2)
            rules = tuple(rule for rule in rules if rule not in joins)
            joins, ending = [], {}
        if ending:
            stays = {row.team_id for row in rows if row.row_id not in ending} | {team_ids[rule.id] for rule in rules}
            changes += [
                self.ending.change(subject, row, ending[row.row_id], row.team_id in stays)
                for row in rows
                if row.row_id in ending
            ]
        for rule in joins:
            changes.append(
                Change(Kind.JOIN_TEAM, subject, rule.team, "", "member", rule.id, cause=self.cause(person, rule),
                       team=team_ids[rule.id])
            )  # fmt: skip
        why = partial(self.cause, person)
        asking = () if item.unread else rules  # what cannot be mapped is given nothing new
        changes += self.desk.serve(Case(subject, identity, asking, ending, why))
        stays_in = [row for row in rows if row.row_id not in ending]
        ends = {row.provenance: ending[row.row_id] for row in rows if row.row_id in ending} if ending else {}
        changes += self.roles.changes(subject, identity, rules, stays_in, ends, why)
        changes += self.groups.changes(item, rules, stays_in, ends, why)


def _relink(subject: str, item: Present) -> Change:
    """A new anchor for a known person (D9); anchors stay out of the digest."""
    number = item.person.employee_number
    before = "linked" if item.replaces else "unlinked"
    cause = f"employee number {number} is known under an entry that is gone" if item.replaces else "same mail address"
    cause = A_PERSON_DECIDES if item.doubt else cause
    return Change(Kind.RELINK_ANCHOR, subject, number, before, "relinked", "", Harm.RELINK, cause)


def _update(identity: IdentityRow, person: PersonSeen) -> list[Change]:
    """Changed fields of one identity in one change; a new mail address counts as a rename."""
    attributes = _CANONICAL(dict(person.attributes)).decode()
    fields: list[tuple[str, Any, Any]] = [
        ("mail", identity.mail, person.mail.text),
        ("given_name", identity.given_name, person.given_name),
        ("family_name", identity.family_name, person.family_name),
        ("display_name", identity.display_name, person.display_name),
        ("employee_number", identity.employee_number, person.employee_number),
        ("attributes", identity.attributes, attributes),
    ]
    changed = [item for item in fields if item[1] != item[2]]
    if not changed:
        return []
    harm = Harm.RENAME if identity.mail_key != person.mail.key else Harm.NONE
    names, before, after = (", ".join(str(item[part]) for item in changed) for part in range(3))
    cause = "the entry changed"
    return [Change(Kind.UPDATE_IDENTITY, identity.mail_key, names, before, after, "", harm, cause)]
