"""The delivery engine on both databases (L1, L2): order, tries, breaker, dead letters, stops, two at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from connector.delivery.engine import Engine
from connector.delivery.outcome import Later, Never, Outcome, Sent, Shut
from connector.delivery.target import Pace
from ledger.book_time import WrongClock
from ledger.errors import Busy
from ledger.store import deliveries, outbox
from ledger.store.deliveries import Batch, Delivery, DeliveryState, Digest
from ledger.store.engine import Ledger
from ledger.store.outbox import Message
from tests.parts.fences import ALONE
from tests.parts.scripted_target import ScriptedTarget

KIND = "team.lifted"  # never obsolete
DAY = timedelta(days=1)


@dataclass
class Counted:
    """A tally."""

    ends: list[tuple[str, str]] = field(default_factory=list)
    tries: list[str] = field(default_factory=list)
    shuts: list[bool] = field(default_factory=list)

    def settled(self, target: str, kind: str, state: str) -> None:
        self.ends.append((kind, state))

    def tried(self, target: str, outcome: str) -> None:
        self.tries.append(outcome)

    def shut(self, target: str, *, is_shut: bool) -> None:
        self.shuts.append(is_shut)


@dataclass
class World:
    """One organization with one target, and a clock that a test moves."""

    ledger: Ledger
    now: datetime
    target: ScriptedTarget = field(default_factory=ScriptedTarget)
    tally: Counted = field(default_factory=Counted)

    async def start(self) -> None:
        async with self.ledger.write("acme", ALONE, at=self.now) as book:
            await deliveries.start(book, "mail", self.target.kinds, keep_before=self.now - DAY)

    async def write(self, *subjects: str, kind: str = KIND) -> list[str]:
        async with self.ledger.write("acme", ALONE, at=self.now) as book:
            return await outbox.append(book, [Message(kind, subject, {"team": "Design"}) for subject in subjects])

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[Engine]:
        engine = Engine(
            self.ledger, self.target, organizations=lambda: ["acme"], clock=lambda: self.now, tally=self.tally,
            look_every=0.01,
        )  # fmt: skip
        running = asyncio.ensure_future(engine.run())
        try:
            yield engine
        finally:
            engine.stop()
            await asyncio.wait_for(running, 20)

    async def rows(self) -> dict[str, Delivery]:
        async with self.ledger.read("acme") as reader:
            return {item.message_id: item for item in await deliveries.listed(reader, states=list(DeliveryState))}

    async def until(self, so: Callable[[dict[str, Delivery]], bool]) -> dict[str, Delivery]:
        for _ in range(2000):
            rows = await self.rows()
            if so(rows):
                return rows
            await asyncio.sleep(0.01)
        raise AssertionError(await self.rows())

    async def settled(self) -> dict[str, Delivery]:
        return await self.until(lambda rows: all(row.settled_at for row in rows.values()))


@pytest.fixture(autouse=True)
def _held(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of these tests runs ahead of what an engine has in its hands."""
    monkeypatch.setattr("connector.delivery.engine._HOLD", timedelta(days=99))


@pytest.fixture
async def world(ledger: Ledger, now: datetime) -> World:
    made = World(ledger, now)
    await made.start()
    return made


def answering(*answers: Outcome) -> Callable[[Batch, str], Outcome]:
    """These, one after another, then ``Sent``."""
    left = list(answers)
    return lambda batch, receiver: left.pop(0) if left else Sent("taken")


async def test_l1_what_is_written_is_told_in_order_with_its_id(world: World) -> None:
    async with world.delivering():
        ids = await world.write("t1", "t2", "t1")
        rows = await world.settled()
    assert {row.state for row in rows.values()} == {DeliveryState.SENT}
    assert rows[ids[0]].note == "taken"
    assert [given[0] for given in world.target.given if given[2] == ("t1",)] == [ids[0], ids[2]]
    assert world.tally.ends == [(KIND, "sent")] * 3


async def test_l1_what_is_put_off_is_tried_again_and_in_the_end_a_dead_letter(world: World) -> None:
    world.target.answers = lambda batch, receiver: Later("451 greylisted")
    [message] = await world.write("t1")
    tries = 0
    async with world.delivering():
        while (row := (await world.rows())[message]).state is DeliveryState.WAITING:
            if row.next_at and row.attempts > tries:
                tries = row.attempts
                world.now = max(world.now, row.next_at)
            await asyncio.sleep(0.01)
    assert row.state is DeliveryState.DEAD
    assert row.note.startswith("tried for 48 hours, ")
    assert row.note.endswith("last: 451 greylisted")
    assert 15 <= tries <= 40
    assert world.tally.shuts == [], "greylisting never opens the breaker"


async def test_l1_what_the_receiver_asks_to_wait_is_waited(world: World) -> None:
    world.target.answers = answering(Later("429", timedelta(hours=2)))
    [message] = await world.write("t1")
    async with world.delivering():
        row = (await world.until(lambda rows: rows[message].attempts == 1))[message]
        assert row.next_at is not None
        assert row.next_at - world.now >= timedelta(hours=2)


