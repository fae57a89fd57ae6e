"""Every table of ``inbox.db`` (schema ``inbox`` on PostgreSQL): what SCIM clients pushed; only ever a source."""

from __future__ import annotations

from sqlalchemy import BigInteger, MetaData

from ledger.store.tables.base import Column, Json, instant, plain, text

metadata = MetaData()

inbox_resource = plain(
    "inbox_resource",
    text("connection_id"),
    text("kind"),  # User | Group
    text("id"),
    text("external_id"),  # as the client named it, case kept; empty when it did not
    text("key"),  # userName or displayName, folded: they compare without case
    Column("document", Json, nullable=False),
    Column("version", BigInteger, nullable=False),
    instant("created_at"),
    instant("modified_at"),
    key=("connection_id", "kind", "id"),
    indexes=(("connection_id", "kind", "key"), ("connection_id", "kind", "external_id")),
    into=metadata,
)
