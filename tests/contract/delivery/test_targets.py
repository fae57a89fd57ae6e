"""What every target must keep to (L1), over the same engine: the scripted one, and mail to a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import pytest

from connector.delivery.engine import Engine
from connector.delivery.mail.settings import MailSettings, OrganizationMailSettings
from connector.delivery.mail.target import MailTarget, Sender
from connector.delivery.outcome import Later, Never, Outcome, Sent, Shut
from connector.delivery.target import Target
from ledger.store import deliveries, outbox, people
from ledger.store.deliveries import Delivery, DeliveryState
from ledger.store.engine import Ledger
from ledger.store.outbox import Message
from ledger.team import Role
from tests.parts.fences import ALONE
from tests.parts.mail_server import MailServer, mail_server
from tests.parts.scripted_target import ScriptedTarget

KIND = "team.lifted"
DAY = timedelta(days=1)
LATER, NEVER, SHUT, LOST = "later", "never", "shut", "lost"
"""What a receiver can be told to answer next; LOST: it takes the message, and its yes is lost."""


class Receiver(Protocol):
    """The other side of a target."""

    target: Target

    def answers(self, *words: str) -> None:
        """What it says next."""

    def taken(self) -> list[tuple[str, str]]:
        """(idempotency key, what it is about), of every message that it took, in order."""


class Scripted:
    """A function in this process."""

    def __init__(self) -> None:
        self._next: list[str] = []
        self._taken: list[tuple[str, str]] = []
        self.target = ScriptedTarget(answers=self._answer)

    def answers(self, *words: str) -> None:
        self._next += words

    def taken(self) -> list[tuple[str, str]]:
        return self._taken

    def _answer(self, batch: Any, _: str) -> Outcome:
        word = self._next.pop(0) if self._next else ""
        if word in {"", LOST}:
            self._taken.append((batch.id, batch.messages[0].payload["team"]))
        return {LATER: Later("later"), NEVER: Never("never"), SHUT: Shut("shut"), LOST: Later("in doubt")}.get(
            word, Sent("taken")
        )


class ByMail:
    """A mail server on loopback."""

    def __init__(self, server: MailServer, clock: Callable[[], datetime]) -> None:
        self._server = server
        settings = MailSettings(
            host="127.0.0.1", port=server.port, security="none", sender="accounts@vendor.example", rate=100_000,
            digest=timedelta(0), timeout=timedelta(seconds=5), connections=4,
        )  # fmt: skip
        sender = Sender("Acme", OrganizationMailSettings())
        self.target = MailTarget(
            settings, senders=lambda: {"acme": sender}, links=lambda o, i: "", public_url="", clock=clock
        )

    def answers(self, *words: str) -> None:
        replies = {LATER: "451 4.3.0 later", NEVER: "550 5.1.1 never", SHUT: "421 4.3.2 shut"}
        for word in words:
            if word == LOST:
                self._server.answer("END", "250")  # kept, and then its words are cut off
                self._server.cut_after("END")
            else:
                self._server.answer("RCPT", replies[word])

    def taken(self) -> list[tuple[str, str]]:
        found = []
        for mail in self._server.mails:
            key = str(mail.message["Message-ID"]).strip("<>").partition("@")[0].partition(".")[0]
            text = mail.message.get_body(("plain",)).get_content()  # type: ignore[union-attr]
            found.append((key, next(word for word in text.split() if word.startswith("Team-")).strip(".,:")))
        return found


class Silent:
    """A tally that nobody reads."""

    def settled(self, target: str, kind: str, state: str) -> None: ...
    def tried(self, target: str, outcome: str) -> None: ...
    def shut(self, target: str, *, is_shut: bool) -> None: ...


@dataclass
class World:
    """One organization, whose clock a test moves."""

    ledger: Ledger
    now: datetime
    receiver: Receiver = field(init=False)

    async def begin(self) -> None:
        async with self.ledger.write("acme", ALONE, at=self.now) as book:
            row = ("p1", "ada@acme.example", "ada@acme.example", "", "", "Ada", "active", "", {})
            await people.begin_identities(book, [row])
            await people.begin_roles(book, [("p1", Role.PRIMARY_ADMIN, "")])
            await deliveries.start(book, "mail", self.receiver.target.kinds, keep_before=self.now - DAY)

    async def write(self, *about: str) -> list[str]:
        """One message about each Team; the letter before the dash is its subject."""
        async with self.ledger.write("acme", ALONE, at=self.now) as book:
            told = [Message(KIND, name[0], {"team": f"Team-{name}", "reason": "paid"}) for name in about]
            return await outbox.append(book, told)

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        engine = Engine(
            self.ledger, self.receiver.target, organizations=lambda: ["acme"], clock=lambda: self.now, tally=Silent(),
            look_every=0.01,
        )  # fmt: skip
        running = asyncio.ensure_future(engine.run())
        try:
            yield
        finally:
            engine.stop()
            await asyncio.wait_for(running, 20)

    async def settled(self, *, minutes: float = 0) -> dict[str, Delivery]:
        """Let time pass, so many minutes a look, until everything has ended."""
        for _ in range(2000):
            async with self.ledger.read("acme") as reader:
                rows = await deliveries.listed(reader, states=list(DeliveryState))
            if all(row.settled_at for row in rows):
                return {row.message_id: row for row in rows}
            self.now += timedelta(minutes=minutes)
            await asyncio.sleep(0.02)
        raise AssertionError(rows)

    def about(self) -> list[str]:
        return [name.removeprefix("Team-") for _, name in self.receiver.taken()]


@pytest.fixture(autouse=True)
def _held(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of these tests runs ahead of what an engine has in its hands."""
    monkeypatch.setattr("connector.delivery.engine._HOLD", timedelta(days=99))


