"""Carries what waits to one target: claims, checks that it is still true, sends, notes what became of it (L1, L2).

At least once: what was accepted and not noted before the process ended is sent again, with the same idempotency key.
Prohibition: knows nothing of mail; what a receiver's answer means is said by the target.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol, TypeVar

from connector.delivery import obsolete
from connector.delivery.outcome import Later, Never, Outcome, Sent, Shut
from connector.delivery.target import Parcel, Target
from connector.delivery.waits import Breaker, Turns, backoff
from ledger.errors import Busy, NotFound, RosterdError, Stale
from ledger.store import deliveries
from ledger.store.deliveries import Batch, DeliveryState, Receipt
from ledger.store.engine import Ledger

_log = logging.getLogger("rosterd.delivery")
T = TypeVar("T")
_PATIENCE = 20  # times that a ledger is asked again, each of which waits for its writer
_HOLD, _RENEW = timedelta(minutes=2), 40.0
"""How long a batch is in our hands, and after how many seconds it is held further."""


class Tally(Protocol):
    """Counts for whoever watches."""

    def settled(self, target: str, kind: str, state: str) -> None:
        """A batch ended so."""

    def tried(self, target: str, outcome: str) -> None:
        """A parcel was tried."""

    def shut(self, target: str, *, is_shut: bool) -> None:
        """The target takes nothing at present, or does again."""


class Engine:
    """Delivers to one target until it is stopped. Several may run on one ledger; each message is in one's hands."""

    def __init__(
        self,
        ledger: Ledger,
        target: Target,
        *,
        organizations: Callable[[], Collection[str]],
        clock: Callable[[], datetime],
        tally: Tally,
        look_every: float = 2.0,
    ) -> None:
        """``look_every``: seconds after which it looks again for what other processes have written."""
        self._ledger = ledger
        self._target = target
        self._organizations = organizations
        self._clock = clock
        self._tally = tally
        self._look_every = look_every
        self._breaker = Breaker()
        self._turns = Turns(target.pace.per_minute)
        self._stopping = asyncio.Event()
        self._under_way: set[asyncio.Task[None]] = set()
        self._more = False

    async def run(self) -> None:
        """Until ``stop``; then what is being sent ends, and what was not begun is given back."""
        try:
            while not self._stopping.is_set():
                wait = await self._round()
                await self._rest(wait)
        finally:
            await asyncio.gather(*self._under_way, return_exceptions=True)

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopping.set()

    async def _round(self) -> float:
        """Take in hand what there is room for; returns how long to rest, in seconds."""
        shut = self._breaker.left(self._steady())
        room = (1 if self._breaker.tripped else self._target.pace.at_once) - len(self._under_way)
        if shut or room <= 0:
            return min(shut or self._look_every, self._look_every)
        name, now = self._target.name, self._clock()
        organizations, digest = self._organizations(), self._target.digest
        try:
            # where the last claim found something, the next one most likely does, and needs no question before it
            if not self._more and not await deliveries.any_due(
                self._ledger, name, organizations, now=now, digest=digest
            ):
                return self._look_every
            taken = await deliveries.claim(
                self._ledger, name, organizations, now=now, hold=_HOLD, limit=room, digest=digest
            )
        except Busy:  # a long run writes; what waits can wait
            return self._look_every
        self._more = bool(taken)
        for batch in taken:
            task = asyncio.ensure_future(self._carry(batch))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return 0.0 if taken else self._look_every

    async def _rest(self, seconds: float) -> None:
        """Until something that is under way has ended, ``stop``, or so long."""
        if not seconds:
            room = self._target.pace.at_once - len(self._under_way)
            seconds = 0.0 if room > 0 else self._look_every
        waiting = {asyncio.ensure_future(self._stopping.wait()), *self._under_way}
        stop = next(iter(waiting - self._under_way))
        try:
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()

    async def _carry(self, batch: Batch) -> None:
        """One batch, from the claim to its note. What goes wrong with it stops no other."""
        held = asyncio.ensure_future(self._hold(batch))
        try:
            await self._deliver(batch)
        except Stale:
            _log.info("event=delivery.overtaken target=%s message=%s", batch.target, batch.id)
        except Exception as error:  # of the ledger: the batch is due again when its hold ends
            _log.exception("event=delivery.failed target=%s message=%s error=%r", batch.target, batch.id, error)
        finally:
            held.cancel()

    async def _hold(self, batch: Batch) -> None:
        """Hold it for as long as a slow receiver takes."""
        while True:
            await asyncio.sleep(_RENEW)
            with suppress(RosterdError):
                await deliveries.hold_further(self._ledger, batch, now=self._clock(), hold=_HOLD)

    async def _deliver(self, batch: Batch) -> None:
        async with self._ledger.read(batch.organization) as reader:
            gone = await obsolete.found(reader, batch, self._clock())
            kept = replace(batch, messages=tuple(told for told in batch.messages if told.id not in gone))
            parcels, wrong = list[Parcel](), ""
            try:
                parcels = await self._target.prepare(reader, kept) if kept.messages else []
            except RosterdError as error:
                wrong, mendable = error.what, not isinstance(error, NotFound)
            except Exception as error:
                wrong, mendable = self._fault(batch, error), True
        for note in sorted(set(gone.values())):
            ids = {message for message, said in gone.items() if said == note}
            batch = await self._settle(batch, DeliveryState.OBSOLETE, note, ids)
        if not batch.messages:
            return
        if wrong and mendable:
            await self._again(batch, Later(wrong))
        elif not parcels:
            await self._settle(batch, DeliveryState.DEAD, wrong or "nobody is there to be told")
        else:
            await self._send(batch, parcels)

    async def _send(self, batch: Batch, parcels: list[Parcel]) -> None:
        """Each receiver that is not done with; those that are put off hold up no other."""
        done = {receipt.receiver for receipt in batch.done}
        later: Later | None = None
        left = [parcel for parcel in parcels if parcel.receiver not in done]
        for position, parcel in enumerate(left):
            if not await self._turn():
                await self._put_off(batch, timedelta(0), "the service was stopped", counts=False)
                return
            outcome = await self._try(batch, parcel)
            self._tally.tried(batch.target, type(outcome).__name__.lower())
            self._note(outcome)
            if isinstance(outcome, Shut):
                wait = timedelta(seconds=self._breaker.left(self._steady()))
                await self._put_off(batch, wait, outcome.why, counts=False)
                return
            if isinstance(outcome, Later):
                later = outcome
                continue
            receipt = Receipt(parcel.receiver, isinstance(outcome, Sent), _said(outcome))
            batch = replace(batch, done=(*batch.done, receipt))
            if position + 1 < len(left):
                await _insist(partial(deliveries.progress, self._ledger, batch, now=self._clock(), hold=_HOLD))
        if later is not None:
            await self._again(batch, later)
            return
        await self._end(batch)

    async def _try(self, batch: Batch, parcel: Parcel) -> Outcome:
        """Send it; a fault of ours is one more reason to try again, as often as what a receiver puts off."""
        try:
            return await self._target.send(parcel)
        except Exception as error:
            return Later(self._fault(batch, error))

    @staticmethod
    def _fault(batch: Batch, error: Exception) -> str:
        _log.exception("event=delivery.failed target=%s message=%s error=%r", batch.target, batch.id, error)
        return f"a fault of rosterd: {type(error).__name__}"

    async def _again(self, batch: Batch, later: Later) -> None:
        """Put it off, or give it up when it has been tried for long enough."""
        wait = max(later.after or timedelta(0), backoff(batch.attempts + 1, random.random()))  # noqa: S311
        now = self._clock()
        if batch.begun_at is not None and now + wait - batch.begun_at > self._target.pace.retry_for:
            hours = self._target.pace.retry_for.total_seconds() / 3600
            note = f"tried for {hours:g} hours, {batch.attempts + 1} times; last: {later.why}"
            await self._settle(batch, DeliveryState.DEAD, note)
            return
        await self._put_off(batch, wait, later.why, counts=True)

    async def _end(self, batch: Batch) -> None:
        """Every receiver is done with: sent, or dead when none took it."""
        taken = [receipt for receipt in batch.done if receipt.taken]
        refused = [receipt for receipt in batch.done if not receipt.taken]
        note = "; ".join(dict.fromkeys(receipt.note for receipt in refused or taken if receipt.note))
        await self._settle(batch, DeliveryState.SENT if taken else DeliveryState.DEAD, note)

    def _note(self, outcome: Outcome) -> None:
        """What an answer says about the target itself."""
        if isinstance(outcome, Shut):
            if not self._breaker.left(self._steady()):  # those that were under way together trip it once
                wait = self._breaker.trip(self._steady(), outcome.why, outcome.after)
                _log.warning("event=delivery.shut target=%s seconds=%.0f why=%s", self._target.name, wait, outcome.why)
                self._tally.shut(self._target.name, is_shut=True)
        elif isinstance(outcome, Sent) and self._breaker.tripped:
            self._breaker.mend()
            _log.info("event=delivery.open target=%s", self._target.name)
            self._tally.shut(self._target.name, is_shut=False)

    async def _settle(self, batch: Batch, state: DeliveryState, note: str, ids: Collection[str] | None = None) -> Batch:
        settle = partial(deliveries.settle, self._ledger, batch, state, note=note[:500], now=self._clock(), ids=ids)
        after = await _insist(settle)
        level = logging.WARNING if state is DeliveryState.DEAD else logging.INFO
        _log.log(
            level,
            "event=delivery.%s target=%s organization=%s kind=%s message=%s",
            state.value,
            batch.target,
            batch.organization,
            batch.kind,
            batch.id,
        )
        self._tally.settled(batch.target, batch.kind, state.value)
        return after

    async def _put_off(self, batch: Batch, wait: timedelta, note: str, *, counts: bool) -> None:
        put_off = partial(deliveries.put_off, self._ledger, batch, wait=wait, note=note[:500])
        await _insist(partial(put_off, now=self._clock(), counts=counts))

    async def _turn(self) -> bool:
        """Wait for this parcel's turn; false when the engine is being stopped."""
        wait = self._turns.take(self._steady())
        if wait and not self._stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait)
        return not self._stopping.is_set()

    @staticmethod
    def _steady() -> float:
        return asyncio.get_running_loop().time()


async def _insist(write: Callable[[], Awaitable[T]]) -> T:
    """What a receiver took has to be noted: a ledger in which a long run writes is asked again."""
    for _ in range(_PATIENCE):
        with suppress(Busy):
            return await write()
    return await write()


def _said(outcome: Outcome) -> str:
    if isinstance(outcome, Never):
        return outcome.why
    return outcome.note if isinstance(outcome, Sent) else ""
