"""Requests as bytes on a socket of the loopback, to say what no HTTP client says."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

SECONDS = 20.0


@contextmanager
def connected(url: str, seconds: float = SECONDS) -> Iterator[socket.socket]:
    """A connection to the host of ``url``."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=seconds) as line:
        yield line


def said(line: socket.socket, most: int = 1024 * 1024) -> bytes:
    """Everything until the other side closes; what was said so far when it resets."""
    found = b""
    while len(found) < most:
        try:
            part = line.recv(65536)
        except ConnectionError:
            break
        if not part:
            break
        found += part
    return found


def exchange(url: str, *parts: bytes, seconds: float = SECONDS) -> bytes:
    """Send the parts, whatever comes back meanwhile, and return what is said until the end of the connection."""
    with connected(url, seconds) as line:
        try:
            for part in parts:
                line.sendall(part)
        except ConnectionError:
            pass
        return said(line)


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
