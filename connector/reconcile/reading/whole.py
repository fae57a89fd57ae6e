"""Reads sources whole, compares with what was last read of them, and maps what has to be planned: ``Observed``.

Prohibition: reads nothing of the ledger but what ``Memory`` gives, decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from connector.directory.base import Entry, Reading, ReadRequest, Source
from connector.directory.mapping import AttributeRules, Person, entry_mark, index_keys, map_entry, signs_shown
from connector.directory.names import dn_key
from connector.directory.stand import Stand
from connector.reconcile.desired.seen import GroupSeen, SourceSeen, UnmappableSeen
from connector.reconcile.evidence.stated import Signs
from connector.reconcile.plan.changes import ScopeLine
from connector.reconcile.policy.policy import Policy
from connector.reconcile.reading import last_reading as parts
from connector.reconcile.reading.last_reading import Delta, Gathered
from connector.reconcile.reading.memory import Memory, Observed
from connector.reconcile.reading.overlay import Overlay
from ledger.collector import without_collector
from ledger.instant import to_micros


class Progress(Protocol):
    """Told how far each directory was read, from any thread; a ``total`` of 0 is not known."""

    def __call__(self, stage: str, done: int, total: int, pages: int = 0, scopes: int = 0) -> None:
        """``done`` entries in so many ``pages``; ``scopes`` are done."""


class Configured(Protocol):
    """A source and its attribute rules."""

    @property
    def source(self) -> Source:
        """The directory."""

    @property
    def rules(self) -> AttributeRules:
        """How its attributes become ours."""


async def read_all(
    sources: Sequence[Configured],
    policy: Policy,
    now: datetime,
    progress: Progress | None = None,
    memory: Memory | None = None,
) -> Observed:
    """Read all sources whole, at once. When every reading is whole and the last run is known, only what differs goes on
    (``near``)."""
    readings = await asyncio.gather(*(read(item, policy, now, progress) for item in sources))
    pairs = list(zip(sources, readings, strict=True))
    overlays: dict[str, Overlay] = {}
    if memory is not None:
        for item, reading in pairs:
            if (delta := await differs(item, reading, policy, memory)) is not None:
                overlays[reading.source_id] = Overlay(memory.readings[reading.source_id], delta, item.rules, now)
    cursors = {reading.source_id: reading.cursor for reading in readings if reading.cursor}
    stands = stands_of(readings)
    rules = {item.source.id: item.rules for item in sources}
    if memory is not None and memory.base is not None and len(overlays) == len(pairs):
        lines = tuple(line for reading in readings for line in scope_lines(reading))
        return Observed(
            {}, cursors, near=True, scopes=lines, overlays=overlays, rules=rules, memory=memory, stands=stands
        )
    gathered: dict[str, Gathered] = {}
    seen: dict[str, SourceSeen] = {}
    for item, reading in pairs:
        source_id = reading.source_id
        if memory is not None and source_id not in overlays and is_whole(reading, policy):
            gathered[source_id] = Gathered(reading.groups.values(), len(reading.people))
        seen[source_id] = see(reading, policy.groups_of(source_id), item.rules, now, gathered.get(source_id))
        if memory is not None and source_id in gathered:
            gathered[source_id].signs = seen[source_id].signs.after(memory.signs(source_id))
    return Observed(seen, cursors, overlays=overlays, gathered=gathered, rules=rules, memory=memory, stands=stands)


def stands_of(readings: Iterable[Reading]) -> dict[str, Stand]:
    """Source id → how new its reading is."""
    return {reading.source_id: reading.stand for reading in readings if reading.stand is not None}


def is_whole(reading: Reading, policy: Policy) -> bool:
    """Whether everything was read that the policy asks for: nothing unknown, no group missing."""
    references = policy.groups_of(reading.source_id)
    return reading.people_complete and all(
        reference in reading.groups and reading.group_complete(reference) for reference in references
    )


async def differs(item: Configured, reading: Reading, policy: Policy, memory: Memory) -> Delta | None:
    """What a whole reading differs in from the last one, nobody mapped; None when the two cannot be compared."""
    last = memory.comparable(reading.source_id, item.rules, policy)
    if last is None or not is_whole(reading, policy):
        return None
    marks = await memory.marks(reading.source_id)
    entries: dict[str, Entry] = {}
    changed: dict[str, bytes] = {}
    with without_collector():
        for anchor, entry in reading.people.items():
            mark = entry_mark(entry, item.rules)
            if marks.pop(anchor, b"") != mark:
                entries[anchor] = entry
                changed[anchor] = mark
        shown = signs_shown(reading.people.values(), item.rules)
    gone = frozenset(marks)
    groups = parts.changed_groups(parts.decode_header(last.header), reading.groups)
    return Delta(
        reading.source_id, True, entries, changed, gone, reading.tombstones, groups=groups,
        deletions_told=reading.deletions_told, listings=reading.listings, signs=Signs((), *shown),
    )  # fmt: skip


async def read(item: Configured, policy: Policy, now: datetime, progress: Progress | None) -> Reading:
    """One source, whole; ``progress`` is told how far it is."""
    source_id = item.source.id

    def told(entries: int, pages: int, scopes: int) -> None:
        if progress is not None:
            progress(f"reading {source_id}", entries, 0, pages, scopes)

    request = ReadRequest(policy.groups_of(source_id), item.rules.requested, progress=told)
    return await item.source.read(request, now=now)


def see(
    reading: Reading,
    references: Sequence[str],
    rules: AttributeRules,
    now: datetime,
    gathered: Gathered | None = None,
) -> SourceSeen:
    """One reading after mapping (D8). ``gathered`` takes every entry, to be remembered."""
    people: dict[str, Person] = {}
    unmappable: dict[str, UnmappableSeen] = {}
    with without_collector():
        for anchor, entry in reading.people.items():
            mapped = map_entry(entry, rules, now=now)
            if isinstance(mapped, Person):
                people[anchor] = mapped
            else:
                unmappable[anchor] = UnmappableSeen(mapped.reasons, mapped.enabled, mapped.dn, mapped.blank)
            if gathered is not None:
                if mapped.expires_at is not None and mapped.expires_at > now:
                    gathered.expiries.append((to_micros(mapped.expires_at), anchor))
                known = mapped.fingerprint if isinstance(mapped, Person) else ""
                gathered.add(entry, entry_mark(entry, rules, known), dn_key(entry.dn), index_keys(mapped))
    return SourceSeen(
        source_id=reading.source_id,
        complete=reading.people_complete,
        people=people,
        unmappable=unmappable,
        groups=_groups(reading, references),
        tombstones=reading.tombstones,
        scopes=scope_lines(reading),
        deletions_told=reading.deletions_told,
        listings=reading.listings,
        signs=Signs((), *signs_shown(reading.people.values(), rules)),
    )


def _groups(reading: Reading, references: Sequence[str]) -> Mapping[str, GroupSeen]:
    found: dict[str, GroupSeen] = {}
    for reference in references:
        scope = reading.scopes.get(f"group:{reference}")
        view = reading.groups.get(reference)
        if view is None or scope is None or not scope.complete:
            reason = scope.reason if scope else "the directory did not answer for this group"
            found[reference] = GroupSeen(reference, False, reason=reason, missing=bool(scope and scope.missing))
            continue
        found[reference] = GroupSeen(
            reference, True, view.name, members=view.members, paths=view.paths, unresolved=view.unresolved,
            anchor=view.anchor, dn=view.dn, listings=view.listings,
        )  # fmt: skip
    return found


def scope_lines(reading: Reading) -> tuple[ScopeLine, ...]:
    """The evidence of every scope of a reading, sentinels that are not visible included."""
    lines = [
        ScopeLine(reading.source_id, name, scope.complete, scope.reason, scope.entries, scope.missing)
        for name, scope in sorted(reading.scopes.items())
    ]
    lines += [
        ScopeLine(reading.source_id, f"sentinel:{name}", False, "the sentinel entry is not visible")
        for name in sorted(reading.sentinels_missing)
    ]
    return tuple(lines)
