"""Which columns a privacy mode may see of which Teams, and what stays hidden in small groups (R11, R12, R13c).

Pseudonyms are the default; ``reports:aggregate`` never gets a row about one person; named columns need the Team's
switch as well. Pure: no I/O here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from access.principal import Scope
from ledger.published.datasets import SEATS, USAGE_DAILY, Column, Dataset, Privacy
from ledger.reporting import TeamReporting
from ledger.seat import Tier


class Mode(StrEnum):
    """How people appear in answers; exactly one per credential."""

    AGGREGATE = "aggregate"
    PSEUDONYM = "pseudonym"
    NAMED = "named"


MODES: Mapping[Scope, Mode] = {
    Scope.REPORTS_AGGREGATE: Mode.AGGREGATE,
    Scope.REPORTS_PSEUDONYM: Mode.PSEUDONYM,
    Scope.REPORTS_NAMED: Mode.NAMED,
}

_CLASSES: Mapping[Mode, frozenset[Privacy]] = {
    Mode.AGGREGATE: frozenset({Privacy.PUBLIC, Privacy.AGGREGATE}),
    Mode.PSEUDONYM: frozenset({Privacy.PUBLIC, Privacy.AGGREGATE, Privacy.PSEUDONYM}),
    Mode.NAMED: frozenset(Privacy),
}

_EVIDENCE: Mapping[str, frozenset[str]] = {
    USAGE_DAILY.name: frozenset(USAGE_DAILY.names),
    SEATS.name: frozenset(
        {
            "days_used",
            "days_inactive",
            "last_used_on",
            "last_activity_state",
            "monthly_average",
            "reclaimable",
            "reason",
        }
    ),
}
"""Columns that say how one person used an offering: user-level usage (R11), shown only where it is switched on."""


def is_usage(dataset: Dataset) -> bool:
    """Whether the whole dataset is user-level usage (R11)."""
    return _EVIDENCE.get(dataset.name) == frozenset(dataset.names)


def listable(dataset: Dataset, mode: Mode) -> bool:
    """Whether the mode may list rows of the dataset at all."""
    return mode is not Mode.AGGREGATE or not dataset.per_user


def withheld(dataset: Dataset, mode: Mode, teams: Collection[TeamReporting]) -> dict[str, str]:
    """Columns that are not shown for these Teams together → the type of problem that says why."""
    found = {}
    for column in dataset.columns:
        reason = _reason(dataset, column, mode, teams)
        if reason:
            found[column.name] = reason
    return found


def _reason(dataset: Dataset, column: Column, mode: Mode, teams: Collection[TeamReporting]) -> str:
    if column.privacy not in _CLASSES[mode]:
        return "role-required"
    if column.privacy is Privacy.NAMED and not all(team.personal_data for team in teams):
        return "named-not-enabled"
    if column.name in _EVIDENCE.get(dataset.name, ()) and not all(team.user_level for team in teams):
        return "collection-disabled"
    return ""


def barred(dataset: Dataset, team: TeamReporting) -> str:
    """The type of problem that keeps a Team out of the dataset altogether, or nothing."""
    if team.tier is not Tier.BUSINESS:
        return "tier-required"
    return "collection-disabled" if is_usage(dataset) and not team.user_level else ""


@dataclass(frozen=True, slots=True)
class Cell:
    """One group of an aggregate: its label, how many people are in it, and its sums."""

    label: str
    people: int
    sums: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Suppressed:
    """Groups that may be shown, and the remainder of those that may not (None when nothing had to be hidden)."""

    shown: tuple[Cell, ...]
    remainder: Cell | None
    cells: int


def suppress(cells: Sequence[Cell], k: int) -> Suppressed:
    """Hide groups of fewer than ``k`` people in one remainder, so that sums still agree.

    A single hidden group could be found by subtraction, and so could a remainder of fewer than ``k`` people: then the
    smallest shown groups are hidden as well, until the remainder is safe or nothing is left to hide (then it is not
    given either). Groups are disjoint sets of people; groups without people hide nothing and are shown.
    """
    small = [cell for cell in cells if 0 < cell.people < k]
    if not small:
        return Suppressed(tuple(cells), None, 0)
    rest = sorted((cell for cell in cells if cell.people >= k), key=lambda cell: (cell.people, cell.label))
    while rest and (len(small) < 2 or sum(cell.people for cell in small) < k):
        small.append(rest.pop(0))
    hidden = {cell.label for cell in small}
    shown = tuple(cell for cell in cells if cell.label not in hidden)
    people = sum(cell.people for cell in small)
    if len(small) < 2 or people < k:
        return Suppressed(shown, None, len(small))
    sums = tuple(sum(column) for column in zip(*(cell.sums for cell in small), strict=True))
    return Suppressed(shown, Cell("(suppressed)", people, sums), len(small))
