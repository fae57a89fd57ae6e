"""Every route of ``/admin/v1`` on both databases: what it answers, who may ask, and that every error is a problem."""

from __future__ import annotations

import re
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest

from access.principal import Scope
from connector.admin import routes
from connector.admin.answering import cursor_of
from connector.admin.routes import table
from connector.reconcile import run
from tests.contract.admin.conftest import Admin
from tests.parts.fences import ALONE

ROUTES = table(None, None)  # type: ignore[arg-type]
NAMES = [f"{route.method} {route.path}" for route in ROUTES]
GUARDED = [route for route in ROUTES if route.scope is not None]
WITH_BODY = [route for route in ROUTES if route.body is not None]
WHOLE = {Scope.RUNS_APPROVE, Scope.AUDIT_READ, Scope.SETTINGS_WRITE, Scope.SSO_WRITE, Scope.SYNC_ENABLE}


def filled(path: str) -> str:
    """A path with ids nobody has."""
    return re.sub(r"\{\w+\}", "0199aaaa", path)


def is_problem(document: Any, status: int) -> bool:
    """RFC 9457 with our four fields."""
    return bool(document["status"] == status and document["type"].startswith("https://") and document["detail"]
                and document["title"] and "next_step" in document)  # fmt: skip


async def test_every_route_asks_who_it_is_and_for_its_right(admin: Admin) -> None:
    for route in GUARDED:
        admin.known = False
        status, document = await admin.ask(route.method, filled(route.path))
        assert (status, is_problem(document, 401)) == (401, True), route
        admin.known, admin.scopes = True, frozenset(Scope) - {route.scope}
        status, document = await admin.ask(route.method, filled(route.path))
        assert (status, is_problem(document, 403)) == (403, True), route
        assert route.scope.value in document["detail"], route


async def test_every_route_answers_and_what_it_does_not_know_is_a_problem(admin: Admin) -> None:
    known = {
        "mail": "x@acme.example",
        "digest": "0123456789",
        "reason": "x",
        "run": "x",
        "source": "corp",
        "anchor": "x",
        "domain": "other.example",
        "sha256": "0123456789",
        "days": 3,
        "kind": "invite.mail",
    }
    # nothing is given, tested, held, kept or on yet
    not_yet = {"/sso/connection": 400, "/sso/on": 409, "/sso/certificates": 404, "/sso/rebind-window": 409,
               "/outbox/release": 404,
               "/sync/enable": 409}  # fmt: skip
    for route in GUARDED:
        parts: dict[str, Any] = {}
        if route.body is not None:
            required = {name for name, field in route.body.model_fields.items() if field.is_required()}
            wanted = required | ({"reason"} & route.body.model_fields.keys())
            parts["body"] = {name: known[name] for name in wanted}
        elif route.asked is not None and "reason" in route.asked.model_fields:
            parts["params"] = {"reason": "x"}
        status, document = await admin.ask(route.method, filled(route.path), **parts)
        if "{" in route.path or route.path in {"/approvals", "/undo"}:
            assert (status, is_problem(document, 404)) == (404, True), (route, document)
        else:
            expected = route.status if route.method == "DELETE" else not_yet.get(route.path, route.status)
            assert status == expected, (route, document)


async def test_every_body_is_strict_and_every_error_has_its_place(admin: Admin) -> None:
    texts = ("{", "[]", '{"surprise": 1}', '{"reason": 1, "mail": 2}', "\xff", '{"reason": "\\u0000"}')
    for route, text in product(WITH_BODY, texts):
        status, document = await admin.ask(route.method, filled(route.path), data=text.encode("latin-1"))
        assert (status, is_problem(document, 400)) == (400, True), (route, text, document)
        assert all(fault["where"] and fault["what"] for fault in document["errors"])
        if "surprise" in text:
            assert "surprise" in {fault["where"] for fault in document["errors"]}


