"""The witness: append-only audit events, purgeable payloads, sealed batches; and the transactional outbox."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, Integer, Table
from sqlalchemy import Identity as Autonumber

from ledger.store.tables.base import Column, Instant, Json, Text, instant, metadata, plain, text

audit_event = Table(
    "audit_event",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), Autonumber(), primary_key=True),
    Column("organization_id", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("run_id", Text, nullable=False, server_default=""),
    Column("plan_digest", Text, nullable=False, server_default=""),
    Column("salt", Text, nullable=False),
    Column("payload_digest", Text, nullable=False),  # SHA-256(salt + canonical payload)
    Index("ix_audit_event_org", "organization_id", "seq"),
    Index("ix_audit_event_subject", "organization_id", "subject"),
    Index("ix_audit_event_run", "organization_id", "run_id"),
)
"""Insertion is serial within one organization (every writer holds its lock), so ``seq`` is commit order there."""

audit_payload = Table(
    "audit_payload",
    metadata,
    Column("payload_digest", Text, primary_key=True),
    Column("organization_id", Text, nullable=False),
    Column("payload", Text, nullable=False),  # canonical JSON: reason, before, after, changes
)
"""Readable part; may be purged (erasure) without breaking the chain."""

audit_seal = plain(
    "audit_seal",
    Column("from_seq", BigInteger, nullable=False),
    Column("to_seq", BigInteger, nullable=False),
    text("previous_head"),
    text("head"),
    instant("sealed_at"),
    key=("to_seq",),
)

outbox = plain(
    "outbox",
    text("id"),
    text("kind"),  # invite.mail · plan.held · sync.suspended …
    text("subject"),
    Column("payload", Json, nullable=False),
    text("run_id"),
    instant("created_at"),
    text("state"),  # waiting | delivered | dead
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_at", Instant, nullable=True),
    key=("id",),
    indexes=(("state", "next_at"),),
)
