"""One HTTP listener: how long anybody may take over a request, what unreadable requests leave behind, how it ends.

Prohibition: nothing of an unreadable request is logged or answered but its kind: its bytes may hold a token.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections import deque
from typing import Any, cast

from aiohttp import StreamReader, web

from ledger.errors import BadInput
from rosterd.logs import event
from rosterd.wire import unreadable

HEAD_SECONDS = 15.0
"""A connection that has begun, or has said the first byte of a request, says the rest of its head within this."""
IDLE_SECONDS = 75.0
"""A connection that asks nothing more is kept so long: longer than proxies keep theirs (nginx: 60 s)."""
ANSWER_SECONDS = 120.0
"""An answer is read within this; none is longer than a page."""
HALF_SECONDS = 3.0
"""After SIGTERM a body that is still coming has so long; the rest of a body that nobody reads, a third of it."""
_READ_AT_ONCE = 8 * 1024
"""Bytes of one connection that are parsed before others are heard: they may be a thousand chunks of one byte each."""
_TINY_CHUNKS, _TINY = 1_000, 8
"""So many chunks in waiting, of so few bytes each, are no body but an attack."""
SPARE_FILES = 256
"""File descriptors that stay for the ledger, for workers and readings, however many connect."""
_FULL_TOLD_EVERY, _NEW_FOR = 60.0, 0.25  # seconds; whoever has just come is about to ask
_HEADERS = {"Server": "rosterd", "X-Content-Type-Options": "nosniff"}
_log = logging.getLogger(__name__)


class Listener:
    """An application that answers at an address. ``await Listener.open(…)``, and ``close`` at the end."""

    def __init__(self, runner: web.AppRunner, server: asyncio.Server, ending: asyncio.Event) -> None:
        self._runner = runner
        self._server = server
        self._ending = ending

    @classmethod
    async def open(
        cls, app: web.Application, address: tuple[str, int], *, key: str, drain: float, most: int = 0
    ) -> Listener:
        """Start the application and listen. ``key``: of the setting that says the address; ``drain``: seconds that
        requests that have begun are given at the end; ``most``: connections at a time, as many as the process may have
        files by default. Raises ``BadInput`` where nobody can listen there."""
        app.on_response_prepare.append(_stamp)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=drain, handle_signals=False)
        await runner.setup()
        loop, manager = asyncio.get_running_loop(), cast(web.Server, runner.server)
        make: Any = manager.request_factory

        def begun(message: Any, payload: Any, protocol: Any, *rest: Any) -> web.BaseRequest:
            request: web.BaseRequest = make(message, payload, protocol, *rest)
            protocol.begun(request)
            return request

        manager.request_factory = begun
        host, port = address
        ending, crowd = asyncio.Event(), _Crowd(manager, most or _most_connections())
        try:
            server = await loop.create_server(lambda: _Connection(manager, loop, ending, crowd), host, port)
        except OSError as error:
            await runner.cleanup()
            raise BadInput(
                f"cannot listen on {host}:{port}: {error.strerror or error}",
                where=key,
                next_step="stop what listens there, or choose another port",
            ) from error
        return cls(runner, server, ending)

    @property
    def addresses(self) -> list[str]:
        """Where it listens, as ``HOST:PORT``."""
        return ["{}:{}".format(*item.getsockname()) for item in self._server.sockets]

    async def close(self) -> None:
        """Take nobody any more, let requests end, close the application. Whoever has not asked yet is cut at once."""
        self._ending.set()
        self._server.close()
        cutting = asyncio.get_running_loop().call_later(HALF_SECONDS, self._cut)
        try:
            await self._runner.cleanup()
        finally:
            cutting.cancel()

    def _cut(self) -> None:
        for connection in self._runner.server.connections if self._runner.server else ():
            cast(_Connection, connection).cut()


class _Connection(web.RequestHandler):
    """One connection. Bodies have a time of their own where they are read (``access.bodies``)."""

    def __init__(
        self, manager: web.Server, loop: asyncio.AbstractEventLoop, ending: asyncio.Event, crowd: _Crowd
    ) -> None:
        super().__init__(
            manager,
            loop=loop,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=HALF_SECONDS / 3,
            access_log=None,  # type: ignore[arg-type]  # none is kept
            auto_decompress=False,  # aiohttp does not notice a body that is cut off: access.unpacking
        )
        self._head = b""
        self._kept: deque[bytes] = deque()
        self._planned = False
        self._last: web.BaseRequest | None = None
        self._answering = self._writing = False
        self._since = loop.time()
        self._late: asyncio.TimerHandle | None = None
        self._clock = loop
        self._ending = ending
        self._crowd = crowd

    @property
    def waits(self) -> bool:
        """Nothing was asked that is not answered."""
        return not self._answering and (self._last is None or self._last.content.is_eof())

    @property
    def held_up(self) -> bool:
        """It is the other side's turn: to send the rest of a body, or to read its answer."""
        return self._writing or (self._last is not None and not self._last.content.is_eof())

    @property
    def since(self) -> float:
        """When it was made, or asked last (loop time)."""
        return self._since

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._await_head()
        self._crowd.make_room()
        if self._ending.is_set():  # it was on its way when the listener closed
            self.force_close()

    def data_received(self, data: bytes) -> None:
        """Take as much as may be parsed at once; the rest is kept, and nothing more read, until others were heard."""
        if data:
            self._kept.extend(data[start : start + _READ_AT_ONCE] for start in range(0, len(data), _READ_AT_ONCE))
            self._go_on()
        else:  # from the midst of a reading, which would not end before everything is parsed
            self._take(data)
            self._plan()

    @property
    def _paused_by_parser(self) -> bool:
        """It has enough, until somebody reads or answers."""
        return self._reading_paused or self._buffer_paused

    def _go_on(self) -> None:
        self._planned = False
        if self.transport is None:
            self._kept.clear()
        elif self._kept and not self._paused_by_parser:
            self._take(self._kept.popleft())
            if not self._kept:
                self._resume_transport_reading()
        if self._kept:
            self._pause_transport_reading()
            self._plan()

    def _plan(self) -> None:
        if self._kept and not self._planned and not self._paused_by_parser:
            self._planned = True
            self._clock.call_soon(self._go_on)

    def _resume_transport_reading(self) -> None:
        if self._kept:
            self._plan()
        elif not self._paused_by_parser:
            super()._resume_transport_reading()

    def _take(self, data: bytes) -> None:
        if self.waits:
            self._await_head()
        if unreadable.begins(data):
            self._head = data[:8190]
        super().data_received(data)
        if self._last is not None and _is_crumbled(self._last.content):
            event(_log, "request.unreadable", remote=self._last.remote, why="its body is nothing but tiny chunks")
            self.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._head_came()
        super().connection_lost(exc)
        self._last = None

    def begun(self, request: web.BaseRequest) -> None:
        """The head of a request is there, or it was none."""
        self._head_came()
        self._last, self._answering, self._since = request, True, self._clock.time()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        self._writing = True
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                done = await super().finish_response(request, resp, start_time)
                await asyncio.sleep(0)  # of a hundred requests that come at once, each lets others be heard
                return done
        except TimeoutError as error:
            self.abort()  # closing would wait for what nobody reads
            raise ConnectionError("the answer is not read") from error
        finally:
            self._answering = self._writing = False

    def abort(self) -> None:
        """End at once, whatever is still to be sent."""
        if self.transport is not None:
            self.transport.abort()

    def cut(self) -> None:
        """End a request whose body is still coming: whoever reads it is told."""
        if self._last is not None and not self._last.content.is_eof():
            self._last.content.set_exception(web.RequestPayloadError("the server ends"))

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to a request that could not be read, or whose handling failed unseen."""
        verb = "request.unreadable" if status < 500 else "request.failed"
        event(_log, verb, level=_level(status), remote=request.remote, why=type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        text = "this is no HTTP request" if status < 500 else "a fault of ours"
        scim = unreadable.answer(self._head, exc) if status < 500 else None
        answer = scim or web.Response(status=status, text=text)
        answer.headers.update(_HEADERS)
        answer.force_close()
        return answer

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Only its kind: what a parser says of a body quotes it."""
        event(_log, "connection.failed", level=logging.WARNING, why=type(kw.get("exc_info")).__name__)

    def _await_head(self) -> None:
        if self._late is None:
            self._late = self._clock.call_later(HEAD_SECONDS, self.force_close)

    def _head_came(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class _Crowd:
    """All connections of a listener. When they are too many, whoever is silent longest makes room, else whoever takes
    longest to send a body or to read an answer: they cannot shut out those who ask, nor take the files that the ledger
    needs."""

    def __init__(self, manager: web.Server, most: int) -> None:
        self._manager = manager
        self._most = most
        self._told = -_FULL_TOLD_EVERY

    def make_room(self) -> None:
        """A connection has been made."""
        connections = cast(list[_Connection], self._manager.connections)  # the oldest first
        if len(connections) <= self._most:
            return
        now = asyncio.get_running_loop().time()
        silent = (one for one in connections if one.waits and now - one.since > _NEW_FOR)
        held_up = (one for one in connections if one.held_up)
        (next(silent, None) or min(held_up, key=lambda one: one.since, default=connections[-1])).abort()
        if now - self._told >= _FULL_TOLD_EVERY:
            self._told = now
            event(_log, "connections.full", level=logging.WARNING, most=self._most)


def _is_crumbled(body: StreamReader) -> bool:
    chunks = getattr(body, "_http_chunk_splits", None)  # where each that nobody has read yet ends
    return chunks is not None and len(chunks) > _TINY_CHUNKS and chunks[-1] - chunks[0] < _TINY * len(chunks)


def _most_connections() -> int:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        files = 65_536
    return max(files - SPARE_FILES, files // 2)


def _level(status: int) -> int:
    return logging.INFO if status < 500 else logging.ERROR


async def _stamp(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers[name] = value