async def test_bad_parameters_are_problems_at_their_place(admin: Admin) -> None:
    for path in (
        *("/people?limit=0", "/people?limit=501", "/people?limit=x", "/people?cursor=!!", "/people?cursor=WzFd"),
        *("/people?nonsense=1", "/people?limit=1&limit=2", "/people?state=gone", "/people?mail=nobody"),
        *("/audit?from=yesterday", "/audit?from=2026-03-02T09:00:00", "/audit?cursor=WyJ4Il0", "/audit?actor=%00"),
        *("/runs?cursor=Wy0xLCJ4Il0", "/runs?cursor=WzkyMjMzNzIwMzY4NTQ3NzU4MDcsIngiXQ", "/seats?offering=%00"),
        *("/subscriptions?nonsense=1", "/people?cursor=WyJcdTAwMDAiLCJ4Il0", "/groups?cursor=!!", "/groups?limit=0"),
    ):
        status, document = await admin.ask("GET", path)
        assert (status, is_problem(document, 400)) == (400, True), (path, document)
        assert document.get("where") or document["errors"][0]["where"], path


async def test_paths_methods_and_sizes_http_itself_refuses_are_problems_too(admin: Admin) -> None:
    for method, path, expected in (("GET", "/nothing", 404), ("PUT", "/people", 405), ("GET", "/people/%00x", 404)):
        status, document = await admin.ask(method, path)
        assert (status, is_problem(document, expected)) == (expected, True)
    status, document = await admin.ask("POST", "/people", {"mail": "x" * 70_000})
    assert (status, is_problem(document, 413)) == (413, True)


async def test_the_document_describes_every_route(admin: Admin) -> None:
    admin.known = False
    document = await admin.get("/openapi.json")
    described = {f"{method.upper()} {path}" for path, found in document["paths"].items() for method in found}
    assert described == {name.replace(" ", " /admin/v1", 1) for name in NAMES if "openapi" not in name}
    invite = document["paths"]["/admin/v1/people"]["post"]
    assert invite["x-scope"] == "people:write"
    assert document["components"]["schemas"]["NewPerson"]["additionalProperties"] is False


async def test_what_concerns_everybody_is_not_for_credentials_bound_to_teams(admin: Admin) -> None:
    admin.teams = frozenset({await admin.team("Site")})
    for route in GUARDED:
        if route.scope in WHOLE:
            status, document = await admin.ask(route.method, filled(route.path))
            assert (status, "bound to Teams" in document["detail"]) == (403, True), route


async def test_people_are_listed_by_page_and_filter(admin: Admin) -> None:
    for name in ("eve", "Zoë", "dan"):
        assert (await admin.ask("POST", "/people", {"mail": f"{name}@acme.example"}))[0] == 201
    seen: list[str] = []
    path = "/people?limit=2"
    while path:
        page = await admin.get(path)
        seen += [row["mail"] for row in page["people"]]
        path = f"/people?limit=2&cursor={page['next']}" if page["next"] else ""
    assert seen == [f"{name}@acme.example" for name in ("anna", "bo", "dan", "eve", "Zoë")]
    assert [row["mail"] for row in (await admin.get("/people?mail=ZOË@acme.example"))["people"]] == ["Zoë@acme.example"]
    assert len((await admin.get("/people?team=Design"))["people"]) == 2
    assert (await admin.get("/people?state=disabled"))["people"] == []
    assert len((await admin.get("/people?invite=open"))["people"]) == 5
    admin.world.later(days=31)
    assert (await admin.get("/people?invite=expired"))["people"][0]["invite_expires_at"] == "2026-04-01T09:00:00Z"


async def test_one_person_with_everything_and_why(admin: Admin) -> None:
    anna = await admin.get(f"/people/{await admin.person('anna')}")
    assert anna["links"][0] | {"since": ""} == {
        "kind": "directory",
        "source": "corp",
        "anchor": "anchor-anna",
        "since": "",
    }
    assert anna["memberships"][0]["provenance"] == "mapping:design"
    assert anna["seats"][0]["grants"][0]["provenance"] == "mapping:design"
    assert anna["seats"][0]["restricted"] is False
    assert anna["invite"] == {"accepted": False, "expires_at": "2026-04-01T09:00:00Z", "expired": False}
    assert any("mapping design" in line for line in anna["explain"])


