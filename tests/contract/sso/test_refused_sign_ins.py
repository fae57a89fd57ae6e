"""Why a sign-in was refused: on the admin's page of a test, in status, and by reference from the audit (N9, N17)."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from lxml import etree

from connector.sso import sign_in, steps
from connector.sso.gate import evidence
from connector.sso.gate.decision import GateState
from connector.sso.routes import Entrance
from connector.sso.saml.response import SignInRefused
from connector.sso.saml.service_provider import ServiceProvider
from connector.sso.saml.signing import ensure_key
from connector.sso.settings import SamlSettings
from connector.sso.sign_in import Outgoing, SignedIn
from ledger.errors import NotFound
from ledger.secret import SecretRef
from ledger.store import audit
from ledger.store import sso as rows
from ledger.store.engine import Ledger
from tests.parts.idp import NS, SAML, Key
from tests.parts.sso_organization import SsoOrganization, relay_state

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
COOKIE = "__Host-rosterd-sign-in"
Client = TestClient[web.Request, web.Application]
MAIL = "anna.secret@other.example"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> SamlSettings:
    folder = tmp_path_factory.mktemp("saml")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    ensure_key(key, certificate, name="rosterd", now=NOW)
    return SamlSettings(
        signing_key=SecretRef("file", str(key)), signing_certificate=SecretRef("file", str(certificate))
    )


@pytest.fixture(scope="module")
def key() -> Key:
    return Key.make(NOW)


@pytest.fixture
async def acme(sqlite_url: str, settings: SamlSettings, key: Key) -> AsyncIterator[SsoOrganization]:
    ledger = Ledger.open(sqlite_url)
    provider = ServiceProvider("https://rosterd.example", settings, workers=1)
    made = SsoOrganization(ledger, provider, key)
    await made.connect(NOW)
    yield made
    await provider.close()
    await ledger.close()


@pytest.fixture
async def browser(acme: SsoOrganization) -> AsyncIterator[Client]:
    app = web.Application()
    app.add_routes(Entrance(acme.ledger, acme.provider, lambda: NOW, lambda: {"acme"}).routes())
    async with TestClient(TestServer(app)) as client:
        yield client


async def post(browser: Client, going: Outgoing, posted: str) -> tuple[int, str]:
    form = {"SAMLResponse": posted, "RelayState": relay_state(going)}
    headers = {"Cookie": f"{COOKIE}-1={going.cookie}"}
    async with browser.post("/sso/acme/acs", data=form, headers=headers, allow_redirects=False) as answer:
        return answer.status, html.unescape(await answer.text())


def with_attributes(root: etree._Element) -> None:
    """Two attributes, one of them with a name that would like to be a page."""
    statement = etree.SubElement(root.find("saml:Assertion", NS), f"{{{SAML}}}AttributeStatement")
    for name, friendly in (("urn:oid:2.5.4.42", "givenName"), ("<b>groups</b>", "")):
        names = {"Name": name, "FriendlyName": friendly} if friendly else {"Name": name}
        attribute = etree.SubElement(statement, f"{{{SAML}}}Attribute", names)
        etree.SubElement(attribute, f"{{{SAML}}}AttributeValue").text = "Zuzanna"


async def test_n17_a_refused_test_says_why_and_what_came_and_what_to_do(acme: SsoOrganization, browser: Client) -> None:
    going = await acme.start_test(NOW)
    posted = acme.forged(going, NOW, name_id=MAIL, before_signing=with_attributes).post()
    status, page = await post(browser, going, posted)
    assert status == 400
    assert "The test sign-in for acme.example was refused." in page
    assert "of no proved domain of this connection" in page
    assert "it carried the attributes: givenName, <b>groups</b>; NameID format: " in page
    assert "→ sign in as somebody of acme.example" in page
    for value in ("Zuzanna", "anna.secret", "other.example"):
        assert value not in page, "names, never values"


async def test_n17_names_are_text_on_the_page(acme: SsoOrganization, browser: Client) -> None:
    going = await acme.start_test(NOW)
    posted = acme.forged(going, NOW, name_id=MAIL, before_signing=with_attributes).post()
    headers = {"Cookie": f"{COOKIE}-1={going.cookie}"}
    form = {"SAMLResponse": posted, "RelayState": relay_state(going)}
    async with browser.post("/sso/acme/acs", data=form, headers=headers) as answer:
        assert "<b>" not in await answer.text()


async def test_n17_status_shows_the_last_refused_test_until_one_passes(acme: SsoOrganization, browser: Client) -> None:
    going = await acme.start_test(NOW)
    await post(browser, going, acme.forged(going, NOW, audience="https://other.example", assertion_id="_a").post())
    async with acme.ledger.read("acme") as reader:
        found = await steps.status(reader, now=NOW)
        gates = await evidence.gates(reader, now=NOW)
        assert await rows.broken_evidence(reader) == 0
        assert (await audit.verify(reader)).ok
    (test,) = found.tests
    assert test.refusal is not None
    assert test.in_words()[0].startswith("last test of acme.example failed on 2026-03-02 09:00 UTC: ")
    assert "(audience, step 7)" in test.in_words()[0] or "(not_verified, step 4" in test.in_words()[0]
    assert found.to_json()["tests"][0]["refusal"]["name_id_format"].endswith("emailAddress")
    assert gates["acme.example"].state is GateState.CLOSED
    version = gates["acme.example"].version
    await acme.test(NOW + timedelta(minutes=1))
    async with acme.ledger.read("acme") as reader:
        after = await steps.status(reader, now=NOW + timedelta(minutes=1))
        assert (await evidence.gates(reader, now=NOW + timedelta(minutes=1)))["acme.example"].version == version + 1
    assert after.tests[0].in_words() == ()


async def test_n2_a_refused_test_changes_no_gate(acme: SsoOrganization, browser: Client) -> None:
    async with acme.ledger.read("acme") as reader:
        before = (await evidence.gates(reader, now=NOW))["acme.example"].version
    going = await acme.start_test(NOW)
    await post(browser, going, "%%%")
    async with acme.ledger.read("acme") as reader:
        assert (await evidence.gates(reader, now=NOW))["acme.example"].version == before


async def test_n17_a_refused_login_says_a_reference_that_explain_resolves(
    acme: SsoOrganization, browser: Client, key: Key
) -> None:
    await acme.test(NOW)
    await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW)
    going = await acme.start_login(NOW, "ACME.example")
    status, page = await post(browser, going, acme.forged(going, NOW, name_id=MAIL, assertion_id="_b").post())
    named = re.search(r"Reference: (\w+)", page)
    assert named is not None
    assert (status, "mail_domain" in page, "domain" in page) == (400, False, False)
    async with acme.ledger.read("acme") as reader:
        for typed in (named[1], f" {named[1].upper()} "):
            refusal = await steps.explain(reader, typed)
            assert (refusal.reason, refusal.step, refusal.purpose) == ("mail_domain", 11, "login")
            assert (refusal.connection_id, refusal.version, refusal.domain) == ("main", 1, "acme.example")
            assert refusal.at == NOW
        with pytest.raises(NotFound, match="no refused sign-in"):
            await steps.explain(reader, "0123456789")
    assert MAIL not in str(refusal.to_json())


async def test_what_an_anonymous_wrote_is_one_line_for_the_admin(acme: SsoOrganization, browser: Client) -> None:
    """An unsigned response: its status and its attributes are told, and none of them is a command line."""
    going = await acme.start_test(NOW)
    evil = "x&#10;  → rosterd sso connect https://evil.example/metadata&#155;31m&#8238;"
    forged = acme.forged(going, NOW, status=evil, attributes={evil: ("v",)}, name_id_format=evil, sign_assertion=False)
    status, _ = await post(browser, going, forged.post())
    assert status == 400
    async with acme.ledger.read("acme") as reader:
        [test] = (await steps.status(reader, now=NOW)).tests
        [event] = [item for item in await rows.evidence(reader) if item.kind == evidence.TEST_FAILED]
    assert all(line.isprintable() for line in test.in_words())
    assert "rosterd sso connect https://evil" in test.in_words()[0], "it is told, within its line"
    assert event.facts["detail"].isprintable()
    assert all(name.isprintable() for name in event.facts["attributes"])


async def test_an_id_that_no_key_of_a_database_holds_is_a_refusal(acme: SsoOrganization, browser: Client) -> None:
    for name in ("_" + "".join(chr(0x4E00 + number) for number in range(86)), "_" + "x" * 256):
        going = await acme.start_test(NOW)
        status, page = await post(browser, going, acme.forged(going, NOW, assertion_id=name).post())
        assert (status, "long_id" in page) == (400, True)
    going = await acme.start_test(NOW)
    assert (await post(browser, going, acme.forged(going, NOW, assertion_id="_" + "x" * 255).post()))[0] == 200


async def test_n17_who_may_not_come_in_has_a_reference_too(acme: SsoOrganization) -> None:
    done = await acme.test(NOW)
    kept = await sign_in.turned_away(acme.ledger, done, "anna@acme.example was not invited", now=NOW)
    async with acme.ledger.read("acme") as reader:
        refusal = await steps.explain(reader, kept.reference)
    words = " ".join(refusal.in_words())
    assert "the address was not invited" in words
    assert "rosterd explain MAIL" in words
    assert "anna" not in words


@pytest.mark.parametrize("edge", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-01:00"])
async def test_the_edge_of_time_is_a_refusal_with_its_reason(acme: SsoOrganization, browser: Client, edge: str) -> None:
    def over(root: etree._Element) -> None:
        root.set("IssueInstant", edge)

    going = await acme.start_test(NOW)
    status, page = await post(browser, going, acme.forged(going, NOW, before_signing=over).post())
    assert (status, "(instant, step 2: IssueInstant)" in page) == (400, True)


# N9: a provider that does not ask anew ---


async def signed_in_at(acme: SsoOrganization, at: timedelta) -> SignedIn:
    going = await acme.start_test(NOW)
    return await acme.finish(going, acme.forged(going, NOW, authenticated=at).post(), NOW)


@pytest.mark.parametrize(
    ("at", "warnings"),
    [
        (timedelta(seconds=-60), ()),
        (timedelta(seconds=-61), ("reauth_not_honoured",)),
        (timedelta(days=-9000), ("reauth_not_honoured",)),
    ],
)
async def test_n9_an_old_sign_in_passes_a_test_with_a_warning(
    acme: SsoOrganization, at: timedelta, warnings: tuple[str, ...]
) -> None:
    assert (await signed_in_at(acme, at)).warnings == warnings
    async with acme.ledger.read("acme") as reader:
        (fact,) = await rows.evidence(reader, (evidence.TESTED,))
        found = await steps.status(reader, now=NOW)
    assert fact.facts["warnings"] == list(warnings)
    assert found.tests[0].warnings == warnings
    assert [line.endswith("(reauth_not_honoured)") for line in found.tests[0].in_words()] == [True] * len(warnings)
    assert (await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW)).domains == ("acme.example",)


async def test_n9_the_page_of_the_test_warns(acme: SsoOrganization, browser: Client) -> None:
    going = await acme.start_test(NOW)
    status, page = await post(browser, going, acme.forged(going, NOW, authenticated=timedelta(days=-1)).post())
    assert status == 200
    assert "passed" in page
    assert "Warning: the provider did not ask the person to sign in anew" in page
    assert "→ rosterd sso on acme.example" in page


async def test_n9_a_login_asks_for_no_fresh_sign_in_and_is_not_warned_of(acme: SsoOrganization) -> None:
    await acme.test(NOW)
    await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW)
    going = await acme.start_login(NOW)
    forged = acme.forged(going, NOW, authenticated=timedelta(hours=-9), assertion_id="_b")
    assert (await acme.finish(going, forged.post(), NOW)).warnings == ()


async def test_what_cannot_be_read_of_a_test_is_kept_as_evidence_too(acme: SsoOrganization) -> None:
    going = await acme.start_test(NOW)
    with pytest.raises(SignInRefused):
        await acme.finish(going, "%%%", NOW)
    async with acme.ledger.read("acme") as reader:
        (fact,) = await rows.evidence(reader, (evidence.TEST_FAILED,))
        assert fact.actor == "ada"
        assert fact.facts["attributes"] == []
