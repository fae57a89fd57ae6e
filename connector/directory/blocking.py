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

    async def run(self, work: Callable[[], T]) -> T:
        """Run ``work`` in the thread; when the caller is cancelled the work is interrupted and waited for."""
        future = asyncio.get_running_loop().run_in_executor(self._executor, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self._interrupt()
            await asyncio.wait({future})
            raise

    async def close(self) -> None:
        """Interrupt what runs and end the thread."""
        self._interrupt()
        await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)
