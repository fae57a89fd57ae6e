"""A TCP proxy on loopback that changes LDAP answers message by message, so that a server lies in a chosen way."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.parts.proxy import _close, _framed, _number

Rewrite = Callable[[int, bytes], bytes]
"""(operation tag, whole message) → the message to forward instead; empty: none. Raises ``Broken`` to break off."""

BIND_ANSWER = 0x61


class Broken(OSError):
    """The connection ends after this part of the message."""

    def __init__(self, part: bytes) -> None:
        super().__init__("broken off")
        self.part = part


@dataclass(slots=True)
class Breaking:
    """Breaks every connection at its ``at``-th message after the bind, ``portion`` of it forwarded; counts messages."""

    at: int = 1 << 30
    portion: float = 0.0
    seen: int = 0
    connections: int = 0

    def __call__(self, operation: int, message: bytes) -> bytes:
        """Forward the message as it is, or break."""
        if operation == BIND_ANSWER:
            self.seen, self.connections = 0, self.connections + 1
            return message
        self.seen += 1
        if self.seen > self.at:
            raise Broken(message[: int(len(message) * self.portion)])
        return message


@contextlib.contextmanager
def lying(port: int, rewrite: Rewrite) -> Iterator[str]:
    """The ldap:// address of a proxy in front of the server on loopback ``port``."""
    listener = socket.create_server(("127.0.0.1", 0))
    sockets: list[socket.socket] = []
    threads = [threading.Thread(target=_accept, args=(listener, port, rewrite, sockets), daemon=True)]
    threads[0].start()
    try:
        yield f"ldap://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        _close(listener, *sockets)
        threads[0].join(5)


def without_some(message: bytes, keep: Callable[[int], bool]) -> bytes:
    """A sync message with a set of entries (RFC 4533 syncIdSet) that lacks those whose place is not kept."""
    at = message.find(b"\x31", message.find(b"1.3.6.1.4.1.4203.1.9.1.4"))
    while at >= 0:
        header = 2 + (message[at + 1] & 127 if message[at + 1] > 127 else 0)
        if message[at + header : at + header + 2] == b"\x04\x10":
            break
        at = message.find(b"\x31", at + 1)
    assert at >= 0, "no set of entries in this message"
    ids = [message[place : place + 18] for place in range(at + header, len(message), 18)]
    content = _element(0x31, b"".join(found for place, found in enumerate(ids) if keep(place)))
    name = _element(0x80, b"1.3.6.1.4.1.4203.1.9.1.4")
    response = _element(0x79, name + _element(0x81, _element(0xA3, content)))
    return _element(0x30, _element(0x02, _number(message)) + response)


def _element(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 128:
        return bytes((tag, length)) + content
    return bytes((tag, 0x84)) + length.to_bytes(4, "big") + content


def _accept(listener: socket.socket, port: int, rewrite: Rewrite, sockets: list[socket.socket]) -> None:
    running = []
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", port))
            sockets += [client, server]
            for work in (lambda a=client, b=server: _copy(a, b), lambda a=server, b=client: _answers(a, b, rewrite)):
                running.append(threading.Thread(target=work, daemon=True))
                running[-1].start()
    for thread in running:
        thread.join(5)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _answers(server: socket.socket, client: socket.socket, rewrite: Rewrite) -> None:
    buffer = b""
    with contextlib.suppress(OSError):
        while chunk := server.recv(65536):
            buffer += chunk
            while (framed := _framed(buffer))[0] >= 0:
                length, operation = framed
                try:
                    client.sendall(rewrite(operation, buffer[:length]))
                except Broken as broken:
                    client.sendall(broken.part)
                    raise
                buffer = buffer[length:]
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_WR)
