"""What a membership through a group rests on, and whether the group still lists it (E3). Pure: no I/O, no clock here.

An edge is one member value: the DN or login name of a person, or the DN of a group on the way to them. It is broken
when its group was read and does not list it, or lists it and the value names another entry that was read now. While the
value is listed and names nobody who was read, it stands: its person may have been renamed, moved or hidden, and the
group not been told. What a membership rests on is taken from the cause it was granted with, which names all of that.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Protocol

import msgspec

from connector.directory import dn
from ledger.identity import fold

_ARROW, _STEP = " → ", " / "
LOGIN = "memberUid="
"""How a reading marks a member value that is a login name."""


class Listing(Protocol):
    """What a group shows beside its members."""

    @property
    def unresolved(self) -> Iterable[str]:
        """Member values, of the group and of those inside it, that name nobody who was read."""


class Edges(msgspec.Struct, frozen=True):
    """The names by which a group listed somebody. ``key``: of the DN; ``uid``: the login name, where the DN begins with
    one; ``inner``: names of the groups between the mapped one and the person. All in the form that is compared."""

    key: str = ""
    uid: str = ""
    inner: frozenset[str] = frozenset()

    def standing(self, group: Listing) -> str:
        """A member value that still means this person, though nobody who was read answers to it; empty: none does."""
        return next((value for value in sorted(group.unresolved) if self._means(value)), "")

    def _means(self, value: str) -> bool:
        if value.startswith(LOGIN):
            return bool(self.uid) and fold(value.removeprefix(LOGIN)) == self.uid
        key, first = _names(value)
        return bool(key) and (key == self.key or bool(self.inner & first))


@lru_cache(maxsize=4096)
def edges_of(cause: str) -> Edges:
    """The edges in the cause of a membership (``DN → group / inner group → mapping ID``); none where it names none."""
    name, arrow, rest = cause.partition(_ARROW)
    key, _ = _names(name)
    if not arrow or not key:
        return Edges()
    login = next((text for kind, text in dn.parse(name)[0] if kind == "uid"), "")
    steps = rest.partition(_ARROW)[0].split(_STEP)[1:]
    return Edges(key, fold(login), frozenset(map(fold, steps)))


def came_through(cause: str, name: str) -> bool:
    """Whether the cause of a membership names groups inside the mapped one, which is called ``name``."""
    steps = cause.partition(_ARROW)[2].partition(_ARROW)[0]
    return _STEP in steps and steps != name


@lru_cache(maxsize=4096)
def _names(value: str) -> tuple[str, frozenset[str]]:
    """The key of a DN and the values of its first part; empty for what is no DN."""
    if not dn.looks_like_dn(value):
        return "", frozenset()
    try:
        return dn.key(value), frozenset(fold(text) for _, text in dn.parse(value)[0])
    except ValueError:
        return "", frozenset()
