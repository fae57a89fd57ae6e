"""How fast the reporting API answers over many usage rows, beside its floor: bare DuckDB on the same Parquet files.

    python benchmarks/report_query.py [--rows 10000000] [--days 365] [--times 30]

Rows are made with DuckDB and written through the product's own warehouse; answers come over real HTTP on loopback, with
authentication, entitlement, access log, cursor and JSON. The floor runs the same question on the same files in the same
process, rows as Python tuples, nothing else. Aims (reporting.md §8): a page < 30 ms; filtered p95 < 200 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from rich.console import Console
from rich.table import Table

from access import tokens
from access.principal import Scope, operator
from access.tokens import TokenSpec
from ledger.publication import PublishedTable
from ledger.published.datasets import USAGE_DAILY
from ledger.published.iceberg import Scan, Warehouse
from ledger.store.engine import Ledger
from reporting_api.app import make_app
from reporting_api.settings import ApiSettings
from tests.parts import published
from tests.parts.published import TeamOf

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
FIRST = date(2025, 3, 1)
PEPPER = b"pepper of the benchmark"
TEAMS = tuple(TeamOf(f"t{number:02}", f"Team {number}") for number in range(40))
SELECT = "usage_date,team_id,user_key,offering_code,version,source,is_active,tokens,status"

ROWS = """
SELECT md5(i::VARCHAR) AS row_id, d AS usage_date, d::TIMESTAMPTZ AS usage_at,
       strftime(d, '%Y%m%d')::INTEGER AS date_key, printf('t%02d', i * 7 % 40) AS team_id,
       'u1-' || md5((i % 20000)::VARCHAR) AS user_key, 'OFF' || (i % 12) AS offering_code,
       'Offering ' || (i % 12) AS offering_name, NULL::VARCHAR AS parent_offering_code,
       '2026.' || (i % 4) AS version, CASE WHEN i % 5 = 0 THEN 'flex' ELSE 'sus' END AS source, true AS is_active,
       CASE WHEN i % 5 = 0 THEN (i % 100)::BIGINT END AS tokens, 'observed' AS collection_state, 'final' AS status,
       1::INTEGER AS definition_version, 0::INTEGER AS revision, 's' AS snapshot_id
