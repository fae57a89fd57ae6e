"""Every route × every kind of credential, walked from the routers: a new route is in the table, or this fails (R6)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from access import tokens
from access.principal import REPORT_SCOPES, ROLE_SCOPES, Scope, operator
from access.tokens import TokenSpec
from connector.reconcile.by_hand import people
from connector.reconcile.by_hand.rules import Act
from connector.reconcile.policy.invites import InviteSettings
from ledger.store.people import open_teams
from ledger.team import Role
from rosterd import faces
from rosterd.clock import utc_now
from rosterd.daemon import Daemon
from rosterd.loading import load
from rosterd.service import Service
from tests.parts.front import DEPLOY
from tests.parts.installation import Installation
from tests.parts.sso_organization import prove

PUBLIC = "public"
REPORTS = "reports"
TABLE = f"""
GET    /                                             {PUBLIC}
GET    /health/live                                  {PUBLIC}
GET    /health/ready                                 {PUBLIC}
GET    /openapi.json                                 {PUBLIC}
GET    /v1/openapi.json                              {PUBLIC}
GET    /v1/errors/{{kind}}                             {PUBLIC}
GET    /v1/freshness                                 {REPORTS}
GET    /v1/meta                                      {REPORTS}
GET    /v1/teams                                     {REPORTS}
GET    /v1/datasets/{{name}}                           {REPORTS}
POST   /ingest/v1/usage-events                       usage:write
GET    /ingest/v1/quarantine                         usage:write
POST   /ingest/v1/quarantine/replay                  usage:write
DELETE /ingest/v1/quarantine                         usage:write
GET    /sso/{{organization}}/done                      {PUBLIC}
GET    /sso/{{organization}}/invite                    {PUBLIC}
GET    /sso/{{organization}}/login                     {PUBLIC}
GET    /sso/{{organization}}/metadata                  {PUBLIC}
GET    /sso/{{organization}}/test                      {PUBLIC}
POST   /sso/{{organization}}/acs                       {PUBLIC}
GET    /admin/v1/openapi.json                        {PUBLIC}
GET    /admin/v1/status                              runs:approve
POST   /admin/v1/reload                              settings:write
GET    /admin/v1/held                                runs:approve
GET    /admin/v1/held/{{digest}}                       runs:approve
POST   /admin/v1/approvals                           runs:approve
GET    /admin/v1/jobs/{{id}}                           runs:approve
GET    /admin/v1/runs                                runs:approve
GET    /admin/v1/runs/{{id}}                           runs:approve
POST   /admin/v1/plans                               runs:approve
POST   /admin/v1/undo                                runs:approve
GET    /admin/v1/audit                               audit:read
GET    /admin/v1/groups                              people:read
GET    /admin/v1/groups/{{id}}/members                 people:read
GET    /admin/v1/outbox                              people:read
POST   /admin/v1/outbox/release                      people:write
GET    /admin/v1/outbox/{{message}}                    people:read
POST   /admin/v1/outbox/{{message}}/retry              people:write
POST   /admin/v1/outbox/{{message}}/drop               people:write
GET    /admin/v1/people                              people:read
POST   /admin/v1/people                              people:write
GET    /admin/v1/people/{{id}}                         people:read
PATCH  /admin/v1/people/{{id}}                         people:write
DELETE /admin/v1/people/{{id}}                         people:write
POST   /admin/v1/people/{{id}}/invite                  people:write
DELETE /admin/v1/people/{{id}}/invite                  people:write
POST   /admin/v1/people/{{id}}/links                   people:write
DELETE /admin/v1/people/{{id}}/links/{{source}}          people:write
POST   /admin/v1/people/{{id}}/rename                  people:write
GET    /admin/v1/seats                               people:read
PUT    /admin/v1/seats/{{team}}/{{offering}}/{{identity}}  people:write
DELETE /admin/v1/seats/{{team}}/{{offering}}/{{identity}}  people:write
GET    /admin/v1/sso                                 sso:write
DELETE /admin/v1/sso/bonds/{{identity}}                sso:write
POST   /admin/v1/sso/certificates                    sso:write
POST   /admin/v1/sso/connection                      sso:write
POST   /admin/v1/sso/domains                         sso:write
DELETE /admin/v1/sso/domains/{{domain}}                sso:write
POST   /admin/v1/sso/domains/{{domain}}/test           sso:write
POST   /admin/v1/sso/domains/{{domain}}/verify         sso:write
POST   /admin/v1/sso/off                             sso:write
POST   /admin/v1/sso/on                              sso:write
DELETE /admin/v1/sso/rebind-window                   sso:write
POST   /admin/v1/sso/rebind-window                   sso:write
GET    /admin/v1/sso/refusals/{{reference}}            sso:write
GET    /admin/v1/sso/relinks                         sso:write
POST   /admin/v1/sso/relinks/{{id}}/approve            sso:write
POST   /admin/v1/sso/relinks/{{id}}/refuse             sso:write
GET    /admin/v1/subscriptions                       people:read
GET    /admin/v1/sync                                sync:enable
POST   /admin/v1/sync/disable                        sync:enable
POST   /admin/v1/sync/enable                         sync:enable
GET    /admin/v1/teams                               people:read
GET    /admin/v1/teams/{{team}}/members                people:read
PUT    /admin/v1/teams/{{team}}/members/{{identity}}     people:write
DELETE /admin/v1/teams/{{team}}/members/{{identity}}     people:write
PUT    /admin/v1/teams/{{team}}/restriction            teams:restrict
DELETE /admin/v1/teams/{{team}}/restriction            teams:restrict
"""
SCIM = "/scim/v2/"
"""Whatever is below it needs ``scim``, discovery too."""
SECRET = "Hidden Lovelace"
"""Somebody of the one organization and the one Team."""


def needed() -> dict[tuple[str, str], str]:
    """Method and path → scope, public, or any that reads reports."""
    return {(method, path): need for method, path, need in map(str.split, TABLE.strip().splitlines())}


@dataclass
class House:
    client: TestClient[web.Request, web.Application]
    service: Service
    routes: list[tuple[str, str]]
    invalid: Mapping[str, str | None]
    """Kind → the Authorization header."""
    valid: Mapping[str, tuple[str, frozenset[Scope]]]
    """Kind → the token and what it holds."""
    elsewhere: str
    outside: str
    """Tokens with every scope, of another organization and of another Team."""
    identity: str

    async def ask(self, method: str, path: str, header: str | None) -> tuple[int, str]:
        """Status and body; placeholders name what exists, where something does."""
        found = {"organization": "acme", "name": "usage_daily", "team": "Design", "identity": self.identity,
                 "id": self.identity, "offering": "CAD"}  # fmt: skip
        filled = re.sub(r"\{(\w+)\}", lambda match: found.get(match[1], "unknown"), path)
        headers = {} if header is None else {"Authorization": header}
        answer = await self.client.request("GET" if method == "*" else method, filled, headers=headers,
                                           allow_redirects=False)  # fmt: skip
        return answer.status, await answer.text()


def walked(app: web.Application) -> Iterator[tuple[str, str]]:
    """(method, path) of every route, those of mounted applications too."""
    for resource in app.router.resources():
        inner = getattr(resource, "_app", None)
        if inner is not None:
            yield from walked(inner)
            continue
        for route in resource:
            if route.method != "HEAD":
                yield route.method, resource.canonical


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    acme = Installation.make(tmp_path / "etc")
    acme.edit("rosterd.toml", "[server]", "[server]\nanonymous_per_address = 100000")
    acme.append('\n[[directories]]\nid = "inbox"\nkind = "scim_inbox"\n')
    acme.append('\n[[teams]]\nname = "Other"\n')
    (acme.folder / "organizations" / "zeta.toml").write_text(
        '[organization]\nid = "zeta"\nname = "Zeta"\n\n[[teams]]\nname = "Their"\n', encoding="utf-8"
    )
    async with Service.opened(load(acme.file, {})) as service:
        await service.register()
        now = utc_now()
        await prove(service.ledger, "acme", "acme.example", now)
        newcomer = people.Newcomer("hidden@acme.example", display_name=SECRET, team_ids=("Design",))
        made = await people.invite(service.ledger, "acme", newcomer, InviteSettings(), Act("ada", now, "test"))
        async with service.ledger.read("acme") as reader:
            teams = {name: team_id for team_id, name, _ in await open_teams(reader)}

        async def token(organization: str = "acme", **spec: object) -> tokens.NewToken:
            made = TokenSpec(**{"name": "x", "expires_at": now + timedelta(days=1), **spec})  # type: ignore[arg-type]
            who = operator(organization, "root")
            return await tokens.create(service.ledger, organization, made, pepper=service.pepper(), actor=who, now=now)

        everything = {"roles": (Role.PRIMARY_ADMIN,), "scopes": tuple(most_of(Role.PRIMARY_ADMIN))}
        good = await token(**everything)
        revoked = await token(**everything)
        await tokens.revoke(service.ledger, "acme", revoked.row.id, actor=operator("acme", "root"), now=now)
        old = TokenSpec("old", now - timedelta(days=1), **everything)  # type: ignore[arg-type]
        expired = await tokens.create(
            service.ledger, "acme", old, pepper=service.pepper(), actor=operator("acme", "root"),
            now=now - timedelta(days=2),
        )  # fmt: skip
        far = await token(**everything, networks=("192.0.2.0/24",))
        unknown = await tokens.create(
            service.ledger, "acme", TokenSpec("y", now + timedelta(days=1), **everything),  # type: ignore[arg-type]
            pepper=b"another pepper of thirty-two bytes", actor=operator("acme", "root"), now=now,
        )  # fmt: skip
        invalid = {
            "none": None,
            "empty": "",
            "no token": "Bearer",
            "another scheme": "Basic cm9vdDpyb290",
            "garbage": "Bearer x",
            "null byte": "Bearer rpt_%00",
            "very long": "Bearer " + "x" * 4000,
            "a letter changed": f"Bearer {good.text[:-1]}{'0' if good.text[-1] != '0' else '1'}",
            "without its scheme": good.text,
            "unknown": f"Bearer {unknown.text}",
            "expired": f"Bearer {expired.text}",
            "revoked": f"Bearer {revoked.text}",
            "from elsewhere": f"Bearer {far.text}",
        }
        valid: dict[str, tuple[str, frozenset[Scope]]] = {}
        for scope in Scope:
            held = {scope} | ({Scope.REPORTS_PSEUDONYM} if scope in {Scope.SEATS_READ, Scope.EXPORTS_WRITE} else set())
            machine = scope in {Scope.SCIM, Scope.USAGE_WRITE}
            role = Role.SERVICE if machine else Role.PRIMARY_ADMIN
            text = await token(roles=(role,), scopes=tuple(held), directory="inbox" if scope is Scope.SCIM else "")
            valid[scope] = (f"Bearer {text.text}", frozenset(held))
        for role in set(Role) - {Role.OPERATOR}:
            held = most_of(role) - {Scope.SCIM}
            text = await token(roles=(role,), scopes=tuple(held))
            valid[role] = (f"Bearer {text.text}", frozenset(held))
        elsewhere = await token("zeta", **everything)
        outside = await token(**everything, team_ids=(teams["Other"],))
        app = await faces.make(Daemon(service), connector=True, api=True)
        async with TestClient(TestServer(app)) as client:
            yield House(client, service, sorted(set(walked(app))), invalid, valid, f"Bearer {elsewhere.text}",
                        f"Bearer {outside.text}", made.identity_id)  # fmt: skip


def most_of(role: Role) -> set[Scope]:
    """What a role may hold at once: one way of reading reports."""
    return set(ROLE_SCOPES[role]) - (REPORT_SCOPES - {Scope.REPORTS_PSEUDONYM})


def need_of(method: str, path: str) -> str:
    """What the route needs; raises ``KeyError`` for one that nobody decided about."""
    return "scim" if path.startswith(SCIM) else needed()[method, path]


async def test_every_route_is_decided_about(house: House) -> None:
    listed = {route for route in house.routes if not route[1].startswith(SCIM)}
    assert listed == needed().keys()
    assert len(house.invalid) + len(house.valid) + 2 >= 18


async def test_without_a_credential_that_is_one_nothing_is_answered_and_nothing_written(house: House) -> None:
    before = await _written(house)
    for method, path in house.routes:
        public = need_of(method, path) == PUBLIC
        for kind, header in house.invalid.items():
            status, body = await house.ask(method, path, header)
            assert status < 500, (method, path, kind, body)
            assert public or status == 401, (method, path, kind, status, body)
            assert SECRET not in body
            assert header is None or len(header) < 20 or header.split()[-1] not in body
    assert await _written(house) == before


async def test_a_credential_opens_what_it_holds_and_nothing_else(house: House) -> None:
    for method, path in house.routes:
        need = need_of(method, path)
        for kind, (header, held) in house.valid.items():
            opens = need == PUBLIC or bool(held & REPORT_SCOPES if need == REPORTS else need in held)
            status, body = await house.ask(method, path, header)
            assert status < 500 or (status == 501 and need == "scim"), (method, path, kind, body)
            assert status != 401, (method, path, kind, body)
            if method != "DELETE" and path != "/v1/datasets/{name}":  # a Team that is not shared with reports: 403
                assert (status != 403) is opens, (method, path, kind, status, body)
            assert opens or status == 403, (method, path, kind, status, body)


async def test_who_belongs_elsewhere_sees_and_changes_nobody_here(house: House) -> None:
    before = await _written(house)
    for method, path in house.routes:
        for header in (house.elsewhere, house.outside):
            status, body = await house.ask(method, path, header)
            assert status < 500 or status == 501, (method, path, body)
            assert SECRET not in body, (method, path)
            assert "hidden@acme.example" not in body, (method, path)
    after = await _written(house)
    assert {name: after[name] - before[name] for name in before if name != "job"} == dict.fromkeys(
        set(before) - {"job"}, 0
    )


async def _written(house: House) -> dict[str, int]:
    """Rows of acme that requests may add."""
    from ledger.store.tables import metadata

    found = {}
    async with house.service.ledger.read("acme") as reader:
        for name in ("audit_event", "job", "outbox", "identity", "team_membership", "seat", "team_restriction"):
            table = metadata.tables[name]
            found[name] = len(await reader.tuples(reader.select(table, "organization_id")))
    return found


async def test_the_proxies_of_deploy_hand_on_every_route(house: House) -> None:
    nginx = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    [public] = re.findall(r"@public path (.*)", (DEPLOY / "Caddyfile").read_text(encoding="utf-8"))
    whole = set(re.findall(r"location = (/[^ ]*) \{", nginx))
    below = set(re.findall(r"location (/[^ ]*) \{", nginx)) - {"/"}
    assert set(public.split()) == whole | {f"{place}*" for place in below}
    paths = {path for _, path in house.routes}
    assert len(paths) > 50
    assert [path for path in sorted(paths) if path not in whole and not path.startswith(tuple(below))] == []
