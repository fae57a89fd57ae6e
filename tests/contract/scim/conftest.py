"""``/scim/v2`` over a real socket on each database, and the connections that push to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from access.errors import Forbidden, Unauthenticated
from connector.scim.routes import PREFIX, Acts, Pushing, make_app
from ledger.errors import Busy
from ledger.store import inbox
from ledger.store.inbox import Inbox, Write

PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
HOST = "https://sync.example"


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
        parts: dict[str, Any] = {"json": body} if body is not None else {}
        if body is not None:
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
    async with TestClient(TestServer(app)) as client:
        made.append(Provider(box, client, now))
        yield made[0]
    await box.close()
