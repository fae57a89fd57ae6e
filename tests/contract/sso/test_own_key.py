"""A real identity provider verifies our requests by both keys while one is replaced; who must import again (N17)."""

from __future__ import annotations

import base64
import warnings
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import AsyncMock
from urllib.parse import parse_qs, urlsplit

import pytest
from defusedxml.ElementTree import fromstring
from saml2 import SAMLError

from connector.sso import steps
from connector.sso.provider import own_address, own_key
from connector.sso.saml import rotation, signing
from connector.sso.saml.key_status import KeyStatus
from connector.sso.saml.metadata import DS, POST, REDIRECT, IdpMetadata, Wants, parse
from connector.sso.saml.own_metadata import OwnSide
from connector.sso.saml.rotation import Step, take_step
from connector.sso.saml.service_provider import Peer, ServiceProvider, _forget_frames
from connector.sso.saml.signing import KeyState, ensure_key, make_certificate, read_keys
from connector.sso.settings import SamlSettings, SsoSettings
from ledger.errors import Refused
from ledger.instant import to_text
from ledger.secret import SecretRef
from ledger.store import audit, pages, sso
from ledger.store.engine import Ledger
from ledger.store.tables.audit import audit_event
from tests.parts.fences import ALONE
from tests.parts.idp import Key, metadata, posted_form
from tests.parts.sso_organization import SsoOrganization

if TYPE_CHECKING:
    from rosterd.demo.idp import Idp

NOW = datetime.now(UTC)  # pysaml2's identity provider reads the machine's clock
URL = "https://rosterd.example"


@pytest.fixture(autouse=True)
def _short_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "BITS", 2048)
    monkeypatch.setattr(rotation, "BITS", 2048)


@pytest.fixture
def saml(tmp_path: Path) -> SamlSettings:
    key, certificate = tmp_path / "secrets" / "key.pem", tmp_path / "secrets" / "certificate.pem"
    ensure_key(key, certificate, name="rosterd.example", now=NOW)
    return SamlSettings(
        signing_key=SecretRef("file", str(key)), signing_certificate=SecretRef("file", str(certificate))
    )


@pytest.fixture
async def provider(saml: SamlSettings) -> AsyncIterator[ServiceProvider]:
    made = ServiceProvider(URL, saml, workers=1)
    yield made
    await made.close()


@pytest.fixture
def idp(tmp_path: Path) -> Idp:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pysaml2's own identity provider, which the product never loads
        from rosterd.demo.idp import Idp
    found = Idp("https://idp.acme.example", tmp_path / "idp", "")
    found.make_key(NOW)
    return found


async def answered(provider: ServiceProvider, idp: Idp, imported: bytes, binding: str) -> bool:
    """Whether the identity provider, which imported that metadata of ours, takes a request that we sign now."""
    whole = parse(idp.metadata().encode(), NOW)
    peer = Peer("acme", f"fingerprint of {binding}", _only(whole, binding), Wants())
    sent = await provider.request(peer, relay_state="state", force=False, now=NOW)
    if binding == REDIRECT:
        fields = {name: values[0] for name, values in parse_qs(urlsplit(sent.location).query).items()}
    else:
        _, fields = posted_form(sent.form)
    try:
        page = idp.respond(imported.decode(), fields, "GET" if binding == REDIRECT else "POST", "anna@acme.example")
    except SAMLError as error:
        _forget_frames(error)  # pysaml2 leaves temporary files open in them
        if type(error).__name__ in {"IncorrectlySigned", "SignatureError"}:
            return False
        raise
    assert "SAMLResponse" in unescape(page)
    return True


def _only(found: IdpMetadata, binding: str) -> IdpMetadata:
    return replace(found, services={binding: found.services[binding]})


def certificates(document: bytes) -> list[str | None]:
    return [node.text for node in fromstring(document).iter(f"{DS}X509Certificate")]


