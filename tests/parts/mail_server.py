"""A real SMTP server on loopback (aiosmtpd) in a thread of its own: it keeps what was delivered, and can be told to
answer otherwise, late, or never. Certificates: ``tests.parts.https.Authority``."""

from __future__ import annotations

import asyncio
import email
import email.policy
import ssl
import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, Literal, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.parts.https import Authority

Security = Literal["starttls", "tls", "none"]
Step = Literal["GREETING", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "END", "RSET", "NOOP", "QUIT"]


@dataclass(frozen=True, slots=True)
class Delivered:
    """A mail that was taken over. ``tls``: the version it came by, empty in the clear; ``username``: who signed in."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    tls: str
    username: str
    options: tuple[str, ...]

    @property
    def message(self) -> EmailMessage:
        """The mail, read."""
        return cast(EmailMessage, email.message_from_bytes(self.content, policy=email.policy.default))


@dataclass(slots=True)
class MailServer:
    """A running server. ``said``: the commands of all connections, in order; secrets of AUTH are not kept."""

    port: int
    security: Security
    mails: list[Delivered] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    ehlo_names: list[str] = field(default_factory=list)
    without: set[str] = field(default_factory=set)
    """Extensions that EHLO does not offer."""
    delays: dict[Step, float] = field(default_factory=dict)
    """Seconds that a step's answer is late."""
    _next: dict[Step, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    _always: dict[Step, str] = field(default_factory=dict)
    _cuts: list[Step] = field(default_factory=list)

    def answer(self, step: Step, *replies: str) -> None:
        """The next answers of a step, one each; a 421 hangs up. ``END``: the answer to a whole mail, not kept then."""
        self._next[step].extend(replies)

    def always(self, step: Step, reply: str | None) -> None:
        """Every answer of a step; None: as usual again."""
        if reply is None:
            self._always.pop(step, None)
        else:
            self._always[step] = reply

    def cut_after(self, step: Step) -> None:
        """The next answer of a step is never seen: the connection ends in its place."""
        self._cuts.append(step)

    def otherwise(self, step: Step) -> str | None:
        """What to answer instead of the usual."""
        return self._next[step].popleft() if self._next[step] else self._always.get(step)


class _Smtp(SMTP):
    """The server's end of one connection."""

    def __init__(self, server: MailServer, **options: Any) -> None:
        super().__init__(self, **options)
        self._server = server
        self._greeted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self.transport is None:
            self._server.connections += 1
            self._server.open += 1
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._server.open -= 1
        super().connection_lost(error)

    async def push(self, status: str | bytes) -> None:  # type: ignore[override]
        if not self._greeted:
            self._greeted = True
            if await self._otherwise("GREETING"):
                return
        await super().push(status)

    async def _otherwise(self, step: Step) -> bool:
        reply = self._server.otherwise(step)
        if step != "GREETING":
            self._server.said.append(step)
        await asyncio.sleep(self._server.delays.get(step, 0))
        if reply is None:
            return False
        await super().push(reply)
        if reply.startswith("421") and self.transport is not None:
            self.transport.close()
        return True

    async def smtp_EHLO(self, hostname: str) -> None:
        self._server.ehlo_names.append(hostname)
        if not await self._otherwise("EHLO"):
            await super().smtp_EHLO(hostname)

    async def smtp_STARTTLS(self, arg: str) -> None:
        if not await self._otherwise("STARTTLS"):
            await super().smtp_STARTTLS(arg)

    async def smtp_AUTH(self, arg: str) -> None:
        if not await self._otherwise("AUTH"):
            await super().smtp_AUTH(arg)

    async def smtp_MAIL(self, arg: str | None) -> None:
        if not await self._otherwise("MAIL"):
            await super().smtp_MAIL(arg)

    async def smtp_RCPT(self, arg: str | None) -> None:
        if not await self._otherwise("RCPT"):
            await super().smtp_RCPT(arg)

    async def smtp_DATA(self, arg: str) -> None:
        if not await self._otherwise("DATA"):
            await super().smtp_DATA(arg)

    async def smtp_RSET(self, arg: str) -> None:
        if not await self._otherwise("RSET"):
            await super().smtp_RSET(arg)

    async def smtp_NOOP(self, arg: str) -> None:
        if not await self._otherwise("NOOP"):
            await super().smtp_NOOP(arg)

    async def smtp_QUIT(self, arg: str) -> None:
        if not await self._otherwise("QUIT"):
            await super().smtp_QUIT(arg)

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return [line for line in responses if line[4:].partition(" ")[0] not in self._server.without]

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        reply = self._server.otherwise("END")
        self._server.said.append("END")
        late = self._server.delays.get("END", 0)
        if reply is not None and not reply.startswith("2"):
            await asyncio.sleep(late)
            return reply
        found = self.transport.get_extra_info("ssl_object") if self.transport is not None else None
        signed_in = session.auth_data.login.decode() if session.auth_data else ""
        assert envelope.mail_from is not None
        self._server.mails.append(
            Delivered(
                envelope.mail_from,
                tuple(envelope.rcpt_tos),
                cast(bytes, envelope.original_content),
                (found.version() or "") if found else "",
                signed_in,
                tuple(envelope.mail_options),
            )
        )
        number = len(self._server.mails)
        await asyncio.sleep(late)
        if "END" in self._server._cuts:
            self._server._cuts.remove("END")
            assert self.transport is not None
            self.transport.abort()
        return reply or f"250 2.0.0 Ok: queued as {number:04}"


@contextmanager
def mail_server(
    security: Security = "none",
    tls: ssl.SSLContext | None = None,
    *,
    accounts: dict[str, str] | None = None,
    international: bool = True,
    most_bytes: int = 1_000_000,
) -> Iterator[MailServer]:
    """A server on 127.0.0.1. ``tls``: what it shows (``Authority.issue("localhost")``). ``accounts``: names and
    passwords, one of which has to sign in; None: everybody may send."""
    server = MailServer(0, security)

    def authenticate(_server: SMTP, _session: Session, _envelope: Envelope, _method: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        right = (accounts or {}).get(data.login.decode()) == data.password.decode()
        return AuthResult(success=right, handled=right, auth_data=data)

    def connection() -> _Smtp:
        made = _Smtp(
            server,
            hostname="mail.test",
            enable_SMTPUTF8=international,
            data_size_limit=most_bytes,
            tls_context=tls if security == "starttls" else None,
            require_starttls=security == "starttls",
            auth_require_tls=security == "starttls",
            authenticator=authenticate,
            loop=loop,
        )
        made._auth_required = accounts is not None  # aiosmtpd warns of it without STARTTLS, which is an error here
        return made

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> asyncio.Server:
        return await loop.create_server(connection, "127.0.0.1", 0, ssl=tls if security == "tls" else None)

    async def stop(listening: asyncio.Server) -> None:
        listening.close()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        # also those whose TLS handshake is under way, which nobody else knows
        for transport in list(loop._transports.values()):  # type: ignore[attr-defined]
            transport.abort()
        await asyncio.sleep(0.01)

    listening = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(stop(listening), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def settings_for(server: MailServer, authority: Authority | None = None, **others: Any) -> dict[str, Any]:
    """The keys of ``[mail]`` for a server of this part; ``localhost`` is the name its certificate needs."""
    found: dict[str, Any] = {"host": "localhost", "port": server.port, "security": server.security}
    found |= {"sender": "accounts@vendor.example"} | ({"ca_file": str(authority.file)} if authority else {})
    return found | others
