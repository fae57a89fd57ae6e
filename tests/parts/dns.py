"""Name servers of a test: real UDP responders in processes of their own, each with a zone that can be changed; and one
in this process whose addresses of a name change from question to question.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, cast

import dns.asyncresolver
import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from connector.sso.settings import DnsSettings
from rosterd.demo.resolver import Zone, answer


@dataclass(slots=True)
class NameServer:
    """One responder. ``zone`` replaces everything it answers, at once."""

    address: str
    zone_file: Path
    silent: bool = False

    def zone(self, records: dict[str, Any]) -> None:
        """Answer from ``records`` from now on (format: rosterd.demo.resolver)."""
        self.silent = records.get("!") == "silent"
        new = self.zone_file.with_suffix(".new")
        new.write_text(json.dumps(records), encoding="utf-8")
        new.replace(self.zone_file)

    def fault(self, name: str) -> None:
        """``servfail``, ``refused`` or ``silent`` to every question."""
        self.zone({"!": name})


@dataclass(slots=True)
class NameServers:
    """Two responders, as an installation has."""

    servers: tuple[NameServer, NameServer]

    def settings(self) -> DnsSettings:
        """The installation's settings. The wait is short only where a responder is silent: an answer that a test counts
        on has all the time that a busy machine takes."""
        timeout = 0.3 if any(server.silent for server in self.servers) else 15.0
        return DnsSettings(
            resolvers=tuple(server.address for server in self.servers), timeout=timedelta(seconds=timeout)
        )

    def publish(self, name: str, *values: str | list[str]) -> None:
        """The same TXT records on both; nothing else exists."""
        for server in self.servers:
            server.zone({name: list(values)})

    def nothing(self) -> None:
        """NXDOMAIN for everything, on both."""
        for server in self.servers:
            server.zone({})

    def fault(self, name: str) -> None:
        """The same fault on both."""
        for server in self.servers:
            server.fault(name)


@contextmanager
def name_servers(folder: Path) -> Iterator[NameServers]:
    """Start two responders on free ports; they end with the block."""
    with ExitStack() as children:
        servers = [children.enter_context(_server(folder / f"zone-{letter}.json")) for letter in "ab"]
        yield NameServers((servers[0], servers[1]))


@contextmanager
def _server(zone_file: Path) -> Iterator[NameServer]:
    command = [sys.executable, "-m", "rosterd.demo.resolver", "--port", "0", "--zone-file", str(zone_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            line = child.stdout.readline()
            assert line.startswith("listening on "), line
            yield NameServer(line.split()[-1], zone_file)
        finally:
            child.terminate()
            child.wait(10)


@asynccontextmanager
async def tls_name_server(zone_file: Path, tls: ssl.SSLContext) -> AsyncIterator[int]:
    """A responder over TLS in this process, from a zone file; gives its port."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            length = int.from_bytes(await reader.readexactly(2))
            reply = answer(await reader.readexactly(length), Zone.read(zone_file)) or b""
            writer.write(len(reply).to_bytes(2) + reply)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


class ChangingNames(asyncio.DatagramProtocol):
    """Answers A and AAAA. ``rounds``: name → the addresses for each time it is asked, the last ones for ever."""

    def __init__(self, rounds: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self.rounds = rounds
        self.asked: list[tuple[str, str]] = []
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket to answer on."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one question."""
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        response = dns.message.make_response(query)
        rounds = self.rounds.get(name)
        if rounds is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
        else:
            found = rounds[min(self.asked.count((name, kind)), len(rounds) - 1)]
            values = [text for text in found if (":" in text) == (kind == "AAAA")]
            if values:
                response.answer.append(dns.rrset.from_text_list(question.name, 0, "IN", kind, values))
        self.asked.append((name, kind))
        assert self._transport is not None
        self._transport.sendto(response.to_wire(), addr)

    async def addresses(self, host: str) -> Sequence[IPv4Address | IPv6Address]:
        """Ask this server over its socket, as ``access.outbound.door.Resolver`` does."""
        assert self._transport is not None
        asking = dns.asyncresolver.Resolver(configure=False)
        asking.nameservers = ["127.0.0.1"]
        asking.port = self._transport.get_extra_info("sockname")[1]
        found: list[IPv4Address | IPv6Address] = []
        try:
            for kind in ("A", "AAAA"):
                answer = await asking.resolve(host, kind, raise_on_no_answer=False, search=False)
                found += [ip_address(record.to_text()) for record in answer.rrset or ()]
        except dns.exception.DNSException as error:
            raise OSError(str(error)) from error
        return found


@asynccontextmanager
async def changing_names(rounds: Mapping[str, Sequence[Sequence[str]]]) -> AsyncIterator[ChangingNames]:
    """A name server on a free port of this process; it ends with the block."""
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: ChangingNames(rounds), local_addr=("127.0.0.1", 0)
    )
    try:
        yield server
    finally:
        transport.close()
