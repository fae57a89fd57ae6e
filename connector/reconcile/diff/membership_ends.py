"""Which memberships of somebody who is here end now, and what proves it (D3, P3). Pure: no I/O, no clock here.

At once: a mapping that left the file or leads elsewhere, an exclusion, an attribute with another value. On the second
complete reading only: no longer listed in a group, no value any more of an attribute. Never: what was not read, what a
guest's rule does not name, what this product's mappings did not grant; and, where a source tells who left a group, who
is not told to have left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from connector.reconcile.desired.ground import Ground
from connector.reconcile.desired.seen import Present
from connector.reconcile.desired.selection import blank, blank_scope, excluded, mismatch
from connector.reconcile.evidence.edges import came_through, edges_of
from connector.reconcile.plan.changes import Absence, Bundle, Change, Harm, Kind, Problem
from connector.reconcile.plan.recorded import MembershipRow, Recorded
from connector.reconcile.policy.person_fields import value_of
from connector.reconcile.policy.policy import MAPPING, Policy, Rule

Key = tuple[str, str, str]


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

    def problems(self) -> list[Problem]:
        """Whose absence from a group or attribute is not confirmed yet, and whom a member value keeps."""
        kept = [Problem("frozen", what, tuple(sorted(who))) for what, who in self._kept.items()]
        if not self._unconfirmed:
            return kept
        text = "no longer in the group; counts only when another complete reading confirms it"
        return [*kept, Problem("unconfirmed", text, tuple(sorted(self._unconfirmed)))]

    def of(
        self, item: Present, rows: Sequence[MembershipRow], team_ids: Mapping[str, str]
    ) -> tuple[dict[str, str], bool]:
        """Row id → cause of every membership that ends now, and whether a Team is left that waits for a second
        reading: then whatever the person moves to waits too (P2)."""
        wanted = {(rule.provenance, team_ids[rule.id]) for rule in item.rules}
        ending: dict[str, str] = {}
        pending: set[str] = set()
        staying: set[str] = {team_ids[rule.id] for rule in item.rules}
        for row in rows:
            if (row.provenance, row.team_id) in wanted:
                continue
            cause = self._cause(item, row)
            if cause:
                ending[row.row_id] = cause
            elif cause is None:
                staying.add(row.team_id)
            else:
                pending.add(row.team_id)
        return ending, bool(pending - staying)

    def _cause(self, item: Present, row: MembershipRow) -> str | None:
        """Why this membership ends; empty: it waits for another reading; None: it stays as it is."""
        if not row.provenance.startswith(MAPPING):
            return None
        rule = self.policy.rule_of(row.provenance)
        if rule is None:
            return f"mapping {row.provenance[len(MAPPING) :]} is no longer in the organization file"
        if rule.id in self.frozen_rules or rule.directory != item.person.source_id:
            return None
        if item.only is not None and rule.id not in item.only:
            return None
        if any(other is rule for other in item.rules):
            return f"mapping {rule.id} now leads to Team {rule.team}"
        shown = excluded(rule, item.person, self.sources[rule.directory]) or mismatch(rule, item.person)
        return shown or self._confirmed(item, rule, row)

    def _confirmed(self, item: Present, rule: Rule, row: MembershipRow) -> str | None:
        """The cause, when a second complete reading, late enough, shows the same absence; else it is noted. None while
        a member value still means the person (E3), or no push took them out of the group where pushes tell (G6)."""
        if rule.group and (value := self._standing(item, rule, row)):
            what = f"group {rule.group} still lists {value}, which was theirs: they keep what they have through it"
            self._kept.setdefault(what, []).append(item.person.mail.key)
            return None
        if rule.group and self._lost(item, rule, row):
            what = (
                f"group {rule.group} of directory {rule.directory} has lost them: they are not in it, and no push took"
                " them out; they keep what they have through it. Let the provider add them again, or remove them"
            )
            self._kept.setdefault(what, []).append(item.person.mail.key)
            self.unsettled.add((item.person.source_id, item.person.anchor))
            return None
        fields = blank(rule, item.person)
        scopes = [f"group:{rule.group}"] if rule.group else [blank_scope(rule, name) for name in fields]
        keys: list[Key] = [(item.person.source_id, item.person.anchor, scope) for scope in scopes]
        late = self.now - self.policy.offboarding.confirm_after
        for position, key in enumerate(keys):
            first = self.recorded.absences.get(key)
            if first is not None and first <= late:
                if rule.group:
                    return f"not in group {rule.group} in two complete readings"
                return f"no value of {fields[position]} in two complete readings"
        self.absent.extend(Absence(*key) for key in keys if key not in self.recorded.absences)
        self.unsettled.update((key[0], key[1]) for key in keys)
        where = "" if rule.group else f": no value of {', '.join(fields)}"
        self._unconfirmed.append(f"{item.person.mail.key} in {self.names.get(row.team_id, row.team_id)}{where}")
        return ""

    def _standing(self, item: Present, rule: Rule, row: MembershipRow) -> str:
        return edges_of(self._why(item, row)).standing(self.sources[rule.directory].groups[rule.group])

    def _lost(self, item: Present, rule: Rule, row: MembershipRow) -> bool:
        """Whether the group's directory tells who left it, and does not tell it of this person."""
        group = self.sources[rule.directory].groups[rule.group]
        if group.left is None:
            return False
        nested = came_through(self._why(item, row), group.name)
        return item.person.anchor not in (group.left_inside if nested else group.left)

    def _why(self, item: Present, row: MembershipRow) -> str:
        causes = self.recorded.causes.get(item.identity.id, {}) if item.identity else {}
        return causes.get(row.provenance, "")

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

    def change(self, subject: str, row: MembershipRow, cause: str, stays: bool) -> Change:
        """The end of one membership; ``stays``: another one keeps the person in the Team."""
        name, mapping = self.names.get(row.team_id, row.team_id), row.provenance[len(MAPPING) :]
        kind, harm = (Kind.END_GRANT, Harm.NONE) if stays else (Kind.LEAVE_TEAM, Harm.LEAVE)
        return Change(kind, subject, name, "member", "", mapping, harm, cause, team=row.team_id, ref=row.row_id)


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
