"""Strangers at a daemon's public door: half requests, slow ones and hostile ones, each on a connection of its own that
is opened again whenever it ends, in a process of their own.

Goes to loopback addresses only, and ends with whoever started it.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import itertools
import logging
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

Attack = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_PAUSE = 0.02  # seconds between two connections of one stranger
_LAST = 30.0  # seconds of one connection, whatever the other side does
_FORM = "Content-Type: application/x-www-form-urlencoded"
_CHUNKED = "Transfer-Encoding: chunked"
_CHUNK = b"10000\r\n" + b"a" * 65536 + b"\r\n"
_BOMB = gzip.compress(b" " * 20_000_000, 1)
_XML = b"SAMLResponse=" + base64.b64encode(b"<a>" + b'<b c="d" e="f"/>' * 1_990 + b" " * 200_000 + b"</a>")


@contextmanager
def strangers(url: str, *, half: int, slow: int, hostile: int) -> Iterator[None]:
    """So many of each until the block ends. ``url``: of a loopback address."""
    command = [sys.executable, "-m", "tests.parts.hostile", url, str(half), str(slow), str(hostile)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "all have come\n"
        yield
    finally:
        process.communicate(timeout=30)  # its end of input
    assert process.returncode == 0


def _head(path: str, *lines: str, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


def _sending(*parts: bytes) -> Attack:
    """Sends all of it as fast as it is taken, then reads what is said."""

    async def attack(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        while await reader.read(65536):
            pass

    return attack


def _dripping(sent: bytes, every: float) -> Attack:
    async def attack(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in sent:
            writer.write(bytes([byte]))
            await asyncio.sleep(every)

    return attack


async def _unread(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Asks on and on and reads nothing."""
    while True:
        writer.write(_head("/openapi.json", method="GET") * 50)
        await writer.drain()
        await asyncio.sleep(0.1)


HALF = (_sending(b""), _sending(b"GET /health/live HT"), _sending(_head("/sso/acme/acs", _FORM)[:-2]))
SLOW = (
    _dripping(_head("/health/live", "X-Long: " + "x" * 4000, method="GET"), 0.2),
    _dripping(_head("/sso/acme/acs", _FORM, "Content-Length: 500000") + b"SAMLResponse=" * 1000, 0.2),
    _unread,
)
HOSTILE = (
    _sending(_head("/sso/acme/acs", _FORM, _CHUNKED), *[_CHUNK] * 64),
    _sending(_head("/sso/acme/acs", "Content-Type: multipart/form-data", "Content-Length: 9"), b"too short"),
    _sending(_head("/sso/acme/acs", _FORM, "Content-Encoding: gzip", f"Content-Length: {len(_BOMB)}"), _BOMB),
    _sending(_head("/sso/acme/acs", _FORM, "Content-Length: 600000", "Connection: close"), b"%" * 600_000),
    _sending(_head("/sso/acme/acs", _FORM, f"Content-Length: {len(_XML)}", "Connection: close"), _XML),
    _sending(_head("/scim/v2/Users", "Content-Type: application/scim+json", _CHUNKED), *[_CHUNK] * 64),
    _sending(_head("/ingest/v1/usage-events", "Content-Type: text/csv", _CHUNKED), *[_CHUNK] * 64),
    _sending(_head("/admin/v1/approvals", "Authorization: Bearer rpt_x", _CHUNKED), b"5\r\n[[[[[\r\n" * 10_000),
    _sending(*[_head("/v1/teams", f"Authorization: Bearer rpt_{number:062d}", method="GET") for number in range(200)],
             _head("/", "Connection: close", method="GET")),
    _sending(_head("/health/ready", method="GET") * 200, _head("/", "Connection: close", method="GET")),
    _sending(*[b"GET /" + b"a" * 60_000] * 20),
    _sending(b"\x16\x03\x01\x02\x00\x01\x00" * 9_000),
    _sending(_head("/%2e%2e/%00" * 200, "Transfer-Encoding: gzip, chunked", "Content-Length: 5")),
    _sending(_head("/sso/acme/login", "Connection: close", method="GET")),
    _sending(_head("/sso/acme/acs", _FORM, _CHUNKED), b"1\r\na\r\n" * 100_000),
    _sending(_head("/scim/v2/Users/" + "a" * 4_000 + "@" + "a" * 3_900, "Authorization: Bearer x", method="GET") * 10,
             _head("/", "Connection: close", method="GET")),
)  # fmt: skip


async def _again(host: str, port: int, attack: Attack, come: asyncio.Event) -> None:
    """One stranger, for ever."""
    while True:
        try:
            reader, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(_PAUSE)
            continue
        come.set()
        try:
            async with asyncio.timeout(_LAST):
                await attack(reader, writer)
        except (OSError, TimeoutError):
            pass
        finally:
            writer.transport.abort()
        await asyncio.sleep(_PAUSE)


async def _all(url: str, half: int, slow: int, hostile: int) -> None:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 0
    assert host == "127.0.0.1", "attacks go to the loopback only"
    wanted = ((HALF, half), (SLOW, slow), (HOSTILE, hostile))
    all_of_them = [one for attacks, count in wanted for one in itertools.islice(itertools.cycle(attacks), count)]
    come = [asyncio.Event() for _ in all_of_them]
    tasks = [
        asyncio.create_task(_again(host, port, attack, event)) for attack, event in zip(all_of_them, come, strict=True)
    ]
    await asyncio.gather(*(event.wait() for event in come))
    print("all have come", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # of connections that were cut
    asyncio.run(_all(sys.argv[1], *map(int, sys.argv[2:5])))