FROM (SELECT range AS i, ?::DATE + (range // ?)::INTEGER AS d FROM range(?, ?))
ORDER BY usage_date, team_id, user_key, offering_code
"""


@dataclass(frozen=True)
class Case:
    """One question: the path for us, the SQL after FROM for the floor."""

    name: str
    path: str
    sql: str
    aim_ms: int


async def fill(warehouse: Warehouse, rows: int, days: int) -> PublishedTable:
    """Write the rows a month at a time; returns the last snapshot."""
    maker = duckdb.connect(config={"threads": 2})
    maker.execute("SET TimeZone = 'UTC'")
    per_day, snapshot = rows // days, None
    for start in range(0, days, 30):
        stop = min(days, start + 30)
        made = maker.sql(ROWS, params=[FIRST, per_day, start * per_day, stop * per_day]).to_arrow_table()
        chosen = {FIRST + timedelta(days=day) for day in range(start, stop)}
        snapshot = await warehouse.write(
            "acme", "usage_daily", made.cast(USAGE_DAILY.arrow_schema), base=snapshot, days=chosen
        )
    assert snapshot is not None
    return PublishedTable(snapshot, per_day * days, "")


async def spent(times: int, ask: Callable[[], Awaitable[Any] | Any]) -> list[float]:
    """Milliseconds of each of ``times`` calls, after one to warm up."""
    found = []
    for _ in range(times + 1):
        start = time.perf_counter()
        answer = ask()
        if asyncio.iscoroutine(answer):
            await answer
        found.append((time.perf_counter() - start) * 1000)
    return sorted(found[1:])


def p95(values: list[float]) -> float:
    """The 95th percentile."""
    return values[min(len(values) - 1, round(0.95 * len(values)) - 1 if len(values) > 1 else 0)]


def cases(days: int, cursor: str) -> list[Case]:
    """The questions."""
    middle = FIRST + timedelta(days=days // 2)
    month = f"usage_date >= '{middle}' AND usage_date < '{middle + timedelta(days=30)}'"
    window = f"from={middle}&to={middle + timedelta(days=30)}"
    order = "ORDER BY usage_date, row_id LIMIT 1001"
    page = f"/v1/datasets/usage_daily?select={SELECT}"
    user = "u1-c4ca4238a0b923820dcc509a6f75849b"  # of person 1
    team = "team_id = 't07'"
    wide = order.replace("1001", "10001")
    by_tokens = "ORDER BY tokens DESC NULLS LAST, row_id LIMIT 1001"
    one = f"{page}&team_id=t07&{window}"
    return [
        Case("first page", page, f"WHERE true {order}", 30),
        Case("page of a Team and month", one, f"WHERE {team} AND {month} {order}", 30),
        Case("later page (cursor)", cursor, f"WHERE usage_date >= '{middle}' {order}", 30),
        Case("scan: one person, all days", f"{page}&user_key={user}", f"WHERE user_key = '{user}' {order}", 200),
        Case("1 row and count, Team and month", f"{one}&limit=1&count=exact", f"WHERE {team} AND {month} {order}", 200),
        Case("10,000 rows, JSON", f"{page}&{window}&limit=10000", f"WHERE {month} {wide}", 200),
        Case(
            "sorted by tokens, all days",
            f"{page}&order=-tokens",
            f"WHERE true {by_tokens}",
            1000,
        ),
    ]


async def measure(client: TestClient[Any, Any], token: str, scan: Scan, days: int, times: int) -> Table:
    """Us and the floor, side by side."""
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}

    async def get(path: str) -> Any:
        async with client.get(path, headers=headers) as response:
            body = await response.read()
            assert response.status == 200, body
            return response

    floor = duckdb.connect(config={"threads": 2, "memory_limit": "1GB"})
    floor.execute("SET GLOBAL parquet_metadata_cache = true")
    middle = FIRST + timedelta(days=days // 2)
    start = f"/v1/datasets/usage_daily?select={SELECT}&order=usage_date&limit=1000&from={middle - timedelta(days=1)}"
    link = (await get(start)).links["next"]["url"]
    table = Table(title=f"{scan.rows:,} usage rows in {len(scan.files)} files, {scan.size / 2**20:,.0f} MiB")
    for column in ("question", "floor p50", "ours p50", "ours p95", "ours − floor", "ratio", "aim p95", ""):
        table.add_column(column, justify="left" if column == "question" else "right")
    for case in cases(days, str(link.relative())):
        what = f"{SELECT}, count(*) OVER ()" if "count" in case.name else SELECT
        sql = f"SELECT {what} FROM read_parquet(?, hive_partitioning => true) {case.sql}"  # noqa: S608
        floors = await spent(times, lambda sql=sql: floor.execute(sql, [list(scan.files)]).fetchall())  # type: ignore[misc]
        ours = await spent(times, lambda path=case.path: get(path))  # type: ignore[misc]
        low, mine = statistics.median(floors), statistics.median(ours)
        good = "ok" if p95(ours) <= case.aim_ms else "MISSED"
        shown = [f"{value:.1f} ms" for value in (low, mine, p95(ours), mine - low)]
        table.add_row(case.name, *shown, f"{mine / low:.2f}", f"{case.aim_ms} ms", good)
    return table


async def run(rows: int, days: int, times: int) -> None:
    """Fill, publish, ask."""
    console = Console(width=140)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ledger = Ledger.open(f"sqlite:///{folder}/ledger")
        await ledger.migrate()
        warehouse = Warehouse.open(f"file:{folder}/warehouse", f"sqlite:///{folder}/ledger")
        await published.make_organization(ledger, "acme", NOW, TEAMS)
        start = time.perf_counter()
        table = await fill(warehouse, rows, days)
        console.print(f"made and written in {time.perf_counter() - start:.1f} s")
        await published.announce(ledger, "acme", NOW, {"usage_daily": table})
        spec = TokenSpec("bench", NOW + timedelta(days=1), scopes=(Scope.REPORTS_PSEUDONYM,))
        token = await tokens.create(ledger, "acme", spec, pepper=PEPPER, actor=operator("acme", "bench"), now=NOW)
        root = web.Application()
        settings = ApiSettings(queries_per_minute=100_000)
        root.add_subapp(
            "/v1", make_app(ledger, warehouse, settings, lambda: NOW, pepper=PEPPER, public_url="http://localhost")
        )
        async with TestClient(TestServer(root)) as client:
            scan = await warehouse.scan("acme", "usage_daily", table.snapshot)
            console.print(await measure(client, token.text, scan, days, times))
        await warehouse.close()
        await ledger.close()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="a few seconds' worth, to see that it runs")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--times", type=int, default=30)
    chosen = parser.parse_args()
    if chosen.small:
        chosen.rows, chosen.days, chosen.times = 200_000, 90, 5
    asyncio.run(run(chosen.rows, chosen.days, chosen.times))


if __name__ == "__main__":
    main()
