"""The reporting API over real HTTP on loopback: two organizations, a real warehouse, both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from access import tokens
from access.principal import Scope, operator
from access.tokens import TokenSpec
from ledger.publication import PublishedTable
from ledger.published.iceberg import Warehouse
from ledger.store.engine import Ledger
from ledger.team import Role
from reporting_api.app import make_app
from reporting_api.settings import ApiSettings
from tests.parts import published

PEPPER = b"pepper-of-the-tests"
PUBLIC = "https://rosterd.example"


@dataclass
class Api:
    """A running API: ``get(path, token)``; ``now`` can be moved."""

    client: TestClient[Any, Any]
    ledger: Ledger
    warehouse: Warehouse
    now: datetime
    tokens: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str, who: str = "pseudonym", **headers: str) -> ClientResponse:
        """GET as the holder of a named token (empty: nobody)."""
        if who:
            headers.setdefault("Authorization", f"Bearer {self.tokens.get(who, who)}")
        return await self.client.get(path, headers=headers)

    async def json(self, path: str, who: str = "pseudonym", status: int = 200) -> Any:
        """The JSON body; the status must be as said."""
        response = await self.get(path, who)
        assert response.status == status, await response.text()
        return await response.json(content_type=None)

    async def token(self, name: str, *scopes: Scope, organization: str = "acme", **changes: Any) -> str:
        """Make a token under a name."""
        spec = TokenSpec(**{"name": name, "expires_at": self.now + timedelta(days=30), "scopes": scopes, **changes})
        actor = operator(organization, "root")
        made = await tokens.create(self.ledger, organization, spec, pepper=PEPPER, actor=actor, now=self.now)
        self.tokens[name] = made.text
        return made.row.id

    def path_of(self, url: str) -> str:
        """The path of an absolute link."""
        assert url.startswith(PUBLIC)
        return url.removeprefix(PUBLIC)


Start = Callable[[ApiSettings], Awaitable[Api]]


@dataclass(frozen=True)
class Written:
    """A warehouse with the rows of acme and beta, written once for all tests of a process; only ever added to."""

    location: str
    catalog: str
    tables: Mapping[str, Mapping[str, PublishedTable]]


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The rows of both organizations as Iceberg tables."""
    folder = tmp_path_factory.mktemp("reporting")
    location, catalog = f"file:{folder}/warehouse ąć", f"sqlite:///{folder}"

    async def write() -> dict[str, Mapping[str, PublishedTable]]:
        opened = Warehouse.open(location, catalog)
        organizations = ("acme", "beta")
        found = {name: await published.write_tables(opened, name, published.rows_of(name)) for name in organizations}
        await opened.close()
        return found

    with ThreadPoolExecutor(max_workers=1) as pool:
        return Written(location, catalog, pool.submit(asyncio.run, write()).result())


@pytest.fixture
async def warehouse(written: Written) -> AsyncIterator[Warehouse]:
    """The warehouse, opened."""
    opened = Warehouse.open(written.location, written.catalog)
    yield opened
    await opened.close()


@pytest.fixture
async def start(ledger: Ledger, warehouse: Warehouse, now: datetime) -> AsyncIterator[Start]:
    """Starts the API under given settings, nothing published yet."""
    clients: list[TestClient[Any, Any]] = []

    async def run(settings: ApiSettings) -> Api:
        holder: list[Api] = []
        app = make_app(ledger, warehouse, settings, lambda: holder[0].now, pepper=PEPPER, public_url=PUBLIC + "/")
        root = web.Application()
        root.add_subapp("/v1", app)
        client = TestClient(TestServer(root))
        clients.append(client)
        holder.append(Api(client, ledger, warehouse, now))
        await client.start_server()
        return holder[0]

    yield run
    for client in clients:
        await client.close()


@pytest.fixture
async def empty(start: Start, ledger: Ledger, now: datetime) -> Api:
    """An API whose organization exists and has published nothing."""
    api = await start(ApiSettings())
    await published.make_organization(ledger, "acme", now)
    await api.token("pseudonym", Scope.REPORTS_PSEUDONYM, Scope.SEATS_READ)
    return api


@pytest.fixture
async def api(empty: Api, ledger: Ledger, written: Written, now: datetime) -> Api:
    """acme and beta are published; tokens: pseudonym, named, aggregate, bound, plain, noseats, writer, beta."""
    await published.make_organization(ledger, "beta", now)
    for organization in ("acme", "beta"):
        await published.announce(ledger, organization, now, written.tables[organization])
    await empty.token("named", Scope.REPORTS_NAMED, Scope.SEATS_READ)
    await empty.token("aggregate", Scope.REPORTS_AGGREGATE, Scope.SEATS_READ)
    await empty.token("bound", Scope.REPORTS_PSEUDONYM, Scope.SEATS_READ, team_ids=("t-design",))
    await empty.token("plain", Scope.REPORTS_PSEUDONYM, Scope.SEATS_READ, team_ids=("t-plain",))
    await empty.token("noseats", Scope.REPORTS_PSEUDONYM)
    await empty.token("writer", Scope.USAGE_WRITE, roles=(Role.SERVICE,))
    await empty.token("beta", Scope.REPORTS_PSEUDONYM, Scope.SEATS_READ, organization="beta")
    return empty
