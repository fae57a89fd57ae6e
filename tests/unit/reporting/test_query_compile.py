# ruff: noqa: S608 - this file spells out SQL
"""Table test: a query, the SQL it becomes, and the parameters it binds. No value is ever in the text."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from ledger.published.datasets import DATASETS
from reporting_api.query import compile as sql
from reporting_api.query.compile import Relation
from reporting_api.query.model import (
    Compare,
    Every,
    In,
    IsNull,
    Not,
    Op,
    Order,
    Query,
    Scope,
    Some,
    canonical,
    completed,
)

EVERY_COLUMN = frozenset(name for dataset in DATASETS.values() for name in dataset.names)
SCOPE = Scope("acme", ("t1", "t2"), EVERY_COLUMN, "pseudonym")
RELATIONS = {name: Relation(f"files(?) AS {name}", (f"{name}.parquet",)) for name in DATASETS}
USAGE = Query("usage_daily", SCOPE, "s1", ("row_id",), (Order("row_id"),), 10)
SEATS = replace(USAGE, dataset="seats")
USERS = replace(USAGE, dataset="users", select=("user_key",))
EVIL = "x' OR 1=1 --"
HEAD = 'SELECT "row_id" FROM files(?) AS usage_daily WHERE "team_id" IN (?, ?)'
TAIL = ' ORDER BY "row_id" ASC NULLS LAST LIMIT 11'
OWN = ("usage_daily.parquet", "t1", "t2")

CASES: list[tuple[str, Query, str, tuple[Any, ...]]] = [
    ("the scope is always there", USAGE, HEAD + TAIL, OWN),
    (
        "days are half-open",
        replace(USAGE, since=date(2026, 2, 1), until=date(2026, 3, 1)),
        HEAD + ' AND "usage_date" >= ? AND "usage_date" < ?' + TAIL,
        (*OWN, date(2026, 2, 1), date(2026, 3, 1)),
    ),
    (
        "values are parameters",
        replace(USAGE, where=(In("version", (EVIL, "")), Compare("tokens", Op.GT, 5))),
        HEAD + ' AND "version" IN (?, ?) AND "tokens" > ?' + TAIL,
        (*OWN, EVIL, "", 5),
    ),
    (
        "conditions nest",
        replace(
            USAGE,
            where=(
                Some((IsNull("tokens"), Not(Every((Compare("source", Op.EQ, "sus"), Compare("version", Op.NE, "1")))))),
            ),
        ),
        HEAD + ' AND ("tokens" IS NULL OR NOT (("source" = ? AND "version" <> ?)))' + TAIL,
        (*OWN, "sus", "1"),
    ),
    (
        "the next page begins behind a unique position",
        replace(USAGE, after=("abc",)),
        HEAD + ' AND ("row_id" > ?)' + TAIL,
        (*OWN, "abc"),
    ),
    (
        "ties are broken by the rest of the order, and the leading column is bounded on its own",
        replace(USAGE, order=(Order("usage_date", descending=True), Order("row_id")), after=(date(2026, 2, 3), "abc")),
        'SELECT "row_id", "usage_date" FROM files(?) AS usage_daily WHERE "team_id" IN (?, ?)'
        ' AND "usage_date" <= ? AND ("usage_date" < ? OR ("usage_date" = ? AND ("row_id" > ?)))'
        ' ORDER BY "usage_date" DESC NULLS LAST, "row_id" ASC NULLS LAST LIMIT 11',
        (*OWN, date(2026, 2, 3), date(2026, 2, 3), date(2026, 2, 3), "abc"),
    ),
    (
        "behind a value of a nullable column come greater ones and the nulls",
        replace(SEATS, order=(Order("days_inactive"), Order("row_id")), after=(7, "abc")),
        'SELECT "row_id", "days_inactive" FROM files(?) AS seats WHERE "team_id" IN (?, ?)'
        ' AND ("days_inactive" > ? OR "days_inactive" IS NULL OR ("days_inactive" = ? AND ("row_id" > ?)))'
        ' ORDER BY "days_inactive" ASC NULLS LAST, "row_id" ASC NULLS LAST LIMIT 11',
        ("seats.parquet", "t1", "t2", 7, 7, "abc"),
    ),
    (
        "behind a null come only the other nulls",
        replace(SEATS, order=(Order("days_inactive"), Order("row_id")), after=(None, "abc")),
        'SELECT "row_id", "days_inactive" FROM files(?) AS seats WHERE "team_id" IN (?, ?)'
        ' AND (("days_inactive" IS NULL AND ("row_id" > ?)))'
        ' ORDER BY "days_inactive" ASC NULLS LAST, "row_id" ASC NULLS LAST LIMIT 11',
        ("seats.parquet", "t1", "t2", "abc"),
    ),
    (
        "people are seen through seats",
        USERS,
        'SELECT "user_key", "row_id" FROM files(?) AS users WHERE "user_key" IN'
        ' (SELECT "user_key" FROM files(?) AS seats WHERE "team_id" IN (?, ?))' + TAIL,
        ("users.parquet", "seats.parquet", "t1", "t2"),
    ),
    (
        "what belongs to no Team has no Team to select by",
        replace(USAGE, dataset="offerings"),
        'SELECT "row_id" FROM files(?) AS offerings WHERE TRUE' + TAIL,
        ("offerings.parquet",),
    ),
    (
        "no Team, no row, whatever the dataset",
        replace(USAGE, dataset="offerings", scope=replace(SCOPE, team_ids=())),
        'SELECT "row_id" FROM files(?) AS offerings WHERE FALSE' + TAIL,
        ("offerings.parquet",),
    ),
]


@pytest.mark.parametrize(("query", "text", "parameters"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_query_becomes_this_statement(query: Query, text: str, parameters: tuple[Any, ...]) -> None:
    compiled = sql.page(query, RELATIONS)
    assert compiled.sql == text
    assert compiled.parameters == parameters
    assert compiled.sql.count("?") == len(compiled.parameters)
    assert compiled.columns[: len(query.select)] == query.select
    assert "EVIL" not in compiled.sql
    assert EVIL not in compiled.sql


def test_a_count_ignores_position_and_page() -> None:
    compiled = sql.count(replace(USAGE, where=(In("version", ("1",)),)), RELATIONS)
    assert compiled.sql == (
        'SELECT count(*) FROM files(?) AS usage_daily WHERE "team_id" IN (?, ?) AND "version" IN (?)'
    )
    assert compiled.parameters == (*OWN, "1")


@pytest.mark.parametrize(
    "query",
    [
        replace(USAGE, select=("tokens",)),
        replace(USAGE, order=(Order("tokens"), Order("row_id"))),
        replace(USAGE, where=(Not(Some((IsNull("tokens"),))),)),
    ],
)
def test_a_column_outside_the_scope_never_compiles(query: Query) -> None:
    narrow = replace(query, scope=replace(SCOPE, columns=frozenset({"row_id", "version"})))
    for build in (sql.page, sql.count):
        with pytest.raises(PermissionError, match="tokens"):
            build(narrow, RELATIONS)


@pytest.mark.parametrize("name", ['row_id"; DROP TABLE x; --', "Row_ID", "rowid"])
def test_a_name_that_is_no_column_never_compiles(name: str) -> None:
    wide = replace(SCOPE, columns=EVERY_COLUMN | {name})
    with pytest.raises(KeyError):
        sql.page(replace(USAGE, scope=wide, where=(IsNull(name),)), RELATIONS)
    for change in ({"select": (name,)}, {"order": (Order(name), Order("row_id"))}):
        with pytest.raises(KeyError):
            sql.page(replace(USAGE, scope=wide, **change), RELATIONS)


def test_an_order_is_total() -> None:
    usage, seats = DATASETS["usage_daily"], DATASETS["seats"]
    assert completed((), usage) == (Order("usage_date"), Order("row_id"))
    assert completed((), seats) == (Order("row_id"),)
    assert completed((Order("row_id", True), Order("state")), seats) == (Order("row_id", True),)


def test_equal_questions_have_one_text() -> None:
    one = replace(USAGE, where=(In("version", ("2", "1", "1")), In("source", ("sus",))))
    other = replace(
        USAGE, where=(In("source", ("sus",)), In("version", ("1", "2"))), limit=3, snapshot="s2", after=("x",)
    )
    assert canonical(one) == canonical(other)
    for changed in (
        replace(one, since=date(2026, 1, 1)),
        replace(one, select=("version",)),
        replace(one, order=(Order("row_id", True),)),
        replace(one, dataset="seats"),
        replace(one, scope=replace(SCOPE, organization="beta")),
        replace(one, scope=replace(SCOPE, privacy="named")),
    ):
        assert canonical(one) != canonical(changed)
