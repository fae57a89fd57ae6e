"""``/ingest/v1``: batches of usage in, a report out; what was set aside listed, replayed, dropped. Problems: RFC 9457.

Prohibition: routes only. Who is asking is decided by the authorizer that is handed in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
from aiohttp import web

from access.bodies import TooLarge, TooSlow, read_raw
from access.codings import PACKED
from access.errors import Unauthenticated
from access.principal import Principal, Scope
from access.unpacking import Damaged
from connector.usage import quarantine
from connector.usage.formats.bodies import (
    MAX_BYTES,
    BatchTooLarge,
    UnsupportedBody,
    read_body,
)
from connector.usage.ingest import in_pool, ingest_parsed
from connector.usage.settings import ReportingSettings
from ledger.errors import BadInput, NotFound, Refused, Retryable, RosterdError, Unavailable
from ledger.instant import from_micros, to_micros
from ledger.store import usage_quarantine
from ledger.store.engine import Ledger
from ledger.store.usage_quarantine import Chosen, Place

PATH = "/ingest/v1/usage-events"
QUARANTINE = "/ingest/v1/quarantine"
_MOST_SHOWN = 1_000

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
    """The routes to add to the connector's application. ``settings_of``: an organization's reporting settings.

    ``public_url`` starts the ``type`` of problems. All need the right ``usage:write``; in quarantine a sender sees what
    it sent itself, and who may read people of every Team sees all. Bodies are decoded here, whole: the server must hand
    them on as they come (``AppRunner(auto_decompress=False)``), for it would not notice one that is cut off.
    """

    async def receive(request: web.Request, sender: Principal) -> Any:
        declared = request.headers.get("Content-Type", ""), ",".join(request.headers.getall("Content-Encoding", ()))
        rows = await in_pool(read_body, await _body(request), *declared)
        settings = settings_of(sender.organization)
        done = await ingest_parsed(
            ledger, sender.organization, rows, now=clock(), source=sender.actor, settings=settings
        )
        return done.to_json()

    async def listed(request: web.Request, sender: Principal) -> Any:
        chosen, before = _chosen(request, sender), _before(request)
        limit = _limit(request)
        async with ledger.read(sender.organization) as reader:
            total, causes = await usage_quarantine.sums(reader, chosen)
            rows = await usage_quarantine.page(reader, chosen, before, limit)
        following = _cursor((rows[-1].received_at, rows[-1].digest)) if len(rows) == limit else None
        return {"rows": total, "causes": causes, "quarantined_rows": [row.to_json() for row in rows], "next": following}

    async def replayed(request: web.Request, sender: Principal) -> Any:
        done, following = await quarantine.replay_page(
            ledger,
            sender.organization,
            _chosen(request, sender),
            _before(request),
            now=clock(),
            actor=sender.actor,
            settings=settings_of(sender.organization),
        )
        return {**done.to_json(), "next": _cursor(following) if following else None}

    async def dropped(request: web.Request, sender: Principal) -> Any:
        chosen, reason = _chosen(request, sender), request.query.get("reason", "").strip()
        if not reason:
            raise BadInput("dropping needs a reason", next_step="add ?reason=TEXT; it is kept in the audit")
        if not (chosen.cause or chosen.batch_id or chosen.event_id or request.query.get("all") == "true"):
            raise BadInput("dropping needs a choice", next_step="add cause=, batch=, event_id= or all=true")
        gone = await quarantine.drop(
            ledger, sender.organization, chosen, now=clock(), actor=sender.actor, reason=reason
        )
        return {"dropped": gone}

    def answering(work: Callable[[web.Request, Principal], Awaitable[Any]]) -> Any:
        async def handle(request: web.Request) -> web.Response:
            try:
                sender = await authorize(request)
                sender.require(Scope.USAGE_WRITE)
                document = await work(request, sender)
            except RosterdError as error:
                return problem(error, public_url)
            return web.Response(body=msgspec.json.encode(document), content_type="application/json")

        return handle

    return [
        web.post(PATH, answering(receive)),
        web.get(QUARANTINE, answering(listed)),
        web.post(f"{QUARANTINE}/replay", answering(replayed)),
        web.delete(QUARANTINE, answering(dropped)),
    ]


async def _body(request: web.Request) -> bytes:
    """The body as it came, at most ``MAX_BYTES`` of it: what it is packed in and holds is judged whole."""
    try:
        return await read_raw(request, most=MAX_BYTES)
    except TooLarge as error:
        raise BatchTooLarge from error
    except Damaged as error:
        raise BadInput(f"{error.what}", next_step="nothing was stored; send it again") from error


def _chosen(request: web.Request, sender: Principal) -> Chosen:
    asked = request.query
    names = {"cause", "source", "batch", "event_id", "cursor", "limit", "reason", "all"}
    if strange := sorted(set(asked) - names):
        raise BadInput(
            f"the parameter {strange[0][:40]!r} is not known", next_step=f"one of {', '.join(sorted(names))}"
        )
    if any("\0" in value for value in asked.values()):
        raise BadInput("a parameter holds a NUL character")
    chosen = Chosen(*(asked.get(name, "") for name in ("cause", "source", "batch", "event_id")))
    sees_all = sender.holds(Scope.PEOPLE_READ) and not sender.team_ids
    return chosen if sees_all else replace(chosen, source=sender.actor)


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", "100")
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:5]) <= _MOST_SHOWN):
        raise BadInput("limit is a number of rows", next_step=f"1 to {_MOST_SHOWN}")
    return int(text)


def _cursor(place: Place) -> str:
    return f"{to_micros(place[0])}.{place[1]}"


def _before(request: web.Request) -> Place | None:
    micros, _, digest = request.query.get("cursor", "").partition(".")
    if not micros:
        return None
    if not (micros.isascii() and micros.isdigit() and len(micros) <= 17 and digest.isalnum() and len(digest) == 64):
        raise BadInput("this is not a cursor of this list", next_step="follow `next` as it is given")
    return from_micros(int(micros)), digest


def problem(error: RosterdError, public_url: str = "") -> web.Response:
    """``error`` as ``application/problem+json`` (RFC 9457), with ``Retry-After`` where trying again may help."""
    status, kind, title = _problem_of(error)
    body = {"type": f"{public_url}/ingest/v1/errors/{kind}", "title": title, "status": status, "detail": error.what}
    if error.next_step:
        body["next_step"] = error.next_step
    headers = {}
    if status == 415:
        headers["Accept-Encoding"] = ", ".join(PACKED)  # RFC 7694
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
        (UnsupportedBody, (415, "unsupported-media-type", "Content type not read")),
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
