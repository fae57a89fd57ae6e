"""How every SCIM route learns who pushes, reads a body, and answers or says what is wrong (RFC 7644 §3.12).

Prohibition: no rules here; who is pushing is decided by the ``authenticate`` that is handed in.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec
from aiohttp import HttpVersion11, web

from access.bodies import TooLarge, TooSlow, UnreadBody, require_kind, within
from access.errors import Forbidden, Unauthenticated
from access.unpacking import Damaged, Unpacking
from connector.scim import long_lists
from connector.scim.bending import Bending
from connector.scim.errors import Changed, Fault, NotHere, NotOffered, Taken
from connector.scim.resources import refuse_control_characters
from ledger.errors import BadInput, Busy, NotFound, Refused, Retryable, RosterdError, Stale, Unavailable
from ledger.instant import new_id
from ledger.store.inbox import Inbox

Read = TypeVar("Read")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MEDIA_TYPE = "application/scim+json"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
PREFIX = "/scim/v2"
MOST_BODY = 1024 * 1024
"""Bytes of a body, after unpacking."""
MOST_LIST = 32 * MOST_BODY
"""Bytes of one that may list members: what is handed out is taken back, 100,000 of them (S-R43)."""
MOST_VALUES = 1_000_000
"""JSON values in one, counted before they are made: a byte may be a value of sixty."""
LIST_WITHIN = 120.0
"""Seconds in which a body that is longer than ``MOST_BODY`` has come and is read, the wait for others included."""
_LISTS_AT_ONCE = 2

_TYPES = (MEDIA_TYPE, "application/json")
_REQUEST_IDS = ("X-Request-ID", "client-request-id")
_HTTP = {404: "there is nothing at this address", 405: "this cannot be done here", 413: "the body is too large"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pushing:
    """Who is pushing, decided by the integrator's ``authenticate``.

    ``connection_id``: the directory in the organization's file. ``actor``: ``token:<id>``. ``strict``: what a tolerant
    connection bends is refused.
    """

    organization: str
    connection_id: str
    actor: str
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Acts:
    """What the routes are handed. ``authenticate`` raises ``Unauthenticated``, ``Forbidden`` or ``BadInput``;
    ``pushed`` is called after each commit that changed something; ``public_url``: ``https://host``."""

    authenticate: Callable[[web.Request], Awaitable[Pushing]]
    clock: Callable[[], datetime]
    pushed: Callable[[Pushing], Awaitable[None]]
    public_url: str


@dataclass(frozen=True, slots=True)
class Asked:
    """One request with who makes it. ``at``: when it came."""

    request: web.Request
    pushing: Pushing
    request_id: str
    at: datetime

    def parameter(self, name: str) -> str | None:
        """A query parameter, its name in any case; None when it is not given (unknown ones are let be, S-R3)."""
        lowered = name.lower()
        return next((value for key, value in self.request.rel_url.query.items() if key.lower() == lowered), None)

    def header(self, name: str) -> str:
        """A header; empty when it is not there."""
        return self.request.headers.get(name, "")

    @property
    def id(self) -> str:
        """The id in the address; raises ``NotFound`` for one that cannot be."""
        found = self.request.match_info["id"]
        if not found.isprintable() or len(found) > 200:
            raise NotFound("no resource has such an id")
        return found

    def bending(self) -> Bending:
        """A fresh record of what is bent."""
        return Bending(strict=self.pushing.strict)

    async def body(self) -> dict[str, Any]:
        """The body as one JSON object; raises ``UnreadBody``, ``TooLarge`` or ``Fault`` (``invalidSyntax``)."""
        require_kind(self.request, _TYPES, bare=True)
        raw = bytearray()
        async with within(MOST_BODY):
            await _fill(raw, Unpacking(self.request))
        if len(raw) > MOST_BODY:
            raise _too_large(MOST_BODY)
        return _object(raw)


class Answering:
    """Base of every class of routes: the inbox, the clock, and who is pushing."""

    def __init__(self, inbox: Inbox, acts: Acts) -> None:
        self.inbox = inbox
        self.acts = acts
        self.base = acts.public_url.rstrip("/") + PREFIX
        self._lists = asyncio.Semaphore(_LISTS_AT_ONCE)

    def opened(self, act: Callable[[Asked], Awaitable[web.Response]]) -> Handler:
        """``act`` as a handler that first asks who it is."""

        async def handler(request: web.Request) -> web.StreamResponse:
            pushing = await self.acts.authenticate(request)
            return await act(Asked(request, pushing, _request_id(request), self.acts.clock()))

        return handler

    async def read(self, asked: Asked, means: Callable[[dict[str, Any]], Read]) -> Read:
        """What ``means`` makes of a body that may list members; a long one is read in a thread, few at once, so that
        neither time nor memory of others depends on it. Raises as ``Asked.body`` does, and ``Busy``."""
        require_kind(asked.request, _TYPES, bare=True)
        raw, unpacking = bytearray(), Unpacking(asked.request)
        async with within(MOST_BODY):
            await _fill(raw, unpacking)
        if len(raw) <= MOST_BODY:
            return means(_object(raw))
        try:
            async with asyncio.timeout(LIST_WITHIN), self._lists:
                await _fill(raw, unpacking, MOST_LIST)
                if len(raw) > MOST_LIST:
                    raise _too_large(MOST_LIST)
                return await asyncio.to_thread(lambda: means(_object(raw)))
        except TimeoutError as error:
            raise Busy("a long body did not come in time", after=timedelta(seconds=30)) from error

    async def told(self, asked: Asked) -> None:
        """Say that something changed; what is committed stays answered as done, whatever comes of it."""
        try:
            await self.acts.pushed(asked.pushing)
        except RosterdError as error:
            log(logging.ERROR, "scim.change_not_told", asked, error=error.what)