@pytest.mark.parametrize("binding", [REDIRECT, POST])
async def test_n17_requests_are_verified_by_both_keys_during_a_rotation(
    provider: ServiceProvider, saml: SamlSettings, idp: Idp, binding: str
) -> None:
    before = await provider.metadata("acme")
    assert await answered(provider, idp, before, binding)
    take_step(saml, Step.ANNOUNCE, name="rosterd.example", now=NOW)
    both = await provider.metadata("acme")  # the running provider reads the files again: no restart, no reload
    assert certificates(both)[0] == certificates(before)[0]
    assert len(certificates(both)) == 2
    for imported in (before, both):
        assert await answered(provider, idp, imported, binding), "the old key signs until --finish"
    take_step(saml, Step.SWITCH, name="rosterd.example", now=NOW)
    assert await answered(provider, idp, both, binding)
    assert not await answered(provider, idp, before, binding), "who did not import again refuses"
    take_step(saml, Step.BACK, name="rosterd.example", now=NOW)
    assert await answered(provider, idp, before, binding), "and --back helps at once"
    take_step(saml, Step.SWITCH, name="rosterd.example", now=NOW)
    take_step(saml, Step.DROP, name="rosterd.example", now=NOW)
    after = await provider.metadata("acme")
    assert certificates(after) == certificates(both)[1:]
    assert await answered(provider, idp, after, binding)


async def test_n17_requests_carry_no_name_id_policy(provider: ServiceProvider, idp: Idp) -> None:
    """AD FS answers one that it does not expect with InvalidNameIDPolicy."""
    peer = Peer("acme", "f", _only(parse(idp.metadata().encode(), NOW), POST), Wants())
    sent = await provider.request(peer, relay_state="state", force=True, now=NOW)
    request = base64.b64decode(posted_form(sent.form)[1]["SAMLRequest"]).decode()
    assert "NameIDPolicy" not in request
    assert 'ForceAuthn="true"' in request


async def test_n17_a_broken_key_file_ends_no_sign_in_that_worked(
    provider: ServiceProvider, saml: SamlSettings, idp: Idp, caplog: pytest.LogCaptureFixture
) -> None:
    before = await provider.metadata("acme")
    Path(saml.signing_key.name).write_text("nothing", encoding="ascii")
    assert await answered(provider, idp, before, REDIRECT)
    assert await provider.metadata("acme") == before
    assert [record.levelname for record in caplog.records if "own_key_unreadable" in record.message] == ["ERROR"]
    Path(saml.signing_key.name).unlink()
    assert await provider.metadata("acme") == before


