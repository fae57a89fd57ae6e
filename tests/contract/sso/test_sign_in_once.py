"""A request is good for one response, in one browser; a test binds a fingerprint (sso.md §3, cases 8, 10, 15)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from connector.sso import sign_in, steps
from connector.sso.gate import evidence
from connector.sso.gate.connections import ConnectionState
from connector.sso.gate.decision import GateState
from connector.sso.gate.sync import SyncState
from connector.sso.saml.request_seal import LOGIN, TEST
from connector.sso.saml.response import SignInRefused
from connector.sso.saml.service_provider import ServiceProvider
from connector.sso.saml.signing import ensure_key
from connector.sso.settings import SamlSettings
from ledger.errors import BadInput, NotFound, Refused
from ledger.secret import SecretRef
from ledger.store import audit
from ledger.store.engine import Ledger
from ledger.store.tables.audit import audit_event
from tests.parts.fences import ALONE
from tests.parts.idp import Key
from tests.parts.sso_organization import SsoOrganization, prove

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def keys() -> tuple[Key, Key]:
    return Key.make(NOW), Key.make(NOW)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> SamlSettings:
    folder = tmp_path_factory.mktemp("saml")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    ensure_key(key, certificate, name="rosterd", now=NOW)
    return SamlSettings(
        signing_key=SecretRef("file", str(key)), signing_certificate=SecretRef("file", str(certificate))
    )


@pytest.fixture
async def provider(settings: SamlSettings) -> AsyncIterator[ServiceProvider]:
    made = ServiceProvider("https://rosterd.example", settings, workers=2)
    yield made
    await made.close()


@pytest.fixture
def acme(ledger: Ledger, provider: ServiceProvider, keys: tuple[Key, Key]) -> SsoOrganization:
    return SsoOrganization(ledger, provider, keys[0])


async def reason(attempt: object) -> str:
    """Why a sign-in was refused."""
    with pytest.raises(SignInRefused) as refused:
        await attempt  # type: ignore[misc]
    return refused.value.reason


async def test_request_is_signed_with_sha256_and_asks_for_fresh_authentication(acme: SsoOrganization) -> None:
    await acme.connect(NOW)
    going = await acme.start_test(NOW)
    fields = parse_qs(urlsplit(going.location).query)
    assert going.location.startswith("https://idp.acme.example/sso?")
    assert fields["SigAlg"] == ["http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"]
    assert len(fields["RelayState"][0]) > 40  # opaque: no address in it (case 15)


async def test_second_use_of_a_request_and_replay(acme: SsoOrganization) -> None:
    await acme.connect(NOW)
    first, second = await acme.start_test(NOW), await acme.start_test(NOW)
    posted = acme.forged(first, NOW).post()
    assert (await acme.finish(first, posted, NOW)).mail.key == "anna@acme.example"
    assert await reason(acme.finish(first, posted, NOW)) == "request_used"
    assert await reason(acme.finish(second, acme.forged(second, NOW).post(), NOW)) == "replay"  # the same assertion id


async def test_two_posts_of_one_response_at_once(acme: SsoOrganization) -> None:
    await acme.connect(NOW)
    going = await acme.start_test(NOW)
    posted = acme.forged(going, NOW).post()
    done = await asyncio.gather(*(acme.finish(going, posted, NOW) for _ in range(4)), return_exceptions=True)
    assert sorted(type(result).__name__ for result in done) == ["RequestRefused"] * 3 + ["SignedIn"]


async def test_a_wrong_response_uses_the_request_up(acme: SsoOrganization, keys: tuple[Key, Key]) -> None:
    await acme.connect(NOW)
    going = await acme.start_test(NOW)
    assert await reason(acme.finish(going, acme.forged(going, NOW, key=keys[1]).post(), NOW)) == "not_verified"
    assert await reason(acme.finish(going, acme.forged(going, NOW).post(), NOW)) == "request_used"


async def test_another_browser_cannot_finish_and_does_not_use_it_up(acme: SsoOrganization) -> None:
    await acme.connect(NOW)
    going = await acme.start_test(NOW)
    posted = acme.forged(going, NOW).post()
    for cookie in ("", "x" * 43):
        assert await reason(acme.finish(going, posted, NOW, cookie=cookie)) == "unknown_request"
    assert (await acme.finish(going, posted, NOW)).purpose == TEST


async def test_one_browser_may_have_two_sign_ins_open(acme: SsoOrganization) -> None:
    await acme.connect(NOW)
    first = await acme.start_test(NOW)
    second = await acme.start_test(NOW)
    await acme.finish(first, acme.forged(first, NOW).post(), NOW)
    await acme.finish(second, acme.forged(second, NOW, assertion_id="_other").post(), NOW)


async def test_requests_and_tickets_run_out(acme: SsoOrganization) -> None:
    await acme.connect(NOW)
    going = await acme.start_test(NOW)
    late = NOW + sign_in.REQUEST_LIFE
    assert await reason(acme.finish(going, acme.forged(going, late).post(), late)) == "request_expired"
    ticket = await steps.begin_test(acme.ledger, acme.provider, "acme", "acme.example", actor="ada", now=NOW)
    name = ticket.url.partition("ticket=")[2]
    with pytest.raises(Refused, match="run out"):
        await sign_in.open_test(acme.ledger, acme.provider, "acme", name, now=ticket.expires_at)


async def test_forged_relay_state(acme: SsoOrganization) -> None:
    await acme.connect(NOW)
    for state in ("https://evil.example", "//evil.example", "javascript:alert(1)", ""):
        going = await acme.start_test(NOW)
        posted = acme.forged(going, NOW, assertion_id="_a").post()
        attempt = sign_in.finish(
            acme.ledger, acme.provider, "acme", posted, cookies=[going.cookie], relay_state=state, now=NOW
        )
        assert await reason(attempt) == "relay_state"


async def test_unsolicited_is_never_trusted(acme: SsoOrganization) -> None:
    await acme.connect(NOW)
    going = await acme.start_test(NOW)

    def drop(root: object) -> None:
        del root.attrib["InResponseTo"]  # type: ignore[attr-defined]

    posted = acme.forged(going, NOW, before_signing=drop).post()
    assert await reason(acme.finish(going, posted, NOW)) == "unsolicited"


async def test_the_refusal_is_audited_with_its_reason_and_nothing_personal(acme: SsoOrganization) -> None:
    await acme.connect(NOW)
    going = await acme.start_test(NOW)
    posted = acme.forged(going, NOW, name_id="ceo@other.example").post()
    assert await reason(acme.finish(going, posted, NOW)) == "mail_domain"
    async with acme.ledger.read("acme") as reader:
        events = await reader.all(reader.select(audit_event).order_by(audit_event.c.seq.desc()))
        assert events[0].verb == "sign_in.refused"
        assert (await audit.verify(reader)).ok


async def test_case_8_domains_must_be_proved_and_linked_to_this_connection(acme: SsoOrganization) -> None:
    await acme.turned_on(NOW)
    await steps.add_domain(acme.ledger, "acme", "victim.example", actor="ada", now=NOW)  # added, not proved
    await acme.reconnect(NOW)
    going = await sign_in.open_login(acme.ledger, acme.provider, "acme", "", now=NOW)
    posted = acme.forged(going, NOW, name_id="ceo@victim.example", assertion_id="_b").post()
    assert await reason(acme.finish(going, posted, NOW)) == "mail_domain"


async def test_a_test_counts_for_its_own_domain_only(acme: SsoOrganization) -> None:
    await prove(acme.ledger, "acme", "acme-labs.example", NOW)
    await acme.connect(NOW)
    going = await acme.start_test(NOW)
    posted = acme.forged(going, NOW, name_id="anna@acme-labs.example").post()
    assert await reason(acme.finish(going, posted, NOW)) == "mail_domain"
    await acme.test(NOW)
    await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW)
    async with acme.ledger.read("acme") as reader:
        gates = await evidence.gates(reader, now=NOW)
    assert gates["acme.example"].state is GateState.OPEN
    assert gates["acme-labs.example"].reasons == ("not_tested",)


async def test_turning_on_needs_a_test_of_this_fingerprint_of_this_week(
    acme: SsoOrganization, keys: tuple[Key, Key]
) -> None:
    await acme.connect(NOW)
    with pytest.raises(Refused, match="not_tested"):
        await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW)
    await acme.test(NOW)
    changed = await acme.reconnect(NOW, keys[1])  # no key that the test proved is left
    assert (changed.new, changed.version) == (True, 2)
    with pytest.raises(Refused, match="test_outdated"):
        await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW)
    assert not (await acme.reconnect(NOW, keys[1])).new  # the same again changes nothing
    going = await acme.start_test(NOW)
    await acme.finish(going, acme.forged(going, NOW, key=keys[1], assertion_id="_second").post(), NOW)
    await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW + 6 * DAY)


async def test_an_old_test_does_not_turn_on(acme: SsoOrganization) -> None:
    await acme.connect(NOW)
    await acme.test(NOW)
    async with acme.ledger.write("acme", ALONE, at=NOW + 5 * DAY) as book:  # the domain was looked at since
        facts = {"attempt": 1, "answer": "found", "why": "", "resolvers": []}
        await evidence.record(
            book, evidence.DOMAIN_CHECKED, "acme.example", actor="ada", facts=facts, domains=["acme.example"]
        )
    with pytest.raises(Refused, match="test_outdated"):
        await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW + 7 * DAY + timedelta(seconds=1))
    await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW + 7 * DAY)


async def test_a_draft_never_touches_the_live_version_and_is_swapped_in(
    acme: SsoOrganization, keys: tuple[Key, Key]
) -> None:
    await acme.turned_on(NOW)
    await acme.reconnect(NOW, keys[1])
    going = await sign_in.open_login(acme.ledger, acme.provider, "acme", "acme.example", now=NOW)
    old = acme.forged(going, NOW, assertion_id="_live").post()
    assert (await acme.finish(going, old, NOW)).purpose == LOGIN  # the old key still signs in
    other = SsoOrganization(acme.ledger, acme.provider, keys[1])
    going = await other.start_test(NOW)
    await other.finish(going, other.forged(going, NOW, assertion_id="_draft").post(), NOW)
    assert (await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW)).version == 2
    going = await sign_in.open_login(acme.ledger, acme.provider, "acme", "", now=NOW)
    assert await reason(acme.finish(going, acme.forged(going, NOW).post(), NOW)) == "not_verified"


async def test_what_must_come_before_a_test(acme: SsoOrganization) -> None:
    async def begin() -> None:
        await steps.begin_test(acme.ledger, acme.provider, "acme", "acme.example", actor="ada", now=NOW)

    with pytest.raises(NotFound):
        await begin()
    await steps.add_domain(acme.ledger, "acme", "acme.example", actor="ada", now=NOW)
    with pytest.raises(Refused, match="not proved"):
        await begin()
    with pytest.raises(NotFound):
        await sign_in.open_login(acme.ledger, acme.provider, "acme", "", now=NOW)
    with pytest.raises(Refused, match="no identity provider"):
        await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW)


async def test_an_identity_provider_in_use_belongs_to_one_organization(
    acme: SsoOrganization, ledger: Ledger, provider: ServiceProvider
) -> None:
    await acme.turned_on(NOW)
    rival = SsoOrganization(ledger, provider, acme.key, "rival", "rival.example")
    with pytest.raises(Refused, match="same entityID"):
        await rival.connect(NOW)
    await steps.turn_off(ledger, "acme", reason="an hour of maintenance", actor="ada", now=NOW)
    with pytest.raises(Refused, match="holds it until 2026-04-01"):
        await rival.reconnect(NOW + timedelta(days=29))
    await acme.test(NOW + timedelta(days=1), assertion_id="_again")
    await look_at_dns(acme, NOW + timedelta(days=1))
    await steps.turn_on(ledger, "acme", actor="ada", now=NOW + timedelta(days=1))  # its own at any time
    await steps.turn_off(ledger, "acme", reason="moved", actor="ada", now=NOW + timedelta(days=1))
    await rival.reconnect(NOW + timedelta(days=31))


async def test_an_entity_id_that_a_stranger_holds_is_freed_by_the_operator(
    acme: SsoOrganization, ledger: Ledger, provider: ServiceProvider
) -> None:
    rival = SsoOrganization(ledger, provider, acme.key, "rival", "rival.example")
    await rival.turned_on(NOW)
    await steps.enable_sync(ledger, "rival", actor="eve", now=NOW)
    with pytest.raises(Refused, match="rosterd sso release-provider") as refused:
        await acme.connect(NOW)
    assert "rival" not in str(refused.value), "no customer is told who holds it"
    with pytest.raises(BadInput, match="needs a reason"):
        await steps.release_provider(ledger, rival.idp, reason=" ", actor="operator:root", now=NOW)
    with pytest.raises(NotFound):
        await steps.release_provider(ledger, "https://other.example", reason="x", actor="operator:root", now=NOW)
    done = await steps.release_provider(ledger, rival.idp, reason="acme's own", actor="operator:root", now=NOW)
    assert (done.organization, done.turned_off) == ("rival", True)
    async with ledger.read("rival") as reader:
        [connection] = (await steps.status(reader, now=NOW)).connections
        assert (connection.live, connection.reasons) == (0, ("acme's own",))
        assert (await steps.sync_status(reader)).state is SyncState.SUSPENDED
        told = await reader.all(reader.select(audit_event).where(audit_event.c.verb == "connection.provider_released"))
    assert [row.actor for row in told] == ["operator:root"]
    await acme.reconnect(NOW)
    await acme.test(NOW)
    await steps.turn_on(ledger, "acme", actor="ada", now=NOW)
    with pytest.raises(Refused, match="same entityID"):
        await steps.turn_on(ledger, "rival", actor="eve", now=NOW)
    released = await steps.release_provider(ledger, rival.idp, reason="both", actor="operator:root", now=NOW)
    assert released.organization == "acme", "whoever holds it now"


@pytest.mark.parametrize("held", ["off", "moved"])
async def test_a_held_entity_id_is_freed_too(
    acme: SsoOrganization, ledger: Ledger, provider: ServiceProvider, held: str
) -> None:
    await acme.turned_on(NOW)
    if held == "off":
        await steps.turn_off(ledger, "acme", reason="moved", actor="ada", now=NOW)
    else:
        await acme_moves(acme)
    rival = SsoOrganization(ledger, provider, acme.key, "rival", "rival.example")
    with pytest.raises(Refused, match="holds it until"):
        await rival.connect(NOW)
    done = await steps.release_provider(ledger, acme.idp, reason="moved", actor="operator:root", now=NOW)
    assert (done.organization, done.turned_off) == ("acme", False)
    await rival.reconnect(NOW)


async def acme_moves(acme: SsoOrganization) -> None:
    """To another identity provider, tested and on."""
    other = replace(acme, idp="https://next.acme.example/metadata")
    await other.reconnect(NOW)
    await other.test(NOW, assertion_id="_next")
    await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW)


async def look_at_dns(acme: SsoOrganization, at: datetime) -> None:
    facts = {"attempt": 1, "answer": "found", "why": "", "resolvers": []}
    async with acme.ledger.write("acme", ALONE, at=at) as book:
        await evidence.record(
            book, evidence.DOMAIN_CHECKED, "acme.example", actor="ada", facts=facts, domains=["acme.example"]
        )


async def test_status_names_what_is_missing_and_forecasts_the_lapse(acme: SsoOrganization) -> None:
    await acme.turned_on(NOW)
    async with acme.ledger.read("acme") as reader:
        found = await steps.status(reader, now=NOW)
    assert found.connections[0].state is ConnectionState.ON
    assert found.sync.state is SyncState.READY
    assert found.forecast == ("on 2 March 2027, the last signing certificate expires: sync would suspend",)
    assert found.to_json()["domains"][0]["missing"] == []


async def test_nobody_signs_in_by_what_was_turned_off_while_they_were_at_the_provider(
    acme: SsoOrganization, keys: tuple[Key, Key]
) -> None:
    await acme.turned_on(NOW)
    later = NOW + timedelta(minutes=1)
    going = await sign_in.open_login(acme.ledger, acme.provider, "acme", "", now=later)
    await steps.turn_off(acme.ledger, "acme", reason="the provider is in a thief's hands", actor="ada", now=later)
    assert await reason(acme.finish(going, acme.forged(going, later, assertion_id="_a").post(), later)) == "not_live"


async def test_nobody_signs_in_by_the_version_before(acme: SsoOrganization, keys: tuple[Key, Key]) -> None:
    await acme.turned_on(NOW)
    later = NOW + timedelta(minutes=1)
    going = await sign_in.open_login(acme.ledger, acme.provider, "acme", "", now=later)
    posted = acme.forged(going, later, assertion_id="_a").post()
    renewed = SsoOrganization(acme.ledger, acme.provider, keys[1])
    await renewed.reconnect(later)
    test = await renewed.start_test(later)
    await renewed.finish(test, renewed.forged(test, later, assertion_id="_b").post(), later)
    await steps.turn_on(acme.ledger, "acme", actor="ada", now=later)
    assert await reason(acme.finish(going, posted, later)) == "not_verified"  # N1: its certificate is gone at once


async def test_a_book_written_ahead_of_this_host_ends_no_sign_in(acme: SsoOrganization) -> None:
    """What the provider dated is held against this host's clock, which is right; another host is four minutes ahead."""
    await acme.turned_on(NOW)
    async with acme.ledger.write("acme", ALONE, at=NOW + timedelta(minutes=5)):
        pass
    later, short = NOW + timedelta(minutes=1), timedelta(minutes=1)
    going = await sign_in.open_login(acme.ledger, acme.provider, "acme", "", now=later)
    forged = acme.forged(going, later, assertion_id="_a", conditions_life=short, confirmation_life=short)
    assert (await acme.finish(going, forged.post(), later)).mail.key == "anna@acme.example"
