"""Requests that never reach a route are answered as SCIM errors all the same (S-R4; c11)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from connector.scim.answering import ERROR
from connector.scim.routes import PREFIX, Acts, Pushing, make_app
from ledger.store.inbox import Inbox
from rosterd.wire.listener import Listener

TOKEN = "rpt_secret"


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    """Of a listener with the inbox behind it."""
    box = Inbox.open(f"sqlite:///{tmp_path}")
    await box.migrate()

    async def authenticate(_request: web.Request) -> Pushing:
        return Pushing("acme", "entra", "token:e")

    async def pushed(_pushing: Pushing) -> None:
        """Nobody is told."""

    app = web.Application()
    acts = Acts(authenticate, lambda: datetime(2026, 3, 2, tzinfo=UTC), pushed, "https://sync.example")
    app.add_subapp(PREFIX, make_app(box, acts))
    listener = await Listener.open(app, ("127.0.0.1", 0), key="server.listen", drain=1)
    yield int(listener.addresses[0].rpartition(":")[2])
    await listener.close()
    await box.close()


async def said(port: int, *requests: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the last answer, on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for request in requests:
        writer.write(request)
        head = b"HTTP/1.1 100"
        while head.startswith(b"HTTP/1.1 100"):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        lines = head.decode("latin-1").strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        body = await reader.readexactly(int(headers["content-length"]))
    writer.close()
    return int(lines[0].split()[1]), headers, body


def asking(line: str, *headers: str, body: bytes = b"") -> bytes:
    """A request with a token."""
    own = ("Host: x", f"Authorization: Bearer {TOKEN}", "Content-Type: application/scim+json", *headers)
    return "\r\n".join((line, *own, f"Content-Length: {len(body)}", "", "")).encode("latin-1") + body


POST = f"POST {PREFIX}/Users HTTP/1.1"
FIRST = asking(f"GET {PREFIX}/Users HTTP/1.1")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (asking(POST, "Content-Encoding: br", body=b"x"), 415),
        (asking(POST, "Content-Encoding: zstd", body=b"x"), 415),
        (asking(POST, "Content-Encoding: compress", body=b"x"), 415),
        (asking(POST, "Content-Encoding: gzip, gzip", body=b"x"), 415),
        (asking(POST, "Content-Encoding: gzip", body=b"x"), 400),
        (asking(f"GET {PREFIX}/Users?filter={'x' * 9000} HTTP/1.1"), 414),
        (asking(POST, f"X-Long: {'x' * 9000}"), 431),
        (asking(f"FOO {PREFIX}/Users HTTP/1.1"), 501),
        (asking(f"TRACE {PREFIX}/Users HTTP/1.1"), 405),
        (asking(f"GET {PREFIX}/Users HTTP/9.9"), 400),
        (asking(POST, "A broken header"), 400),
        (asking(POST, "Transfer-Encoding: x"), 400),
        (asking(POST, "Expect: a-miracle"), 417),
        (asking(f"GET {PREFIX} HTTP/1.1"), 404),
    ],
)
async def test_s_r4_c11_what_cannot_be_read_is_a_scim_error(
    port: int, request_: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    for requests in ((request_,), (FIRST, request_)):
        found, headers, body = await said(port, *requests)
        assert (found, headers["content-type"]) == (status, "application/scim+json"), body
        document = json.loads(body)
        assert (document["schemas"], document["status"]) == ([ERROR], str(status))
        assert document["detail"]
        assert TOKEN not in caplog.text + body.decode()


async def test_s_r4_what_is_not_ours_is_answered_as_ever(port: int) -> None:
    for line, status in (("FOO /health/live HTTP/1.1", 400), ("GET /health/live HTTP/1.1", 404)):
        found, headers, _ = await said(port, asking(line))
        assert (found, headers["content-type"]) == (status, "text/plain; charset=utf-8")


async def test_s_r4_a_body_may_be_promised_first(port: int) -> None:
    found, _, body = await said(port, asking(POST, "Expect: 100-continue", body=b'{"userName":"eva"}'))
    assert (found, json.loads(body)["userName"]) == (201, "eva")
