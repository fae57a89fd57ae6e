"""Iceberg and the ledger share no transaction: a publish killed between them is invisible, and the next one heals."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from connector.usage.ingest import ingest
from connector.usage.publish import publish
from ledger.publication import Publication
from ledger.published.iceberg import Warehouse
from ledger.store import publications, usage
from ledger.store.engine import Ledger
from tests.parts.usage_company import NOW, ORG, PEOPLE, SECRET, event, found, ndjson

VICTIM = """
import asyncio, os, signal, sys
from datetime import datetime
import connector.usage.publish as module
from ledger.published.iceberg import Warehouse
from ledger.store.engine import Ledger

url, location, now, point = sys.argv[1:]

def die(*_arguments, **_named):
    os.kill(os.getpid(), signal.SIGKILL)

if point == "after-usage":
    module.dimension_rows = die
elif point == "before-flip":
    module._flip = die
elif point == "inside-flip":
    module.publications.set_freshness = die

async def main():
    await module.publish(Ledger.open(url), Warehouse.open(location, url), "acme",
                         now=datetime.fromisoformat(now), secret=b"a secret of the tests")

asyncio.run(main())
"""


@pytest.fixture
def location(tmp_path: Path) -> str:
    return f"file:{tmp_path / 'crash'}"


async def killed_publish(url: str, location: str, point: str) -> None:
    """Run a publish in a process of its own that kills itself at ``point``."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", VICTIM, url, location, NOW.isoformat(), point, cwd=Path(__file__).parents[3]
    )
    assert await process.wait() == -signal.SIGKILL


async def numbers(warehouse: Warehouse, publication: Publication) -> list[tuple[Any, ...]]:
    scan = await warehouse.scan(ORG, "usage_daily", publication.tables["usage_daily"].snapshot)
    table = scan.arrow_dataset().to_table(columns=["usage_date", "user_key", "tokens", "is_active"])
    return sorted(tuple(row.values()) for row in table.to_pylist())


@pytest.mark.parametrize("point", ["after-usage", "before-flip", "inside-flip"])
async def test_a_publish_killed_between_the_storages_changes_nothing_and_the_next_heals(
    ledger: Ledger, ledger_url: str, location: str, point: str
) -> None:
    await found(ledger)
    first_events = [event(n, source="flex", tokens=n, occurred_at=f"2026-02-{10 + n}T10:00:00Z") for n in range(1, 6)]
    more = [event(f"m{n}", source="flex", tokens=100, occurred_at=f"2026-02-{10 + n}T10:00:00Z") for n in range(3, 8)]
    await ingest(ledger, ORG, ndjson(*first_events), now=NOW, source="t")
    warehouse = Warehouse.open(location, ledger_url)
    before = await publish(ledger, warehouse, ORG, now=NOW, secret=SECRET)
    was = await numbers(warehouse, before)
    await ingest(ledger, ORG, ndjson(*more), now=NOW, source="t")

    await killed_publish(ledger_url, location, point)

    assert len(await warehouse.snapshots(ORG, "usage_daily")) > 1, "the dead publish had written"
    async with ledger.read(ORG) as reader:
        assert await publications.latest(reader) == before
        assert len(await usage.touched(reader)) == 5
    assert await numbers(warehouse, before) == was

    after = await publish(ledger, warehouse, ORG, now=NOW, secret=SECRET)
    assert [row[2] for row in await numbers(warehouse, after)] == [1, 2, 103, 104, 105, 100, 100]
    assert await numbers(warehouse, before) == was
    assert after.number == 2
    assert await publish(ledger, warehouse, ORG, now=NOW, secret=SECRET) == after
    await warehouse.close()


async def test_a_first_publish_that_was_killed_leaves_nothing_behind_in_the_numbers(
    ledger: Ledger, ledger_url: str, location: str
) -> None:
    await found(ledger)
    await ingest(ledger, ORG, ndjson(event(1, source="flex", tokens=7)), now=NOW, source="t")
    await killed_publish(ledger_url, location, "before-flip")
    async with ledger.read(ORG) as reader:
        assert await publications.latest(reader) is None
    await ingest(ledger, ORG, ndjson(event(2, source="flex", tokens=7, mail=PEOPLE["ola"])), now=NOW, source="t")
    warehouse = Warehouse.open(location, ledger_url)
    publication = await publish(ledger, warehouse, ORG, now=NOW, secret=SECRET)
    assert [row[2] for row in await numbers(warehouse, publication)] == [7, 7]
    await warehouse.close()
