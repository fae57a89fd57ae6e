"""GETs one document: the host is looked up once, judged, and connected to at exactly the address that was judged.

Prohibition: follows no redirect, uses no proxy, cookie or password of the environment, unpacks nothing, tries nothing
again later. A caller decides what a document means; here only ``NotFound`` says that the host itself has none.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Protocol

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from access.outbound.addresses import Address
from access.outbound.judgement import judge
from access.outbound.settings import OutboundSettings
from access.outbound.urls import Target
from ledger.errors import BadInput, NotFound, Unavailable

_MOST_TRIED = 4
_REACHES = "see that it answers from this host"


@dataclass(frozen=True, slots=True)
class Caps:
    """How much an answer may be (bytes), and how long it may take: with everything, and to connect (seconds)."""

    size: int = 64 * 1024
    seconds: float = 30.0
    connect: float = 5.0


SMALL = Caps()
"""For a document of a few lines, such as the proof of a domain."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole document. ``content_type``: in lower case without parameters, empty when none was said; ``address``:
    the one that was connected to; ``own_ca``: authorities of the operator's own were believed too."""

    body: bytes
    content_type: str
    address: Address
    own_ca: bool = False


class Resolver(Protocol):
    """Looks a host up."""

    async def addresses(self, host: str) -> Sequence[Address]:
        """Every A and AAAA of a host name; raises ``OSError`` when they cannot be known."""
        ...


class HostResolver:
    """The resolver of this host, its hosts file included, as every other program here uses it."""

    async def addresses(self, host: str) -> Sequence[Address]:
        """Every address; the families that this host cannot reach too, so that all are judged."""
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return [ip_address(entry[4][0]) for entry in found]


class Door:
    """The way out, as far as the operator opened it."""

    def __init__(self, settings: OutboundSettings, resolver: Resolver | None = None) -> None:
        self._openings = settings.openings()
        self._ca = settings.ca
        self._resolver = resolver or HostResolver()
        self._tls: ssl.SSLContext | None = None

    async def get(self, url: str, caps: Caps = SMALL) -> Fetched:
        """The document at ``url``, whole.

        Raises ``NotFound`` when the host answers 404; ``Refused`` when the operator has not opened what is asked for;
        ``BadInput`` for an address that is none, a redirect, a packed or too large answer, or a wrong ``ca``;
        ``Unavailable`` for everything that may be different tomorrow.
        """
        target = Target.parse(url)
        try:
            async with asyncio.timeout(caps.seconds):
                addresses = judge(target, await self._look_up(target), self._openings)
                return await self._first_answer(target, addresses, caps)
        except TimeoutError as error:
            what = f"there was no whole answer within {caps.seconds:g} s"
            raise Unavailable(what, where=target.shown, next_step=_REACHES) from error

    async def _look_up(self, target: Target) -> Sequence[Address]:
        if target.literal is not None:
            return [target.literal]
        try:
            return await self._resolver.addresses(target.host)
        except (OSError, UnicodeError) as error:
            what = f"{target.host} cannot be looked up"
            raise Unavailable(what, where=target.shown, next_step="correct the name, or see to DNS") from error

    async def _first_answer(self, target: Target, addresses: Sequence[Address], caps: Caps) -> Fetched:
        """The answer of the first address that can be connected to; what it answers is not asked of the others."""
        if self._tls is None:
            self._tls = await asyncio.to_thread(authorities, self._ca)
        async with _session(self._tls, caps) as session:
            unreached: Exception | None = None
            for address in addresses[:_MOST_TRIED]:
                try:
                    found = await _asked(session, target, address, caps)
                    return replace(found, own_ca=bool(self._ca))
                except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                    unreached = error
                except aiohttp.ClientError as error:
                    # what aiohttp says of it may quote what came
                    what = "the connection broke, or what came is not HTTP"
                    raise Unavailable(what, where=target.shown, next_step=_REACHES) from error
        # its own text names the address
        number = getattr(unreached, "errno", None)
        what = f"cannot be reached: {os.strerror(number) if number else 'no connection in time'}"
        raise Unavailable(what, where=target.shown, next_step=_REACHES) from unreached


def authorities(ca: str) -> ssl.SSLContext:
    """Whose certificates are believed: the system's authorities and those in ``ca``; ``BadInput`` when it is wrong."""
    context = ssl.create_default_context()
    if ca:
        try:
            context.load_verify_locations(cafile=ca)
        except OSError as error:  # SSLError is one
            what = f"{ca} cannot be used: {error.strerror or 'it holds no certificate in PEM'}"
            next_step = "correct ca in [outbound] of rosterd.toml"
            raise BadInput(what, where="outbound.ca", next_step=next_step) from error
    return context


class _NobodyToAsk(AbstractResolver):
    """A host is never looked up a second time: aiohttp is handed addresses only, and has nobody to ask."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        raise OSError(f"{host} would be looked up again")

    async def close(self) -> None:
        """Nothing is open."""


def _session(tls: ssl.SSLContext, caps: Caps) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls, limit=1, force_close=True, resolver=_NobodyToAsk()),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=caps.connect),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )


async def _asked(session: aiohttp.ClientSession, target: Target, address: Address, caps: Caps) -> Fetched:
    headers = {"Host": target.authority, "Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "rosterd"}
    try:
        async with session.get(
            URL(target.at(address), encoded=True),
            headers=headers,
            allow_redirects=False,
            # the name in SNI and in the certificate is the one that was asked for
            server_hostname=target.host if target.scheme == "https" else None,
        ) as answer:
            _require_document(answer, target, caps)
            body = bytearray()
            async for part in answer.content.iter_any():
                body += part
                if len(body) > caps.size:
                    raise _too_large(target, caps)
            content_type = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            return Fetched(bytes(body), content_type, address)
    except aiohttp.ClientSSLError as error:
        raise _not_trusted(error, target) from error


def _require_document(answer: aiohttp.ClientResponse, target: Target, caps: Caps) -> None:
    where, status = target.shown, answer.status
    if status == 404:
        raise NotFound("answers 404: there is no such document", where=where, next_step="correct the address")
    if 300 <= status < 400:
        next_step = "use the final address of the document itself"
        raise BadInput(f"redirects ({status}), which is not followed", where=where, next_step=next_step)
    if status != 200:
        raise Unavailable(f"answers {status}", where=where, next_step=_REACHES)
    if any(coding.strip().lower() != "identity" for coding in answer.headers.getall("Content-Encoding", ())):
        what = "answers with a packed body though it was asked for none"
        raise BadInput(what, where=where, next_step="let it answer without Content-Encoding")
    if (answer.content_length or 0) > caps.size:
        raise _too_large(target, caps)


def _too_large(target: Target, caps: Caps) -> BadInput:
    what = f"is over {caps.size // 1024} KiB"
    return BadInput(what, where=target.shown, next_step="use the address of the document itself")


def _not_trusted(error: aiohttp.ClientSSLError, target: Target) -> Unavailable:
    cause = getattr(error, "certificate_error", None)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Unavailable(
            f"its certificate is not accepted: {cause.verify_message}",
            where=target.shown,
            next_step="mend the certificate; authorities of your own are named by ca in [outbound] of rosterd.toml",
        )
    return Unavailable("TLS cannot be agreed on", where=target.shown, next_step=_REACHES)
