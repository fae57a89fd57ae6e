"""Every table of ``inbox.db`` (schema ``inbox`` on PostgreSQL): what SCIM clients pushed; only ever a source."""

from __future__ import annotations

from sqlalchemy import BigInteger, MetaData

from ledger.store.tables import base
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

inbox_mail = plain(
    "inbox_mail",
    text("connection_id"),
    text("mail"),  # folded, and cut where no index would hold it
    text("id"),
    key=("connection_id", "mail", "id"),
    into=metadata,
)
"""Whom each mail address is of: clients match people by it, one query for each (S-R46)."""

inbox_member = plain(
    "inbox_member",
    text("connection_id"),
    text("group_id"),
    text("member_id"),
    instant("added_at"),
    key=("connection_id", "group_id", "member_id"),
    indexes=(("connection_id", "member_id"),),
    into=metadata,
)
"""Who is in which group: rows, never a list inside the group, so that no push can lose another's (S-R39)."""

inbox_deleted = plain(
    "inbox_deleted",
    text("connection_id"),
    text("kind"),
    text("id"),
    instant("deleted_at"),
    key=("connection_id", "kind", "id"),
    into=metadata,
)
"""Ids that a client deleted: the only proof that somebody is gone from an inbox (D3). An id is never given again."""

inbox_left = plain(
    "inbox_left",
    text("connection_id"),
    text("group_id"),
    text("member_id"),
    instant("left_at"),
    key=("connection_id", "group_id", "member_id"),
    into=metadata,
)
"""Whom a push took out of which group: the only proof that a membership ended (D3). Ends when they are added again."""

inbox_write = plain(
    "inbox_write",
    text("id"),
    instant("at"),
    text("connection_id"),
    text("actor"),
    text("request_id"),
    text("verb"),  # create | replace | patch | delete
    text("kind"),
    text("resource_id"),
    Column("change", Json, nullable=False),  # attribute → [before, after]; members → added, removed, unknown
    Column("bent", Json, nullable=False),  # why the request was taken otherwise than the standard says
    key=("id",),
    indexes=(("connection_id", "kind", "resource_id"),),
    into=metadata,
)
"""What each push changed (S-R57); no secret is ever in it."""

inbox_time = base.book_time("inbox_time", metadata)