async def test_l1_a_poison_message_is_a_dead_letter_and_the_next_of_its_subject_goes(world: World) -> None:
    world.target.answers = answering(Never("550 no such user"))
    first, second = await world.write("t1", "t1")
    async with world.delivering():
        rows = await world.settled()
    assert (rows[first].state, rows[first].note) == (DeliveryState.DEAD, "550 no such user")
    assert rows[second].state is DeliveryState.SENT


async def test_a_message_nobody_can_be_told_is_a_dead_letter_that_says_so(world: World) -> None:
    world.target.receivers = ("nobody",)
    [message] = await world.write("t1")
    async with world.delivering():
        rows = await world.settled()
    assert (rows[message].state, rows[message].note) == (DeliveryState.DEAD, "no admin has an address")


async def test_l1_a_shut_target_is_left_alone_then_tried_by_one_and_no_attempt_is_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.delivery.waits._SHUT_FIRST", 0.1)
    shut = True
    world.target.answers = lambda batch, receiver: Shut("421 closing") if shut else Sent("taken")
    await world.write(*(f"t{n}" for n in range(12)))
    async with world.delivering():
        while len(world.tally.shuts) < 3:
            await asyncio.sleep(0.01)
            world.now += timedelta(seconds=1)
        assert len(world.target.given) <= 4 + 3, "those that were under way together, then one at a time"
        shut = False
        while not all(row.settled_at for row in (await world.rows()).values()):
            world.now += timedelta(seconds=30)
            await asyncio.sleep(0.01)
        rows = await world.rows()
    assert {(row.state, row.attempts) for row in rows.values()} == {(DeliveryState.SENT, 0)}
    assert world.tally.shuts[-1] is False


async def test_l1_receivers_that_have_it_are_not_asked_again(world: World) -> None:
    world.target.receivers = ("ada", "bo", "cy")
    bo = answering(Later("451"))
    world.target.answers = lambda batch, receiver: (
        bo(batch, receiver) if receiver == "bo" else Never("550 gone") if receiver == "cy" else Sent("taken")
    )
    [message] = await world.write("t1")
    async with world.delivering():
        await world.until(lambda rows: rows[message].attempts == 1)
        world.now += timedelta(minutes=5)
        rows = await world.settled()
    assert [given[1] for given in world.target.given] == ["ada", "bo", "cy", "bo"]
    assert (rows[message].state, rows[message].note) == (DeliveryState.SENT, "550 gone")


async def test_l1_so_many_at_once_and_no_more(world: World) -> None:
    world.target.seconds = 0.4  # longer than four claims take on a busy machine
    await world.write(*(f"t{n}" for n in range(12)))
    async with world.delivering():
        await world.settled()
    assert world.target.most_at_once == 4


async def test_l1_a_slow_receiver_delays_only_its_own(world: World) -> None:
    waits = asyncio.Event()

    class Slow(ScriptedTarget):
        async def send(self, parcel):  # type: ignore[no-untyped-def]
            if parcel.content.messages[0].subject == "slow":
                await waits.wait()
            return await super().send(parcel)

    world.target = Slow()
    slow, *_ = await world.write("slow", *(f"t{n}" for n in range(8)))
    async with world.delivering():
        rows = await world.until(lambda rows: sum(bool(row.settled_at) for row in rows.values()) == 8)
        assert rows[slow].settled_at is None
        waits.set()
        await world.settled()


async def test_stopping_ends_what_was_begun_and_gives_the_rest_back(world: World) -> None:
    world.target.seconds = 0.2
    world.target = replace(world.target, pace=Pace(100_000, 2, DAY), given=[])
    await world.write(*(f"t{n}" for n in range(9)))
    async with world.delivering() as engine:
        await world.until(lambda rows: bool(world.target.given))
        engine.stop()
    rows = await world.rows()
    sent = [row for row in rows.values() if row.state is DeliveryState.SENT]
    assert len(sent) == len(world.target.given)
    assert 1 <= len(sent) <= 2, "none that was accepted is told again"
    async with world.delivering():  # at once: nothing is held any more
        await world.settled()
    assert len(world.target.given) == 9


async def test_l1_two_engines_on_one_ledger_tell_nobody_twice(world: World) -> None:
    await world.write(*(f"t{n}" for n in range(40)))
    async with world.delivering(), world.delivering():
        await world.settled()
    assert sorted(given[2] for given in world.target.given) == sorted((f"t{n}",) for n in range(40))


async def test_l1_what_was_in_doubt_is_told_again_with_the_same_id(world: World) -> None:
    """The process ended between the receiver's yes and the note of it."""
    [message] = await world.write("t1")
    await deliveries.claim(
        world.ledger, "mail", {"acme": 1}, now=world.now, hold=timedelta(minutes=5), limit=1, digest=Digest()
    )
    async with world.delivering():
        await asyncio.sleep(0.1)
        assert world.target.given == []
        world.now += timedelta(minutes=6)
        await world.settled()
    assert [given[0] for given in world.target.given] == [message]


