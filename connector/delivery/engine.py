"""Carries what waits to one target: claims, checks that it is still true, sends, notes what became of it (L1, L2).

At least once: what was accepted and not noted before the process ended is sent again, with the same idempotency key.
Prohibition: knows nothing of mail; what a receiver's answer means is said by the target.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol, TypeVar

from connector.delivery import obsolete
from connector.delivery.outcome import Later, Never, Outcome, Sent, Shut
from connector.delivery.target import Parcel, Target
from connector.delivery.waits import Breaker, Turns, backoff, tries_within
from ledger.book_time import WrongClock
from ledger.errors import Busy, NotFound, RosterdError, Stale, Unavailable
from ledger.store import deliveries
from ledger.store.deliveries import Batch, DeliveryState, Receipt
from ledger.store.engine import Ledger

_log = logging.getLogger("rosterd.delivery")
T = TypeVar("T")
_PATIENCE = 20  # times that a ledger is asked again, each of which waits for its writer
_AGAIN = 1.0
_TRIPS = 3
"""How often one batch may shut the target, which took others meanwhile, until it is the batch that is put off."""
_BEHIND = timedelta(minutes=5)
"""After how long a reader is asked about again who has not taken an earlier message."""
_CLOCK_EVERY, _SET = 10.0, 2.0
"""Seconds for which a clock is believed unseen, and by how many it may part from the steady one meanwhile."""
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
        self._busy: Counter[str] = Counter()
        self._sent = 0
        self._trips: dict[str, tuple[int, int]] = {}
        self._looked: tuple[float, datetime, tuple[str, ...]] | None = None

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
        try:
            organizations = self._with_room(await self._right_clocks())
        except RosterdError:  # the ledger does not answer at present
            return self._look_every
        name, now, digest = self._target.name, self._clock(), self._target.digest
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
            self._busy[batch.organization] += 1
            task = asyncio.ensure_future(self._carry(batch))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return 0.0 if taken else self._look_every

    def _with_room(self, organizations: Collection[str]) -> dict[str, int]:
        """How many more of each. Where there are several, none has every place: a slow receiver of one holds up no
        other."""
        places = self._target.pace.at_once
        each = places if len(organizations) == 1 or places == 1 else places - 1
        return {name: each - self._busy[name] for name in organizations if self._busy[name] < each}

    async def _right_clocks(self) -> tuple[str, ...]:
        """The organizations in whose book this host's clock may be believed: by a wrong one messages would be obsolete,
        dead, or due in a year. It is looked at again whenever it was set, and every few seconds."""
        steady, wall, names = self._steady(), self._clock(), tuple(self._organizations())
        if self._looked is not None:
            at, then, found = self._looked
            passed = steady - at
            if passed < _CLOCK_EVERY and abs((wall - then).total_seconds() - passed) < _SET:
                return tuple(name for name in found if name in names)
        found = tuple([name for name in names if await self._believed(name)])
        self._looked = (steady, wall, found)
        return found

    async def _believed(self, organization: str) -> bool:
        try:
            await self._ledger.check_clock(organization)
        except WrongClock as error:
            _log.warning("event=delivery.clock organization=%s why=%s", organization, error.what)
            return False
        return True

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
        except WrongClock as error:  # nothing is decided by it: the batch is due again when its hold ends
            self._looked = None
            _log.warning("event=delivery.clock organization=%s why=%s", batch.organization, error.what)
        except Stale:
            _log.info("event=delivery.overtaken target=%s message=%s", batch.target, batch.id)
        except Exception as error:  # of the ledger: the batch is due again when its hold ends
            _log.exception("event=delivery.failed target=%s message=%s error=%r", batch.target, batch.id, error)
        finally:
            held.cancel()
            self._busy[batch.organization] -= 1

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
                if mendable:
                    wrong = error.said
                    broken = "event=delivery.broken target=%s organization=%s kind=%s where=%s why=%s"
                    _log.warning(broken, batch.target, batch.organization, batch.kind, error.where, error.what)
            except Exception as error:
                wrong, mendable = self._fault(batch, error), True
        if gone:
            await self._ledger.check_clock(batch.organization)
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
        waiting = [parcel for parcel in parcels if parcel.receiver not in done]
        left = [parcel for parcel in waiting if batch.only is None or parcel.receiver in batch.only]
        behind = len(left) < len(waiting)
        for position, parcel in enumerate(left):
            if not await self._turn():
                await self._put_off(batch, timedelta(0), "the service was stopped", counts=False)
                return
            outcome = await self._try(batch, parcel)
            self._tally.tried(batch.target, type(outcome).__name__.lower())
            if isinstance(outcome, Shut) and self._poison(batch):
                outcome = Later(outcome.why, outcome.after)
            self._note(outcome)
            if isinstance(outcome, Shut):
                wait = timedelta(seconds=self._breaker.left(self._steady()))
                await self._put_off(batch, wait, outcome.why, counts=False, loosen=True)
                return
            if isinstance(outcome, Later):
                later = outcome
                continue
            receipt = Receipt(parcel.receiver, isinstance(outcome, Sent), _said(outcome))
            batch = replace(batch, done=(*batch.done, receipt))
            if position + 1 < len(left) or behind:
                await _insist(partial(deliveries.progress, self._ledger, batch, now=self._clock(), hold=_HOLD))
        if later is not None:
            await self._again(batch, later)
        elif behind:
            await self._put_off(batch, _BEHIND, "an earlier message about the same waits for them", counts=False)
        else:
            await self._end(batch)

    def _poison(self, batch: Batch) -> bool:
        """Whether the target shuts because of this batch: it took others each time since it last did. Then it is this
        batch that waits, and is a dead letter in the end."""
        count, sent = self._trips.get(batch.id, (0, -1))
        if not self._breaker.left(self._steady()) and sent != self._sent:
            count += 1
        self._trips[batch.id] = (count, self._sent)
        return count > _TRIPS

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
        retry_for = self._target.pace.retry_for
        await self._ledger.check_clock(batch.organization)
        late = batch.begun_at is not None and self._clock() + wait - batch.begun_at > retry_for
        if late and batch.attempts + 1 >= tries_within(retry_for):
            hours = retry_for.total_seconds() / 3600
            note = f"tried for {hours:g} hours, {batch.attempts + 1} times; last: {later.why}"
            await self._settle(batch, DeliveryState.DEAD, note)
            return
        await self._put_off(batch, wait, later.why, counts=True, loosen=not later.in_doubt)

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
            return
        if not isinstance(outcome, Sent):
            return
        self._sent += 1
        if self._breaker.tripped:
            self._breaker.mend()
            _log.info("event=delivery.open target=%s", self._target.name)
            self._tally.shut(self._target.name, is_shut=False)

    async def _settle(self, batch: Batch, state: DeliveryState, note: str, ids: Collection[str] | None = None) -> Batch:
        settle = partial(deliveries.settle, self._ledger, batch, state, note=note[:500], now=self._clock(), ids=ids)
        after = await _insist(settle)
        self._trips.pop(batch.id, None)
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

    async def _put_off(self, batch: Batch, wait: timedelta, note: str, *, counts: bool, loosen: bool = False) -> None:
        await self._ledger.check_clock(batch.organization)
        put_off = partial(deliveries.put_off, self._ledger, batch, wait=wait, note=note[:500], loosen=loosen)
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
    """What a receiver took has to be noted: a ledger in which a long run writes, or that is away, is asked again."""
    for _ in range(_PATIENCE):
        try:
            return await write()
        except Busy:
            continue
        except Unavailable:
            await asyncio.sleep(_AGAIN)
    return await write()


def _said(outcome: Outcome) -> str:
    if isinstance(outcome, Never):
        return outcome.why
    return outcome.note if isinstance(outcome, Sent) else ""
