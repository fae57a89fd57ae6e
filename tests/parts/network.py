"""The closed network: inside the test process only loopback exists. A test that reaches further fails."""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
from typing import Any

_closed = False


class NetworkClosed(OSError):
    """Something tried to leave this machine."""


def close_network() -> None:
    """Refuse every connect, datagram and name look-up that is not loopback, for the life of the process."""
    global _closed
    if not _closed:
        _closed = True
        sys.addaudithook(_watch)


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if not event.startswith("socket."):
        return
    if event in {"socket.connect", "socket.sendto"}:
        address = arguments[1]
        if isinstance(address, tuple) and not _is_loopback(str(address[0])):
            raise NetworkClosed(errno.ENETUNREACH, f"the network is closed in tests: {event} {address}")
    elif event == "socket.getaddrinfo":
        host = arguments[0]
        text = host.decode("idna") if isinstance(host, bytes) else host
        if text and not _is_loopback(text) and not _is_address(text):
            raise socket.gaierror(socket.EAI_NONAME, f"the network is closed in tests: look-up of {text}")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    if host in {"", "localhost"} or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
