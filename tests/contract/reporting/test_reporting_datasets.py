"""The datasets over HTTP: pages that stay on one publication, equal answers in both forms, nothing clamped."""

from __future__ import annotations

import csv
import io
from datetime import date, timedelta
from typing import Any

import pytest

from ledger.published.datasets import DATASETS, ColumnType
from ledger.store import publications
from tests.contract.reporting.conftest import Api
from tests.parts import published
from tests.parts.fences import ALONE

USAGE = "/v1/datasets/usage_daily"


async def _walk(api: Api, path: str, who: str = "pseudonym") -> list[Any]:
    """The rows of every page, page by page."""
    pages = []
    following: str | None = path
    while following:
        body = await api.json(following, who)
        pages.append(body["value"])
        following = api.path_of(body["next"]) if body["next"] else None
    return pages


async def test_r10_usage_is_answered_by_team_under_pseudonyms(api: Api) -> None:
    body = await api.json(f"{USAGE}?team_id=t-design&from=2026-02-03&to=2026-02-05")
    assert body["columns"] == list(DATASETS["usage_daily"].names)
    assert len(body["value"]) == 3 * 2 * 2
    rows = [dict(zip(body["columns"], row, strict=True)) for row in body["value"]]
    assert {row["team_id"] for row in rows} == {"t-design"}
    assert {row["usage_date"] for row in rows} == {"2026-02-03", "2026-02-04"}
    assert all(row["user_key"].startswith("u1-acme-") for row in rows)
    meta = body["meta"]
    assert (meta["privacy"], meta["k"], meta["truncated"], meta["teams"]) == ("pseudonym", 5, False, ["t-design"])
    assert meta["complete_through"] == "2026-02-10"
    assert meta["provisional_from"] == "2026-02-08"
    assert meta["as_of"] == "2026-03-02T09:00:00Z"


async def test_teams_left_out_are_named_with_the_reason(api: Api) -> None:
    meta = (await api.json(f"{USAGE}?limit=1"))["meta"]
    assert meta["teams"] == ["t-design", "t-open"]
    assert meta["excluded_teams"] == {"t-plain": "tier-required", "t-quiet": "collection-disabled"}


@pytest.mark.parametrize("order", ["", "order=team_id", "order=-version,usage_date", "order=-tokens", "order=row_id"])
async def test_the_union_of_all_pages_is_the_set(api: Api, order: str) -> None:
    pages = await _walk(api, f"{USAGE}?limit=17&select=row_id,team_id&{order}")
    rows = [row[0] for page in pages for row in page]
    assert [len(page) for page in pages[:-1]] == [17] * (len(pages) - 1)
    whole = await api.json(f"{USAGE}?limit=10000&select=row_id,team_id&{order}")
    assert rows == [row[0] for row in whole["value"]]
    assert len(rows) == len(set(rows)) == 2 * 3 * 2 * published.DAYS


@pytest.mark.parametrize("order", ["days_inactive", "-days_inactive", "-last_used_on,seat_id"])
async def test_pages_over_ties_and_nulls_lose_nothing(api: Api, order: str) -> None:
    pages = await _walk(api, f"/v1/datasets/seats?team_id=t-design&team_id=t-open&limit=1&order={order}")
    column = list(DATASETS["seats"].names).index(order.lstrip("-").partition(",")[0])
    values = [row[column] for page in pages for row in page]
    assert len(values) == 6
    assert values[-2:] == [None, None]
    assert len({row[0] for page in pages for row in page}) == 6


async def test_a_publication_between_two_pages_changes_neither(api: Api) -> None:
    before = await _walk(api, f"{USAGE}?limit=50&select=row_id,usage_date")
    first = await api.json(f"{USAGE}?limit=50&select=row_id,usage_date")
    fewer = {"usage_daily": published.rows_of("acme", days=2)["usage_daily"]}
    made = await published.publish(api.ledger, api.warehouse, "acme", api.now + timedelta(hours=1), fewer)
    rest = await _walk(api, api.path_of(first["next"]))
    assert [first["value"], *rest] == before
    now = await api.json(f"{USAGE}?limit=10000&select=row_id,usage_date")
    assert now["meta"]["snapshot"] == made.id
    assert len(now["value"]) == 2 * 3 * 2 * 2
    pinned = await api.json(f"{USAGE}?limit=10000&select=row_id,usage_date&snapshot={first['meta']['snapshot']}")
    assert pinned["value"] == [row for page in before for row in page]


async def test_a_cursor_outlives_a_day_and_pins_its_publication(api: Api) -> None:
    first = await api.json(f"{USAGE}?limit=5")
    await published.publish(api.ledger, api.warehouse, "acme", api.now, {})
    api.now += timedelta(hours=25)
    assert len((await api.json(api.path_of(first["next"])))["value"]) == 5
    await api.client.close()  # writes what is waiting
    async with api.ledger.write("acme", ALONE, at=api.now) as book:
        gone = await publications.expire(book, before=api.now)
    assert first["meta"]["snapshot"] not in {one.id for one in gone}


async def test_csv_says_what_json_says(api: Api) -> None:
    for name in DATASETS:
        body = await api.json(f"/v1/datasets/{name}?team_id=t-open" if name != "offerings" else f"/v1/datasets/{name}")
        response = await api.get(f"/v1/datasets/{name}?format=csv" + ("" if name == "offerings" else "&team_id=t-open"))
        assert response.content_type == "text/csv"
        text = (await response.read()).decode("utf-8")
        assert text.endswith("\r\n")
        lines = list(csv.reader(io.StringIO(text, newline="")))
        assert lines[0] == body["columns"]
        assert lines[1:] == [[_as_csv(value) for value in row] for row in body["value"]]


