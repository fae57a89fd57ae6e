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

from access.principal import operator
from connector.reconcile.by_hand import bonds
from connector.sso import sign_in, steps
from connector.sso.gate import evidence
from connector.sso.routes import Entrance
from connector.sso.saml.response import SignInRefused
from connector.sso.saml.service_provider import ServiceProvider
from connector.sso.saml.signing import ensure_key
from connector.sso.saml.subject import ON_MAIL_FOR_TRANSIENT
from connector.sso.settings import SamlSettings, SsoSettings
from ledger.errors import NotFound, Refused
from ledger.secret import SecretRef
from ledger.store import people, sso
from ledger.store.engine import Ledger
from rosterd.faces import arrive
from tests.parts.ended import ended
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
                        lambda done: arrive(service, done))  # fmt: skip
    app = web.Application()
    app.add_routes(entrance.routes())

    async def through(at: int = 1, **changes: object) -> tuple[int, str]:
        now = clock[0] = NOW + timedelta(minutes=at)
        going = await sign_in.open_login(acme.ledger, acme.provider, "acme", "", now=now)
        posted = acme.forged(going, now, assertion_id=f"_a{next(NUMBERS)}", **changes).post()
        form = {"SAMLResponse": posted, "RelayState": relay_state(going)}
        headers = {"Cookie": f"{COOKIE}-1={going.cookie}"}
        async with client.post("/sso/acme/acs", data=form, headers=headers, allow_redirects=False) as answer:
            return await ended(client, answer)

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


async def test_n3_a_subject_attribute_says_who_whatever_the_name_id_and_the_address(
    acme: SsoOrganization, sign: SignIn
) -> None:
    acme = replace(acme, settings=SsoSettings(subject_attribute="urn:oid:7", mail_attribute="mail"))

    def saying(subject: str, mail: str, name: str) -> dict[str, Any]:
        attributes = {"mail": (mail,), "urn:oid:7": (subject,)}
        return {"name_id": name, "name_id_format": f"{FORMAT}transient", "attributes": attributes}

    await acme.turned_on(NOW, **saying("g1", MAIL, "_0"))
    await knows(acme)
    assert (await sign(1, **saying("g1", MAIL, "_1")))[0] == 200
    await knows(acme, "e.krol@acme.example", at=NOW + timedelta(minutes=2))
    for mail in (MAIL, "e.krol@acme.example"):  # the provider says the old address for a while
        status, page = await sign(3, **saying("g1", mail, "_2"))
        assert (status, "Welcome, e.krol@acme.example." in page) == (200, True), page
    status, page = await sign(4, **saying("g2", "e.krol@acme.example", "_3"))
    assert status == 403
    assert "ask your administrator about relink" in page


@pytest.mark.parametrize(
    ("values", "reason"), [((), "subject_attribute_missing"), (("g1", "g2"), "subject_attribute_several")]
)
async def test_n3_the_test_refuses_an_attribute_that_does_not_say_who(
    acme: SsoOrganization, values: tuple[str, ...], reason: str
) -> None:
    acme = replace(acme, settings=SsoSettings(subject_attribute="urn:oid:7"))
    with pytest.raises(SignInRefused) as refused:
        await acme.turned_on(NOW, attributes={"urn:oid:7": values, "other": ("g3",)})
    assert (refused.value.step, refused.value.reason) == (11, reason)
    assert "[sso] subject_attribute" in refused.value.detail
    assert not {"g1", "g2", "g3"} & set(refused.value.detail.split())


async def test_n3_the_test_warns_of_a_transient_name_without_a_subject_attribute(acme: SsoOrganization) -> None:
    acme = replace(acme, settings=SsoSettings(mail_attribute="mail"))
    await acme.connect(NOW)
    done = await acme.test(NOW, name_id="_t0", name_id_format=f"{FORMAT}transient", attributes={"mail": (MAIL,)})
    assert done.subject.warning == ON_MAIL_FOR_TRANSIENT
    async with acme.ledger.read("acme") as reader:
        [fact] = await sso.evidence(reader, (evidence.TESTED,))
    assert fact.facts["warnings"] == [ON_MAIL_FOR_TRANSIENT]
    assert fact.facts["subject_kind"] == "mail"


