"""The admin's whole way, over real HTTP, UDP and processes: from a domain to enabled sync and back (R1, R5)."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from connector.sso import steps
from connector.sso.gate import evidence
from connector.sso.gate.decision import GateState
from connector.sso.gate.domains import DomainState
from connector.sso.gate.sync import SyncState
from connector.sso.routes import Entrance
from connector.sso.saml.response import SignInRefused
from connector.sso.saml.service_provider import ServiceProvider
from connector.sso.saml.signing import ensure_key
from connector.sso.settings import SamlSettings, SsoSettings
from ledger.errors import Refused
from ledger.secret import SecretRef
from ledger.store import audit
from ledger.store import sso as rows
from ledger.store.engine import Ledger
from ledger.store.tables import people
from tests.parts.dns import NameServers, name_servers
from tests.parts.fences import ALONE
from tests.parts.idp import posted_form, running_idp

ORG = "acme"
DOMAIN = "acme.example"


class Clock:
    """The test's clock."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@asynccontextmanager
async def entrance(ledger: Ledger, folder: Path, clock: Clock) -> AsyncIterator[ServiceProvider]:
    """Our side, listening."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        key, certificate = folder / "saml-key.pem", folder / "saml-certificate.pem"
        ensure_key(key, certificate, name="rosterd", now=clock())
        settings = SamlSettings(
            signing_key=SecretRef("file", str(key)),
            signing_certificate=SecretRef("file", str(certificate)),
            allow_http_on_loopback=True,
        )
        provider = ServiceProvider(url, settings)
        app = web.Application()
        app.add_routes(Entrance(ledger, provider, clock, lambda: {ORG}).routes())
        runner = web.AppRunner(app)
        await runner.setup()
        await web.SockSite(runner, listening).start()
        try:
            yield provider
        finally:
            await runner.cleanup()
            await provider.close()


async def browse(url: str) -> tuple[int, str]:
    """A browser that follows redirects, keeps cookies and presses the button of a page that posts itself."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as browser:
        async with browser.get(url) as page:
            assert page.status == 200, await page.text()
            action, fields = posted_form(await page.text())
        async with browser.post(action, data=fields) as done:
            return done.status, await done.text()


async def people_of(ledger: Ledger) -> list[tuple[object, ...]]:
    """Everybody, as rows."""
    async with ledger.read(ORG) as reader:
        return [tuple(row) for row in await reader.all(reader.select(people.identity))]


async def test_r5_from_a_domain_to_enabled_sync_and_back(ledger: Ledger, tmp_path: Path, now: datetime) -> None:
    clock = Clock(now)
    async with ledger.write(ORG, ALONE, at=now) as book:
        columns = ("id", "mail", "mail_key", "given_name", "family_name", "display_name", "state", "employee_number")
        person = ("p1", "anna@acme.example", "anna@acme.example", "Anna", "Nowak", "Anna Nowak", "active", "")
        await book.begin(people.identity, (*columns, "attributes"), [(*person, {})])
    before = await people_of(ledger)
    with name_servers(tmp_path) as dns:
        async with entrance(ledger, tmp_path, clock) as provider:
            await _prove(ledger, dns, now)
            sp_metadata = provider.entity_id(ORG)
            with running_idp(tmp_path / "idp", sp_metadata, person="anna@acme.example", now=now) as idp:
                await _sign_on(ledger, provider, idp.metadata, now)
                await _enabled_and_lapsed(ledger, provider, clock)
    assert await people_of(ledger) == before  # nobody was touched
    async with ledger.read(ORG) as reader:
        assert await rows.broken_evidence(reader) == 0
        assert (await audit.verify(reader)).ok


