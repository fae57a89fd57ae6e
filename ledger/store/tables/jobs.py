"""Durable jobs and leases with fencing tokens. Leases are rows, not connections: they move when a host is lost."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, Integer, Table

from ledger.store.tables.base import Column, Instant, Json, Text, metadata

lease = Table(
    "lease",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("token", BigInteger, nullable=False),  # grows with each acquisition, never reused
    Column("expires_at", Instant, nullable=False),
)

job = Table(
    "job",
    metadata,
    Column("id", Text, primary_key=True),
    Column("organization_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("payload", Json, nullable=False),
    Column("dedupe_key", Text, nullable=False, server_default=""),
    Column("state", Text, nullable=False),  # waiting | running | done | failed
    Column("run_after", Instant, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("started_at", Instant, nullable=True),
    Column("heartbeat_at", Instant, nullable=True),
    Column("deadline_at", Instant, nullable=True),
    Column("finished_at", Instant, nullable=True),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("holder", Text, nullable=False, server_default=""),
    Column("outcome", Json, nullable=True),
    Column("queued_at", Instant, nullable=True),
    Index("ix_job_ready", "state", "run_after"),
    Index("ix_job_organization", "organization_id", "created_at"),
)
Index(
    "uq_job_dedupe",
    job.c.organization_id,
    job.c.dedupe_key,
    unique=True,
    sqlite_where=(job.c.state == "waiting") & (job.c.dedupe_key != ""),
    postgresql_where=(job.c.state == "waiting") & (job.c.dedupe_key != ""),
)