async def test_n3_another_subject_policy_is_another_fingerprint_and_needs_a_test(acme: SsoOrganization) -> None:
    await acme.turned_on(NOW)
    for settings in (SsoSettings(subject_attribute="urn:oid:7"), SsoSettings(fold_subject=True)):
        found = await replace(acme, settings=settings).reconnect(NOW)
        assert found.new
        with pytest.raises(Refused, match="test_outdated"):
            await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW)
    assert not (await replace(acme, settings=SsoSettings(fold_subject=True)).reconnect(NOW)).new


async def test_n3_an_address_in_other_letters_that_fold_to_somebody_s_is_nobody_s(
    acme: SsoOrganization, sign: SignIn
) -> None:
    await acme.turned_on(NOW)
    await knows(acme, "kate.weiss@acme.example")
    assert (await sign(1, name_id="\u212aate.weiss@acme.example"))[0] == 400  # NFC makes a K of it
    status, page = await sign(2, name_id="kate.wei\u00df@acme.example")
    assert (status, "was not invited" in page) == (403, True), page
    assert (await sign(3, name_id="KATE.WEISS@acme.example"))[0] == 200
    status, page = await sign(4, name_id="kate.wei\u00df@acme.example")
    assert (status, "about relink" in page) == (403, True), page


async def test_n3_two_mailboxes_in_the_attribute_are_two_addresses(acme: SsoOrganization, sign: SignIn) -> None:
    acme = replace(acme, settings=SsoSettings(mail_attribute="mail"))
    await acme.turned_on(NOW, attributes={"mail": (MAIL,)})
    await knows(acme, "sam@acme.example")
    assert (await sign(1, attributes={"mail": ("sam@acme.example", "\u017fam@acme.example")}))[0] == 400
    assert (await sign(2, attributes={"mail": ("sam@acme.example", "SAM@acme.example")}))[0] == 200


async def test_n4_a_persistent_name_that_is_another_one_waits_for_an_administrator(
    acme: SsoOrganization, sign: SignIn
) -> None:
    acme = replace(acme, settings=SsoSettings(mail_attribute="mail"))
    persistent: dict[str, Any] = {"name_id_format": f"{FORMAT}persistent", "attributes": {"mail": (MAIL,)}}
    await acme.turned_on(NOW, name_id="p0", **persistent)
    await knows(acme)
    assert (await sign(1, name_id="p1", **persistent))[0] == 200
    mine = acme.provider.entity_id("acme")
    qualified = f'NameQualifier="{acme.idp}" SPNameQualifier="{mine}"'
    assert (await sign(2, name_id="p1", name_id_qualifiers=qualified, **persistent))[0] == 200
    status, page = await sign(3, name_id="p1", name_id_qualifiers='SPNameQualifier="https://x"', **persistent)
    assert status == 403
    relink = page.partition("about relink ")[2].split()[0]
    assert "(rosterd sso relinks)" in page
    async with acme.ledger.read("acme") as reader:
        refusal = await steps.explain(reader, page.partition("Reference: ")[2].partition("<")[0])
        assert refusal.reason == "relink_held"
        assert refusal.in_words()[-1].endswith("rosterd sso relinks")
        with pytest.raises(NotFound, match="the id of a held sign-in") as other:
            await steps.explain(reader, relink)
    assert other.value.next_step == "rosterd sso relinks"
    who = operator("acme", "ada")
    await bonds.approve_relink(acme.ledger, "acme", relink, who, "the same", NOW + timedelta(minutes=4))
    assert (await sign(5, name_id="p1", name_id_qualifiers='SPNameQualifier="https://x"', **persistent))[0] == 200
    assert (await sign(6, name_id="p1", **persistent))[0] == 403
