"""A TCP proxy on loopback that breaks LDAP answers at a chosen place: cut, half-close, stall, corrupt, delay, code.

It understands just enough LDAP to count results: a place is "after so many search results, so many bytes further".
What is asked only to know where a reading stands (root entry, contextCSN, units, DirSync) is not counted, unless
wanted.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

_SEARCH_DONE = 0x65
_WHERE_IT_STANDS = (b"supportedControl", b"namingContexts", b"contextCSN", b"hasSubordinates")
_WHERE_IT_STANDS += (b"attributeSchema", b"invocationId", b"1.2.840.113556.1.4.417", b"1.2.840.113556.1.4.841")


@dataclass(frozen=True, slots=True)
class Fault:
    """Where and how the answers break.

    ``results``: so many SearchResultDone messages pass first; then ``more`` bytes; then ``kind`` happens. Only the
    first ``connections`` connections are broken; -1: all. ``delay``: says nothing more until ``until`` is set, then
    everything; ``code``: the next result's code becomes ``more``. ``reached`` is called at the place, from a thread.
    ``every``: all results count, those of where a reading stands too.
    """

    kind: Literal["cut", "half-close", "stall", "corrupt", "delay", "code", "none"] = "cut"
    results: int = 0
    more: int = 0
    connections: int = -1
    reached: Callable[[], None] | None = None
    until: threading.Event | None = None
    every: bool = False


@dataclass(slots=True)
class Proxy:
    """A running proxy; ``connections`` counts what was accepted, ``passed`` the search results forwarded."""

    port: int
    connections: int = 0
    passed: int = 0
    sockets: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        """ldap:// address of the proxy."""
        return f"ldap://127.0.0.1:{self.port}"


@contextlib.contextmanager
def between(
    port: int,
    fault: Fault = Fault(kind="none"),  # a frozen value
    *,
    host: str = "127.0.0.1",
) -> Iterator[Proxy]:
    """A proxy in front of the server on loopback ``port`` (of another loopback address: ``host``)."""
    listener = socket.create_server(("127.0.0.1", 0))
    proxy = Proxy(listener.getsockname()[1])
    threads = [threading.Thread(target=_accept, args=(listener, (host, port), fault, proxy), daemon=True)]
    threads[0].start()
    try:
        yield proxy
    finally:
        _close(listener, *proxy.sockets)
        threads[0].join(5)


def _accept(listener: socket.socket, to: tuple[str, int], fault: Fault, proxy: Proxy) -> None:
    running = []
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            proxy.connections += 1
            server = socket.create_connection(to)
            proxy.sockets += [client, server]
            broken = fault.connections < 0 or proxy.connections <= fault.connections
            answers = _Answers(server, client, fault if broken else Fault(kind="none"), proxy)
            for work in (
                answers.run,
                lambda a=client, b=server, c=answers.uncounted: _copy(a, b, c, every=fault.every),
            ):
                running.append(threading.Thread(target=work, daemon=True))
                running[-1].start()
    for thread in running:
        thread.join(5)


def _copy(source: socket.socket, target: socket.socket, uncounted: set[bytes], *, every: bool) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            # A client sends one small request at a time.
            if not every and any(word in chunk for word in _WHERE_IT_STANDS):
                uncounted.add(_number(chunk))
            target.sendall(chunk)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _close(*sockets: socket.socket) -> None:
    for found in sockets:
        with contextlib.suppress(OSError):
            found.shutdown(socket.SHUT_RDWR)
        found.close()


class _Answers:
    """Forwards what the server says until the fault's place is reached."""

    def __init__(self, server: socket.socket, client: socket.socket, fault: Fault, proxy: Proxy) -> None:
        self._server, self._client, self._fault, self._proxy = server, client, fault, proxy
        self.uncounted: set[bytes] = set()
        self._results = 0
        self._bound = False  # the first answer is that to the bind
        self._buffer = b""

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while chunk := self._server.recv(65536):
                if self._fault.kind == "none":
                    self._client.sendall(chunk)
                    continue
                self._buffer += chunk
                if self._forward() and self._break():
                    return
            self._client.sendall(self._buffer)
        if self._fault.kind == "none":
            with contextlib.suppress(OSError):
                self._client.shutdown(socket.SHUT_WR)

    def _forward(self) -> bool:
        """Forward whole messages; True when the place of the fault is reached (and the bytes up to it are gone)."""
        while True:
            coded = self._fault.kind == "code"
            if not coded and self._bound and self._results >= self._fault.results and self._buffer:
                if len(self._buffer) < self._fault.more:
                    return False
                self._client.sendall(self._buffer[: self._fault.more])
                return True
            length, operation = _framed(self._buffer)
            if length < 0:
                return False
            message, self._buffer = self._buffer[:length], self._buffer[length:]
            counted = operation == _SEARCH_DONE and _number(message) not in self.uncounted
            if coded and counted and self._results == self._fault.results:
                message = _with_code(message, self._fault.more)
            self._client.sendall(message)
            self._bound = True
            if counted:
                self._results += 1
                self._proxy.passed += 1

    def _break(self) -> bool:
        """Do what the fault says; False when the rest is to be forwarded as it comes."""
        kind = self._fault.kind
        if self._fault.reached is not None:
            self._fault.reached()
        if kind == "cut":
            _close(self._client, self._server)
        elif kind == "half-close":
            self._client.shutdown(socket.SHUT_WR)
        elif kind == "corrupt":
            self._client.sendall(b"\xff" * 64)
            _close(self._client, self._server)
        elif kind == "delay":
            assert self._fault.until is not None
            self._fault.until.wait(60)
            self._client.sendall(self._buffer[self._fault.more :])
            self._buffer, self._fault = b"", Fault(kind="none")
            return False
        # "stall": say nothing more and keep the connection open
        return True


def _with_code(message: bytes, code: int) -> bytes:
    """A SearchResultDone with another result code; its own is an ENUMERATED of one byte, the first in it."""
    at = message.index(b"\x0a\x01", message.index(bytes([_SEARCH_DONE])))
    return message[: at + 2] + bytes([code]) + message[at + 3 :]


def _number(message: bytes) -> bytes:
    """The message id, encoded."""
    at = 2 + (message[1] & 127 if message[1] > 127 else 0)
    return message[at + 2 : at + 2 + message[at + 1]]


def _framed(buffer: bytes) -> tuple[int, int]:
    """(length of the first whole message, its operation tag); (-1, 0) while it is incomplete."""
    if len(buffer) < 2:
        return -1, 0
    length, at = buffer[1], 2
    if length > 127:
        at = 2 + (length & 127)
        length = int.from_bytes(buffer[2:at], "big")
    if len(buffer) < at + length:
        return -1, 0
    return at + length, buffer[at + 2 + buffer[at + 1]]
