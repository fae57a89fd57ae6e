"""Keeps the daemon's tasks at work: one that ends early is told, counted, and begun again after a pause that grows.

Decides nothing about what a task does. While one is down the process is not ready, so that a balancer and a person
learn of it from the outside.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ledger.errors import RosterdError
from rosterd.health import Metrics
from rosterd.logs import event

_log = logging.getLogger(__name__)
_SHORTEST, _LONGEST = 1.0, 60.0
_PROVED = 5.0
"""Seconds at work after which a task that was begun again is taken to be up."""


class Keeping:
    """The tasks of one daemon, by name."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()
        self._down: set[str] = set()
        self._ending = False

    @property
    def down(self) -> tuple[str, ...]:
        """The names of those that are not at work."""
        return tuple(sorted(self._down))

    def keep(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Do ``work``, which never ends by itself, until ``stop``."""
        self._begin(name, self._kept(name, work))

    def once(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Do ``work`` to its end; how it failed is told, and that is all."""
        self._begin(name, self._done(name, work))

    def let_end(self) -> None:
        """From now on a task may end by itself."""
        self._ending = True

    async def stop(self) -> None:
        """End them all."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, name: str, doing: Awaitable[None]) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(doing)
        task.set_name(name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _kept(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        steady, pause = asyncio.get_running_loop().time, _SHORTEST
        while True:
            began = steady()
            up = asyncio.get_running_loop().call_later(_PROVED, self._down.discard, name)
            try:
                await work()
                if self._ending:
                    return
                self._tell(name, None, again_in=pause)
            except Exception as error:  # whatever it is: this is where it ends
                self._tell(name, error, again_in=pause)
            finally:
                up.cancel()
            self._down.add(name)
            if steady() - began > _LONGEST:
                pause = _SHORTEST
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST)

    async def _done(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
        except RosterdError:
            return  # told where it was raised
        except Exception as error:
            self._tell(name, error)

    def _tell(self, name: str, error: Exception | None, **more: float) -> None:
        self._metrics.task_ends.labels(name).inc()
        why = repr(error) if error is not None else "it ended by itself"
        event(_log, "task.died", level=logging.ERROR, task=name, error=why, **more)
        if error is not None:
            _log.debug("task.died", exc_info=error)
