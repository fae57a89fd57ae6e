"""Directory groups that mappings keep beside their Teams: who is in them, since when (P2, D5). Pure: no I/O, no clock.

A kept group is one group of one source by its anchor; name and DN are what the directory says now. A membership lasts
as long as one of its person's mappings keeps the group, and ends on the evidence of the last one's Team membership.
Only what a mapping granted is ever ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from connector.reconcile.desired.ground import Ground
from connector.reconcile.desired.seen import Present, SourceSeen
from connector.reconcile.diff.offboarding import removal_is_due
from connector.reconcile.evidence.judge import Evidence, following, removal, ruled
from connector.reconcile.plan.changes import Bundle, Change, Harm, Kind, Problem
from connector.reconcile.plan.recorded import GroupMemberRow, IdentityRow, MembershipRow, Recorded
from connector.reconcile.policy.policy import MAPPING, Policy, Rule


class Named(Protocol):
    """A group as read now (``GroupSeen``, ``last_reading.KeptGroup``)."""

    @property
    def anchor(self) -> str:
        """The stable key in its source; empty: it cannot be kept."""

    @property
    def dn(self) -> str:
        """Where it is."""

    @property
    def name(self) -> str:
        """What the directory calls it; may be empty."""


class Kept(msgspec.Struct, frozen=True):
    """A kept group as the directory shows it now; ``name`` is its reference where it has no name."""

    source_id: str
    anchor: str
    dn: str
    name: str

    @property
    def key(self) -> tuple[str, str]:
        """(source id, anchor): what makes it the same group whatever it is called (D5)."""
        return (self.source_id, self.anchor)


def kept(groups: Mapping[str, Mapping[str, Named]], policy: Policy) -> dict[str, Kept]:
    """Mapping id → the group it keeps, for those that were read. ``groups``: source id → reference → group."""
    found: dict[str, Kept] = {}
    for rule in policy.rules.values():
        group = groups.get(rule.directory, {}).get(rule.group) if rule.keep_group else None
        if group is not None and group.anchor:
            found[rule.id] = Kept(rule.directory, group.anchor, group.dn, group.name or rule.group)
    return found


def read_groups(sources: Mapping[str, SourceSeen]) -> dict[str, dict[str, Named]]:
    """The groups that were read to their end, as ``kept`` takes them."""
    return {
        source_id: {reference: group for reference, group in source.groups.items() if group.complete}
        for source_id, source in sources.items()
    }


class KeptGroups:
    """The kept groups of one ``diff``. A group no row stands for yet is called ``new:<source>:<anchor>``. ``used``:
    whether any mapping keeps a group, or anybody is in one; else nobody is looked at."""

    def __init__(self, ground: Ground) -> None:
        self.recorded = recorded = ground.recorded
        self.policy = policy = ground.policy
        self._now = ground.now
        self.used = bool(recorded.group_members) or any(rule.keep_group for rule in policy.rules.values())
        self._names = {row.id: row.name for row in recorded.groups.values()}
        self._source_of = {row.id: row.source_id for row in recorded.groups.values()}
        self._ids: dict[str, str] = {}
        for rule_id, group in kept(read_groups(ground.sources), policy).items() if self.used else ():
            row = recorded.groups.get(group.key)
            self._ids[rule_id] = row.id if row else f"new:{group.source_id}:{group.anchor}"
            self._names[self._ids[rule_id]] = group.name
        self._sources = ground.sources

    def problems(self) -> list[Problem]:
        """Mappings that cannot keep their group: it was read and has no anchor, so that it could not be told again."""
        text = (
            "group {} shows no anchor: mapping {} cannot keep it, correct the anchor attribute or leave out keep_group"
        )
        found = []
        for rule in self.policy.rules.values() if self.used else ():
            source = self._sources.get(rule.directory) if rule.keep_group else None
            group = source.groups.get(rule.group) if source else None
            if group is not None and group.complete and not group.anchor:
                found.append(Problem("group-not-kept", text.format(rule.group, rule.id), (rule.id,)))
        return found

    def settled(self, identity: str, rules: Sequence[Rule]) -> bool:
        """Whether the person is in exactly the groups these mappings keep, beside what others granted."""
        held = self.recorded.group_members.get(identity, ())
        wanted = {self._ids[rule.id] for rule in rules if rule.id in self._ids}
        mine = {row.group_id for row in held if row.provenance.startswith(MAPPING)}
        return mine <= wanted <= {row.group_id for row in held}

    def changes(
        self,
        item: Present,
        rules: Sequence[Rule],
        stays: Sequence[MembershipRow],
        ends: Mapping[str, Evidence],
        cause: Callable[[Rule], str],
    ) -> list[Change]:
        """The groups somebody who is here joins and leaves. ``rules``: the mappings that hold now; those of ``item``
        that wait are not among them. ``stays``: Team memberships that do not end in this plan; ``ends``: provenance →
        why, of those that do.
        """
        if not self.used:
            return []
        subject = item.identity.mail_key if item.identity else item.person.mail.key
        rows = self.recorded.group_members.get(item.identity.id, ()) if item.identity else ()
        by_preference = sorted(rules, key=lambda rule: (rule.priority, rule.id), reverse=True)
        wanted = {self._ids[rule.id]: rule for rule in by_preference if rule.id in self._ids}
        held = {row.group_id for row in rows}
        found = [self._join(subject, rule, group, cause(rule)) for group, rule in wanted.items() if group not in held]
        ending = [row for row in rows if row.provenance.startswith(MAPPING) and row.group_id not in wanted]
        if ending:
            stay = self._stay(item, stays)
            found += [self._leave(subject, row, self._why(row, ends)) for row in ending if not stay(row)]
        return found

    def off(self, identity: IdentityRow, evidence: Evidence) -> list[Change]:
        """A leaver keeps their groups as long as their Teams: until they are removed, so that a return within the delay
        finds everything as it was (G7)."""
        rows = self.recorded.group_members.get(identity.id, ())
        if not rows or not removal_is_due(identity, self.recorded, self._now):
            return []
        over = following(evidence, "off-boarding: the removal delay is over")
        return [self._leave(identity.mail_key, row, over) for row in rows if row.provenance.startswith(MAPPING)]

    def _stay(self, item: Present, stays: Sequence[MembershipRow]) -> Callable[[GroupMemberRow], bool]:
        """Which memberships last though no mapping that holds now keeps their group: a mapping waits, or one whose Team
        membership stays for want of proof keeps it. What a group is that was not read is not known (D2): then nothing
        of its source ends."""
        listed = {rule.id for rule in item.rules}
        groups = {self._ids.get(rule.id, "") for rule in item.rules}
        unread: set[str] = set()
        unproved: set[str] = set()
        for row in stays:
            rule = self.policy.rule_of(row.provenance)
            if rule is None or not rule.keep_group:
                continue
            groups.add(self._ids.get(rule.id, ""))
            if rule.id not in self._ids:
                unread.add(rule.directory)
            if rule.id not in listed:
                unproved.add(row.provenance)
        return lambda row: (
            row.group_id in groups
            or row.provenance in unproved
            or (bool(unread) and self._source_of.get(row.group_id, "") in unread)
        )

    def _why(self, row: GroupMemberRow, ends: Mapping[str, Evidence]) -> Evidence:
        rule = self.policy.rule_of(row.provenance)
        if rule is None:
            return ruled(f"mapping {row.provenance.removeprefix(MAPPING)} is no longer in the organization file")
        if not rule.keep_group:
            return ruled(f"mapping {rule.id} no longer keeps its group")
        return ends.get(row.provenance) or ruled("no mapping that keeps the group means the person any longer")

    def _join(self, subject: str, rule: Rule, group: str, cause: str) -> Change:
        return Change(Kind.JOIN_GROUP, subject, self._names[group], "", "member", rule.id, cause=cause, ref=group)

    def _leave(self, subject: str, row: GroupMemberRow, evidence: Evidence) -> Change:
        name, mapping = self._names.get(row.group_id, row.group_id), row.provenance.removeprefix(MAPPING)
        return removal(evidence, Kind.LEAVE_GROUP, subject, Harm.LEAVE, object=name, before="member", mapping=mapping,
                       ref=row.row_id)  # fmt: skip


def left(bundles: Iterable[Bundle], recorded: Recorded) -> dict[str, str]:
    """Row id → group id, of every membership of a group that these bundles end."""
    if not recorded.group_members:
        return {}
    ended = {c.ref for bundle in bundles for c in bundle.changes if c.kind is Kind.LEAVE_GROUP}
    held = (row for rows in recorded.group_members.values() for row in rows) if ended else ()
    return {row.row_id: row.group_id for row in held if row.row_id in ended}
