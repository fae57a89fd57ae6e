"""Holding a lease for as long as some work takes: take it, renew it beside the work, give it back.

Decides nothing: whether the holder may still commit is checked inside its transaction (A2).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from ledger.errors import Busy, RosterdError, Stale
from ledger.instant import new_id, to_text
from ledger.jobs import Lease
from ledger.store import leases
from ledger.store.engine import Ledger
from rosterd.clock import Clock
from rosterd.logs import event

TTL = timedelta(seconds=60)
_log = logging.getLogger(__name__)


def holder() -> str:
    """Names this process, uniquely: host, process id, and an id."""
    return f"{socket.gethostname()}:{os.getpid()}:{new_id()[-8:]}"


@asynccontextmanager
async def leased(ledger: Ledger, name: str, *, clock: Clock, ttl: timedelta = TTL) -> AsyncIterator[Lease]:
    """The lease ``name`` while the block runs; raises ``Busy`` naming who has it and until when."""
    lease = await leases.acquire(ledger, name, holder(), now=clock(), ttl=ttl)
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
