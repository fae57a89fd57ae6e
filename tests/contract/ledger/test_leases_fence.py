"""A2 on both databases: a process that lost its lease cannot commit, whatever its clock says."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from ledger.errors import Busy, Stale
from ledger.jobs import Lease, Leased, run_lease
from ledger.store import leases
from ledger.store.engine import Ledger
from ledger.store.tables import people

TTL = timedelta(seconds=30)
NAME = run_lease("acme")
TEAM = ("id", "name", "name_key")


async def taken(ledger: Ledger, holder: str, now: datetime) -> Lease:
    lease = await leases.acquire(ledger, NAME, holder, now=now, ttl=TTL)
    assert lease is not None
    return lease


async def write_under(ledger: Ledger, lease: Lease, team: str, now: datetime) -> None:
    async with ledger.write("acme", Leased(lease), at=now) as book:
        await book.begin(people.team, TEAM, [(team, team, team)])


async def teams(ledger: Ledger) -> list[str]:
    async with ledger.read("acme") as reader:
        return [str(row[0]) for row in await reader.tuples(reader.open(people.team, "id").order_by("id"))]


async def test_a2_one_holder_at_a_time_and_tokens_grow(ledger: Ledger, now: datetime) -> None:
    first = await taken(ledger, "a", now)
    assert await leases.acquire(ledger, NAME, "b", now=now + TTL / 2, ttl=TTL) is None
    assert await leases.acquire(ledger, run_lease("globex"), "b", now=now, ttl=TTL) is not None
    assert await leases.release(ledger, first)
    second = await taken(ledger, "b", now)
    assert (first.token, second.token) == (1, 2)
    assert await leases.current(ledger, NAME) == second
    assert not await leases.release(ledger, first)
    assert await leases.current(ledger, NAME) == second


async def test_a2_a_stolen_lease_cannot_commit(ledger: Ledger, now: datetime) -> None:
    paused = await taken(ledger, "a", now)
    await write_under(ledger, paused, "before", now)
    thief = await taken(ledger, "b", now + TTL)
    with pytest.raises(Stale, match="taken over"):
        await write_under(ledger, paused, "after", now + TTL)
    with pytest.raises(Stale):
        await leases.renew(ledger, paused, now=now + TTL, ttl=TTL)
    await write_under(ledger, thief, "thief", now + TTL)
    assert await teams(ledger) == ["before", "thief"]


async def test_a2_the_same_holder_started_again_fences_its_older_self(ledger: Ledger, now: datetime) -> None:
    older = await taken(ledger, "a", now)
    newer = await taken(ledger, "a", now)
    with pytest.raises(Stale):
        await write_under(ledger, older, "older", now)
    await write_under(ledger, newer, "newer", now)
    assert await teams(ledger) == ["newer"]


async def test_a2_nobody_takes_the_lease_between_the_check_and_the_commit(
    ledger: Ledger, ledger_url: str, now: datetime
) -> None:
    lease = await taken(ledger, "a", now)
    other = Ledger.open(ledger_url, busy_seconds=0.1)
    try:
        async with ledger.write("acme", Leased(lease), at=now) as book:
            with pytest.raises(Busy):
                await leases.acquire(other, NAME, "b", now=now + TTL, ttl=TTL)
            await book.begin(people.team, TEAM, [("t1", "A", "a")])
        thief = await leases.acquire(other, NAME, "b", now=now + TTL, ttl=TTL)
    finally:
        await other.close()
    assert thief is not None
    assert thief.token == lease.token + 1
    assert await teams(ledger) == ["t1"]


async def test_a2_a_clock_set_back_frees_the_lease_and_fences_its_holder(ledger: Ledger, now: datetime) -> None:
    ahead = await taken(ledger, "a", now + timedelta(days=1))
    renewed = await leases.renew(ledger, ahead, now=now, ttl=TTL)  # its own clock was set back: it lives on
    assert renewed.expires_at == now + TTL
    dead = await taken(ledger, "a", now + timedelta(days=1))  # died there; then the clocks were set back
    thief = await taken(ledger, "b", now)
    assert thief.token == dead.token + 1
    with pytest.raises(Stale):
        await write_under(ledger, dead, "dead", now + timedelta(days=1))
    await write_under(ledger, thief, "thief", now)


async def test_a2_many_first_comers_one_winner(ledger: Ledger, now: datetime) -> None:
    found = await asyncio.gather(*(leases.acquire(ledger, NAME, f"holder-{n}", now=now, ttl=TTL) for n in range(8)))
    assert [lease.token for lease in found if lease] == [1]


async def test_a_lease_that_was_never_granted_is_refused(ledger: Ledger, now: datetime) -> None:
    with pytest.raises(Stale):
        await write_under(ledger, Lease("run:acme", "ghost", 1, now + TTL), "ghost", now)
    assert await teams(ledger) == []
