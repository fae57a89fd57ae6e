"""The bulk door on both databases: what goes in comes out, whatever it holds, in any number."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.store.engine import Ledger
from ledger.store.tables import people, runs, seats
from ledger.store.tables.outbox import outbox
from tests.parts.fences import ALONE

IDENTITY = (
    "id",
    "mail",
    "mail_key",
    "given_name",
    "family_name",
    "display_name",
    "state",
    "employee_number",
    "attributes",
)
AWKWARD = [
    "",
    " ",
    "\\N",
    "\\.",
    "a\tb",
    "a\nb",
    "a\r\nb",
    "back\\slash",
    "'; DROP TABLE x; --",
    '"',
    "Łódź",
    "日本",
    "\v\f",
    "🙂",
]


def identity(number: int, name: str) -> tuple[object, ...]:
    return (f"i{number}", "a@x", f"a{number}@x", name, name, name, "active", "", {"name": name, "n": number})


async def test_awkward_text_survives(ledger: Ledger, now: datetime) -> None:
    async with ledger.write("acme's", ALONE, at=now, run_id="r'1\\") as book:
        await book.begin(people.identity, IDENTITY, [identity(n, name) for n, name in enumerate(AWKWARD)])
    async with ledger.read("acme's") as reader:
        statement = reader.open(people.identity, "given_name", "attributes", "run_id")
        rows = await reader.all(statement.order_by(people.identity.c.row_id))
        assert await reader.tuples(statement.order_by(people.identity.c.row_id)) == [tuple(row) for row in rows]
    assert [row.given_name for row in rows] == AWKWARD
    assert [row.attributes["name"] for row in rows] == AWKWARD
    assert {row.run_id for row in rows} == {"r'1\\"}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=20))
async def test_any_text_survives(ledger: Ledger, now: datetime, names: list[str]) -> None:
    async with ledger.write("acme", ALONE, at=now) as book:
        await book.delete(outbox)
        columns = ("id", "kind", "subject", "payload", "run_id", "created_at")
        rows = [(str(n), name, name, [name], "", now) for n, name in enumerate(names)]
        await book.insert(outbox, columns, rows)
        found = await book.tuples(book.select(outbox, "id", "kind", "payload", "created_at"))
    assert sorted(found, key=lambda row: int(row[0])) == [(str(n), name, [name], now) for n, name in enumerate(names)]


@pytest.mark.parametrize("count", [399, 400, 401, 800])
async def test_a1_every_row_survives_wherever_a_statement_or_block_ends(
    ledger: Ledger, now: datetime, count: int
) -> None:
    """Ten columns with the row id: SQLite takes 400 rows a statement."""
    async with ledger.write("acme", ALONE, at=now, run_id="r") as book:
        ids = await book.begin(people.identity, IDENTITY, [identity(n, AWKWARD[n % 14]) for n in range(count)])
        statement = book.open(people.identity, "row_id", *IDENTITY).order_by(people.identity.c.row_id)
        found = await book.tuples(statement)
    assert found == [(row_id, *identity(n, AWKWARD[n % 14])) for n, row_id in enumerate(ids)]


async def test_every_kind_of_value_survives(ledger: Ledger, now: datetime) -> None:
    exact = datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    async with ledger.write("acme", ALONE, at=now) as book:
        await book.begin(
            seats.offering,
            ("code", "name", "kind", "eligible"),
            [("A", "a", "single_user", True), ("B", "b", "single_user", False)],
        )
        await book.begin(
            seats.subscription,
            ("id", "team_id", "offering_code", "quantity", "tier", "starts_on", "ends_on", "renews", "contract_number"),
            [("s", "t", "A", 7, "business", date(2026, 1, 1), date(2027, 1, 1), "", "")],
        )
        columns = ("row_id", "at", "run_id", "kind", "identity_id", "team_id", "mapping_id", "approved")
        await book.insert(runs.harm, columns, [("h1", exact, "", "", "", "", "", True)])
        await book.insert(
            runs.source_scope,
            ("source_id", "scope", "outcome", "reason", "last_read_at", "last_complete_at", "entries"),
            [("ldap", "a", "unknown", "", now, None, 0), ("ldap", "b", "complete", "", now, exact, 3)],
        )
    async with ledger.read("acme") as reader:
        assert sorted(await reader.tuples(reader.open(seats.offering, "code", "eligible"))) == [
            ("A", True),
            ("B", False),
        ]
        assert await reader.tuples(reader.open(seats.subscription, "quantity", "starts_on")) == [(7, date(2026, 1, 1))]
        assert await reader.tuples(reader.select(runs.harm, "at", "approved")) == [(exact, True)]
        assert await reader.tuples(reader.select(runs.source_scope, "last_complete_at").order_by("scope")) == [
            (None,),
            (exact,),
        ]
        assert await reader.tuples(reader.select(runs.harm, "at"), raw=True) == [(946684799999999,)]


async def test_twenty_thousand_rows_in_and_ended_again(ledger: Ledger, now: datetime) -> None:
    rows = [(f"i{n}", f"t{n % 7}", "mapping:m", "ldap", "cause") for n in range(20_001)]
    columns = ("identity_id", "team_id", "provenance", "source_id", "cause")
    async with ledger.write("acme", ALONE, at=now) as book:
        row_ids = await book.begin(people.team_membership, columns, rows)
    assert len(set(row_ids)) == len(rows)
    assert row_ids == sorted(row_ids)
    async with ledger.write("acme", ALONE, at=now + timedelta(days=1)) as book:
        await book.end(people.team_membership, row_ids[:20_000])
    async with ledger.read("acme") as reader:
        assert await reader.tuples(reader.open(people.team_membership, "row_id", "identity_id")) == [
            (row_ids[-1], "i20000")
        ]
        wanted = [f"i{n}" for n in range(5_000)]
        found = await reader.by_keys(
            reader.as_of(people.team_membership, now, "identity_id"), people.team_membership.c.identity_id, wanted
        )
    assert sorted(row.identity_id for row in found) == sorted(wanted)


async def test_rows_of_the_wrong_width_are_refused(ledger: Ledger, now: datetime) -> None:
    for rows in ([("t1", "A")], [("t1", "A", "a"), ("t2", "B", "b", "c")]):
        with pytest.raises(ValueError, match=r"values for|argument"):
            async with ledger.write("acme", ALONE, at=now) as book:
                await book.begin(people.team, ("id", "name", "name_key"), rows)
    async with ledger.read("acme") as reader:
        assert await reader.all(reader.select(people.team)) == []


async def test_upsert_replaces_by_key_and_keeps_what_is_not_named(ledger: Ledger, now: datetime) -> None:
    full = {"source_id": "ldap", "anchor": "a", "scope": "s", "first_run": "r1"}
    async with ledger.write("acme", ALONE, at=now) as book:
        await book.upsert(
            people.absence,
            ["source_id", "anchor", "scope"],
            [
                {**full, "first_absent_at": now, "last_absent_at": now},
                {**full, "anchor": "b", "first_absent_at": now, "last_absent_at": now},
                {**full, "anchor": "b", "first_absent_at": now, "last_absent_at": now + timedelta(hours=1)},
            ],
        )
        rows = await book.tuples(book.select(people.absence, "anchor", "last_absent_at").order_by("anchor"))
        assert rows == [("a", now), ("b", now + timedelta(hours=1))]
        assert not await book.insert_new(
            people.absence,
            ["source_id", "anchor", "scope"],
            {**full, "first_absent_at": now, "last_absent_at": now},
        )
        assert await book.delete_keys(people.absence, ["anchor", "scope"], [("a", "s"), ("z", "s")]) == 1
        assert await book.update(people.absence, {"first_run": "r9"}, people.absence.c.anchor == "b") == 1
        assert await book.scalar(book.select(people.absence, "first_run")) == "r9"


async def test_many_keys_are_deleted_at_once_and_only_they(ledger: Ledger, now: datetime) -> None:
    columns = ("row_id", "at", "run_id", "kind", "identity_id", "team_id", "mapping_id", "approved")
    rows = [(str(n), now + timedelta(seconds=n % 3), "", "k'\\", "", "", "", n % 2 == 0) for n in range(20_500)]
    async with ledger.write("acme", ALONE, at=now) as book:
        await book.insert(runs.harm, columns, rows)
        keys = [(row[0], row[1], row[3], row[7]) for row in rows[:-1]]
        assert await book.delete_keys(runs.harm, ("row_id", "at", "kind", "approved"), []) == 0
        assert await book.delete_keys(runs.harm, ("row_id", "at", "kind", "approved"), keys) == 20_499
        assert await book.tuples(book.select(runs.harm, "row_id")) == [("20499",)]
    with pytest.raises(ValueError, match="history"):
        async with ledger.write("acme", ALONE, at=now) as book:
            await book.delete_keys(people.team, ("id",), [("t",)])
