"""``/health/live``, ``/health/ready`` and ``/metrics``: whether the daemon lives, can serve, and what it did.

Reads; decides nothing. Labels are ids of organizations, directories and mappings: never a name, a DN or a person.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from connector.reconcile.plan.settings import MappingSettings
from ledger.errors import RosterdError
from ledger.store import deliveries, runs
from rosterd.service import Service

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_OPEN = ("waiting", "kept", "dead")
_LAG_EVERY, _READY_FOR = 0.1, 1.0  # seconds


class DeliveryFigures:
    """What became of messages to be told elsewhere."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.ends = Counter(
            "rosterd_deliveries_total",
            "Deliveries that ended: sent, obsolete, dead.",
            ["target", "kind", "state"],
            registry=registry,
        )
        self.tries = Counter(
            "rosterd_delivery_tries_total", "Tries by what came of them.", ["target", "outcome"], registry=registry
        )
        self.shut_targets = Gauge(
            "rosterd_delivery_target_shut", "1 while a target takes nothing.", ["target"], registry=registry
        )
        self.messages = Gauge(
            "rosterd_outbox_messages",
            "Messages that wait, are kept until released, or are dead letters.",
            ["organization", "target", "state"],
            registry=registry,
        )

    def settled(self, target: str, kind: str, state: str) -> None:
        """A batch ended so."""
        self.ends.labels(target, kind, state).inc()

    def tried(self, target: str, outcome: str) -> None:
        """A parcel was tried."""
        self.tries.labels(target, outcome).inc()

    def shut(self, target: str, *, is_shut: bool) -> None:
        """The target takes nothing at present, or does again."""
        self.shut_targets.labels(target).set(is_shut)


class Metrics:
    """Everything ``/metrics`` shows, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counted: dict[str, int] = {}  # digest → changes, of the held sets that were open at the last scrape
        self.requests = Counter(
            "rosterd_requests_total", "HTTP requests answered.", ["face", "status"], registry=self.registry
        )
        self.seconds = Histogram("rosterd_request_seconds", "Time to answer.", ["face"], registry=self.registry)
        self.jobs = Counter("rosterd_jobs_total", "Jobs ended.", ["kind", "outcome"], registry=self.registry)
        self.running = Gauge("rosterd_jobs_running", "Worker processes at work.", registry=self.registry)
        self.reloads = Counter("rosterd_reloads_total", "Configuration reloads.", ["outcome"], registry=self.registry)
        for outcome in ("done", "refused"):
            self.reloads.labels(outcome)
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
            "When people, or the groups of a mapping, were last read completely; 0 when never.",
            ["organization", "source", "scope"],
            registry=self.registry,
        )
        self.deliveries = DeliveryFigures(self.registry)
        self.drift = Gauge(
            "rosterd_reading_drift_entries",
            "Entries that the last whole reading found changed and the directory's changes had not told.",
            ["organization", "source"],
            registry=self.registry,
        )

    def reloaded(self, outcome: str) -> int:
        """How often the files were read again and taken (``done``), or one of them was refused."""
        return int(self.registry.get_sample_value("rosterd_reloads_total", {"outcome": outcome}) or 0)

    async def refresh(self, service: Service) -> None:
        """Read what lives in the ledger: held changes, complete readings, drift, the outbox."""
        self.deliveries.messages.clear()
        self.held.clear()
        self.last_complete.clear()
        self.drift.clear()
        counted: dict[str, int] = {}
        for name, customer in service.settings.customers.items():
            async with service.ledger.read(name) as reader:
                held = await runs.held_counts(reader, self._counted)
                scopes = await runs.scopes(reader)
                messages = await deliveries.counts(reader)
            for (target, _, state), number in messages.items():
                if state.value in _OPEN:
                    self.deliveries.messages.labels(name, target, state.value).inc(number)
            counted |= held
            self.held.labels(name).set(sum(held.values()))
            shown = _shown_scopes(customer.settings.mappings)
            oldest: dict[tuple[str, str], float] = {}
            for source, scope, _outcome, _reason, _read, complete_at, entries in scopes:
                if scope == "drift":
                    self.drift.labels(name, source).set(entries)
                at = complete_at.timestamp() if complete_at else 0.0
                for label in ("people",) if scope.startswith("people:") else shown.get((source, scope), ()):
                    oldest[source, label] = min(at, oldest.get((source, label), at))
            for (source, label), at in oldest.items():
                self.last_complete.labels(name, source, label).set(at)
        self._counted = counted

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
    service: Service, *, draining: Callable[[], bool], down: Callable[[], tuple[str, ...]]
) -> list[web.RouteDef]:
    """What the public may know: 200 or 503; the ledger is asked once a second at most, however many ask. ``draining``:
    true from SIGTERM on, so that a balancer turns away; ``down``: the tasks of the daemon that are not at work."""

    async def live(_request: web.Request) -> web.Response:
        return web.json_response({"status": "live"})

    asking = asyncio.Lock()
    looked: tuple[float, dict[str, Any]] = (-_READY_FOR, {})

    async def ready(_request: web.Request) -> web.Response:
        nonlocal looked
        async with asking:
            if draining() or down() or time.monotonic() - looked[0] >= _READY_FOR:
                looked = time.monotonic(), await _readiness(service, draining(), down())
            found = looked[1]
        return web.json_response({"status": found["status"]}, status=200 if found["status"] == "ready" else 503)

    return [web.get("/health/live", live), web.get("/health/ready", ready)]


def operators_routes(
    service: Service, metrics: Metrics, *, draining: Callable[[], bool], down: Callable[[], tuple[str, ...]]
) -> list[web.RouteDef]:
    """What the operator may know beside: why it is not ready, and ``/metrics``."""

    async def ready(_request: web.Request) -> web.Response:
        found = await _readiness(service, draining(), down())
        # by which a command sees that its file is not the one that the daemon goes by
        settings = service.settings
        found |= {
            "pid": os.getpid(),
            "file": str(settings.file.absolute()),
            "files": {name: customer.mark for name, customer in settings.customers.items()},
            "reloads": metrics.reloaded("done"),
            "refused": metrics.reloaded("refused"),
        }
        return web.json_response(found, status=200 if found["status"] == "ready" else 503)

    async def show(_request: web.Request) -> web.Response:
        with suppress(RosterdError):  # the rest of the figures is still true
            await metrics.refresh(service)
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [web.get("/health/ready", ready), web.get("/metrics", show)]


async def _readiness(service: Service, draining: bool, down: tuple[str, ...]) -> dict[str, Any]:
    if draining:
        return {"status": "draining"}
    if down:
        return {"status": "unready", "why": f"{', '.join(down)}: not at work, and begun again"}
    try:
        async with asyncio.timeout(5), service.ledger.read("") as reader:
            await runs.latest(reader, 1)
            await service.ledger.check_clock(*service.settings.customers)
    except (RosterdError, TimeoutError) as error:
        return {"status": "unready", "why": getattr(error, "what", "the ledger does not answer")}
    return {"status": "ready", "organizations": len(service.settings.customers)}


def _shown_scopes(mappings: Iterable[MappingSettings]) -> dict[tuple[str, str], list[str]]:
    """Directory and scope of each group → the mappings that read it, as labels."""
    found: dict[tuple[str, str], list[str]] = {}
    for item in mappings:
        for group in filter(None, (item.group, *item.exclude_groups)):
            found.setdefault((item.directory, f"group:{group}"), []).append(f"mapping:{item.id}")
    return found
