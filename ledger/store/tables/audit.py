"""The witness: append-only audit events, purgeable payloads, sealed batches."""

from __future__ import annotations

from sqlalchemy import BigInteger

from ledger.store.tables.base import Column, instant, plain, text

audit_event = plain(
    "audit_event",
    Column("seq", BigInteger, nullable=False),  # 1, 2, 3 … without a gap, per organization
    instant("at"),
    text("actor"),
    text("verb"),
    text("subject"),
    text("run_id"),
    text("plan_digest"),
    text("payload_digest"),
    text("digest"),
    key=("seq",),
    indexes=(("subject",), ("run_id",)),
)
"""Insertion is serial within one organization (every writer holds its lock), so ``seq`` is commit order there."""

audit_payload = plain(
    "audit_payload",
    Column("seq", BigInteger, nullable=False),
    text("salt"),
    text("payload"),  # canonical JSON: reason, before, after, changes
    key=("seq",),
)
"""The readable part, with the salt; may be purged (erasure) without breaking the chain."""

audit_seal = plain(
    "audit_seal",
    Column("from_seq", BigInteger, nullable=False),
    Column("to_seq", BigInteger, nullable=False),
    text("previous_head"),
    text("head"),
    instant("sealed_at"),
    key=("to_seq",),
)
