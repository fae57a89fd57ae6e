"""The HTTP side of asking: the credential of a request, the charge for a query, the line in the access log.

Prohibition: a face never reads ``Authorization`` itself.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, replace

from aiohttp import web

from access import tokens
from access.errors import Unauthenticated
from access.proven import PROVEN
from ledger.store.tokens import Access
from reporting_api.auth import Reader, reader_of
from reporting_api.errors import Problem
from reporting_api.parts import PARTS
from reporting_api.privacy import Mode

_LINE = web.RequestKey("reporting_line", Access)
_CHARGED = web.RequestKey("reporting_charged", str)


async def admit(request: web.Request) -> Reader:
    """The reader behind the request's credential; from here on the request will be accounted for (R12).

    Raises ``Unauthenticated``, ``Forbidden``, or ``Unavailable`` when the access log cannot be kept.
    """
    parts = request.app[PARTS]
    parts.trail.check()
    now, remote = parts.clock(), request.remote or ""
    principal = await tokens.authenticate(
        parts.ledger, _token(request), pepper=parts.pepper, now=now, remote=remote, trail=parts.trail
    )
    request[PROVEN] = True
    line = Access(principal.organization, now, principal.token_id, principal.purpose, "", request.path, remote=remote)
    request[_LINE] = line
    reader = await reader_of(parts.ledger, principal, now=now, default_k=parts.settings.min_group_size)
    request[_LINE] = replace(line, privacy=str(reader.mode))
    return reader


def charge(request: web.Request, reader: Reader) -> None:
    """Take one query from the token's quota; raises ``Problem`` (429)."""
    parts = request.app[PARTS]
    wait = parts.buckets.take(reader.principal.token_id, parts.clock())
    if wait:
        raise Problem(
            "rate-limited",
            f"this token may make {parts.settings.queries_per_minute} queries a minute",
            headers={"Retry-After": str(wait), **limits(request, reader.principal.token_id)},
        )
    request[_CHARGED] = reader.principal.token_id


def refund(request: web.Request) -> None:
    """The query cost nothing (304)."""
    if token_id := request.get(_CHARGED):
        request.app[PARTS].buckets.give_back(token_id)


def limits(request: web.Request, token_id: str = "") -> dict[str, str]:
    """``RateLimit-Policy``, and ``RateLimit`` once the token is known (draft-ietf-httpapi-ratelimit-headers)."""
    parts = request.app[PARTS]
    found = {"RateLimit-Policy": f'"queries";q={parts.settings.queries_per_minute};w=60'}
    token_id = token_id or request.get(_CHARGED, "")
    if token_id:
        found["RateLimit"] = f'"queries";r={parts.buckets.left(token_id, parts.clock())};t=60'
    return found


@dataclass(frozen=True, slots=True)
class Read:
    """What was read: for the access log."""

    resource: str
    columns: tuple[str, ...] = ()
    team_ids: tuple[str, ...] = ()
    query: str = ""
    snapshot: str = ""
    rows: int = 0


def note(request: web.Request, read: Read) -> None:
    """Say what the request reads."""
    request[_LINE] = replace(
        request[_LINE],
        resource=read.resource,
        columns=read.columns,
        team_ids=read.team_ids,
        query=read.query,
        snapshot=read.snapshot,
        rows=read.rows,
    )


async def account(request: web.Request, status: int) -> None:
    """Write the request's line: named data is in the log before it leaves the house, the rest a second later."""
    line: Access | None = request.get(_LINE)
    if line is None:
        return
    trail = request.app[PARTS].trail
    line = replace(line, status=status, rows=line.rows if status == 200 else 0)
    if line.privacy == Mode.NAMED and status == 200:
        await trail.kept(line)
    else:
        trail.add(line)


def _token(request: web.Request) -> str:
    """Bearer, or the password of Basic (Tableau and Excel know nothing else)."""
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest.strip(), validate=True).decode("utf-8").partition(":")[2]
        except (binascii.Error, UnicodeDecodeError, ValueError) as error:
            raise Unauthenticated("garbled Basic credentials") from error
    raise Unauthenticated("no Authorization header")