async def test_the_address_of_somebody_known_is_a_conflict_with_the_id(admin: Admin) -> None:
    status, document = await admin.ask("POST", "/people", {"mail": "ANNA@acme.example"})
    assert (status, document["type"].rpartition("/")[2]) == (409, "exists")
    assert document["id"] == await admin.person("anna")
    status, document = await admin.ask("POST", "/people", {"mail": "x@elsewhere.example"})
    assert (status, document["where"]) == (409, "mail")


async def test_r6_a_day_of_an_admin(admin: Admin) -> None:
    design = await admin.team("Design")
    status, eve = await admin.ask(
        "POST", "/people", {"mail": "eve@acme.example", "given_name": "Eve", "teams": ["Design"]}
    )
    assert status == 201
    who = eve["id"]
    assert eve["memberships"][0]["provenance"] == "manual"
    status, changed = await admin.ask("PATCH", f"/people/{who}", {"family_name": "Król"})
    assert (status, changed["family_name"]) == (200, "Król")
    for expected in (True, False):
        assert (await admin.ask("PUT", f"/teams/Site/members/{who}"))[1]["changed"] is expected
        assert (await admin.ask("PUT", f"/seats/{design}/CAD/{who}"))[1]["changed"] is expected
    assert (await admin.get("/seats?team=Design&offering=CAD&limit=2"))["next"]
    pool = (await admin.get("/subscriptions"))["pools"][0]
    assert (pool["quantity"], pool["held"], pool["free"], pool["waiting"]) == (3, 3, 0, 0)
    status, refused = await admin.ask("PUT", f"/seats/Design/CAD/{await admin.person('anna')}", {"wait": True})
    assert (status, refused["changed"]) == (200, True)
    dan = (await admin.ask("POST", "/people", {"mail": "dan@acme.example", "teams": ["Design"]}))[1]["id"]
    status, refused = await admin.ask("PUT", f"/seats/Design/CAD/{dan}")
    assert (status, "waitlist" in refused["detail"]) == (409, True)
    assert (await admin.ask("PUT", f"/seats/Design/CAD/{dan}", {"wait": True}))[1]["changed"]
    assert (await admin.ask("DELETE", f"/seats/Design/CAD/{who}"))[0] == 400, "a reason is needed"
    assert (await admin.ask("DELETE", f"/seats/Design/CAD/{who}?reason=moved"))[1]["changed"]
    assert (await admin.ask("DELETE", f"/teams/Site/members/{who}?reason=moved"))[1]["changed"]
    assert (await admin.ask("DELETE", f"/people/{who}?reason=left"))[1]["changed"]
    members = await admin.get("/teams/Design/members")
    assert [row["mail"] for row in members["members"]] == [f"{name}@acme.example" for name in ("anna", "bo", "dan")]
    events = (await admin.get(f"/audit?subject={who}"))["events"]
    assert [row["verb"] for row in events] == ["person.removed", "membership.ended", "seat.released", "seat.granted",
                                               "membership.added", "person.changed", "person.invited"]  # fmt: skip
    assert {row["actor"] for row in events} == {"token:abc"}
    assert events[0]["payload"]["reason"] == "left"


async def test_p3_synced_rows_are_refused_with_what_to_change(admin: Admin) -> None:
    anna = await admin.person("anna")
    for method, path, body in (
        ("DELETE", f"/teams/Design/members/{anna}?reason=x", None),
        ("DELETE", f"/seats/Design/CAD/{anna}?reason=x", None),
        ("DELETE", f"/people/{anna}/links/corp?reason=x", None),
        ("DELETE", f"/people/{anna}?reason=x", None),
        ("PATCH", f"/people/{anna}", {"mail": "a@acme.example"}),
    ):
        status, document = await admin.ask(method, path, body)
        assert (status, document["type"].rpartition("/")[2]) == (409, "refused"), path
        assert "mapping design" in document["detail"] or "directory corp" in document["detail"], path
        assert document["next_step"], path


