"""``rosterd serve``: HTTP faces, schedule and workers in one process; drains on SIGTERM, reloads on SIGHUP.

Connects what the rooms provide; decides nothing.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from contextlib import suppress
from typing import Any

from aiohttp import web

from ledger.errors import ManyErrors, RosterdError, Unavailable
from rosterd import faces
from rosterd.checks.addresses import public_address
from rosterd.checks.book import own_addresses
from rosterd.delivery import Delivery
from rosterd.health import Metrics
from rosterd.keeping import Keeping
from rosterd.logs import event
from rosterd.programs import Only
from rosterd.reloading import reread
from rosterd.schedule import Schedule, watch_clock
from rosterd.service import Service
from rosterd.supervisor import Supervisor
from rosterd.wire.listener import Listener

_log = logging.getLogger(__name__)
_MOST_OPERATORS = 64  # connections to the operator's listener at a time


class Daemon:
    """One running installation."""

    def __init__(self, service: Service, only: Only = Only.BOTH) -> None:
        self.service = service
        self.metrics = Metrics()
        self._only = only
        self._stop = asyncio.Event()
        self._draining = False
        self._schedule = Schedule(service)
        self._supervisor = Supervisor(service, self.metrics)
        self._reloading = asyncio.Lock()
        self._keeping = Keeping(self.metrics)
        self._delivery = Delivery(service, self.metrics)
        self._listeners: list[Listener] = []

    async def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        await self.service.register()
        if self._only is not Only.API:
            await self._tell_moved()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._keeping.once("reload", self.reload))
        app = await faces.make(self, connector=self._only is not Only.API, api=self._only is not Only.CONNECTOR)
        try:
            gc.collect()
            gc.freeze()  # what was loaded stays: looking through it takes a fifth of a second, again and again
            await self._listen(app)
            self._keeping.keep("loop lag", self.metrics.watch_loop)
            if self._only is not Only.API:
                self._schedule.start()
                self._keeping.keep("clock steps", self._watch_clock)
                self._keeping.keep("schedule", self._schedule.watch)
                self._keeping.keep("supervisor", self._supervisor.run)
                self._keeping.keep("delivery", self._delivery.run)
            await self._stop.wait()
        finally:
            await self._drain()
            gc.unfreeze()  # or libraries complain at the end of what was never let go

    @property
    def draining(self) -> bool:
        """From SIGTERM on."""
        return self._draining

    @property
    def down(self) -> tuple[str, ...]:
        """Its tasks that are not at work."""
        return self._keeping.down

    def status(self) -> dict[str, Any]:
        """What ``GET /admin/v1/status`` shows."""
        return {
            "state": "draining" if self._draining else "running",
            "organizations": list(self.service.settings.customers),
            "workers": self._supervisor.running,
        }

    async def reload(self, organization: str = "") -> None:
        """Take over changed files, each that is good. A broken one is logged, and its settings stay in force; raises
        ``ManyErrors`` with what is wrong with the file of ``organization``, and nothing of the others."""
        async with self._reloading:
            before = self.service.settings
            try:
                found = await asyncio.to_thread(reread, before)
                await self.service.register(found.settings)  # they stand before the old ones go
            except RosterdError as error:
                self.metrics.reloads.labels("refused").inc()
                event(_log, "reload.refused", level=logging.ERROR, where=error.where, why=error.what)
                raise Unavailable("nothing was taken", next_step="the operator's log says why") from error
            for kept in found.kept:
                self.metrics.reloads.labels("refused").inc()
                for fault in kept.faults:
                    event(_log, "reload.fault", level=logging.ERROR, where=fault.where, what=fault.what)
                why = "its settings in force are kept" if kept.organization or kept.file == before.file else "not taken"
                event(
                    _log, "reload.refused", level=logging.ERROR, file=kept.file, organization=kept.organization, why=why
                )
            self.service.settings = found.settings
            if self._only is not Only.API:
                self._schedule.reload()
                self._delivery.reload()
            self.metrics.reloads.labels("done").inc()
            event(_log, "reload.done", organizations=list(found.settings.customers))
        if organization and (faults := found.faults_of(organization)):
            raise ManyErrors(faults)

    async def _listen(self, app: web.Application) -> None:
        """The operator's listener first: once the public one is told, everything answers."""
        server = self.service.settings.installation.server
        drain = server.drain.total_seconds()
        own = faces.make_operators(self)
        self._listeners.append(
            await Listener.open(
                own, server.operator_address, key="server.operator_listen", drain=drain, most=_MOST_OPERATORS
            )
        )
        self._listeners.append(await Listener.open(app, server.address, key="server.listen", drain=drain))
        for listener, verb in zip(self._listeners, ("serve.operator_listening", "serve.listening"), strict=True):
            for address in listener.addresses:
                event(_log, verb, address=address, only=self._only.value)

    async def _tell_moved(self) -> None:
        """Loudly, and no more: who moved the address on purpose changes the providers while everything else goes on."""
        async for line in own_addresses(self.service):
            if not line.ok:
                event(_log, "serve.address_moved", level=logging.ERROR, what=line.what, fix=line.fix)
        line = public_address(self.service.settings)
        if not line.ok:
            event(_log, "serve.public_url", level=logging.ERROR, what=line.what, fix=line.fix)

    async def _drain(self) -> None:
        self._draining = True
        self._keeping.let_end()
        event(_log, "serve.draining", workers=self._supervisor.running)
        await self._schedule.stop()
        drain = self.service.settings.installation.server.drain
        await asyncio.gather(
            self._supervisor.stop(drain), self._delivery.stop(drain), *(item.close() for item in self._listeners)
        )
        await self._keeping.stop()
        event(_log, "serve.stopped")

    async def _watch_clock(self) -> None:
        await watch_clock(self.service.clock, self.metrics, self._schedule.reload)


async def serve(service: Service, only: Only) -> None:
    """Run the daemon; returns when it was told to stop and has drained."""
    daemon = Daemon(service, only)
    with suppress(asyncio.CancelledError):
        await daemon.run()
