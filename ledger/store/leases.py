"""Lease rows with fencing tokens (A2). Unscoped: a lease belongs to a process, not to an organization's rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.jobs import Lease, Whereabouts, may_take
from ledger.store import fencing
from ledger.store.engine import Ledger
from ledger.store.tables import jobs

_TABLE = jobs.lease
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


async def acquire(
    ledger: Ledger,
    name: str,
    holder: str,
    *,
    now: datetime,
    ttl: timedelta,
    where: Callable[[str], Whereabouts] = lambda _: Whereabouts.HERE,
    silent: Lease | None = None,
) -> Lease | None:
    """Take the lease for ``ttl``, or None while somebody else has it (``may_take``). ``holder`` names one process
    (unique); ``where`` tells what is known of another one."""
    async with ledger.unscoped_write() as connection:
        held = await _locked(connection, name)
        if not may_take(held, holder, now=now, ttl=ttl, where=where(held.holder), silent=silent):
            return None
        lease = Lease(name, holder, held.token + 1, now + ttl)
        values = {"holder": holder, "token": lease.token, "expires_at": lease.expires_at}
        await connection.execute(update(_TABLE).where(_TABLE.c.name == name).values(**values))
        return lease


async def renew(ledger: Ledger, lease: Lease, *, now: datetime, ttl: timedelta) -> Lease:
    """The same lease until ``now + ttl``; raises ``Stale`` when it was taken over.

    ``Busy`` while a long transaction of the holder itself is under way: nobody can take the lease then; try again.
    """
    async with ledger.unscoped_write() as connection:
        mine = (_TABLE.c.name == lease.name, _TABLE.c.token == lease.token, _TABLE.c.holder == lease.holder)
        done = await connection.execute(update(_TABLE).where(*mine).values(expires_at=now + ttl))
        if done.rowcount != 1:
            raise fencing.lost(lease)
    return Lease(lease.name, lease.holder, lease.token, now + ttl)


async def release(ledger: Ledger, lease: Lease) -> bool:
    """Give it back; False when it was no longer ours. The row stays, so that its token is never used again."""
    async with ledger.unscoped_write() as connection:
        mine = (_TABLE.c.name == lease.name, _TABLE.c.token == lease.token, _TABLE.c.holder == lease.holder)
        done = await connection.execute(update(_TABLE).where(*mine).values(holder="", expires_at=_NEVER))
        return done.rowcount == 1


async def current(ledger: Ledger, name: str) -> Lease | None:
    """Who has it now (or had it last)."""
    async with ledger.unscoped_read() as connection:
        row = (await connection.execute(select(_TABLE).where(_TABLE.c.name == name))).first()
    return Lease(row.name, row.holder, row.token, row.expires_at) if row else None


async def _locked(connection: AsyncConnection, name: str) -> Lease:
    """The row, made if need be, and locked: two first acquisitions meet here and one waits."""
    make = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    free = make(_TABLE).values(name=name, holder="", token=0, expires_at=_NEVER)
    await connection.execute(free.on_conflict_do_nothing())
    row = (await connection.execute(select(_TABLE).where(_TABLE.c.name == name).with_for_update())).one()
    return Lease(row.name, row.holder, row.token, row.expires_at)
