"""The real daemon under hostile bytes: whose address it is, bodies without end, half requests, and what is logged."""

from __future__ import annotations

import gzip
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts.hostile import HOSTILE, strangers
from tests.parts.installation import Daemon, Installation
from tests.parts.raw import closes_within, connected, exchange, said, status


def installed(folder: Path) -> Installation:
    """An installation behind a proxy of this host, without a schedule."""
    made = Installation.make(folder)
    made.edit("rosterd.toml", "[server]", '[server]\ntrusted_proxies = ["127.0.0.1/32"]')
    made.edit(
        "rosterd.toml",
        "[database]",
        '[schedule]\nreconcile_every = "0"\npublish_every = "0"\nevidence_every = "0"\n\n[database]',
    )
    return made


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return installed(tmp_path_factory.mktemp("walls") / "etc")


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


ACS = "/sso/acme/acs"
FORM = "Content-Type: application/x-www-form-urlencoded"
CHUNKED = "Transfer-Encoding: chunked"


def chunks(size: int) -> bytes:
    """So many bytes of a chunked body, whose end never comes."""
    return (b"%x\r\n" % 65536 + b"a" * 65536 + b"\r\n") * (size // 65536)


@pytest.mark.parametrize(
    ("lines", "body", "expected"),
    [
        (["Content-Type: multipart/form-data", "Content-Length: 9"], b"too short", 415),
        (["Content-Type: multipart/form-data; boundary=x", CHUNKED], b"5\r\n--x\r\n\r\n", 415),
        ([FORM, CHUNKED], chunks(1024 * 1024), 411),
        ([FORM, "Content-Length: 9000000"], b"SAMLResponse=", 413),
        ([FORM, CHUNKED, "Content-Encoding: gzip"], b"", 415),
        ([FORM + "; charset=utf-16", "Content-Length: 1"], b"a", 415),
        ([FORM, "Content-Length: 30"], b"SAMLResponse=a&SAMLResponse=bb", 400),
    ],
    ids=["no boundary", "boundary", "chunked", "announced", "packed", "charset", "twice"],
)
def test_the_acs_reads_one_small_form_and_nothing_else(
    daemon: Daemon, lines: list[str], body: bytes, expected: int
) -> None:
    began = time.monotonic()
    assert status(exchange(daemon.url, head(ACS, *lines, method="POST"), body)) == expected
    assert time.monotonic() - began < 5


def test_a_packed_body_is_measured_unpacked_and_fills_no_memory(acme: Installation, daemon: Daemon) -> None:
    token = acme.rosterd("token", "create", "anna", "--role", "primary_admin", "--scope", "runs:approve", "--json")
    bomb = gzip.compress(b" " * 200_000_000, 1)
    lines = [f"Authorization: Bearer {token.document['token']}", "Content-Type: application/json",
             "Content-Encoding: gzip", f"Content-Length: {len(bomb)}"]  # fmt: skip
    began = time.monotonic()
    assert status(exchange(daemon.url, head("/admin/v1/approvals", *lines, method="POST"), bomb)) == 413
    assert time.monotonic() - began < 5
    assert daemon.peak_memory < 400


def test_strangers_shut_nobody_out_and_leave_nothing_behind(daemon: Daemon) -> None:
    """``benchmarks.hostile_load`` measures how fast; here everybody is answered."""
    probe = head("/health/live")
    assert status(exchange(daemon.url, probe)) == 200
    before = daemon.files
    with strangers(daemon.url, half=200, slow=50, hostile=len(HOSTILE)):
        end = time.monotonic() + 5
        while time.monotonic() < end:
            assert status(exchange(daemon.url, probe)) == 200
        assert daemon.files > before + 200
    end = time.monotonic() + 20
    while daemon.files > before + 8 and time.monotonic() < end:  # connections to its database may stay
        time.sleep(0.1)
    assert daemon.files <= before + 8
    assert daemon.peak_memory < 400


def test_half_requests_stretch_no_restart(tmp_path: Path) -> None:
    acme = installed(tmp_path / "etc")
    half = head(ACS, FORM, "Content-Length: 9", method="POST")
    with acme.serving() as running, connected(running.url) as one, connected(running.url) as two:
        one.sendall(half[:-2])
        two.sendall(half + b"S")
        with connected(running.url) as silent:
            assert status(exchange(running.url, head("/health/live"))) == 200  # those before it are accepted too
            running.signal(signal.SIGTERM)
            began = time.monotonic()
            assert closes_within(silent, 5) < 3
            assert closes_within(one, 5) < 3
            assert status(said(two)) == 400
            assert time.monotonic() - began < 6  # three seconds for the body