def _as_csv(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return "'" + text if text.startswith("=") else text


async def test_formulas_and_quotes_are_harmless_and_null_is_not_empty(api: Api) -> None:
    path = f"{USAGE}?team_id=t-design&from=2026-02-01&to=2026-02-02&select=offering_name,version,parent_offering_code"
    text = await (await api.get(path, Accept="text/csv")).text()
    assert "'=cmd|' /C calc'!A0," in text
    assert '"Cad, the ""big"" one","",\r\n' in text


async def test_wide_integers_are_text_and_objects_have_names(api: Api) -> None:
    body = await api.json(f"{USAGE}?source=flex&limit=1&select=tokens,usage_at,parent_offering_code&shape=objects")
    assert body["value"] == [
        {"tokens": str(2**53 + 1), "usage_at": "2026-02-01T00:00:00Z", "parent_offering_code": None}
    ]


async def test_filters_and_counts(api: Api) -> None:
    body = await api.json(f"{USAGE}?offering=CAD&version=&team_id=t-open&count=exact&limit=2")
    assert body["meta"]["count"] == 2 * published.DAYS
    key = published.key_of("acme", published.TEAM_LIST[0], 1)
    assert (await api.json(f"{USAGE}?user_key={key}&count=exact&limit=1"))["meta"]["count"] == 2 * published.DAYS
    assert "count" not in (await api.json(f"{USAGE}?limit=1"))["meta"]


async def test_people_are_seen_through_the_seats_of_readable_teams(api: Api) -> None:
    body = await api.json("/v1/datasets/users?select=user_key")
    assert len(body["value"]) == 9  # not the three of the Team without Business
    narrowed = await api.json("/v1/datasets/users?team_id=t-design&select=user_key")
    assert sorted(row[0] for row in narrowed["value"]) == [f"u1-acme-t-design-{n}" for n in range(3)]


async def test_an_unchanged_answer_is_304_and_costs_nothing(api: Api) -> None:
    first = await api.get(f"{USAGE}?limit=3")
    tag = first.headers["ETag"]
    for headers in ({"If-None-Match": tag}, {"If-None-Match": f'"x", {tag}'}, {"If-None-Match": "*"}):
        again = await api.get(f"{USAGE}?limit=3", **headers)
        assert again.status == 304
        assert again.headers["RateLimit"] == first.headers["RateLimit"]
        assert await again.read() == b""
    assert (await api.get(f"{USAGE}?limit=4", **{"If-None-Match": tag})).status == 200
    assert (await api.get(f"{USAGE}?limit=3", "named", **{"If-None-Match": tag})).status == 200
    await published.publish(api.ledger, api.warehouse, "acme", api.now, {})
    assert (await api.get(f"{USAGE}?limit=3", **{"If-None-Match": tag})).status == 200


async def test_days_not_processed_yet_are_never_an_empty_answer(api: Api, empty: Api) -> None:
    response = await api.get(f"{USAGE}?from=2026-02-11")
    body = await response.json(content_type=None)
    assert (response.status, body["type"].rpartition("/")[2]) == (404, "report-not-yet-available")
    assert (body["requested"], body["complete_through"]) == ("2026-02-11", "2026-02-10")
    assert int(response.headers["Retry-After"]) == body["retry_after_s"]
    assert (await api.json(f"{USAGE}?from=2025-01-01&to=2025-02-01"))["value"] == []


async def test_before_the_first_publication(empty: Api) -> None:
    body = await empty.json(USAGE, status=404)
    assert body["type"].endswith("/report-not-yet-available")
    fresh = await empty.json("/v1/freshness")
    assert fresh["snapshot"] is None
    assert {item["dataset"] for item in fresh["value"]} == set(DATASETS)


async def test_freshness_meta_and_teams(api: Api) -> None:
    fresh = {item["dataset"]: item for item in (await api.json("/v1/freshness"))["value"]}
    assert fresh["usage_daily"]["complete_through"] == "2026-02-10"
    assert fresh["usage_daily"]["source_lag_s"] == 0
    meta = await api.json("/v1/meta")
    assert [item["name"] for item in meta["datasets"]] == list(DATASETS)
    assert {item["name"]: item["additive"] for item in meta["metrics"]}["active_users"] is False
    teams = {item["team_id"]: item for item in (await api.json("/v1/teams"))["value"]}
    assert {name: item["readable"] for name, item in teams.items()} == {
        "t-design": True,
        "t-open": True,
        "t-plain": False,
        "t-quiet": True,
    }
    assert teams["t-open"]["personal_data"] is True
    assert teams["t-design"]["min_group_size"] == 5


async def test_the_openapi_document_names_every_dataset_and_parameter(api: Api) -> None:
    document = await api.json("/v1/openapi.json", "")
    for name, dataset in DATASETS.items():
        operation = document["paths"][f"/v1/datasets/{name}"]["get"]
        for parameter in operation["parameters"]:
            assert (await api.get(f"/v1/datasets/{name}?{parameter['name']}=zzz")).status in (200, 400, 404, 410)
        assert set(document["components"]["schemas"][name]["properties"]) == set(dataset.names)
        assert "429" in operation["responses"]


async def test_a_large_body_is_compressed_when_asked(api: Api) -> None:
    path = f"{USAGE}?limit=10000"
    plain = await api.get(path, **{"Accept-Encoding": "identity"})
    packed = await api.get(path, **{"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert await plain.json() == await packed.json()


def test_the_fixture_covers_every_type() -> None:
    kinds = {column.type for dataset in DATASETS.values() for column in dataset.columns}
    assert kinds == set(ColumnType)
    assert date.fromisoformat("2026-02-01") == published.FIRST_DAY
