"""What a plan means beyond its changes: seats ahead, coverage. Pure: values and words, no I/O here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from connector.reconcile.covering import CoveragePreview
from connector.reconcile.forecast import PoolForecast


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
