"""A cancelled writer (a client that hung up, a daemon that drains) gives its lock back, and nothing of it stays."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from ledger.store.engine import Ledger
from ledger.store.tables import people
from tests.parts.fences import ALONE

MANY = 20_000


async def _write(ledger: Ledger, now: datetime, begun: asyncio.Event, count: int) -> None:
    async with ledger.write("acme", ALONE, at=now) as book:
        begun.set()
        rows = [(f"i{number}", f"t{number % 7}", "manual", "", "") for number in range(count)]
        for start in range(0, count, 500):
            await book.begin(
                people.team_membership,
                ("identity_id", "team_id", "provenance", "source_id", "cause"),
                rows[start : start + 500],
            )


@pytest.mark.parametrize("turns", [0, 1, 3, 10, 40])
async def test_a_cancelled_writer_leaves_nothing_and_the_next_one_goes_on(
    ledger: Ledger, now: datetime, turns: int
) -> None:
    begun = asyncio.Event()
    task = asyncio.create_task(_write(ledger, now, begun, MANY))
    await begun.wait()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(10), ledger.write("acme", ALONE, at=now) as book:
        assert await book.all(book.open(people.team_membership, "row_id")) == []


async def test_a_writer_cancelled_while_it_waits_for_the_lock_does_not_keep_it(ledger: Ledger, now: datetime) -> None:
    begun, never = asyncio.Event(), asyncio.Event()
    async with ledger.write("acme", ALONE, at=now):
        waiting = asyncio.create_task(_write(ledger, now, never, 1))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with asyncio.timeout(10):
        await _write(ledger, now, begun, 1)


async def test_a_writer_cancelled_while_another_process_holds_the_book_does_not_get_it_later(
    ledger: Ledger, ledger_url: str, now: datetime
) -> None:
    other = Ledger.open(ledger_url)  # its own connections, as another process has them
    try:
        async with other.write("acme", ALONE, at=now):
            waiting = asyncio.create_task(_write(ledger, now, asyncio.Event(), 1))
            await asyncio.sleep(0.2)
            waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        async with asyncio.timeout(10):
            await _write(other, now, asyncio.Event(), 1)
            async with ledger.read("acme") as reader:
                assert len(await reader.all(reader.open(people.team_membership, "row_id"))) == 1
    finally:
        await other.close()
