"""Hunts every path that can fail, for the one shape of errors (RFC 9457) and for what must never leave."""

from __future__ import annotations

import re
from typing import Any

import pytest
from aiohttp import ClientResponse

from ledger.errors import Unavailable
from reporting_api.errors import KINDS, Problem
from reporting_api.parts import PARTS
from reporting_api.query.duckdb import DuckEngine
from reporting_api.query.model import Query
from reporting_api.settings import ApiSettings
from tests.contract.reporting.conftest import PUBLIC, Api, Start
from tests.parts import published

USAGE = "/v1/datasets/usage_daily"

FAILING = [
    ("GET", "/v1/nothing", 404, "not-found"),
    ("GET", "/v1/datasets/usage_dayly", 404, "not-found"),
    ("GET", "/v1/datasets/", 404, "not-found"),
    ("GET", "/v1/datasets/usage_daily/rows", 404, "not-found"),
    ("GET", "/v1/errors/nonsense", 404, "not-found"),
    ("POST", USAGE, 405, "method-not-allowed"),
    ("DELETE", "/v1/teams", 405, "method-not-allowed"),
    ("GET", f"{USAGE}?form=2026-01-01", 400, "invalid-query"),
    ("GET", f"{USAGE}?from=yesterday", 400, "invalid-query"),
    ("GET", f"{USAGE}?from=2026-02-30", 400, "invalid-query"),
    ("GET", f"{USAGE}?from=20260201", 400, "invalid-query"),
    ("GET", f"{USAGE}?from=2026-02-02&to=2026-02-02", 400, "invalid-query"),
    ("GET", f"{USAGE}?from=2026-02-02&from=2026-02-03", 400, "invalid-query"),
    ("GET", f"{USAGE}?limit=0", 400, "invalid-query"),
    ("GET", f"{USAGE}?limit=10001", 400, "invalid-query"),
    ("GET", f"{USAGE}?limit=-1", 400, "invalid-query"),
    ("GET", f"{USAGE}?limit=1e3", 400, "invalid-query"),
    ("GET", f"{USAGE}?limit=%EF%BC%91", 400, "invalid-query"),
    ("GET", f"{USAGE}?limit=99999999999999999999", 400, "invalid-query"),
    ("GET", f"{USAGE}?select=tokns", 400, "invalid-query"),
    ("GET", f"{USAGE}?select=", 400, "invalid-query"),
    ("GET", f"{USAGE}?select=tokens,tokens", 400, "invalid-query"),
    ("GET", f"{USAGE}?select=tokens%22%20FROM%20x--", 400, "invalid-query"),
    ("GET", f"{USAGE}?order=--tokens", 400, "invalid-query"),
    ("GET", f"{USAGE}?order=tokens,-tokens", 400, "invalid-query"),
    ("GET", f"{USAGE}?format=xml", 400, "invalid-query"),
    ("GET", f"{USAGE}?shape=tree", 400, "invalid-query"),
    ("GET", f"{USAGE}?count=estimated", 400, "invalid-query"),
    ("GET", f"{USAGE}?cursor=", 400, "invalid-query"),
    ("GET", f"{USAGE}?cursor=abc", 400, "invalid-query"),
    ("GET", f"{USAGE}?version=a%00b", 400, "invalid-query"),
    ("GET", f"{USAGE}?snapshot=unknown", 410, "report-expired"),
    ("GET", "/v1/datasets/seats?from=2026-02-01", 422, "field-not-filterable"),
    ("GET", "/v1/datasets/seats?version=2026", 422, "field-not-filterable"),
    ("GET", "/v1/datasets/offerings?team_id=t-design", 422, "field-not-filterable"),
    ("GET", f"{USAGE}?from=2027-01-01", 404, "report-not-yet-available"),
    ("GET", f"{USAGE}?team_id=t-plain", 403, "tier-required"),
]


