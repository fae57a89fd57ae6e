"""A DNS responder for the demo and the tests: its own process, loopback only, answers from a small zone file.

``python -m rosterd.demo.resolver --port P --zone-file FILE [--with-starter]``. The file is read again for each
question, so records come and go by writing it. Prohibition: never resolves anything; what is not in its file does not
exist.

The zone file is JSON, written at once (rename) by whoever changes it::

    {"_rosterd-challenge.acme.example": ["token=… expiry=never", ["first string", " of one split record"]],
     "alias.acme.example": {"cname": "other.example"},
     "*.wild.example": ["whatever"],
     "!": "servfail",          # or refused, silent: every question is answered so, or not at all
     "!ad": true}              # every answer says that it was validated (DNSSEC)
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from rosterd.demo.children import LISTENING, WITH_STARTER, starter_gone

_TTL = 60
_RCODES = {"servfail": dns.rcode.SERVFAIL, "refused": dns.rcode.REFUSED}
_LOOPBACK = "127.0.0.1"


@dataclass(slots=True)
class Zone:
    """What a zone file says. ``fault``: servfail, refused, silent or empty; ``validated``: the AD bit is set."""

    records: dict[dns.name.Name, list[tuple[str, str]]] = field(default_factory=dict)
    fault: str = ""
    validated: bool = False

    @classmethod
    def read(cls, path: Path) -> Zone:
        """Read a zone file; a missing file is an empty zone. Raises ``ValueError`` for what is not such a file."""
        zone = cls()
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        zone.fault, zone.validated = found.pop("!", ""), found.pop("!ad", False)
        for name, records in found.items():
            key = dns.name.from_text(name.lower())
            if isinstance(records, dict):
                zone.records[key] = [("CNAME", dns.name.from_text(records["cname"]).to_text())]
                continue
            split = [[record] if isinstance(record, str) else record for record in records]
            zone.records[key] = [("TXT", " ".join(json.dumps(part) for part in parts)) for parts in split]
        return zone

    def find(self, name: dns.name.Name) -> list[tuple[str, str]] | None:
        """Records of a name, through a wildcard where the name has none; None: the name does not exist."""
        if name in self.records:
            return self.records[name]
        if any(known.is_subdomain(name) for known in self.records):
            return []
        for depth in range(1, len(name.labels) - 1):
            wild = dns.name.Name((b"*", *name.labels[depth:]))
            if wild in self.records:
                return self.records[wild]
        return None


def answer(question: bytes, zone: Zone) -> bytes | None:
    """The reply to one datagram; None: silence. Raises ``DNSException`` for what is no question."""
    query = dns.message.from_wire(question)
    if zone.fault == "silent" or not query.question:
        return None
    response = dns.message.make_response(query)
    response.flags |= dns.flags.AA | dns.flags.RA | (dns.flags.AD if zone.validated else 0)
    if zone.fault:
        response.set_rcode(_RCODES[zone.fault])
        return response.to_wire()
    asked = query.question[0]
    name = dns.name.from_text(asked.name.to_text().lower())
    found = zone.find(name)
    if found is None:
        response.set_rcode(dns.rcode.NXDOMAIN)
    owner = asked.name
    for kind, value in _followed(zone, found or [], asked.rdtype):
        rrset = dns.rrset.from_text(owner, _TTL, "IN", kind, value)
        same = next((known for known in response.answer if (known.name, known.rdtype) == (owner, rrset.rdtype)), None)
        if same is None:
            response.answer.append(rrset)
        else:
            same.add(rrset[0])
        if kind == "CNAME":
            owner = dns.name.from_text(value)
    return response.to_wire(max_size=4096)


def _followed(zone: Zone, found: list[tuple[str, str]], wanted: dns.rdatatype.RdataType) -> list[tuple[str, str]]:
    """The records of the type asked for; an alias brings the records of its target with it, as resolvers do."""
    aliases = [record for record in found if record[0] == "CNAME"]
    if aliases and wanted != dns.rdatatype.CNAME:
        target = zone.find(dns.name.from_text(aliases[0][1])) or []
        return [aliases[0], *(record for record in target if record[0] == dns.rdatatype.to_text(wanted))]
    return [record for record in found if record[0] == dns.rdatatype.to_text(wanted)]


class Responder(asyncio.DatagramProtocol):
    """Answers datagrams from the zone file as it is at that moment."""

    def __init__(self, zone_file: Path) -> None:
        self._zone_file = zone_file
        self._zone = Zone()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket to answer on."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer, or stay silent; while the file is being written, from what it said before."""
        with contextlib.suppress(ValueError, OSError):
            self._zone = Zone.read(self._zone_file)
        try:
            reply = answer(data, self._zone)
        except dns.exception.DNSException:
            return
        if reply is not None and self._transport is not None:
            self._transport.sendto(reply, addr)


async def serve(port: int, zone_file: Path, *, with_starter: bool = False) -> None:
    """Answer until cancelled, or until the starter has gone; prints its address once it listens."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Responder(zone_file), local_addr=(_LOOPBACK, port))
    host, bound = transport.get_extra_info("sockname")[:2]
    print(f"{LISTENING}{host}:{bound}", flush=True)  # noqa: T201 (the one line its starter waits for)
    try:
        await starter_gone(with_starter)
    finally:
        transport.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """The process."""
    parser = argparse.ArgumentParser(prog="rosterd.demo.resolver", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--zone-file", type=Path, required=True)
    parser.add_argument(WITH_STARTER, action="store_true")
    chosen = parser.parse_args(arguments)
    asyncio.run(serve(chosen.port, chosen.zone_file, with_starter=chosen.with_starter))


if __name__ == "__main__":
    main()
