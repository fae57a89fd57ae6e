"""What a directory itself says has changed, laid over its last reading: ``Delta`` without reading everything (D13).

Asks the source and the last reading; decides nothing about anybody. Whatever it cannot prove is a reason to read
everything instead: a reason is returned, never a guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from connector.directory import dn
from connector.directory.base import Entry, GroupView
from connector.directory.changes import Changes, ChangesRequest, Follower, LookRequest
from connector.directory.groups import ANCHOR_PREFIX, GroupEntry, MembershipGraph, PeopleIndex, Unresolved
from connector.directory.mapping import AttributeRules, entry_mark
from connector.directory.names import dn_key
from connector.reconcile.policy.policy import Policy
from connector.reconcile.reading import last_reading as parts
from connector.reconcile.reading.affected import Closure
from connector.reconcile.reading.last_reading import Delta, Kept, KeptGroup
from connector.reconcile.reading.overlay import Overlay
from ledger.identity import fold
from ledger.store import people as ledger_people
from ledger.store.book import Reader
from ledger.store.last_readings import LastReading

MOST_GROUPS = 500
"""With more mapped groups to read again than this, reading everything is the better way."""
GROUP = "group:"


class Unproved(Exception):
    """Why everything has to be read."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What changed in a source, and where to go on."""

    delta: Delta
    cursor: Mapping[str, Any]
    changes: Changes


@dataclass(frozen=True, slots=True)
class Track:
    """One source to follow: from which reading, by which rules and policy, at which instant."""

    source: Follower
    rules: AttributeRules
    last: LastReading
    policy: Policy
    now: datetime


async def ask(track: Track, since: Mapping[str, Any]) -> Changes:
    """What the source says has changed. Raises ``Unproved``."""
    changes = await track.source.changes(ChangesRequest(since, track.rules.requested), now=track.now)
    if changes.lost:
        raise Unproved(changes.lost)
    return changes


async def follow(
    reader: Reader, track: Track, changes: Changes, overlays: Mapping[str, Overlay], pending: Iterable[tuple[str, str]]
) -> Followed:
    """The delta of one source, proved. ``overlays``: this source as it was last read, the others as they are now;
    ``pending``: whom every run looks at again. Raises ``Unproved``."""
    last = overlays[track.last.source_id]
    if why := names_another(last.header.groups, changes):
        raise Unproved(why)
    hints = await _hints(reader, last, changes)
    entries = {anchor: entry for anchor, entry in changes.people.items() if anchor not in hints}
    delta = Delta(track.last.source_id, entries=entries, marks=_marks(entries, track.rules), gone=hints)
    delta = await _fresh(reader, last, delta)
    unseen = hints | await _unseen(reader, track, delta, overlays, pending) | await _noted(reader, track.last.source_id)
    look = await track.source.look(LookRequest(tuple(sorted(unseen)), (), track.rules.requested), now=track.now)
    if look.unknown:
        raise Unproved(f"single entries could not be looked up: {look.unknown}")
    if not unseen <= look.absent | look.people.keys():
        raise Unproved("not every entry that was looked up was answered for")
    entries = {**entries, **look.people}
    known = frozenset(await last.people(reader, look.absent))
    delta = replace(
        delta, entries=entries, marks=_marks(entries, track.rules), gone=known,
        absent=look.absent - known, tombstones=look.absent & changes.deleted,
    )  # fmt: skip
    delta = await _fresh(reader, last, delta)
    views = await _Groups(reader, track, last, delta, changes).views()
    return Followed(replace(delta, groups=views), changes.cursor, changes)


def _marks(entries: Mapping[str, Entry], rules: AttributeRules) -> dict[str, bytes]:
    return {anchor: entry_mark(entry, rules) for anchor, entry in entries.items()}


