"""How often anybody may ask without a token that is known: by address, and for all addresses together by organization
(N10).

In memory and by the loop's steady clock. Requests with a known token are limited where the token is known.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address, ip_address

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from access.proven import PROVEN
from access.rate import Buckets

_MOST_KNOWN = 10_000
_HEALTH = ("/health/live", "/health/ready")
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def limiting(per_address: int, per_organization: int, organizations: Callable[[], Collection[str]]) -> Middleware:
    """A middleware that refuses with 429 and ``Retry-After``; ``per_…``: requests a minute.

    What is asked at an organization's sign-in pages counts for both, whatever token comes with it; everything else for
    the address alone, unless its token was accepted the last time; a token that is accepted the first time has cost
    nothing. Health is never refused: behind a proxy that nobody named, a stranger would
    have the daemon restarted.
    """
    addresses, names = Buckets(per_address), Buckets(per_organization)
    known: dict[bytes, None] = {}  # hashes of credentials, the one that was seen last at the end

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in _HEALTH:
            return await handler(request)
        signing_on = request.path.startswith("/sso/")
        credential = hashlib.sha256(request.headers.get(hdrs.AUTHORIZATION, "").encode("utf-8", "replace")).digest()
        free = credential in known and not signing_on
        address = _neighbourhood(request.remote or "")
        if not free:
            now = _BEGINNING + timedelta(seconds=asyncio.get_running_loop().time())
            wait = addresses.take(address, now)
            name = request.match_info.get("organization", "") if signing_on else ""
            if not wait and name in organizations():
                wait = names.take(name, now)
            if wait:
                raise web.HTTPTooManyRequests(
                    text="too many requests, try again later", headers={"Retry-After": str(wait)}
                )
        status = 0
        try:
            answer = await handler(request)
            status = answer.status
            return answer
        finally:
            if PROVEN in request:
                known.pop(credential, None)
                known[credential] = None
                if len(known) > _MOST_KNOWN:
                    del known[next(iter(known))]
                if not free:
                    addresses.give_back(address)
            elif status == web.HTTPUnauthorized.status_code:
                known.pop(credential, None)

    return middleware


def _neighbourhood(address: str) -> str:
    """The address; of IPv6 the /64, which is one asker's."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or IPv6Address(int(found) >> 64 << 64))
    return address
