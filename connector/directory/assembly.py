"""From entries and proofs to a ``Reading``: what every source does alike after it has read (D1–D3).

Pure: no I/O here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from connector.directory import dn, groups
from connector.directory.base import Entry, GroupView, Listing, Reading, ReadRequest, Scope, ScopeState

PEOPLE = "people:"
GROUP = "group:"


@dataclass(slots=True)
class Findings:
    """What a source found. ``people`` and ``scopes`` by name; ``groups`` are all groups read, nested ones included.

    ``group_proof`` is the proof of the bulk group reading; ``group_proofs`` those of references read one by one.
    ``missing_sentinels`` are those that were looked for and not visible.
    """

    people: dict[str, Entry]
    people_scopes: dict[str, Scope]
    groups: Sequence[groups.GroupEntry]
    group_proof: Scope
    group_proofs: Mapping[str, Scope]
    missing_sentinels: frozenset[str]


def assemble(
    findings: Findings, request: ReadRequest, *, source_id: str, span: tuple[datetime, datetime], rules: Rules
) -> Reading:
    """The reading: every requested scope is in it, complete or unknown with its reason."""
    graph = groups.MembershipGraph(findings.groups, groups.PeopleIndex(findings.people, rules.uid_attribute))
    views: dict[str, GroupView] = {}
    scopes = dict(findings.people_scopes)
    for reference in request.groups:
        proof = findings.group_proofs.get(reference, findings.group_proof)
        scope, view = _group(graph, reference, replace(proof, name=GROUP + reference))
        scopes[scope.name] = scope
        if view is not None:
            views[reference] = view
    for sentinel in sorted(findings.missing_sentinels):
        scopes.update(_doubted(scopes, sentinel, rules))
    views = {reference: view for reference, view in views.items() if scopes[GROUP + reference].complete}
    lost = any(view.unresolved or view.listings[0].left is not None for view in views.values())
    strays = _strays(graph, views) if lost else ()
    return Reading(
        source_id=source_id,
        started_at=span[0],
        finished_at=span[1],
        people=findings.people,
        groups=views,
        scopes=scopes,
        sentinels_missing=findings.missing_sentinels,
        listings=strays,
    )


@dataclass(frozen=True, slots=True)
class Rules:
    """What the assembly needs of the settings. ``people_bases`` maps each people scope's name to its base DN."""

    people_bases: Mapping[str, str]
    groups_base: str
    uid_attribute: str


def nothing_read(
    request: ReadRequest, people_scopes: Iterable[str], reason: str, *, server: str = ""
) -> dict[str, Scope]:
    """Every scope unknown for one reason: the source could not be used at all."""
    names = [*people_scopes, *(GROUP + reference for reference in request.groups)]
    return {name: Scope(name, ScopeState.UNKNOWN, reason, server=server) for name in names}


def unknown(scope: Scope, reason: str, *, missing: bool = False) -> Scope:
    """The scope with a doubt; an earlier reason stays in front."""
    said = f"{scope.reason}; {reason}" if scope.reason else reason
    return replace(scope, state=ScopeState.UNKNOWN, reason=said, missing=missing)


def _group(graph: groups.MembershipGraph, reference: str, proof: Scope) -> tuple[Scope, GroupView | None]:
    if not proof.complete:
        return proof, None
    found = graph.find(reference)
    if isinstance(found, groups.Unresolved):
        return unknown(replace(proof, entries=0), found.reason, missing=found.missing), None
    if fault := graph.fault(found):
        return unknown(proof, f"{found.dn}: {fault}"), None
    view = graph.view(reference, found)
    return replace(proof, entries=len(view.members) + len(view.unresolved)), view


def _strays(graph: groups.MembershipGraph, views: Mapping[str, GroupView]) -> tuple[Listing, ...]:
    """What the groups list that no mapped group reaches now: one may have been renamed, and its outer not been told."""
    reached = {listing.anchor for view in views.values() for listing in view.listings}
    others = (group for group in graph.groups.values() if not group.fault and groups.node(group) not in reached)
    return tuple(map(graph.listing, others))


def _doubted(scopes: Mapping[str, Scope], sentinel: str, rules: Rules) -> dict[str, Scope]:
    """Scopes that prove nothing because a sentinel under their base is not visible; all people if it has no base."""
    key = dn.key(sentinel)
    names = [name for name, base in rules.people_bases.items() if base and dn.is_under(key, dn.key(base))]
    if not names and rules.groups_base and dn.is_under(key, dn.key(rules.groups_base)):
        names = [name for name in scopes if name.startswith(GROUP)]
    names = names or list(rules.people_bases)
    reason = f"the sentinel {sentinel} is not visible"
    return {name: unknown(scopes[name], reason) for name in names if not scopes[name].missing}
