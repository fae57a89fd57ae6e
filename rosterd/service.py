"""The only place that constructs: settings → ledger, sources, policy, warehouse, keys. Reads the clock.

Decides nothing; hands out what it made and closes it again. Opened is the ledger alone; what only some commands and
jobs need (directories, the reconciling run, the inbox, published tables, SAML) is imported by what hands it out.
"""

from __future__ import annotations

import getpass
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from access.principal import Principal, operator
from ledger.errors import BadInput
from ledger.jobs import Claim, Leased, run_lease
from ledger.store.engine import Ledger
from rosterd.clock import Clock, host_clock, utc_now
from rosterd.leasing import leased
from rosterd.logs import event
from rosterd.own_side import ensure_own_key, own_side
from rosterd.settings import Customer, InstallationSettings, Settings

if TYPE_CHECKING:
    from access.outbound.door import Door, Fetched
    from connector.directory.scim.inbox import Mailbox
    from connector.reconcile.explain.ask import ConfiguredFinder
    from connector.reconcile.policy.policy import Policy
    from connector.reconcile.run import Setup
    from connector.sso.saml.service_provider import ServiceProvider
    from ledger.published.iceberg import Warehouse
    from ledger.store.inbox import Inbox

_log = logging.getLogger(__name__)


_METADATA_BYTES = 5 * 1024 * 1024


def actor() -> str:
    """How the audit names whoever works on this host: ``operator:<system user>``."""
    try:
        return f"operator:{getpass.getuser()}"
    except (KeyError, OSError):  # a container may run under a number that has no name
        return "operator:unknown"


