"""Hands mails to the server of ``[mail]``, over few connections that are kept between mails (L6).

Prohibition: nothing leaves in the clear but to this machine; nothing is tried again later, which is the engine's; no
proxy, account or name of the environment is used.
"""

from __future__ import annotations

import asyncio
import ssl
from datetime import timedelta
from email.message import EmailMessage

from connector.delivery.mail.dialogue import Capabilities, Dialogue, Halt, WrongName
from connector.delivery.mail.octets import Octets, octets_of
from connector.delivery.mail.settings import MailSettings
from connector.delivery.outcome import Later, Never, Outcome, Shut
from ledger.errors import BadInput, Unavailable

_ENDING = Later("the daemon stops sending mail")


class Relay:
    """The way to the mail server, for the life of the daemon.

    ``idle``: a connection that no mail used for so long is closed; servers hang up on idle ones, some after ten
    seconds. ``mails``: so many go over one connection.
    """

    def __init__(self, settings: MailSettings, *, idle: timedelta = timedelta(seconds=8), mails: int = 100) -> None:
        self._settings = settings
        self._idle = idle.total_seconds()
        self._mails = mails
        self._slots = asyncio.Semaphore(settings.connections)
        self._kept: list[Dialogue] = []
        self._busy: set[Dialogue] = set()
        self._partings: set[asyncio.Task[None]] = set()
        self._trust: ssl.SSLContext | None = None
        self._closed = False

    async def send(self, message: EmailMessage, *, sender: str, recipient: str) -> Outcome:
        """Hand one mail to the server for one recipient. ``sender``: the envelope's, to which bounces go.

        A mail whose reply is lost is ``Later`` with a reason that begins with ``in doubt``; it is sent again with the
        same Message-ID, and may arrive twice. A cancelled call leaves no connection behind.
        """
        try:
            octets = octets_of(message, sender=sender, recipient=recipient)
        except ValueError as error:
            return Never(str(error))
        async with self._slots:
            try:
                return await self._deliver(octets)
            except Halt as halt:
                return halt.outcome
            except BadInput as error:
                return Shut(error.what)

    async def probe(self) -> Capabilities:
        """Connect, secure, sign in, and say what was found; no mail is sent.

        Raises ``Unavailable`` with the next step, ``BadInput`` for a password or a ``ca_file`` that cannot be read.
        """
        where = f"{self._settings.host}:{self._settings.port_used}"
        try:
            dialogue = await self._open()
            try:
                return await dialogue.capabilities()
            finally:
                await dialogue.quit()
        except Halt as halt:
            raise Unavailable(halt.outcome.why, where=where, next_step=halt.next_step) from halt

    async def close(self) -> None:
        """Let the mails under way end, for the time of one answer; then part from the server."""
        self._closed = True
        taken = 0
        try:
            async with asyncio.timeout(self._settings.timeout.total_seconds()):
                while taken < self._settings.connections:
                    await self._slots.acquire()
                    taken += 1
        except TimeoutError:
            for dialogue in self._busy:
                dialogue.abort()
        finally:
            for _ in range(taken):
                self._slots.release()
        for dialogue in self._kept:
            self._part(dialogue)
        self._kept.clear()
        await asyncio.gather(*self._partings)

    async def _deliver(self, octets: Octets) -> Outcome:
        kept = self._take()
        if kept is not None:
            outcome = await self._hand_over(kept, octets)
            # a server that hung up on an idle connection says nothing of the mail, or of the next connection
            if not kept.gone:
                return outcome
        if self._closed:
            return _ENDING
        return await self._hand_over(await self._open(), octets)

    def _take(self) -> Dialogue | None:
        while self._kept:
            found = self._kept.pop()
            if found.usable and not self._closed:
                return found
            self._part(found)
        return None

    async def _open(self) -> Dialogue:
        if self._trust is None and self._settings.security != "none":
            self._trust = await asyncio.to_thread(_authorities, self._settings)
        try:
            return await Dialogue.opened(self._settings, self._trust)
        except WrongName as halt:
            anybody = await asyncio.to_thread(_authorities, self._settings)
            anybody.check_hostname = False  # to read whose the certificate is: no mail and no password goes there
            raise halt.of(await Dialogue.names(self._settings, anybody)) from halt

    async def _hand_over(self, dialogue: Dialogue, octets: Octets) -> Outcome:
        self._busy.add(dialogue)
        try:
            outcome = await dialogue.hand_over(octets)
        finally:
            self._busy.discard(dialogue)
        if self._closed or not dialogue.usable or dialogue.mails >= self._mails:
            self._part(dialogue)
        else:
            self._kept.append(dialogue)
            asyncio.get_running_loop().call_later(self._idle, self._part_idle, dialogue, dialogue.mails)
        return outcome

    def _part_idle(self, dialogue: Dialogue, mails: int) -> None:
        if dialogue in self._kept and dialogue.mails == mails:
            self._kept.remove(dialogue)
            self._part(dialogue)

    def _part(self, dialogue: Dialogue) -> None:
        parting = asyncio.create_task(dialogue.quit())
        self._partings.add(parting)
        parting.add_done_callback(self._partings.discard)


def _authorities(settings: MailSettings) -> ssl.SSLContext:
    """Whose certificates are believed: the system's authorities and those in ``ca_file``; ``BadInput`` if wrong."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.ca_file is not None:
        try:
            context.load_verify_locations(cafile=settings.ca_file)
        except OSError as error:  # SSLError is one
            what = f"{settings.ca_file} cannot be used: {error.strerror or 'it holds no certificate in PEM'}"
            raise BadInput(what, where="mail.ca_file", next_step="correct ca_file in [mail] of rosterd.toml") from error
    return context