async def test_a_key_by_environment_signs_and_leaves_no_copy_on_a_disk(
    saml: SamlSettings, idp: Idp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = read_keys(saml).signing
    monkeypatch.setenv("OWN_KEY", keys.key.decode())
    monkeypatch.setenv("OWN_CERTIFICATE", keys.certificate.pem.decode())
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    by_environment = SamlSettings(
        signing_key=SecretRef("env", "OWN_KEY"), signing_certificate=SecretRef("env", "OWN_CERTIFICATE")
    )
    provider = ServiceProvider(URL, by_environment, workers=1)
    try:
        assert await answered(provider, idp, await provider.metadata("acme"), REDIRECT)
    finally:
        await provider.close()


async def test_n17_metadata_follows_the_organizations_file(saml: SamlSettings) -> None:
    settings = {"acme": SsoSettings(), "other": SsoSettings(mail_attribute="mail", response_signed_only=True)}
    provider = ServiceProvider(URL, saml, workers=1, sso_of=settings.__getitem__)
    try:
        acme, other = await provider.metadata("acme"), await provider.metadata("other")
    finally:
        await provider.close()
    assert b"nameid-format:emailAddress" in acme
    assert b'WantAssertionsSigned="true"' in acme
    assert b"nameid-format:persistent" in other
    assert b'WantAssertionsSigned="false"' in other


@pytest.fixture
async def acme(sqlite_url: str, provider: ServiceProvider) -> AsyncIterator[SsoOrganization]:
    ledger = Ledger.open(sqlite_url)
    yield SsoOrganization(ledger, provider, Key.make(NOW))
    await ledger.close()


def side(url: str = URL) -> OwnSide:
    return OwnSide(url, "acme", SsoSettings())


async def rotate(
    acme: SsoOrganization, saml: SamlSettings, step: Step, at: datetime, *, sure: bool = False
) -> KeyStatus:
    return await own_key.rotate(
        acme.ledger, saml, [side()], step, name="rosterd.example", actor="ada", now=at, sure=sure
    )


async def test_n17_every_step_names_who_must_import_again_and_is_audited(
    acme: SsoOrganization, saml: SamlSettings
) -> None:
    await acme.turned_on(NOW)
    done = await rotate(acme, saml, Step.ANNOUNCE, NOW)
    assert (done.changed, done.keys.state) == (True, KeyState.ANNOUNCED)
    said = "\n".join(done.lines)
    assert f"acme: {acme.idp} does not say that it verifies requests: import {URL}/sso/acme/metadata again" in said
    assert "rosterd sso rotate-key --finish" in said
    assert not (await rotate(acme, saml, Step.ANNOUNCE, NOW)).changed
    with pytest.raises(Refused, match=acme.idp) as early:
        await rotate(acme, saml, Step.SWITCH, NOW + timedelta(hours=23))
    assert "--finish --yes" in early.value.next_step
    assert read_keys(saml).state is KeyState.ANNOUNCED
    done = await rotate(acme, saml, Step.SWITCH, NOW + timedelta(hours=25))
    assert (done.keys.state, done.to_json()["next"][:28]) == (KeyState.SWITCHED, "rosterd sso rotate-key --dro")
    done = await rotate(acme, saml, Step.DROP, NOW + timedelta(hours=26))
    assert (done.keys.state, done.next_step) == (KeyState.STEADY, "")
    async with acme.ledger.read("acme") as reader:
        verbs = [row.verb for row in await reader.all(reader.select(audit_event, "verb").order_by("seq"))]
    assert [verb for verb in verbs if verb.startswith("own_key")] == [
        "own_key.announced",
        "own_key.switched",
        "own_key.dropped",
    ]


async def told(acme: SsoOrganization) -> list[tuple[str, bool]]:
    """The steps in the audit, and whether each had only been found in the files."""
    async with acme.ledger.read("acme") as reader:
        found = await pages.audit_page(reader, pages.Asked(subject="own_key"), None, 50)
    return [(event.verb.removeprefix("own_key."), bool(event.payload.get("reason"))) for event in reversed(found)]


async def killed(acme: SsoOrganization, saml: SamlSettings, step: Step) -> None:
    """The step is done in the files, and its process ends before the audit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit, "append", AsyncMock(side_effect=InterruptedError))
        with pytest.raises(InterruptedError):
            await rotate(acme, saml, step, NOW, sure=True)


async def test_n17_a_step_whose_process_ended_before_the_audit_is_audited_when_it_is_repeated(
    acme: SsoOrganization, saml: SamlSettings
) -> None:
    every = [Step.ANNOUNCE, Step.SWITCH, Step.BACK, Step.SWITCH, Step.DROP]
    for step in every:
        await killed(acme, saml, step)
        for _ in range(2):
            assert not (await rotate(acme, saml, step, NOW, sure=True)).changed
    assert await told(acme) == [(step.value, True) for step in every]


async def test_n17_the_next_step_audits_the_one_that_was_not(acme: SsoOrganization, saml: SamlSettings) -> None:
    await killed(acme, saml, Step.ANNOUNCE)
    await rotate(acme, saml, Step.SWITCH, NOW, sure=True)
    assert await told(acme) == [("announced", True), ("switched", False)]


async def test_n17_a_key_that_was_never_replaced_is_not_audited(acme: SsoOrganization, saml: SamlSettings) -> None:
    assert not (await rotate(acme, saml, Step.DROP, NOW)).changed
    assert await told(acme) == []


async def test_n17_an_admin_may_say_that_every_provider_has_it(acme: SsoOrganization, saml: SamlSettings) -> None:
    await acme.turned_on(NOW)
    await rotate(acme, saml, Step.ANNOUNCE, NOW)
    assert (await rotate(acme, saml, Step.SWITCH, NOW, sure=True)).keys.state is KeyState.SWITCHED


async def test_n17_where_nobody_is_connected_nobody_has_to_wait(acme: SsoOrganization, saml: SamlSettings) -> None:
    await rotate(acme, saml, Step.ANNOUNCE, NOW)
    assert (await rotate(acme, saml, Step.SWITCH, NOW)).keys.state is KeyState.SWITCHED


async def test_n17_a_provider_that_verifies_is_told_apart(acme: SsoOrganization) -> None:
    await acme.connect(NOW)
    wants = b'<md:IDPSSODescriptor WantAuthnRequestsSigned="true" '
    text = metadata(acme.idp, acme.key).replace(b"<md:IDPSSODescriptor ", wants)
    await steps.connect(acme.ledger, "acme", text, settings=SsoSettings(), actor="ada", now=NOW)
    found = await own_key.holders(acme.ledger, [side()], NOW)
    assert [(one.entity_id, one.verifies, one.live) for one in found] == [(acme.idp, True, False)]
    assert "it must import" in found[0].line


@pytest.mark.parametrize(
    ("left", "says"),
    [
        (timedelta(days=61), ""),
        (timedelta(days=59, hours=12), "in 59 days"),
        (timedelta(days=1, hours=1), "in 1 day)"),
        (timedelta(hours=5), "within a day"),
        (-timedelta(hours=5), "ended on"),
    ],
)
def test_n17_the_end_of_our_own_certificate_is_forecast(saml: SamlSettings, left: timedelta, says: str) -> None:
    key, certificate = make_certificate("rosterd.example", NOW - timedelta(days=3000), NOW + left)
    Path(saml.signing_key.name).write_bytes(key)
    Path(saml.signing_certificate.name).write_bytes(certificate)
    found = KeyStatus(read_keys(saml), NOW)
    assert says in found.forecast
    assert bool(found.forecast) == bool(says)
    assert found.expired == (left < timedelta(0))
    assert (found.next_step == "rosterd sso rotate-key") == bool(says)


async def test_n17_a_moved_address_is_told_until_somebody_says_so(acme: SsoOrganization) -> None:
    elsewhere = side("https://elsewhere.example")
    async with acme.ledger.read("acme") as reader:
        assert await own_address.moves(reader, elsewhere, NOW) == ()  # nothing is connected
    await acme.turned_on(NOW)
    async with acme.ledger.read("acme") as reader:
        assert await own_address.moves(reader, side(), NOW) == ()
        moved = await own_address.moves(reader, elsewhere, NOW)
    assert [(one.provider, one.before) for one in moved] == [(acme.idp, f"{URL}/sso/acme/metadata")]
    for part in (elsewhere.entity_id, elsewhere.acs, "rosterd sso test acme.example --organization acme"):
        assert part in moved[0].line
    assert await own_address.confirm_moved(acme.ledger, elsewhere, actor="ada", now=NOW) == moved
    assert await own_address.confirm_moved(acme.ledger, elsewhere, actor="ada", now=NOW) == ()
    async with acme.ledger.read("acme") as reader:
        assert await own_address.moves(reader, elsewhere, NOW) == ()
        assert len(await own_address.moves(reader, side(), NOW)) == 1, "and back again is a move too"
        assert await sso.broken_evidence(reader) == 0


async def test_n17_a_test_under_the_new_address_says_so_as_well(acme: SsoOrganization, saml: SamlSettings) -> None:
    await acme.turned_on(NOW)
    provider = ServiceProvider("https://elsewhere.example", saml, workers=1)
    try:
        there = SsoOrganization(acme.ledger, provider, acme.key)
        going = await there.start_test(NOW)
        await there.finish(going, there.forged(going, NOW, assertion_id="_elsewhere").post(), NOW)
    finally:
        await provider.close()
    async with acme.ledger.read("acme") as reader:
        assert await own_address.moves(reader, side("https://elsewhere.example"), NOW) == ()


async def test_n17_tests_older_than_the_fact_say_nothing(acme: SsoOrganization) -> None:
    report = await acme.connect(NOW)
    facts = {"version": 1, "fingerprint": report.fingerprint, "domain": "acme.example", "at": to_text(NOW)}
    async with acme.ledger.write("acme", ALONE, at=NOW) as book:
        await sso.append_evidence(book, "connection.tested", "main", actor="ada", facts=facts)
    async with acme.ledger.read("acme") as reader:
        assert await own_address.moves(reader, side("https://elsewhere.example"), NOW) == ()
