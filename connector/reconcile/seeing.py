"""Reads every source and maps what was read: ``Reading`` → ``SourceSeen``.

Prohibition: touches no ledger, decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from connector.directory.base import Reading, ReadRequest, Source
from connector.directory.mapping import AttributeRules, Person, map_entry
from connector.reconcile.calm import calm
from connector.reconcile.orders import Observed
from connector.reconcile.plan import ScopeLine
from connector.reconcile.policy import Policy
from connector.reconcile.sight import GroupSeen, SourceSeen


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


async def observe(
    sources: Sequence[Configured], policy: Policy, now: datetime, progress: Progress | None = None
) -> Observed:
    """Read all sources at once and map their entries. Unknown scopes are part of the answer, never an error."""
    readings = await asyncio.gather(*(_read(item, policy, now, progress) for item in sources))
    seen: dict[str, SourceSeen] = {}
    for item, reading in zip(sources, readings, strict=True):
        seen[item.source.id] = see(reading, policy.groups_of(item.source.id), item.rules, now)
    return Observed(
        sources=seen,
        cursors={reading.source_id: reading.cursor for reading in readings if reading.cursor},
        with_dns=any(group.unresolved for source in seen.values() for group in source.groups.values()),
    )


async def _read(item: Configured, policy: Policy, now: datetime, progress: Progress | None) -> Reading:
    source_id = item.source.id

    def told(entries: int, pages: int, scopes: int) -> None:
        if progress is not None:
            progress(f"reading {source_id}", entries, 0, pages, scopes)

    request = ReadRequest(policy.groups_of(source_id), item.rules.requested, progress=told)
    return await item.source.read(request, now=now)


def see(reading: Reading, references: Sequence[str], rules: AttributeRules, now: datetime) -> SourceSeen:
    """One reading after mapping (D8); pure."""
    people: dict[str, Person] = {}
    unmappable: dict[str, tuple[str, ...]] = {}
    with calm():
        for anchor, entry in reading.people.items():
            mapped = map_entry(entry, rules, now=now)
            if isinstance(mapped, Person):
                people[anchor] = mapped
            else:
                unmappable[anchor] = mapped.reasons
    return SourceSeen(
        source_id=reading.source_id,
        complete=reading.people_complete,
        people=people,
        unmappable=unmappable,
        groups=_groups(reading, references),
        tombstones=reading.tombstones,
        scopes=_scopes(reading),
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
            reference, True, view.name, members=view.members, paths=view.paths, unresolved=view.unresolved
        )
    return found


def _scopes(reading: Reading) -> tuple[ScopeLine, ...]:
    lines = [
        ScopeLine(reading.source_id, name, scope.complete, scope.reason, scope.entries, scope.missing)
        for name, scope in sorted(reading.scopes.items())
    ]
    lines += [
        ScopeLine(reading.source_id, f"sentinel:{name}", False, "the sentinel entry is not visible")
        for name in sorted(reading.sentinels_missing)
    ]
    return tuple(lines)
