"""Makes the two companies that schedules are played on, one with a directory in memory and one with an inbox."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from connector.directory.mapping import AttributeRules
from connector.directory.scim.inbox import Mailbox, ScimInboxSource
from connector.directory.scim.settings import ScimInboxSettings
from connector.reconcile import run
from connector.reconcile.policy.policy import Policy
from connector.reconcile.run import ConfiguredSource, Setup
from connector.reconcile.state.teams import ensure_organization
from connector.sso.gate import sync
from ledger.store.engine import Ledger
from ledger.store.inbox import Inbox
from rosterd.loading import load
from rosterd.service import Service
from rosterd.settings import Settings
from tests.interleavings.company import INBOX
from tests.interleavings.schedules import Made
from tests.interleavings.script import PEOPLE, SEATS
from tests.parts.directories import ORGANIZATION, RULES, HandSource, mapping, policy, sell
from tests.parts.fences import ALONE
from tests.parts.idp import Key
from tests.parts.installation import Installation
from tests.parts.postgres import PostgresServer
from tests.parts.pushing import Provider
from tests.parts.sso_organization import SsoOrganization

BEGIN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def settings(folder: Path) -> Settings:
    """Of a new installation in this folder that delivers."""
    made = Installation.make(folder)
    with made.file.open("a", encoding="utf-8") as file:
        file.write('\n[mail]\nhost = "127.0.0.1"\nsender = "rosterd@acme.example"\nsecurity = "none"\n')
    return load(made.file, {})


def on_sqlite(settings: Settings, template: Path, memory: Path) -> Made:
    """``template``: a folder of migrated files; ``memory``: where the copies lie."""
    companies = {pushed: memory / f"company {pushed}" for pushed in (False, True)}
    for pushed, folder in companies.items():
        shutil.copytree(template, folder)
        asyncio.run(_fill(f"sqlite:///{folder}", settings, pushed=pushed))
    return Made(settings, POLICIES, BEGIN, companies, memory)


def on_postgres(settings: Settings, server: PostgresServer, template: str, memory: Path) -> Made:
    """``template``: the name of a migrated database."""
    companies = {pushed: f"company_{pushed}".lower() for pushed in (False, True)}
    for pushed, name in companies.items():
        asyncio.run(_fill(server.create_database(name, template=template), settings, pushed=pushed))
    return Made(settings, POLICIES, BEGIN, companies, memory, server)


async def _fill(url: str, settings: Settings, *, pushed: bool) -> None:
    """Six people in a Team with a seat more than that, behind a gate that is really open. More than one leaver at once
    is held."""
    before = BEGIN - timedelta(hours=1)
    ledger, inbox = Ledger.open(url), Inbox.open(url)
    await ledger.migrate()
    await inbox.migrate()
    chosen = POLICIES["wide"]
    await ensure_organization(ledger, ORGANIZATION, chosen.teams, now=before)
    await sell(ledger, before, "Design", "CAD", SEATS)
    service = Service(settings, ledger, lambda: before)
    organization = SsoOrganization(ledger, service.provider(), Key.make(before))
    await organization.turned_on(before)
    await sync.enable_sync(ledger, ORGANIZATION.id, actor="ada", now=before)
    source: Any
    if pushed:
        provider = Provider(inbox, ORGANIZATION.id, INBOX)
        provider.at = before
        await provider.hire(*PEOPLE, group="design")
        wanted = ScimInboxSettings(id=INBOX)
        source = ConfiguredSource(
            ScimInboxSource(wanted, Mailbox(inbox, ORGANIZATION.id)), AttributeRules.from_settings(wanted)
        )
    else:
        directory = HandSource()
        directory.put(*PEOPLE, groups=["design"])
        source = ConfiguredSource(directory, RULES)
    setup = Setup(ORGANIZATION, chosen, (source,))
    seen = await run.plan(ledger, setup, now=before)
    await run.apply(ledger, setup, fence=ALONE, now=before, actor="test", digest=seen.digest)
    await inbox.close()
    await ledger.close()


def _policy(approvers: int) -> Policy:
    limits = {"day_floor": 1, "day_percent": 0, "team_day_floor": 99, "approvers": approvers}
    return policy(mapping("design", "Design", "CAD"), limits=limits)


POLICIES = {"wide": _policy(1), "strict": _policy(2)}
"""One mapping, and a limit of one; strict: two have to approve."""
