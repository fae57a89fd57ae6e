"""Intervals partition time, on both databases: new ones by constraint, old ones by repair, all of them verified."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.audit import AuditEvent
from ledger.errors import RosterdError
from ledger.instant import new_ids
from ledger.store import audit, histories, migrations, publications, usage
from ledger.store.engine import Ledger
from ledger.store.tables import metadata
from tests.parts.fences import ALONE

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
forward = import_module("ledger.store.migrations.versions.ledger.0013_forward").forward
KEYS = import_module("ledger.store.migrations.versions.ledger.0013_forward").KEYS


async def without_the_rule(ledger: Ledger) -> None:
    """As a ledger of revision 0012 is."""
    async with ledger.unscoped_write() as connection:
        for name in KEYS:
            drop = f"DROP TRIGGER ck_{name}_forward"
            if ledger.dialect == "postgresql":
                drop = f"ALTER TABLE {name} DROP CONSTRAINT ck_{name}_forward"
            await connection.exec_driver_sql(drop)
        await connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0012'")


async def upgraded(ledger: Ledger) -> None:
    async with ledger.unscoped_write() as connection, migrations.turn():
        await connection.run_sync(migrations.upgrade, "ledger", "0013")


async def rows(ledger: Ledger, spans: list[tuple[int, int | None]], who: str = "i1") -> None:
    """Seats of one id, made in this order; spans in minutes after ``AT``."""
    table = metadata.tables["seat"]
    async with ledger.unscoped_write() as connection:
        for row_id, (begins, ends) in zip(sorted(new_ids(len(spans))), spans, strict=True):
            values = {
                "row_id": row_id, "organization_id": "acme", "id": who, "subscription_id": "s", "team_id": "t",
                "offering_code": "CAD", "identity_id": "i", "state": "active", "paused_from": "", "run_id": "",
                "valid_from": AT + begins * MINUTE, "valid_to": None if ends is None else AT + ends * MINUTE,
                "recorded_at": AT,
            }  # fmt: skip
            await connection.execute(table.insert().values(**values))


async def spans(ledger: Ledger) -> list[tuple[float, float | None]]:
    table = metadata.tables["seat"]
    async with ledger.read("acme") as reader:
        found = await reader.tuples(reader.select(table, "valid_from", "valid_to").order_by(table.c.row_id))
    return [(minutes(begins), None if ends is None else minutes(ends)) for begins, ends in found]


def minutes(at: datetime) -> float:
    return (at - AT) / MINUTE


def test_every_interval_table_is_repaired_and_guarded() -> None:
    tables = {table.name: table for table in metadata.sorted_tables if "valid_to" in table.c}
    assert KEYS.keys() == tables.keys()
    for name, key in KEYS.items():
        index = next(index for index in tables[name].indexes if index.name == f"uq_{name}_open")
        assert {"organization_id", *key} == {column.name for column in index.columns}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([(0, 10), (10, 9), (9, None)], [(0, 10), (10, 10), (10, None)]),  # a writer that waited, by an old clock
        ([(0, 10), (9, None)], [(0, 10), (10, None)]),  # given back and given again
        ([(5, 0), (0, 7), (8, None)], [(5, 5), (5, 7), (8, None)]),  # a gap stays
        ([(0, 1), (1, 2), (2, None)], [(0, 1), (1, 2), (2, None)]),
    ],
)
async def test_rows_that_ran_backwards_are_repaired_and_said(
    ledger: Ledger, caplog: pytest.LogCaptureFixture, before: list[Any], after: list[Any]
) -> None:
    await without_the_rule(ledger)
    await rows(ledger, before)
    await rows(ledger, [(3, None)], "another")
    async with ledger.read("acme") as reader:
        wrong = await histories.backward(reader)
    assert bool(wrong) is (before != after)
    with caplog.at_level(logging.WARNING):
        await upgraded(ledger)
    assert await spans(ledger) == [*after, (3, None)]
    assert ("ran backwards were repaired" in caplog.text) is (before != after)
    async with ledger.read("acme") as reader:
        assert await histories.backward(reader) == []


async def test_rows_made_by_hosts_whose_clocks_differ_are_held_by_the_books_time(ledger: Ledger) -> None:
    await rows(ledger, [(5, 9), (0, 5), (9, None)])  # ids made by the host that is behind sort first
    async with ledger.read("acme") as reader:
        assert await histories.backward(reader) == []
    await rows(ledger, [(0, None), (4, 6)], "two at once")
    async with ledger.read("acme") as reader:
        assert await histories.backward(reader) == ["seat: 1 row running backwards or overlapping"]


async def test_the_days_between_are_folded_again_unless_their_events_are_gone(ledger: Ledger) -> None:
    await without_the_rule(ledger)
    await rows(ledger, [(0, 10), (10, 9), (9, None)])
    days = {date(2026, 3, 1): False, date(2026, 3, 2): False, date(2026, 3, 3): True, date(2026, 3, 9): False}
    table = metadata.tables["usage_day"]
    async with ledger.unscoped_write() as connection:
        for day, sealed in days.items():
            values = {
                "organization_id": "acme", "day": day, "status": "final", "revision": 1, "rows": 1, "digest": "d",
                "publication_id": "p", "folded_at": AT, "sealed": sealed,
            }  # fmt: skip
            await connection.execute(table.insert().values(**values))
    await upgraded(ledger)
    async with ledger.read("acme") as reader:
        assert sorted(mark.day for mark in await usage.touched(reader)) == [date(2026, 3, 1), date(2026, 3, 2)]
        assert len(await publications.days(reader)) == 4


async def test_nothing_ends_before_it_began(ledger: Ledger) -> None:
    await rows(ledger, [(5, None)])
    seat = metadata.tables["seat"]
    with pytest.raises(RosterdError, match="ck_seat_forward"):
        async with ledger.write("acme", ALONE, at=AT) as book:
            await book.update(seat, {"valid_to": AT + 4 * MINUTE}, seat.c.id == "i1")
    assert await spans(ledger) == [(5, None)]


@given(st.lists(st.tuples(st.integers(0, 20), st.none() | st.integers(0, 20)), max_size=8))
def test_a_repair_moves_nothing_back_and_leaves_what_is_right(found: list[tuple[int, int | None]]) -> None:
    made = [(f"{number:02}", *span) for number, span in enumerate(found)]
    now = {row_id: (begins, ends) for row_id, begins, ends in made}
    now |= {after[0]: after[1:] for _, after in forward(made)}
    reached = 0
    for row_id, begins, ends in made:
        begun, ended = now[row_id]
        assert begun >= max(begins, reached)
        assert (ended is None) is (ends is None)
        reached = begun if ended is None else ended
        assert reached >= begun
    assert forward([(row_id, *span) for row_id, span in now.items()]) == []


async def test_an_upgraded_ledger_goes_on_behind_its_newest_instant(ledger: Ledger) -> None:
    for number in range(3):
        async with ledger.write("acme", ALONE, at=AT + number * MINUTE) as written:
            await audit.append(written, [AuditEvent("ada", "something", "x")])
    await without_the_rule(ledger)
    async with ledger.unscoped_write() as connection:
        for statement in ("DROP TABLE book_time", "UPDATE alembic_version SET version_num = '0011'"):
            await connection.exec_driver_sql(statement)
    await upgraded(ledger)
    async with ledger.write("acme", ALONE, at=AT) as after:
        assert after.at == AT + 2 * MINUTE
