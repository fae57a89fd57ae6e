"""What an organization may set about usage and reports: section ``[reporting]`` of its file."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field, model_validator

from ledger.settings import Duration, SettingsModel


class ReportingSettings(SettingsModel):
    """Section ``[reporting]`` of an organization's file."""

    min_group_size: Annotated[int, Field(ge=1, le=1000)] = 5
    """Groups of fewer people than this are suppressed in aggregates."""

    finalise_after_days: Annotated[int, Field(ge=0, le=30)] = 3
    """Full days after which a day's usage is final; later events make a numbered revision."""

    lateness_days: Annotated[int, Field(ge=1, le=400)] = 35
    """Oldest usage that is still accepted (offline use), in days; staged events are kept as long."""

    inactive_days: Annotated[int, Field(ge=1, le=366)] = 30
    """Days without observed use after which a directly assigned seat is called reclaimable."""

    clock_skew: Duration = timedelta(minutes=5)
    """How far in the future an event's time may lie: clocks of products differ."""

    @model_validator(mode="after")
    def _ordered(self) -> ReportingSettings:
        if self.finalise_after_days >= self.lateness_days:
            raise ValueError(
                "finalise_after_days must be smaller than lateness_days: a day is finalised from staged events"
            )
        return self
