"""Every file of ``tests/cases/sso``: a fault that was found once, and what is right; each has a test by its name."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from lxml import etree

from connector.reconcile.by_hand.sign_in import Arrival, claim
from connector.sso import steps
from connector.sso.gate import evidence
from connector.sso.saml import metadata as idp_metadata
from connector.sso.saml.response import SignInRefused
from connector.sso.saml.service_provider import ServiceProvider
from connector.sso.saml.signing import ensure_key
from connector.sso.settings import SamlSettings, SsoSettings
from connector.sso.sign_in import SignedIn
from ledger.errors import BadInput, ManyErrors
from ledger.secret import SecretRef
from ledger.store.engine import Ledger
from ledger.store.tables import people
from ledger.store.tables.audit import audit_event
from tests.parts.fences import ALONE
from tests.parts.idp import NS, SAML, Key, metadata
from tests.parts.sso_organization import IDP, SsoOrganization, prove

CASES = Path(__file__).resolve().parents[2] / "cases" / "sso"
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> SamlSettings:
    folder = tmp_path_factory.mktemp("saml")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    ensure_key(key, certificate, name="rosterd", now=NOW)
    return SamlSettings(
        signing_key=SecretRef("file", str(key)), signing_certificate=SecretRef("file", str(certificate))
    )


@pytest.fixture
async def acme(sqlite_url: str, settings: SamlSettings) -> AsyncIterator[SsoOrganization]:
    ledger = Ledger.open(sqlite_url)
    provider = ServiceProvider("https://rosterd.example", settings, workers=1)
    yield SsoOrganization(ledger, provider, Key.make(NOW))
    await provider.close()
    await ledger.close()


def test_every_case_has_its_test() -> None:
    files = {re.sub(r"[-.]", "_", path.name.split(".")[0]) for path in CASES.iterdir()}
    assert files == {name.removeprefix("test_case_") for name in globals() if name.startswith("test_case_")}


async def test_case_overflow_response(acme: SsoOrganization) -> None:
    await acme.connect(NOW)
    going = await acme.start_test(NOW)
    text = (CASES / "overflow-response.xml").read_text(encoding="utf-8").strip()
    text = text.replace("ACS", acme.provider.acs("acme")).replace("REQUEST", going.request_id).replace("IDP", IDP)
    with pytest.raises(SignInRefused) as refused:
        await acme.finish(going, base64.b64encode(text.encode()).decode(), NOW)
    assert (refused.value.step, refused.value.reason) == (2, "instant")
    async with acme.ledger.read("acme") as reader:
        last = await reader.first(reader.select(audit_event).order_by(audit_event.c.seq.desc()))
    assert last is not None
    assert last.verb == "sign_in.refused"


def test_case_overflow_metadata() -> None:
    document = metadata(IDP, Key.make(NOW), extra='validUntil="9999-12-31T23:59:59-01:00"')
    try:
        found = idp_metadata.parse(document, NOW)
    except (BadInput, ManyErrors) as error:
        assert "is not an instant" in str(error)  # noqa: PT017
    else:
        assert found.valid_until is not None
        assert found.valid_until.year == 9999


async def test_case_sso_on_untested(acme: SsoOrganization) -> None:
    await prove(acme.ledger, "acme", "other.example", NOW)
    await acme.connect(NOW)
    await acme.test(NOW)
    report = await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW)
    assert report.domains == ("acme.example",)


async def test_case_validuntil_renewed(acme: SsoOrganization) -> None:
    async def connect(days: int) -> None:
        until = (NOW + days * DAY).strftime("%Y-%m-%dT%H:%M:%SZ")
        document = metadata(IDP, acme.key, extra=f'validUntil="{until}"')
        await steps.connect(acme.ledger, "acme", document, settings=SsoSettings(), actor="ada", now=NOW)

    await prove(acme.ledger, "acme", "acme.example", NOW)
    await connect(3)
    await acme.test(NOW)
    await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW)
    await connect(30)
    async with acme.ledger.read("acme") as reader:
        gate = (await evidence.gates(reader, now=NOW + 4 * DAY))["acme.example"]
    assert "metadata_expired" not in gate.reasons


async def _person(ledger: Ledger, mail: str) -> None:
    columns = ("id", "mail", "mail_key", "given_name", "family_name", "display_name", "state", "employee_number")
    async with ledger.write("acme", ALONE, at=NOW) as book:
        row = ("i1", mail, mail, "Elżbieta", "Nowak", "Elżbieta Nowak", "active", "7", {})
        await book.begin(people.identity, (*columns, "attributes"), [row])


async def _comes_in(acme: SsoOrganization, done: SignedIn) -> str:
    """Who somebody is that has signed in; raises ``Refused`` (403)."""
    who = done.subject
    arrival = Arrival(done.mail, done.entity_id, who.key, who.kind, who.earlier, who.earlier_by_address)
    return (await claim(acme.ledger, "acme", arrival, now=NOW)).identity_id


async def test_case_nameid_case(acme: SsoOrganization) -> None:
    await _person(acme.ledger, "elzbieta.nowak@acme.example")
    await acme.turned_on(NOW)
    for number, name_id in enumerate(("elzbieta.nowak@acme.example", "ELZBIETA.NOWAK@ACME.EXAMPLE")):
        going = await acme.start_login(NOW)
        posted = acme.forged(going, NOW, name_id=name_id, assertion_id=f"_{number}").post()
        assert await _comes_in(acme, await acme.finish(going, posted, NOW)) == "i1"


async def test_case_nameid_transient(acme: SsoOrganization) -> None:
    await _person(acme.ledger, "anna@acme.example")
    await prove(acme.ledger, "acme", "acme.example", NOW)
    wants = SsoSettings(mail_attribute="mail")
    await steps.connect(acme.ledger, "acme", metadata(IDP, acme.key), settings=wants, actor="ada", now=NOW)

    def transient(root: etree._Element) -> None:
        root.find(".//saml:NameID", NS).set("Format", "urn:oasis:names:tc:SAML:2.0:nameid-format:transient")
        statement = etree.SubElement(root.find("saml:Assertion", NS), f"{{{SAML}}}AttributeStatement")
        attribute = etree.SubElement(statement, f"{{{SAML}}}Attribute", {"Name": "mail"})
        etree.SubElement(attribute, f"{{{SAML}}}AttributeValue").text = "anna@acme.example"

    going = await acme.start_test(NOW)
    await acme.finish(going, acme.forged(going, NOW, name_id="_r0", before_signing=transient).post(), NOW)
    await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW)
    for number in range(1, 3):
        going = await acme.start_login(NOW)
        forged = acme.forged(going, NOW, name_id=f"_r{number}", before_signing=transient, assertion_id=f"_{number}")
        assert await _comes_in(acme, await acme.finish(going, forged.post(), NOW)) == "i1"
