"""The embedded engine under limits: interrupted, cancelled, crowded, with old files, through another file system."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from ledger.errors import NotFound, Unavailable
from ledger.publication import Publication, PublishedTable
from ledger.published.datasets import DATASETS, USAGE_DAILY, arrow_table
from ledger.published.iceberg import Scan, Warehouse
from ledger.store.engine import Ledger
from reporting_api.errors import Overloaded, QueryTimeout
from reporting_api.query import duckdb as room
from reporting_api.query.compile import Compiled
from reporting_api.query.duckdb import DuckEngine, Limits
from reporting_api.query.model import Order, Query, Scope
from tests.contract.reporting.conftest import Api, Written
from tests.parts import published

ENDLESS = Compiled("SELECT sum(a.range * b.range) FROM range(100000000) a, range(1000000) b", (), ("x",))
TEAMS = tuple(team.id for team in published.TEAM_LIST)


def _query(dataset: str = "usage_daily", **changes: Any) -> Query:
    shape = DATASETS[dataset]
    scope = Scope("acme", TEAMS, frozenset(shape.names), "pseudonym")
    return replace(Query(dataset, scope, "s", shape.names, (Order("row_id"),), 10_000), **changes)


async def _running(engine: DuckEngine, count: int) -> None:
    while engine._pending < count or not engine._running:  # noqa: ASYNC110 - every step is one turn of the loop
        await asyncio.sleep(0)


def _publication(written: Written) -> Publication:
    from datetime import UTC, datetime

    return Publication("s", 1, datetime(2026, 3, 2, tzinfo=UTC), written.tables["acme"])


@pytest.fixture
async def engine(warehouse: Warehouse) -> AsyncIterator[DuckEngine]:
    made = DuckEngine(warehouse, Limits(at_once=1, waiting=1, time=timedelta(seconds=60)))
    yield made
    await made.close()


async def test_a_query_is_interrupted_at_its_time_limit_and_frees_its_thread(
    warehouse: Warehouse, written: Written
) -> None:
    engine = DuckEngine(warehouse, Limits(at_once=1, time=timedelta(milliseconds=200)))
    with pytest.raises(QueryTimeout):
        await engine._in_thread(room._fetch, ENDLESS, USAGE_DAILY, [])
    engine._limits = replace(engine._limits, time=timedelta(seconds=60))
    assert len((await engine.page(_query(), _publication(written))).rows) == 4 * 3 * 2 * published.DAYS
    await engine.close()


async def test_a_cancelled_asker_interrupts_the_query(engine: DuckEngine, written: Written) -> None:
    task = asyncio.create_task(engine._in_thread(room._fetch, ENDLESS, USAGE_DAILY, []))
    await _running(engine, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine._pending == 0
    assert (await engine.page(_query(limit=1), _publication(written))).more  # the only thread is free again


async def test_beyond_the_queue_is_said_at_once(engine: DuckEngine) -> None:
    tasks = [asyncio.create_task(engine._in_thread(room._fetch, ENDLESS, USAGE_DAILY, [])) for _ in range(2)]
    await _running(engine, 2)
    with pytest.raises(Overloaded):
        await engine._in_thread(room._fetch, ENDLESS, USAGE_DAILY, [])
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_closing_interrupts_what_runs(warehouse: Warehouse) -> None:
    engine = DuckEngine(warehouse, Limits(at_once=1))
    task = asyncio.create_task(engine._in_thread(room._fetch, ENDLESS, USAGE_DAILY, []))
    await _running(engine, 1)
    await engine.close()
    with pytest.raises(Unavailable):
        await task


async def test_a_closed_engine_leaves_nothing_of_duckdb(warehouse: Warehouse, written: Written) -> None:
    """Or the process's last words are its complaints of what was never let go."""
    gc.collect()
    before = {id(item) for item in gc.get_objects() if isinstance(item, duckdb.DuckDBPyConnection)}
    engine = DuckEngine(warehouse, Limits())
    assert (await engine.page(_query(limit=1), _publication(written))).more
    await engine.close()
    assert {id(item) for item in gc.get_objects() if isinstance(item, duckdb.DuckDBPyConnection)} <= before


async def test_memory_is_bounded(warehouse: Warehouse) -> None:
    engine = DuckEngine(warehouse, Limits(memory="50MB"))
    greedy = Compiled("SELECT list(range::VARCHAR || repeat('x', 1000)) FROM range(10000000)", (), ("x",))
    with pytest.raises(Unavailable, match="memory"):
        await engine._in_thread(room._fetch, greedy, USAGE_DAILY, [])
    await engine.close()


