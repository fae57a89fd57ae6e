"""Membership as a graph in memory: nesting to any depth, cycles, paths, values that name nobody (D2, D6).

Pure: no I/O here. Built from entries that were read in bulk; never asks a server anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from connector.directory import dn
from connector.directory.base import Entry, GroupView, Listing
from connector.directory.names import LOGIN, dn_key, login_name
from ledger.identity import fold

ANCHOR_PREFIX = "anchor:"
MEMBER_ATTRIBUTES = ("member", "uniquemember", "memberuid")


@dataclass(frozen=True, slots=True)
class GroupEntry:
    """One group as read. ``members``: DN values (of ``member`` and ``uniqueMember``); ``uids``: ``memberUid`` values.

    ``fault`` says why the membership shown cannot be all there is; empty when nothing speaks against it. ``unknown``:
    values that name nobody, each with every DN it may have meant; ``left``: as in ``Listing``, as DNs.
    """

    anchor: str
    dn: str
    key: str
    name: str
    members: Sequence[bytes]
    uids: Sequence[bytes] = ()
    fault: str = ""
    unknown: Sequence[tuple[str, Sequence[str]]] = ()
    left: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A configured reference that names no single group; ``missing`` when it names none (D2)."""

    reason: str
    missing: bool


def group_entry(entry: Entry, name_attribute: str = "cn") -> GroupEntry:
    """A group from a raw entry; never raises, whatever the entry holds."""
    attributes = entry.attributes
    names = attributes.get(name_attribute.lower(), ())
    members: Sequence[bytes] = attributes.get("member", ())
    unique = attributes.get("uniquemember", ())
    if unique:
        members = [*members, *(dn.without_uid_suffix(value) for value in unique)]
    return GroupEntry(
        anchor=entry.anchor,
        dn=entry.dn,
        key=dn_key(entry.dn),
        name=min(names).decode("utf-8", "replace") if names else entry.dn,
        members=members,
        uids=attributes.get("memberuid", ()),
        fault=_fault(attributes),
    )


def _fault(attributes: Mapping[str, Sequence[bytes]]) -> str:
    for name in attributes:
        if name.startswith(("member;range=", "uniquemember;range=")):
            return f"the server gave only a part of the members ({name})"
    classes = {value.lower() for value in attributes.get("objectclass", ())}
    shown = attributes.get("member") or attributes.get("uniquemember")
    if not shown and classes & {b"groupofnames", b"groupofuniquenames"}:
        return "it must have at least one member and none is visible: the account may not read its members"
    return ""


class PeopleIndex:
    """Finds people by DN (as written, then by key) and by login name. Names shared by two anchors find nobody."""

    def __init__(self, people: Mapping[str, Entry], uid_attribute: str = "uid") -> None:
        self._people = people
        self._uid = uid_attribute.lower()
        self.by_dn: dict[bytes, str] = {entry.dn.encode(): anchor for anchor, entry in people.items()}
        self._keys: dict[str, str] | None = None
        self._uids: dict[str, str] | None = None

    def by_key(self, key: str) -> str:
        """Anchor of the person whose DN has this key; empty when there is none."""
        if self._keys is None:
            self._keys = _unambiguous((dn_key(entry.dn), anchor) for anchor, entry in self._people.items())
        return self._keys.get(key, "")

    def by_uid(self, uid: bytes) -> str:
        """Anchor of the person with this login name, compared without case; empty when there is none."""
        if self._uids is None:
            self._uids = _unambiguous(
                (fold(value.decode("utf-8", "replace")), anchor)
                for anchor, entry in self._people.items()
                for value in entry.attributes.get(self._uid, ())
            )
        return self._uids.get(fold(uid.decode("utf-8", "replace")), "")


