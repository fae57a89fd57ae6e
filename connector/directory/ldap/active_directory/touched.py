"""Which objects of a domain changed, before they are read: what DirSync and uSNChanged have in common (D13).

Pure: values only; no I/O here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Touch:
    """One object that changed and lives. ``new``: it did not exist before. ``attributes``: which of its attributes
    changed (lower case, without options); None where the server does not say."""

    dn: str
    new: bool = False
    attributes: frozenset[str] | None = None

    @property
    def renamed(self) -> bool:
        """Whether it may have had another DN before, and whatever lies below it too."""
        return not self.new and (self.attributes is None or "name" in self.attributes)

    def may_enter(self, asserted: frozenset[str]) -> bool:
        """Whether it may not have been seen before though it existed: it moved, or what the filters look at changed."""
        return self.renamed or (not self.new and not asserted.isdisjoint(self.attributes or ()))


@dataclass(slots=True)
class Touched:
    """What changed since a position, by objectGUID. ``cookie``: where DirSync goes on."""

    live: dict[bytes, Touch] = field(default_factory=dict)
    deleted: set[bytes] = field(default_factory=set)
    cookie: bytes = b""

    def __len__(self) -> int:
        return len(self.live) + len(self.deleted)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a reading stands in a domain controller's changes; ``of`` and ``as_cursor`` are each other's reverse.

    ``invocation``: which database the number counts in; ``usn``: its highest update sequence number then; ``cookie``:
    DirSync's, empty for uSNChanged.
    """

    invocation: str
    usn: int
    cookie: str = ""

    @property
    def method(self) -> str:
        """DirSync or uSNChanged."""
        return "DirSync" if self.cookie else "uSNChanged"

    def as_cursor(self) -> dict[str, str | int | bool]:
        """For a reading's cursor."""
        cursor: dict[str, str | int | bool] = {"method": self.method, "invocation": self.invocation, "usn": self.usn}
        return cursor | ({"cookie": self.cookie} if self.cookie else {})


def position(cursor: Mapping[str, object]) -> Position | None:
    """The position in a cursor; None when there is none that could be trusted."""
    invocation, usn, cookie = cursor.get("invocation"), cursor.get("usn"), cursor.get("cookie", "")
    if not (
        isinstance(invocation, str) and invocation and isinstance(usn, int) and usn > 0 and isinstance(cookie, str)
    ):
        return None
    found = Position(invocation, usn, cookie)
    return found if found.method == cursor.get("method") else None