async def test_a_fault_of_ours_stops_no_other(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def answers(batch: Batch, receiver: str) -> Outcome:
        if batch.messages[0].subject == "t0":
            raise LookupError("a fault")
        return Sent("taken")

    world.target.answers = answers
    bad, *_ = await world.write("t0", "t1", "t2")
    async with world.delivering():
        rows = await world.until(lambda rows: rows[bad].attempts == 1 and len(world.tally.ends) == 2)
    assert (rows[bad].state, rows[bad].note) == (DeliveryState.WAITING, "a fault of rosterd: LookupError")
    assert "a fault" in caplog.text


async def test_l5_a_digest_is_one_parcel_and_keeps_its_window(world: World) -> None:
    world.target.digest = Digest(frozenset({KIND}), timedelta(hours=1))
    first = await world.write("t1", "t2")
    async with world.delivering():
        await world.settled()
        await world.write("t3")
        await asyncio.sleep(0.1)
        world.now += timedelta(minutes=59)
        await world.write("t4")
        await asyncio.sleep(0.1)
        assert [given[0] for given in world.target.given] == first[:1]
        world.now += timedelta(minutes=2)
        await world.settled()
    assert [given[2] for given in world.target.given] == [("t1", "t2"), ("t3", "t4")]


async def test_l1_a_fault_after_some_have_it_asks_only_the_others_again(world: World) -> None:
    world.target.receivers = ("ada", "bo")
    broken = [True]

    def answers(batch: Batch, receiver: str) -> Outcome:
        if receiver == "bo" and broken:
            broken.clear()
            raise LookupError("a fault")
        return Sent("taken")

    world.target.answers = answers
    [message] = await world.write("t1")
    async with world.delivering():
        await world.until(lambda rows: rows[message].attempts == 1)
        world.now += timedelta(minutes=5)
        await world.settled()
    assert [given[1] for given in world.target.given] == ["ada", "bo", "bo"]


async def test_l1_a_ledger_in_which_a_long_run_writes_is_asked_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A yes is noted however long a writer is in the way: it would be told twice."""
    settle, left = deliveries.settle, [Busy("a run writes")] * 3

    async def busy(*values: Any, **more: Any) -> Batch:
        if left:
            raise left.pop()
        return await settle(*values, **more)

    monkeypatch.setattr(deliveries, "settle", busy)
    await world.write("t1")
    async with world.delivering():
        await world.settled()
    assert len(world.target.given) == 1


async def test_l1_a_message_at_which_the_server_hangs_up_is_a_dead_letter_in_the_end(world: World) -> None:
    """It shuts the target each time; whatever else there is goes, and what nobody takes does not wait for ever."""
    world.target.answers = lambda batch, _: Shut("421 bye") if batch.messages[0].subject == "poison" else Sent("taken")
    [poison] = await world.write("poison")
    found: dict[str, Delivery] = {}
    async with world.delivering() as engine:
        for number in range(60):
            await world.write(f"t{number}")
            engine._breaker._until = 0.0  # its pause is over
            await asyncio.sleep(0.1)
            world.now += timedelta(hours=5)
            found = await world.rows()
            if found[poison].state is DeliveryState.DEAD:
                break
    assert found[poison].state is DeliveryState.DEAD
    assert "421 bye" in found[poison].note


async def test_l1_a_clock_that_cannot_be_right_decides_nothing(world: World) -> None:
    """By it an invite would have expired, a try be the last, and the next one due in a year."""
    [message] = await world.write("t1")
    world.target.answers = lambda batch, receiver: Later("451")
    right = False

    async def check(*_names: str) -> None:
        if not right:
            raise WrongClock("the clock of this host is a year ahead")

    world.ledger.check_clock = check  # type: ignore[method-assign]
    async with world.delivering():
        await asyncio.sleep(0.3)
        assert world.target.given == []
        right = True
        world.now += timedelta(minutes=1)  # it was set
        await world.until(lambda rows: rows[message].attempts == 1)


async def test_l1_whoever_does_not_take_the_first_is_told_the_second_after_it(world: World) -> None:
    """And nobody else waits for them."""
    world.target.receivers = ("ada", "bo")
    full = [True]
    world.target.answers = lambda batch, receiver: Later("452") if receiver == "bo" and full[0] else Sent("taken")
    [first] = await world.write("t1")
    async with world.delivering():
        await world.until(lambda rows: rows[first].attempts == 1)
        [second] = await world.write("t1")
        await world.until(lambda rows: "earlier message" in rows[second].note)
        assert [given[:2] for given in world.target.given] == [(first, "ada"), (first, "bo"), (second, "ada")]
        full[0] = False
        for _ in range(4):
            world.now += timedelta(minutes=5)
            await asyncio.sleep(0.2)
        await world.settled()
    assert [given[:2] for given in world.target.given][-2:] == [(first, "bo"), (second, "bo")]
