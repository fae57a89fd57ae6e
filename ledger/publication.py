"""A publication: the one name under which a set of table snapshots is visible. Pure: no I/O here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """One dataset in a publication: its Iceberg ``snapshot``, its ``rows``, and a ``digest`` of what was published."""

    snapshot: int
    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class Publication:
    """The ``snapshot`` of every answer. ``number`` counts an organization's publications from 1.

    ``provisional_from``: first day that was not yet final when it was made; None before any usage.
    """

    id: str
    number: int
    created_at: datetime
    tables: Mapping[str, PublishedTable]
    provisional_from: date | None = None


@dataclass(frozen=True, slots=True)
class Freshness:
    """How far a dataset reaches, as of the last time it was looked at (which need not have changed anything).

    ``complete_through``: last whole day that sources have reported past; ``final_through``: last day that changes only
    by a numbered revision. Both None for dimensions and before the first batch. ``last_received_at``: newest batch.
    """

    dataset: str
    last_processed_at: datetime
    last_received_at: datetime | None
    complete_through: date | None
    final_through: date | None
