"""The values of an undo: the rows around a run, and what is to be ended and begun again (A3). Pure: no I/O here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connector.reconcile.plan import Change, Problem
from connector.reconcile.seating import PoolKey

FIRST_IN_LINE = -1
"""Waitlist priority of somebody whose seat could not be restored."""

KEYS: dict[str, Callable[[Any], tuple[str, ...]]] = {
    "identity": lambda row: (row.id,),
    "links": lambda row: (row.kind, row.source_id, row.anchor),
    "memberships": lambda row: (row.identity_id, row.team_id, row.provenance),
    "seats": lambda row: (row.id,),
    "grants": lambda row: (row.seat_id, row.provenance, row.team_id),
    "waiting": lambda row: (row.identity_id, row.team_id, row.offering_code, row.provenance),
    "roles": lambda row: (row.identity_id, row.role, row.team_id),
    "groups": lambda row: (row.identity_id, row.group_id),
}
"""What makes two rows of a table the same thing at different times."""


@dataclass(frozen=True, slots=True)
class Touched:
    """Rows by table: what the run began or ended (``rows``), and what is open now about the same people (``open``)."""

    run_id: str
    rows: Mapping[str, Sequence[Any]]
    open: Mapping[str, Sequence[Any]]
    team_names: Mapping[str, str]
    free: Mapping[PoolKey, int]
    frozen: Callable[[str], str]
    """Why the person with a mail key may not be changed now; empty when they may."""
    group_names: Mapping[str, str] = field(default_factory=dict)
    """Kept groups by id."""


@dataclass(slots=True)
class Restoration:
    """What to end (row ids) and begin (old rows with replaced values) by table, in words, and what is kept."""

    end: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in KEYS})
    begin: dict[str, list[tuple[Any, dict[str, Any]]]] = field(default_factory=lambda: {name: [] for name in KEYS})
    changes: list[tuple[str, Change]] = field(default_factory=list)
    kept: list[Problem] = field(default_factory=list)
    waiting: list[tuple[str, str, str]] = field(default_factory=list)
    """(identity, Team id, offering) of people whose seat cannot come back."""

    @property
    def people(self) -> list[str]:
        """Identities it changes, each once."""
        return sorted({identity for identity, _ in self.changes})


def bundled(changes: Iterable[tuple[str, Change]]) -> dict[str, list[Change]]:
    """Changes by identity."""
    found: dict[str, list[Change]] = {}
    for identity, change in changes:
        found.setdefault(identity, []).append(change)
    return found
