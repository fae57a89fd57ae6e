"""``/admin/v1`` in this process on each database: a company whose Anna and Bo come from a directory, and who asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from access.errors import Unauthenticated
from access.principal import Principal, Scope
from connector.admin.routes import PREFIX, Acts, Declared, OwnSignOn, make_app
from connector.reconcile import run
from connector.reconcile.policy.invites import InviteSettings
from connector.sso.proof.web import Page
from connector.sso.saml.service_provider import ServiceProvider
from connector.sso.saml.signing import ensure_key
from connector.sso.settings import DnsSettings, SamlSettings, SsoSettings
from ledger.errors import BadInput, NotFound, Unavailable
from ledger.secret import SecretRef
from ledger.store.engine import Ledger
from ledger.team import Role
from tests.parts.directories import ORGANIZATION, RULES, World, make_world, mapping, policy, stand_in_gate
from tests.parts.edits import DIRECTORIES, register
from tests.parts.fences import ALONE


@dataclass
class Admin:
    """A client of the admin API. ``scopes`` and ``teams``: of whoever asks; ``known`` False: nobody valid."""

    world: World
    client: TestClient[Any, Any]
    provider: ServiceProvider
    scopes: frozenset[Scope] = frozenset(Scope)
    teams: frozenset[str] = frozenset()
    known: bool = True

    async def authenticate(self, _request: web.Request) -> Principal:
        if not self.known:
            raise Unauthenticated("no token")
        return Principal("token:abc", ORGANIZATION.id, frozenset({Role.PRIMARY_ADMIN}), self.scopes, self.teams)

    async def ask(self, method: str, path: str, body: Any = None, **values: Any) -> tuple[int, Any]:
        """Status and document."""
        parts = {"json": body} if body is not None else values
        if "data" in parts:
            parts = {"headers": {"Content-Type": "application/json"}, **parts}
        async with self.client.request(method, PREFIX + path, **parts) as response:
            return response.status, await response.json(content_type=None)

    async def get(self, path: str) -> Any:
        """The document of a 200."""
        status, found = await self.ask("GET", path)
        assert status == 200, found
        return found

    async def person(self, name: str) -> str:
        """The id of somebody."""
        found = await self.get(f"/people?mail={name}@acme.example")
        return str(found["people"][0]["id"])

    async def team(self, name: str) -> str:
        """The id of a Team."""
        return next(str(item["id"]) for item in (await self.get("/teams"))["teams"] if item["name"] == name)


@pytest.fixture(scope="session")
def own_key(tmp_path_factory: pytest.TempPathFactory) -> SamlSettings:
    """Our own signing key, in files."""
    folder = tmp_path_factory.mktemp("saml")
    files = folder / "key.pem", folder / "certificate.pem"
    ensure_key(*files, name="rosterd", now=datetime(2026, 1, 1, tzinfo=UTC))
    key, certificate = (SecretRef("file", str(file)) for file in files)
    return SamlSettings(signing_key=key, signing_certificate=certificate)


@pytest.fixture
async def provider(own_key: SamlSettings) -> AsyncIterator[ServiceProvider]:
    made = ServiceProvider("https://rosterd.example", own_key, workers=1)
    yield made
    await made.close()


@pytest.fixture
async def admin(
    ledger: Ledger, now: datetime, monkeypatch: pytest.MonkeyPatch, provider: ServiceProvider
) -> AsyncIterator[Admin]:
    """Two seats of CAD in Team Design are held, one is free; Team Site is empty; the group design is kept."""
    stand_in_gate(monkeypatch)
    rules = policy(mapping("design", "Design", "CAD", keep_group=True), mapping("site", "Site"))
    world = await make_world(ledger, now, rules, Design_CAD=3)
    world.source.put("anna", "bo", groups=["design"])
    world.source.groups["site"] = []
    await register(world)
    await run.apply(ledger, world.setup, fence=ALONE, now=now, actor="service:schedule", auto=True)

    def declared(organization: str) -> Declared:
        if organization != ORGANIZATION.id:
            raise NotFound("its file is gone")
        return Declared(rules, InviteSettings(), DIRECTORIES, {"corp": RULES})

    async def reload(_organization: str) -> None:
        return None

    async def fetch(address: str) -> Page:
        raise Unavailable("nobody answers", where=address)

    async def metadata(_address: str) -> bytes:
        raise BadInput("no metadata is given", where="sso.metadata")

    def sign_on(organization: str) -> OwnSignOn:
        declared(organization)
        graces = {"acme.example": timedelta(hours=24), "other.example": timedelta(hours=24)}
        dns = DnsSettings(resolvers=("127.0.0.1:1", "127.0.0.1:2"), timeout=timedelta(seconds=0.2))
        return OwnSignOn(dns, SsoSettings(), graces, provider, metadata, fetch)

    found: list[Admin] = []
    acts = Acts(
        authenticate=lambda request: found[0].authenticate(request),
        status=lambda: {"running": 0},
        reload=reload,
        clock=lambda: world.now,
        declared=declared,
        sign_on=sign_on,
    )
    root = web.Application()
    root.add_subapp(PREFIX, make_app(ledger, acts))
    async with TestClient(TestServer(root)) as client:
        found.append(Admin(world, client, provider))
        yield found[0]