async def test_a_snapshot_that_was_swept_is_not_found(engine: DuckEngine, written: Written) -> None:
    gone = replace(_publication(written), tables={"usage_daily": PublishedTable(42, 0, "")})
    with pytest.raises(NotFound):
        await engine.page(_query(), gone)
    with pytest.raises(NotFound):
        await engine.page(_query("seats"), gone)


async def test_files_that_vanished_are_unavailable_not_empty(engine: DuckEngine, written: Written) -> None:
    publication = _publication(written)
    key = ("acme", "seats", publication.tables["seats"].snapshot, None, None)
    table = await engine._scan(key)
    gone = tuple(f"{name}.gone" for name in table.scan.files)
    engine._scans[key] = replace(table, scan=replace(table.scan, files=gone))
    with pytest.raises(Unavailable):
        await engine.page(_query("seats"), publication)


class OneScan:
    """Stands in for the warehouse: whatever is asked, these files."""

    def __init__(self, scan: Scan) -> None:
        self._scan = scan

    async def scan(self, *_: Any, **__: Any) -> Scan:
        return self._scan


def _rows(days: int) -> pa.Table:
    return arrow_table(USAGE_DAILY, published.rows_of("acme", days=days)["usage_daily"])


@pytest.mark.parametrize("prefix", ["", "s3://"])
async def test_files_from_before_a_column_read_it_as_null(tmp_path: Path, written: Written, prefix: str) -> None:
    whole = _rows(1)
    pq.write_table(whole.drop_columns(["parent_offering_code", "tokens"]), tmp_path / "old.parquet")
    pq.write_table(whole, tmp_path / "new.parquet")
    files = tuple(f"{prefix}{tmp_path / name}" for name in ("old.parquet", "new.parquet"))
    scan = Scan(USAGE_DAILY, files, 2 * whole.num_rows, 0, fs.LocalFileSystem())
    engine = DuckEngine(OneScan(scan), Limits())  # type: ignore[arg-type]
    page = await engine.page(_query(select=("tokens", "usage_at"), order=(Order("row_id"),)), _publication(written))
    tokens = [row[0] for row in page.rows]
    assert len(tokens) == 2 * whole.num_rows
    assert sum(token is not None for token in tokens) == whole.num_rows // 2
    assert {row[1].isoformat() for row in page.rows} == {"2026-02-01T00:00:00+00:00"}
    await engine.close()


async def test_an_empty_table_has_no_rows(ledger: Ledger, ledger_url: str, tmp_path: Path, written: Written) -> None:
    """Through the ledger's own catalog, on both databases."""
    warehouse = Warehouse.open(f"file:{tmp_path}/own", ledger_url)
    tables = await published.write_tables(warehouse, "acme", {name: [] for name in DATASETS})
    engine = DuckEngine(warehouse, Limits())
    publication = replace(_publication(written), tables=tables)
    for name in DATASETS:
        assert (await engine.page(_query(name), publication)).rows == []
        assert await engine.count(_query(name), publication) == 0
    await engine.close()
    await warehouse.close()


async def test_days_are_bounded_by_files_and_by_rows(engine: DuckEngine, written: Written) -> None:
    query = _query(since=date(2026, 2, 3), until=date(2026, 2, 5))
    page = await engine.page(query, _publication(written))
    place = page.columns.index("usage_date")
    assert {row[place] for row in page.rows} == {date(2026, 2, 3), date(2026, 2, 4)}
    assert await engine.count(query, _publication(written)) == len(page.rows)


async def test_an_asker_who_hangs_up_ends_the_query(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def endless(self: DuckEngine, query: Query, publication: Publication) -> None:
        began.set()
        try:
            await self._in_thread(room._fetch, ENDLESS, USAGE_DAILY, [])
        finally:
            ended.set()

    monkeypatch.setattr(DuckEngine, "page", endless)
    server = api.client.server
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    request = f"GET /v1/datasets/seats HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.tokens['pseudonym']}\r\n\r\n"
    writer.write(request.encode("ascii"))
    await asyncio.wait_for(began.wait(), 30)
    assert not ended.is_set()
    writer.close()
    await asyncio.wait_for(ended.wait(), 10)  # long before the time limit
