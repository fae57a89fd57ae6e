"""Asks what a plan means for seats and coverage, with the ledger's offerings. Writes and decides nothing."""

from __future__ import annotations

from datetime import datetime

from connector.reconcile.calm import calm
from connector.reconcile.covering import preview
from connector.reconcile.forecast import forecast
from connector.reconcile.outlook import Outlook
from connector.reconcile.plan import Plan
from connector.reconcile.policy import Policy
from connector.reconcile.recorded import Recorded
from ledger.store import seats
from ledger.store.book import Reader


async def foresee(reader: Reader, plan: Plan, recorded: Recorded, policy: Policy, now: datetime) -> Outlook:
    """The outlook of ``plan`` on the day of ``now``, as if all of it were applied."""
    day = now.date()
    offerings = await seats.open_offerings(reader)
    with calm():
        return Outlook(forecast(recorded, plan, day), preview(recorded, plan, offerings, policy.teams, day))
