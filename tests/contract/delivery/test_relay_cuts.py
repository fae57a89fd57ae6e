"""L6: the connection is cut after each byte of a dialogue, in each direction, by each kind of security."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import EmailMessage
from typing import Literal

import pytest

from connector.delivery.mail.relay import Relay
from connector.delivery.mail.settings import MailSettings
from connector.delivery.outcome import Later, Outcome, Sent, Shut
from tests.parts.https import Authority
from tests.parts.mail_server import MailServer, Security, mail_server, settings_for

FROM, TO = "a@vendor.example", "j@acme.example"
EVERY_BYTE = os.environ.get("ROSTERD_EVERY_BYTE") == "1"
pytestmark = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"] if EVERY_BYTE else ["uvloop"])
STEPS: dict[Security, int] = {"none": 1, "starttls": 11, "tls": 11}
"""Where not every byte is asked for, each so manieth is cut behind (beside the last ones)."""
Direction = Literal["to the server", "to the client"]


@dataclass(slots=True)
class Cut:
    """Behind so many bytes of a direction both ends are hung up on; ``after`` -1: never. ``passed``: bytes so far."""

    direction: Direction = "to the server"
    after: int = -1
    hard: bool = False
    passed: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class CuttingProxy:
    """A proxy on loopback; ``cut`` counts from when it is set, on connections of before too."""

    to: int
    port: int = 0
    cut: Cut = field(default_factory=Cut)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError):
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.to)
            ends = (writer, server_writer)
            await asyncio.gather(
                self._pump("to the server", reader, server_writer, ends),
                self._pump("to the client", server_reader, writer, ends),
            )

    async def _pump(
        self,
        direction: Direction,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        ends: tuple[asyncio.StreamWriter, ...],
    ) -> None:
        with suppress(OSError):
            while octets := await source.read(65536):
                cut = self.cut
                rest = cut.after - cut.passed[direction]
                if cut.after >= 0 and cut.direction == direction and len(octets) > rest:
                    sink.write(octets[:rest])
                    cut.passed[direction] += rest
                    await sink.drain()
                    break
                cut.passed[direction] += len(octets)
                sink.write(octets)
                await sink.drain()
        for end in ends:
            if self.cut.hard and end is not sink:
                end.transport.abort()
            else:
                end.close()


@asynccontextmanager
async def cutting(server: MailServer) -> AsyncIterator[CuttingProxy]:
    proxy = CuttingProxy(server.port)
    carried: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        carried.add(task)
        try:
            await proxy.carry(reader, writer)
        finally:
            writer.close()
            carried.discard(task)

    listening = await asyncio.start_server(carry, "127.0.0.1", 0)
    proxy.port = listening.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        listening.close()
        for task in carried:
            task.cancel()
        await asyncio.gather(*carried, return_exceptions=True)
        await asyncio.sleep(0.02)


def mail(name: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Message-ID"] = FROM, TO, f"<{name}@vendor.example>"
    message.set_content("Hi\n")
    return message


def places(total: Counter[str], step: int) -> list[tuple[Direction, int]]:
    """Where to cut, of a dialogue of so many bytes; its end (the mail, and its answer) is always cut at each byte
    or two."""
    found: list[tuple[Direction, int]] = []
    directions: tuple[Direction, ...] = ("to the server", "to the client")
    for direction in directions:
        length = total[direction]
        found += [(direction, n) for n in range(length + 2) if EVERY_BYTE or n % step == 0 or length - n < 12]
    return found


def check(outcomes: dict[str, Outcome], server: MailServer) -> None:
    """The laws: sent is taken; taken and not sent is in doubt; a call hands a mail over once at most."""
    taken = Counter(str(delivered.message["Message-ID"]).partition("@")[0][1:] for delivered in server.mails)
    for name, outcome in outcomes.items():
        assert taken[name] <= 1, name
        assert isinstance(outcome, Sent | Later | Shut), name
        if isinstance(outcome, Sent):
            assert taken[name] == 1, name
        elif taken[name]:
            assert isinstance(outcome, Later), (name, outcome)
            assert outcome.why.startswith("in doubt: "), (name, outcome)


@pytest.mark.parametrize("security", ["starttls", "tls", "none"])
@pytest.mark.parametrize("kept", [False, True], ids=["a connection of its own", "a kept connection"])
async def test_l6_a_dialogue_that_is_cut_at_any_byte(
    tmp_path_factory: pytest.TempPathFactory, security: Security, kept: bool
) -> None:
    authority = Authority(tmp_path_factory.mktemp("mail"))
    tls = None if security == "none" else authority.issue("localhost")
    step = STEPS[security] if not kept else max(STEPS[security], 7)
    outcomes: dict[str, Outcome] = {}
    with mail_server(security, tls) as server:
        async with cutting(server) as proxy:
            settings = settings_for(server, authority) | {"port": proxy.port, "timeout": timedelta(seconds=3)}
            relay = Relay(MailSettings.model_validate(settings), mails=100 if kept else 1)

            async def send(name: str) -> Outcome:
                async with asyncio.timeout(10):
                    outcomes[name] = await relay.send(mail(name), sender=FROM, recipient=TO)
                return outcomes[name]

            for name in ("first", "whole"):
                proxy.cut = Cut()
                assert isinstance(await send(name), Sent)
            whole = proxy.cut.passed.copy()
            for number, (direction, after) in enumerate(places(whole, step)):
                if kept:
                    proxy.cut = Cut()
                    assert isinstance(await send(f"before-{number}"), Sent)
                proxy.cut = Cut(direction, after, hard=number % 2 == 1)
                await send(f"cut-{number}")
            proxy.cut = Cut()
            assert isinstance(await send("last"), Sent)
            await relay.close()
            await asyncio.sleep(0.1)
    check(outcomes, server)
    kinds = Counter(type(outcome).__name__ for name, outcome in outcomes.items() if name.startswith("cut"))
    assert kinds["Sent"] >= 2
    doubted = sum("in doubt" in outcome.why for outcome in outcomes.values() if isinstance(outcome, Later))
    assert doubted >= 10
    if not kept:
        assert kinds["Shut"] > 10
