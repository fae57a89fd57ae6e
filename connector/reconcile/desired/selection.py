"""Whom a mapping means: its group or its attribute filter, without whom it excludes (D2, D11, R3).

Pure: no I/O, no clock here. Everything is decided from one person's entry and the groups it is in, never from all
people at once. What an entry does not show proves nothing by itself (``blank``); what it shows is positive evidence.
"""

from __future__ import annotations

from collections.abc import Mapping

from connector.reconcile.desired.seen import SourceSeen
from connector.reconcile.plan.changes import PersonSeen, Problem
from connector.reconcile.policy.person_fields import text_of, value_of
from connector.reconcile.policy.policy import Policy, Rule
from ledger.counted import counted

Wants = dict[str, dict[str, list[Rule]]]
"""Source id → anchor → the mappings that mean this person, in the order of the file."""


def choose(sources: Mapping[str, SourceSeen], policy: Policy) -> tuple[dict[str, str], Wants, list[Problem]]:
    """(mapping id → why it proves nothing in this reading, who is meant, problems).

    A frozen mapping takes nothing from anybody. One with a group that was not read to its end gives nothing either; the
    others still mean whoever is seen to match or to be a member, though what is not seen proves nothing.
    """
    frozen: dict[str, str] = {}
    problems: list[Problem] = []
    wants: Wants = {source_id: {} for source_id in sources}
    for rule in policy.rules.values():
        source = sources.get(rule.directory)
        why = _unread(rule, source, problems)
        if why:
            frozen[rule.id] = why
        if source is None or (why and _unread_group(rule, source)):
            continue
        mine = wants[rule.directory]
        anchors = source.groups[rule.group].members if rule.group else source.people
        if rule.where or rule.exclude or rule.exclude_groups:
            anchors = [anchor for anchor in anchors if _meant(rule, source.people.get(anchor), source)]
        for anchor in anchors:
            mine.setdefault(anchor, []).append(rule)
    return frozen, wants, problems


def _unread(rule: Rule, source: SourceSeen | None, problems: list[Problem]) -> str:
    """Why nothing may be concluded about the mapping; empty when everything it needs was read to its end."""
    if source is None:
        return "its directory was not read"
    for reference in rule.groups:
        group = source.groups.get(reference)
        if group is None:
            return "its directory was not read"
        if not group.complete:
            if group.missing:
                text = (
                    f"group {reference} does not exist: mapping {rule.id} is frozen, correct the mapping or the group"
                )
                problems.append(Problem("group-missing", text, (rule.id,)))
            return group.reason or "the group was not read to its end"
        if group.doubt:
            return group.doubt
        if group.unresolved:
            number = counted(len(group.unresolved), "member value")
            text = f"{number} of group {reference} naming nobody that was read"
            problems.append(Problem("unresolved", text, tuple(sorted(group.unresolved)[:20])))
    return "" if rule.group or source.complete else "the people of its directory were not read to their end"


def _unread_group(rule: Rule, source: SourceSeen) -> bool:
    return any(reference not in source.groups or not source.groups[reference].complete for reference in rule.groups)


def _meant(rule: Rule, person: PersonSeen | None, source: SourceSeen) -> bool:
    if person is None:
        return False
    return all(value_of(person, name) in keys for name, keys in rule.where) and not excluded(rule, person, source)


def excluded(rule: Rule, person: PersonSeen, source: SourceSeen) -> str:
    """Why the mapping leaves the person out; empty when it does not. Being named is positive evidence."""
    if person.mail.key in rule.exclude:
        return f"mapping {rule.id} excludes the address"
    for reference in rule.exclude_groups:
        group = source.groups.get(reference)
        if group is not None and group.complete and person.anchor in group.members:
            return f"mapping {rule.id} excludes group {group.name or reference}"
    return ""


def mismatch(rule: Rule, person: PersonSeen) -> str:
    """The first field whose value is another one than the filter wants: positive evidence; empty when there is none."""
    for name, keys in rule.where:
        key = value_of(person, name)
        if key and key not in keys:
            return f"{name} is {text_of(person, name)!r}, which mapping {rule.id} does not name"
    return ""


def blank(rule: Rule, person: PersonSeen) -> tuple[str, ...]:
    """The fields of the filter that the entry shows no value of: emptied, or hidden from us. Proves nothing alone."""
    return tuple(name for name, _ in rule.where if not value_of(person, name))


def blank_scope(rule: Rule, name: str) -> str:
    """The absence scope of one field of one mapping's filter (D3)."""
    return f"where:{rule.id}/{name}"


def matched(rule: Rule, person: PersonSeen) -> str:
    """The values by which the filter means the person, for the chain entry → … → mapping (P6)."""
    return ", ".join(f"{name} = {text_of(person, name)}" for name, _ in rule.where)
