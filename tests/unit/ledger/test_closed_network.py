"""The test world is sealed: what leaves loopback fails, and says so."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.parts.network import NetworkClosed


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("2001:db8::1", 443)])
def test_nothing_beyond_loopback_is_reached(address: tuple[str, int]) -> None:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as stream, pytest.raises(NetworkClosed):
        stream.connect(address)
    with socket.socket(family, socket.SOCK_DGRAM) as datagrams, pytest.raises(NetworkClosed):
        datagrams.sendto(b"x", address)


def test_no_name_is_looked_up() -> None:
    with pytest.raises(socket.gaierror, match="network is closed"):
        socket.getaddrinfo("example.org", 443)
    assert socket.getaddrinfo("localhost", 80)


async def test_loopback_works() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
