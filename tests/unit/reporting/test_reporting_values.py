"""The pure parts of reporting: cursors, suppression, rates, cells, settings."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from access.rate import Buckets
from ledger.published.datasets import DATASETS
from reporting_api.errors import Problem
from reporting_api.privacy import Cell, suppress
from reporting_api.query.cursor import Cursors, check, values_of
from reporting_api.query.model import In, Order, Query, Scope
from reporting_api.rest.answers import csv_body
from reporting_api.settings import ApiSettings

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
SEATS = DATASETS["seats"]
QUERY = Query(
    "seats",
    Scope("acme", ("t1",), frozenset(SEATS.names), "pseudonym"),
    "s1",
    ("row_id",),
    (
        Order("assigned_at"),
        Order("last_used_on"),
        Order("monthly_average", True),
        Order("reclaimable"),
        Order("row_id"),
    ),
    10,
)
ROW = (datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC), None, 0.1 + 0.2, False, "ab")
COLUMNS = tuple(order.column for order in QUERY.order)
CURSORS = Cursors(b"pepper", timedelta(hours=24))


def test_a_cursor_brings_every_type_back_exactly() -> None:
    text = CURSORS.write(QUERY, ROW, COLUMNS, NOW)
    position = CURSORS.read(text, NOW + timedelta(hours=23, minutes=59))
    check(position, QUERY)
    assert values_of(position, QUERY.order, SEATS) == ROW
    day = replace(QUERY, order=(Order("last_used_on"), Order("row_id")))
    text = CURSORS.write(day, (date(2026, 2, 1), "x"), ("last_used_on", "row_id"), NOW)
    assert values_of(CURSORS.read(text, NOW), day.order, SEATS) == (date(2026, 2, 1), "x")


def test_no_changed_character_passes() -> None:
    text = CURSORS.write(QUERY, ROW, COLUMNS, NOW)
    for place in range(len(text)):
        other = "A" if text[place] != "A" else "B"
        changed = text[:place] + other + text[place + 1 :]
        with pytest.raises(Problem) as caught:
            CURSORS.read(changed, NOW)
        assert caught.value.kind == "invalid-query"
    with pytest.raises(Problem):
        Cursors(b"other pepper", timedelta(hours=24)).read(text, NOW)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"where": (In("state", ("active",)),)}, "invalid-query"),
        ({"scope": replace(QUERY.scope, organization="beta")}, "invalid-query"),
        ({"scope": replace(QUERY.scope, privacy="named")}, "invalid-query"),
        ({"scope": replace(QUERY.scope, team_ids=("t1", "t2"))}, "cursor-expired"),
    ],
)
def test_a_cursor_belongs_to_its_question(change: dict[str, Any], kind: str) -> None:
    position = CURSORS.read(CURSORS.write(QUERY, ROW, COLUMNS, NOW), NOW)
    with pytest.raises(Problem) as caught:
        check(position, replace(QUERY, **change))
    assert caught.value.kind == kind


def test_an_old_cursor_is_gone() -> None:
    text = CURSORS.write(QUERY, ROW, COLUMNS, NOW)
    with pytest.raises(Problem) as caught:
        CURSORS.read(text, NOW + timedelta(hours=24))
    assert caught.value.status == 410


def _cells(*people: int) -> list[Cell]:
    return [Cell(f"c{place}", count, (float(count),)) for place, count in enumerate(people)]


@pytest.mark.parametrize(
    ("people", "shown", "remainder"),
    [
        ((10, 20), {10, 20}, None),
        ((10, 20, 3), {20}, 13),  # a single hidden cell could be found by subtraction
        ((10, 20, 2, 3), {10, 20}, 5),
        ((10, 20, 1, 2), {20}, 13),  # the remainder itself has fewer than k people
        ((3,), set(), None),
        ((1, 1), set(), None),
        ((0, 7), {0, 7}, None),
    ],
)
def test_small_groups_hide_in_one_remainder(people: tuple[int, ...], shown: set[int], remainder: int | None) -> None:
    found = suppress(_cells(*people), 5)
    assert {cell.people for cell in found.shown} == shown
    assert (found.remainder.people if found.remainder else None) == remainder


@given(st.lists(st.integers(0, 30), max_size=12), st.integers(1, 10))
def test_sums_agree_and_no_hidden_group_can_be_subtracted(people: list[int], k: int) -> None:
    found = suppress(_cells(*people), k)
    assert all(cell.people == 0 or cell.people >= k for cell in found.shown)
    assert found.cells == len(people) - len(found.shown)
    if found.remainder is not None:
        assert found.remainder.people >= k
        assert found.cells >= 2
        assert sum(cell.people for cell in found.shown) + found.remainder.people == sum(people)
        assert found.remainder.sums == (float(found.remainder.people),)
    elif found.cells:
        assert not any(cell.people >= k for cell in found.shown)


def test_a_bucket_fills_evenly_and_never_beyond_its_size() -> None:
    buckets = Buckets(60)
    assert [buckets.take("a", NOW) for _ in range(61)] == [0] * 60 + [1]
    assert buckets.take("b", NOW) == 0
    assert buckets.take("a", NOW + timedelta(seconds=1)) == 0
    assert buckets.take("a", NOW + timedelta(seconds=1)) == 1
    buckets.give_back("a")
    assert buckets.take("a", NOW + timedelta(seconds=1)) == 0
    assert buckets.left("a", NOW + timedelta(days=1)) == 60
    assert buckets.left("a", NOW) == 60  # a clock that steps back takes nothing


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ('a"b', '"a""b"'),
        ("a,b", '"a,b"'),
        ("a\r\nb", '"a\r\nb"'),
        (" space", '" space"'),
        ("ŁÓDŹ", "ŁÓDŹ"),
        ("＝1", "'＝1"),
    ],
)
def test_csv_cells(text: str, cell: str) -> None:
    body = csv_body(SEATS, ("reason", "monthly_average", "days_used", "unassigned_at"), [(text, -1.5, -3, None)])
    assert body.decode("utf-8") == f"reason,monthly_average,days_used,unassigned_at\r\n{cell},-1.5,-3,\r\n"


@pytest.mark.parametrize(
    "values", [{"cursor_life": "23h"}, {"page_rows": 100, "max_page_rows": 10}, {"query_memory": "lots"}, {"limits": 1}]
)
def test_wrong_settings_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ApiSettings(**values)
