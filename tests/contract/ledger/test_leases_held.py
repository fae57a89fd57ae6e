"""A2: a lease that is held beside some work, by processes of this host (both databases) and of others (PostgreSQL)."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta

import pytest

from ledger.errors import Busy
from ledger.store import leases
from ledger.store.engine import Ledger
from rosterd.leasing import leased

NAME = "run:acme"
TTL = timedelta(seconds=1.2)
FAR = "elsewhere:1:00000000:1:abcdefgh"

HOLDS = """
import asyncio, sys
from datetime import UTC, datetime
from ledger.store.engine import Ledger
from rosterd.leasing import leased

async def hold():
    ledger = Ledger.open(sys.argv[1])
    async with leased(ledger, "run:acme", clock=lambda: datetime.now(UTC)):
        print("held", flush=True)
        await asyncio.sleep(600)

asyncio.run(hold())
"""


def now() -> datetime:
    return datetime.now(UTC)


async def test_a2_what_a_killed_process_of_this_host_held_is_free_at_once(ledger: Ledger, ledger_url: str) -> None:
    held = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLDS, ledger_url, stdout=asyncio.subprocess.PIPE)
    assert held.stdout is not None
    assert await held.stdout.readline() == b"held\n"
    with pytest.raises(Busy, match="another process is at work"):
        async with leased(ledger, NAME, clock=now):
            pass
    held.kill()
    await held.wait()
    async with leased(ledger, NAME, clock=now) as lease:
        assert lease.token == 2


@pytest.mark.parametrize("skew", [timedelta(hours=-3), timedelta(0), timedelta(minutes=10)])
async def test_a2_another_host_keeps_its_lease_while_it_renews_it_whatever_its_clock_says(
    postgres_url: str, skew: timedelta
) -> None:
    ledger = await opened(postgres_url)
    theirs = await leases.acquire(ledger, NAME, FAR, now=now() + skew, ttl=TTL)
    assert theirs is not None

    async def renews() -> None:
        while True:
            await asyncio.sleep(TTL.total_seconds() / 3)
            await leases.renew(ledger, theirs, now=now() + skew, ttl=TTL)

    heart = asyncio.create_task(renews())
    try:
        with pytest.raises(Busy, match="another process is at work"):
            async with leased(ledger, NAME, clock=now, ttl=TTL):
                pass
    finally:
        heart.cancel()
        await asyncio.gather(heart, return_exceptions=True)
    async with leased(ledger, NAME, clock=now, ttl=TTL) as lease:  # silent for as long: it is dead
        assert lease.token == theirs.token + 1
    await ledger.close()


async def opened(url: str) -> Ledger:
    ledger = Ledger.open(url)
    await ledger.migrate()
    return ledger


async def test_a2_a_lease_that_another_host_gives_back_meanwhile_is_taken(postgres_url: str) -> None:
    ledger = await opened(postgres_url)
    theirs = await leases.acquire(ledger, NAME, FAR, now=now(), ttl=TTL)
    assert theirs is not None
    given = asyncio.create_task(release_soon(ledger, theirs))
    async with leased(ledger, NAME, clock=now, ttl=timedelta(seconds=60)) as lease:
        assert lease.token == 2
    await given
    await ledger.close()


async def release_soon(ledger: Ledger, lease: leases.Lease) -> None:
    await asyncio.sleep(0.5)
    assert await leases.release(ledger, lease)
