"""Which memberships of somebody who is here end now, and what proves it (D3, P3). Pure: no I/O, no clock here.

At once: a mapping that left the file or leads elsewhere, an exclusion, an attribute with another value. On the second
complete reading only: no longer listed in a group, no value any more of an attribute. Never: what was not read, what a
guest's rule does not name, what this product's mappings did not grant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

from connector.reconcile.desired.ground import Ground
from connector.reconcile.desired.seen import Present
from connector.reconcile.desired.selection import blank, blank_scope, excluded, mismatch
from connector.reconcile.evidence.edges import Person, names_of
from connector.reconcile.evidence.judge import Evidence, removal, ruled, still_listed, unsupported
from connector.reconcile.plan.changes import Absence, Bundle, Change, Harm, Kind, Problem
from connector.reconcile.plan.recorded import MembershipRow, Recorded
from connector.reconcile.plan.words import span
from connector.reconcile.policy.person_fields import value_of
from connector.reconcile.policy.policy import MAPPING, Policy, Rule

Key = tuple[str, str, str]


class _Lasts(Enum):
    """Why a membership does not end now: it stays as it is, or waits for another reading."""

    STAYS = "stays"
    WAITS = "waits"


class Ending:
    """Judges one person after the other, and collects what the next run needs to know. Lives for one ``diff``."""

    def __init__(self, frozen_rules: Mapping[str, str], ground: Ground) -> None:
        self.frozen_rules = frozen_rules
        self.recorded = ground.recorded
        self.policy = ground.policy
        self.sources = ground.sources
        self.now = ground.now
        self.absent: list[Absence] = []
        self.seen_again: list[Absence] = []
        self.unsettled: set[tuple[str, str]] = set()
        self.names = ground.recorded.team_names()
        self._unconfirmed: list[str] = []
        self._kept: dict[str, list[str]] = {}
        self._linked: dict[str, set[str]] = {}
        self._paths = ground.paths

    def problems(self) -> list[Problem]:
        """Whose absence from a group or attribute is not confirmed yet, and whom a member value keeps."""
        kept = [Problem("frozen", what, tuple(sorted(who))) for what, who in self._kept.items()]
        if not self._unconfirmed:
            return kept
        later = span(self.policy.offboarding.confirm_after)
        text = f"no longer in the group; counts when a complete reading at least {later} later confirms it"
        return [*kept, Problem("unconfirmed", text, tuple(sorted(self._unconfirmed)))]

    def of(
        self, item: Present, rows: Sequence[MembershipRow], team_ids: Mapping[str, str]
    ) -> tuple[dict[str, Evidence], bool]:
        """Row id → the evidence of every membership that ends now, and whether a Team is left that waits for a second
        reading: then whatever the person moves to waits too (P2)."""
        wanted = {(rule.provenance, team_ids[rule.id]) for rule in item.rules}
        ending: dict[str, Evidence] = {}
        pending: set[str] = set()
        staying: set[str] = {team_ids[rule.id] for rule in item.rules}
        for row in rows:
            if (row.provenance, row.team_id) in wanted:
                continue
            found = self._evidence(item, row)
            if found is _Lasts.WAITS:
                pending.add(row.team_id)
            elif found is _Lasts.STAYS:
                staying.add(row.team_id)
            else:
                ending[row.row_id] = found
        return ending, bool(pending - staying)

    def _evidence(self, item: Present, row: MembershipRow) -> Evidence | _Lasts:
        """Why this membership ends, or that it does not."""
        if not row.provenance.startswith(MAPPING):
            return _Lasts.STAYS
        rule = self.policy.rule_of(row.provenance)
        if rule is None:
            return ruled(f"mapping {row.provenance[len(MAPPING) :]} is no longer in the organization file")
        if rule.id in self.frozen_rules:
            return _Lasts.STAYS
        if rule.directory != item.person.source_id:
            self._elsewhere(item, rule)
            return _Lasts.STAYS
        if item.only is not None and rule.id not in item.only:
            return _Lasts.STAYS
        if any(other is rule for other in item.rules):
            return ruled(f"mapping {rule.id} now leads to Team {rule.team}")
        shown = excluded(rule, item.person, self.sources[rule.directory]) or mismatch(rule, item.person)
        return ruled(shown) if shown else self._confirmed(item, rule, row)

    def _elsewhere(self, item: Present, rule: Rule) -> None:
        """A mapping of a directory that nobody is known by proves nothing about them: said, for it would last."""
        here = self._linked.get(rule.directory)
        if here is None:
            links = self.recorded.links.get(rule.directory, {})
            here = self._linked[rule.directory] = {link.identity_id for link in links.values()}
        if item.link is not None and item.link.identity_id not in here:
            what = (
                f"mapping {rule.id} reads directory {rule.directory}, by which they are not known any more: they keep"
                " what it gave them. Let it read the directory they are in, or take it out of the organization file"
            )
            self._kept.setdefault(what, []).append(item.person.mail.key)

    def _confirmed(self, item: Present, rule: Rule, row: MembershipRow) -> Evidence | _Lasts:
        """The evidence, when a second complete reading, late enough, shows the same absence; else it is noted. It stays
        while a member value still means the person (E3)."""
        if rule.group and (value := self._standing(item, rule, row)):
            what = f"{value}: they keep what they have through it"
            self._kept.setdefault(what, []).append(item.person.mail.key)
            self.unsettled.add((item.person.source_id, item.person.anchor))  # the value may go without their entry
            return _Lasts.STAYS
        fields = blank(rule, item.person)
        scopes = [f"group:{rule.group}"] if rule.group else [blank_scope(rule, name) for name in fields]
        keys: list[Key] = [(item.person.source_id, item.person.anchor, scope) for scope in scopes]
        late = self.now - self.policy.offboarding.confirm_after
        for position, key in enumerate(keys):
            what = f"not in group {rule.group}" if rule.group else f"no value of {fields[position]}"
            if (evidence := unsupported(self.recorded.absences.get(key), late, what)) is not None:
                return evidence
        self.absent.extend(Absence(*key) for key in keys if key not in self.recorded.absences)
        self.unsettled.update((key[0], key[1]) for key in keys)
        where = "" if rule.group else f": no value of {', '.join(fields)}"
        self._unconfirmed.append(f"{item.person.mail.key} in {self.names.get(row.team_id, row.team_id)}{where}")
        return _Lasts.WAITS

    def _standing(self, item: Present, rule: Rule, row: MembershipRow) -> str:
        if item.identity is None:
            return ""
        group = self.sources[rule.directory].groups[rule.group]
        anchors = {link.anchor for link in (item.link, *item.replaces) if link is not None}
        names = names_of(item.person.dn, ())
        person = Person(item.identity.id, frozenset({item.person.anchor, *anchors}), names=names)
        cause = self.recorded.causes.get(item.identity.id, {}).get(row.provenance, "")
        weak = self._paths[rule.directory].holding(person, group.anchor, cause)
        return still_listed(weak, group.dn, rule.group) if weak else ""

    def note_seen(self, item: Present, rows: Sequence[MembershipRow]) -> None:
        """Lift the absences from groups that list the person again, and from fields that have a value again."""
        source_id, anchor = item.person.source_id, item.person.anchor
        scopes = [f"group:{rule.group}" for rule in item.rules if rule.group]
        held = [self.policy.rule_of(row.provenance) for row in rows]
        filters = {rule.id: rule for rule in (*item.rules, *held) if rule is not None and rule.where}
        scopes += [
            blank_scope(rule, name)
            for rule in filters.values()
            if rule.directory == source_id
            for name, _ in rule.where
            if value_of(item.person, name)
        ]
        for scope in scopes:
            if (source_id, anchor, scope) in self.recorded.absences:
                self.seen_again.append(Absence(source_id, anchor, scope))

    def change(self, subject: str, row: MembershipRow, evidence: Evidence, stays: bool) -> Change:
        """The end of one membership; ``stays``: another one keeps the person in the Team."""
        name, mapping = self.names.get(row.team_id, row.team_id), row.provenance[len(MAPPING) :]
        kind, harm = (Kind.END_GRANT, Harm.NONE) if stays else (Kind.LEAVE_TEAM, Harm.LEAVE)
        return removal(evidence, kind, subject, harm, object=name, before="member", mapping=mapping, team=row.team_id,
                       ref=row.row_id)  # fmt: skip


def answered(bundles: Sequence[Bundle], policy: Policy, recorded: Recorded) -> list[Key]:
    """The noted absences from groups and fields whose memberships these bundles end."""
    found: list[Key] = []
    for bundle in bundles if recorded.absences else ():
        if bundle.person is None:
            continue
        for change in bundle.changes:
            rule = policy.rules.get(change.mapping)
            if rule is None or change.offering or change.kind not in {Kind.LEAVE_TEAM, Kind.END_GRANT}:
                continue
            scopes = [f"group:{rule.group}"] if rule.group else [blank_scope(rule, name) for name, _ in rule.where]
            found += [(bundle.person.source_id, bundle.person.anchor, scope) for scope in scopes]
    return [key for key in dict.fromkeys(found) if key in recorded.absences]