async def _prove(ledger: Ledger, dns: NameServers, now: datetime) -> None:
    with pytest.raises(Refused) as nothing:
        await steps.enable_sync(ledger, ORG, actor="ada", now=now)
    for step in ("sso add", "sso verify", "sso connect", "sso test", "sso on"):
        assert f"rosterd {step}" in nothing.value.what  # R5: every missing step, in order
    challenge = await steps.add_domain(ledger, ORG, "ACME.example.", actor="ada", now=now)
    with pytest.raises(Refused) as missing:
        await steps.enable_sync(ledger, ORG, actor="ada", now=now)
    assert "rosterd sso verify acme.example" in missing.value.what  # every missing step, with its command
    assert "rosterd sso connect" in missing.value.what
    report = await steps.verify_domain(ledger, ORG, DOMAIN, dns=dns.settings(), actor="ada", now=now)
    assert (report.standing.state, report.proved) == (DomainState.PENDING, False)
    dns.publish(challenge.record_name, "v=spf1 -all", challenge.record_value)
    later = now + timedelta(minutes=1)
    report = await steps.verify_domain(ledger, ORG, DOMAIN, dns=dns.settings(), actor="ada", now=later)
    assert (report.standing.state, report.gate.reasons) == (DomainState.VERIFIED, ("no_connection",))


async def _sign_on(ledger: Ledger, provider: ServiceProvider, metadata: bytes, now: datetime) -> None:
    report = await steps.connect(
        ledger, ORG, metadata, settings=SsoSettings(), actor="ada", now=now, allow_http_on_loopback=True
    )
    assert report.new
    assert report.domains == (DOMAIN,)
    with pytest.raises(Refused, match="not_tested"):
        await steps.turn_on(ledger, ORG, actor="ada", now=now)
    ticket = await steps.begin_test(ledger, provider, ORG, DOMAIN, actor="ada", now=now)
    status, page = await browse(ticket.url)
    assert status == 200, page
    assert "passed" in page
    with pytest.raises(SignInRefused):  # the same test link again: used
        await _replayed(ledger, provider, ticket.url, now)
    with pytest.raises(Refused, match="sso_off"):
        await steps.enable_sync(ledger, ORG, actor="ada", now=now)
    await steps.turn_on(ledger, ORG, actor="ada", now=now)
    status, page = await browse(f"{provider.public_url}/sso/{ORG}/login?domain={DOMAIN}")
    assert (status, "signed in" in page) == (200, True)


async def _replayed(ledger: Ledger, provider: ServiceProvider, url: str, now: datetime) -> None:
    async with aiohttp.ClientSession() as browser, browser.get(url, allow_redirects=False) as page:
        assert page.status == 400
    raise SignInRefused(0, "used")


async def _enabled_and_lapsed(ledger: Ledger, provider: ServiceProvider, clock: Clock) -> None:
    now = clock()
    await steps.enable_sync(ledger, ORG, actor="ada", now=now)
    async with ledger.read(ORG) as reader:
        assert (await steps.sync_status(reader)).state is SyncState.ENABLED
        version = (await evidence.gates(reader, now=now))[DOMAIN].version
    later = clock.now = now + timedelta(hours=1)
    assert await steps.turn_off(ledger, ORG, reason="maintenance", actor="ada", now=later)
    async with ledger.read(ORG) as reader:
        gate = (await evidence.gates(reader, now=later))[DOMAIN]
        assert (gate.state, gate.reasons) == (GateState.CLOSED, ("sso_off",))
        assert gate.version == version + 1
        suspended = await steps.sync_status(reader)
    assert (suspended.state, suspended.reasons, suspended.since) == (SyncState.SUSPENDED, ("sso_off",), later)
    async with aiohttp.ClientSession() as browser, browser.get(f"{provider.public_url}/sso/{ORG}/login") as page:
        assert page.status == 404
    await steps.turn_on(ledger, ORG, actor="ada", now=later + timedelta(hours=1))
    async with ledger.read(ORG) as reader:
        assert (await steps.sync_status(reader)).state is SyncState.ENABLED  # back by itself: it was short
