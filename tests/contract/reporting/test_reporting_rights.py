"""Who may read what: a matrix over organizations, Teams, tiers, privacy modes and scopes. Rights are capabilities."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from access import tokens
from access.principal import Purpose, Scope, operator
from ledger.published.datasets import DATASETS, Privacy
from ledger.store import consent, reporting
from ledger.store import tokens as token_rows
from ledger.store.tables.seats import subscription
from tests.contract.reporting.conftest import Api
from tests.parts import published
from tests.parts.fences import ALONE

NAMED_COLUMNS = {column.name for column in DATASETS["users"].columns if column.privacy is Privacy.NAMED}


async def _problem(api: Api, path: str, who: str = "pseudonym") -> tuple[int, str, dict[str, Any]]:
    response = await api.get(path, who)
    body = await response.json(content_type=None)
    return response.status, str(body.get("type", "")).rpartition("/")[2], body


async def _walls(api: Api, who: str, organization: str) -> None:
    """Nothing of another organization, and no Team beyond the credential's, in any dataset."""
    for name, dataset in DATASETS.items():
        response = await api.get(f"/v1/datasets/{name}?limit=10000", who)
        if response.status == 200:
            body = await response.json()
            for row in body["value"]:
                values = dict(zip(body["columns"], row, strict=True))
                assert values.get("user_key", f"u1-{organization}-").startswith(f"u1-{organization}-")
                assert values.get("department", f"dep-{organization}") == f"dep-{organization}"
                if dataset.team_column:
                    assert values["team_id"] in body["meta"]["teams"]


@pytest.mark.parametrize(
    ("who", "organization"),
    [("pseudonym", "acme"), ("named", "acme"), ("aggregate", "acme"), ("bound", "acme"), ("beta", "beta")],
)
async def test_no_credential_reads_beyond_its_organization_and_teams(api: Api, who: str, organization: str) -> None:
    await _walls(api, who, organization)


async def test_a_bound_credential_reads_its_teams_only(api: Api) -> None:
    for name, dataset in DATASETS.items():
        if "team_id" in dataset.by_name or dataset.per_user:
            body = await api.json(f"/v1/datasets/{name}", "bound")
            assert body["meta"]["teams"] == ["t-design"]
            assert (await _problem(api, f"/v1/datasets/{name}?team_id=t-open", "bound"))[:2] == (404, "not-found")
    assert [item["team_id"] for item in (await api.json("/v1/teams", "bound"))["value"]] == ["t-design"]


@pytest.mark.parametrize("team_id", ["t-beta-only", "", "t-design' OR 1=1 --", "ąć"])
async def test_a_team_of_another_organization_does_not_exist(api: Api, team_id: str) -> None:
    assert (await _problem(api, f"/v1/datasets/seats?team_id={team_id}"))[:2] == (404, "not-found")


async def test_r10_a_team_without_business_is_refused_by_name_and_rule(api: Api) -> None:
    for name, dataset in DATASETS.items():
        if "team_id" in dataset.by_name or dataset.per_user:
            status, kind, body = await _problem(api, f"/v1/datasets/{name}?team_id=t-plain&team_id=t-design")
            assert (status, kind) == (403, "tier-required")
            assert body["teams"] == [{"team_id": "t-plain", "name": "Plain"}]
            assert body["rule"] == "R10"
            assert "Plain" in body["detail"]
        assert (await _problem(api, f"/v1/datasets/{name}", "plain"))[:2] == (403, "tier-required")


async def test_r7_a_lapsed_tier_ends_reading_at_once_and_its_cursors(api: Api) -> None:
    first = await api.json("/v1/datasets/seats?limit=1")
    api.now += timedelta(minutes=1)
    async with api.ledger.write("acme", ALONE, at=api.now) as book:
        row = await book.first(book.open(subscription, "row_id").where(subscription.c.id == "sub-t-design"))
        assert row is not None
        await book.end(subscription, [row.row_id])
    assert (await _problem(api, "/v1/datasets/seats?team_id=t-design"))[:2] == (403, "tier-required")
    assert "t-design" in (await api.json("/v1/datasets/seats"))["meta"]["excluded_teams"]
    assert (await _problem(api, api.path_of(first["next"])))[:2] == (410, "cursor-expired")
    api.now = api.now.replace(year=2027, month=1)
    async with api.ledger.write("acme", ALONE, at=api.now) as book:
        assert {team.tier for team in await reporting.teams(book, date(2027, 1, 1))} == {"standard"}


