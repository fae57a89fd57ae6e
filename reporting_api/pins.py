"""Keeps publications that somebody still pages through from being expired (design.md "Publication").

Written behind the answers like the access log, and at most once an hour for each publication.
Prohibition: never shortens a pin.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from ledger.errors import NotFound
from ledger.jobs import Unleased
from ledger.store import publications
from ledger.store.engine import Ledger

_log = logging.getLogger(__name__)
_SLACK = timedelta(hours=1)
_RETRY_SECONDS = 5.0
HOLDER = "cursors"


class Pins:
    """``hold`` from a request, written by a task of its own. Use ``async with Pins.running(…) as pins``."""

    def __init__(self, ledger: Ledger, clock: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._held: dict[tuple[str, str], datetime] = {}
        self._due: dict[tuple[str, str], datetime] = {}
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def running(cls, ledger: Ledger, clock: Callable[[], datetime]) -> AsyncIterator[Pins]:
        """Pins whose writing goes on in the background, and once more at the end."""
        pins = cls(ledger, clock)
        task = asyncio.create_task(pins._run(), name="publication pins writer")
        try:
            yield pins
        finally:
            pins._stop.set()
            pins._wake.set()
            await task  # never cancelled: a cancelled SQLite transaction would keep its lock
            await pins.flush()

    def hold(self, organization: str, publication_id: str, until: datetime) -> None:
        """Keep a publication at least until ``until``."""
        key = (organization, publication_id)
        if self._held.get(key, until - timedelta(microseconds=1)) < until:
            self._held[key] = self._due[key] = until + _SLACK
            self._wake.set()

    async def flush(self) -> None:
        """Write what is due."""
        now = self._clock()
        for key, until in list(self._due.items()):
            organization, publication_id = key
            try:
                async with self._ledger.write(organization, Unleased.PUBLICATION, at=now) as book:
                    await publications.pin(book, publication_id, holder=HOLDER, until=until)
            except NotFound:
                _log.warning("event=pin_came_too_late publication=%s", publication_id)
            if self._due.get(key) == until:
                del self._due[key]
        self._held = {key: until for key, until in self._held.items() if until > now}

    async def _run(self) -> None:
        while not self._stop.is_set():
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.flush()
            except Exception as error:  # whatever it is: what waits is written later
                _log.warning("event=pins_not_written waiting=%d error=%r", len(self._due), str(error))
                self._wake.set()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), _RETRY_SECONDS)
