"""The real daemon under hostile bytes: whose address it is, bodies without end, half requests, and what is logged."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parts.installation import Daemon, Installation
from tests.parts.raw import exchange, status


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    made = Installation.make(tmp_path_factory.mktemp("walls") / "etc")
    made.edit("rosterd.toml", "[server]", '[server]\ntrusted_proxies = ["127.0.0.1/32"]')
    made.edit("rosterd.toml", "[database]", '[schedule]\nreconcile_every = "0"\npublish_every = "0"\n\n[database]')
    return made


@pytest.fixture(scope="module")
def daemon(acme: Installation) -> Iterator[Daemon]:
    with acme.serving() as running:
        yield running


def head(path: str, *lines: str, method: str = "GET") -> bytes:
    """A request's head that closes the connection afterwards."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *lines, "", ""]).encode()


def test_a_network_of_a_token_holds_behind_a_proxy_n11(acme: Installation, daemon: Daemon) -> None:
    made = acme.rosterd("token", "create", "bi", "--network", "198.51.100.0/24", "--json")
    token = f"Authorization: Bearer {made.document['token']}"

    def asked(*lines: str) -> int:
        return status(exchange(daemon.url, head("/v1/teams", token, *lines)))

    assert asked() == 401
    assert asked("X-Forwarded-For: 198.51.100.7") == 200
    assert asked("Forwarded: for=198.51.100.7") == 200
    assert asked("X-Forwarded-For: 198.51.100.7, 203.0.113.1") == 401
    assert asked("Forwarded: for=198.51.100.7", "X-Forwarded-For: 203.0.113.1") == 400