async def check_shape(response: ClientResponse, status: int, kind: str) -> dict[str, Any]:
    """The one shape, the headers of every answer, and nothing of our inside."""
    text = await response.text()
    assert response.status == status, text
    assert response.content_type == "application/problem+json"
    body: dict[str, Any] = await response.json(content_type=None)
    assert body["type"] == f"{PUBLIC}/v1/errors/{kind}"
    assert (body["title"], body["status"]) == (KINDS[kind].title, status)
    assert body["detail"]
    assert not re.search(r"Traceback|\.py|read_parquet|/tmp/|rpt_[0-9A-Za-z]|duckdb|SELECT ", text)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"].startswith("private")
    assert response.headers["Vary"].startswith("Authorization")
    assert "RateLimit-Policy" in response.headers
    return body


async def test_every_error_has_the_one_shape(api: Api) -> None:
    for number, (method, path, status, kind) in enumerate(FAILING):
        who = ("pseudonym", "named")[number % 2]
        headers = {"Authorization": f"Bearer {api.tokens[who]}"}
        response = await api.client.request(method, path, headers=headers)
        await check_shape(response, status, kind)
        if method != "GET":
            assert "GET" in response.headers["Allow"]


async def test_without_a_credential_nothing_is_said(empty: Api) -> None:
    told = set()
    for path in ("/v1/teams", "/v1/meta", "/v1/freshness", USAGE, "/v1/datasets/nothing"):
        for value in ("", "Bearer", "Bearer x", "Basic !!!", "Basic YTpi", "Digest a", "bearer rpt_aaaaaaaa_x"):
            response = await empty.get(path, "", **({"Authorization": value} if value else {}))
            told.add((await check_shape(response, 401, "unauthenticated"))["detail"])
            assert "WWW-Authenticate" in response.headers
    assert len(told) == 1


async def test_suggestions_point_at_the_fault(api: Api) -> None:
    unknown = await api.json(f"{USAGE}?form=2026-01-01", status=400)
    assert (unknown["at"], unknown["next_step"]) == ("form", "did you mean format?")
    column = await api.json(f"{USAGE}?select=usage_dat", status=400)
    assert (column["at"], column["next_step"]) == ("select", "did you mean usage_date?")
    dataset = await api.json("/v1/datasets/usage_dayly", status=404)
    assert dataset["next_step"] == "did you mean usage_daily?"


async def test_a_format_nobody_speaks_is_406(api: Api) -> None:
    for accept in ("image/png", "application/json;q=0, text/csv;q=0"):
        await check_shape(await api.get(USAGE, Accept=accept), 406, "not-acceptable")
    for accept, kind in (
        ("text/html, */*;q=0.1", "application/json"),
        ("text/csv, application/json;q=0.9", "text/csv"),
        ("text/*", "text/csv"),
        ("*/*, application/json;q=0.1", "text/csv"),
    ):
        assert (await api.get(f"{USAGE}?limit=1", Accept=accept)).content_type == kind


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        (Unavailable("disk /var/lib/x is gone", where="/tmp/x.py"), 503, "data-temporarily-unavailable"),
        (ZeroDivisionError("/srv/secret.py"), 500, "internal"),
        (PermissionError("columns outside the scope"), 500, "internal"),
        (Problem("range-too-large", "too much"), 413, "range-too-large"),
    ],
)
async def test_faults_of_ours_say_nothing_of_our_inside(
    api: Api, monkeypatch: pytest.MonkeyPatch, fault: Exception, status: int, kind: str
) -> None:
    async def fail(self: DuckEngine, query: Query, publication: Any) -> None:
        raise fault

    monkeypatch.setattr(DuckEngine, "page", fail)
    response = await api.get(USAGE)
    await check_shape(response, status, kind)
    assert ("Retry-After" in response.headers) == (status == 503)


async def test_a_query_that_takes_too_long_is_interrupted_and_said(start: Start, now: Any, written: Any) -> None:
    api = await start(ApiSettings(query_time="0"))
    await published.make_organization(api.ledger, "acme", now)
    await published.announce(api.ledger, "acme", now, written.tables["acme"])
    await api.token("pseudonym")
    await check_shape(await api.get(USAGE), 503, "query-timeout")


async def test_every_type_of_problem_is_described_under_its_address(api: Api) -> None:
    for kind, described in KINDS.items():
        body = await api.json(f"/v1/errors/{kind}", "")
        assert (body["title"], body["status"]) == (described.title, described.status)


def test_the_parts_key_is_the_applications_own() -> None:
    assert "reporting" in repr(PARTS)