async def test_d9_links_are_moved_over_http(admin: Admin) -> None:
    bo = await admin.person("bo")
    body = {"source": "corp", "anchor": "anchor-bo2", "reason": "new directory"}
    status, done = await admin.ask("POST", f"/people/{bo}/links", body)
    assert (status, done["changed"]) == (200, True)
    assert [row["anchor"] for row in (await admin.get(f"/people/{bo}"))["links"]] == ["anchor-bo2"]
    status, refused = await admin.ask("POST", f"/people/{bo}/links", {**body, "anchor": "anchor-anna"})
    assert (status, "somebody else" in refused["detail"]) == (409, True)


async def test_e7_another_address_counts_over_http(admin: Admin) -> None:
    bo = await admin.person("bo")
    body = {"mail": "bo.k@acme.example", "reason": "marriage"}
    status, refused = await admin.ask("POST", f"/people/{bo}/rename", body)
    assert (status, "did not show" in refused["detail"]) == (409, True)
    admin.world.source.change("bo", also=("bo.k@acme.example",))
    admin.world.later(hours=1)
    await run.apply(admin.world.ledger, admin.world.setup, fence=ALONE, now=admin.world.now, actor="test", auto=True)
    status, done = await admin.ask("POST", f"/people/{bo}/rename", body)
    assert (status, done["changed"]) == (200, True)
    assert (await admin.get(f"/people/{bo}"))["mail"] == "bo.k@acme.example"


async def test_an_invite_is_sent_again_over_http(admin: Admin) -> None:
    bo = await admin.person("bo")
    admin.world.later(days=1)
    status, done = await admin.ask("POST", f"/people/{bo}/invite")
    assert (status, done["expires_at"]) == (200, "2026-04-02T09:00:00Z")


async def test_r16_a_team_is_restricted_and_lifted_over_http(admin: Admin) -> None:
    assert (await admin.ask("PUT", "/teams/Design/restriction", {"reason": "unpaid"}))[1]["changed"]
    design = next(item for item in (await admin.get("/teams"))["teams"] if item["name"] == "Design")
    assert design["restricted"] == {"since": "2026-03-02T09:00:00Z", "actor": "token:abc", "reason": "unpaid"}
    assert all(row["restricted"] for row in (await admin.get("/seats"))["seats"])
    status, refused = await admin.ask("PUT", f"/seats/Design/CAD/{await admin.person('anna')}")
    assert status == 200, "one more reason for a seat that is held takes nothing new"
    assert (await admin.ask("DELETE", "/teams/Design/restriction?reason=paid"))[1]["changed"]
    assert refused["changed"] is True


async def test_a_credential_bound_to_teams_sees_those_alone(admin: Admin) -> None:
    anna, design, site = await admin.person("anna"), await admin.team("Design"), await admin.team("Site")
    eve = (await admin.ask("POST", "/people", {"mail": "eve@acme.example", "teams": ["Site", "Design"]}))[1]["id"]
    admin.teams = frozenset({site})
    assert [row["name"] for row in (await admin.get("/teams"))["teams"]] == ["Site"]
    assert [row["mail"] for row in (await admin.get("/people"))["people"]] == ["eve@acme.example"]
    assert (await admin.get("/seats"))["seats"] == []
    assert (await admin.get("/subscriptions"))["subscriptions"] == []
    for path in (f"/people/{anna}", f"/teams/{design}/members", f"/seats?team={design}", f"/people?team={design}"):
        assert (await admin.ask("GET", path))[0] == 404, path
    shown = await admin.get(f"/people/{eve}")
    assert [row["team"]["name"] for row in shown["memberships"]] == ["Site"]
    assert shown["explain"] == []
    assert (await admin.ask("DELETE", f"/people/{eve}?reason=x"))[0] == 409
    assert (await admin.ask("PUT", f"/teams/{design}/members/{eve}"))[0] == 404


