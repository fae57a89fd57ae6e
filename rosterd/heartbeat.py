"""A sign of life in the log while directories are read, where no terminal shows a progress bar (D4).

Says one ``directory.reading`` line per directory and interval, also when the directory says nothing: a reading that
waits and one that works can be told apart. Decides nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from rosterd.logs import event

if TYPE_CHECKING:  # reading loads most of a run; the words of its progress need none of it
    from connector.reconcile.reading.whole import Progress

INTERVAL = timedelta(seconds=10)
_log = logging.getLogger(__name__)


class Heartbeat:
    """How far each directory was read; ``step`` is the progress callback, from any thread."""

    def __init__(self, organization: str) -> None:
        self._organization = organization
        self._at: dict[str, tuple[int, int, int]] = {}
        self._beats = 0

    def step(self, stage: str, done: int, total: int, pages: int = 0, scopes: int = 0) -> None:
        """Remember the latest numbers; logs nothing itself."""
        self._at[stage] = (done, pages, scopes)

    def beat(self, interval: timedelta) -> None:
        """One line per directory that has begun, or one for the organization while none has."""
        self._beats += 1
        seconds = int(self._beats * interval.total_seconds())
        for stage, (entries, pages, scopes) in sorted(self._at.items()) or [("", (0, 0, 0))]:
            event(
                _log,
                "directory.reading",
                organization=self._organization,
                directory=stage.removeprefix("reading "),
                entries=entries,
                pages=pages,
                scopes=scopes,
                seconds=seconds,
            )


@asynccontextmanager
async def heartbeat(organization: str, *, interval: timedelta = INTERVAL) -> AsyncIterator[Progress]:
    """The progress callback of one run; while the block runs, every ``interval`` is a line."""
    beating = Heartbeat(organization)

    async def beat() -> None:
        while True:
            await asyncio.sleep(interval.total_seconds())
            beating.beat(interval)

    task = asyncio.create_task(beat(), name=f"heartbeat of {organization}")
    try:
        yield beating.step
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
