"""Legal basis, opt-outs, staged usage events, quarantine, days and their revisions, publications (R10–R13c)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, Boolean, Date, Integer
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from ledger.store.tables.base import Column, Instant, Json, Text, instant, interval, plain, text

WHOLE_TOKEN = 1_000_000
"""Millionths of one token."""


def _to_millionths(value: Decimal | None) -> int | None:
    return None if value is None else int(value.scaleb(6))


def _from_millionths(value: int | None) -> Decimal | None:
    return None if value is None else Decimal(value).scaleb(-6)


class Tokens(TypeDecorator[Decimal]):
    """A decimal(18,6), stored as millionths (exact, and added alike in both databases)."""

    impl = BigInteger
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Any:
        """The bare function, as in ``Instant``."""
        return _to_millionths

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """The bare function, as in ``Instant``."""
        return _from_millionths


legal_basis = interval(
    "legal_basis",
    text("kind"),  # notice | consent | works_agreement | contract | legitimate_interest
    Column("purposes", Json, nullable=False),
    Column("person_categories", Json, nullable=False),
    Column("transfers", Json, nullable=False),
    Column("effective_on", Date, nullable=False),  # the basis covers use from this day on
    text("evidence"),
    text("recorded_by"),
    key=(),
)
"""R13c: without an open row nothing is collected. At most one open row; a change ends one and begins the next."""

usage_opt_out = interval("usage_opt_out", text("identity_id"), text("cause"), text("recorded_by"), key=("identity_id",))
"""People who must not be collected (R13c)."""

usage_event = plain(
    "usage_event",
    text("event_id"),
    Column("day", Date, nullable=False),  # in the organization's report zone; the time of day is not kept
    text("identity_id"),
    text("offering_code"),
    text("version"),
    text("source"),  # sus | flex
    Column("tokens", Tokens, nullable=True),
    text("collection_state"),
    text("batch_id"),
    key=("event_id",),
    indexes=(("day",),),
)
"""Staged events: one row per accepted event, kept for the lateness window only."""

usage_touched = plain(
    "usage_touched",
    Column("day", Date, nullable=False),
    text("batch_id"),
    Column("events", Integer, nullable=False),
    key=("day", "batch_id"),
)
"""Days that must be folded again, and the batch that says so; a publish deletes exactly the rows it has read."""

usage_batch = plain(
    "usage_batch",
    text("id"),
    text("source"),
    instant("received_at"),
    Column("accepted", Integer, nullable=False),
    Column("duplicates", Integer, nullable=False),
    Column("quarantined", Integer, nullable=False),
    Column("dropped", Json, nullable=False),  # reason → count
    Column("conflicts", Integer, nullable=False, server_default="0"),
    key=("id",),
    indexes=(("received_at",),),
)
"""One row per batch: the counters. Nothing a product sends disappears without being counted here."""

usage_quarantine = plain(
    "usage_quarantine",
    text("digest"),  # of the row as sent: the same bad row, sent again, is one row here
    text("event_id"),  # empty when it could not be read
    text("batch_id"),
    text("source"),
    text("place"),  # line 7 · row 12
    Column("reasons", Json, nullable=False),
    text("payload"),  # the row as sent; empty when no legal basis allows keeping it
    instant("received_at"),
    Column("causes", Text, nullable=False, server_default=""),  # the reasons without what was found, joined by "; "
    key=("digest",),
    indexes=(("event_id",), ("received_at",)),
)

usage_day = plain(
    "usage_day",
    Column("day", Date, nullable=False),
    text("status"),  # provisional | final
    Column("revision", Integer, nullable=False),
    Column("rows", Integer, nullable=False),
    text("digest"),  # of its published rows, apart from status, revision and publication
    text("publication_id"),
    instant("folded_at"),
    Column("sealed", Boolean, nullable=False),  # its staged events are gone: it can no longer be folded again
    key=("day",),
)

usage_revision = plain(
    "usage_revision",
    Column("day", Date, nullable=False),
    Column("revision", Integer, nullable=False),
    text("publication_id"),
    text("previous_publication_id"),
    instant("at"),
    text("reason"),
    Column("late_events", Integer, nullable=False),
    Column("rows_before", Integer, nullable=False),
    Column("rows_after", Integer, nullable=False),
    key=("day", "revision"),
)
"""What changed in a day that had been final, and why; what was final stays readable under the previous publication."""

usage_activity = plain(
    "usage_activity",
    text("identity_id"),
    text("offering_code"),
    Column("month", Date, nullable=False),  # its first day
    Column("days", Integer, nullable=False),  # bit n = use was observed on day n+1
    Column("unobserved", Integer, nullable=False),  # bit n = the product said that it could not observe day n+1
    key=("month", "identity_id", "offering_code"),
    indexes=(("identity_id",),),
)
"""Which days a person used an offering, one row a month: what seats are judged by without reading all usage again."""

publication = plain(
    "publication",
    text("id"),
    Column("number", Integer, nullable=False),
    instant("created_at"),
    Column("tables", Json, nullable=False),  # dataset → {snapshot, rows, digest}
    Column("provisional_from", Date, nullable=True),
    key=("id",),
    indexes=(("number",),),
)
"""The only thing that makes published tables visible: one row names one Iceberg snapshot per dataset."""

publication_pin = plain(
    "publication_pin", text("publication_id"), text("holder"), instant("until"), key=("publication_id", "holder")
)
"""A cursor, export or day file that still needs a publication; expiry leaves it alone."""

publication_freshness = plain(
    "publication_freshness",
    text("dataset"),
    instant("last_processed_at"),
    Column("last_received_at", Instant, nullable=True),
    Column("complete_through", Date, nullable=True),
    Column("final_through", Date, nullable=True),
    key=("dataset",),
)
