"""Holding a lease for as long as some work takes: take it, renew it beside the work, give it back.

Decides nothing: whether the holder may still commit is checked inside its transaction (A2).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from ledger.errors import Busy, RosterdError, Stale
from ledger.instant import to_text
from ledger.jobs import Lease, Whereabouts
from ledger.store import leases
from ledger.store.engine import Ledger
from rosterd import processes
from rosterd.clock import Clock
from rosterd.logs import event

TTL = timedelta(seconds=60)
_LOOKS = 12
_log = logging.getLogger(__name__)


@asynccontextmanager
async def leased(ledger: Ledger, name: str, *, clock: Clock, ttl: timedelta = TTL) -> AsyncIterator[Lease]:
    """The lease ``name`` while the block runs; raises ``Busy`` naming who has it and until when.

    What a dead process of this host left is taken at once. A process of another host shows that it lives by renewing;
    one that does not for ``ttl`` of our own time is taken for dead, whatever the two clocks say.
    """
    lease = await _acquire(ledger, name, clock, ttl)
    if lease is None:
        other = await leases.current(ledger, name)
        until = f" until {to_text(other.expires_at)} at the latest" if other else ""
        raise Busy(
            f"another process is at work on {name}{until}",
            where=other.holder if other else name,
            next_step="wait for it, or look at rosterd report runs",
            after=ttl,
        )
    heart = asyncio.create_task(_renew(ledger, lease, clock, ttl), name=f"renewing {name}")
    try:
        yield lease
    finally:
        heart.cancel()
        with suppress(asyncio.CancelledError):
            await heart
        with suppress(RosterdError):
            await leases.release(ledger, lease)


async def _acquire(ledger: Ledger, name: str, clock: Clock, ttl: timedelta) -> Lease | None:
    me = processes.holder()

    def where(holder: str) -> Whereabouts:
        found = processes.whereabouts(holder)
        one_clock = ledger.dialect == "sqlite"  # a file is on one host, whatever its containers are called
        return Whereabouts.HERE if found is Whereabouts.ELSEWHERE and one_clock else found

    lease = await leases.acquire(ledger, name, me, now=clock(), ttl=ttl, where=where)
    seen = await leases.current(ledger, name) if lease is None else None
    if seen is None or where(seen.holder) is not Whereabouts.ELSEWHERE:
        return lease
    event(_log, "lease.watched", level=logging.WARNING, lease=name, holder=seen.holder, seconds=ttl.total_seconds())
    for _ in range(_LOOKS):
        await asyncio.sleep(ttl.total_seconds() / _LOOKS)
        if await leases.current(ledger, name) != seen:
            break  # given back, or a sign of life
    return await leases.acquire(ledger, name, me, now=clock(), ttl=ttl, where=where, silent=seen)


async def _renew(ledger: Ledger, lease: Lease, clock: Clock, ttl: timedelta) -> None:
    while True:
        await asyncio.sleep(ttl.total_seconds() / 3)
        try:
            await leases.renew(ledger, lease, now=clock(), ttl=ttl)
        except Stale as error:
            event(_log, "lease.lost", level=logging.WARNING, lease=lease.name, why=error.what)
            return
        except RosterdError as error:  # the ledger is busy, perhaps with our own long transaction: try again
            event(_log, "lease.not_renewed", level=logging.DEBUG, lease=lease.name, why=error.what)
