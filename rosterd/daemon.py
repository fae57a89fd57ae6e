"""``rosterd serve``: HTTP faces, schedule and workers in one process; drains on SIGTERM, reloads on SIGHUP.

Connects what the rooms provide; decides nothing.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import suppress
from typing import Any

from aiohttp import web

from ledger.errors import BadInput, ManyErrors, RosterdError
from rosterd import faces
from rosterd.health import Metrics
from rosterd.keeping import Keeping
from rosterd.loading import load
from rosterd.logs import event
from rosterd.programs import Only
from rosterd.schedule import Schedule, watch_clock
from rosterd.service import Service
from rosterd.settings import Settings
from rosterd.supervisor import Supervisor
from rosterd.unreadable import Runner

_log = logging.getLogger(__name__)


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

    async def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        await self.service.register()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._keeping.once("reload", self.reload))
        app = await faces.make(self, connector=self._only is not Only.API, api=self._only is not Only.CONNECTOR)
        drain = self.service.settings.installation.server.drain
        runner = Runner(app, access_log=None, shutdown_timeout=drain.total_seconds(), handle_signals=False)
        await runner.setup()
        try:
            await self._listen(runner)
            self._keeping.keep("loop lag", self.metrics.watch_loop)
            if self._only is not Only.API:
                self._schedule.start()
                self._keeping.keep("clock steps", self._watch_clock)
                self._keeping.keep("schedule", self._schedule.watch)
                self._keeping.keep("supervisor", self._supervisor.run)
            await self._stop.wait()
        finally:
            await self._drain(runner)

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

    async def reload(self) -> None:
        """Take over changed files; raises (and logs) what is wrong with them, and then the old ones stay in force."""
        async with self._reloading:
            before = self.service.settings
            try:
                after = await asyncio.to_thread(load, before.file)
                _refuse_fixed(before, after)
                await self.service.register(after)  # they stand before the old ones go
            except RosterdError as error:
                self.metrics.reloads.labels("refused").inc()
                for fault in error.faults if isinstance(error, ManyErrors) else (error,):
                    event(_log, "reload.fault", level=logging.ERROR, where=fault.where, what=fault.what)
                event(_log, "reload.refused", level=logging.ERROR, why="the configuration in force is kept")
                raise
            self.service.settings = after
            if self._only is not Only.API:
                self._schedule.reload()
            self.metrics.reloads.labels("done").inc()
            event(_log, "reload.done", organizations=list(after.customers))

    async def _listen(self, runner: web.AppRunner) -> None:
        host, port = self.service.settings.installation.server.address
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise BadInput(
                f"cannot listen on {host}:{port}: {error.strerror or error}",
                where="server.listen",
                next_step="stop what listens there, or choose another port",
            ) from error
        for address in runner.addresses:
            event(_log, "serve.listening", address=f"{address[0]}:{address[1]}", only=self._only.value)

    async def _drain(self, runner: web.AppRunner) -> None:
        self._draining = True
        self._keeping.let_end()
        event(_log, "serve.draining", workers=self._supervisor.running)
        self._schedule.stop()
        drain = self.service.settings.installation.server.drain
        await asyncio.gather(self._supervisor.stop(drain), runner.cleanup())
        await self._keeping.stop()
        event(_log, "serve.stopped")

    async def _watch_clock(self) -> None:
        await watch_clock(self.service.clock, self.metrics, self._schedule.reload)


def _refuse_fixed(before: Settings, after: Settings) -> None:
    """Some keys only count at start; changing them under a running daemon would be a lie."""
    old, new = before.installation, after.installation
    pairs = {
        "server.listen": (old.server.listen, new.server.listen),
        "database.url": (old.database.url, new.database.url),
        "storage.warehouse": (old.storage.warehouse, new.storage.warehouse),
    }
    changed = [key for key, (first, second) in pairs.items() if first != second]
    if changed:
        raise BadInput(f"{', '.join(changed)} cannot change while running", next_step="restart the daemon")


async def serve(service: Service, only: Only) -> None:
    """Run the daemon; returns when it was told to stop and has drained."""
    daemon = Daemon(service, only)
    with suppress(asyncio.CancelledError):
        await daemon.run()
