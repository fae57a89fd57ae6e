"""Which reasons for a seat outlive an undo: what came after the run may hold what the run gave (A3).

A seat that somebody signed in to, or that a later run or a hand gave a reason for, stays with its membership; a seat
that was released comes back only where a reason for it holds again. Pure: no I/O here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from connector.reconcile.policy import MAPPING

Member = tuple[str, str]
"""(identity, provenance) of a membership."""


@dataclass(frozen=True, slots=True)
class Reasons:
    """Grant rows around the undo of ``run_id``: ``touched`` by it, ``open`` now. ``kept_seats``: changed since, so
    they stay as they are. ``assigned``: seats the run assigned, which go with it."""

    run_id: str
    touched: Sequence[Any]
    open: Sequence[Any]
    kept_seats: Collection[str]
    assigned: Collection[str]

    def last(self, grant: Any) -> bool:
        """Whether an open reason stays: not the run's, or of a seat that stays and has no other reason by now."""
        if grant.run_id != self.run_id or grant.seat_id in self.kept_seats:
            return True
        if grant.seat_id in self.assigned:
            return False
        others = [row for row in self.open if row.seat_id == grant.seat_id and row.run_id != self.run_id]
        others += [row for row in self.touched if row.seat_id == grant.seat_id and row.ended_run == self.run_id]
        return not others

    def others(self, seat_id: str) -> bool:
        """Whether something the run did not give holds a seat it assigned."""
        return any(row.seat_id == seat_id and self.last(row) for row in self.open)

    def hold_through(self, membership: Any) -> bool:
        """Whether a seat that stays is held through this membership."""
        whose = (membership.identity_id, membership.provenance)
        return any((row.identity_id, row.provenance) == whose and self.last(row) for row in self.open)

    def again(self, seat_id: str, members: Collection[Member]) -> bool:
        """Whether a reason for a seat the run released holds again: who left since does not get it back."""
        ended = (row for row in self.touched if row.ended_run == self.run_id and row.seat_id == seat_id)
        return any(stands(row, members) for row in ended)


def stands(grant: Any, members: Collection[Member]) -> bool:
    """Whether a reason is given by hand, or its membership holds."""
    return not grant.provenance.startswith(MAPPING) or (grant.identity_id, grant.provenance) in members