@pytest.fixture(params=["scripted", "mail"])
async def world(request: pytest.FixtureRequest, ledger: Ledger, now: datetime) -> AsyncIterator[World]:
    made = World(ledger, now)
    with receiving(request.param, lambda: made.now) as made.receiver:
        await made.begin()
        yield made
        await made.receiver.target.close()


@contextmanager
def receiving(kind: str, clock: Callable[[], datetime]) -> Iterator[Receiver]:
    if kind == "scripted":
        yield Scripted()
        return
    with mail_server() as server:
        yield ByMail(server, clock)


async def test_l1_told_once_each_and_in_the_order_of_their_subject(world: World) -> None:
    ids = await world.write("a-1", "b-1", "a-2", "a-3")
    async with world.delivering():
        rows = await world.settled()
    assert {row.state for row in rows.values()} == {DeliveryState.SENT}
    assert sorted(key for key, _ in world.receiver.taken()) == sorted(ids)
    assert [name for name in world.about() if name[0] == "a"] == ["a-1", "a-2", "a-3"]


async def test_l1_what_is_put_off_comes_again_under_the_same_key_and_before_what_came_later(world: World) -> None:
    world.receiver.answers(LATER, LATER)
    first, second = await world.write("a-1", "a-2")
    async with world.delivering():
        rows = await world.settled(minutes=1)
    assert world.receiver.taken() == [(first, "Team-a-1"), (second, "Team-a-2")]
    assert rows[first].attempts == 2


async def test_l1_a_poison_message_is_put_aside_and_the_next_goes(world: World) -> None:
    world.receiver.answers(NEVER)
    first, second = await world.write("a-1", "a-2")
    async with world.delivering():
        rows = await world.settled()
    assert (rows[first].state, rows[second].state) == (DeliveryState.DEAD, DeliveryState.SENT)
    assert "never" in rows[first].note


async def test_l1_a_receiver_that_is_shut_loses_nothing_and_counts_no_try(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.delivery.waits._SHUT_FIRST", 0.05)
    world.receiver.answers(SHUT, SHUT)
    ids = await world.write("a-1", "b-1")
    async with world.delivering():
        rows = await world.settled(minutes=1)
    assert sorted(key for key, _ in world.receiver.taken()) == sorted(ids)
    assert {row.attempts for row in rows.values()} == {0}


async def test_l1_a_yes_that_is_lost_is_told_again_under_the_same_key(world: World) -> None:
    world.receiver.answers(LOST)
    [message] = await world.write("a-1")
    async with world.delivering():
        await world.settled(minutes=1)
    assert world.receiver.taken() == [(message, "Team-a-1")] * 2


async def test_l1_two_engines_tell_nobody_twice(world: World) -> None:
    ids = await world.write(*(f"{chr(97 + n)}-1" for n in range(20)))
    async with world.delivering(), world.delivering():
        await world.settled()
    assert sorted(key for key, _ in world.receiver.taken()) == sorted(ids)
