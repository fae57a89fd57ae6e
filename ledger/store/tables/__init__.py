"""Every table of ``ledger.db`` (schema ``ledger`` on PostgreSQL). The migrations' sum equals this module (tested)."""

from ledger.store.tables import access, audit, jobs, outbox, people, reading, runs, seats, sso, usage
from ledger.store.tables.base import canonical_json, metadata

__all__ = [
    "access",
    "audit",
    "canonical_json",
    "jobs",
    "metadata",
    "outbox",
    "people",
    "reading",
    "runs",
    "seats",
    "sso",
    "usage",
]
