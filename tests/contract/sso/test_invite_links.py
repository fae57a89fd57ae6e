"""Links of invites give no authority (N7): who claims is decided by the assertion, and nothing is spent by looking."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import unescape
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from connector.sso.invite_link import InviteLinks
from connector.sso.routes import Entrance
from connector.sso.saml.service_provider import ServiceProvider
from connector.sso.saml.signing import ensure_key
from connector.sso.settings import SamlSettings
from connector.sso.sign_in import Outgoing
from ledger.secret import SecretRef
from ledger.store import claims, people, runs
from ledger.store.engine import Ledger
from rosterd.faces import arrive
from tests.parts.ended import ended
from tests.parts.fences import ALONE
from tests.parts.idp import Key
from tests.parts.sso_organization import SsoOrganization

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
URL = "https://rosterd.example"
LINKS = InviteLinks(b"a secret of the installation", URL)
NUMBERS = count(1)


@dataclass
class Browser:
    """Somebody with a link, in front of the real pages."""

    acme: SsoOrganization
    client: TestClient[web.Request, web.Application]
    clock: list[datetime] = field(default_factory=lambda: [NOW])

    async def look(self, identity: str, method: str = "GET", links: InviteLinks = LINKS) -> tuple[int, str, str]:
        """Status, page, and where its one link leads (empty: it has none)."""
        address = links.address("acme", identity).removeprefix(URL)
        async with self.client.request(method, address) as answer:
            page = await answer.text()
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert answer.headers["Cache-Control"] == "no-store"
        found = re.search(r'href="([^"]+)"', page)
        return answer.status, page, unescape(found[1]).removeprefix(URL) if found else ""

    async def sign_in(self, way: str, mail: str) -> tuple[int, str]:
        """Follow the page's link, and come back from the provider as ``mail``."""
        async with self.client.get(way, allow_redirects=False) as answer:
            assert answer.status == 303, await answer.text()
            [cookie] = [value.value for name, value in answer.cookies.items() if value.value]
            state = parse_qs(urlsplit(answer.headers["Location"]).query)["RelayState"][0]
        request = self.acme.provider.seal.opened(cookie, "acme")
        assert request is not None
        going = Outgoing(answer.headers["Location"], "", cookie, request.id)
        posted = self.acme.forged(going, self.clock[0], name_id=mail, assertion_id=f"_i{next(NUMBERS)}").post()
        form = {"SAMLResponse": posted, "RelayState": state}
        headers = {"Cookie": f"__Host-rosterd-sign-in-1={cookie}"}
        async with self.client.post("/sso/acme/acs", data=form, headers=headers, allow_redirects=False) as back:
            return await ended(self.client, back)


@pytest.fixture
async def browser(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Browser]:
    ledger = Ledger.open(sqlite_url)
    own, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    ensure_key(own, certificate, name="rosterd", now=NOW)
    settings = SamlSettings(
        signing_key=SecretRef("file", str(own)), signing_certificate=SecretRef("file", str(certificate))
    )
    provider = ServiceProvider(URL, settings, workers=1)
    acme = SsoOrganization(ledger, provider, Key.make(NOW))
    await acme.turned_on(NOW)
    async with ledger.write("acme", ALONE, at=NOW) as book:
        await people.put_organization(book, "Acme & <Sons>", "UTC")
        rows = [(p, f"{p}@acme.example", f"{p}@acme.example", "", "", p, "active", "", {}) for p in ("anna", "bo")]
        await people.begin_identities(book, rows)
    clock = [NOW + timedelta(minutes=1)]
    service = cast(Any, SimpleNamespace(ledger=ledger, clock=lambda: clock[0]))
    entrance = Entrance(
        ledger, provider, lambda: clock[0], lambda: {"acme", "globex"},
        lambda done: arrive(service, done), LINKS,
    )  # fmt: skip
    app = web.Application()
    app.add_routes(entrance.routes())
    async with TestClient(TestServer(app)) as client:
        yield Browser(acme, client, clock)
    await provider.close()
    await ledger.close()


async def bound(browser: Browser, identity: str) -> int:
    async with browser.acme.ledger.read("acme") as reader:
        return len(await claims.bonds_of_person(reader, identity))


async def test_n7_a_link_leads_to_the_own_provider_and_the_invite_is_claimed_by_the_sign_in(browser: Browser) -> None:
    for method in ("HEAD", "GET", "GET"):
        status, page, way = await browser.look("anna", method)
        assert status == 200
    assert "You are invited by Acme &amp; &lt;Sons&gt;." in page
    assert "anna" not in page, "whoever has only the link learns no address"
    assert await bound(browser, "anna") == 0, "nothing is spent by looking"
    status, page = await browser.sign_in(way, "anna@acme.example")
    assert (status, "Welcome, anna@acme.example." in page) == (200, True)
    assert await bound(browser, "anna") == 1
    status, page, way = await browser.look("anna")
    assert "was claimed already" in page
    assert (await browser.sign_in(way, "anna@acme.example"))[0] == 200


async def test_n7_another_address_than_the_invited_claims_nothing_and_learns_nothing(browser: Browser) -> None:
    _, _, way = await browser.look("anna")
    status, page = await browser.sign_in(way, "bo@acme.example")
    assert status == 403
    assert "you signed in as bo@acme.example, and this invite is for somebody else" in page
    assert "anna" not in page
    assert (await bound(browser, "anna"), await bound(browser, "bo")) == (0, 0)
    _, _, own = await browser.look("bo")
    assert (await browser.sign_in(own, "bo@acme.example"))[0] == 200
    status, page = await browser.sign_in(way, "bo@acme.example")
    assert (status, "The invite that you followed is for somebody else." in page) == (200, True)
    assert await bound(browser, "anna") == 0


async def test_n7_what_no_longer_stands_says_so_and_leads_nowhere(browser: Browser) -> None:
    async with browser.acme.ledger.write("acme", ALONE, at=NOW) as book:
        await runs.add_due(book, [(NOW + timedelta(days=1), "invite_expiry", "anna")])
    assert (await browser.look("anna"))[2]
    browser.clock[0] = NOW + timedelta(days=2)
    status, page, way = await browser.look("anna")
    assert (status, way, "no longer stands" in page) == (200, "", True)
    status, page, way = await browser.look("nobody")
    assert (status, way) == (404, "")
    status, page, way = await browser.look("bo", links=InviteLinks(b"another secret", URL))
    assert (status, way) == (404, "")


async def test_n7_a_link_is_one_organization_s(browser: Browser) -> None:
    text = LINKS.address("acme", "anna").partition("?i=")[2]
    for organization, wanted in (("globex", 404), ("elsewhere", 404), ("acme", 200)):
        async with browser.client.get(f"/sso/{organization}/invite?i={text}") as answer:
            assert answer.status == wanted
    async with browser.client.get("/sso/acme/invite") as answer:
        assert answer.status == 404


@given(
    organization=st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True), identity=st.text(min_size=1, max_size=64)
)
def test_n7_a_link_is_read_as_it_was_made_and_only_so(organization: str, identity: str) -> None:
    if not identity.isprintable() or any("\ud800" <= sign <= "\udfff" for sign in identity):
        return
    text = LINKS.address(organization, identity).partition("?i=")[2]
    assert LINKS.identity(organization, text) == identity
    assert LINKS.identity(f"{organization}x", text) == ""
    for changed in (text[:-1], f"{text}A", text.swapcase(), "", "ä", "%00", text * 9):
        assert LINKS.identity(organization, changed) in {"", identity if changed == text else ""}
