"""``/admin/v1`` in this process on each database: a company whose Anna and Bo come from a directory, and who asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from access.errors import Unauthenticated
from access.principal import Principal, Scope
from connector.admin.routes import PREFIX, Acts, Declared, make_app
from connector.reconcile import run
from connector.reconcile.policy.invites import InviteSettings
from ledger.errors import NotFound
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


@pytest.fixture
async def admin(ledger: Ledger, now: datetime, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Admin]:
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

    found: list[Admin] = []
    acts = Acts(
        authenticate=lambda request: found[0].authenticate(request),
        status=lambda: {"running": 0},
        reload=reload,
        clock=lambda: world.now,
        declared=declared,
    )
    root = web.Application()
    root.add_subapp(PREFIX, make_app(ledger, acts))
    async with TestClient(TestServer(root)) as client:
        found.append(Admin(world, client))
        yield found[0]
