"""What columns a file has: the one table by which its decoder judges a header, and templates and guides name it.

Pure: no I/O here.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ledger.errors import BadInput


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a file."""

    name: str
    needed: bool
    """Whether every row must fill it."""
    holds: str
    """What a cell may be: its form, its limits, the values that are allowed, and what is meant where it is empty."""
    about: str
    """What it is and where it comes from."""
    examples: tuple[Any, ...] = ()
    """Its value in each example row of the template; None where that row leaves it empty."""


def named(cell: str) -> str:
    """A cell of a header as the name of a column: letter case, space and hyphens are not told apart."""
    return "_".join(cell.replace("-", " ").replace("_", " ").split()).casefold()


def header(cells: Sequence[str], columns: Sequence[Column], next_step: str, where: str = "") -> list[str]:
    """The names of the columns that a file has, by its header, which stands at ``where``.

    Raises ``BadInput`` naming every missing, unknown and repeated column, with ``next_step``.
    """
    known = [column.name for column in columns]
    found = [named(cell) for cell in cells]
    faults = [f"column {column.name} is missing" for column in columns if column.needed and column.name not in found]
    faults += [
        f"column {cell.strip()[:80]!r} is unknown{_close(name, known)}"
        for cell, name in zip(cells, found, strict=True)
        if name not in known
    ]
    faults += [f"column {name} is repeated" for name in known if found.count(name) > 1]
    if faults:
        raise BadInput("; ".join(faults), where=where, next_step=next_step)
    return found


def cut_to(cells: list[str], length: int) -> list[str]:
    """A row without its empty cells beyond ``length``: spreadsheets write some where a column was cleared."""
    while len(cells) > length and not cells[-1].strip():
        cells.pop()
    return cells


def _close(name: str, known: Sequence[str]) -> str:
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f": did you mean {found[0]!r}?" if found else ""
