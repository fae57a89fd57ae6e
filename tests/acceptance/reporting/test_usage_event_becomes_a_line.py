"""Second walk of design.md §7: a usage event becomes a line in a BI tool, under a pseudonym; late ones a revision."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from access import tokens
from access.principal import Scope, operator
from access.tokens import TokenSpec
from connector.usage.ingest import ingest
from connector.usage.publish import publish
from ledger.published.iceberg import Warehouse
from ledger.store import reporting
from ledger.store.engine import Ledger
from ledger.usage import user_key
from reporting_api.app import make_app
from reporting_api.settings import ApiSettings
from tests.parts.fences import ALONE
from tests.parts.usage_company import NOW, ORG, PEOPLE, SECRET, event, found, ndjson, seat

PEPPER = b"pepper-of-the-tests"


async def test_a_usage_event_becomes_a_line_in_a_bi_tool(ledger: Ledger, ledger_url: str, tmp_path: Path) -> None:
    await found(ledger)
    async with ledger.write(ORG, ALONE, at=NOW - timedelta(days=20)) as book:
        await seat(book, "seat-1", "anna")
        await reporting.switch(book, "design", user_level=True, actor="operator:root")
    warehouse = Warehouse.open(f"file:{tmp_path}/warehouse", ledger_url)
    spec = TokenSpec("bi", NOW + timedelta(days=30), scopes=(Scope.REPORTS_PSEUDONYM, Scope.SEATS_READ))
    made = await tokens.create(ledger, ORG, spec, pepper=PEPPER, actor=operator(ORG, "root"), now=NOW)
    root = web.Application()
    root.add_subapp(
        "/v1",
        make_app(ledger, warehouse, ApiSettings(), lambda: NOW, pepper=PEPPER, public_url="https://rosterd.example"),
    )
    async with TestClient(TestServer(root)) as client:

        async def get(path: str) -> Any:
            async with client.get(path, headers={"Authorization": f"Bearer {made.text}"}) as response:
                return response.status, await response.json(content_type=None), response.headers.get("ETag")

        assert (await get("/v1/datasets/usage_daily"))[0] == 404
        events = [event(1), event(2), event(3, mail=PEOPLE["łucja"], occurred_at="2026-02-20T23:30:00Z")]
        taken = await ingest(ledger, ORG, ndjson(*events), now=NOW, source="product")
        assert taken.accepted == 3
        first = await publish(ledger, warehouse, ORG, now=NOW, secret=SECRET)

        path = "/v1/datasets/usage_daily?team_id=design&select=usage_date,user_key,offering_code,status,revision"
        status, body, tag = await get(path)
        assert status == 200
        assert body["value"] == [
            ["2026-02-20", user_key(SECRET, ORG, "łucja"), "CAD", "final", 0],
            ["2026-03-01", user_key(SECRET, ORG, "anna"), "CAD", "provisional", 0],
        ]
        assert body["meta"]["snapshot"] == first.id
        for name in ("anna", "łucja", "kowalska"):
            assert name not in str(body)

        seats = (await get("/v1/datasets/seats?shape=objects"))[1]["value"]
        assert [(one["seat_id"], one["user_key"]) for one in seats] == [("seat-1", user_key(SECRET, ORG, "anna"))]
        users = (await get("/v1/datasets/users?select=user_key"))[1]["value"]
        assert users == [[user_key(SECRET, ORG, "anna")]]
        status, body, _ = await get("/v1/datasets/subscriptions?team_id=build")
        assert (status, body["rule"]) == (403, "R10")

        late = event(4, mail=PEOPLE["anna"], occurred_at="2026-02-20T09:00:00Z")
        await ingest(ledger, ORG, ndjson(late), now=NOW + timedelta(minutes=1), source="product")
        second = await publish(ledger, warehouse, ORG, now=NOW + timedelta(minutes=2), secret=SECRET)
        status, body, other = await get(path)
        assert (body["meta"]["snapshot"], other == tag) == (second.id, False)
        assert [row[4] for row in body["value"]] == [1, 1, 0]
        pinned = (await get(f"{path}&snapshot={first.id}"))[1]
        assert [row[4] for row in pinned["value"]] == [0, 0]
    await warehouse.close()
