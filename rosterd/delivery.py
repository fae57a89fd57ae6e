"""Delivers what the outbox holds to the targets that are set: one engine a target, in the daemon's own process.

Connects; decides nothing. New settings stop an engine and begin another: what it was sending ends first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

from connector.delivery.engine import Engine
from connector.delivery.mail.kinds import RAISED
from connector.delivery.mail.settings import MailSettings
from connector.delivery.mail.target import TARGET, MailTarget, Sender
from ledger.book_time import WrongClock
from ledger.errors import Busy, RosterdError
from ledger.jobs import Unleased
from ledger.store import deliveries
from rosterd.health import Metrics
from rosterd.logs import event
from rosterd.service import Service
from rosterd.settings import Settings

_log = logging.getLogger(__name__)
_AGAIN, _SETTLE_EVERY = 5.0, 60.0  # seconds
_KEPT_AFTER = timedelta(hours=24)
"""What is older when a target begins waits for somebody's release (L3)."""


class Delivery:
    """The daemon's deliveries."""

    def __init__(self, service: Service, metrics: Metrics) -> None:
        self._service = service
        self._metrics = metrics
        self._changed = asyncio.Event()
        self._stopping = False
        self._engine: Engine | None = None
        self._rests = asyncio.Event()
        self._rests.set()

    async def run(self) -> None:
        """Until ``stop``; begins anew after ``reload``."""
        while not self._stopping:
            self._changed.clear()
            settings = self._service.settings
            try:
                await settle_targets(self._service, settings)
            except Busy:  # a long run writes
                await asyncio.sleep(_AGAIN)
                continue
            if not settings.installation.mail.host:
                await self._changed.wait()
                continue
            target = mail_target(self._service, settings.installation.mail)
            self._engine = Engine(
                self._service.ledger,
                target,
                organizations=lambda: self._service.settings.customers.keys(),
                clock=self._service.clock,
                tally=self._metrics.deliveries,
            )
            if self._changed.is_set():  # while the targets were settled
                self._engine.stop()
            self._rests.clear()
            settling = asyncio.ensure_future(self._settle_again(settings))
            try:
                await self._engine.run()
            finally:
                settling.cancel()
                self._engine = None
                await target.close()
                self._rests.set()

    async def _settle_again(self, settings: Settings) -> None:
        """Another daemon, without a mail server or of another version, may have settled it otherwise; and a book that
        refused this clock may take it by now."""
        while True:
            await asyncio.sleep(_SETTLE_EVERY)
            with suppress(RosterdError):
                await settle_targets(self._service, settings)

    def reload(self) -> None:
        """Go on with the settings that are in force now."""
        self._changed.set()
        if self._engine is not None:
            self._engine.stop()

    async def stop(self, drain: timedelta) -> None:
        """Begin nothing more, and wait up to ``drain`` for what is being sent."""
        self._stopping = True
        self.reload()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._rests.wait(), drain.total_seconds())


def mail_target(service: Service, settings: MailSettings) -> MailTarget:
    """Mail as these settings send it."""
    return MailTarget(
        settings,
        senders=lambda: senders(service.settings),
        links=service.invite_link,
        public_url=service.settings.installation.server.public_url,
        clock=service.clock,
    )


def senders(settings: Settings) -> Mapping[str, Sender]:
    """How each organization presents itself in mail."""
    return {
        name: Sender(customer.organization.name, customer.settings.mail)
        for name, customer in settings.customers.items()
    }


async def settle_targets(service: Service, settings: Settings) -> None:
    """Messages of every organization go to the targets that are set, and to no other. One whose book refuses this
    host's clock stops no other. Raises ``Busy``."""
    kinds = RAISED if settings.installation.mail.host else frozenset()
    for organization in settings.customers:
        try:
            await _settle(service, organization, kinds)
        except WrongClock as error:
            event(_log, "delivery.clock", level=logging.WARNING, organization=organization, why=error.what)


async def _settle(service: Service, organization: str, kinds: frozenset[str]) -> None:
    async with service.ledger.read(organization) as reader:
        present = (await deliveries.started(reader)).get(TARGET, frozenset())
    if present == kinds:
        return
    async with service.ledger.write(organization, Unleased.DELIVERY, at=service.clock()) as book:
        if not kinds:
            await deliveries.stop(book, TARGET)
            return
        kept = await deliveries.start(book, TARGET, kinds, keep_before=book.at - _KEPT_AFTER)
    event(_log, "delivery.started", target=TARGET, organization=organization, kept=kept)
