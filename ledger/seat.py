"""Offerings, subscriptions and seats: what is sold, a Team's right to N of it, one unit of it (R7–R9, R13, R15).

Pure: no I/O here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum


class Tier(StrEnum):
    """The plan that is bought; never called *plan* here."""

    STANDARD = "standard"
    BUSINESS = "business"


class OfferingKind(StrEnum):
    """R13 counts single-user offerings only."""

    SINGLE_USER = "single_user"
    MULTI_USER = "multi_user"


@dataclass(frozen=True, slots=True)
class Offering:
    """``eligible`` offerings may carry the Business tier; excluded ones never count in R13/R14 (R15)."""

    code: str
    name: str
    kind: OfferingKind
    eligible: bool


@dataclass(frozen=True, slots=True)
class Subscription:
    """A Team's right to ``quantity`` seats of an offering in ``[starts_on, ends_on)``; ``renews``: its predecessor."""

    id: str
    team_id: str
    offering_code: str
    quantity: int
    tier: Tier
    starts_on: date
    ends_on: date
    renews: str = ""

    def runs_on(self, day: date) -> bool:
        """Whether the term covers ``day``."""
        return self.starts_on <= day < self.ends_on


class SeatState(StrEnum):
    """invited → active → paused → released; a pause can be lifted, a release cannot."""

    INVITED = "invited"
    ACTIVE = "active"
    PAUSED = "paused"
    RELEASED = "released"


TRANSITIONS: dict[SeatState, frozenset[SeatState]] = {
    SeatState.INVITED: frozenset({SeatState.ACTIVE, SeatState.PAUSED, SeatState.RELEASED}),
    SeatState.ACTIVE: frozenset({SeatState.PAUSED, SeatState.RELEASED}),
    SeatState.PAUSED: frozenset({SeatState.INVITED, SeatState.ACTIVE, SeatState.RELEASED}),
    SeatState.RELEASED: frozenset(),
}
"""Allowed transitions; anything else is a fault in us."""

USES_CAPACITY: frozenset[SeatState] = frozenset({SeatState.INVITED, SeatState.ACTIVE, SeatState.PAUSED})
"""States in which one unit of the subscription is taken."""

CARRIES_BENEFITS: frozenset[SeatState] = frozenset({SeatState.INVITED, SeatState.ACTIVE})
"""States that count for R7, R8, R13 and R17: an assigned seat whose holder may use it."""


@dataclass(frozen=True, slots=True)
class Seat:
    """One unit held by one identity; at most one open seat per identity and offering (P4)."""

    id: str
    subscription_id: str
    team_id: str
    offering_code: str
    identity_id: str
    state: SeatState


@dataclass(frozen=True, slots=True)
class SeatGrant:
    """One reason why a seat is held; the seat is released when the last one ends (P3)."""

    seat_id: str
    team_id: str
    provenance: str
    cause: str