async def test_r11_usage_needs_the_admins_switch(api: Api) -> None:
    status, kind, body = await _problem(api, "/v1/datasets/usage_daily?team_id=t-quiet")
    assert (status, kind, body["rule"]) == (403, "collection-disabled", "R11")
    seats = await api.json("/v1/datasets/seats?team_id=t-quiet")
    assert "state" in seats["columns"]
    assert "last_used_on" not in seats["columns"]
    assert seats["meta"]["withheld_columns"]["last_used_on"] == "collection-disabled"
    for part in ("select=last_used_on", "order=-days_used"):
        path = f"/v1/datasets/seats?team_id=t-quiet&{part}"
        assert (await _problem(api, path))[:2] == (403, "collection-disabled")
    async with api.ledger.write("acme", ALONE, at=api.now + timedelta(seconds=1)) as book:
        await reporting.switch(book, "t-quiet", user_level=True, actor="token:x")
    assert "last_used_on" in (await api.json("/v1/datasets/seats?team_id=t-quiet"))["columns"]
    assert (await api.json("/v1/datasets/usage_daily?team_id=t-quiet&limit=1"))["value"]


async def test_r13c_no_user_level_report_without_a_legal_basis(api: Api) -> None:
    async with api.ledger.write("acme", ALONE, at=api.now + timedelta(seconds=1)) as book:
        await consent.withdraw_basis(book, actor="token:x")
    for path in ("/v1/datasets/usage_daily", "/v1/datasets/usage_daily?team_id=t-design"):
        status, kind, body = await _problem(api, path)
        assert (status, kind, body["rule"]) == (403, "collection-disabled", "R13c")


async def test_pseudonyms_are_the_default_and_hide_named_columns(api: Api) -> None:
    body = await api.json("/v1/datasets/users")
    assert not NAMED_COLUMNS & set(body["columns"])
    assert set(body["meta"]["withheld_columns"]) == NAMED_COLUMNS
    for part in ("select=user_key,department", "order=country"):
        assert (await _problem(api, f"/v1/datasets/users?{part}"))[:2] == (403, "role-required")


async def test_named_columns_need_the_teams_switch_as_well(api: Api) -> None:
    both = await api.json("/v1/datasets/users", "named")
    assert not NAMED_COLUMNS & set(both["columns"])
    refused = await _problem(api, "/v1/datasets/users?select=department&team_id=t-design", "named")
    assert refused[:2] == (403, "named-not-enabled")
    allowed = await api.json("/v1/datasets/users?team_id=t-open", "named")
    assert set(allowed["columns"]) >= NAMED_COLUMNS
    assert allowed["meta"]["privacy"] == "named"
    assert len(allowed["value"]) == 3


async def test_aggregate_credentials_never_get_a_row_about_a_person(api: Api) -> None:
    for name, dataset in DATASETS.items():
        status, kind, body = await _problem(api, f"/v1/datasets/{name}", "aggregate")
        if dataset.per_user:
            assert (status, kind, body["scope"]) == (403, "role-required", "reports:pseudonym")
        else:
            assert status == 200
            assert "user_key" not in body["columns"]


async def test_seats_and_subscriptions_need_their_scope(api: Api) -> None:
    for name in ("seats", "subscriptions"):
        status, kind, body = await _problem(api, f"/v1/datasets/{name}", "noseats")
        assert (status, kind, body["scope"]) == (403, "role-required", "seats:read")
    assert (await api.json("/v1/datasets/usage_daily?limit=1", "noseats"))["value"]


@pytest.mark.parametrize("path", ["/v1/teams", "/v1/meta", "/v1/freshness", "/v1/datasets/seats"])
async def test_a_machine_that_only_writes_reads_nothing(api: Api, path: str) -> None:
    assert (await _problem(api, path, "writer"))[:2] == (403, "role-required")