async def _hints(reader: Reader, last: Overlay, changes: Changes) -> frozenset[str]:
    """People of the last reading who may be gone: said to be deleted, or not listed as present."""
    known = set(await last.people(reader, changes.gone))
    mapped = {anchor for group in last.header.groups for anchor in (group.anchor, *group.inside)}
    if lost := (changes.gone | _unlisted(changes, mapped)) & mapped:
        raise Unproved(f"a mapped group, or one inside it, is gone or moved ({', '.join(sorted(lost)[:3])})")
    if any(group.by_uid for group in last.header.groups):
        raise Unproved("groups name people by login name")
    if changes.present is not None:
        known |= (await last.anchors(reader)) - changes.present - changes.people.keys()
    return frozenset(known)


def _unlisted(changes: Changes, anchors: set[str]) -> set[str]:
    if changes.present is None:
        return set()
    return anchors - changes.present - {group.anchor for group in changes.groups}


async def _fresh(reader: Reader, last: Overlay, delta: Delta) -> Delta:
    """Without entries that are as they were: changes are told again after an overlap."""
    old = await last.marks(reader, delta.entries)
    changed = {anchor: mark for anchor, mark in delta.marks.items() if old.get(anchor) != mark}
    return replace(delta, marks=changed, entries={anchor: delta.entries[anchor] for anchor in changed})


async def _unseen(
    reader: Reader, track: Track, delta: Delta, overlays: Mapping[str, Overlay], pending: Iterable[tuple[str, str]]
) -> set[str]:
    """Anchors that planning will need to know absent: linked to somebody near, and not in the reading."""
    overlay = Overlay(track.last, delta, track.rules, track.now)
    closure = Closure(reader, {**overlays, track.last.source_id: overlay}, track.policy, track.now)
    await closure.grow(pending)
    return closure.unseen(track.last.source_id)


async def _noted(reader: Reader, source_id: str) -> set[str]:
    """Anchors of whom a reading did not show something: that an entry is gone, or hidden by an access rule, is not told
    by every method, and whoever is gone does not leave a group but is absent (E5)."""
    return {row[1] for row in await ledger_people.absences(reader) if row[0] == source_id}


