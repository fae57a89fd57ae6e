"""What a directory says has changed since it was last read, and what single look-ups prove (D13, E1).

Pure: values only; no I/O here. A source that can follow its changes has ``changes`` and ``look`` (``Follower``); the
others are read whole each time. One that can be asked for what a reading does not show has ``trace`` (``Tracer``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, runtime_checkable

from connector.directory.base import Entry, Source
from connector.directory.groups import GroupEntry
from connector.directory.stand import Stand

MOST = 5_000
"""From this many changed entries on, reading everything is the better way: ``Changes.lost`` says so."""


@dataclass(frozen=True, slots=True)
class ChangesRequest:
    """``since``: the cursor of an earlier reading. ``attributes`` of people to return (lower case), as in
    ``ReadRequest``."""

    since: Mapping[str, Any]
    attributes: tuple[str, ...]
    deadline: timedelta = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed since a cursor, as it is now.

    ``people``: added or changed entries that are people, by anchor, whole. ``groups``: added or changed groups under
    the groups' base, whole. ``gone``: anchors that the server no longer shows: hints, each looked up before anything
    rests on it. ``deleted``: those of them whose deletion the server proves (AD ``isDeleted``). A syncrepl delete is no
    such proof: it is said alike of an entry that was deleted, hidden, moved out of the base, or left the filter
    (RFC 4533, E2). ``present``: where the server lists what did not
    change instead of what was deleted (RFC 4533 §3.3.2), every anchor it listed; None otherwise. ``deletes``: whether
    a deletion would have shown. ``lost``: why the changes are not all known; then nothing else counts and everything
    has to be read. ``groups_base``: changes of groups under this DN are told; others have to be looked up. ``cursor``:
    where the next call goes on. ``stand``: how new what was told may be. ``method``: one of syncrepl, contextCSN,
    modifyTimestamp, DirSync, uSNChanged.
    """

    source_id: str
    method: str
    people: Mapping[str, Entry] = field(default_factory=dict)
    groups: tuple[GroupEntry, ...] = ()
    gone: frozenset[str] = frozenset()
    deleted: frozenset[str] = frozenset()
    present: frozenset[str] | None = None
    cursor: Mapping[str, Any] = field(default_factory=dict)
    deletes: bool = True
    lost: str = ""
    groups_base: str = ""
    server: str = ""
    seconds: float = 0.0
    stand: Stand | None = None


@dataclass(frozen=True, slots=True)
class LookRequest:
    """Single entries to look up: ``people`` by anchor, ``groups`` by DN (as read) or ``anchor:<value>``."""

    people: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    deadline: timedelta = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Look:
    """What single look-ups showed. ``absent``: anchors proved not to be people there now (result 0, whole, under every
    base, with the sentinels visible). ``groups``: by what was asked for, whole; ``groups_absent``: what was asked for
    and does not exist. ``unknown``: why the others are not known; empty when everything was answered."""

    people: Mapping[str, Entry] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()
    groups: Mapping[str, GroupEntry] = field(default_factory=dict)
    groups_absent: frozenset[str] = frozenset()
    unknown: str = ""


@runtime_checkable
class Follower(Source, Protocol):
    """A source that can say what changed. Neither method raises for what the directory does wrong."""

    async def changes(self, request: ChangesRequest, *, now: datetime) -> Changes:
        """What changed since ``request.since``, from the server that gave the cursor (or ``lost``)."""
        ...

    async def look(self, request: LookRequest, *, now: datetime) -> Look:
        """Look up single entries."""
        ...


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """Linked entries that a reading did not show, by ``anchors``; ``attributes`` as in ``ReadRequest``."""

    anchors: tuple[str, ...]
    attributes: tuple[str, ...]
    deadline: timedelta = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Traced:
    """What is known of entries outside of what is read.

    ``found``: by anchor, those that are there, under another base or beside the filter. ``logins``: by anchor, the
    login names by which groups may list them. ``deleted``: anchors whose deletion the server proves (AD
    ``isDeleted``). Whoever is in neither may be deleted or hidden: that proves nothing. ``unknown``: why not everybody
    was asked for; empty when everybody was.
    """

    found: Mapping[str, Entry] = field(default_factory=dict)
    logins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    deleted: frozenset[str] = frozenset()
    unknown: str = ""


@runtime_checkable
class Tracer(Source, Protocol):
    """A source that can be asked for entries its readings leave out."""

    async def trace(self, request: TraceRequest, *, now: datetime) -> Traced:
        """Look for entries by anchor alone, wherever they are. Never raises for what the directory does wrong."""
        ...
