"""Whose request it is when a proxy hands it on (sso.md N11): forwarded addresses are read from the right, and only as
far as trusted proxies wrote them. Host and scheme are never taken from a request: ``server.public_url`` says them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ledger.errors import BadInput
from rosterd.logs import event

_log = logging.getLogger(__name__)
Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
_FORWARDED_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*(?:"([^"]*)"|([^";,\s]*))\s*(?=;|$)', re.IGNORECASE)
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+):\d+")


def asker(peer: str, forwarded: Sequence[str], forwarded_for: Sequence[str], trusted: Sequence[Network]) -> str:
    """The address that asks. ``peer``: of the connection; the lines of ``Forwarded`` and ``X-Forwarded-For``.

    From an untrusted peer both headers are nothing. Raises ``BadInput`` where a trusted proxy hands on what is no
    address, or where the two headers name different askers: one of them was written by the asker.
    """
    here = _address(peer)
    if here is None or not _inside(here, trusted):
        return peer
    chains = [
        [_of_element(part) for line in forwarded for part in line.split(",")],
        [part.strip() for line in forwarded_for for part in line.split(",")],
    ]
    found = {str(_last_untrusted(chain, trusted)) for chain in chains if chain}
    if len(found) > 1:
        raise BadInput("Forwarded and X-Forwarded-For name different addresses")
    return found.pop() if found else peer


def forwarding(trusted: Sequence[Network]) -> Middleware:
    """A middleware that gives every request the address of its asker (``request.remote``); 400 where that is unsaid."""

    told = False

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal told
        headers = request.headers
        forwarded, forwarded_for = headers.getall("Forwarded", ()), headers.getall("X-Forwarded-For", ())
        if not forwarded and not forwarded_for:
            return await handler(request)
        if not trusted and not told:  # a proxy that nobody named makes one address of everybody
            told = True
            event(_log, "proxy.not_trusted", level=logging.WARNING, address=request.remote, setting="trusted_proxies")
        try:
            found = asker(request.remote or "", forwarded, forwarded_for, trusted)
        except BadInput as error:
            raise web.HTTPBadRequest(text=error.what) from error
        return await handler(request if found == request.remote else request.clone(remote=found))

    return middleware


def _last_untrusted(chain: Sequence[str], trusted: Sequence[Network]) -> Address | None:
    found = None
    for text in reversed(chain):
        found = _address(text)
        if found is None:
            raise BadInput("a proxy handed on what is no address")
        if not _inside(found, trusted):
            break
    return found  # all of them trusted: the first one asks for itself


def _of_element(element: str) -> str:
    """``for=`` of one element of ``Forwarded`` (RFC 7239 §4)."""
    match = _FORWARDED_FOR.search(element)
    return (match[1] or match[2] or "") if match else ""


def _address(text: str) -> Address | None:
    match = _WITH_PORT.fullmatch(text)
    try:
        found = ip_address((match[1] or match[2] if match else text).partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


def _inside(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
