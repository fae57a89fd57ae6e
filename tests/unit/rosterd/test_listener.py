"""How long a connection may take over a request, how it ends, and what is logged of what cannot be read."""

from __future__ import annotations

import asyncio
import io
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress

import pytest
from aiohttp import web

from access.bodies import STATUS, read_body
from rosterd import logs
from rosterd.wire import listener
from rosterd.wire.listener import Listener
from tests.parts.raw import closes_within, connected, exchange, said, status

LARGE = 20_000_000
SECRET = "sEcReT0fNoLog"
HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HALF = b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"


@pytest.fixture
async def url(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    async def show(_request: web.Request) -> web.Response:
        return web.Response(text="here")

    monkeypatch.setattr(listener, "HEAD_SECONDS", 0.4)
    monkeypatch.setattr(listener, "IDLE_SECONDS", 0.8)
    app = web.Application()

    async def large(_request: web.Request) -> web.Response:
        return web.Response(body=bytes(LARGE))

    app.add_routes([web.get("/", show), web.get("/large", large), web.post("/read", _reading)])
    opened = await Listener.open(app, ("127.0.0.1", 0), key="server.listen", drain=5)
    yield f"http://{opened.addresses[0]}"
    await opened.close()


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure(level="debug", stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("begun", [b"", b"GET / HT", HEAD[:-2], b"GET /" + b"x" * 3000])
async def test_a_head_that_does_not_come_ends_the_connection(url: str, begun: bytes) -> None:
    def wait() -> float:
        with connected(url) as line:
            line.sendall(begun)
            return closes_within(line, 2)

    assert 0.3 < await asyncio.to_thread(wait) < 1.5


async def test_a_head_that_drips_is_no_longer_than_another(url: str) -> None:
    def drip() -> float:
        began = time.monotonic()
        with connected(url) as line:
            for byte in HEAD:
                try:
                    line.sendall(bytes([byte]))
                except ConnectionError:
                    break
                time.sleep(0.05)
        return time.monotonic() - began

    assert await asyncio.to_thread(drip) < 1.2


async def test_the_next_head_has_its_own_time_and_idling_has_another(url: str) -> None:
    def wait(then: bytes) -> float:
        with connected(url) as line:
            line.sendall(HEAD)
            assert status(said(line, b"here")) == 200
            line.sendall(then)
            return closes_within(line, 3)

    assert await asyncio.to_thread(wait, b"GET /") < 0.7
    assert 0.7 < await asyncio.to_thread(wait, b"") < 1.8  # idle


async def test_every_answer_says_nosniff_and_no_version(url: str) -> None:
    for request, expected in ((HEAD, 200), (b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n", 404), (b"junk\r\n\r\n", 400)):
        answer = await asyncio.to_thread(exchange, url, request)
        assert status(answer) == expected
        assert b"\r\nX-Content-Type-Options: nosniff\r\n" in answer
        assert b"\r\nServer: rosterd\r\n" in answer


async def test_an_answer_that_nobody_reads_is_given_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "ANSWER_SECONDS", 0.3)

    def leave_unread() -> int:
        with connected(url) as line:
            line.sendall(HEAD.replace(b"/", b"/large", 1))
            time.sleep(0.8)
            return len(said(line))

    assert await asyncio.to_thread(leave_unread) < LARGE


TOKEN = f"rpt_{SECRET}"
MALFORMED = {
    "folded": f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer\r\n {TOKEN}\r\n\r\n",
    "folded within": f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer rpt_\r\n\t{SECRET}\r\n\r\n",
    "no colon": f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization Bearer {TOKEN}\r\n\r\n",
    "space before the colon": f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer {TOKEN}\r\n\r\n",
    "a control character": f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \x01{SECRET}\r\n\r\n",
    "a bare line feed": f"GET / HTTP/1.1\nHost: x\nAuthorization: Bearer\n {TOKEN}\n\n",
    "a bare carriage return": f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer\r{TOKEN}\r\n\r\n",
    "twice": f"GET / HTTP/1.1\r\nHost: x\r\nHost: {TOKEN}\r\n\r\n",
    "as the method": f"{TOKEN} / HTTP/1.1\r\nHost: x\r\n\r\n",
    "as the version": f"GET / HTTP/{TOKEN}\r\nHost: x\r\n\r\n",
    "as the request line": f"Authorization: Bearer {TOKEN}\r\n\r\n",
    "in the path": f"GET /{TOKEN} x HTTP/1.1\r\nHost: x\r\n\r\n",
    "as the length": f"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: {TOKEN}\r\n\r\n",
    "as the coding": f"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {TOKEN}\r\n\r\n",
    "as a chunk's size": f"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{TOKEN}\r\n",
    "after a chunk": f"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1{TOKEN}\r\n",
    "as a trailer": f"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{TOKEN}\r\n\r\n",
    "as a packed body": f"POST /read HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\n{TOKEN}",
    "in an unread body": f"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{TOKEN}\r\n",
    "after a good one": f"GET / HTTP/1.1\r\nHost: x\r\n\r\nAuthorization: Bearer {TOKEN}\r\n\r\n",
    "as a cookie": f"GET / HTTP/1.1\r\nHost: x\r\nCookie: a=\x00{SECRET}\r\n\r\n",
    "far too long": f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN * 600}\r\n\r\n",
    "as an upgrade": f"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n{TOKEN}\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_no_framing_puts_a_token_into_the_log_or_an_answer(url: str, log: io.StringIO, name: str) -> None:
    def send() -> bytes:
        with connected(url, 3) as line:
            line.sendall(MALFORMED[name].encode("latin-1"))
            return said(line)

    answer = await asyncio.to_thread(send)
    assert status(answer) in {200, 400, 404, 405, 415}
    assert SECRET not in log.getvalue()
    assert SECRET.encode() not in answer


async def test_the_end_waits_for_requests_and_not_for_who_asks_nothing(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "HEAD_SECONDS", 60)
    monkeypatch.setattr(listener, "HALF_SECONDS", 0.5)

    async def late(_request: web.Request) -> web.Response:
        await asyncio.sleep(1)
        return web.Response(text="done")

    app = web.Application()
    app.add_routes([web.get("/", late), web.post("/read", _reading)])
    opened = await Listener.open(app, ("127.0.0.1", 0), key="server.listen", drain=30)
    address = f"http://{opened.addresses[0]}"
    with (
        connected(address) as silent,
        connected(address) as half,
        connected(address) as body,
        connected(address) as one,
    ):
        half.sendall(HEAD[:-2])
        body.sendall(HALF)
        one.sendall(HEAD)
        await asyncio.sleep(0.2)
        began = time.monotonic()
        closing = asyncio.create_task(opened.close())
        assert await asyncio.to_thread(closes_within, silent, 1) < 0.3
        assert await asyncio.to_thread(closes_within, half, 1) < 0.3
        assert b"done" in await asyncio.to_thread(said, one)
        assert status(await asyncio.to_thread(said, body)) == 400
        await closing
        assert time.monotonic() - began < 3


async def _reading(request: web.Request) -> web.Response:
    try:
        await read_body(request, most=100, kinds=("application/json",), bare=True)
    except tuple(STATUS) as error:
        return web.Response(status=STATUS[type(error)])
    return web.Response(text="read")


async def test_a_connection_that_was_on_its_way_at_the_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "HEAD_SECONDS", 60)
    opened = await Listener.open(web.Application(), ("127.0.0.1", 0), key="server.listen", drain=5)
    opened._ending.set()  # the listener is closing, and the network has not heard of it yet
    with connected(f"http://{opened.addresses[0]}") as late:
        assert await asyncio.to_thread(closes_within, late, 2) < 1
    await opened.close()


async def test_the_silent_make_room_for_who_asks(log: io.StringIO) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def late(_request: web.Request) -> web.Response:
        entered.set()
        await leave.wait()
        return web.Response(text="done")

    app = web.Application()
    app.add_routes([web.get("/", late)])
    opened = await Listener.open(app, ("127.0.0.1", 0), key="server.listen", drain=5, most=4)
    address = f"http://{opened.addresses[0]}"
    with ExitStack() as lines:
        asking = lines.enter_context(connected(address))
        asking.sendall(HEAD)
        await entered.wait()
        silent = [lines.enter_context(connected(address)) for _ in range(3)]
        await asyncio.sleep(0.3)  # whoever has just come is about to ask
        half = lines.enter_context(connected(address))
        half.sendall(HEAD[:-2])
        assert await asyncio.to_thread(closes_within, silent[0], 2) < 1
        for line in [lines.enter_context(connected(address)) for _ in range(3)]:
            line.sendall(HEAD)
        leave.set()
        assert b"done" in await asyncio.to_thread(said, line, b"done")
        assert b"done" in await asyncio.to_thread(said, asking, b"done")
    await opened.close()
    assert log.getvalue().count("connections.full") == 1


async def test_who_takes_longest_to_send_a_body_or_to_read_makes_room(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "HEAD_SECONDS", 60)
    app = web.Application()

    async def large(_request: web.Request) -> web.Response:
        return web.Response(body=bytes(LARGE))

    async def show(_request: web.Request) -> web.Response:
        return web.Response(text="here")

    app.add_routes([web.get("/", show), web.get("/large", large), web.post("/read", _reading)])
    opened = await Listener.open(app, ("127.0.0.1", 0), key="server.listen", drain=5, most=4)
    address = f"http://{opened.addresses[0]}"
    with ExitStack() as lines:
        for request in (HEAD.replace(b"/", b"/large", 1), HALF, HALF, HALF):
            lines.enter_context(connected(address)).sendall(request)
            await asyncio.sleep(0.05)
        for _ in range(8):
            with connected(address) as line:
                line.sendall(HEAD)
                assert b"here" in await asyncio.to_thread(said, line, b"here")
    await opened.close()


async def test_a_body_of_tiny_chunks_is_given_up(url: str, log: io.StringIO) -> None:
    head = b"POST /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

    def send() -> float:
        began = time.monotonic()
        with connected(url) as line, suppress(ConnectionError):
            line.sendall(head + b"1\r\na\r\n" * 500_000)
            said(line)
        return time.monotonic() - began

    assert await asyncio.to_thread(send) < 5
    assert "tiny chunks" in log.getvalue()


async def test_chunks_of_a_generator_are_read(url: str) -> None:
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (b'"a"', b": ", b"1, ") * 11) + b"0\r\n\r\n"
    head = b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert status(await asyncio.to_thread(exchange, url, head + body)) == 200


async def test_a_request_without_a_body_is_followed_by_another(url: str) -> None:
    with connected(url) as line:
        for _ in range(3):
            line.sendall(HEAD)
            assert b"here" in await asyncio.to_thread(said, line, b"here")
