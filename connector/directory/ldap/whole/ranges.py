"""Members that a server gives in parts (``member;range=0-1499``), put together whole or not at all (D6).

The parts are no snapshot: whoever is removed between two of them moves the others up. So uSNChanged is asked for with
every part, and a group that changed meanwhile is read again from its start.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from connector.directory.base import Entry
from connector.directory.ldap.session.search import Proof, Query

MEMBER = "member"
_STEP = 1500
_ROUNDS = 3
_PART = re.compile(r"member;range=(\d+)-(\d+|\*)")
_VERSION = "uSNChanged"

Search = Callable[[Query], tuple[list[Entry], Proof]]


class _Part(NamedTuple):
    """Members from ``start`` on; ``following`` is where the next part begins, None after the last one."""

    key: str
    start: int
    following: int | None
    values: Sequence[bytes]


def ranged(attributes: Sequence[str]) -> list[str]:
    """The attributes to ask for in place of these: members from the first on, and the entry's version."""
    return [*(_asked(0) if name == MEMBER else name for name in attributes), _VERSION]


def whole(search: Search, entry: Entry) -> tuple[Entry, str]:
    """The entry with all its members under ``member`` and "", or as it came and why they are not all there.

    An entry with a part left in it is a group whose membership is not proved (``groups.group_entry``).
    """
    current = entry
    for _ in range(_ROUNDS):
        attributes = dict(current.attributes)
        part = _part(attributes)
        if part is None:
            return current, ""
        members, fault = _rest(search, current, part)
        if fault:
            return entry, fault
        if members is not None:
            del attributes[part.key]
            attributes[MEMBER] = tuple(members)
            return replace(current, attributes=attributes), ""
        found, proof = search(Query(entry.dn, "(objectClass=*)", [_asked(0), _VERSION]))
        if proof.reason or not found:
            return entry, f"its members were not read to their end: {proof.reason or 'it is gone'}"
        current = replace(entry, attributes={**_without_members(entry), **found[0].attributes})
    return entry, "its members changed again and again while they were read"


def _rest(search: Search, entry: Entry, part: _Part) -> tuple[list[bytes] | None, str]:
    """All members and "", or None when the entry changed meanwhile, or a fault."""
    members = list(part.values)
    version = entry.attributes.get(_VERSION.lower())
    while part.following is not None:
        begin = part.following
        found, proof = search(Query(entry.dn, "(objectClass=*)", [_asked(begin), _VERSION]))
        if proof.reason or not found:
            return None, f"its members from {begin} on were not read: {proof.reason or 'it is gone'}"
        if not version or found[0].attributes.get(_VERSION.lower()) != version:
            return (None, "") if version else (None, f"{_VERSION} is not visible, so that its parts may not fit")
        following = _part(found[0].attributes)
        if following is None or following.start != begin or not following.values:
            return None, f"the server gave no members from {begin} on"
        part = following
        members += part.values
    return members, ""


def _asked(start: int) -> str:
    return f"{MEMBER};range={start}-{start + _STEP - 1}"


def _part(attributes: Mapping[str, Sequence[bytes]]) -> _Part | None:
    for name, values in attributes.items():
        if found := _PART.fullmatch(name):
            following = None if found[2] == "*" else int(found[2]) + 1
            return _Part(name, int(found[1]), following, values)
    return None


def _without_members(entry: Entry) -> dict[str, Sequence[bytes]]:
    return {name: values for name, values in entry.attributes.items() if not name.startswith(MEMBER + ";")}
