"""What a reading teaches about edges: the names by which groups list people, and groups inside them (E3).

Pure: no I/O, no clock here. What is judged by them is said in ``edges``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from connector.directory.names import dn_key
from connector.reconcile.evidence.edges import Listing, named, new_names
from connector.reconcile.plan.recorded import GROUP_NODE, UNREAD, Edges


def learnt(
    source_id: str,
    read: Mapping[str, Listing],
    people: Mapping[str, tuple[str, str]],
    before: Edges,
    settled: Settled,
    missing: Collection[str] | None = (),
) -> dict[tuple[str, str], Mapping[str, frozenset[str]]]:
    """The edges that are another set now, as ``Recorded.edges`` keeps them. ``read``: listings by the group's anchor;
    ``people``: anchor → (identity, DN); ``missing``: identities that wait for another reading, None where it is not
    known who does.

    What was known and is not broken stays known; what is broken as well, until nothing rests on it any longer
    (``settled``), so that a second reading judges by what the first did. So does a name that may have come instead.
    """
    now: dict[str, dict[str, set[str]]] = {}
    listed_in: dict[str, list[str]] = {}
    broken = [group for group in _broken(source_id, read, before, missing) if read[group].unresolved]
    names_before = named(source_id, before) if broken else {}
    instead = {group: new for group in broken if (new := new_names(read[group], names_before))}
    for group, listing in read.items():
        for name in listing.unresolved:
            if name not in instead.get(group, ()):
                now.setdefault(UNREAD, {}).setdefault(name, set()).add(group)
        for anchor in people.keys() & listing.people if len(people) < len(listing.people) else listing.people:
            listed_in.setdefault(anchor, []).append(group)
        for anchor in listing.logins.keys() & people.keys():
            for login in listing.logins[anchor]:
                now.setdefault(people[anchor][0], {}).setdefault(login, set()).add(group)
        for name, inner in listing.groups.items():
            now.setdefault(GROUP_NODE + inner, {}).setdefault(name, set()).add(group)
    by_dn = _by_dn(listed_in, people)
    inner_groups = {listed for source, listed in before if source == source_id and listed.startswith(GROUP_NODE)}
    changed: dict[tuple[str, str], Mapping[str, frozenset[str]]] = {}
    for listed in {*now, *inner_groups, *(identity for identity, _ in people.values())}:
        old = before.get((source_id, listed), {})
        fresh: Mapping[str, frozenset[str]] = by_dn.get(listed, {})
        if listed in now:
            fresh = {**fresh, **{name: frozenset(groups) for name, groups in now[listed].items()}}
        if fresh == old:  # what was known and may stay is in it
            continue
        if not old:
            changed[source_id, listed] = fresh
            continue
        stays = {
            name: {
                group
                for group in groups
                if not settled(listed) or _unbroken(read.get(group), name) or (group in instead and listed != UNREAD)
            }
            for name, groups in old.items()
        }
        merged = {name: fresh.get(name, frozenset()) | stays.get(name, set()) for name in {*fresh, *stays}}
        found = {name: groups for name, groups in merged.items() if groups}
        if found != old:
            changed[source_id, listed] = found
    return changed


def _by_dn(
    listed_in: Mapping[str, Sequence[str]], people: Mapping[str, tuple[str, str]]
) -> dict[str, dict[str, frozenset[str]]]:
    """Identity → the names that are its entries' DNs → the groups that list those; equal sets are one value."""
    found: dict[str, dict[str, frozenset[str]]] = {}
    shared: dict[tuple[str, ...], frozenset[str]] = {}
    for anchor in listed_in.keys() & people.keys():
        identity, place = people[anchor]
        names, name, together = found.setdefault(identity, {}), dn_key(place), tuple(listed_in[anchor])
        groups = shared.get(together) or shared.setdefault(together, frozenset(together))
        names[name] = groups | names[name] if name in names else groups
    return found


def _broken(
    source_id: str, read: Mapping[str, Listing], before: Edges, missing: Collection[str] | None
) -> Iterable[str]:
    """The groups that list one who is missing, or a group that was not read, by no name that is known."""
    if missing is None:
        return read.keys()
    found: set[str] = set()
    for (source, listed), names in before.items():
        unread = listed.startswith(GROUP_NODE) and listed != UNREAD and listed.removeprefix(GROUP_NODE) not in read
        if source == source_id and (unread or listed in missing):
            groups = frozenset[str]().union(*names.values()) & read.keys()
            found |= {group for group in groups if read[group].unresolved.keys().isdisjoint(names)}
    return found


class Settled(Protocol):
    """Whether nothing that is not reached now rests on what was known of an identity, or of a group inside another."""

    def __call__(self, listed: str) -> bool:
        """``listed``: as ``Recorded.edges`` names it."""


def _unbroken(listing: Listing | None, name: str) -> bool:
    if listing is None or name in listing.unresolved:
        return True
    return listing.left is not None and name not in listing.left
