"""How often anybody may ask without a token: by address and by organization, with an end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from ipaddress import ip_network

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from access import rate
from access.proven import PROVEN
from access.rate import Buckets
from rosterd.wire.addresses import forwarding
from rosterd.wire.limits import limiting

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async def here(_request: web.Request) -> web.Response:
        return web.Response(text="here")

    async def known(request: web.Request) -> web.Response:
        request[PROVEN] = True
        return web.Response(text="here")

    async def revoked(_request: web.Request) -> web.Response:
        return web.Response(status=401)

    proxies = forwarding([ip_network("127.0.0.1")])
    app = web.Application(middlewares=[proxies, limiting(3, 5, lambda: ["acme"])])
    paths = ("/sso/{organization}/login", "/v1/teams", "/health/live")
    app.add_routes([*(web.get(path, here) for path in paths), web.get("/known", known), web.get("/revoked", revoked)])
    async with TestClient(TestServer(app)) as made:
        yield made


async def asked(client: Client, path: str, address: str, **headers: str) -> tuple[int, str]:
    async with client.get(path, headers={"X-Forwarded-For": address, **headers}) as answer:
        return answer.status, answer.headers.get("Retry-After", "")


async def test_an_address_has_so_many_and_is_told_when_to_come_back(client: Client) -> None:
    statuses = [
        await asked(client, path, "192.0.2.1") for path in ("/v1/teams", "/sso/x/login", "/nothing", "/v1/teams")
    ]
    assert statuses == [(200, ""), (200, ""), (404, ""), (429, "20")]
    assert (await asked(client, "/v1/teams", "192.0.2.2"))[0] == 200
    assert (await asked(client, "/sso/acme/login", "192.0.2.1", Authorization="Bearer x"))[0] == 429


async def test_a_token_counts_for_its_address_until_it_was_accepted(client: Client) -> None:
    made_up = [(await asked(client, "/v1/teams", "192.0.2.1", Authorization=f"Bearer {n}"))[0] for n in range(4)]
    assert made_up == [200, 200, 200, 429]
    good = {"Authorization": "Bearer good"}
    assert [await asked(client, "/known", "192.0.2.2", **good) for _ in range(9)] == [(200, "")] * 9
    assert (await asked(client, "/known", "192.0.2.1", **good))[0] == 200  # from an address that has none left
    assert [(await asked(client, "/v1/teams", "192.0.2.2"))[0] for _ in range(4)] == [200, 200, 200, 429]
    assert (await asked(client, "/revoked", "192.0.2.2", **good))[0] == 401
    assert (await asked(client, "/known", "192.0.2.2", **good))[0] == 429


async def test_whoever_probes_health_is_never_refused(client: Client) -> None:
    assert [await asked(client, "/health/live", "192.0.2.1") for _ in range(9)] == [(200, "")] * 9


async def test_an_organization_has_so_many_from_everywhere(client: Client) -> None:
    statuses = [(await asked(client, "/sso/acme/login", f"192.0.2.{number}"))[0] for number in range(6)]
    assert statuses == [200] * 5 + [429]
    assert (await asked(client, "/sso/zeta/login", "192.0.2.99"))[0] == 200


async def test_one_network_of_ipv6_is_one_address(client: Client) -> None:
    statuses = [(await asked(client, "/v1/teams", f"2001:db8::{number}"))[0] for number in range(1, 5)]
    assert statuses == [200, 200, 200, 429]
    assert (await asked(client, "/v1/teams", "2001:db8:0:1::1"))[0] == 200


def test_very_many_addresses_fill_no_memory(monkeypatch: pytest.MonkeyPatch, now: datetime) -> None:
    monkeypatch.setattr(rate, "_KEPT", 100)
    buckets = Buckets(5)
    for number in range(1000):
        assert buckets.take(str(number), now) == 0
    assert len(buckets._buckets) <= 100
