"""Brings the organization file's Teams and their admins into the ledger (R6, R8). Ends nothing it did not begin."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from connector.reconcile.settings import TeamSettings
from ledger.store.engine import Ledger
from ledger.team import Organization


async def ensure_organization(
    ledger: Ledger, organization: Organization, teams: Sequence[TeamSettings], *, now: datetime
) -> tuple[str, ...]:
    """Make the organization row, its Teams by name, and the admin roles of people who are known already.

    Returns the addresses of admins not known yet; their role begins when sync (or a person) brings them in.
    """
    raise NotImplementedError
