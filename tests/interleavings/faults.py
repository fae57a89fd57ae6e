"""What was wrong once, put back: each takes a mend out again, and the simulator has to find it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import false

from connector.delivery import engine
from connector.delivery.engine import Engine
from connector.reconcile.plan.order import Order
from connector.sso.gate import evidence
from ledger.book_time import HostTime, LastWrite
from ledger.errors import Retryable, Stale
from ledger.store import book_times, deliveries, fencing
from ledger.store.deliveries import DeliveryState
from ledger.store.engine import Store
from rosterd.supervisor import Supervisor


def unfenced(patch: Any) -> None:
    """The lease is taken and not handed to the transaction."""

    async def held(*_args: Any) -> None:
        return None

    patch.setattr(fencing, "hold", held)


def unsettled(patch: Any) -> None:
    """A job's outcome is written after the transaction that did it, by who may be dead by then."""

    async def settled(*_args: Any) -> None:
        return None

    patch.setattr(fencing, "settle", settled)


def asked_at(patch: Any) -> None:
    """The instant of a transaction is when its caller looked at the clock."""

    async def taken(self: Store, _connection: Any, book: Any, _accept: bool) -> None:
        await book_times.keep(book, self.times, LastWrite(book.at, HostTime(book.at)))

    patch.setattr(Store, "_take_instant", taken)


def busy_at_finish(patch: Any) -> None:
    """Finishing a job that meets a busy ledger loses the outcome, which nothing else has told."""
    unsettled(patch)

    async def settle(self: Supervisor, job: Any, answer: dict[str, Any], *, patient: bool = True) -> None:
        try:
            self._tell(job, answer, await self._write(job, answer))
        except (Stale, Retryable):
            return

    patch.setattr(Supervisor, "_settle", settle)


def lost_attempts(patch: Any) -> None:
    """A job whose attempt was lost in this process is left running."""

    def dead(self: Supervisor, running: Any) -> list[Any]:
        return self._watch.dead([job for job in running if job.holder != self._holder], 0.0)

    patch.setattr(Supervisor, "_dead", dead)


def clock_behind(patch: Any) -> None:
    """The gate is decided as of when a run looked at the clock: what came since is in its future."""

    async def asked(_reader: Any, now: datetime) -> datetime:
        return now

    patch.setattr(evidence, "present", asked)
    patch.setattr(Order, "inside", lambda self, _at: self)


def skewed_requeue(patch: Any) -> None:
    """A job is dead whose last sign of life is far from what this host's clock shows."""

    def dead(self: Supervisor, running: Any) -> list[Any]:
        now = self._service.clock()
        return [job for job in running if abs(now - job.heartbeat_at) > self._rules.silence]

    patch.setattr(Supervisor, "_dead", dead)


def unheld(patch: Any) -> None:
    """What one daemon has in hand, the other takes too."""
    patch.setattr(engine, "_HOLD", timedelta(0))


def unordered(patch: Any) -> None:
    """A message does not wait for an earlier one about the same."""

    async def nobody(*_args: Any) -> None:
        return None

    patch.setattr(deliveries._Taking, "blocked", lambda _self: false())
    patch.setattr(deliveries._Taking, "_behind", nobody)


def noted_before(patch: Any) -> None:
    """That a message was told is noted before it is told."""

    async def send(self: Engine, batch: Any, parcels: Any) -> None:
        await self._settle(batch, DeliveryState.SENT, "")
        for parcel in parcels:
            await self._target.send(parcel)

    patch.setattr(Engine, "_send", send)


FAULTS: dict[str, Callable[[Any], None]] = {
    made.__name__: made
    for made in (
        unfenced,
        unsettled,
        asked_at,
        busy_at_finish,
        lost_attempts,
        clock_behind,
        skewed_requeue,
        unheld,
        unordered,
        noted_before,
    )
}
HOSTS = {"skewed_requeue"}
"""The faults that need hosts whose clocks differ: they are looked for on PostgreSQL."""
FOUND = {
    "unfenced": 195,
    "unsettled": 2,
    "asked_at": 94,
    "busy_at_finish": 2,
    "lost_attempts": 20,
    "clock_behind": 548,
    "skewed_requeue": 62,
    "unheld": 4,
    "unordered": 145,
    "noted_before": 11,
}
"""Fault → the first seed that finds it; ``python -m benchmarks.interleavings --faults`` looks for them again."""
