"""Decides how each directory is read: whole, or only what it says has changed (D13), and says when the two disagree.

Prohibition: decides nothing about anybody. Whatever cannot be followed is read whole, with the reason noted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import msgspec

from connector.directory.changes import Changes, Follower
from connector.reconcile.plan.changes import Problem, ScopeLine
from connector.reconcile.policy.policy import Policy
from connector.reconcile.reading.changes import Track, Unproved, ask, follow
from connector.reconcile.reading.last_reading import Delta
from connector.reconcile.reading.memory import Linked, Memory, Observed
from connector.reconcile.reading.overlay import Overlay
from connector.reconcile.reading.traced import traced
from connector.reconcile.reading.whole import Configured, Progress, differs, read, read_all, scope_lines, stands_of

CHANGES = "changes"
"""The scope of a reading of changes only."""
DELETIONS_EVERY = timedelta(hours=1)
"""How long a deleted entry may go unnoticed where changes do not tell deletions: then everything is read."""
DRIFT = "drift"
"""The scope, and the problem, of what a whole reading found and the changes did not tell."""
_SHOWN = 20
elapsed = time.monotonic
"""Seconds that no clock set by anybody changes."""


async def observe(
    sources: Sequence[Configured],
    policy: Policy,
    now: datetime,
    progress: Progress | None = None,
    memory: Memory | None = None,
    linked: Sequence[Linked] | None = None,
    began: float | None = None,
) -> Observed:
    """Read all sources. Unknown scopes are part of the answer, never an error. Without ``memory`` everybody is read and
    mapped, and nothing is kept (``plan``); ``linked`` then says who is asked after when no directory shows them. The
    answer says when the last reading ended: ``now`` and what was spent since ``began`` (None: since it was asked)."""
    began = elapsed() if began is None else began
    observed = await _observed(sources, policy, now, progress, memory)
    observed = await traced(sources, policy, observed, now, linked)
    return replace(observed, ended=now + timedelta(seconds=max(0.0, elapsed() - began)))


async def _observed(
    sources: Sequence[Configured], policy: Policy, now: datetime, progress: Progress | None, memory: Memory | None
) -> Observed:
    if memory is None:
        return await read_all(sources, policy, now, progress)
    tracks = _tracks(sources, policy, memory, now)
    if memory.base is not None and any(memory.followable(track.last, now) for track in tracks.values()):
        try:
            return await _followed(sources, policy, now, progress, memory)
        except Unproved as error:
            observed = await read_all(sources, policy, now, progress, memory)
            return replace(observed, notes=(Problem("read-whole", f"everything was read: {error}"),))
    observed = await read_all(sources, policy, now, progress, memory)
    told = await asyncio.gather(*(_told(track, memory) for track in tracks.values()))  # after it: nothing in between
    for changes in told:
        if changes is not None and changes.source_id in observed.overlays:
            observed = _with_drift(observed, changes)
    return observed


def _tracks(sources: Sequence[Configured], policy: Policy, memory: Memory, now: datetime) -> dict[str, Track]:
    """The sources whose changes can be asked for: they were read before, by the same rules, and gave a cursor."""
    found: dict[str, Track] = {}
    for item in sources:
        last = memory.comparable(item.source.id, item.rules, policy)
        if isinstance(item.source, Follower) and last is not None and item.source.id in memory.cursors:
            found[item.source.id] = Track(item.source, item.rules, last, policy, now)
    return found


async def _followed(
    sources: Sequence[Configured], policy: Policy, now: datetime, progress: Progress | None, memory: Memory
) -> Observed:
    """The changes of those that tell them, and the others whole. Raises ``Unproved``."""
    tracks = {
        source_id: track
        for source_id, track in _tracks(sources, policy, memory, now).items()
        if memory.followable(track.last, now)
    }
    whole = [item for item in sources if item.source.id not in tracks]
    told = asyncio.gather(*(ask(track, memory.cursors[source_id]) for source_id, track in tracks.items()))
    changes, readings = await asyncio.gather(
        told, asyncio.gather(*(read(item, policy, now, progress) for item in whole))
    )
    for found, track in zip(changes, tracks.values(), strict=True):
        if not found.deletes and now - track.last.whole_at >= DELETIONS_EVERY:
            raise Unproved(
                f"{found.method} does not tell deletions of directory {track.source.id}: they are looked for"
            )
    overlays = {
        source_id: Overlay(track.last, Delta(source_id), track.rules, now) for source_id, track in tracks.items()
    }
    for item, reading in zip(whole, readings, strict=True):
        delta = await differs(item, reading, policy, memory)
        if delta is None:
            raise Unproved(f"directory {item.source.id} was not read to its end, or never before")
        overlays[item.source.id] = Overlay(memory.readings[item.source.id], delta, item.rules, now)
    cursors = {reading.source_id: reading.cursor for reading in readings if reading.cursor}
    stands = stands_of(readings)
    stands |= {found.source_id: found.stand for found in changes if found.stand is not None}
    lines = [line for reading in readings for line in scope_lines(reading)]
    async with memory.ledger.read(memory.organization) as reader:
        for (source_id, track), found in zip(tracks.items(), changes, strict=True):
            followed = await follow(reader, track, found, overlays, memory.pending)
            overlays[source_id] = Overlay(track.last, followed.delta, track.rules, now)
            cursors[source_id] = followed.cursor
            count = len(followed.delta.entries) + len(followed.delta.gone)
            lines.append(ScopeLine(source_id, CHANGES, True, entries=count))
    return Observed(
        {}, cursors, near=True, scopes=tuple(lines), overlays=overlays, memory=memory, followed=frozenset(tracks),
        stands=stands, rules={item.source.id: item.rules for item in sources},
    )  # fmt: skip


async def _told(track: Track, memory: Memory) -> Changes | None:
    """What a source says has changed, to be held against a whole reading; None when it cannot say."""
    try:
        return await ask(track, memory.cursors[track.source.id])
    except Unproved:
        return None


def _with_drift(observed: Observed, changes: Changes) -> Observed:
    """With what a whole reading differs in from the last one and the changes did not tell, as evidence and as a report
    (D13)."""
    source_id, names = changes.source_id, _untold(observed.overlays[changes.source_id].delta, changes)
    line = ScopeLine(source_id, DRIFT, True, entries=len(names))
    if observed.near:
        observed = replace(observed, scopes=(*observed.scopes, line))
    else:
        seen = observed.sources[source_id]
        sources = {**observed.sources, source_id: msgspec.structs.replace(seen, scopes=(*seen.scopes, line))}
        observed = replace(observed, sources=sources)
    if not names:
        return observed
    what = f"{len(names)} entries of directory {source_id} changed and {changes.method} did not tell"
    return replace(observed, notes=(*observed.notes, Problem(DRIFT, what, tuple(names[:_SHOWN]))))


def _untold(delta: Delta, changes: Changes) -> list[str]:
    """DNs (of people who are gone: anchors) of what differs and was not told."""
    told = changes.people.keys() | changes.gone | {group.anchor for group in changes.groups}
    missed = {anchor for anchor in (*delta.entries, *delta.gone) if anchor not in told}
    if changes.present is not None:
        missed -= delta.gone - changes.present
    if not changes.deletes:
        missed -= delta.gone  # this method never tells of deletions, and says so
    names = sorted(delta.entries[anchor].dn if anchor in delta.entries else anchor for anchor in missed)
    return names + sorted(
        view.dn for view in delta.groups.values() if view.anchor not in told and not view.nested and not view.unresolved
    )
