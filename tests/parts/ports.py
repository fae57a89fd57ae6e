"""Ports for what listens later.

The system gives out ports of its own range whenever somebody connects or binds to port 0; one that was merely free a
moment ago is then somebody else's. Ours lie below that range, every worker has a stretch of its own, and one that
was handed out comes again only when all others were.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

_FIRST, _EACH, _STRETCHES = 10_000, 1_400, 16


def free_port() -> int:
    """A loopback port that nothing listens on."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """So many in a row."""
    found: list[int] = []
    for port, _ in zip(_PORTS, range(_EACH), strict=False):
        found = [*found, port] if _is_free(port) and (not found or port == found[-1] + 1) else []
        if len(found) == count:
            return found
    raise AssertionError(f"no {count} free ports in a row among {_EACH}")


def _is_free(port: int) -> bool:
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def _stretch() -> Iterator[int]:
    own_range = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="utf-8")
    assert int(own_range.split()[0]) >= _FIRST + _EACH * _STRETCHES, f"the system's own ports are {own_range}"
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    first = _FIRST + int(worker) % _STRETCHES * _EACH
    begin = os.getpid() % _EACH  # two runs at once on one machine begin in different places
    return cycle(first + (begin + number) % _EACH for number in range(_EACH))


_PORTS = _stretch()
