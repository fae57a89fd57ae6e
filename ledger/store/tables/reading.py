"""What was last read of each directory, in parts, and what the next run may build on (D13, D14)."""

from __future__ import annotations

from sqlalchemy import Integer, LargeBinary

from ledger.store.tables.base import Column, Json, instant, plain, text

last_reading = plain(
    "last_reading",
    text("source_id"),
    text("rules"),  # hash of the attribute rules it was mapped with
    Column("buckets", Integer, nullable=False),
    instant("read_at"),
    instant("whole_at"),  # when everything was last read, not only what changed
    Column("header", LargeBinary, nullable=False),
    key=("source_id",),
)

last_reading_part = plain(
    "last_reading_part",
    text("source_id"),
    text("kind"),  # print | person | name | mail | members
    text("bucket"),
    Column("content", LargeBinary, nullable=False),
    key=("source_id", "kind", "bucket"),
)
"""Bucketed by the CRC-32 of the key, so that a change rewrites a few rows whatever the directory's size."""

reconcile_base = plain(
    "reconcile_base",
    text("run_id"),
    instant("at"),
    instant("whole_at"),  # when everybody was last planned, not only who is near a change
    text("policy_hash"),
    Column("domains", Json, nullable=False),  # the open ones
    Column("pending", LargeBinary, nullable=False),  # whom every run looks at again
    Column("standing", Json, nullable=False),  # problems that stay until an entry or a domain changes
    key=(),
)
"""The last run that left everybody settled but the pending ones; no row: the next run looks at everybody."""
