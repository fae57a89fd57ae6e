"""Interval rows on both databases: the open row is the current state, ended rows are history (decision 0003)."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from ledger.errors import Stale
from ledger.store.engine import Ledger
from ledger.store.tables import people
from tests.parts.fences import ALONE

TEAM = ("id", "name", "name_key")


async def test_a_begun_row_is_open_and_knows_its_run(ledger: Ledger, now: datetime) -> None:
    async with ledger.write("acme", ALONE, at=now, run_id="r1") as book:
        row_ids = await book.begin(people.team, TEAM, [("t1", "Łódź", "łódź")])
    async with ledger.read("acme") as reader:
        row = await reader.first(reader.open(people.team))
    assert row is not None
    assert (row.row_id, row.name, row.valid_from, row.valid_to, row.run_id) == (row_ids[0], "Łódź", now, None, "r1")


async def test_as_of_is_half_open(ledger: Ledger, now: datetime) -> None:
    later = now + timedelta(days=1)
    async with ledger.write("acme", ALONE, at=now) as book:
        row_ids = await book.begin(people.team, TEAM, [("t1", "Design", "design")])
    async with ledger.write("acme", ALONE, at=later, run_id="r2") as book:
        await book.end(people.team, row_ids)
        await book.begin(people.team, TEAM, [("t1", "Art", "art")])
    async with ledger.read("acme") as reader:
        instants = (now - timedelta(microseconds=1), now, later - timedelta(microseconds=1), later)
        names = [await reader.scalar(reader.as_of(people.team, at, "name")) for at in instants]
        ended = await reader.all(reader.select(people.team, "ended_run").where(people.team.c.valid_to.is_not(None)))
    assert names == [None, "Design", "Design", "Art"]
    assert [row.ended_run for row in ended] == ["r2"]


async def test_ending_a_row_that_is_no_longer_open_is_stale_and_writes_nothing(ledger: Ledger, now: datetime) -> None:
    async with ledger.write("acme", ALONE, at=now) as book:
        row_ids = await book.begin(people.team, TEAM, [("t1", "A", "a"), ("t2", "B", "b")])
    async with ledger.write("acme", ALONE, at=now + timedelta(hours=1)) as book:
        await book.end(people.team, row_ids[:1])
    with pytest.raises(Stale):
        async with ledger.write("acme", ALONE, at=now + timedelta(hours=2)) as book:
            await book.end(people.team, row_ids)
    async with ledger.read("acme") as reader:
        assert [row.id for row in await reader.all(reader.open(people.team, "id"))] == ["t2"]
