"""Requests as bytes on a socket of the loopback, to say what no HTTP client says."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

SECONDS = 20.0


@contextmanager
def connected(url: str, seconds: float = SECONDS) -> Iterator[socket.socket]:
    """A connection to the host of ``url``."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=seconds) as line:
        yield line


def said(line: socket.socket, until: bytes = b"") -> bytes:
    """Everything until ``until`` or the end of the connection; what was said so far when it is reset."""
    found = b""
    while not until or until not in found:
        try:
            part = line.recv(65536)
        except ConnectionError:
            break
        if not part:
            break
        found += part
    return found


def exchange(url: str, *parts: bytes, seconds: float = SECONDS) -> bytes:
    """Send the parts, whatever comes back meanwhile, and return the head of the answer."""
    with connected(url, seconds) as line:
        with suppress(ConnectionError):
            for part in parts:
                line.sendall(part)
        return said(line, b"\r\n\r\n")


def status(answer: bytes) -> int:
    """The status of an answer; 0 for none."""
    head = answer.split(b"\r\n", 1)[0].split()
    return int(head[1]) if len(head) > 1 else 0


def closes_within(line: socket.socket, seconds: float) -> float:
    """How long the other side takes to close; fails when it takes longer."""
    began = time.monotonic()
    line.settimeout(seconds)
    said(line)
    return time.monotonic() - began
