"""The company's receiver of messages: daemons deliver to it by the product's own engine, and it knows what it was told.

It answers by chance: it takes a message, puts it off, or takes nothing at all for a while.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from connector.delivery.engine import Engine
from connector.delivery.mail.kinds import KINDS, RAISED
from connector.delivery.mail.target import TARGET
from connector.delivery.outcome import Later, Outcome, Sent, Shut
from connector.delivery.target import Pace, Parcel
from ledger.store.book import Reader
from ledger.store.deliveries import Batch, Digest
from rosterd import delivery
from rosterd.health import Metrics
from rosterd.service import Service
from tests.interleavings.script import LOOKS
from tests.interleavings.simulator import Simulator

_PUTS_OFF, _SHUT = 0.08, 0.04
_AFTER = timedelta(seconds=20)


@dataclass
class Receiver:
    """What it has. ``strict``: everybody lives and is told in time, so that nothing is told twice."""

    sim: Simulator
    strict: bool
    told: dict[tuple[str, str], str] = field(default_factory=dict)
    """(message, receiver) → the batch by which it was told."""
    newest: dict[tuple[str, str], tuple[datetime, str]] = field(default_factory=dict)
    """(subject, receiver) → the latest message about it that it has."""

    def takes(self, batch: Batch, receiver: str) -> None:
        """It has this; what must hold of every telling is looked at."""
        for one in batch.messages:
            before = self.told.get((one.id, receiver))
            if before is not None:
                if before != batch.id:
                    self.sim.fails(f"{batch.kind} of {one.subject} came again under another key")
                if self.strict and not self.sim.stood:
                    self.sim.fails(f"{batch.kind} of {one.subject} came twice, and nobody died")
                continue
            self.told[one.id, receiver] = batch.id
            place = (one.created_at, one.id)
            newest = self.newest.setdefault((one.subject, receiver), place)
            if place < newest:
                self.sim.fails(f"{batch.kind} of {one.subject} came behind a later message about the same")
            self.newest[one.subject, receiver] = max(place, newest)


@dataclass
class SimTarget:
    """How one process reaches the receiver."""

    receiver: Receiver
    name: str = TARGET
    kinds: frozenset[str] = RAISED
    digest: Digest = field(
        default_factory=lambda: Digest(
            frozenset(name for name, kind in KINDS.items() if kind.digest), timedelta(seconds=60)
        )
    )
    pace: Pace = field(default_factory=lambda: Pace(100_000, 2, timedelta(hours=48)))

    async def prepare(self, _reader: Reader, batch: Batch) -> list[Parcel]:
        """An invite goes to one person, everything else to two admins."""
        names = ("person",) if batch.kind == "invite.mail" else ("ada", "eve")
        return [Parcel(name, batch) for name in names]

    async def send(self, parcel: Parcel) -> Outcome:
        """Others go on before it is said, and before the answer is heard."""
        sim, batch = self.receiver.sim, parcel.content
        await sim.stop(f"tells {batch.kind} {sim.number(batch.id)} to {parcel.receiver}")
        chance = sim.chance().random()
        if chance < _SHUT:
            return Shut("it takes nothing", _AFTER)
        if chance < _SHUT + _PUTS_OFF:
            return Later("not now", _AFTER)
        self.receiver.takes(batch, parcel.receiver)
        await sim.stop(f"has told {batch.kind} {sim.number(batch.id)} to {parcel.receiver}")
        return Sent("taken")

    async def close(self) -> None:
        """Nothing is open."""


async def delivers(service: Service) -> None:
    """A daemon's deliveries, until it is killed."""
    await delivery.Delivery(service, Metrics()).run()


def stand_in(receiver: Receiver, patch: Any) -> None:
    """Every process reaches the receiver where it would send mail."""
    patch.setattr(delivery, "mail_target", lambda _service, _settings: SimTarget(receiver))
    patch.setitem(Engine.__init__.__kwdefaults__, "look_every", LOOKS)
    patch.setattr("connector.delivery.engine.random", receiver.sim.chance())
    patch.setattr("connector.delivery.waits.random", receiver.sim.chance())
