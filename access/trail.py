"""Who read what, for which purpose (R12): written behind the answers, a second later at most, in batches.

A long transaction of the connector must not stall a report, so reads only queue their line; ``kept`` waits until it is
in the ledger (reads of named people do). When the queue is full because the ledger cannot be written, reads stop:
nothing is read that could not be accounted for. Prohibition: drops no line, and forgets none at ``close``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from ledger.errors import Unavailable
from ledger.store import tokens as rows
from ledger.store.engine import Ledger
from ledger.store.tokens import Access

_log = logging.getLogger(__name__)
_FLUSH_SECONDS = 1.0
_RETRY_SECONDS = 5.0
_MOST = 10_000


class Trail:
    """The queue before the access log and ``last_used_at``. Use ``async with Trail.running(ledger) as trail``."""

    def __init__(self, ledger: Ledger, *, most: int = _MOST) -> None:
        self._ledger = ledger
        self._most = most
        self._lines: list[Access] = []
        self._used: dict[str, datetime] = {}
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._lock = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def running(cls, ledger: Ledger) -> AsyncIterator[Trail]:
        """A trail whose queue is written by a task of its own, and once more at the end."""
        trail = cls(ledger)
        task = asyncio.create_task(trail._run(), name="access log writer")
        try:
            yield trail
        finally:
            trail._stop.set()
            trail._wake.set()
            await task  # never cancelled: a cancelled SQLite transaction would keep its lock
            await trail.flush()

    def used(self, token_id: str, at: datetime, last: datetime | None, every: timedelta) -> None:
        """Note that a token was used, unless that was noted less than ``every`` ago."""
        known = max((moment for moment in (last, self._used.get(token_id)) if moment is not None), default=None)
        if known is None or at - known >= every:
            self._used[token_id] = at
            self._wake.set()

    def check(self) -> None:
        """Raise ``Unavailable`` when no further line could be kept; ask before reading."""
        if len(self._lines) >= self._most:
            raise Unavailable(
                "the access log cannot be written, so nothing is read (R12)",
                where="access_log",
                next_step="ask again in a minute; operators: rosterd check --live",
            )

    def add(self, line: Access) -> None:
        """Queue one line."""
        self._lines.append(line)
        self._wake.set()

    async def kept(self, line: Access) -> None:
        """Write one line (and what is queued) before going on."""
        self._lines.append(line)
        await self.flush()

    async def flush(self) -> None:
        """Write what is queued, in one transaction; on failure the queue stays as it was."""
        async with self._lock:
            lines, used = self._lines[:], dict(self._used)
            if not lines and not used:
                return
            async with self._ledger.unscoped_write() as connection:
                await rows.log(connection, lines)
                await rows.touch(connection, used)
            del self._lines[: len(lines)]
            for token_id, at in used.items():
                if self._used.get(token_id) == at:
                    del self._used[token_id]

    async def _run(self) -> None:
        while not self._stop.is_set():
            await self._wake.wait()
            self._wake.clear()
            await self._pause(_FLUSH_SECONDS)
            try:
                await self.flush()
            except Exception as error:  # whatever it is: what waits is written later
                _log.warning("event=access_log_not_written waiting=%d error=%r", len(self._lines), str(error))
                self._wake.set()
                await self._pause(_RETRY_SECONDS)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not beyond the end."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