def log(level: int, verb: str, asked: Asked, **fields: Any) -> None:
    """One line with a stable verb."""
    who = asked.pushing
    known = {"organization": who.organization, "connection": who.connection_id, "request": asked.request_id}
    _log.log(level, verb, extra={"fields": {**known, **fields}})


def answer(document: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """``application/scim+json`` that nobody caches; None: no body."""
    return web.Response(
        body=None if document is None else msgspec.json.encode(document),
        status=status,
        content_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error in the shape of RFC 7644 §3.12, those of HTTP itself and our own faults too (S-R4)."""
    try:
        return await handler(request)
    except RosterdError as error:
        return problem(error)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return fault(error.status, _HTTP.get(error.status, error.reason), headers=allowed)
    except ConnectionError:  # the client has gone
        raise
    except Exception:
        _log.exception("scim.failed", extra={"fields": {"method": request.method, "path": request.path}})
        return fault(500, "this request found a fault of the provider")


KINDS: tuple[tuple[type[RosterdError], int, str], ...] = (
    (Unauthenticated, 401, ""),
    (Forbidden, 403, ""),
    (NotHere, 403, ""),
    (NotFound, 404, ""),
    (TooLarge, 413, ""),
    (UnreadBody, 415, ""),
    (TooSlow, 408, ""),
    (Fault, 400, ""),
    (BadInput, 400, ""),
    (Taken, 409, "uniqueness"),
    (Changed, 412, ""),
    (NotOffered, 501, ""),
    (Stale, 409, ""),
    (Refused, 403, ""),
    (Retryable, 503, ""),
    (Unavailable, 503, ""),
)
"""Error → status and ``scimType``; the first that fits."""


def problem(error: RosterdError) -> web.Response:
    """An error as SCIM says it; never says why a token was refused, nor anything of a fault of ours."""
    status, scim_type = next(((status, word) for kind, status, word in KINDS if isinstance(error, kind)), (500, ""))
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="rosterd"'
    if status == 503:
        after = error.after.total_seconds() if isinstance(error, Retryable) else 5
        headers["Retry-After"] = str(max(1, int(after)))
        return fault(status, "try again later", headers=headers)
    if status == 500:
        _log.error("scim.failed", extra={"fields": {"error": error.what}})
        return fault(status, "this request found a fault of the provider")
    what = error.said
    detail = f"{what} ({error.next_step})" if error.next_step else what
    return fault(status, detail, error.scim_type if isinstance(error, Fault) else scim_type, headers)


def fault(status: int, detail: str, scim_type: str = "", headers: Mapping[str, str] | None = None) -> web.Response:
    """An error in the shape of RFC 7644 §3.12."""
    document = {"schemas": [ERROR], "status": str(status), "detail": detail}
    if scim_type:
        document["scimType"] = scim_type
    return answer(document, status=status, headers=headers)


def _request_id(request: web.Request) -> str:
    """What the client calls its request, where that is short and plain; else an id of ours."""
    for name in _REQUEST_IDS:
        given = request.headers.get(name, "")
        if given and len(given) <= 100 and given.isascii() and given.isprintable():
            return given
    return new_id()


async def expecting(request: web.Request) -> web.Response | None:
    """Tell a client that announces a body to send it; no other ``Expect`` is met (RFC 9110 §10.1.1)."""
    if request.version < HttpVersion11:
        return None
    if request.headers.get("Expect", "").lower() != "100-continue":
        return fault(417, "nothing but 100-continue can be expected")
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # it is no part of the answer
    return None


async def _fill(raw: bytearray, unpacking: Unpacking, most: int = MOST_BODY) -> None:
    """The body behind what is in ``raw``, unpacked; not much more than ``most`` bytes, the rest can still be read."""
    try:
        async for part in unpacking.parts():
            raw += part
            if len(raw) > most:  # also what a small packed body unpacks to
                return
    except Damaged as error:
        raise Fault("the body cannot be unpacked", "invalidSyntax") from error


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"a body has at most {most} bytes", next_step="send less at a time")


def _object(body: bytearray) -> dict[str, Any]:
    raw = bytes(body)
    if len(raw) > MOST_BODY and long_lists.values_at_most(raw) > MOST_VALUES:
        raise TooLarge(f"a body has at most {MOST_VALUES} values", next_step="send less at a time")
    try:
        found = long_lists.decoded(raw)
    except (ValueError, RecursionError) as error:
        raise Fault("the body is no JSON", "invalidSyntax") from error
    if not isinstance(found, dict):
        raise Fault("the body is no JSON object", "invalidSyntax")
    if b"\\" in raw or b"\x7f" in raw:  # the others are no JSON unless they are escaped
        refuse_control_characters(found)
    return found
