"""One person asked for in one directory: what is asked, what is answered, and how a whole reading answers it (P6).

Pure: values and protocols only; no I/O here. An answer is for people to read; it never proves that somebody is gone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import idna

from connector.directory.assembly import GROUP, PEOPLE
from connector.directory.base import Entry, Reading
from connector.directory.mapping import AttributeRules
from ledger.identity import Email


@dataclass(frozen=True, slots=True)
class FindRequest:
    """Whom to look for: addresses as typed or known, and anchors the ledger links to the person in this directory.

    ``groups``: the references to say membership of (DN, name, or ``anchor:<value>``). All of it ends by ``deadline``.
    """

    mails: tuple[str, ...]
    anchors: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    deadline: timedelta = timedelta(minutes=2)

    @property
    def keys(self) -> frozenset[str]:
        """Comparable forms of the addresses."""
        return frozenset(key for text in self.mails if (key := _key(text)))


@dataclass(frozen=True, slots=True)
class FoundEntry:
    """An entry with the requested groups that reach it: reference → group names walked from the mapped group to the
    person's own group (one name: a direct member)."""

    entry: Entry
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a directory answered. ``unread``: why it could not be asked, or not to the end, and nobody was found.

    ``unread_groups``: reference → why membership of it is not known. ``outside``: DNs of entries with the address that
    are nobody to us (the people filter leaves them out). ``server``: which one answered.
    """

    source_id: str
    entries: tuple[FoundEntry, ...] = ()
    unread: str = ""
    unread_groups: Mapping[str, str] = field(default_factory=dict)
    outside: tuple[str, ...] = ()
    server: str = ""


class Finder(Protocol):
    """Looks for one person. ``find`` never raises for what the directory does wrong: the answer says why."""

    @property
    def id(self) -> str:
        """The directory's id in the organization file."""
        ...

    async def find(self, request: FindRequest, *, now: datetime) -> Finding:
        """Ask the directory now; ``now`` stamps what is read."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


def spellings(mails: Collection[str]) -> tuple[str, ...]:
    """Every way a directory may have written these addresses: as given, by key, with the domain in its own script."""
    found: dict[str, None] = {}
    for text in mails:
        found[text.strip()] = None
        if key := _key(text):
            found[key] = None
            local, _, domain = key.rpartition("@")
            try:
                found[f"{local}@{idna.decode(domain)}"] = None
            except idna.IDNAError:
                continue
    return tuple(found)


def addresses(entry: Entry, rules: AttributeRules) -> frozenset[str]:
    """Comparable forms of every address in the attributes the mail is mapped from, ``mail;lang-pl`` too."""
    names = set(rules.fields["mail"])
    values = (
        value.decode("utf-8", "replace")
        for name, found in entry.attributes.items()
        if name in names or name.partition(";")[0] in names
        for value in found
    )
    return frozenset(key for text in values if (key := _key(text)))


def is_meant(entry: Entry, rules: AttributeRules, request: FindRequest) -> bool:
    """Whether the entry has one of the addresses or anchors."""
    return entry.anchor in request.anchors or bool(addresses(entry, rules) & request.keys)


def of_reading(reading: Reading, request: FindRequest, rules: AttributeRules) -> Finding:
    """The answer of a whole reading, for directories that cannot be asked for one person."""
    meant = [entry for entry in reading.people.values() if is_meant(entry, rules, request)]
    reached = {
        reference: (view, view.paths) for reference, view in reading.groups.items() if reference in request.groups
    }
    entries = tuple(
        FoundEntry(
            entry,
            {
                reference: paths.get(entry.anchor) or (view.name,)
                for reference, (view, paths) in reached.items()
                if entry.anchor in view.members
            },
        )
        for entry in meant
    )
    scopes = reading.scopes.items()
    doubts = dict.fromkeys(scope.reason for name, scope in scopes if name.startswith(PEOPLE) and not scope.complete)
    unread = {name.removeprefix(GROUP): scope.reason
              for name, scope in scopes if name.startswith(GROUP) and not scope.complete}  # fmt: skip
    server = next((scope.server for _, scope in scopes if scope.server), "")
    return Finding(reading.source_id, entries, "" if entries else "; ".join(doubts), unread if entries else {},
                   server=server)  # fmt: skip


def _key(text: str) -> str:
    try:
        return Email.parse(text).key
    except ValueError:
        return ""
