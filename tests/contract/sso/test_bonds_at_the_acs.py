"""Who a browser comes in as, through the real ACS: the subject key (N3), and no assertion that rebinds (N4)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from connector.sso import sign_in
from connector.sso.routes import Entrance
from connector.sso.saml.service_provider import ServiceProvider
from connector.sso.saml.signing import ensure_key
from connector.sso.settings import SamlSettings, SsoSettings
from ledger.secret import SecretRef
from ledger.store import people
from ledger.store.engine import Ledger
from rosterd.faces import _arrive
from tests.parts.fences import ALONE
from tests.parts.idp import Key
from tests.parts.sso_organization import SsoOrganization, relay_state

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
MAIL = "elzbieta.nowak@acme.example"
FORMAT = "urn:oasis:names:tc:SAML:2.0:nameid-format:"
UNSPECIFIED = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"
COOKIE = "__Host-rosterd-sign-in"
NUMBERS = count(1)

SignIn = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture(scope="module")
def key() -> Key:
    return Key.make(NOW)


@pytest.fixture
async def acme(sqlite_url: str, tmp_path: Path, key: Key) -> AsyncIterator[SsoOrganization]:
    ledger = Ledger.open(sqlite_url)
    own, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    ensure_key(own, certificate, name="rosterd", now=NOW)
    settings = SamlSettings(
        signing_key=SecretRef("file", str(own)), signing_certificate=SecretRef("file", str(certificate))
    )
    provider = ServiceProvider("https://rosterd.example", settings, workers=1)
    yield SsoOrganization(ledger, provider, key)
    await provider.close()
    await ledger.close()


@pytest.fixture
async def sign(acme: SsoOrganization) -> AsyncIterator[SignIn]:
    """Signs somebody in as a browser does; returns the status and the page. ``at``: minutes after NOW."""
    clock = [NOW]
    service = cast(Any, SimpleNamespace(ledger=acme.ledger, clock=lambda: clock[0]))
    entrance = Entrance(acme.ledger, acme.provider, lambda: clock[0], lambda: {"acme"},
                        lambda _, done: _arrive(service, done))  # fmt: skip
    app = web.Application()
    app.add_routes(entrance.routes())

    async def through(at: int = 1, **changes: object) -> tuple[int, str]:
        now = clock[0] = NOW + timedelta(minutes=at)
        going = await sign_in.open_login(acme.ledger, acme.provider, "acme", "", cookie="", now=now)
        posted = acme.forged(going, now, assertion_id=f"_a{next(NUMBERS)}", **changes).post()
        form = {"SAMLResponse": posted, "RelayState": relay_state(going)}
        headers = {"Cookie": f"{COOKIE}={going.cookie}"}
        async with client.post("/sso/acme/acs", data=form, headers=headers) as answer:
            return answer.status, await answer.text()

    async with TestClient(TestServer(app)) as client:
        yield through


async def knows(acme: SsoOrganization, mail: str = MAIL, identity: str = "i1", at: datetime = NOW) -> None:
    """Somebody the directory brought in, by this address from ``at`` on."""
    async with acme.ledger.write("acme", ALONE, at=at) as book:
        rows = await people.open_of(book, [identity])
        await people.end_identities(book, [row.row_id for row in rows["identity"]])
        await people.begin_identities(book, [(identity, mail, mail, "E", "Nowak", "E Nowak", "active", "7", {})])


async def test_n3_the_same_address_in_another_letter_case_or_format_is_the_same_person(
    acme: SsoOrganization, sign: SignIn
) -> None:
    """cases/sso/nameid-case.md"""
    await acme.turned_on(NOW)
    await knows(acme)
    assert (await sign(name_id=MAIL))[0] == 200
    assert (await sign(2, name_id=MAIL.upper()))[0] == 200
    for number, kind in enumerate((UNSPECIFIED, f"{FORMAT}persistent", f"{FORMAT}transient", f"{FORMAT}entity")):
        assert (await sign(3 + number, name_id=f" {MAIL.title()} ", name_id_format=kind))[0] == 200, kind


async def test_n3_a_transient_name_with_a_mail_attribute_signs_in_again_and_again(
    acme: SsoOrganization, sign: SignIn
) -> None:
    """cases/sso/nameid-transient.md"""
    acme = replace(acme, settings=SsoSettings(mail_attribute="mail"))
    transient: dict[str, Any] = {"name_id_format": f"{FORMAT}transient", "attributes": {"mail": (MAIL,)}}
    await acme.turned_on(NOW, name_id="_t0", **transient)
    await knows(acme)
    for at in range(1, 5):
        assert (await sign(at, name_id=f"_random-{at}", **transient))[0] == 200
