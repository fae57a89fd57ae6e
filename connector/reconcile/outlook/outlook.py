"""What a plan means beyond its changes: seats ahead, coverage. Pure: values and words, no I/O here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from connector.reconcile.outlook.coverage_preview import CoveragePreview, preview
from connector.reconcile.outlook.seat_forecast import PoolForecast, forecast
from connector.reconcile.plan.changes import Plan
from connector.reconcile.plan.recorded import Recorded
from connector.reconcile.policy.policy import Policy
from ledger.seat import Offering


@dataclass(frozen=True, slots=True)
class Outlook:
    """``coverage`` is None while no Business subscription runs: there is nothing to cover (R13)."""

    pools: tuple[PoolForecast, ...] = ()
    coverage: CoveragePreview | None = None

    @property
    def lines(self) -> tuple[str, ...]:
        """In words: people who wait, terms that end, subscriptions that would be unpaid; empty when all is well."""
        seats = [f"seats: {line}" for pool in self.pools for line in pool.lines]
        return (*seats, *(self.coverage.lines if self.coverage else ()))

    def to_json(self) -> dict[str, Any]:
        """``seats`` (one object per Team and offering) and ``coverage``."""
        return {
            "seats": [pool.to_json() for pool in self.pools],
            "coverage": self.coverage.to_json() if self.coverage else None,
        }


def foresee(plan: Plan, recorded: Recorded, offerings: Sequence[Offering], policy: Policy, day: date) -> Outlook:
    """The outlook of ``plan`` on ``day``, as if all of it were applied."""
    return Outlook(forecast(recorded, plan, day), preview(recorded, plan, offerings, policy.teams, day))
