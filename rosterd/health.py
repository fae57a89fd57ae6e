"""``/health/live``, ``/health/ready`` and ``/metrics``: whether the daemon lives, can serve, and what it did.

Reads; decides nothing. Names no person and no organization in a label but its id.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ledger.errors import RosterdError
from ledger.store import runs
from rosterd.service import Service

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_LAG_EVERY = 0.1


class Metrics:
    """Everything ``/metrics`` shows, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "rosterd_requests_total", "HTTP requests answered.", ["face", "status"], registry=self.registry
        )
        self.seconds = Histogram("rosterd_request_seconds", "Time to answer.", ["face"], registry=self.registry)
        self.jobs = Counter("rosterd_jobs_total", "Jobs ended.", ["kind", "outcome"], registry=self.registry)
        self.running = Gauge("rosterd_jobs_running", "Worker processes at work.", registry=self.registry)
        self.reloads = Counter("rosterd_reloads_total", "Configuration reloads.", ["outcome"], registry=self.registry)
        self.clock_steps = Counter(
            "rosterd_clock_steps_total", "Steps of the wall clock.", ["direction"], registry=self.registry
        )
        self.task_ends = Counter(
            "rosterd_task_ends_total", "Tasks of the daemon that ended early.", ["task"], registry=self.registry
        )
        self.loop_lag = Gauge("rosterd_loop_lag_seconds", "How late the event loop woke up.", registry=self.registry)
        self.held = Gauge(
            "rosterd_held_changes", "Harmful changes that wait for approval.", ["organization"], registry=self.registry
        )
        self.last_complete = Gauge(
            "rosterd_last_complete_reading_timestamp_seconds",
            "When a scope was last read completely; 0 when never.",
            ["organization", "source", "scope"],
            registry=self.registry,
        )
        self.drift = Gauge(
            "rosterd_reading_drift_entries",
            "Entries that the last whole reading found changed and the directory's changes had not told.",
            ["organization", "source"],
            registry=self.registry,
        )

    async def refresh(self, service: Service) -> None:
        """Read what lives in the ledger: held changes, complete readings, drift."""
        self.held.clear()
        self.last_complete.clear()
        self.drift.clear()
        for name in service.settings.customers:
            async with service.ledger.read(name) as reader:
                held = await runs.held_sets(reader, ("open",))
                scopes = await runs.scopes(reader)
            self.held.labels(name).set(sum(len(item.changes) for item in held))
            for source, scope, _outcome, _reason, _read, complete_at, entries in scopes:
                if scope == "drift":
                    self.drift.labels(name, source).set(entries)
                    continue
                self.last_complete.labels(name, source, scope).set(complete_at.timestamp() if complete_at else 0)

    async def watch_loop(self) -> None:
        """For ever: how late this loop wakes up."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(_LAG_EVERY)
            self.loop_lag.set(max(0.0, time.monotonic() - before - _LAG_EVERY))


def face_of(path: str) -> str:
    """The first part of a path, which is all a metric label may hold."""
    first = path.split("/", 2)[1] if path.startswith("/") else ""
    return first if first in {"v1", "odata", "ingest", "scim", "sso", "admin", "health", "metrics"} else "other"


def counting(metrics: Metrics) -> Middleware:
    """A middleware that counts and times every request."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        face, status, began = face_of(request.path), 500, time.monotonic()
        try:
            answer = await handler(request)
            status = answer.status
            return answer
        except web.HTTPException as error:
            status = error.status
            raise
        finally:
            metrics.requests.labels(face, str(status)).inc()
            metrics.seconds.labels(face).observe(time.monotonic() - began)

    return middleware


def routes(
    service: Service, metrics: Metrics, *, draining: Callable[[], bool], down: Callable[[], tuple[str, ...]]
) -> list[web.RouteDef]:
    """The three routes. ``draining``: true from SIGTERM on, so that a balancer sends nobody here any more; ``down``:
    the tasks of the daemon that are not at work."""

    async def live(_request: web.Request) -> web.Response:
        return web.json_response({"status": "live"})

    async def ready(_request: web.Request) -> web.Response:
        if draining():
            return web.json_response({"status": "draining"}, status=503)
        if tasks := down():
            why = f"{', '.join(tasks)}: not at work, and begun again"
            return web.json_response({"status": "unready", "why": why}, status=503)
        try:
            async with asyncio.timeout(5), service.ledger.read("") as reader:
                await runs.latest(reader, 1)
                await service.ledger.check_clock(*service.settings.customers)
        except (RosterdError, TimeoutError) as error:
            why = error.what if isinstance(error, RosterdError) else "the ledger does not answer"
            return web.json_response({"status": "unready", "why": why}, status=503)
        return web.json_response({"status": "ready", "organizations": len(service.settings.customers)})

    async def show(_request: web.Request) -> web.Response:
        with suppress(RosterdError):  # the rest of the figures is still true
            await metrics.refresh(service)
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [web.get("/health/live", live), web.get("/health/ready", ready), web.get("/metrics", show)]
