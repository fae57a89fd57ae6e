"""How fast usage comes in and goes out: events per second, and the cost of a publish.

Floor of the same run: the bare ``executemany`` of the same rows into a table with the same key. Target: 50k events/s.
``python benchmarks/ingest.py [--events N] [--people N] [--days N]``
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Awaitable
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from connector.usage.formats.bodies import MAX_EVENTS
from connector.usage.ingest import ingest
from connector.usage.publish import publish
from connector.usage.settings import ReportingSettings
from ledger.published.iceberg import Warehouse
from ledger.store.engine import Ledger
from tests.parts.usage_company import NOW, ORG, SECRET, event, found, ndjson

SETTINGS = ReportingSettings(lateness_days=120)


async def timed(work: Awaitable[object]) -> float:
    """Seconds ``work`` took."""
    start = time.perf_counter()
    await work
    return time.perf_counter() - start


def batches(total: int, people: int, days: int) -> list[bytes]:
    """NDJSON batches of ``total`` events spread over people and days."""
    rows = (
        event(
            n,
            mail=f"person{n % people}@acme.example",
            occurred_at=(NOW - timedelta(days=1 + n // people % days)).isoformat(),
            version=f"2026.{n % 3}",
        )
        for n in range(total)
    )
    listed = list(rows)
    return [ndjson(*listed[start : start + MAX_EVENTS]) for start in range(0, total, MAX_EVENTS)]


def floor(folder: Path, total: int) -> float:
    """Seconds of the bare insert."""
    rows = [
        (ORG, f"e-{n}", "2026-03-01", f"p{n % 300}", "CAD", "1", "sus", None, "observed", "b") for n in range(total)
    ]
    database = sqlite3.connect(folder / "floor.db")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE e (o TEXT, id TEXT, d TEXT, i TEXT, c TEXT, v, s, t, x, b, PRIMARY KEY (o, id))")
    database.execute("CREATE INDEX ix ON e (o, d)")
    start = time.perf_counter()
    for first in range(0, total, MAX_EVENTS):
        with database:
            database.executemany("INSERT INTO e VALUES (?,?,?,?,?,?,?,?,?,?)", rows[first : first + MAX_EVENTS])
    took = time.perf_counter() - start
    database.close()
    return took


async def run(total: int, people: int, days: int) -> Table:
    """Every figure as a table."""
    sent = batches(total, people, days)
    table = Table("what", "seconds", "per second")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bare = floor(folder, total)
        ledger = Ledger.open(f"sqlite:///{folder}/ledger")
        await ledger.migrate()
        await found(ledger, mails={f"p{n}": f"person{n}@acme.example" for n in range(people)})
        warehouse = Warehouse.open(f"file:{folder}/warehouse", ledger.url)

        async def send() -> None:
            for batch in sent:
                report = await ingest(ledger, ORG, batch, now=NOW, source="bench", settings=SETTINGS)
                assert report.quarantined_count == 0, report.quarantined[0]

        async def go(minutes: int) -> None:
            at = NOW + timedelta(minutes=minutes)
            await publish(ledger, warehouse, ORG, now=at, secret=SECRET, settings=SETTINGS)

        async def one_more() -> None:
            late = event("late", mail="person1@acme.example", offering_code="RENDER")
            await ingest(ledger, ORG, ndjson(late), now=NOW, source="bench", settings=SETTINGS)

        table.add_row("floor: bare insert into SQLite", f"{bare:.2f}", f"{total / bare:,.0f} rows")
        took = await timed(send())
        table.add_row(f"ingest {total:,} events", f"{took:.2f}", f"{total / took:,.0f} events")
        took = await timed(send())
        table.add_row("the same again (all duplicates)", f"{took:.2f}", f"{total / took:,.0f} events")
        rows = min(total, people * days)
        took = await timed(go(1))
        table.add_row(f"publish {days} days × {people} people", f"{took:.2f}", f"{rows / took:,.0f} rows")
        took = await timed(go(2))
        table.add_row("publish without change", f"{took:.2f}", "")
        await one_more()
        took = await timed(go(3))
        table.add_row("publish one touched day", f"{took:.2f}", "")
        await warehouse.close()
        await ledger.close()
    return table


def main() -> None:
    """Parse arguments, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a few seconds' worth, to see that it runs")
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--people", type=int, default=300)
    parser.add_argument("--days", type=int, default=90)
    given = parser.parse_args()
    if given.small:
        given.events, given.people, given.days = 10_000, 100, 20
    Console().print(asyncio.run(run(given.events, given.people, given.days)))


if __name__ == "__main__":
    main()
