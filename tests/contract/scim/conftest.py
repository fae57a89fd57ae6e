"""``/scim/v2`` over a real socket on each database, and the connections that push to it."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from access.errors import Forbidden, Unauthenticated
from connector.directory.mapping import AttributeRules
from connector.directory.scim.inbox import Mailbox, ScimInboxSource
from connector.directory.scim.settings import ScimInboxSettings
from connector.reconcile import run
from connector.reconcile.run import ConfiguredSource, Setup
from connector.reconcile.show.outcome import RunOutcome
from connector.scim.routes import PREFIX, Acts, Pushing, make_app
from ledger.errors import Busy
from ledger.store import inbox, people, seats
from ledger.store.engine import Ledger
from ledger.store.inbox import Inbox, Write
from tests.parts.directories import ORGANIZATION, World, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE

PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
HOST = "https://sync.example"
STAFF = [f"p{number}" for number in range(14, 20)]


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Any
    body: Any


@dataclass
class Provider:
    """A client of the inbox. ``token``: the connection that pushes, of ``connections``."""

    box: Inbox
    client: TestClient[Any, Any]
    now: datetime
    token: str = "entra"
    told: list[str] = field(default_factory=list)

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request; ``If_Match="…"`` is a header."""
        own = {name.replace("_", "-"): value for name, value in headers.items()}
        own.setdefault("Authorization", f"Bearer {self.token}")
        parts: dict[str, Any] = {}
        if body is not None:
            parts = {"data": io.BytesIO(json.dumps(body).encode("utf-8"))}
            own.setdefault("Content-Type", "application/scim+json")
        async with self.client.request(method, PREFIX + path, headers=own, **parts) as response:
            raw = await response.read()
            return Answer(response.status, response.headers, await response.json(content_type=None) if raw else None)

    async def get(self, path: str) -> Any:
        """The document of a 200."""
        found = await self.ask("GET", path)
        assert found.status == 200, found.body
        return found.body

    async def names(self, kind: str, text: str) -> list[str]:
        """What a filter finds: userName or displayName."""
        found = await self.client.get(
            f"{PREFIX}/{kind}", params={"filter": text}, headers={"Authorization": f"Bearer {self.token}"}
        )
        body = await found.json(content_type=None)
        assert found.status == 200, body
        assert body["totalResults"] == len(body["Resources"])
        return [one.get("userName", one.get("displayName")) for one in body["Resources"]]

    async def person(self, user_name: str, **more: Any) -> str:
        """A new user's id."""
        found = await self.ask("POST", "/Users", {"schemas": [USER], "userName": user_name, **more})
        assert found.status == 201, found.body
        return str(found.body["id"])

    async def group(self, name: str, *members: str) -> str:
        """A new group's id."""
        body = {"schemas": [GROUP], "displayName": name, "members": [{"value": one} for one in members]}
        found = await self.ask("POST", "/Groups", body)
        assert found.status == 201, found.body
        return str(found.body["id"])

    async def patch(self, path: str, *operations: Any, **headers: str) -> Answer:
        """A PatchOp."""
        return await self.ask("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)}, **headers)

    async def members(self, group_id: str) -> set[str]:
        """Who is in a group."""
        return {one["value"] for one in (await self.get(f"/Groups/{group_id}")).get("members", [])}

    async def writes(self) -> list[Write]:
        """What this connection pushed, newest first."""
        async with self.box.read("acme") as reader:
            return [write for _, write in await inbox.writes(reader, self.token)]


CONNECTIONS = {
    "entra": Pushing("acme", "entra", "token:e"),
    "strict": Pushing("acme", "strict", "token:s", strict=True),
    "okta": Pushing("acme", "okta", "token:o"),
    "globex": Pushing("globex", "entra", "token:g"),
}


@pytest.fixture
async def provider(ledger_url: str, now: datetime) -> AsyncIterator[Provider]:
    """A tolerant connection ``entra`` of ``acme``; each request comes a second after the one before."""
    box = Inbox.open(ledger_url)
    await box.migrate()
    made: list[Provider] = []

    async def authenticate(request: web.Request) -> Pushing:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token == "reports":
            raise Forbidden("this token may not push")
        if token == "late":
            raise Busy("another writer holds the book", after=timedelta(seconds=7))
        if token not in CONNECTIONS:
            raise Unauthenticated("unknown")
        return CONNECTIONS[token]

    def clock() -> datetime:
        made[0].now += timedelta(seconds=1)
        return made[0].now

    async def pushed(pushing: Pushing) -> None:
        made[0].told.append(pushing.connection_id)

    app = web.Application()
    app.add_subapp(PREFIX, make_app(box, Acts(authenticate, clock, pushed, HOST)))
    server = TestServer(app)
    await server.start_server(auto_decompress=False)  # as the daemon's
    async with TestClient(server) as client:
        made.append(Provider(box, client, now))
        yield made[0]
    await box.close()


def mails(address: str) -> list[dict[str, Any]]:
    return [{"value": address, "type": "work", "primary": True}]


@dataclass
class Firm:
    """Six people whom a provider pushed over HTTP, each with a seat. ``ids``: name → SCIM id."""

    world: World
    provider: Provider
    setup: Setup
    ids: dict[str, str]
    group: str

    async def run(self, **later: float) -> RunOutcome:
        self.provider.now = now = self.world.later(**(later or {"minutes": 1}))
        return await run.apply(self.world.ledger, self.setup, fence=ALONE, now=now, actor="service:schedule", auto=True)

    async def held(self) -> dict[str, str]:
        """Name → state of the person, and of the seat."""
        async with self.world.ledger.read(ORGANIZATION.id) as reader:
            who = {row[1]: (row[3].partition("@")[0], row[7]) for row in await people.open_identities(reader)}
            states = {row[5]: row[6] for row in await seats.open_seats(reader)}
        return {name: f"{state} {states.get(identity)}" for identity, (name, state) in who.items()}

    async def lost(self, statement: str) -> None:
        """SQL on the inbox, with no push: a restored copy, a careless script, a fault of ours."""
        async with self.provider.box.unscoped_write() as connection:
            assert (await connection.exec_driver_sql(statement)).rowcount

    async def says(self, name: str, body: Any) -> None:
        """A PATCH of one person."""
        found = await self.provider.ask("PATCH", f"/Users/{self.ids[name]}", body)
        assert found.status in {200, 204}, found.body


@pytest.fixture
async def firm(provider: Provider, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Firm:
    stand_in_gate(monkeypatch)
    chosen = policy(mapping("design", "Design", "CAD", directory="entra"), limits={})
    world = await make_world(ledger, provider.now, chosen, Design_CAD=50)
    ids = {
        name: await provider.person(f"{name}@acme.example", active=True, emails=mails(f"{name}@acme.example"))
        for name in STAFF
    }
    group = await provider.group("design", *ids.values())
    settings = ScimInboxSettings(id="entra")
    source = ScimInboxSource(settings, Mailbox(provider.box, ORGANIZATION.id))
    setup = Setup(ORGANIZATION, chosen, (ConfiguredSource(source, AttributeRules.from_settings(settings)),))
    firm = Firm(world, provider, setup, ids, group)
    seen = await run.plan(ledger, setup, now=world.later(minutes=1))
    await run.apply(ledger, setup, fence=ALONE, now=world.now, actor="ada", digest=seen.digest)
    world.later(days=2)
    assert await firm.held() == dict.fromkeys(STAFF, "active invited")
    return firm
