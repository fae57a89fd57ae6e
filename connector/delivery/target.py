"""What the engine asks of everything that messages are delivered to: mail, later Keycloak, SCIM, webhooks (L1)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from connector.delivery.outcome import Outcome
from ledger.store.book import Reader
from ledger.store.deliveries import Batch, Digest


@dataclass(frozen=True, slots=True)
class Parcel:
    """A batch made ready for one receiver. ``receiver``: how the target tells receivers apart (an address, the name of
    an endpoint), kept with the delivery; ``content``: what only the target understands."""

    receiver: str
    content: Any


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a target may be told things: parcels a minute, and at a time; how long one is tried again."""

    per_minute: int
    at_once: int
    retry_for: timedelta


class Target(Protocol):
    """Somewhere that messages go. Every try of a parcel repeats ``Batch.id`` to its receiver as idempotency key."""

    @property
    def name(self) -> str:
        """How deliveries, commands and metrics call it."""

    @property
    def kinds(self) -> frozenset[str]:
        """The messages that it takes."""

    @property
    def digest(self) -> Digest:
        """The kinds that are told together."""

    @property
    def pace(self) -> Pace:
        """How fast it may be told things."""

    async def prepare(self, reader: Reader, batch: Batch) -> list[Parcel]:
        """The batch for each of its receivers, as the book is now. Raises ``NotFound`` when there is nobody to tell,
        which makes a dead letter, and another ``RosterdError`` for what somebody can mend: then it is tried again."""

    async def send(self, parcel: Parcel) -> Outcome:
        """One try; never raises for what the receiver or the way to it does."""

    async def close(self) -> None:
        """Let connections go; what is under way has ended."""
