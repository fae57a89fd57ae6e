"""One thread per source for what blocks, so that nothing else waits for a directory.

Starts and ends its own thread only; knows nothing of directories.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Bench:
    """A single worker thread. ``interrupt`` must make the running work end soon (for example by closing its socket)."""

    def __init__(self, name: str, interrupt: Callable[[], None]) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._interrupt = interrupt

    async def run(
        self, work: Callable[[], T], *, deadline: float | None = None, overdue: Callable[[], None] | None = None
    ) -> T:
        """Run ``work`` in the thread; when the caller is cancelled the work is interrupted and waited for.

        ``overdue`` is called when ``deadline`` seconds have passed and the work still runs: it must make it end.
        """
        loop = asyncio.get_running_loop()
        task = self._executor.submit(work)
        future = asyncio.wrap_future(task)
        watch = None if deadline is None else loop.call_later(deadline, overdue or self._interrupt)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if not task.cancel():
                self._interrupt()
            await asyncio.wait({future})
            raise
        finally:
            if watch is not None:
                watch.cancel()

    async def close(self) -> None:
        """Interrupt what runs and end the thread."""
        self._interrupt()
        await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)
