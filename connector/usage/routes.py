"""``POST /ingest/v1/usage-events``: NDJSON in, a report out, RFC 9457 problems for what is refused whole.

Prohibition: routes only. Who is asking is decided by the authorizer that is handed in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

import msgspec
from aiohttp import web

from access.bodies import TooLarge, TooSlow, UnreadBody, read_body
from access.errors import Unauthenticated
from access.principal import Principal, Scope
from connector.usage.ingest import MAX_BYTES, BatchTooLarge, ingest
from connector.usage.settings import ReportingSettings
from ledger.errors import BadInput, NotFound, Refused, Retryable, RosterdError, Unavailable
from ledger.store.engine import Ledger

PATH = "/ingest/v1/usage-events"
CONTENT_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl")

Authorizer = Callable[[web.Request], Awaitable[Principal]]
"""Tells who is asking; raises ``Unauthenticated``. Whether they may send usage is checked here."""


def routes(
    ledger: Ledger,
    *,
    authorize: Authorizer,
    clock: Callable[[], datetime],
    settings_of: Callable[[str], ReportingSettings] = lambda _organization: ReportingSettings(),
    public_url: str = "",
) -> list[web.RouteDef]:
    """The route to add to the connector's application. ``settings_of``: an organization's reporting settings.

    ``public_url`` starts the ``type`` of problems. The sender needs the right ``usage:write``.
    """

    async def receive(request: web.Request) -> web.Response:
        try:
            sender = await authorize(request)
            sender.require(Scope.USAGE_WRITE)
            body = await _body(request)
            settings = settings_of(sender.organization)
            report = await ingest(
                ledger, sender.organization, body, now=clock(), source=sender.actor, settings=settings
            )
        except RosterdError as error:
            return problem(error, public_url)
        return web.Response(body=msgspec.json.encode(report.to_json()), content_type="application/json")

    return [web.post(PATH, receive)]


async def _body(request: web.Request) -> bytes:
    body = await read_body(request, most=MAX_BYTES, kinds=CONTENT_TYPES)
    if body.lstrip()[:1] == b"[":
        raise BadInput("the body is a JSON array", next_step="send one JSON object per line")
    return body


def problem(error: RosterdError, public_url: str = "") -> web.Response:
    """``error`` as ``application/problem+json`` (RFC 9457), with ``Retry-After`` where trying again may help."""
    status, kind, title = _problem_of(error)
    body = {"type": f"{public_url}/ingest/v1/errors/{kind}", "title": title, "status": status, "detail": error.what}
    if error.next_step:
        body["next_step"] = error.next_step
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="rosterd"'
    if status == 503:
        after = error.after.total_seconds() if isinstance(error, Retryable) else 5
        headers["Retry-After"] = str(max(1, int(after)))
    return web.Response(
        body=msgspec.json.encode(body), status=status, content_type="application/problem+json", headers=headers
    )


def _problem_of(error: RosterdError) -> tuple[int, str, str]:
    known: tuple[tuple[type[RosterdError], tuple[int, str, str]], ...] = (
        (Unauthenticated, (401, "unauthenticated", "No valid credential")),
        (Refused, (403, "role-required", "The credential lacks a right")),
        (UnreadBody, (415, "unsupported-media-type", "Content type not read")),
        (TooLarge, (413, "batch-too-large", "Batch too large")),
        (TooSlow, (408, "too-slow", "Body too slow")),
        (BatchTooLarge, (413, "batch-too-large", "Batch too large")),
        (BadInput, (400, "invalid-body", "Body not read")),
        (NotFound, (404, "not-found", "Not found")),
        (Retryable, (503, "data-temporarily-unavailable", "Try again")),
        (Unavailable, (503, "data-temporarily-unavailable", "Try again")),
    )
    for kind, answer in known:
        if isinstance(error, kind):
            return answer
    return 500, "internal", "Unexpected error"
