"""One reader of bodies: kind, size after unpacking, time."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from access import bodies
from access.bodies import FORM, JSON, STATUS, read_body
from tests.parts.raw import exchange, status

MOST = 100_000


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async def take(request: web.Request) -> web.Response:
        try:
            found = await read_body(request, most=MOST, kinds=(JSON, FORM), bare=request.path == "/bare")
        except tuple(STATUS) as error:
            return web.Response(status=STATUS[type(error)], text=error.what)
        return web.Response(text=str(len(found)))

    app = web.Application()
    app.router.add_post("/{any:.*}", take)
    server = TestServer(app)
    await server.start_server(auto_decompress=False)  # as the daemon's listener
    yield str(server.make_url("/"))
    await server.close()


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (b"a" * MOST, {"Content-Type": JSON}, 200),
        (b"a" * (MOST + 1), {"Content-Type": JSON}, 413),
        (gzip.compress(b"a" * MOST), {"Content-Type": FORM, "Content-Encoding": "gzip"}, 200),
        (gzip.compress(b"a" * (MOST + 1)), {"Content-Type": FORM, "Content-Encoding": "gzip"}, 413),
        (b"no gzip", {"Content-Type": JSON, "Content-Encoding": "gzip"}, 400),
        (gzip.compress(b"a" * MOST, mtime=0)[:-5], {"Content-Type": JSON, "Content-Encoding": "gzip"}, 400),
        (gzip.compress(b"a", mtime=0) + b"b", {"Content-Type": JSON, "Content-Encoding": "gzip"}, 400),
        (zlib.compress(b"a"), {"Content-Type": JSON, "Content-Encoding": "deflate"}, 200),
        (zlib.compress(b"a" * MOST)[2:-4], {"Content-Type": JSON, "Content-Encoding": "deflate"}, 200),
        (b"a", {"Content-Type": JSON, "Content-Encoding": "compress"}, 415),
        (b"a", {"Content-Type": JSON, "Content-Encoding": "gzip, gzip"}, 415),
        (b"a", {"Content-Type": JSON + "; charset=UTF-8"}, 200),
        (b"a", {"Content-Type": JSON + "; charset=utf-7"}, 415),
        (b"a", {"Content-Type": "text/plain"}, 415),
    ],
)
async def test_what_is_read_and_what_is_refused(url: str, body: bytes, headers: dict[str, str], expected: int) -> None:
    async with ClientSession() as client, client.post(url, data=body, headers=headers) as answer:
        assert answer.status == expected


async def test_a_body_without_a_kind_is_read_where_that_is_allowed(url: str) -> None:
    async with ClientSession() as client:
        for path, expected in (("", 415), ("bare", 200)):
            async with client.post(url + path, data=b"{}", skip_auto_headers=["Content-Type"]) as answer:
                assert answer.status == expected


async def test_a_body_that_never_ends_is_given_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_SECONDS", 0.2)
    monkeypatch.setattr(bodies, "_BYTES_A_SECOND", MOST * 10)
    half = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    assert status(await asyncio.to_thread(exchange, url, half)) == 408