class Service:
    """An opened installation. ``async with Service.opened(settings) as service``."""

    def __init__(self, settings: Settings, ledger: Ledger, clock: Clock, *, makes: bool = False) -> None:
        self._makes = makes
        self.settings = settings
        self.ledger = ledger
        self.clock = clock
        self._warehouse: Warehouse | None = None
        self._inbox: Inbox | None = None
        self._provider: ServiceProvider | None = None

    @classmethod
    @asynccontextmanager
    async def opened(cls, settings: Settings, *, clock: Clock = utc_now, makes: bool = False) -> AsyncIterator[Service]:
        """Open the ledger, bring its schema up to date, close everything at the end; files made meanwhile are their
        owner's alone.

        ``makes``: a ledger and an inbox where there is nothing at all yet. A missing one is else ``BadInput``: an empty
        one in its place would begin everything anew.
        """
        ledger = Ledger.open(settings.installation.database.connection_url(), clock=host_clock(clock))
        service = cls(settings, ledger, clock, makes=makes)
        umask = os.umask(0o077)
        try:
            if not await ledger.exists():
                service._require_fresh()
            await ledger.migrate()
            yield service
        finally:
            os.umask(umask)
            await service.close()

    def _require_fresh(self) -> None:
        """Raise ``BadInput`` unless a ledger may be made where there is none."""
        installation = self.settings.installation
        url = installation.database.url
        where = str(Ledger.file(url)) if url.startswith("sqlite:///") else f"{url}, schema ledger"
        if not self._makes:
            raise BadInput(
                "there is no ledger",
                where=where,
                next_step="rosterd serve makes one in a fresh folder; where there was one, restore its backup",
            )
        if beside := _kept_beside(installation):
            raise BadInput(
                f"there is no ledger, though there is {', '.join(beside)}: it was lost",
                where=where,
                next_step="restore its backup; to begin anew, move the rest away first",
            )

    async def register(self, settings: Settings | None = None) -> dict[str, tuple[str, ...]]:
        """Bring every organization file's Teams and admins into the ledger, and which domains it declares; returns
        addresses not known yet. ``settings``: those that are about to be in force."""
        from connector.reconcile.state.teams import ensure_organization
        from connector.sso.proof.domain_steps import declare

        unknown: dict[str, tuple[str, ...]] = {}
        for identifier, customer in (settings or self.settings).customers.items():
            unknown[identifier] = await ensure_organization(
                self.ledger, customer.organization, customer.settings.teams, now=self.clock()
            )
            listed = {item.name: item.grace for item in customer.settings.domains}
            for name in await declare(self.ledger, identifier, listed, actor=actor(), now=self.clock()):
                event(_log, "domain.undeclared", level=logging.WARNING, organization=identifier, domain=name)
        return unknown

    def try_out(self, customer: Customer) -> None:
        """Let another file stand for this organization's, in this process only (what-if, P6)."""
        customers = {**self.settings.customers, customer.organization.id: customer}
        self.settings = replace(self.settings, customers=customers)

    def door(self) -> Door:
        """The one way out (N12), as the operator opened it."""
        from access.outbound.door import Door

        return Door(self.settings.installation.outbound)

    async def fetch_proof(self, url: str) -> Fetched:
        """The file that proves a domain: as ``door``, but by public authorities alone (N13)."""
        from access.outbound.door import Door

        return await Door(self.settings.installation.outbound.without_ca()).get(url)

    async def fetch_metadata(self, url: str) -> bytes:
        """An identity provider's metadata, through the one way out."""
        from access.outbound.door import Caps

        return (await self.door().get(url, Caps(size=_METADATA_BYTES))).body

    @asynccontextmanager
    async def setup(self, organization: str) -> AsyncIterator[Setup]:
        """What a run of one organization needs; its sources are closed at the end."""
        from connector.directory.mapping import AttributeRules
        from connector.directory.sources import open_source
        from connector.reconcile.run import ConfiguredSource, Setup

        customer = self.settings.customer(organization)
        mailbox = await self._mailbox(customer)
        sources = tuple(
            ConfiguredSource(
                open_source(item, folder=customer.file.parent, mailbox=mailbox), AttributeRules.from_settings(item)
            )
            for item in customer.settings.directories
        )
        try:
            every = self.settings.installation.schedule.full_reading_every
            yield Setup(customer.organization, policy(customer), sources, every)
        finally:
            for item in sources:
                await item.source.close()

    @asynccontextmanager
    async def finders(self, organization: str) -> AsyncIterator[tuple[ConfiguredFinder, ...]]:
        """The organization's directories, to be asked for one person; closed at the end."""
        from connector.directory.mapping import AttributeRules
        from connector.directory.sources import open_finder
        from connector.reconcile.explain.ask import ConfiguredFinder

        customer = self.settings.customer(organization)
        mailbox = await self._mailbox(customer)
        found = tuple(
            ConfiguredFinder(
                open_finder(item, folder=customer.file.parent, mailbox=mailbox), AttributeRules.from_settings(item)
            )
            for item in customer.settings.directories
        )
        try:
            yield found
        finally:
            for item in found:
                await item.finder.close()

    async def inbox(self) -> Inbox:
        """What identity providers pushed, opened and brought up to date at first use."""
        from ledger.store.inbox import Inbox

        if self._inbox is None:
            url = self.settings.installation.database.connection_url()
            opened = Inbox.open(url, clock=host_clock(self.clock))
            try:
                if not self._makes and not await opened.exists():
                    raise BadInput(
                        "there is no inbox",
                        where=str(Inbox.file(url)) if opened.dialect == "sqlite" else "schema inbox",
                        next_step="rosterd serve makes one; where there was one, restore its backup",
                    )
                await opened.migrate()
            except BaseException:
                await opened.close()
                raise
            if self._inbox is None:
                self._inbox = opened
            else:  # somebody else was first
                await opened.close()
        return self._inbox

    async def _mailbox(self, customer: Customer) -> Mailbox | None:
        """The inbox of an organization that has one."""
        if not any(item.kind == "scim_inbox" for item in customer.settings.directories):
            return None
        from connector.directory.scim.inbox import Mailbox

        return Mailbox(await self.inbox(), customer.organization.id)

    @asynccontextmanager
    async def leased(self, organization: str, claim: Claim | None = None) -> AsyncIterator[Leased]:
        """The right to write by the organization's run lease while the block runs; raises ``Busy``. ``claim``: the
        attempt at a job that it is for."""
        async with leased(self.ledger, run_lease(organization), clock=self.clock) as lease:
            yield Leased(lease, claim)

    def warehouse(self) -> Warehouse:
        """The published tables, opened at first use."""
        from ledger.published.iceberg import Warehouse

        if self._warehouse is None:
            installation = self.settings.installation
            self._warehouse = Warehouse.open(installation.storage.warehouse, installation.database.connection_url())
        return self._warehouse

    def provider(self) -> ServiceProvider:
        """Our SAML service provider, made at first use; its key too, where the files do not exist yet."""
        from connector.sso.saml.service_provider import ServiceProvider

        if self._provider is None:
            installation = self.settings.installation
            ensure_own_key(self.settings)
            self._provider = ServiceProvider(
                installation.server.public_url,
                installation.saml,
                sso_of=lambda organization: own_side(self.settings, organization).sso,
                secret=self.pepper(),
            )
        return self._provider

    def pepper(self) -> bytes:
        """The HMAC key of tokens; raises ``BadInput`` when it cannot be read or is too short to be one."""
        return self.settings.installation.secrets.pepper.reveal_key("secrets.pepper")

    def invite_link(self, organization: str, identity: str) -> str:
        """The page on which somebody's invite begins; raises like ``pepper``."""
        from connector.sso.invite_link import InviteLinks

        return InviteLinks(self.pepper(), self.settings.installation.server.public_url).address(organization, identity)

    def pseudonym_key(self) -> bytes:
        """The HMAC key of user keys in reports; raises like ``pepper``."""
        return self.settings.installation.secrets.pseudonym_key.reveal_key("secrets.pseudonym_key")

    def operator(self, organization: str) -> Principal:
        """Whoever runs this process, bound to one organization."""
        self.settings.customer(organization)
        return operator(organization, actor().removeprefix("operator:"))

    async def close(self) -> None:
        """Let go of the databases."""
        if self._provider is not None:
            await self._provider.close()
        if self._warehouse is not None:
            await self._warehouse.close()
        if self._inbox is not None:
            await self._inbox.close()
        await self.ledger.close()


def policy(customer: Customer) -> Policy:
    """The policy of one organization file."""
    from connector.reconcile.policy.policy import Policy

    settings = customer.settings
    return Policy.build(
        teams=settings.teams,
        mappings=settings.mappings,
        offboarding=settings.offboarding,
        limits=settings.limits,
        sync=settings.sync,
        guests=settings.guests,
        directories={item.id: tuple(item.field_attributes()) for item in settings.directories},
        domains=[item.name for item in settings.domains],
        invites=settings.invites,
    )


def _kept_beside(installation: InstallationSettings) -> list[str]:
    """What only an installation that had a ledger has: other databases in its folder, published tables."""
    databases, tables = installation.database.folder, installation.storage.folder
    kept = sorted(databases.glob("*.db")) if databases else []
    found = [str(file) for file in kept if file.is_symlink() or file.stat().st_size]
    if tables and tables.is_dir() and any(tables.iterdir()):
        found.append(str(tables))
    return found