class MembershipGraph:
    """Every group that was read, and who is in it, directly or through others."""

    def __init__(self, groups: Iterable[GroupEntry], people: PeopleIndex) -> None:
        self.groups = {group.key: group for group in groups}
        self._people = people
        self._by_dn = {group.dn.encode(): group.key for group in self.groups.values()}
        self._listings: dict[str, Listing] = {}

    def find(self, reference: str) -> GroupEntry | Unresolved:
        """The group a configured reference means: ``anchor:<value>``, a DN, or a name that only one group has (D2)."""
        if reference.startswith(ANCHOR_PREFIX):
            wanted = reference.removeprefix(ANCHOR_PREFIX).strip().lower()
            found = [group for group in self.groups.values() if group.anchor.lower() == wanted]
        elif dn.looks_like_dn(reference):
            found = [group for group in (self.groups.get(dn.key(reference)),) if group]
        else:
            found = [group for group in self.groups.values() if fold(group.name) == fold(reference)]
        if len(found) == 1:
            return found[0]
        if not found:
            return Unresolved("no such group (deleted, renamed, or hidden from the account that reads)", missing=True)
        names = ", ".join(sorted(group.dn for group in found))
        return Unresolved(f"{len(found)} groups have this name: {names}; give the DN or anchor:<value>", missing=False)

    def view(self, reference: str, root: GroupEntry) -> GroupView:
        """The transitive people of a group; the shortest path counts, cycles end by themselves."""
        own = self.listing(root)
        if not own.groups:
            named = (reference, root.anchor, root.dn, root.name)
            names = frozenset(own.unresolved.values())
            return GroupView(*named, own.people, {}, names, by_uid=bool(root.uids), listings=(own,))
        members = set(own.people)
        unresolved = set(own.unresolved.values())
        paths: dict[str, tuple[str, ...]] = {}
        by_uid, nested, listings = bool(root.uids), [], [own]
        for group, path in self.nested(root):
            nested.append(group.key)
            by_uid = by_uid or bool(group.uids)
            inner = self.listing(group)
            listings.append(inner)
            unresolved.update(inner.unresolved.values())
            for anchor in inner.people - members:
                paths[anchor] = path
            members |= inner.people
        named = (reference, root.anchor, root.dn, root.name)
        found = (frozenset(members), paths, frozenset(unresolved))
        return GroupView(*named, *found, tuple(sorted(nested)), by_uid, tuple(listings))

    def nested(self, root: GroupEntry) -> Iterable[tuple[GroupEntry, tuple[str, ...]]]:
        """Groups inside ``root`` (without itself), nearest first, with the names walked from ``root`` to each."""
        seen = {root.key}
        wave: list[tuple[GroupEntry, tuple[str, ...]]] = [(root, (root.name,))]
        while wave:
            following: list[tuple[GroupEntry, tuple[str, ...]]] = []
            for group, path in wave:
                for key in sorted(self.listing(group).groups):
                    if key not in seen:
                        seen.add(key)
                        inner = self.groups[key]
                        following.append((inner, (*path, inner.name)))
            yield from following
            wave = following

    def fault(self, root: GroupEntry) -> str:
        """Why the membership of ``root`` is not proved (its own fault or that of a group inside it); else empty."""
        if root.fault:
            return root.fault
        return next((f"nested group {group.dn}: {group.fault}" for group, _ in self.nested(root) if group.fault), "")

    def listing(self, group: GroupEntry) -> Listing:
        """What the group lists itself."""
        known = self._listings.get(group.key)
        if known is None:
            known = self._listings[group.key] = self._resolve(group)
        return known

    def _resolve(self, group: GroupEntry) -> Listing:
        by_dn = self._people.by_dn
        people: set[str] = set()
        groups: dict[str, str] = {}
        unresolved: dict[str, str] = {}
        logins: dict[str, tuple[str, ...]] = {}
        others = []
        for value in group.members:
            anchor = by_dn.get(value)
            if anchor is None:
                others.append(value)
            else:
                people.add(anchor)
        for value in others:
            nested = self._by_dn.get(value)
            text = value.decode("utf-8", "backslashreplace")
            key = nested or dn_key(text)
            if anchor := ("" if nested else self._people.by_key(key)):
                people.add(anchor)
            elif key in self.groups:
                groups[key] = node(self.groups[key])
            elif key:
                unresolved[key] = text
        for text, names in group.unknown:
            unresolved.update((dn_key(name), text) for name in names)
        for uid in group.uids:
            name = login_name(uid.decode("utf-8", "replace"))
            anchor = self._people.by_uid(uid)
            if anchor:
                logins[anchor] = (*logins.get(anchor, ()), name)
            else:
                unresolved[name] = f"{LOGIN}{uid.decode('utf-8', 'backslashreplace')}"
        found = frozenset(people | logins.keys()) if logins else frozenset(people)
        left = None if group.left is None else frozenset(map(dn_key, group.left))
        return Listing(node(group), group.dn, found, logins, groups, unresolved, left)


def node(group: GroupEntry) -> str:
    """What stands for a group among its edges: its anchor, or its DN's key where it shows none."""
    return group.anchor or group.key


def _unambiguous(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, anchor in pairs:
        if found.setdefault(key, anchor) != anchor:
            found[key] = ""
    return found
