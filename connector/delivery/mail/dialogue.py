"""One connection to the mail server: opened, secured and signed in; then mails are handed over one after the other.

The wire is aiosmtplib's protocol alone. Its client class is not used: it signs in by every method in turn with a
password that was refused once, asks DNS for this host's name without a limit of time, and does not tell whether a
connection was lost before or after the end of a mail.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, cast

from aiosmtplib import SMTPException, SMTPResponse, SMTPResponseException
from aiosmtplib.auth import auth_crammd5_verify, auth_login_encode, auth_plain_encode
from aiosmtplib.esmtp import parse_esmtp_extensions
from aiosmtplib.protocol import SMTPProtocol

from connector.delivery.mail.octets import Octets
from connector.delivery.mail.replies import Reply, Stage, Untaken, go_on, refusal, sender_refused, shown, taken
from connector.delivery.mail.settings import MailSettings
from connector.delivery.outcome import Later, Never, Outcome, Shut
from ledger.identity import Email, a_label

_OPENING = 5
"""Opening, securing and signing in take so many answers' time at most."""
_LAST_ANSWER = 10
"""How many answers' time the reply to a whole mail may take: servers look into mails before they answer (RFC 5321
§4.5.3.2.6 asks for ten minutes), and what is sent again for want of an answer arrives twice (RFC 1047)."""
_MAIL = _LAST_ANSWER + 2
_PARTING = 2.0
"""Seconds that the answer to QUIT is waited for."""
_MOST_REFUSALS = 5
"""Servers hang up on who is refused too often; a connection ends before that."""
_REACH = "see that the server answers from this host; correct host and port in [mail] of rosterd.toml"
_SECURE = "correct security in [mail] of rosterd.toml, or let the server offer it"
_TLS_AT_ONCE = 'set security = "tls" in [mail] of rosterd.toml where the port speaks TLS at once, as 465 does'
_TLS_LATER = 'set security = "starttls" in [mail] of rosterd.toml where the port begins in the clear, as 587 and 25 do'
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "HTTP_REQUEST"})
"""What OpenSSL calls a first answer that is no TLS."""
_OTHER_NAME = frozenset({62, 64})
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
_MOST_NAMES = 5
_TRUST = "mend the certificate; an authority of your own is named by ca_file in [mail] of rosterd.toml"
_SIGN_IN = "correct username and password in [mail] of rosterd.toml"
_LOOK = "look into the server's log"


class Halt(Exception):  # it ends a dialogue and is seen by nobody else
    """The dialogue goes no further. ``next_step``: for the operator who asked."""

    def __init__(self, outcome: Untaken, next_step: str = _LOOK) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.next_step = next_step


class WrongName(Halt):
    """The certificate is one we believe, and is of other names."""

    def of(self, names: Sequence[str]) -> Halt:
        """The same, saying whose it is."""
        whose = f"it is of {', '.join(names[:_MOST_NAMES])}" if names else "it is of another name"
        step = "correct host in [mail] of rosterd.toml to a name of the certificate"
        return Halt(Shut(f"{self.outcome.why} {whose}: {step}"), step)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a mail server offered. ``tls``: the version agreed on, empty in the clear; ``certificate_until``: its last
    instant; ``most_bytes``: the largest mail, 0: it named none."""

    tls: str
    certificate_until: datetime | None
    signed_in: bool
    international: bool
    most_bytes: int


class _Wire(SMTPProtocol):
    """Notices what a server says without being asked: replies and commands are then out of step for good."""

    def __init__(self) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self.unasked = False

    @property
    def in_step(self) -> bool:
        """Nothing was said but answers; behind the last one no byte is left over."""
        return self.is_connected and not self.unasked and not self._buffer

    def data_received(self, data: bytes) -> None:
        waiter = self._response_waiter
        if not self._response_pending or waiter is None or waiter.done():
            self.unasked = True
        super().data_received(data)

    async def greeting(self, timeout: float) -> SMTPResponse:
        """What the server says first."""
        return await self.read_response(timeout)

    async def whole_mail(self, content: bytes, timeout: float) -> SMTPResponse:
        """Send a mail with its final dot, and wait for the reply."""
        self.write(content)
        return await self.read_response(timeout)

    async def secure(self, trust: ssl.SSLContext, name: str, timeout: float) -> None:
        """Go on in TLS. What came in the clear behind the server's 220 is looked for before, by ``in_step``."""
        transport = cast(asyncio.WriteTransport, self.transport)
        self.transport = await self._loop.start_tls(
            transport, self, trust, server_hostname=name, ssl_handshake_timeout=timeout
        )
        self._over_ssl = True

    def known(self, name: str) -> Any:
        """What the transport knows of the connection, as ``peername`` and ``ssl_object``; None when it is lost."""
        return self.transport.get_extra_info(name) if self.transport is not None else None

    def abort(self) -> None:
        """Close at once, whatever is still to be sent."""
        if self.transport is not None:
            cast(asyncio.WriteTransport, self.transport).abort()