async def test_a_cursor_is_of_use_to_its_credential_and_question_only(api: Api) -> None:
    first = await api.json("/v1/datasets/seats?limit=1")
    link = api.path_of(first["next"])
    cursor = link.partition("cursor=")[2]
    assert (await _problem(api, link, "beta"))[1] in {"invalid-query", "cursor-expired"}
    assert (await _problem(api, link, "named"))[:2] == (400, "invalid-query")
    assert (await _problem(api, link, "bound"))[0] in {400, 410}
    for other in (f"/v1/datasets/seats?order=-seat_id&cursor={cursor}", f"/v1/datasets/teams?cursor={cursor}"):
        assert (await _problem(api, other))[:2] == (400, "invalid-query")
    flipped = cursor[:30] + ("A" if cursor[30] != "A" else "B") + cursor[31:]
    for garbage in (flipped, "AAAA", "ą", "=", "x" * 3000, cursor[:-5], cursor + "AAAA"):
        assert (await _problem(api, f"/v1/datasets/seats?limit=1&cursor={garbage}"))[:2] == (400, "invalid-query")
    api.now += timedelta(hours=49)
    assert (await _problem(api, link))[:2] == (410, "cursor-expired")


async def test_credentials_stop_at_once(api: Api) -> None:
    ident = next(row.id for row in await tokens.list(api.ledger, "acme") if row.name == "pseudonym")
    assert (await api.get("/v1/teams")).status == 200
    await tokens.revoke(api.ledger, "acme", ident, actor=operator("acme", "root"), now=api.now)
    response = await api.get("/v1/teams")
    assert response.status == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    api.now += timedelta(days=30)
    assert (await api.get("/v1/teams", "named")).status == 401


async def test_the_token_is_also_the_password_of_basic(api: Api) -> None:
    text = base64.b64encode(f"anybody:{api.tokens['pseudonym']}".encode()).decode()
    assert (await api.get("/v1/teams", "", Authorization=f"Basic {text}")).status == 200
    assert (await api.get(f"/v1/teams?api_key={api.tokens['pseudonym']}", "")).status == 401


async def test_r12_every_read_is_logged_with_its_purpose(api: Api) -> None:
    await api.token("renewal", Scope.REPORTS_NAMED, Scope.SEATS_READ, purpose=Purpose.RENEWAL)
    await api.json("/v1/datasets/users?team_id=t-open&select=user_key,department", "renewal")
    async with api.ledger.read("acme") as reader:  # named reads are in the log before the answer is
        (line,) = await token_rows.accesses(reader)
    assert (line.purpose, line.privacy, line.resource, line.rows, line.status) == ("renewal", "named", "users", 3, 200)
    assert line.columns == ("user_key", "department")
    assert line.team_ids == ("t-open",)
    await api.json("/v1/datasets/users?select=department", status=403)
    await api.json("/v1/datasets/seats?limit=2")
    await api.json("/v1/teams", "garbage", status=401)
    await api.client.close()
    async with api.ledger.read("acme") as reader:
        found = [(one.resource, one.status, one.rows) for one in await token_rows.accesses(reader)]
    assert sorted(found) == [("/v1/datasets/users", 403, 0), ("seats", 200, 2), ("users", 200, 3)]


async def test_the_rate_of_a_token_is_limited_but_not_its_pages(api: Api) -> None:
    first = await api.get("/v1/datasets/seats?limit=1")
    link = api.path_of((await first.json())["next"])
    for _ in range(59):
        last = await api.get("/v1/meta")
    assert last.headers["RateLimit"] == '"queries";r=0;t=60'
    refused = await api.get("/v1/meta")
    assert refused.status == 429
    assert refused.headers["Retry-After"] == "1"
    assert (await api.get(link)).status == 200
    assert (await api.get("/v1/meta", "named")).status == 200
    api.now += timedelta(seconds=1)
    assert (await api.get("/v1/meta")).status == 200


async def test_another_publication_of_the_same_name_is_not_readable(api: Api) -> None:
    snapshot = (await api.json("/v1/freshness", "beta"))["snapshot"]
    assert (await _problem(api, f"/v1/datasets/seats?snapshot={snapshot}"))[:2] == (410, "report-expired")


async def test_a_team_that_closed_is_not_readable(api: Api) -> None:
    gone = replace(published.TEAM_LIST[0], id="t-gone")
    assert (await _problem(api, f"/v1/datasets/seats?team_id={gone.id}"))[:2] == (404, "not-found")
