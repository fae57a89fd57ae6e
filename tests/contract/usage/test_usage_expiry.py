"""Expiry: old publications go from the disk, byte by byte; what is needed stays readable."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connector.usage.expiry import expire
from connector.usage.ingest import ingest
from connector.usage.publish import publish
from ledger.errors import BadInput, NotFound, Unavailable
from ledger.publication import Publication
from ledger.published.datasets import USAGE_DAILY, arrow_table
from ledger.published.iceberg import Warehouse
from ledger.store import publications
from ledger.store.engine import Ledger
from tests.parts.fences import ALONE
from tests.parts.usage_company import NOW, ORG, PEOPLE, SECRET, event, found, ndjson


async def publish_day(ledger: Ledger, warehouse: Warehouse, number: int) -> Publication:
    """One more event on the same provisional day, published."""
    at = NOW + timedelta(minutes=number)
    await ingest(ledger, ORG, ndjson(event(number, version=f"v{number}")), now=at, source="t")
    return await publish(ledger, warehouse, ORG, now=at, secret=SECRET)


async def count(warehouse: Warehouse, publication: Publication) -> int:
    scan = await warehouse.scan(ORG, "usage_daily", publication.tables["usage_daily"].snapshot)
    rows: int = scan.arrow_dataset().to_table().num_rows
    return rows


def parquet_files(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("usage_daily/**/*.parquet")}


async def test_publications_nobody_needs_go_with_their_files(
    ledger: Ledger, warehouse: Warehouse, tmp_path: Path
) -> None:
    await found(ledger)
    made = [await publish_day(ledger, warehouse, number) for number in range(1, 6)]
    # left by a publish that died
    lost = arrow_table(USAGE_DAILY, [])
    await warehouse.write(ORG, "usage_daily", lost, base=made[-1].tables["usage_daily"].snapshot, days=[])
    async with ledger.write(ORG, ALONE, at=NOW) as book:
        await publications.pin(book, made[1].id, holder="export 7", until=NOW + timedelta(days=30))
        await publications.pin(book, made[2].id, holder="cursor", until=NOW + timedelta(hours=1))
    before = parquet_files(tmp_path)
    later = datetime.now(UTC) + timedelta(days=400)  # files carry the machine's time

    untouched = await expire(ledger, warehouse, ORG, now=NOW + timedelta(days=1), grace=timedelta(days=5000))
    assert (untouched.snapshots, untouched.files) == (0, 0)
    swept = await expire(ledger, warehouse, ORG, now=NOW + timedelta(days=8), grace=NOW - later + timedelta(days=8))

    assert swept.snapshots > 0
    async with ledger.read(ORG) as reader:
        assert [one.id for one in await publications.every(reader)] == [made[1].id, made[4].id]
    assert [await count(warehouse, one) for one in (made[1], made[4])] == [2, 5]
    assert parquet_files(tmp_path) < before
    with pytest.raises(NotFound):
        await count(warehouse, made[0])
    again = await publish_day(ledger, warehouse, 9)
    assert await count(warehouse, again) == 6


async def test_what_a_revised_day_was_before_stays_readable(ledger: Ledger, warehouse: Warehouse) -> None:
    await found(ledger)
    await ingest(ledger, ORG, ndjson(event(1, occurred_at="2026-02-10T10:00:00Z")), now=NOW, source="t")
    first = await publish(ledger, warehouse, ORG, now=NOW, secret=SECRET)
    late = event(2, occurred_at="2026-02-10T10:00:00Z", mail=PEOPLE["ola"])
    await ingest(ledger, ORG, ndjson(late), now=NOW, source="t")
    second = await publish(ledger, warehouse, ORG, now=NOW + timedelta(minutes=1), secret=SECRET)
    await expire(ledger, warehouse, ORG, now=NOW + timedelta(days=30), grace=timedelta(days=-1000))
    assert [await count(warehouse, one) for one in (first, second)] == [1, 2]


async def test_a_pin_of_nothing_is_refused(ledger: Ledger) -> None:
    await found(ledger)
    with pytest.raises(NotFound):
        async with ledger.write(ORG, ALONE, at=NOW) as book:
            await publications.pin(book, "none", holder="x", until=NOW)


@pytest.mark.parametrize(("location", "url"), [("ftp://x", "sqlite:///{0}"), ("file:{0}/w", "mysql://x")])
def test_wrong_addresses_are_refused_by_their_setting(tmp_path: Path, location: str, url: str) -> None:
    with pytest.raises(BadInput, match=r"storage\.warehouse|database\.url"):
        Warehouse.open(location.format(tmp_path), url.format(tmp_path))


def test_a_catalog_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="the table catalog"):
        Warehouse.open(f"file:{tmp_path}/w", "postgresql://nobody@127.0.0.1:1/none")
    (tmp_path / "catalog.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(Unavailable, match="the table catalog"):
        Warehouse.open(f"file:{tmp_path}/w", f"sqlite:///{tmp_path}")
