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
from connector.sso.gate.explain_refusal import warning_in_words
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
from tests.parts.ended import ended
from tests.parts.fences import ALONE
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
        status, page = await ended(browser, answer)
        return status, html.unescape(page)


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
    assert "it is of other.example; proved of this connection: acme.example" in page
    for value in ("Zuzanna", "anna.secret"):
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
    wrong = (
        "(audience, step 7: our entityID is https://rosterd.example/sso/acme/metadata; it says https://other.example)"
    )
    assert wrong in test.in_words()[0]
    assert found.to_json()["tests"][0]["refusal"]["name_id_format"].endswith("emailAddress")
    assert gates["acme.example"].state is GateState.CLOSED
    version = gates["acme.example"].version
    await acme.test(NOW + timedelta(minutes=1))
    async with acme.ledger.read("acme") as reader:
        after = await steps.status(reader, now=NOW + timedelta(minutes=1))
        assert (await evidence.gates(reader, now=NOW + timedelta(minutes=1)))["acme.example"].version == version + 1
    assert after.tests[0].in_words() == ()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"audience": "a\u202eb\n" + "x" * 300}, f"it says a\ufffdb {'x' * 196})"),
        (
            {"recipient": "https://evil.example/acs"},
            "our ACS is https://rosterd.example/sso/acme/acs; it says https://ev",
        ),
        (
            {"destination": "https://evil.example/acs"},
            "our entityID is https://rosterd.example/sso/acme/metadata, our ACS",
        ),
        (
            {"issuer": "https://idp-b.example"},
            "connected is https://idp.acme.example/metadata; it says https://idp-b.ex",
        ),
    ],
)
async def test_a_test_shows_what_belongs_there_and_what_came(
    acme: SsoOrganization, browser: Client, change: dict[str, str], told: str
) -> None:
    going = await acme.start_test(NOW)
    _, page = await post(browser, going, acme.forged(going, NOW, **change).post())
    assert told in page


async def test_a_login_shows_what_belongs_there_only(acme: SsoOrganization) -> None:
    await acme.test(NOW)
    await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW)
    going = await acme.start_login(NOW)
    with pytest.raises(sign_in.RequestRefused) as refused:
        await acme.finish(
            going, acme.forged(going, NOW, audience="https://other.example", assertion_id="_c").post(), NOW
        )
    assert refused.value.refusal.detail == "our entityID is https://rosterd.example/sso/acme/metadata"


@pytest.mark.parametrize(
    ("off", "reason", "told"),
    [
        (
            timedelta(minutes=-17),
            "conditions_expired",
            "it ended 12 minutes ago: the provider's clock is 17 minutes behind",
        ),
        (timedelta(minutes=3), "issued_in_future", "the provider's clock is 3 minutes ahead of ours"),
    ],
)
async def test_a_wrong_clock_is_said_in_minutes(
    acme: SsoOrganization, browser: Client, off: timedelta, reason: str, told: str
) -> None:
    going = await acme.start_test(NOW)
    _, page = await post(browser, going, acme.forged(going, NOW + off).post())
    assert reason in page
    assert told in page


async def test_a_test_by_a_slow_clock_warns_of_the_clock_first(acme: SsoOrganization) -> None:
    going = await acme.start_test(NOW)
    done = await acme.finish(going, acme.forged(going, NOW - timedelta(minutes=2)).post(), NOW)
    assert done.warnings == ("clock_off_-120s", "reauth_not_honoured")
    assert "the provider's clock is 2 minutes behind ours" in warning_in_words(done.warnings[0])
    going = await acme.start_test(NOW)
    done = await acme.finish(going, acme.forged(going, NOW - timedelta(seconds=60), assertion_id="_2").post(), NOW)
    assert done.warnings == ()


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
    assert "rosterd explain NAME@acme.example" in words
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


# N2: what status says of refused logins ---


async def refused_by_another_key(acme: SsoOrganization, at: datetime, key: Key) -> str:
    going = await acme.start_login(at)
    with pytest.raises(sign_in.RequestRefused) as refused:
        await acme.finish(going, acme.forged(going, at, key=key).post(), at)
    return refused.value.refusal.reference


