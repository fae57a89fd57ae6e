"""How often anybody may ask without a token: by address, and for all addresses together by organization (N10).

In memory and by the loop's steady clock. Requests with a token are limited where the token is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address, ip_address

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from access.rate import Buckets

_HEALTH = ("/health/live", "/health/ready")
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def limiting(per_address: int, per_organization: int, organizations: Callable[[], Collection[str]]) -> Middleware:
    """A middleware that refuses with 429 and ``Retry-After``; ``per_…``: requests a minute.

    What is asked at an organization's sign-in pages counts for both, whatever token comes with it; everything else
    without a token for the address alone. Health is never refused: behind a proxy that nobody named, a stranger would
    have the daemon restarted.
    """
    addresses, names = Buckets(per_address), Buckets(per_organization)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        signing_on = request.path.startswith("/sso/")
        if request.path in _HEALTH:
            return await handler(request)
        if signing_on or hdrs.AUTHORIZATION not in request.headers:
            now = _BEGINNING + timedelta(seconds=asyncio.get_running_loop().time())
            wait = addresses.take(_neighbourhood(request.remote or ""), now)
            name = request.match_info.get("organization", "") if signing_on else ""
            if not wait and name in organizations():
                wait = names.take(name, now)
            if wait:
                raise web.HTTPTooManyRequests(
                    text="too many requests, try again later", headers={"Retry-After": str(wait)}
                )
        return await handler(request)

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