class Dialogue:
    """A connection that is ready for mails. ``mails``: so many were handed over, whatever became of them."""

    def __init__(self, settings: MailSettings, trust: ssl.SSLContext | None) -> None:
        self._settings = settings
        self._trust = trust
        self._answer = settings.timeout.total_seconds()
        self._wire = _Wire()
        self._extensions: dict[str, str] = {}
        self._methods: frozenset[str] = frozenset()
        self._broken = False
        self._begun = False
        self._handed = False
        self._refusals = 0
        self.mails = 0
        self.gone = False
        """The server had hung up before a mail was whole: another connection may be tried."""

    @classmethod
    async def opened(cls, settings: MailSettings, trust: ssl.SSLContext | None) -> Dialogue:
        """Connect, secure, sign in; raises ``Halt``. ``trust``: whose certificates are believed; None: in the clear,
        to this machine only."""
        found = cls(settings, trust)
        limit = _OPENING * found._answer
        try:
            async with asyncio.timeout(limit):
                await found._open()
        except TimeoutError as error:
            found.abort()
            raise Halt(Shut(f"the server was not ready for mail within {limit:g} s"), _REACH) from error
        except BaseException:
            found.abort()
            raise
        return found

    @property
    def usable(self) -> bool:
        """Another mail may be handed over."""
        return self._wire.in_step and not self._broken and self._refusals < _MOST_REFUSALS

    @classmethod
    async def names(cls, settings: MailSettings, trust: ssl.SSLContext) -> list[str]:
        """The names in the certificate that the server shows, by a ``trust`` that looks at no name; nobody signs in,
        and nothing is said in it. Empty where it is not shown."""
        found = cls(settings, trust)
        try:
            async with asyncio.timeout(_OPENING * found._answer):
                await found._begin()
                shown_ = found._wire.known("ssl_object").getpeercert() or {}
        except (Halt, TimeoutError):
            return []
        finally:
            found.abort()
        return [str(name) for _, name in shown_.get("subjectAltName", ())]

    async def _begin(self) -> None:
        """Connect and secure."""
        await self._connect()
        if self._settings.security == "tls":
            return
        await self._greeted()
        if self._settings.security == "starttls":
            await self._start_tls()

    async def _greeted(self) -> None:
        await self._step(Stage.GREETING, self._wire.greeting(self._answer))
        await self._hello()

    async def _open(self) -> None:
        await self._begin()
        if self._settings.security == "tls":
            await self._greeted()
        if self._settings.security == "starttls":
            # what was said in the clear does not count
            await self._hello()
        if self._settings.username:
            await self._sign_in()

    async def _connect(self) -> None:
        settings, trust = self._settings, self._trust if self._settings.security == "tls" else None
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._answer):
                await loop.create_connection(
                    lambda: self._wire,
                    self._name(),
                    settings.port_used,
                    ssl=trust,
                    ssl_handshake_timeout=self._answer if trust else None,
                )
        except socket.gaierror as error:
            what = f"the name {settings.host} cannot be looked up; correct host in [mail] of rosterd.toml"
            raise Halt(Shut(what), _REACH) from error
        except OSError as error:
            raise self._unreached(error) from error
        peer = self._wire.known("peername")
        if settings.security == "none" and (not peer or not ip_address(peer[0]).is_loopback):
            raise Halt(Shut("the server is not on this machine, and security is none"), _SECURE)

    def _name(self) -> str:
        """The host as it stands in a certificate."""
        host = self._settings.host
        try:
            return str(ip_address(host))
        except ValueError:
            pass
        try:
            return a_label(host)
        except ValueError as error:
            raise Halt(Shut(f"{host!r} is no host name; correct host in [mail] of rosterd.toml"), _REACH) from error

    def _unreached(self, error: OSError) -> Halt:
        if isinstance(error, ssl.SSLCertVerificationError):
            kind = WrongName if error.verify_code in _OTHER_NAME else Halt
            return kind(Shut(f"the server's certificate is not accepted: {error.verify_message}"), _TRUST)
        if isinstance(error, ssl.SSLError | ConnectionAbortedError):
            reason = getattr(error, "reason", None) or type(error).__name__
            if self._settings.security == "tls" and reason in _NOT_TLS:
                what = f"the server does not begin in TLS, which security = tls asks for ({reason}): {_TLS_LATER}"
                return Halt(Shut(what), _TLS_LATER)
            return Halt(Shut(f"TLS cannot be agreed on with the server: {reason}"), _SECURE)
        if isinstance(error, ConnectionError) and not error.errno:
            return Halt(Shut("the server hung up before the connection was ready"), _REACH)
        late = "no answer in time" if isinstance(error, TimeoutError) else "no connection"
        place = f"{self._settings.host}:{self._settings.port_used}"
        why = os.strerror(error.errno) if error.errno else late
        return Halt(Shut(f"{place} cannot be reached: {why}; see host and port in [mail] of rosterd.toml"), _REACH)

    async def _hello(self) -> None:
        reply = await self._ask(Stage.HELLO, b"EHLO", self._own_name().encode("ascii"))
        self._extensions, methods = parse_esmtp_extensions(reply.text)
        self._methods = frozenset(methods)

    def _own_name(self) -> str:
        """This host's name, if it has a full one, or else the sender's domain: large services refuse ``localhost``."""
        own = socket.gethostname()
        with suppress(ValueError):
            if "." in own:
                return a_label(own)
        return Email.parse(self._settings.sender).domain

    async def _start_tls(self) -> None:
        if "starttls" not in self._extensions:
            raise Halt(Shut("the server does not offer STARTTLS; nothing is sent in the clear"), _SECURE)
        await self._ask(Stage.STARTTLS, b"STARTTLS")
        if self._wire.is_connected and not self._wire.in_step:
            raise Halt(Shut("something spoke in the clear after STARTTLS, as somebody in between would"), _REACH)
        if not self._wire.is_connected:
            raise self._lost(Stage.STARTTLS, "the connection was lost behind the answer to")
        assert self._trust is not None  # noqa: S101  # the relay makes it for every security but none
        try:
            # on a connection that is lost at this instant, start_tls waits for ever, its handshake's limit too
            async with asyncio.timeout(self._answer):
                await self._wire.secure(self._trust, self._name(), self._answer)
        except OSError as error:
            raise self._unreached(error) from error

    async def _sign_in(self) -> None:
        """By one method: a wrong password that is tried by each of them locks accounts."""
        reference = self._settings.password
        assert reference is not None  # noqa: S101  # the settings ask for it beside a username
        name, password = self._settings.username, reference.reveal()
        both = auth_plain_encode(name, password)
        first, second = auth_login_encode(name, password)
        secrets = (password, both.decode("ascii"), second.decode("ascii"))
        if "plain" in self._methods:
            await self._ask(Stage.SIGN_IN, b"AUTH", b"PLAIN", both, secrets=secrets)
        elif "login" in self._methods:
            await self._ask(Stage.SIGN_IN, b"AUTH", b"LOGIN", first, secrets=secrets, wanted=334)
            await self._ask(Stage.SIGN_IN, second, secrets=secrets)
        elif "cram-md5" in self._methods:
            challenge = await self._ask(Stage.SIGN_IN, b"AUTH", b"CRAM-MD5", wanted=334)
            try:
                answer = auth_crammd5_verify(name, password, challenge.text)
            except (SMTPException, ValueError) as error:
                raise Halt(Shut("the server's challenge to AUTH CRAM-MD5 cannot be read")) from error
            await self._ask(Stage.SIGN_IN, answer, secrets=secrets)
        else:
            raise Halt(Shut("the server offers no sign-in by password, and [mail] names a username"), _SIGN_IN)

    async def hand_over(self, octets: Octets) -> Outcome:
        """One mail to one recipient; never raises but when it is cancelled, and then the connection is closed."""
        self.mails += 1
        self._handed = False
        limit = _MAIL * self._answer
        try:
            async with asyncio.timeout(limit):
                return await self._mail(octets)
        except Halt as halt:
            self._refusals += 1
            return halt.outcome
        except TimeoutError:
            self._broken = True
            return Later(f"{'in doubt: ' if self._handed else ''}the server took longer than {limit:g} s for one mail")
        except BaseException:
            self.abort()
            raise

    async def _mail(self, octets: Octets) -> Outcome:
        if missing := self._missing(octets):
            return missing
        if self._begun:
            await self._ask(Stage.RESET, b"RSET")
        self._begun = True
        words = [b"MAIL", b"FROM:<" + octets.sender.encode() + b">"]
        if "size" in self._extensions:
            words.append(b"SIZE=%d" % len(octets.content))
        if octets.international:
            words += [b"BODY=8BITMIME"] if "8bitmime" in self._extensions else []
            words.append(b"SMTPUTF8")
        await self._ask(Stage.SENDER, *words, octets=octets)
        await self._ask(Stage.RECIPIENT, b"RCPT", b"TO:<" + octets.recipient.encode() + b">", octets=octets)
        await self._ask(Stage.START, b"DATA", octets=octets)
        if not self._wire.in_step:  # a reply that came early would be taken for the one to the mail
            raise self._lost(Stage.START, "the connection was lost, or the server spoke unasked, behind the answer to")
        self._handed = True
        limit = _LAST_ANSWER * self._answer
        reply = await self._step(Stage.END, self._wire.whole_mail(octets.stuffed, limit), octets, limit=limit)
        self._begun = False
        return taken(reply, _written(octets.recipient))

    def _missing(self, octets: Octets) -> Untaken | None:
        """What the mail needs and the server does not offer."""
        most = self._most_bytes()
        if 0 < most < len(octets.content):
            return Never(f"it has {len(octets.content)} bytes, and the server takes {most}")
        if not octets.international or "smtputf8" in self._extensions:
            return None
        lacks = "not in ASCII before the @, and the server does not offer SMTPUTF8"
        if not octets.sender.isascii():
            return sender_refused(f"the sender's address is {lacks}", own_sender=self._own(octets))
        whose = "an address in the mail's head" if octets.recipient.isascii() else "the recipient's address"
        return Never(f"{whose} is {lacks}")

    def _most_bytes(self) -> int:
        size = self._extensions.get("size", "")
        return int(size) if size.isascii() and size.isdigit() and len(size) < 20 else 0

    def _own(self, octets: Octets) -> bool:
        return Email.parse(octets.sender) == Email.parse(self._settings.envelope_sender)

    async def _ask(
        self,
        stage: Stage,
        *words: bytes,
        octets: Octets | None = None,
        secrets: tuple[str, ...] = (),
        wanted: int | None = None,
    ) -> Reply:
        """Say one command. ``wanted``: the only code with which the dialogue goes on."""
        if not self._wire.in_step:
            raise self._lost(stage, "the connection was lost, or the server spoke unasked, before")
        command = self._wire.execute_command(*words, timeout=self._answer)
        return await self._step(stage, command, octets, secrets, wanted)

    async def _step(
        self,
        stage: Stage,
        answer: Awaitable[SMTPResponse],
        octets: Octets | None = None,
        secrets: tuple[str, ...] = (),
        wanted: int | None = None,
        *,
        limit: float = 0.0,
    ) -> Reply:
        try:
            response = await answer
            reply = Reply(response.code, response.message)
        except SMTPResponseException as error:
            reply = Reply(-1, error.message)
        except TimeoutError as error:
            self._broken = True
            outcome = _unanswered(stage, f"no answer within {limit or self._answer:g} s to")
            if stage is Stage.GREETING and self._settings.security != "tls":
                raise Halt(Shut(f"{outcome.why}: {_TLS_AT_ONCE}"), _TLS_AT_ONCE) from error
            raise Halt(outcome, _REACH) from error
        except (OSError, SMTPException, RuntimeError) as error:
            # a transport that closes under a write is a RuntimeError of uvloop
            raise self._lost(stage, "the connection was lost before the answer to") from error
        if reply.code == wanted if wanted else go_on(stage, reply):
            return reply
        hung_up = reply.code == 421
        self._broken |= hung_up or stage is Stage.RESET or not 400 <= reply.code < 600
        self.gone |= stage is Stage.RESET or (hung_up and not self._handed)
        kept = shown(reply, _written(octets.recipient) if octets else (), secrets)
        outcome = refusal(stage, reply, kept, own_sender=octets is not None and self._own(octets))
        raise Halt(outcome, _SIGN_IN if stage is Stage.SIGN_IN else _LOOK)

    def _lost(self, stage: Stage, how: str) -> Halt:
        self._broken = True
        self.gone |= not self._handed
        return Halt(_unanswered(stage, how), _REACH)

    async def capabilities(self) -> Capabilities:
        """What the server offered, after it answered once more; raises ``Halt``."""
        await self._ask(Stage.NOOP, b"NOOP")
        found = self._wire.known("ssl_object")
        until = found.getpeercert() if found else None
        ends = str(until["notAfter"]) if until else ""
        return Capabilities(
            tls=(found.version() or "") if found else "",
            certificate_until=datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC) if ends else None,
            signed_in=bool(self._settings.username),
            international="smtputf8" in self._extensions,
            most_bytes=self._most_bytes(),
        )

    async def quit(self) -> None:
        """Part politely, without waiting long."""
        try:
            if self.usable:
                with suppress(OSError, SMTPException, RuntimeError):
                    await self._wire.execute_command(b"QUIT", timeout=min(_PARTING, self._answer))
        finally:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        self._broken = True
        self._wire.abort()


def _unanswered(stage: Stage, how: str) -> Untaken:
    why = f"{how} {stage}"
    if stage is Stage.END:
        return Later(f"in doubt: {why}")
    if stage in {Stage.SENDER, Stage.RECIPIENT, Stage.START, Stage.RESET}:
        return Later(why)
    return Shut(why)


def _written(recipient: str) -> tuple[str, ...]:
    """How a server may write the address when it repeats it."""
    address = Email.parse(recipient)
    return recipient, address.text, address.key
