"""Publish on both databases: days, Teams, revisions, and one publication over all tables."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from connector.usage.ingest import ingest
from connector.usage.publish import publish
from connector.usage.settings import ReportingSettings
from ledger.errors import NotFound, Stale
from ledger.publication import Publication
from ledger.published.iceberg import Warehouse
from ledger.store import consent, publications
from ledger.store.engine import Ledger
from ledger.usage import user_key
from tests.parts.fences import ALONE
from tests.parts.usage_company import BASIS, NOW, ORG, PEOPLE, SECRET, START, event, found, join, leave, ndjson, seat

DAY = timedelta(days=1)


async def send(ledger: Ledger, *rows: dict[str, Any], now: datetime = NOW) -> None:
    report = await ingest(ledger, ORG, ndjson(*rows), now=now, source="test")
    assert report.accepted == len(rows), report


async def run(ledger: Ledger, warehouse: Warehouse, now: datetime = NOW, **settings: Any) -> Publication:
    return await publish(ledger, warehouse, ORG, now=now, secret=SECRET, settings=ReportingSettings(**settings))


async def rows(warehouse: Warehouse, publication: Publication, dataset: str = "usage_daily") -> list[dict[str, Any]]:
    table = publication.tables[dataset]
    scan = await warehouse.scan(ORG, dataset, table.snapshot)
    found_rows: list[dict[str, Any]] = scan.arrow_dataset().to_table().to_pylist()
    assert len(found_rows) == table.rows == scan.rows
    return sorted(found_rows, key=lambda row: tuple(str(row[name]) for name in scan.dataset.key))


async def test_r11_a_day_is_one_row_per_person_team_offering_version_and_source(
    ledger: Ledger, warehouse: Warehouse
) -> None:
    await found(ledger)
    await send(
        ledger,
        event(1),
        event(2),
        event(3, version="2025.2"),
        event(4, source="flex", tokens=5),
        event(5, source="flex", tokens=6),
        event(6, mail=PEOPLE["łucja"], occurred_at="2026-02-20T10:00:00Z", collection_state="offline"),
    )
    publication = await run(ledger, warehouse)
    got = await rows(warehouse, publication)
    anna, lucja = (user_key(SECRET, ORG, name) for name in ("anna", "łucja"))
    shown = [
        (
            r["usage_date"].isoformat(),
            r["team_id"],
            r["user_key"],
            r["version"],
            r["source"],
            r["tokens"],
            r["is_active"],
        )
        for r in got
    ]
    assert shown == [
        ("2026-02-20", "design", lucja, "2026.1", "sus", None, False),
        ("2026-03-01", "design", anna, "2025.2", "sus", None, True),
        ("2026-03-01", "design", anna, "2026.1", "flex", 11, True),
        ("2026-03-01", "design", anna, "2026.1", "sus", None, True),
    ]
    assert [row["status"] for row in got] == ["final", "provisional", "provisional", "provisional"]
    assert {row["snapshot_id"] for row in got} == {publication.id}
    assert got[1]["usage_at"] == datetime(2026, 3, 1, tzinfo=UTC)
    assert (got[1]["date_key"], got[1]["offering_name"], got[1]["revision"]) == (20260301, "Cad 3D", 0)
    assert len({row["row_id"] for row in got}) == 4


async def test_fractions_of_tokens_are_kept_exactly_and_published_where_their_sum_is_whole(
    ledger: Ledger, warehouse: Warehouse
) -> None:
    await found(ledger)
    tenths = [event(n, source="flex", tokens=0.1) for n in range(10)]
    report = await ingest(
        ledger, ORG, ndjson(*tenths, event("x", source="flex", tokens="2.000001", version="v")), now=NOW, source="test"
    )
    assert (report.accepted, report.fractions) == (11, 11)
    publication = await run(ledger, warehouse)
    seen = [(row["version"], row["tokens"]) for row in await rows(warehouse, publication)]
    assert seen == [("2026.1", 1), ("v", None)]
    # in millionths their sum would be over 64 bits
    most = [event(f"m{n}", source="flex", tokens=10**9, mail=PEOPLE["ola"]) for n in range(9_300)]
    await send(ledger, *most)
    again = await run(ledger, warehouse, NOW + timedelta(minutes=1))
    assert 9_300 * 10**9 in {row["tokens"] for row in await rows(warehouse, again)}


async def test_a_publish_without_change_creates_nothing_but_says_it_looked(
    ledger: Ledger, warehouse: Warehouse
) -> None:
    await found(ledger)
    await send(ledger, event(1))
    first = await run(ledger, warehouse)
    before = {name: await warehouse.snapshots(ORG, name) for name in first.tables}
    later = NOW + timedelta(minutes=20)
    assert await run(ledger, warehouse, later) == first
    assert {name: await warehouse.snapshots(ORG, name) for name in first.tables} == before
    async with ledger.read(ORG) as reader:
        fresh = await publications.freshness(reader)
        assert await publications.every(reader) == [first]
    assert fresh["usage_daily"].last_processed_at == later
    assert fresh["usage_daily"].complete_through == date(2026, 3, 1)
    assert fresh["usage_daily"].final_through == date(2026, 2, 26)
    assert first.provisional_from == date(2026, 2, 27)


async def test_a_repeated_event_does_not_touch_a_published_day(ledger: Ledger, warehouse: Warehouse) -> None:
    await found(ledger)
    await send(ledger, event(1))
    first = await run(ledger, warehouse)
    await send(ledger, event(2))
    assert await run(ledger, warehouse, NOW + timedelta(minutes=1)) == first


async def test_an_empty_organization_publishes_empty_datasets(ledger: Ledger, warehouse: Warehouse) -> None:
    await found(ledger, basis=None, mails={})
    publication = await run(ledger, warehouse)
    assert {name: table.rows for name, table in publication.tables.items()} == {
        "usage_daily": 0,
        "seats": 0,
        "subscriptions": 1,
        "teams": 2,
        "offerings": 2,
        "users": 0,
    }
    assert publication.provisional_from is None
    assert await rows(warehouse, publication) == []


async def test_only_days_touched_are_rewritten(ledger: Ledger, warehouse: Warehouse) -> None:
    await found(ledger)
    await send(ledger, *(event(n, occurred_at=f"2026-02-{n:02}T10:00:00Z") for n in range(1, 28)))
    first = await run(ledger, warehouse)
    await send(ledger, event(99, mail=PEOPLE["ola"], occurred_at="2026-02-27T10:00:00Z"))
    second = await run(ledger, warehouse, NOW + timedelta(minutes=5))
    by_day = {row["usage_date"].day: row["snapshot_id"] for row in await rows(warehouse, second)}
    assert {day for day, writer in by_day.items() if writer == second.id} == {27}
    old, new = [
        {*(await warehouse.scan(ORG, "usage_daily", one.tables["usage_daily"].snapshot)).files}
        for one in (first, second)
    ]
    assert len(old) == 27
    assert len(new - old) == 1
    assert second.number == 2


async def test_the_old_publication_keeps_its_numbers(ledger: Ledger, warehouse: Warehouse) -> None:
    await found(ledger)
    await send(ledger, event(1))
    first = await run(ledger, warehouse)
    was = await rows(warehouse, first)
    await send(ledger, event(2, mail=PEOPLE["ola"]))
    second = await run(ledger, warehouse, NOW + timedelta(minutes=5))
    assert await rows(warehouse, first) == was
    assert len(await rows(warehouse, second)) == 2
    async with ledger.read(ORG) as reader:
        assert await publications.latest(reader) == second
        assert await publications.get(reader, first.id) == first
        with pytest.raises(NotFound):
            await publications.get(reader, "none")


async def test_a_day_becomes_final_when_its_lag_has_passed(ledger: Ledger, warehouse: Warehouse) -> None:
    await found(ledger, zone="Europe/Warsaw")
    await send(ledger, event(1))
    before = datetime(2026, 3, 4, 22, 59, 59, tzinfo=UTC)
    [row] = await rows(warehouse, await run(ledger, warehouse, before))
    assert row["status"] == "provisional"
    [row] = await rows(warehouse, await run(ledger, warehouse, before + timedelta(seconds=1)))
    assert (row["status"], row["revision"]) == ("final", 0)


async def test_a_final_day_stays_final_whichever_host_publishes(ledger: Ledger, warehouse: Warehouse) -> None:
    await found(ledger)
    await send(ledger, event(1))
    final = datetime(2026, 3, 5, 0, 1, tzinfo=UTC)
    first = await run(ledger, warehouse, final)
    assert [row["status"] for row in await rows(warehouse, first)] == ["final"]
    again = await run(ledger, warehouse, final - timedelta(minutes=2))  # by a clock that is behind
    assert [row["status"] for row in await rows(warehouse, again)] == ["final"]
    assert again.id == first.id


async def test_a_late_event_makes_a_numbered_revision_of_a_final_day(ledger: Ledger, warehouse: Warehouse) -> None:
    await found(ledger)
    await send(ledger, event(1, occurred_at="2026-02-10T10:00:00Z"))
    first = await run(ledger, warehouse)
    late = [
        event(2, occurred_at="2026-02-10T11:00:00Z", mail=PEOPLE["ola"]),
        event(3, occurred_at="2026-02-12T11:00:00Z", mail=PEOPLE["ola"]),
    ]
    await send(ledger, *late, now=NOW + DAY)
    second = await run(ledger, warehouse, NOW + DAY)
    assert [(row["usage_date"].day, row["revision"]) for row in await rows(warehouse, second)] == [
        (10, 1),
        (10, 1),
        (12, 1),
    ]
    async with ledger.read(ORG) as reader:
        log = await publications.revisions(reader)
    assert [(r.day.day, r.revision, r.late_events, r.rows_before, r.rows_after) for r in log] == [
        (10, 1, 1, 1, 2),
        (12, 1, 1, 0, 1),
    ]
    assert {(r.publication_id, r.previous_publication_id) for r in log} == {(second.id, first.id)}
    assert [row["revision"] for row in await rows(warehouse, first)] == [0]


async def test_usage_belongs_to_the_team_of_that_day(ledger: Ledger, warehouse: Warehouse) -> None:
    await found(ledger)
    async with ledger.write(ORG, ALONE, at=datetime(2026, 2, 20, 12, tzinfo=UTC)) as book:
        await leave(book, "anna", "design")
        await join(book, ["anna"], "build")
    async with ledger.write(ORG, ALONE, at=datetime(2026, 2, 25, 12, tzinfo=UTC)) as book:
        await leave(book, "anna", "build")
    await send(ledger, *(event(n, occurred_at=f"2026-02-{n}T01:00:00Z") for n in (19, 20, 21, 25, 26)))
    got = await rows(warehouse, await run(ledger, warehouse))
    teams = [(row["usage_date"].day, row["team_id"]) for row in got]
    assert teams == [(19, "design"), (20, "build"), (21, "build"), (25, "build"), (26, "")]


async def test_the_team_of_the_seat_wins_so_that_teams_add_up(ledger: Ledger, warehouse: Warehouse) -> None:
    await found(ledger)
    async with ledger.write(ORG, ALONE, at=START) as book:
        await join(book, ["anna"], "build")
        await seat(book, "s1", "anna", team="design")
    await send(ledger, event(1), event(2, offering_code="RENDER"))
    got = await rows(warehouse, await run(ledger, warehouse))
    assert [(row["offering_code"], row["team_id"]) for row in got] == [("RENDER", "build"), ("CAD", "design")]


async def test_a_mover_changes_the_team_of_the_day_under_way(ledger: Ledger, warehouse: Warehouse) -> None:
    await found(ledger)
    await send(ledger, event(1, occurred_at="2026-03-02T07:00:00Z"), event(2))
    first = await run(ledger, warehouse)
    async with ledger.write(ORG, ALONE, at=NOW + timedelta(minutes=30)) as book:
        await leave(book, "anna", "design")
        await join(book, ["anna"], "build")
    second = await run(ledger, warehouse, NOW + timedelta(hours=1))
    assert [row["team_id"] for row in await rows(warehouse, first)] == ["design", "design"]
    assert sorted(row["team_id"] for row in await rows(warehouse, second)) == ["build", "design"]


async def test_two_publishes_at_once_one_wins_and_the_other_is_told(ledger: Ledger, warehouse: Warehouse) -> None:
    await found(ledger)
    await send(ledger, event(1))
    first = await run(ledger, warehouse)
    rival = Publication("rival", 2, NOW, first.tables, first.provisional_from)
    async with ledger.write(ORG, ALONE, at=NOW) as book:
        await publications.record(book, rival, base=first)
    with pytest.raises(Stale):
        async with ledger.write(ORG, ALONE, at=NOW) as book:
            await publications.record(book, Publication("mine", 2, NOW, first.tables), base=first)


async def test_staged_events_are_kept_for_the_lateness_window_only(ledger: Ledger, warehouse: Warehouse) -> None:
    await found(ledger)
    await send(ledger, event(1))
    first = await run(ledger, warehouse)
    later = NOW + timedelta(days=38)
    second = await run(ledger, warehouse, later)
    assert [row["status"] for row in await rows(warehouse, second)] == ["final"]
    report = await ingest(
        ledger, ORG, ndjson(event(2)), now=later, source="t", settings=ReportingSettings(lateness_days=90)
    )
    assert [row.reasons for row in report.quarantined] == [
        ("the usage of its day is closed: the staged events of 2026-03-01 are no longer kept",)
    ]
    third = await run(ledger, warehouse, later + timedelta(minutes=1))
    assert third == second
    assert len(await rows(warehouse, first)) == 1


async def test_seats_say_used_never_used_or_not_observed(ledger: Ledger, warehouse: Warehouse) -> None:
    await found(ledger)
    async with ledger.write(ORG, ALONE, at=START) as book:
        for number, person in enumerate(PEOPLE):
            await seat(book, f"s{number}", person, by="mapping:m" if person == "ola" else "manual")
        await consent.opt_out(book, ["jorg"], cause="asked", actor="admin")
    await send(ledger, event(1, occurred_at="2026-01-26T10:00:00Z"), event(2, occurred_at="2026-01-27T10:00:00Z"))
    publication = await run(ledger, warehouse)
    got = {row["seat_id"]: row for row in await rows(warehouse, publication, "seats")}
    names = ("last_activity_state", "days_used", "days_inactive", "reclaimable", "reason")
    facts = {seat_id: tuple(row[name] for name in names) for seat_id, row in got.items()}
    assert facts == {
        "s0": ("used", 2, 33, True, "idle"),
        "s1": ("never_used", 0, 56, True, "never_used"),
        "s2": ("not_observed", 0, None, False, "not_observed"),
        "s3": ("never_used", 0, 56, False, "group_assigned"),
    }
    assert got["s0"]["last_used_on"] == date(2026, 1, 27)
    assert got["s0"]["user_key"] == user_key(SECRET, ORG, "anna")
    assert (got["s0"]["tier"], got["s0"]["assignment"], got["s3"]["assignment"]) == ("business", "direct", "group")


async def test_seats_are_not_called_idle_over_a_gap_in_the_legal_basis_or_an_opt_out(
    ledger: Ledger, warehouse: Warehouse
) -> None:
    await found(ledger)
    async with ledger.write(ORG, ALONE, at=START) as book:
        await seat(book, "s0", "anna")
        await seat(book, "s1", "ola")
        await consent.opt_out(book, ["ola"], cause="asked", actor="admin")
    gap = START + timedelta(days=40)
    async with ledger.write(ORG, ALONE, at=gap) as book:
        await consent.opt_in(book, ["ola"], actor="admin")
    await send(ledger, event(1, mail=PEOPLE["łucja"]))
    got = await rows(warehouse, await run(ledger, warehouse), "seats")
    assert [row["reason"] for row in got] == ["never_used", "not_observed"]
    async with ledger.write(ORG, ALONE, at=NOW + timedelta(minutes=1)) as book:
        await consent.withdraw_basis(book, actor="admin")
    async with ledger.write(ORG, ALONE, at=NOW + timedelta(minutes=2)) as book:
        await consent.record_basis(book, BASIS, actor="admin")
    got = await rows(warehouse, await run(ledger, warehouse, NOW + timedelta(minutes=3)), "seats")
    assert [row["reason"] for row in got] == ["not_observed", "not_observed"]


async def test_dimensions_describe_teams_offerings_subscriptions_and_people_without_names(
    ledger: Ledger, warehouse: Warehouse
) -> None:
    await found(ledger)
    publication = await run(ledger, warehouse)
    teams = await rows(warehouse, publication, "teams")
    assert [(row["team_id"], row["tier"]) for row in teams] == [("build", "standard"), ("design", "business")]
    [subscription] = await rows(warehouse, publication, "subscriptions")
    assert (subscription["term"], subscription["status"], subscription["seat_quantity"]) == ("P12M", "active", 10)
    users = await rows(warehouse, publication, "users")
    assert len(users) == 4
    assert "kowalska" not in repr(users)
    assert {row["department"] for row in users} == {"D1"}


async def test_organizations_share_no_table_and_no_pseudonym(ledger: Ledger, warehouse: Warehouse) -> None:
    await found(ledger)
    await send(ledger, event(1))
    publication = await run(ledger, warehouse)
    with pytest.raises(NotFound):
        await warehouse.scan("acm", "usage_daily", publication.tables["usage_daily"].snapshot)
    assert user_key(SECRET, "acme", "anna") != user_key(SECRET, "acm", "eanna")
