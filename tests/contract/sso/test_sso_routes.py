"""What a browser sees of ``/sso``: one generic refusal, safe cookies and headers, no open redirect (case 15)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from connector.sso import pages, sign_in, steps
from connector.sso.pages import Letterhead, Page
from connector.sso.routes import Entrance, _form
from connector.sso.saml.metadata import POST
from connector.sso.saml.service_provider import ServiceProvider
from connector.sso.saml.signing import ensure_key
from connector.sso.settings import SamlSettings
from connector.sso.sign_in import Outgoing, SignedIn
from ledger.errors import BadInput
from ledger.secret import SecretRef
from ledger.settings import Language
from ledger.store import sso as rows
from ledger.store.engine import Ledger
from ledger.store.tables.sso import sso_version
from tests.parts.ended import ended
from tests.parts.fences import ALONE
from tests.parts.idp import Key, posted_form
from tests.parts.sso_organization import SsoOrganization, relay_state

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
COOKIE = "__Host-rosterd-sign-in"
_named = re.compile(r"Reference: [0-9a-f]{10}")
Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def acme(sqlite_url: str, tmp_path: Path) -> AsyncIterator[SsoOrganization]:
    ledger = Ledger.open(sqlite_url)
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    ensure_key(key, certificate, name="rosterd", now=NOW)
    settings = SamlSettings(
        signing_key=SecretRef("file", str(key)), signing_certificate=SecretRef("file", str(certificate))
    )
    provider = ServiceProvider("https://rosterd.example", settings, workers=1)
    yield SsoOrganization(ledger, provider, Key.make(NOW))
    await provider.close()
    await ledger.close()


@pytest.fixture
async def arrived() -> list[SignedIn]:
    return []


@pytest.fixture
async def clock() -> list[datetime]:
    return [NOW]


@pytest.fixture
async def browser(acme: SsoOrganization, arrived: list[SignedIn], clock: list[datetime]) -> AsyncIterator[Client]:
    async def arrive(person: SignedIn) -> Page:
        arrived.append(person)
        return Page(kind="welcome", values={"mail": person.mail.text})

    app = web.Application()
    entrance = Entrance(
        acme.ledger, acme.provider, lambda: clock[0], lambda: {"acme", "rival"}, arrive,
        letterhead=lambda organization: Letterhead("Acme & Söhne", "pl" if organization == "rival" else "en"),
    )  # fmt: skip
    app.add_routes(entrance.routes())
    async with TestClient(TestServer(app)) as client:
        yield client


async def post(browser: Client, going: Outgoing, posted: str, state: str | None = None) -> tuple[int, str]:
    form = {"SAMLResponse": posted, "RelayState": relay_state(going) if state is None else state}
    headers = {"Cookie": f"{COOKIE}={going.cookie}"}
    async with browser.post("/sso/acme/acs", data=form, headers=headers, allow_redirects=False) as answer:
        return await ended(browser, answer)


async def test_metadata_names_us_and_our_key_and_nothing_to_encrypt_for(browser: Client) -> None:
    async with browser.get("/sso/acme/metadata") as answer:
        text = await answer.text()
    assert answer.content_type == "application/samlmetadata+xml"
    assert 'entityID="https://rosterd.example/sso/acme/metadata"' in text
    assert 'Location="https://rosterd.example/sso/acme/acs"' in text
    assert 'AuthnRequestsSigned="true"' in text
    assert 'use="encryption"' not in text


async def test_a_posted_request_runs_no_script_but_ours_whatever_the_address_holds(
    acme: SsoOrganization, browser: Client
) -> None:
    """Versions of before may hold an address with markup: the page escapes it, and its policy names one script."""
    await acme.connect(NOW)
    ticket = await steps.begin_test(acme.ledger, acme.provider, "acme", "acme.example", actor="ada", now=NOW)
    evil = 'https://idp.acme.example/sso"><script>alert(1)</script><i x="'
    async with acme.ledger.write("acme", ALONE, at=NOW) as book:
        row = await rows.version(book, "main", 1)
        assert row is not None
        await book.update(sso_version, {"facts": {**row.facts, "services": {POST: evil}}}, sso_version.c.version == 1)
    async with browser.get(ticket.url.removeprefix("https://rosterd.example"), allow_redirects=False) as answer:
        page, policy = await answer.text(), answer.headers["Content-Security-Policy"]
    assert answer.status == 200
    action, fields = posted_form(page)
    assert action == evil
    assert fields.keys() == {"SAMLRequest", "RelayState"}
    assert b"AuthnRequest" in base64.b64decode(fields["SAMLRequest"])
    assert b"SignatureValue" in base64.b64decode(fields["SAMLRequest"])
    [script] = re.findall(r"<script>(.*?)</script>", page)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{allowed}';" in policy
    assert "unsafe" not in policy


async def test_organizations_that_do_not_exist(browser: Client) -> None:
    for path in ("/sso/other/metadata", "/sso/other/login", "/sso/other/test?ticket=x"):
        async with browser.get(path) as answer:
            assert answer.status == 404
    async with browser.get("/sso/acme/login") as answer:  # exists, but is not on
        assert answer.status == 404


async def test_test_sign_in_sets_a_cookie_no_other_site_can_plant(acme: SsoOrganization, browser: Client) -> None:
    await acme.connect(NOW)
    ticket = await steps.begin_test(acme.ledger, acme.provider, "acme", "acme.example", actor="ada", now=NOW)
    path = ticket.url.removeprefix("https://rosterd.example")
    async with browser.get(path, allow_redirects=False) as answer:
        assert answer.status == 303
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith(f"{COOKIE}-")
        for part in ("HttpOnly", "Secure", "SameSite=None", "Path=/"):
            assert part in cookie
        assert "Domain" not in cookie
        assert answer.headers["Cache-Control"] == "no-store"
        assert parse_qs(urlsplit(answer.headers["Location"]).query).keys() == {
            "SAMLRequest",
            "RelayState",
            "SigAlg",
            "Signature",
        }
    async with browser.get(path, allow_redirects=False) as answer:
        assert answer.status == 400  # a ticket is good once


async def test_who_only_looks_spends_no_ticket(acme: SsoOrganization, browser: Client) -> None:
    """Mail scanners and previews send HEAD."""
    await acme.connect(NOW)
    ticket = await steps.begin_test(acme.ledger, acme.provider, "acme", "acme.example", actor="ada", now=NOW)
    path = ticket.url.removeprefix("https://rosterd.example")
    for page in (path, "/sso/acme/login"):
        async with browser.head(page, allow_redirects=False) as answer:
            assert answer.status == 405
            assert "Set-Cookie" not in answer.headers
    async with browser.get(path, allow_redirects=False) as answer:
        assert answer.status == 303


@pytest.mark.parametrize(
    "changes", [{"name_id": "ceo@other.example"}, {"audience": "https://x"}, {"sign_assertion": False}, {"status": "x"}]
)
async def test_every_refusal_looks_the_same(acme: SsoOrganization, browser: Client, changes: dict[str, object]) -> None:
    await acme.connect(NOW)
    await acme.test(NOW)
    await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW)
    going = await acme.start_login(NOW)
    status, text = await post(browser, going, acme.forged(going, NOW, assertion_id="_b", **changes).post())
    junk = await post(browser, replace(going, cookie=""), "junk")
    assert (status, _named.sub("", text)) == (junk[0], _named.sub("", junk[1]))
    assert status == 400
    assert "could not be completed" in text
    assert _named.search(text)


async def test_who_proves_nothing_writes_nothing(
    acme: SsoOrganization, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await acme.turned_on(NOW)
    going = await acme.start_test(NOW)
    posted = acme.forged(going, NOW, assertion_id="_new").post()
    unknown = acme.forged(replace(going, request_id="_unknown"), NOW).post()
    monkeypatch.setattr(Ledger, "write", None)
    assert (await post(browser, going, unknown))[0] == 400
    for cookie in ("", "another browser's"):
        assert (await post(browser, replace(going, cookie=cookie), posted))[0] == 400
    async with browser.get("/sso/acme/test?ticket=unknown") as answer:
        assert answer.status == 400
    monkeypatch.undo()
    assert (await post(browser, going, posted))[0] == 200, "its request still waits"


async def test_relay_state_never_says_where_to_go(
    acme: SsoOrganization, browser: Client, arrived: list[SignedIn]
) -> None:
    await acme.turned_on(NOW)
    async with browser.get("/sso/acme/login", allow_redirects=False) as answer:
        location = answer.headers["Location"]
        (cookie,) = (found.value for name, found in answer.cookies.items() if name.startswith(COOKIE))
    fields = parse_qs(urlsplit(location).query)
    for number, state in enumerate(("https://evil.example", "//evil.example", "javascript:alert(1)")):
        going = await acme.start_test(NOW)
        posted = acme.forged(going, NOW, assertion_id=f"_{number}").post()
        assert (await post(browser, going, posted, state))[0] == 400
    assert len(fields["RelayState"][0]) > 40
    assert len(cookie) > 40
    assert arrived == []


async def test_a_click_on_a_tile_begins_a_sign_in_of_ours(acme: SsoOrganization, browser: Client) -> None:
    await acme.turned_on(NOW)
    going = await acme.start_test(NOW)

    def drop(root: object) -> None:
        del root.attrib["InResponseTo"]  # type: ignore[attr-defined]

    posted = acme.forged(going, NOW, before_signing=drop).post()
    form = {"SAMLResponse": posted, "RelayState": "https://evil.example"}
    async with browser.post("/sso/acme/acs", data=form, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "https://rosterd.example/sso/acme/login")


async def test_who_signed_in_is_handed_on(acme: SsoOrganization, browser: Client, arrived: list[SignedIn]) -> None:
    await acme.turned_on(NOW)
    going = await sign_in.open_login(acme.ledger, acme.provider, "acme", "acme.example", now=NOW)
    posted = acme.forged(going, NOW, assertion_id="_login").post()
    status, page = await post(browser, going, posted)
    assert (status, "Welcome, anna@acme.example." in page) == (200, True)
    assert [(person.organization, person.mail.key) for person in arrived] == [("acme", "anna@acme.example")]


async def test_a_sign_in_ends_at_a_page_that_can_be_loaded_again_by_its_browser_alone(
    acme: SsoOrganization, browser: Client, clock: list[datetime]
) -> None:
    await acme.turned_on(NOW)
    going = await sign_in.open_login(acme.ledger, acme.provider, "acme", "acme.example", now=NOW)
    form = {"SAMLResponse": acme.forged(going, NOW, assertion_id="_e").post(), "RelayState": relay_state(going)}
    cookie = {"Cookie": f"{COOKIE}={going.cookie}"}
    async with browser.post("/sso/acme/acs", data=form, headers=cookie, allow_redirects=False) as answer:
        [morsel] = answer.cookies.values()
        end = answer.headers["Location"].removeprefix("https://rosterd.example")
    assert (answer.status, end.startswith("/sso/acme/done?n=")) == (303, True)
    assert (morsel.key, morsel["samesite"], morsel["secure"]) == ("__Host-rosterd-signed-in", "Lax", True)
    assert (morsel["httponly"], morsel["path"], morsel["max-age"], morsel["domain"]) == (True, "/", "600", "")

    async def load(path: str, kept: str) -> str:
        async with browser.get(path, headers={"Cookie": f"{morsel.key}={kept}", "Accept-Language": "en"}) as page:
            assert page.status == 200
            return await page.text()

    for _ in range(2):
        assert "Welcome, anna@acme.example." in await load(end, morsel.value)
    forged = morsel.value[:-1] + ("A" if morsel.value[-1] != "A" else "B")
    for path, kept in ((end, ""), (end, forged), (end, going.cookie), ("/sso/acme/done", morsel.value),
                       (f"{end}x", morsel.value), (end.replace("acme", "rival"), morsel.value)):  # fmt: skip
        page = await load(path, kept)
        assert ("There is nothing more to show here." in page, "anna" in page) == (True, False)
    clock[0] = NOW + timedelta(minutes=10)
    assert "There is nothing more to show here." in await load(end, morsel.value)


async def test_a_cookie_holds_whatever_a_page_says(acme: SsoOrganization) -> None:
    values = {"mail": "ł" * 254, "seats": ", ".join(["🗝-key"] * 900)}
    for page in (
        Page(kind="welcome", values=values, notes=("seats", "for_another")),
        Page(kind="test_passed", values={"domain": "a" * 253}, reasons=("one <b>", *["→ " + "x" * 400] * 20)),
    ):
        text = pages.sealed(acme.provider.ends, "acme", "n", page, NOW)
        assert len(text) <= 3500
        kept = pages.opened(acme.provider.ends, "acme", "n", text, NOW - timedelta(seconds=1))
        assert kept is not None
        assert (kept.kind, kept.notes, kept.reasons[:1]) == (page.kind, page.notes, page.reasons[:1])
        assert acme.provider.seal.opened(text, "acme") is None, "another key than that of requests"


@pytest.mark.parametrize(
    ("asked", "language"),
    [("", "pl"), ("en", "en"), ("de-AT, de;q=0.9", "pl"), ("pl-PL,en;q=0.8", "pl"), ("en;q=0.5, pl;q=0.7", "pl"),
     ("PL;q=0.2,EN-us", "en"), ("en;q=0", "pl"), ("en;q=x", "pl"), ("*", "pl"), ("en" + ",en" * 999, "en")],
)  # fmt: skip
async def test_a_page_is_in_the_language_that_is_asked_for(browser: Client, asked: str, language: str) -> None:
    async with browser.get("/sso/rival/invite", headers={"Accept-Language": asked} if asked else {}) as answer:
        page = await answer.text()
    assert (answer.status, f'<html lang="{language}">' in page) == (404, True)
    assert ("Zapytaj administratora." in page) is (language == "pl")
    assert "<title>Acme &amp; Söhne</title>" in page


def test_every_word_of_a_page_is_there_in_every_language() -> None:
    for kind in pages.KINDS.values():
        assert kind.keys() == set(get_args(Language))
        assert len({len(sentences) for sentences in kind.values()}) == 1
    for note in pages.NOTES.values():
        assert note.keys() == set(get_args(Language))


async def test_a_page_runs_nothing_and_asks_nobody(browser: Client) -> None:
    async with browser.get("/sso/acme/invite") as answer:
        page, policy = await answer.text(), answer.headers["Content-Security-Policy"]
    [style] = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert not re.search(r"<script|src=|url\(|@import|style=", page)


@pytest.mark.parametrize("domain", ["acme.example.", "ACME.Example", " Acme.EXAMPLE. "])
async def test_a_domain_and_an_address_are_the_same_however_they_are_typed(
    acme: SsoOrganization, browser: Client, arrived: list[SignedIn], domain: str
) -> None:
    await acme.turned_on(NOW)
    async with browser.get("/sso/acme/login", params={"domain": domain}, allow_redirects=False) as answer:
        assert answer.status == 303
    going = await sign_in.open_login(acme.ledger, acme.provider, "acme", domain, now=NOW)
    posted = acme.forged(going, NOW, assertion_id="_dot", name_id=f"anna@{domain.strip()}").post()
    assert (await post(browser, going, posted))[0] == 200
    assert [(person.mail.key, person.mail.text.lower()) for person in arrived] == [("anna@acme.example",) * 2]


async def test_bodies_that_are_too_large_or_no_forms(acme: SsoOrganization, browser: Client) -> None:
    async with browser.post("/sso/acme/acs", data={"SAMLResponse": "A" * 800_000}) as answer:
        assert answer.status == 413
    async with browser.post("/sso/acme/acs", data=b"\xff", headers={"Content-Type": "text/plain"}) as answer:
        assert answer.status == 415


def test_a_form_that_is_nothing_but_escapes_is_not_unescaped() -> None:
    assert _form(b"SAMLResponse=%2B%2F%3D&RelayState=") == {"SAMLResponse": "+/=", "RelayState": ""}
    with pytest.raises(BadInput, match="nearly everything is escaped"):
        _form(b"SAMLResponse=" + b"%" * 100_000)
