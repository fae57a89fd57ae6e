"""The book's own time on both databases: instants are taken behind the lock, grow, and partition what holds when."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from ledger.book_time import HostTime, LastWrite, WrongClock, accepted, following, instant
from ledger.store import people
from ledger.store.book_times import present
from ledger.store.engine import Ledger
from ledger.store.tables import people as tables
from tests.parts.fences import ALONE

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Clocks:
    """A host whose clocks a test moves."""

    def __init__(self) -> None:
        self.wall, self.steady = AT, 1_000.0

    def __call__(self) -> HostTime:
        return HostTime(self.wall, self.steady, "boot")

    def pass_(self, time: timedelta) -> None:
        self.wall += time
        self.steady += time.total_seconds()


@pytest.fixture
async def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
async def book(ledger: Ledger, clocks: Clocks, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """The ledger of a process with clocks. Its database's clock shows what the wall clock does."""
    monkeypatch.setattr(ledger, "_clock", clocks)

    async def database(*_args: Any) -> datetime | None:
        """Another host's, which nobody steps."""
        return AT + timedelta(seconds=clocks.steady - 1_000.0) if ledger.dialect == "postgresql" else None

    monkeypatch.setattr(ledger, "_database_clock", database)
    return ledger


async def set_state(book: Ledger, state: str, *, asked: datetime, before: float = 0.0, behind: float = 0.0) -> datetime:
    """End the open row of one identity and begin another."""
    async with book.write("acme", ALONE, at=asked) as open_book:
        await asyncio.sleep(before)
        rows = await people.open_identities(open_book)
        await people.end_identities(open_book, [row[0] for row in rows])
        await people.begin_identities(open_book, [("i1", "a@b.example", "a@b.example", "", "", "", state, "", {})])
        await asyncio.sleep(behind)
        return open_book.at


async def intervals(book: Ledger) -> list[tuple[datetime, datetime | None, str]]:
    async with book.read("acme") as reader:
        rows = await reader.tuples(reader.select(tables.identity, "valid_from", "valid_to", "state"))
    return sorted(rows, key=lambda row: row[0])


async def test_a_writer_that_waited_writes_after_whom_it_waited_for(book: Ledger, clocks: Clocks) -> None:
    """A run looks at the clock, reads for minutes and waits; somebody signs in meanwhile."""
    await set_state(book, "active", asked=clocks.wall)
    asked = clocks.wall + timedelta(minutes=1)
    clocks.pass_(timedelta(minutes=4))
    signed_in = await set_state(book, "active", asked=clocks.wall)
    clocks.pass_(timedelta(seconds=1))
    assert await set_state(book, "disabled", asked=asked) > signed_in, "what it was asked at is long past"
    rows = await intervals(book)
    assert all(end is None or end > begin for begin, end, _ in rows)
    assert [(one[1], two[0]) for one, two in pairwise(rows)] == [(two[0], two[0]) for _, two in pairwise(rows)]


async def test_two_writers_at_once_leave_one_state_at_each_instant(book: Ledger, clocks: Clocks) -> None:
    await set_state(book, "active", asked=clocks.wall)
    states = [f"state {number}" for number in range(8)]
    await asyncio.gather(*(set_state(book, state, asked=clocks.wall) for state in states))
    rows = await intervals(book)
    for begin, _, _ in rows:
        async with book.read("acme") as reader:
            found = await reader.tuples(reader.as_of(tables.identity, begin, "id"))
        assert len(found) == 1, "one identity never appears twice"


async def test_what_was_written_is_never_in_the_future_of_who_reads_it(book: Ledger, clocks: Clocks) -> None:
    written = await set_state(book, "active", asked=clocks.wall)
    async with book.read("acme") as reader:
        assert await present(reader, written - HOUR) == written
        assert await present(reader, written + HOUR) == written + HOUR
    async with book.read("nobody") as reader:
        assert await present(reader, AT) == AT


@pytest.mark.parametrize("step", [-2 * HOUR, timedelta(days=-400), 2 * HOUR, timedelta(days=4000)])
async def test_a_clock_that_cannot_be_right_writes_nothing_until_it_is_accepted(
    book: Ledger, clocks: Clocks, step: timedelta
) -> None:
    before = await set_state(book, "active", asked=clocks.wall)
    await book.check_clock("acme")
    clocks.wall += step
    with pytest.raises(WrongClock):
        await set_state(book, "disabled", asked=clocks.wall)
    with pytest.raises(WrongClock):
        await book.check_clock("acme")
    assert [row[2] for row in await intervals(book)] == ["active"]
    async with book.accept_clock("acme", at=clocks.wall) as accepting:
        assert accepting.at > before
    await book.check_clock("acme")
    clocks.pass_(timedelta(minutes=1))
    await set_state(book, "disabled", asked=clocks.wall)
    rows = await intervals(book)
    assert [row[2] for row in rows] == ["active", "disabled"]
    assert rows[0][1] == rows[1][0] > before


async def test_each_organization_has_its_own_time(book: Ledger, clocks: Clocks) -> None:
    await set_state(book, "active", asked=clocks.wall)
    clocks.wall -= 2 * HOUR
    async with book.write("globex", ALONE, at=clocks.wall) as other:
        assert other.at == clocks.wall


async def test_a_clock_a_little_behind_lets_the_book_s_time_stand(book: Ledger, clocks: Clocks) -> None:
    first = await set_state(book, "active", asked=clocks.wall)
    clocks.wall -= timedelta(minutes=4)
    assert await set_state(book, "disabled", asked=clocks.wall) == first + timedelta(microseconds=1)
    clocks.pass_(timedelta(minutes=5))
    assert await set_state(book, "active", asked=clocks.wall) == clocks.wall


def test_what_was_accepted_of_a_clock_ends_when_it_has_caught_up() -> None:
    year, host = timedelta(days=365), HostTime(AT)
    left = accepted(LastWrite(AT + year, host), host)
    assert left.behind > year - HOUR
    for days in (100, 300, 365, 400):
        host = HostTime(AT + timedelta(days=days))
        left = following(left, instant(left, host), host)
    assert left.behind == timedelta(0)
    with pytest.raises(WrongClock):
        instant(left, HostTime(AT + timedelta(days=100)))


def test_a_host_that_stood_still_is_believed_where_the_database_agrees() -> None:
    last = LastWrite(AT, HostTime(AT, 1_000.0, "boot"))
    paused = HostTime(AT + 2 * HOUR, 1_001.0, "boot")
    assert instant(last, paused, AT + 2 * HOUR) == AT + 2 * HOUR
    with pytest.raises(WrongClock):
        instant(last, paused)
    with pytest.raises(WrongClock):
        instant(last, paused, AT)
