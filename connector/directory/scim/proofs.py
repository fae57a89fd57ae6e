"""The seven proofs that a SCIM list was read whole; each says in words what is not proved, or nothing (S-R61, D1).

Pure: no I/O here. A list that fails one proof is unknown: whom it names may be added, nobody may be removed by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ledger.counted import counted


@dataclass(slots=True)
class Trail:
    """One pass over a list, as it went.

    ``ids``: in the order read, each once (``seen``: the same, as a set); ``totals``: totalResults of every page (None:
    the page did not say); ``sizes``: resources per page, and how many each page was ``asked`` for; ``first``: ids of
    page 1; ``repeated``: ids that came twice; ``torn``: pages that did not begin where the one before ended; ``ended``:
    the server itself showed the end (an empty page, or no further cursor); ``second``: ids of a second pass, where one
    was needed; ``again`` and ``again_total``: page 1 and the total, asked for once more at the end; ``nameless``:
    resources without an id.
    """

    by_cursor: bool = False
    ids: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    totals: list[int | None] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    asked: int = 0
    first: tuple[str, ...] = ()
    repeated: list[str] = field(default_factory=list)
    torn: list[int] = field(default_factory=list)
    ended: bool = False
    second: Sequence[str] | None = None
    again: tuple[str, ...] | None = None
    again_total: int | None = None
    nameless: int = 0

    @property
    def total(self) -> int | None:
        """What the first page said."""
        return self.totals[0] if self.totals else None


def same_total(trail: Trail) -> str:
    """Proof 1: totalResults is equal on every page."""
    said = {total for total in trail.totals if total is not None}
    if len(said) > 1:
        return f"totalResults changed from {trail.total} to {trail.totals[-1]} while the pages were read"
    return ""


def all_counted(trail: Trail) -> str:
    """Proof 2: as many different ids came as totalResults says; nothing came without an id."""
    if trail.nameless:
        return f"{counted(trail.nameless, 'resource')} without an id"
    stopped = bool(trail.torn)  # then the count says nothing new
    if not stopped and trail.total is not None and trail.total != len(trail.ids):
        return f"totalResults says {trail.total}, and {len(trail.ids)} different ids came"
    return ""


def none_twice(trail: Trail) -> str:
    """Proof 3: no id came twice."""
    if trail.repeated:
        more = f" (and {len(trail.repeated) - 1} more)" if len(trail.repeated) > 1 else ""
        return f"the id {trail.repeated[0]} came twice{more}: the list has no order, or it changed while it was read"
    return ""


def walked_to_the_end(trail: Trail) -> str:
    """Proof 4: every page began where the one before ended, and the server itself showed the end."""
    if trail.torn:
        return f"page {trail.torn[0]} did not begin where the page before it ended: the list moved while it was read"
    if not trail.ended:
        return "the end of the list was not reached"
    if trail.second is not None and set(trail.second) != set(trail.ids):
        return "two passes over the list found different ids: it moved while it was read"
    return ""


def short_pages_followed(trail: Trail) -> str:
    """Proof 5: a page shorter than asked for is legal, and never taken for the end by itself."""
    short = [place for place, size in enumerate(trail.sizes) if size < trail.asked]
    if short and not trail.ended and short[-1] == len(trail.sizes) - 1:
        return f"page {short[-1] + 1} was shorter than asked for, and nothing shows that it was the last"
    return ""


def nothing_moved(trail: Trail) -> str:
    """Proof 6: page 1 and the total, asked for again at the end, are as they were."""
    if trail.again is None:
        return "page 1 was not read again at the end"
    if trail.again != trail.first:
        return "page 1 was another at the end than at the beginning: the list moved while it was read"
    if None not in (trail.total, trail.again_total) and trail.total != trail.again_total:
        return f"totalResults was {trail.total} at the beginning and {trail.again_total} at the end"
    return ""


def not_shrunk(trail: Trail, most: int, percent: int) -> str:
    """Proof 7: the list did not lose more than ``percent`` of the ``most`` it had earlier in this run.

    What is lost between two runs is counted by the limits on harm (G1), which hold it for approval.
    """
    if most and len(trail.ids) * 100 < most * (100 - percent):
        return f"the list shrank from {most} to {len(trail.ids)} between two readings of one run"
    return ""


PROOFS: tuple[Callable[[Trail], str], ...] = (
    same_total,
    all_counted,
    none_twice,
    walked_to_the_end,
    short_pages_followed,
    nothing_moved,
)
"""Proofs 1 to 6; the seventh needs to know what was read before."""


def fault(trail: Trail, *, most: int = 0, percent: int = 20) -> str:
    """The first thing that is not proved; empty: the list was read whole."""
    return next((said for proof in PROOFS if (said := proof(trail))), "") or not_shrunk(trail, most, percent)
