"""What `rosterd sso` says of a connection to somebody who never saw one (sso.md §1; N1, N2)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from connector.sso import steps
from connector.sso.settings import SsoSettings
from ledger.errors import Unavailable
from ledger.jobs import Unleased
from rosterd.clock import utc_now
from rosterd.loading import load
from rosterd.service import Service
from tests.parts.idp import Key, metadata
from tests.parts.installation import Installation
from tests.parts.sso_organization import IDP, SsoOrganization, prove

SOURCE = "https://idp.acme.example/metadata.xml?token=geheim"
Act = Callable[[SsoOrganization, datetime], Awaitable[None]]


@pytest.fixture
def acme(tmp_path: Path) -> Installation:
    return Installation.make(tmp_path / "etc")


def walk(acme: Installation, act: Act) -> None:
    """Something that happens in the installation, by its own services."""

    async def within() -> None:
        async with Service.opened(load(acme.file, {}), makes=True) as service:
            await service.register()
            now = utc_now()
            await act(SsoOrganization(service.ledger, service.provider(), Key.make(now)), now)

    asyncio.run(within())


async def _on(company: SsoOrganization, now: datetime) -> None:
    await prove(company.ledger, "acme", "acme.example", now)
    await steps.connect(
        company.ledger,
        "acme",
        metadata(IDP, company.key),
        settings=SsoSettings(),
        actor="ada",
        now=now,
        source=SOURCE,
    )
    await company.test(now)
    await steps.turn_on(company.ledger, "acme", actor="ada", now=now)


def test_a_new_certificate_is_named_and_confirmed_as_printed(acme: Installation) -> None:
    async def rolled(company: SsoOrganization, now: datetime) -> None:
        await _on(company, now)

        async def fetch(url: str) -> bytes:
            assert url == SOURCE
            return metadata(IDP, company.key, Key.make(now, life=timedelta(days=20)))

        fence = Unleased.EVIDENCE
        settings = SsoSettings()
        await steps.refresh(company.ledger, "acme", settings=settings, fetch=fetch, now=utc_now(), fence=fence)

    walk(acme, rolled)
    said = acme.rosterd("sso", "status").out
    assert "version 2 judges sign-ins" in said
    assert "its signature was seen in a test or sign-in" in said
    assert "new: no test and no first sign-in by it before" in said
    assert "geheim" not in said
    command = next(line.split(" → ")[1] for line in said.splitlines() if "confirm-certificate" in line)
    done = acme.rosterd(*command.split()[1:])
    assert done.code == 0, done.err
    assert "confirm-certificate" not in acme.rosterd("sso", "status").out
    assert "geheim" not in acme.rosterd("sso", "status", "--json").out


def test_an_address_that_is_silent_or_shows_another_provider(acme: Installation) -> None:
    async def changed(company: SsoOrganization, now: datetime) -> None:
        await _on(company, now)

        async def silent(url: str) -> bytes:
            raise Unavailable("cannot be reached: no connection in time", where="idp.acme.example")

        async def other(url: str) -> bytes:
            return metadata("https://other.example", company.key)

        for fetch in (silent, other, silent):
            settings = SsoSettings()
            await steps.refresh(
                company.ledger, "acme", settings=settings, fetch=fetch, now=utc_now(), fence=Unleased.EVIDENCE
            )

    walk(acme, changed)
    said = acme.rosterd("sso", "status").out
    assert f"{IDP}: on_warn" in said
    assert "cannot be read since" in said
    assert "(1 times)" not in said
    assert "has shown another identity provider" in said
    assert "version 2 waits (a refresh made it): another identity provider: https://other.example" in said
    assert "rosterd sso test acme.example" in said
    assert "acme.example: verified, gate open" in said


def test_on_names_what_is_missing_and_who_has_to_complete_it(acme: Installation) -> None:
    """Case sso-on-untested, on the command line."""

    async def tested(company: SsoOrganization, now: datetime) -> None:
        await prove(company.ledger, "acme", "acme.example", now)
        await prove(company.ledger, "acme", "acme-labs.example", now)
        await company.reconnect(now)
        await company.test(now)

    walk(acme, tested)
    refused = acme.rosterd("sso", "on", "acme-labs.example")
    assert refused.code == 3
    assert "rosterd sso test acme-labs.example" in refused.err
    acme.append("\n[sso]\nsecond_approver = true\n")
    asked = acme.rosterd("sso", "on")
    assert asked.code == 3
    assert "it is not on yet" in asked.out
    assert "somebody else completes it" in acme.rosterd("sso", "status").out
    acme.edit("organizations/acme.toml", "second_approver = true", "second_approver = false")
    done = acme.rosterd("sso", "on")
    assert done.code == 0
    assert "single sign-on is on for acme.example\n" in done.out
    assert "not on: acme-labs.example: nobody of the domain has passed a test" in done.out


def test_the_operator_frees_an_entity_id(acme: Installation) -> None:
    """Whoever holds it; nobody is told of it but the operator and the audit."""
    walk(acme, _on)
    free = ("sso", "release-provider", IDP, "--reason")
    assert "say why: --reason" in acme.rosterd(*free, " ").err
    done = acme.rosterd(*free, "it is another's")
    assert done.code == 0
    assert f"acme no longer holds {IDP}; its single sign-on is off" in done.out
    assert "it is another's" in acme.rosterd("sso", "status").out
    assert "no organization holds" in acme.rosterd(*free, "again").err
