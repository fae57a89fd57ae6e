"""What every directory source returns: a ``Reading`` of scopes complete or unknown, never silently empty (D1, D2).

Pure: values and protocols only; no client library here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from connector.directory.stand import Stand


class ScopeState(StrEnum):
    """Whether absence from a scope proves anything."""

    COMPLETE = "complete"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Scope:
    """One part of a reading (a people base, a mapped group) with its own proof of completeness.

    ``name``: ``people:<base DN or file>`` or ``group:<reference as configured>``. ``reason`` is empty when complete and
    otherwise says what was not proved, in words an operator can act on. ``codes`` are the LDAP result codes (or HTTP
    statuses) of every page in order. ``missing`` marks a group that does not exist (D2: a configuration fault that
    freezes its mapping; not an empty group).
    """

    name: str
    state: ScopeState
    reason: str = ""
    server: str = ""
    pages: int = 0
    codes: tuple[int, ...] = ()
    entries: int = 0
    seconds: float = 0.0
    missing: bool = False

    @property
    def complete(self) -> bool:
        """True only when every page succeeded and the end was reached."""
        return self.state is ScopeState.COMPLETE


@dataclass(frozen=True, slots=True)
class Entry:
    """One directory entry, raw. ``attributes``: lower-case name (options kept, ``mail;lang-pl``) → values in order."""

    anchor: str
    dn: str
    attributes: Mapping[str, Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Listing:
    """What one group lists itself. ``people``: anchors; ``logins``: of those it lists by login name, under which ones.

    ``groups``: name → anchor of the group it means; ``unresolved``: name → the value as written, of what nobody and no
    group that was read answers to. Names are in the form that is compared: a DN's key, ``memberUid=`` with the login
    name folded (E3). ``anchor``: of the group, its DN's key where it shows none. ``left``: None where not being listed
    says that somebody left; else the names of all who were told to be out, and nobody else is (G6).
    """

    anchor: str
    dn: str
    people: frozenset[str] = frozenset()
    logins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    unresolved: Mapping[str, str] = field(default_factory=dict)
    left: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class GroupView:
    """One mapped group with its transitive people.

    ``reference`` is the group as configured; ``members`` are anchors of people; ``paths`` gives, for members that came
    through nested groups, the group names walked from the mapped group to the person's own group (absent = direct);
    ``unresolved`` are member values that name nobody we read (foreign principals, hidden or unread entries): each is
    unknown by itself, whoever held access through this group keeps it while its value is unresolved.
    ``nested``: DN keys of the groups inside it; ``by_uid``: whether any of them names people by login name.
    ``listings``: what the group and each one inside it list themselves, its own first.
    """

    reference: str
    anchor: str
    dn: str
    name: str
    members: frozenset[str]
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unresolved: frozenset[str] = frozenset()
    nested: tuple[str, ...] = ()
    by_uid: bool = False
    listings: tuple[Listing, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """One pass over a source.

    ``people`` by anchor; ``groups`` by configured reference (a group that could not be read is not in it, its scope
    says why); ``scopes`` by name, always one ``people:`` scope per base and one ``group:`` scope per requested
    reference.
    ``tombstones``: anchors known deleted by positive evidence; ``deletions_told``: every deletion is among them, so
    that not being among the people alone proves nothing. ``sentinels_missing``: configured sentinel DNs that were
    not visible (the scopes they vouch for are unknown then).
    ``cursor`` is opaque, None where the source has no incremental reading. ``listings``: of groups that no mapped group
    reaches now, where values name nobody: one of them may be what such a value meant. ``stand``: how new what was read
    is; None where nothing was read, or where no server can be behind (our own inbox).
    """

    source_id: str
    started_at: datetime
    finished_at: datetime
    people: Mapping[str, Entry]
    groups: Mapping[str, GroupView]
    scopes: Mapping[str, Scope]
    tombstones: frozenset[str] = frozenset()
    sentinels_missing: frozenset[str] = frozenset()
    cursor: Mapping[str, Any] | None = None
    incremental: bool = False
    deletions_told: bool = False
    listings: tuple[Listing, ...] = ()
    stand: Stand | None = None

    @property
    def people_complete(self) -> bool:
        """Whether every people base is complete (and every sentinel was visible)."""
        bases = [scope for name, scope in self.scopes.items() if name.startswith("people:")]
        return bool(bases) and all(scope.complete for scope in bases) and not self.sentinels_missing

    def group_complete(self, reference: str) -> bool:
        """Whether membership of the mapped group ``reference`` is proved."""
        scope = self.scopes.get(f"group:{reference}")
        return scope is not None and scope.complete


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """What to read: ``groups`` (references: DN, name, or ``anchor:<value>``), ``attributes`` of people (lower case),
    and the total ``deadline``. ``progress`` is called with (entries, pages, scopes done) from any thread."""

    groups: tuple[str, ...]
    attributes: tuple[str, ...]
    deadline: timedelta = timedelta(minutes=10)
    progress: Callable[[int, int, int], None] | None = None


class Source(Protocol):
    """A directory. ``read`` never raises for what the directory does wrong: it returns unknown scopes that say why."""

    @property
    def id(self) -> str:
        """The source's id in the organization file; part of every link."""
        ...

    async def read(self, request: ReadRequest, *, now: datetime) -> Reading:
        """Read people and the requested groups. ``now`` stamps the reading."""
        ...

    async def check(self, request: ReadRequest) -> Checked:
        """Really connect, and read once: one line per step, failures with their fix."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True, slots=True)
class CheckLine:
    """One step of ``rosterd check --live``: ``fix`` is the exact next step when it is not ``ok``, or ``note``: nothing
    is wrong, and something is left to do."""

    ok: bool
    what: str
    fix: str = ""
    note: bool = False


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check of one directory saw, and the reading it made; None where nothing let it in."""

    lines: Sequence[CheckLine]
    reading: Reading | None = None
