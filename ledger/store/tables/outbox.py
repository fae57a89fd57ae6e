"""The transactional outbox: what is to be told elsewhere; and how far each target has got with it (L1)."""

from __future__ import annotations

from sqlalchemy import Index, Integer

from ledger.store.tables.base import Column, Instant, Json, Text, instant, plain, text

outbox = plain(
    "outbox",
    text("id"),
    text("kind"),  # invite.mail · plan.held · sync.suspended …
    text("subject"),
    Column("payload", Json, nullable=False),
    text("run_id"),
    instant("created_at"),
    key=("id",),
    indexes=(("kind", "subject"),),
)

delivery_target = plain(
    "delivery_target",
    text("target"),  # mail, later keycloak, a webhook's name …
    Column("kinds", Json, nullable=False),  # of the messages that it takes
    instant("started_at"),
    key=("target",),
)
"""Where an organization's messages go from ``started_at`` on: a message gets its deliveries as it is written."""

delivery = plain(
    "delivery",
    text("message_id"),
    text("target"),
    text("kind"),  # the message's, as are subject and created_at: whoever claims looks at this table alone
    text("subject"),
    instant("created_at"),
    text("state"),  # waiting | kept | sent | obsolete | dead | dropped
    Column("next_at", Instant, nullable=True),  # null once settled, and while kept
    Column("claims", Integer, nullable=False, server_default="0"),  # how often it was taken in hand: the fence
    Column("attempts", Integer, nullable=False, server_default="0"),  # how often its target put it off
    Column("begun_at", Instant, nullable=True),  # of the first of these
    Column("settled_at", Instant, nullable=True),
    Column("batch", Text, nullable=False, server_default=""),  # the message that it is told together with
    Column("done", Json, nullable=False),  # the receivers of the batch that have it
    Column("note", Text, nullable=False, server_default=""),  # what its target said last, or why it was not sent
    key=("message_id", "target"),
)
_IS_WAITING = delivery.c.state == "waiting"
Index("ix_delivery_due", delivery.c.next_at, sqlite_where=_IS_WAITING, postgresql_where=_IS_WAITING)
Index(
    "ix_delivery_order",
    delivery.c.organization_id,
    delivery.c.target,
    delivery.c.subject,
    delivery.c.created_at,
    sqlite_where=_IS_WAITING,
    postgresql_where=_IS_WAITING,
)
Index(
    "ix_delivery_state", delivery.c.organization_id, delivery.c.target, delivery.c.state, delivery.c.kind,
    delivery.c.settled_at,
)  # fmt: skip
