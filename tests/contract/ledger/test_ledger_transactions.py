"""Transactions on both databases: serial writers, one snapshot per reader, all or nothing, no foreign exception."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import literal_column, select

from ledger.errors import BadInput, Busy, Final, Refused, RosterdError, Stale, Unavailable
from ledger.store.engine import Ledger
from ledger.store.tables import people
from tests.parts.fences import ALONE
from tests.parts.postgres import PostgresServer

TEAM = ("id", "name", "name_key")


async def test_g5_writers_of_one_organization_are_serial(ledger: Ledger, now: datetime) -> None:
    order: list[str] = []
    first_is_in, second_may_not_be = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with ledger.write("acme", ALONE, at=now):
            first_is_in.set()
            await second_may_not_be.wait()
            order.append("first")

    async def second() -> None:
        await first_is_in.wait()
        asyncio.get_running_loop().call_later(0.1, second_may_not_be.set)
        async with ledger.write("acme", ALONE, at=now):
            order.append("second")

    await asyncio.gather(first(), second())
    assert order == ["first", "second"]


async def test_a_second_process_waits_and_then_says_busy(ledger: Ledger, ledger_url: str, now: datetime) -> None:
    other = Ledger.open(ledger_url, busy_seconds=0.1)
    try:
        async with ledger.write("acme", ALONE, at=now):
            with pytest.raises(Busy):
                async with other.write("acme", ALONE, at=now):
                    pytest.fail("two writers of one organization at once")
        async with other.write("acme", ALONE, at=now) as book:
            await book.begin(people.team, TEAM, [("t1", "A", "a")])
    finally:
        await other.close()


async def test_writers_of_two_organizations_do_not_wait_on_postgresql(postgres_url: str, now: datetime) -> None:
    ledger, other = Ledger.open(postgres_url), Ledger.open(postgres_url, busy_seconds=0.2)
    try:
        async with ledger.write("acme", ALONE, at=now), other.write("globex", ALONE, at=now) as book:
            await book.begin(people.team, TEAM, [("t1", "A", "a")])
    finally:
        await ledger.close()
        await other.close()


async def test_a_reader_keeps_its_snapshot_while_a_writer_commits(ledger: Ledger, now: datetime) -> None:
    async with ledger.read("acme") as reader:
        before = await reader.all(reader.open(people.team))
        async with ledger.write("acme", ALONE, at=now) as book:
            await book.begin(people.team, TEAM, [("t1", "A", "a")])
        after = await reader.all(reader.open(people.team))
    async with ledger.read("acme") as reader:
        next_time = await reader.all(reader.open(people.team))
    assert (len(before), len(after), len(next_time)) == (0, 0, 1)


async def test_waiting_writers_do_not_use_up_the_readers_connections(ledger: Ledger, now: datetime) -> None:
    async def write(number: int) -> None:
        async with ledger.write("acme", ALONE, at=now) as book:
            await book.begin(people.team, TEAM, [(f"t{number}", "A", "a")])

    async with ledger.write("acme", ALONE, at=now):
        waiting = [asyncio.create_task(write(number)) for number in range(20)]
        for _ in range(20):
            async with ledger.read("acme") as reader:
                assert await reader.all(reader.open(people.team)) == []
    await asyncio.gather(*waiting)
    async with ledger.read("acme") as reader:
        assert len(await reader.all(reader.open(people.team))) == 20


async def test_a_reader_cannot_write(ledger: Ledger, now: datetime) -> None:
    row = {"organization_id": "acme", "name": "A", "report_zone": "UTC", "created_at": now}
    with pytest.raises(Final, match="reader"):
        async with ledger.unscoped_read() as connection:
            await connection.execute(people.organization.insert().values(**row))
    async with ledger.read("acme") as reader:
        assert await reader.first(reader.select(people.organization)) is None


async def test_an_exception_rolls_everything_back(ledger: Ledger, now: datetime) -> None:
    async def write_and_fail() -> None:
        async with ledger.write("acme", ALONE, at=now) as book:
            await book.begin(people.team, TEAM, [(f"t{n}", "A", "a") for n in range(100)])
            await book.upsert(people.organization, [], [{"name": "A", "report_zone": "UTC", "created_at": now}])
            raise LookupError("a fault of the caller")

    with pytest.raises(LookupError):
        await write_and_fail()
    async with ledger.read("acme") as reader:
        assert await reader.all(reader.select(people.team)) == []
        assert await reader.all(reader.select(people.organization)) == []


async def test_a_cancelled_writer_leaves_nothing_and_frees_the_book(ledger: Ledger, now: datetime) -> None:
    is_in = asyncio.Event()

    async def write_for_ever() -> None:
        async with ledger.write("acme", ALONE, at=now) as book:
            await book.begin(people.team, TEAM, [("t1", "A", "a")])
            is_in.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write_for_ever())
    await is_in.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with ledger.write("acme", ALONE, at=now) as book:
        assert await book.all(book.select(people.team)) == []


async def test_a_second_open_row_of_one_key_is_stale(ledger: Ledger, now: datetime) -> None:
    async with ledger.write("acme", ALONE, at=now) as book:
        await book.begin(people.team, TEAM, [("t1", "A", "a")])
    with pytest.raises(Stale) as caught:
        async with ledger.write("acme", ALONE, at=now + timedelta(hours=1)) as book:
            await book.begin(people.team, TEAM, [("t2", "B", "b"), ("t1", "Wanda Kowalska", "a")])
    assert caught.value.__cause__ is not None
    assert "Wanda" not in str(caught.value)
    async with ledger.read("acme") as reader:
        assert len(await reader.all(reader.select(people.team))) == 1


async def test_no_driver_exception_leaves(ledger: Ledger, now: datetime) -> None:
    with pytest.raises(RosterdError):
        async with ledger.write("acme", ALONE, at=now) as book:
            await book.begin(people.team, TEAM, [("t1", None, "a")])
    with pytest.raises(RosterdError):
        async with ledger.read("acme") as reader:
            await reader.all(select(literal_column("no_such_column")).select_from(people.team))
    with pytest.raises(RosterdError):
        async with ledger.unscoped_write() as connection:
            await connection.execute(select(literal_column("no_such_column")))


async def test_a_naive_instant_is_refused(ledger: Ledger, now: datetime) -> None:
    with pytest.raises(ValueError, match="naive"):
        async with ledger.write("acme", ALONE, at=now.replace(tzinfo=None)):
            pass


def test_an_unknown_scheme_says_which_ones_work() -> None:
    with pytest.raises(BadInput, match="sqlite:///FOLDER or postgresql://"):
        Ledger.open("mysql://root@127.0.0.1/x")


async def test_a_folder_of_any_name_holds_the_book_for_its_owner_only(tmp_path: Path, now: datetime) -> None:
    folder = tmp_path / "Księga 100% ?x=1#ą"
    ledger = Ledger.open(f"sqlite:///{folder}")
    await ledger.migrate()
    async with ledger.write("acme", ALONE, at=now) as book:
        await book.begin(people.team, TEAM, [("t1", "A", "a")])
    await ledger.close()
    assert (folder / "ledger.db").exists()
    assert folder.stat().st_mode & 0o077 == 0


async def test_a_server_that_is_gone_is_unavailable_without_its_password(now: datetime) -> None:
    ledger = Ledger.open("postgresql://rosterd:hunter2@127.0.0.1:1/nothing")
    with pytest.raises(Unavailable) as caught:
        async with ledger.write("acme", ALONE, at=now):
            pytest.fail("there is no server")
    assert "hunter2" not in str(caught.value)
    await ledger.close()


async def test_a_server_that_dies_meanwhile_is_unavailable(now: datetime) -> None:
    server = PostgresServer.start()
    ledger = Ledger.open(server.create_database())

    async def write_while_it_stops() -> None:
        async with ledger.write("acme", ALONE, at=now) as book:
            server.stop()
            await book.begin(people.team, TEAM, [("t1", "A", "a")])

    try:
        await ledger.migrate()
        with pytest.raises(Unavailable):
            await write_while_it_stops()
    finally:
        server.stop()
        await ledger.close()


async def test_history_is_never_deleted(ledger: Ledger, now: datetime) -> None:
    with pytest.raises(ValueError, match="history"):
        async with ledger.write("acme", ALONE, at=now) as book:
            await book.delete(people.team)
    assert issubclass(Stale, Refused)
