"""A1 on both databases: ``kill -9`` leaves before or after, never between, and what was committed stays."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest

from ledger.store import audit
from ledger.store.engine import Ledger
from ledger.store.tables import people
from tests.parts.fences import ALONE
from tests.parts.postgres import PostgresServer

TEAM = ("id", "name", "name_key")


@asynccontextmanager
async def dying_writer(url: str, now: datetime) -> AsyncIterator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.parts.dying_writer", url, now.isoformat(), stdin=pipe, stdout=pipe
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


async def says(process: asyncio.subprocess.Process, word: str) -> None:
    assert process.stdout is not None
    assert (await process.stdout.readline()).decode().strip() == word


async def goes_on(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    await process.stdin.drain()


async def counts(ledger: Ledger) -> tuple[int, int]:
    async with ledger.read("acme") as reader:
        verdict = await audit.verify(reader)
        assert verdict.ok
        return len(await reader.tuples(reader.open(people.team, "id"))), verdict.events


async def test_a1_killed_inside_the_transaction_leaves_before(ledger: Ledger, ledger_url: str, now: datetime) -> None:
    async with dying_writer(ledger_url, now) as process:
        await says(process, "inside")
    assert await counts(ledger) == (0, 0)
    async with ledger.write("acme", ALONE, at=now + timedelta(hours=1)) as book:  # nothing of it is locked either
        await book.begin(people.team, TEAM, [("t1", "A", "a")])
    assert await counts(ledger) == (1, 0)


async def test_a1_killed_after_the_commit_leaves_after(ledger: Ledger, ledger_url: str, now: datetime) -> None:
    async with dying_writer(ledger_url, now) as process:
        await says(process, "inside")
        await goes_on(process)
        await says(process, "committed")
    assert await counts(ledger) == (5000, 5000)


@pytest.mark.slow
async def test_a1_a_killed_postgresql_keeps_what_was_committed(now: datetime) -> None:
    server = PostgresServer.start(durable=True)
    try:
        ledger = Ledger.open(server.create_database("kept"))
        await ledger.migrate()
        async with ledger.write("acme", ALONE, at=now) as book:
            await book.begin(people.team, TEAM, [(f"t{n}", "A", "a") for n in range(500)])
        server.crash()
        await ledger.close()
        server.restart()
        ledger = Ledger.open(server.url("kept"))
        assert await counts(ledger) == (500, 0)
        await ledger.close()
    finally:
        server.stop()
