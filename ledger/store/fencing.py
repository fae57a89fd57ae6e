"""Checks inside a transaction that its writer still has what it acts by (A2), and settles the job it is.

Decides nothing about who may take a lease or a job: ``leases`` and ``jobs`` do.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, select

from ledger.errors import Overtaken
from ledger.jobs import Claim, Errand, Fence, JobState, Lease, Leased
from ledger.store.book import Book
from ledger.store.tables import jobs


async def hold(book: Book, fence: Fence) -> None:
    """Raises ``Overtaken`` when the lease, or the job of an errand, was taken over. Until the transaction ends nobody
    can take it: its row is locked (PostgreSQL) or the file is (SQLite)."""
    if isinstance(fence, Errand):
        table = jobs.job
        if await book.first(select(table).where(mine(fence.claim)).with_for_update()) is None:
            raise taken(fence.claim)
    if not isinstance(fence, Leased):
        return
    table, lease = jobs.lease, fence.lease
    row = await book.first(select(table).where(table.c.name == lease.name).with_for_update(read=True))
    if row is None or (row.token, row.holder) != (lease.token, lease.holder):
        raise lost(lease)


async def settle(book: Book, fence: Fence, outcome: Any) -> None:
    """The job that the writer is an attempt at is done, with this outcome, when the transaction commits; a retry finds
    it so. Raises ``Overtaken`` when the job was taken away: then nothing of the transaction happens."""
    if not isinstance(fence, Leased) or fence.claim is None:
        return
    done = {"state": JobState.DONE.value, "finished_at": book.at, "outcome": outcome}
    if await book.update(jobs.job, done, mine(fence.claim)) != 1:
        raise taken(fence.claim)


def mine(claim: Claim) -> ColumnElement[bool]:
    """The row of a job while this attempt at it is the running one."""
    table = jobs.job
    running = table.c.state == JobState.RUNNING.value
    return (table.c.id == claim.job) & running & (table.c.attempts == claim.attempts) & (table.c.holder == claim.holder)


def lost(lease: Lease) -> Overtaken:
    """What to raise when a lease is another's."""
    return Overtaken(
        f"lease {lease.name} (token {lease.token}) was taken over by another process",
        next_step="nothing was written; the process that has it now goes on",
    )


def taken(claim: Claim) -> Overtaken:
    """What to raise when a job is another's, or settled."""
    return Overtaken(f"job {claim.job} was taken from {claim.holder} after attempt {claim.attempts}, or is settled")
