"""A target that answers as a test says, and writes down what it was given. It passes the contract of targets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from connector.delivery.outcome import Outcome, Sent
from connector.delivery.target import Pace, Parcel
from ledger.errors import NotFound
from ledger.store.book import Reader
from ledger.store.deliveries import Batch, Digest


@dataclass
class ScriptedTarget:
    """``answers``: (batch, receiver) → what it says; ``receivers``: of every batch; none: nobody is to be told."""

    name: str = "mail"
    kinds: frozenset[str] = frozenset({"invite.mail", "team.lifted", "plan.held"})
    digest: Digest = field(default_factory=Digest)
    pace: Pace = field(default_factory=lambda: Pace(100_000, 4, timedelta(hours=48)))
    receivers: tuple[str, ...] = ("one",)
    answers: Callable[[Batch, str], Outcome] = lambda batch, receiver: Sent("taken")
    seconds: float = 0.0
    given: list[tuple[str, str, tuple[str, ...]]] = field(default_factory=list)
    most_at_once: int = 0
    closed: bool = False
    _now: int = 0

    async def prepare(self, reader: Reader, batch: Batch) -> list[Parcel]:
        """One parcel a receiver."""
        if self.receivers == ("nobody",):
            raise NotFound("no admin has an address")
        return [Parcel(receiver, batch) for receiver in self.receivers]

    async def send(self, parcel: Parcel) -> Outcome:
        """Written down before it is answered."""
        batch = parcel.content
        self.given.append((batch.id, parcel.receiver, tuple(told.subject for told in batch.messages)))
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            await asyncio.sleep(self.seconds)
            return self.answers(batch, parcel.receiver)
        finally:
            self._now -= 1

    async def close(self) -> None:
        """Remembered."""
        self.closed = True
