"""What a PATCH of a group does to its members, told apart from the rest (S-R36–S-R38, S-R42).

Pure: no I/O here. An empty list means nobody, never everybody; only ``remove`` without a value (or with null, which
is the same: RFC 7643 §2.5) and a whole ``replace`` empty a group.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Any

from connector.scim import filtering
from connector.scim.bending import Bending
from connector.scim.errors import Fault
from connector.scim.grammar import Filter, Path, Some, parse_path
from connector.scim.patching import Operation
from connector.scim.resources import member_ids
from connector.scim.schemas import GROUP_URN
from ledger.identity import fold

_SORTED = 5000


class Deed(StrEnum):
    """add these · remove these · make it exactly these."""

    ADD = "add"
    REMOVE = "remove"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing done to the members of a group. ``typed``: (id, folded ``type`` that it must have to be meant too)."""

    deed: Deed
    ids: tuple[str, ...]
    typed: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Change:
    """What became of the members: ids that came, that went, and that do not exist.

    ``shrunk``: how many a whole list took at once, where that is worth an alert (S-R41).
    """

    added: set[str]
    removed: set[str]
    unknown: set[str]
    shrunk: int = 0

    @classmethod
    def none(cls) -> Change:
        """Nothing yet."""
        return cls(set(), set(), set())

    def came(self, ids: frozenset[str]) -> None:
        """These are in the group and were not."""
        self.added |= ids - self.removed
        self.removed -= ids

    def went(self, ids: frozenset[str]) -> None:
        """These are out of the group and were in it."""
        self.removed |= ids - self.added
        self.added -= ids

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)

    def to_json(self) -> dict[str, dict[str, list[str]]]:
        """``members`` for the record of the push, in order unless there are very many; nothing when there is nothing
        to say."""
        parts = {"added": self.added, "removed": self.removed, "unknown": self.unknown}
        told = {name: sorted(ids) if len(ids) <= _SORTED else list(ids) for name, ids in parts.items() if ids}
        return {"members": told} if told else {}


def told_apart(wanted: Sequence[Operation], bending: Bending) -> tuple[list[Operation], list[Step]]:
    """(operations on the group itself, steps on its members), each in order; raises ``Fault``."""
    own: list[Operation] = []
    steps: list[Step] = []
    for operation in wanted:
        if not operation.path:
            _without_path(operation, own, steps, bending)
            continue
        path = parse_path(operation.path, strict=bending.strict)
        if _is_members(path):
            steps += _step(path, operation, bending)
        else:
            own.append(operation)
    return own, _joined(steps)


def compared(there: Collection[str], wanted: Collection[str]) -> tuple[list[str], list[str]]:
    """(who goes, who comes), in order, so that exactly ``wanted`` are there."""
    before, after = set(there), set(wanted)
    return [one for one in there if one not in after], [one for one in wanted if one not in before]


def _joined(steps: Sequence[Step]) -> list[Step]:
    """What is added or removed in a row, at once."""
    found: list[Step] = []
    for deed, run in groupby(steps, key=lambda step: step.deed):
        row = list(run)
        if deed is not Deed.REPLACE:
            ids = dict.fromkeys(one for step in row for one in step.ids)
            row = [Step(deed, tuple(ids), tuple(one for step in row for one in step.typed))]
        found += row
    return found


def _without_path(operation: Operation, own: list[Operation], steps: list[Step], bending: Bending) -> None:
    if not isinstance(operation.value, Mapping):
        own.append(operation)  # patching says what is wrong
        return
    rest: dict[str, Any] = {}
    for key, value in operation.value.items():
        if key.lower() in ("members", f"{GROUP_URN}:members".lower()):
            steps += _whole(Operation(operation.verb, key, value, given=True), bending)
        else:
            rest[key] = value
    own.append(Operation(operation.verb, "", rest, given=True))


def _is_members(path: Path) -> bool:
    return path.name.attribute.lower() == "members" and path.name.urn in ("", GROUP_URN)


def _step(path: Path, operation: Operation, bending: Bending) -> list[Step]:
    if path.chosen is None and not path.name.sub:
        return _whole(operation, bending)
    if path.chosen is None or operation.verb != "remove" or path.sub or path.name.sub:
        if path.sub or path.name.sub:  # what a member is called is the member's own to say
            bending.bend("left alone: parts of members are not kept", "mutability", where="members")
            return []
        raise Fault("members are chosen only to remove them", "invalidPath", where=operation.path[:80])
    if operation.given and operation.value is not None:
        bending.note("members: a value beside a filter is not looked at")
    return [_chosen(part, operation.path, bending) for part in _either(path.chosen)]


def _whole(operation: Operation, bending: Bending) -> list[Step]:
    """``members`` itself, with a list, one object, bare text, null, or no value at all."""
    if operation.verb == "remove":
        if operation.value is None:
            return [Step(Deed.REPLACE, ())]
        bending.bend("remove with values in place of a filter", "invalidPath", where="members")
    ids = member_ids(operation.value, bending)
    if operation.verb == "replace" and not ids and operation.value not in (None, []):  # not read is not empty
        bending.bend("no id can be read: nobody is added or removed", "invalidValue", where="members")
        return []
    return [Step(Deed(operation.verb), ids)]


def _either(chosen: Filter) -> tuple[Filter, ...]:
    return chosen.parts if isinstance(chosen, Some) else (chosen,)


def _chosen(part: Filter, path: str, bending: Bending) -> Step:
    """``value eq "…"``, also with ``and type eq "…"``; whatever else does not name somebody is refused."""
    told = filtering.implied(part) or {}
    if "value" not in told or len(told) < len(filtering.terms(part)):
        raise Fault('members are chosen by value eq "…", joined by or', "invalidFilter", where=path[:80])
    for name in sorted(told.keys() - {"value", "type"}):  # who is meant is said by the id
        bending.bend("not kept of members: not looked at", "invalidFilter", where=name[:80])
    if "type" in told:
        return Step(Deed.REMOVE, (), ((told["value"], fold(told["type"])),))
    return Step(Deed.REMOVE, (told["value"],))