class _Groups:
    """The mapped groups whose membership may have changed, read again and resolved."""

    def __init__(self, reader: Reader, track: Track, last: Overlay, delta: Delta, changes: Changes) -> None:
        self._reader = reader
        self._track = track
        self._last = last
        self._delta = delta
        self._overlay = Overlay(track.last, delta, track.rules, track.now)
        self._fresh = {group.key: group for group in changes.groups}
        self._told_under = dn.key(changes.groups_base) if changes.groups_base else ""
        self._asked: dict[str, GroupEntry | None] = {}

    async def views(self) -> dict[str, GroupView]:
        """By reference, those that are not as they were. Raises ``Unproved``."""
        affected = await self._affected()
        if len(affected) > MOST_GROUPS:
            raise Unproved(f"{len(affected)} mapped groups may have changed")
        roots = await self._roots(affected)
        entries = {entry.key: entry for entry in roots.values()}
        anchors: dict[bytes, str] = {}
        wave = list(entries.values())
        while wave:
            wave = await self._inside(wave, entries, anchors)
        index = PeopleIndex({})
        index.by_dn = anchors
        graph = MembershipGraph(entries.values(), index)
        found: dict[str, GroupView] = {}
        for group in affected:
            root = roots[group.reference]
            self._same(group, root, graph)
            if fault := graph.fault(root):
                raise Unproved(f"{root.dn}: {fault}")
            view = graph.view(group.reference, root)
            if parts.group_mark(view) != group.mark:
                found[group.reference] = view
        return found

    async def _affected(self) -> list[KeptGroup]:
        """Changed themselves or inside, listing somebody whose DN is new or gone, or waiting for a second reading."""
        groups, delta = self._overlay.header.groups, self._delta
        anchors = {group.anchor for group in self._fresh.values()}
        names, places = set(self._fresh), set[int]()
        touched = {*delta.entries, *delta.gone}
        old = await self._last.people(self._reader, touched)
        for anchor in touched:
            was: Kept | None = old.get(anchor)
            entry = delta.entries.get(anchor)
            if was is not None and entry is not None and was.dn == entry.dn:
                continue
            places.update(was.groups if was is not None else ())
            names.update({dn_key(entry.dn)} if entry is not None else ())
        waits = {row[2] for row in await ledger_people.absences(self._reader) if row[0] == delta.source_id}
        return [
            group
            for place, group in enumerate(groups)
            if place in places
            or self._untold(group)
            or not anchors.isdisjoint((group.anchor, *group.inside))
            or not names.isdisjoint(group.nested)
            or not names.isdisjoint(map(dn_key, group.unresolved))
            or GROUP + group.reference in waits
        ]

    def _untold(self, group: KeptGroup) -> bool:
        """Whether the group, or one inside it, lies where changes are not told: then it is read every time."""
        base = self._told_under
        return not base or any(not dn.is_under(key, base) for key in (dn_key(group.dn), *group.nested))

    async def _roots(self, affected: list[KeptGroup]) -> dict[str, GroupEntry]:
        changed = {group.anchor: group for group in self._fresh.values()}
        await self._read([group.dn for group in affected if group.anchor not in changed])
        found: dict[str, GroupEntry] = {}
        for group in affected:
            entry = changed.get(group.anchor) or self._asked.get(group.dn)
            if entry is None or entry.anchor != group.anchor:
                raise Unproved(f"group {group.reference} is not where it was")
            found[group.reference] = entry
        return found

    async def _inside(
        self, wave: list[GroupEntry], entries: dict[str, GroupEntry], anchors: dict[bytes, str]
    ) -> list[GroupEntry]:
        """Resolve the members of these groups; the groups among them, that were not seen before."""
        if any(group.uids for group in wave):
            raise Unproved("groups name people by login name")
        keys = {value: dn_key(value.decode("utf-8", "backslashreplace")) for group in wave for value in group.members}
        people = await self._overlay.with_names(self._reader, set(keys.values()))
        rest: dict[str, str] = {}
        for value, key in keys.items():
            if key in people:
                anchors[value] = people[key]
            elif key not in entries:
                rest[key] = value.decode("utf-8", "backslashreplace")
        known = {dn_key(value) for group in self._overlay.header.groups for value in group.unresolved}
        asked = [name for key, name in rest.items() if key not in self._fresh and key not in known]
        if len(asked) > MOST_GROUPS:
            raise Unproved(f"{len(asked)} members are nobody that was read before")
        await self._read(asked)
        found = [self._fresh.get(key) or self._asked.get(name) for key, name in rest.items()]
        inner = [group for group in found if group is not None]
        entries.update({group.key: group for group in inner})
        return inner

    async def _read(self, names: list[str]) -> None:
        missing = [name for name in dict.fromkeys(names) if name not in self._asked]
        if not missing:
            return
        look = await self._track.source.look(LookRequest(groups=tuple(missing)), now=self._track.now)
        if look.unknown:
            raise Unproved(f"groups could not be read again: {look.unknown}")
        for name in missing:
            self._asked[name] = look.groups.get(name)

    def _same(self, group: KeptGroup, root: GroupEntry, graph: MembershipGraph) -> None:
        """The reference still means this group, and no other that changed. Raises ``Unproved``."""
        reference = group.reference
        if reference.startswith(ANCHOR_PREFIX):
            return
        if dn.looks_like_dn(reference):
            if dn.key(reference) != root.key:
                raise Unproved(f"group {reference} was renamed or moved")
            return
        if isinstance(graph.find(reference), Unresolved) or fold(root.name) != fold(reference):
            raise Unproved(f"group {reference} was renamed")


def names_another(groups: Iterable[KeptGroup], changes: Changes) -> str:
    """Why a mapping by name may mean another group now: a changed one has that name; empty when none has."""
    mapped = {group.reference: group.anchor for group in groups}
    for reference, anchor in mapped.items():
        if reference.startswith(ANCHOR_PREFIX) or dn.looks_like_dn(reference):
            continue
        if any(fold(group.name) == fold(reference) and group.anchor != anchor for group in changes.groups):
            return f"another group is called {reference} now"
    return ""
