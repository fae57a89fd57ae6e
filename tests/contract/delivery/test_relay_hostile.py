"""L6: servers that misbehave: slow, endless, out of step, and somebody between us and the server."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from connector.delivery.mail import dialogue
from connector.delivery.mail.relay import Relay
from connector.delivery.mail.settings import MailSettings
from connector.delivery.outcome import Later, Outcome, Sent, Shut
from ledger.errors import Unavailable
from tests.parts.https import Authority

FROM, TO = "accounts@vendor.example", "jane.doe@acme.example"
WAIT = 0.25
BOTH_LOOPS = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])
pytestmark = BOTH_LOOPS
Talk = Callable[["Line"], Awaitable[None]]


class Line:
    """The server's end of a connection; ``heard``: what the client said, in lines."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: list[str]) -> None:
        self.reader, self.writer, self.heard = reader, writer, heard
        self.sent = 0

    async def say(self, *lines: str) -> None:
        await self.write("".join(f"{line}\r\n" for line in lines).encode())

    async def write(self, octets: bytes) -> None:
        self.writer.write(octets)
        await self.writer.drain()
        self.sent += len(octets)

    async def hear(self) -> str:
        line = (await self.reader.readline()).decode("latin-1").rstrip("\r\n")
        self.heard.append(line)
        return line

    async def answers(self, *replies: str) -> None:
        """Hear a line and answer, for each reply."""
        for reply in replies:
            await self.hear()
            await self.say(reply)

    async def until_data(self) -> None:
        """A usual dialogue, up to the final dot."""
        await self.say("220 mail.test")
        await self.answers("250 mail.test", "250 ok", "250 ok", "354 go on")
        while await self.hear() != ".":
            pass

    def reset(self) -> None:
        """Hang up with RST."""
        found: socket.socket = self.writer.get_extra_info("socket")
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Raw:
    """A server that talks as it is told; after ``talks`` it is silent on further connections."""

    def __init__(self, *talks: Talk) -> None:
        self._talks = list(talks)
        self.heard: list[str] = []
        self.lines: list[Line] = []
        self.port = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(reader, writer, self.heard)
        talk = self._talks[min(len(self.lines), len(self._talks) - 1)]
        self.lines.append(line)
        with suppress(OSError, asyncio.CancelledError):
            await talk(line)
        writer.close()


