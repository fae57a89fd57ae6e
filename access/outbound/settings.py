"""``[outbound]`` of ``rosterd.toml``: what the operator opens beyond public https. Pure: settings only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Annotated

from pydantic import AfterValidator

from access.outbound.addresses import Address, Network
from access.outbound.urls import host_name
from ledger.settings import SettingsModel, require_clear_port

_ENTRY = re.compile(r"(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<plain>[^\[\]:]+))(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class Opening:
    """One entry of ``allow``: a name with a port, or a network, perhaps with one. ``port`` None: none is opened."""

    name: str
    network: Network | None
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Opening:
        """Read an entry; raises ``ValueError`` with the forms, and with both meanings where there are two."""
        require_clear_port(text)
        found = _ENTRY.fullmatch(text)
        host = (found["bracketed"] or found["plain"]) if found else text
        port = int(found["port"]) if found and found["port"] else None
        if port is not None and not 0 < port < 65536:
            raise ValueError(f"{text!r}: the port is out of range")
        try:
            network = ip_network(host)
        except ValueError:
            return cls(_name(text, host), None, _required(text, port))
        if "%" in host:
            raise ValueError(f"{text!r} has a zone, which only the host that is named by it can read")
        if network.prefixlen == 0:
            raise ValueError(f"{text!r} opens everything: name the networks that are meant")
        return cls("", network, port)

    def opens_port(self, host: str, port: int, address: Address) -> bool:
        """Whether a document of ``host`` may be at this port."""
        return self.port == port and (self.name == host if self.network is None else self._holds(address))

    def opens_address(self, port: int, address: Address) -> bool:
        """Whether a host may have this address though it is not public."""
        return self._holds(address) and self.port in {None, port}

    def _holds(self, address: Address) -> bool:
        # which fe80::1%2 is meant depends on the host that reads it
        zone = getattr(address, "scope_id", None)
        return self.network is not None and not zone and address in self.network


def _name(text: str, host: str) -> str:
    try:
        name = host_name(host)
    except ValueError:
        name = ""
    if not name or name.rpartition(".")[2].isdigit() or "/" in text:
        raise ValueError(f"{text!r} is not HOST:PORT, ADDRESS, ADDRESS:PORT or NETWORK, for example 10.1.2.0/24")
    return name


def _required(text: str, port: int | None) -> int:
    if port is None:
        raise ValueError(f"{text!r} has no port: write HOST:PORT; what a name points to is opened as NETWORK")
    return port


def _opening(text: str) -> str:
    Opening.parse(text)
    return text


class OutboundSettings(SettingsModel):
    """``[outbound]``: what may be fetched beyond https at port 443 of public addresses (N12)."""

    allow: tuple[Annotated[str, AfterValidator(_opening)], ...] = ()
    """Exceptions: NETWORK or ADDRESS (10.1.2.0/24: hosts may be there), HOST:PORT (a port other than 443 of a host that
    is public or in such a network), ADDRESS:PORT, for IPv6 [ADDRESS]:PORT (both at once; at a loopback address also
    http, for tests). Only this file can open anything, and what it opens is open to the addresses in every customer's
    file."""

    ca: str = ""
    """PEM file of your own certificate authorities, relative to this file; they count beside those of the system, but
    not where a file proves a domain: whoever issues certificates in your network owns no domain."""

    def without_ca(self) -> OutboundSettings:
        """The same openings, and nobody believed but the system's authorities: for proofs (N13)."""
        return self.model_copy(update={"ca": ""})

    def openings(self) -> tuple[Opening, ...]:
        """``allow``, read."""
        return tuple(Opening.parse(text) for text in self.allow)
