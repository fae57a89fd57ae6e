"""What a membership through a group rests on, and whether it holds (E3). Pure: no I/O, no clock here.

An edge is one name in one group: of a person, or of a group inside it. It is broken when its group was read and the
name is not listed there, or now means another entry that was read; it stands while the name is listed and nobody who
was read answers to it, and is unknown while its group is not read. A path holds while none of its edges is broken, and
a membership while one of the paths known for it does: so all paths are kept, not the shortest alone. A known name means
its person in every group that is reached, also in one that was made anew, while nobody who was read answers to it.

Where values follow their entries (Active Directory, ``refint``), a name that went may have become another one: whoever
is not shown any more may be meant by a name that nobody answers to and that came since.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from typing import Protocol

import msgspec

from connector.directory.names import dn_key, login_name
from connector.reconcile.evidence.causes import named_in
from connector.reconcile.plan.recorded import GROUP_NODE, UNREAD, Edges, Recorded

Nodes = Mapping[str, "Weak | None"]
"""Groups that a mapped group reaches, and what is doubtful on the way to each."""


class Listing(Protocol):
    """What one group that was read lists itself (``connector.directory.base.Listing`` is one)."""

    @property
    def anchor(self) -> str:
        """Of the group."""

    @property
    def dn(self) -> str:
        """Where it is."""

    @property
    def people(self) -> Collection[str]:
        """Anchors."""

    @property
    def logins(self) -> Mapping[str, Collection[str]]:
        """Anchor → the login names by which somebody is listed."""

    @property
    def groups(self) -> Mapping[str, str]:
        """Name → anchor of the group it means."""

    @property
    def unresolved(self) -> Mapping[str, str]:
        """Name → value as written, of what nobody who was read answers to."""

    @property
    def left(self) -> Collection[str] | None:
        """Names of all who were told to be out; None where not being listed says so (G6)."""


class Weak(msgspec.Struct, frozen=True):
    """A listed value that nobody who was read answers to, and the DN of the group that lists it. ``lost``: it is not
    listed, and nobody was told to be out (G6). ``instead``: it came since what was listed before went."""

    value: str
    group: str
    lost: bool = False
    instead: bool = False


class Person(msgspec.Struct, frozen=True):
    """Whose edges are judged. ``anchors``: of the linked entries in this source; ``names``: those of an entry that is
    shown. ``elsewhere``: names of an entry that was found outside what is read: a value that is one of them is no doubt
    (E1)."""

    identity: str
    anchors: frozenset[str]
    elsewhere: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()


class Paths:
    """The paths of one source as recorded and as read now."""

    def __init__(self, source_id: str, listings: Mapping[str, Listing], recorded: Recorded) -> None:
        self._source_id = source_id
        self._listings = listings
        self._recorded = recorded
        self._known: dict[str, list[tuple[str, str]]] = {}
        self._called: dict[str, set[str]] = {}
        self._reached: dict[str, Nodes] = {}
        self._unanswered: dict[str, dict[str, Weak]] = {}
        self._ever: dict[str, set[str]] = {}
        for (source, listed), names in recorded.edges.items():
            if source == source_id and listed.startswith(GROUP_NODE) and listed != UNREAD:
                inner = listed.removeprefix(GROUP_NODE)
                for name, groups in names.items():
                    self._called.setdefault(name, set()).add(inner)
                    for group in groups:
                        self._known.setdefault(group, []).append((name, inner))

    @cached_property
    def _named(self) -> dict[str, set[str]]:
        return named(self._source_id, self._recorded.edges)

    def holding(self, person: Person, root: str, cause: str | None) -> Weak | None:
        """What still means the person in the mapped group whose anchor is ``root``, none of them being reached by what
        was read; None when every known path is broken. ``cause``: of the membership, which says what it rested on
        where no path is known (ledgers from before there were any); None: they are no member."""
        nodes = self._reached.get(root)
        if nodes is None:
            nodes = self._reached[root] = self._reach(root)
        names = self._recorded.edges.get((self._source_id, person.identity), {})
        if not any(self._ever[root] & groups for groups in names.values()):
            weak = None if cause is None else self._by_cause(person, root, nodes, cause)
            if weak is not None:
                return weak
        for name, groups in sorted(names.items()):
            for group in sorted(groups):
                if group in nodes and (weak := self._edge(person, name, group, nodes[group])) is not None:
                    return weak
            if name in self._unanswered[root] and name not in person.elsewhere:
                return self._unanswered[root][name]  # in a group that was made anew, or that got the value
        return None

    def _edge(self, person: Person, name: str, group: str, before: Weak | None) -> Weak | None:
        listing = self._listings.get(group)
        if listing is None:  # only what is doubtful leads to a group that was not read
            return before or Weak(group, group)
        if before is not None and not person.anchors.isdisjoint(listing.people):
            return before
        value = listing.unresolved.get(name)
        if value is None and listing.left is not None and person.names.isdisjoint(listing.left):
            return Weak("", listing.dn, lost=True)
        if value is None and not person.names and not person.elsewhere:
            return self._instead(listing)
        return None if value is None or name in person.elsewhere else Weak(value, listing.dn)

    def _instead(self, listing: Listing) -> Weak | None:
        new = new_names(listing, self._named)
        return Weak(listing.unresolved[new[0]], listing.dn, instead=True) if new else None

    def _by_cause(self, person: Person, root: str, nodes: Nodes, cause: str) -> Weak | None:
        """Where no path is known: what the cause names; where leaving is told, whatever was not."""
        listings = [self._listings[group] for group in nodes if group in self._listings]
        for listing in listings:
            for name, value in sorted(listing.unresolved.items()):
                if name not in person.elsewhere and named_in(cause, name):
                    return Weak(value, listing.dn)
        told = [listing.left for listing in listings if listing.left is not None]
        if told and all(person.names.isdisjoint(left) for left in told):
            return Weak("", self._listings[root].dn, lost=True)
        return None

    def _reach(self, root: str) -> Nodes:
        found: dict[str, Weak | None] = {root: None}
        wave = [root]
        self._ever[root] = self._once(root)
        while wave:
            following: list[str] = []
            for group in wave:
                for inner, weak in self._inside(group, found[group]):
                    if inner not in found or (found[inner] is not None and weak is None):
                        found[inner] = weak
                        following.append(inner)
            wave = following
        listings = (self._listings[group] for group in sorted(found) if group in self._listings)
        self._unanswered[root] = {
            name: Weak(value, listing.dn) for listing in listings for name, value in listing.unresolved.items()
        }
        return found

    def _inside(self, group: str, before: Weak | None) -> Iterable[tuple[str, Weak | None]]:
        listing = self._listings.get(group)
        known = self._known.get(group, ())
        if listing is None:
            return [(inner, before or Weak(group, group)) for _, inner in known]
        found = [(inner, before) for inner in listing.groups.values()]
        for name in listing.unresolved.keys() & self._called.keys():
            found += [(inner, Weak(listing.unresolved[name], listing.dn)) for inner in self._called[name]]
        for name, inner in known:
            if name in listing.unresolved:
                continue
            if listing.left is not None and name not in listing.groups and name not in listing.left:
                found.append((inner, Weak("", listing.dn, lost=True)))
            elif inner not in self._listings and (came := self._instead(listing)) is not None:
                found.append((inner, came))
        return found

    def _once(self, root: str) -> set[str]:
        """Every group that a known path from ``root`` leads through, broken or not."""
        found, wave = {root}, [root]
        while wave:
            listings = (self._listings.get(group) for group in wave)
            inside = {inner for group in wave for _, inner in self._known.get(group, ())}
            inside |= {inner for listing in listings if listing is not None for inner in listing.groups.values()}
            wave = list(inside - found)
            found |= inside
        return found


def named(source_id: str, edges: Edges) -> dict[str, set[str]]:
    """Group → every name it is known to list, of whomever."""
    found: dict[str, set[str]] = {}
    for (source, _), names in edges.items():
        for name, groups in names.items() if source == source_id else ():
            for group in groups:
                found.setdefault(group, set()).add(name)
    return found


def new_names(listing: Listing, named: Mapping[str, Collection[str]]) -> list[str]:
    """The names of a group that nobody answers to and that it is not known to have listed before."""
    return sorted(listing.unresolved.keys() - named.get(listing.anchor, ())) if listing.left is None else []


def names_of(entry_dn: str, logins: Iterable[str]) -> frozenset[str]:
    """Every name by which a group may list an entry."""
    return frozenset((dn_key(entry_dn), *map(login_name, logins)))