@asynccontextmanager
async def raw(*talks: Talk, **others: Any) -> AsyncIterator[tuple[Raw, Relay]]:
    """A raw server and a relay to it. ``others``: settings of the relay."""
    server = Raw(*talks)
    listening = await asyncio.start_server(server.talk, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    settings = {"host": "127.0.0.1", "port": server.port, "security": "none", "sender": FROM}
    settings |= {"timeout": timedelta(seconds=WAIT)} | others
    relay = Relay(MailSettings.model_validate(settings))
    try:
        async with asyncio.timeout(20):
            yield server, relay
            await relay.close()
    finally:
        listening.close()
        for line in server.lines:
            line.writer.transport.abort()
        await asyncio.sleep(0.01)


def mail() -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = FROM, TO, "A seat"
    message.set_content("A seat is yours.\n")
    return message


async def send(relay: Relay) -> Outcome:
    return await relay.send(mail(), sender=FROM, recipient=TO)


async def drip(line: Line, text: str) -> None:
    for character in text + 1000 * "x":
        await line.write(character.encode())
        await asyncio.sleep(WAIT / 10)


async def flood(line: Line, piece: bytes) -> None:
    while True:
        await line.write(piece)


async def slow_greeting(line: Line) -> None:
    await drip(line, "220 ")


async def slow_recipient(line: Line) -> None:
    await line.say("220 mail.test")
    await line.answers("250 mail.test", "250 ok")
    await line.hear()
    await drip(line, "250 ")


async def slow_end(line: Line) -> None:
    await line.until_data()
    await drip(line, "250 ")


async def silent(line: Line) -> None:
    await asyncio.sleep(60)


async def silent_after_the_mail(line: Line) -> None:
    await line.until_data()
    await asyncio.sleep(60)


async def gone_after_the_mail(line: Line) -> None:
    await line.until_data()


async def reset_after_the_mail(line: Line) -> None:
    await line.until_data()
    line.reset()


async def reset_in_the_mail(line: Line) -> None:
    await line.say("220 mail.test")
    await line.answers("250 mail.test", "250 ok", "250 ok", "354 go on")
    await line.hear()
    line.reset()


async def reset_at_data(line: Line) -> None:
    await line.say("220 mail.test")
    await line.answers("250 mail.test", "250 ok", "250 ok")
    await line.hear()
    line.reset()


async def hang_up(line: Line) -> None:
    pass


async def another_protocol(line: Line) -> None:
    await line.say("HTTP/1.1 400 Bad Request", "")


async def endless_line(line: Line) -> None:
    await flood(line, b"220 " + 9000 * b"x")


async def endless_lines(line: Line) -> None:
    await flood(line, 100 * b"220-mail.test\r\n")


async def many_extensions(line: Line) -> None:
    await line.say("220 mail.test")
    await line.hear()
    await line.write(5000 * b"250-X-MANY\r\n" + b"250 OK\r\n")
    await line.hear()


async def endless_after_the_mail(line: Line) -> None:
    await line.until_data()
    await flood(line, 100 * b"250-ok\r\n")


async def two_answers_to_data(line: Line) -> None:
    await line.say("220 mail.test")
    await line.answers("250 mail.test", "250 ok", "250 ok", "354 go on\r\n250 taken")
    await line.hear()
    await line.say("550 refused")
    await line.hear()


async def two_answers_to_the_sender(line: Line) -> None:
    await line.say("220 mail.test")
    await line.answers("250 mail.test", "250 ok\r\n250 ok", "550 unknown", "250 taken")


@pytest.mark.parametrize(
    ("talk", "expected"),
    [
        (slow_greeting, Shut(f"no answer within 0.25 s to the connection: {dialogue._TLS_AT_ONCE}")),
        (slow_recipient, Later("no answer within 0.25 s to RCPT TO")),
        (slow_end, Later("in doubt: no answer within 0.25 s to the mail")),
        (silent, Shut(f"no answer within 0.25 s to the connection: {dialogue._TLS_AT_ONCE}")),
        (silent_after_the_mail, Later("in doubt: no answer within 0.25 s to the mail")),
        (gone_after_the_mail, Later("in doubt: the connection was lost before the answer to the mail")),
        (reset_after_the_mail, Later("in doubt: the connection was lost before the answer to the mail")),
        (reset_in_the_mail, Later("in doubt: the connection was lost before the answer to the mail")),
        (reset_at_data, Later("the connection was lost before the answer to DATA")),
        (hang_up, Shut("the connection was lost before the answer to the connection")),
        (another_protocol, Shut),
        (endless_line, Shut("the server answered the connection with no reply of SMTP Response too long")),
        (endless_lines, Shut("the server answered the connection with no reply of SMTP Response too long")),
        (many_extensions, Shut("the server answered EHLO with no reply of SMTP Response too long")),
        (endless_after_the_mail,
         Later("in doubt: the server answered the mail with no reply of SMTP Response too long")),
        (two_answers_to_data,
         Later("the connection was lost, or the server spoke unasked, behind the answer to DATA")),
        (two_answers_to_the_sender,
         Later("the connection was lost, or the server spoke unasked, before RCPT TO")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
async def test_l6_a_server_that_misbehaves_ends_in_time(
    talk: Talk, expected: Outcome | type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogue, "_LAST_ANSWER", 1)
    loop = asyncio.get_running_loop()
    async with raw(talk) as (server, relay):
        began = loop.time()
        outcome = await send(relay)
        assert loop.time() - began < 2
        assert isinstance(outcome, expected) if isinstance(expected, type) else outcome == expected
        # what the client did not want to read it did not read
        await asyncio.sleep(0.02)
        assert server.lines[0].sent < 16_000_000


async def usual(line: Line) -> None:
    await line.until_data()
    await line.say("250 taken")
    await line.hear()


async def test_l6_after_a_server_that_hangs_up_the_next_mail_goes() -> None:
    async with raw(reset_after_the_mail, gone_after_the_mail, hang_up, usual) as (_, relay):
        outcomes = [await send(relay) for _ in range(4)]
    assert [type(outcome) for outcome in outcomes] == [Later, Later, Shut, Sent]


async def test_l6_opening_is_bounded_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hesitant(line: Line) -> None:
        await asyncio.sleep(WAIT / 2)
        await line.say("220 mail.test")
        await line.hear()
        await asyncio.sleep(WAIT / 2)
        await line.say("250 mail.test")
        await line.hear()

    monkeypatch.setattr(dialogue, "_OPENING", 0.8)
    async with raw(hesitant) as (_, relay):
        assert await send(relay) == Shut("the server was not ready for mail within 0.2 s")
        with pytest.raises(Unavailable, match="not ready for mail"):
            await relay.probe()


def injecting(how: str) -> Talk:
    """Somebody in between who speaks in the clear after STARTTLS was agreed on."""

    async def talk(line: Line) -> None:
        await line.say("220 mail.test")
        await line.hear()
        await line.say("250-mail.test", "250-AUTH PLAIN", "250 STARTTLS")
        await line.hear()
        injected = "250-mail.test\r\n250 AUTH PLAIN\r\n235 signed in\r\n250 ok\r\n250 ok\r\n354 go on\r\n250 taken"
        if how == "with the answer":
            await line.say(f"220 go on\r\n{injected}")
        elif how == "half a line":
            await line.write(b"220 go on\r\n250 AUTH")
        else:
            await line.say("220 go on")
            await asyncio.sleep(0.01)
            await line.say(injected)
        while await line.hear():
            pass

    return talk


@pytest.mark.parametrize("how", ["with the answer", "half a line", "a little later"])
async def test_l6_nothing_counts_that_was_said_before_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", "geheim")
    account = {"security": "starttls", "username": "relay", "password": "env:MAIL_PASSWORD"}
    async with raw(injecting(how), ca_file=str(Authority(tmp_path).file), **account) as (server, relay):
        outcome = await send(relay)
    assert isinstance(outcome, Shut)
    assert ("in the clear" in outcome.why) == (how != "a little later"), outcome.why
    assert server.heard[1] == "STARTTLS"
    assert not any("AUTH" in line or "MAIL" in line for line in server.heard)


@pytest.mark.parametrize("how", ["reset", "end", "reset at the hello", "end at the hello"])
async def test_l6_a_connection_that_is_lost_while_tls_begins(tmp_path: Path, how: str) -> None:
    async def talk(line: Line) -> None:
        await line.say("220 mail.test")
        await line.answers("250-mail.test\r\n250 STARTTLS", "220 go on")
        if "hello" in how:
            await line.reader.read(20)
        if "reset" in how:
            line.reset()

    loop = asyncio.get_running_loop()
    async with raw(talk, ca_file=str(Authority(tmp_path).file), security="starttls") as (_, relay):
        began = loop.time()
        for _ in range(3):
            assert isinstance(await send(relay), Shut)
        assert loop.time() - began < 3


async def test_l6_what_was_offered_before_tls_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = Authority(tmp_path)
    context = tls.issue("127.0.0.1")

    async def talk(line: Line) -> None:
        await line.say("220 mail.test")
        await line.answers("250-mail.test\r\n250-AUTH PLAIN\r\n250-SMTPUTF8\r\n250 STARTTLS", "220 go on")
        await line.writer.start_tls(context)
        await line.answers("250 mail.test")
        await line.hear()

    monkeypatch.setenv("MAIL_PASSWORD", "geheim")
    account = {"security": "starttls", "username": "relay", "password": "env:MAIL_PASSWORD"}
    async with raw(talk, ca_file=str(tls.file), timeout=timedelta(seconds=3), **account) as (server, relay):
        outcome = await send(relay)
    assert outcome == Shut("the server offers no sign-in by password, and [mail] names a username")
    assert [line.partition(" ")[0] for line in server.heard if line] == ["EHLO", "STARTTLS", "EHLO"]


async def test_a_server_that_knows_only_cram_md5_is_signed_in_at(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(line: Line, challenge: str = "PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+") -> None:
        await line.say("220 mail.test")
        await line.answers("250-mail.test\r\n250 AUTH CRAM-MD5", f"334 {challenge}", "235 ok", "250 ok")

    async def wrong(line: Line) -> None:
        await talk(line, "a")

    # the example of RFC 2195
    monkeypatch.setenv("MAIL_PASSWORD", "tanstaaftanstaaf")
    async with raw(talk, wrong, username="tim", password="env:MAIL_PASSWORD") as (server, relay):
        assert (await relay.probe()).signed_in
        assert server.heard[2] == "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw"
        assert await send(relay) == Shut("the server's challenge to AUTH CRAM-MD5 cannot be read")


async def test_l6_localhost_that_is_elsewhere_is_not_spoken_to(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw(usual) as (server, relay):
        monkeypatch.setattr(dialogue._Wire, "known", lambda _wire, _name: ("192.0.2.1", 25))
        assert await send(relay) == Shut("the server is not on this machine, and security is none")
        monkeypatch.undo()
        assert not any(server.heard)