async def test_n2_status_counts_refused_logins_since_the_last_accepted_one(acme: SsoOrganization) -> None:
    await acme.test(NOW)
    await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW)
    other, minute = Key.make(NOW), timedelta(minutes=1)
    await refused_by_another_key(acme, NOW + minute, other)
    reference = await refused_by_another_key(acme, NOW + 2 * minute, other)
    async with acme.ledger.read("acme") as reader:
        found = await steps.status(reader, now=NOW + 3 * minute)
    assert found.refused is not None
    assert found.refused.line == (
        "2 sign-ins refused since 2026-03-02 09:01 UTC, none accepted; the last on 2026-03-02 09:02 UTC: the"
        " signature is not by a valid certificate of the connected metadata, or the response was changed (not_verified)"
        f" → rosterd sso explain {reference}"
    )
    assert found.domains[0].gate.state is GateState.OPEN, "what an anonymous can cause closes nothing"
    document = found.to_json()["refused_logins"]
    assert (document["count"], document["reason"], document["reference"]) == (2, "not_verified", reference)
    going = await acme.start_login(NOW + 4 * minute)
    done = await acme.finish(going, acme.forged(going, NOW + 4 * minute, assertion_id="_ok").post(), NOW + 4 * minute)
    await sign_in.turned_away(acme.ledger, done, "anna@acme.example was not invited", now=NOW + 4 * minute)
    async with acme.ledger.read("acme") as reader:
        assert (await steps.status(reader, now=NOW + 5 * minute)).refused is None


async def test_explain_of_a_login_that_asked_for_no_domain_names_the_connections(acme: SsoOrganization) -> None:
    await acme.test(NOW)
    await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW)
    going = await acme.start_login(NOW)
    with pytest.raises(sign_in.RequestRefused) as refused:
        await acme.finish(going, acme.forged(going, NOW, name_id=MAIL, assertion_id="_d").post(), NOW)
    async with acme.ledger.read("acme") as reader:
        words = " ".join((await steps.explain(reader, refused.value.refusal.reference)).in_words())
    assert "it is of other.example; proved of this connection: acme.example" in words
    assert "→ sign in as somebody of acme.example" in words
    assert "DOMAIN" not in words
    assert "anna" not in words


async def test_n2_what_was_refused_before_it_was_turned_on_anew_is_over(acme: SsoOrganization) -> None:
    await acme.test(NOW)
    await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW)
    await refused_by_another_key(acme, NOW + timedelta(minutes=1), Key.make(NOW))
    later = NOW + timedelta(hours=1)
    await steps.turn_off(acme.ledger, "acme", reason="other keys", actor="ada", now=later)
    async with acme.ledger.read("acme") as reader:
        assert (await steps.status(reader, now=later)).refused is None
    await acme.test(later, assertion_id="_later")
    await steps.turn_on(acme.ledger, "acme", actor="ada", now=later)
    async with acme.ledger.read("acme") as reader:
        assert (await steps.status(reader, now=later)).refused is None


async def test_the_page_of_a_test_names_what_else_is_missing(acme: SsoOrganization, browser: Client) -> None:
    going = await acme.start_test(NOW)
    _, page = await post(browser, going, acme.forged(going, NOW).post())
    assert "→ rosterd sso on acme.example" in page
    await steps.declare(acme.ledger, "acme", {}, actor="ada", now=NOW)
    going = await acme.start_test(NOW)
    _, page = await post(browser, going, acme.forged(going, NOW, assertion_id="_2").post())
    assert "passed" in page
    assert "(domain_undeclared) → put [[domains]]" in page
    assert "sso on" not in page


async def test_turning_on_names_what_keeps_the_gate_closed(acme: SsoOrganization) -> None:
    await acme.test(NOW)
    report = await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW)
    assert (report.closed, report.next_step) == ((), "rosterd sync enable")
    await steps.enable_sync(acme.ledger, "acme", actor="ada", now=NOW)
    assert (await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW)).next_step == ""
    ended = NOW + timedelta(days=6)
    async with acme.ledger.write("acme", ALONE, at=ended) as book:  # the proof, or the first reason is that it is lost
        facts = {"attempt": 1, "answer": "found", "why": "", "resolvers": []}
        await evidence.record(book, evidence.DOMAIN_CHECKED, "acme.example", actor="ada", facts=facts, domains=[])
    await steps.declare(acme.ledger, "acme", {}, actor="ada", now=ended)
    report = await steps.turn_on(acme.ledger, "acme", actor="ada", now=ended)
    assert (report.domains, report.next_step) == (("acme.example",), "")
    (step,) = report.closed
    assert "(domain_undeclared) → " in step
