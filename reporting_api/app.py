"""Puts the reporting API together as one aiohttp application, to be mounted at ``/v1``.

Prohibition: decides nothing about queries or rights; here is only what every answer has in common.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from importlib.metadata import version

from aiohttp import web
from aiohttp.typedefs import Middleware

from access.rate import Buckets
from access.trail import Trail
from ledger.errors import RosterdError
from ledger.published.iceberg import Warehouse
from ledger.store.engine import Ledger
from reporting_api import door
from reporting_api.errors import MEDIA_TYPE, Problem, as_problem
from reporting_api.parts import PARTS, Parts
from reporting_api.pins import Pins
from reporting_api.query.cursor import Cursors
from reporting_api.query.duckdb import DuckEngine, Limits
from reporting_api.rest import datasets, openapi, overview
from reporting_api.rest.answers import json_body
from reporting_api.settings import ApiSettings

_log = logging.getLogger(__name__)
_COMPRESS_FROM = 1024
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
    "Vary": "Authorization, Accept, Accept-Encoding",
}
_HTTP_KINDS = {404: "not-found", 405: "method-not-allowed", 406: "not-acceptable", 413: "range-too-large"}
Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(
    ledger: Ledger,
    warehouse: Warehouse,
    settings: ApiSettings,
    clock: Callable[[], datetime],
    *,
    pepper: bytes,
    public_url: str,
) -> web.Application:
    """The sub-application for ``/v1``: ``root.add_subapp("/v1", make_app(…))``.

    ``pepper``: the installation's token pepper; cursors are signed with a key derived from it. ``public_url``: as
    askers see the service, for links. Its threads and background writers live as long as the application.
    """
    base = public_url.rstrip("/")
    app = web.Application(middlewares=[_answering(base), _accounting])
    document = json_body(openapi.document(settings, base, version("rosterd")))
    app.router.add_get("/teams", overview.teams)
    app.router.add_get("/meta", overview.meta)
    app.router.add_get("/freshness", overview.freshness)
    app.router.add_get("/datasets/{name}", datasets.rows)
    app.router.add_get("/errors/{kind}", overview.error_type)
    app.router.add_get("/openapi.json", openapi_endpoint(document))

    async def running(app: web.Application) -> AsyncIterator[None]:
        async with _parts(ledger, warehouse, settings, clock, pepper, base) as parts:
            app[PARTS] = parts
            yield

    app.cleanup_ctx.append(running)
    return app


@asynccontextmanager
async def _parts(
    ledger: Ledger,
    warehouse: Warehouse,
    settings: ApiSettings,
    clock: Callable[[], datetime],
    pepper: bytes,
    public_url: str,
) -> AsyncIterator[Parts]:
    """Everything with threads or tasks of its own; closed in the opposite order."""
    async with AsyncExitStack() as stack:
        limits = Limits(
            settings.query_memory,
            settings.query_threads,
            settings.queries_at_once,
            settings.queries_waiting,
            settings.query_time,
        )
        engine = DuckEngine(warehouse, limits)
        stack.push_async_callback(engine.close)
        yield Parts(
            ledger=ledger,
            engine=engine,
            settings=settings,
            clock=clock,
            pepper=pepper,
            public_url=public_url,
            trail=await stack.enter_async_context(Trail.running(ledger)),
            pins=await stack.enter_async_context(Pins.running(ledger, clock)),
            cursors=Cursors(pepper, settings.cursor_life),
            buckets=Buckets(settings.queries_per_minute),
            render=stack.enter_context(ThreadPoolExecutor(settings.query_threads, thread_name_prefix="render")),
        )


def openapi_body(settings: ApiSettings, public_url: str) -> bytes:
    """The OpenAPI document as JSON, for ``/openapi.json`` of the service."""
    return json_body(openapi.document(settings, public_url.rstrip("/"), version("rosterd")))


def openapi_endpoint(body: bytes) -> Callable[[web.Request], Awaitable[web.Response]]:
    """An endpoint that serves the document; needs no credential, since it holds nobody's data."""

    async def serve(request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json", charset="utf-8")

    return serve


def _answering(base: str) -> Middleware:
    """Every answer's headers, and the one shape of every error."""

    @web.middleware
    async def answer(request: web.Request, handler: Next) -> web.StreamResponse:
        try:
            response = await handler(request)
        except Exception as error:
            response = _problem(request, error, base)
        for name, value in (_HEADERS | door.limits(request)).items():
            response.headers.setdefault(name, value)
        if isinstance(response, web.Response) and (response.content_length or 0) >= _COMPRESS_FROM:
            response.enable_compression()
        return response

    return answer


@web.middleware
async def _accounting(request: web.Request, handler: Next) -> web.StreamResponse:
    """Every admitted request leaves a line in the access log, refused ones too (R12)."""
    try:
        response = await handler(request)
    except Exception as error:
        await door.account(request, _translated(error).status)
        raise
    await door.account(request, response.status)
    return response


def _problem(request: web.Request, error: Exception, base: str) -> web.Response:
    problem = _translated(error)
    if problem.kind == "internal":
        fault = secrets.token_hex(6)
        _log.error("event=request_failed fault=%s path=%s", fault, request.path, exc_info=error)
        problem = Problem("internal", f"a fault of ours, logged as {fault}")
    elif problem.kind == "unauthenticated":
        _log.info("event=request_refused path=%s cause=%s", request.path, getattr(error, "cause", ""))
    elif problem.status == 503:
        _log.warning("event=request_not_answered path=%s error=%r", request.path, str(error))
    body = json_body(problem.body(base))
    return web.Response(status=problem.status, body=body, content_type=MEDIA_TYPE, headers=problem.headers)


def _translated(error: Exception) -> Problem:
    if isinstance(error, RosterdError):
        return as_problem(error)
    if isinstance(error, web.HTTPException):
        kind = _HTTP_KINDS.get(error.status, "invalid-query" if error.status < 500 else "internal")
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return Problem(kind, error.reason, headers=headers)
    return Problem("internal", "a fault of ours")
