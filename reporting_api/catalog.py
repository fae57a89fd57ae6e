"""What can be asked: ``/v1/meta`` and the parameters of every dataset, derived from the one list of datasets.

Pure: no I/O here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ledger.published.datasets import DATASETS, Dataset, Privacy
from ledger.usage import DEFINITION_VERSION
from reporting_api import privacy
from reporting_api.privacy import Mode

FILTERS: Mapping[str, str] = {
    "team_id": "team_id",
    "offering": "offering_code",
    "version": "version",
    "source": "source",
    "user_key": "user_key",
}
"""Repeatable parameters of the datasets → the column each selects by."""

DEFINITIONS: Mapping[str, str] = {"is_active": str(DEFINITION_VERSION)}
"""Versioned definitions behind columns; named in every answer that holds such a column."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A number readers compute from a dataset. ``additive`` False: days or Teams must not be summed."""

    name: str
    dataset: str
    definition: str
    version: str
    additive: bool


METRICS: tuple[Metric, ...] = (
    Metric(
        "active_users",
        "usage_daily",
        "Distinct user_key with is_active over the whole window; summing days or Teams counts people twice.",
        DEFINITIONS["is_active"],
        additive=False,
    ),
    Metric(
        "days_used", "usage_daily", "Distinct usage_date with is_active, per user_key.", DEFINITIONS["is_active"], True
    ),
    Metric("tokens", "usage_daily", "Sum of tokens.", "1", additive=True),
    Metric("seats_assigned", "seats", "Seats whose unassigned_at is null.", "1", additive=True),
    Metric("seats_purchased", "subscriptions", "Sum of seat_quantity where status is active.", "1", additive=True),
)


def filters_of(dataset: Dataset) -> dict[str, str]:
    """The filter parameters that apply to a dataset → column; ``team_id`` applies to people through their seats."""
    found = {name: column for name, column in FILTERS.items() if column in dataset.by_name}
    if dataset.per_user and not dataset.team_column:
        found = {"team_id": "", **found}
    return found


def parameters_of(dataset: Dataset) -> tuple[str, ...]:
    """Every query parameter a dataset understands."""
    window = ("from", "to") if dataset.day_column else ()
    shared = ("select", "order", "limit", "cursor", "count", "format", "shape", "snapshot")
    return (*window, *filters_of(dataset), *shared)


def described(mode: Mode) -> dict[str, Any]:
    """The body of ``/v1/meta`` for a credential of this mode."""
    return {
        "privacy": mode,
        "datasets": [_dataset(dataset, mode) for dataset in DATASETS.values()],
        "metrics": [
            {
                "name": metric.name,
                "dataset": metric.dataset,
                "definition": metric.definition,
                "version": metric.version,
                "additive": metric.additive,
            }
            for metric in METRICS
        ],
        "definitions": dict(DEFINITIONS),
    }


def _dataset(dataset: Dataset, mode: Mode) -> dict[str, Any]:
    hidden = privacy.withheld(dataset, mode, ())
    return {
        "name": dataset.name,
        "description": dataset.description,
        "url": f"/v1/datasets/{dataset.name}",
        "key": list(dataset.key),
        "day_column": dataset.day_column or None,
        "per_user": dataset.per_user,
        "user_level_usage": privacy.is_usage(dataset),
        "readable": privacy.listable(dataset, mode),
        "parameters": list(parameters_of(dataset)),
        "fields": [
            {
                "name": column.name,
                "type": column.type,
                "description": column.description,
                "privacy": column.privacy,
                "pii": column.privacy in (Privacy.PSEUDONYM, Privacy.NAMED),
                "nullable": column.nullable,
                "filterable": column.filterable,
                "since": column.since,
                "readable": privacy.listable(dataset, mode) and column.name not in hidden,
            }
            for column in dataset.columns
        ],
    }
