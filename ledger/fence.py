"""By what right a transaction writes: under a lease, or without one for a reason that is named (A2).

A writer cannot begin without one of the two, so that nobody forgets to hand over what they hold. Pure: no I/O here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ledger.jobs import Claim, Lease


@dataclass(frozen=True, slots=True)
class Leased:
    """The writer acts under ``lease``, whose token its transaction checks. ``claim``: the attempt at a job that it is,
    whose outcome is written with what it does."""

    lease: Lease
    claim: Claim | None = None


class Unleased(StrEnum):
    """Why a writer needs no lease: it reads what it changes inside its own short transaction."""

    BY_HAND = "by hand"
    """Somebody's edit, a token, a setting of the files."""
    SIGN_IN = "sign-in"
    """Requests to sign in and their answers."""
    EVIDENCE = "evidence"
    """What was found about a domain or a connection."""
    INTAKE = "intake"
    """Usage events and dimension rows: a batch is one transaction."""
    PUBLICATION = "publication"
    """A number of its own decides which of two is published."""
    SEAL = "seal"
    """The head of the audit."""


Fence = Leased | Unleased