async def test_p2_kept_groups_are_listed_with_their_members(admin: Admin) -> None:
    page = await admin.get("/groups")
    group = page["groups"][0]
    assert (len(page["groups"]), page["next"]) == (1, None)
    assert group | {"id": ""} == {
        "id": "",
        "name": "design",
        "dn": "design",
        "anchor": "anchor-design",
        "members": 2,
        "source": "corp",
        "named_since": "2026-03-02T09:00:00Z",
    }
    seen: list[dict[str, Any]] = []
    path = f"/groups/{group['id']}/members?limit=1"
    while path:
        page = await admin.get(path)
        assert page["group"] == {"id": group["id"], "name": "design"}
        seen += page["members"]
        path = f"/groups/{group['id']}/members?limit=1&cursor={page['next']}" if page["next"] else ""
    assert [row["mail"] for row in seen] == ["anna@acme.example", "bo@acme.example"]
    why = {"provenance": "mapping:design", "cause": "uid=anna,ou=People → design → mapping design",
           "since": "2026-03-02T09:00:00Z"}  # fmt: skip
    assert seen[0].items() >= why.items()
    anna = await admin.get(f"/people/{seen[0]['id']}")
    assert anna["groups"] == [{"group": {"id": group["id"], "name": "design"}, **why}]
    assert any("in group design" in line for line in anna["explain"])
    assert (await admin.get(f"/groups?cursor={cursor_of(group['id'])}"))["groups"] == []


async def test_p2_kept_groups_are_not_for_credentials_bound_to_teams(admin: Admin) -> None:
    group, anna = (await admin.get("/groups"))["groups"][0]["id"], await admin.person("anna")
    admin.teams = frozenset({await admin.team("Design")})
    for path in ("/groups", f"/groups/{group}/members"):
        status, document = await admin.ask("GET", path)
        assert (status, is_problem(document, 403), "bound to Teams" in document["detail"]) == (403, True, True), path
    assert (await admin.get(f"/people/{anna}"))["groups"] == []


async def test_runs_and_audit_are_paged(admin: Admin) -> None:
    for _ in range(3):
        await admin.ask("POST", "/people", {"mail": f"p{_}@acme.example"})
    first = await admin.get("/audit?limit=2")
    second = await admin.get(f"/audit?limit=2&cursor={first['next']}")
    numbers = [row["seq"] for row in (*first["events"], *second["events"])]
    assert numbers == sorted(numbers, reverse=True)
    assert len(set(numbers)) == 4
    run = (await admin.get("/runs?limit=1"))["runs"][0]
    assert (await admin.get(f"/runs/{run['id']}"))["evidence"]
    about_run = (await admin.get(f"/audit?run={run['id']}&verb=run.person"))["events"]
    assert len(about_run) == 2
    assert (await admin.get("/audit?from=2026-03-03T00:00:00Z"))["events"] == []
    assert len((await admin.get("/audit?to=2026-03-03T00:00:00Z&actor=service:schedule&limit=500"))["events"]) == 3


async def test_plans_and_undos_are_jobs(admin: Admin) -> None:
    run = (await admin.get("/runs"))["runs"][0]["id"]
    for path, body in (("/plans", None), ("/undo", {"run": run, "dry_run": True})):
        status, job = await admin.ask("POST", path, body)
        assert status == 202
        found = await admin.get(job["href"].removeprefix("/admin/v1"))
        assert (found["state"], found["kind"]) == ("waiting", path[1:].removesuffix("s"))
    assert (await admin.ask("POST", "/undo", {"run": run}))[0] == 400, "a reason is needed"
    assert (await admin.ask("POST", "/plans", {"x": 1}))[0] == 400


async def test_another_reason_or_a_freeze_is_a_job_of_its_own_and_the_same_again_is_not(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def found(*_args: Any) -> Any:
        return SimpleNamespace(digest="0123456789")

    monkeypatch.setattr(routes._Routes, "_find", found)
    body = {"digest": "0123456789", "reason": "left"}
    asked = [body, body, {**body, "despite_freeze": True}, {**body, "reason": "all of them left"}]
    answers = [await admin.ask("POST", "/approvals", body=one) for one in asked]
    assert [status for status, _ in answers] == [202] * 4
    first, again, *others = (document["job"] for _, document in answers)
    assert first == again
    assert len({first, *others}) == 3
