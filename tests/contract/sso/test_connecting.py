"""Metadata given by hand, turned on for what was tested, by two people where that is wanted (sso.md §1, N1)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from connector.sso import steps
from connector.sso.gate import evidence, sync
from connector.sso.gate.decision import Gate, GateState
from connector.sso.gate.sync import SyncState
from connector.sso.saml.response import SignInRefused
from connector.sso.saml.service_provider import ServiceProvider
from connector.sso.saml.signing import ensure_key
from connector.sso.settings import SamlSettings, SsoSettings
from ledger.errors import BadInput, Refused
from ledger.secret import SecretRef
from ledger.store import sso as rows
from ledger.store.engine import Ledger
from tests.parts.fences import ALONE
from tests.parts.idp import Key, metadata
from tests.parts.sso_organization import IDP, SsoOrganization, prove

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
H = timedelta(hours=1)
DAY = timedelta(days=1)
SOON, LATE = NOW + 3 * DAY, NOW + 30 * DAY


@pytest.fixture(scope="module")
def keys() -> tuple[Key, Key]:
    return Key.make(NOW), Key.make(NOW)


@pytest.fixture
async def acme(
    ledger: Ledger, tmp_path_factory: pytest.TempPathFactory, keys: tuple[Key, Key]
) -> AsyncIterator[SsoOrganization]:
    folder = tmp_path_factory.mktemp("saml")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    ensure_key(key, certificate, name="rosterd", now=NOW)
    settings = SamlSettings(
        signing_key=SecretRef("file", str(key)), signing_certificate=SecretRef("file", str(certificate))
    )
    provider = ServiceProvider("https://rosterd.example", settings, workers=2)
    yield SsoOrganization(ledger, provider, keys[0])
    await provider.close()


async def connect(
    acme: SsoOrganization, now: datetime, *given: Key, ends: datetime | None = None
) -> steps.ConnectionReport:
    """Metadata by hand, with these certificates and this validUntil."""
    extra = f'validUntil="{ends:%Y-%m-%dT%H:%M:%SZ}"' if ends else ""
    text = metadata(IDP, *(given or (acme.key,)), extra=extra)
    return await steps.connect(acme.ledger, "acme", text, settings=SsoSettings(), actor="ada", now=now)


async def enabled(acme: SsoOrganization, *, ends: datetime | None) -> None:
    """On and enabled at NOW."""
    await prove(acme.ledger, "acme", "acme.example", NOW)
    await connect(acme, NOW, ends=ends)
    await acme.test(NOW)
    await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW)
    await steps.enable_sync(acme.ledger, "acme", actor="ada", now=NOW)


async def look_at_dns(acme: SsoOrganization, at: datetime, *domains: str) -> None:
    facts = {"attempt": 1, "answer": "found", "why": "", "resolvers": []}
    async with acme.ledger.write("acme", ALONE, at=at) as book:
        for name in domains or ("acme.example",):
            await evidence.record(book, evidence.DOMAIN_CHECKED, name, actor="ada", facts=facts, domains=[name])


async def gate(acme: SsoOrganization, at: datetime, domain: str = "acme.example") -> Gate:
    async with acme.ledger.read("acme") as reader:
        return (await evidence.gates(reader, now=at))[domain]


async def sync_state(acme: SsoOrganization) -> SyncState:
    async with acme.ledger.read("acme") as reader:
        return (await steps.sync_status(reader)).state


@pytest.mark.parametrize(("before", "after"), [(SOON, LATE), (None, LATE), (SOON, None), (LATE, SOON)], ids=str)
async def test_n1_another_valid_until_is_a_version_that_is_live_at_once(
    acme: SsoOrganization, before: datetime | None, after: datetime | None
) -> None:
    """Case validuntil-renewed: later, newly added, dropped, sooner."""
    await enabled(acme, ends=before)
    report = await connect(acme, NOW + H, ends=after)
    assert (report.new, report.live, report.version, report.next_step) == (True, True, 2, "")
    async with acme.ledger.read("acme") as reader:
        [connection] = (await steps.status(reader, now=NOW + H)).connections
        live = (await evidence.known(reader)).connections["main"].live(NOW + H)
    assert live is not None
    assert (live.valid_until, connection.live, connection.draft) == (after, 2, None)
    again = await connect(acme, NOW + 2 * H, ends=after)
    assert (again.new, again.live, again.version) == (False, True, 2)


async def test_n1_metadata_that_passed_its_end_is_mended_by_connecting_anew(acme: SsoOrganization) -> None:
    """Sync was suspended for metadata_expired; the later end brings it back without a test."""
    await enabled(acme, ends=SOON)
    await look_at_dns(acme, NOW + 4 * DAY)
    assert (await gate(acme, NOW + 4 * DAY)).reasons == ("metadata_expired",)
    async with acme.ledger.write("acme", ALONE, at=NOW + 4 * DAY) as book:
        await sync.follow_gate(book)
    assert await sync_state(acme) is SyncState.SUSPENDED
    report = await connect(acme, NOW + 4 * DAY + H, ends=LATE)
    assert (report.live, report.next_step) == (True, "")
    assert (await gate(acme, NOW + 4 * DAY + H)).state is GateState.OPEN
    assert await sync_state(acme) is SyncState.ENABLED


async def test_after_a_week_the_command_that_is_left_is_named(acme: SsoOrganization) -> None:
    await enabled(acme, ends=SOON)
    await look_at_dns(acme, NOW + 4 * DAY)
    async with acme.ledger.write("acme", ALONE, at=NOW + 4 * DAY) as book:
        await sync.follow_gate(book)
    back = NOW + 12 * DAY
    await look_at_dns(acme, back)
    report = await connect(acme, back, ends=LATE)
    assert (report.live, report.next_step) == (True, "rosterd sync enable")
    await steps.enable_sync(acme.ledger, "acme", actor="ada", now=back)
    assert await sync_state(acme) is SyncState.ENABLED


async def test_n1_other_certificates_without_an_overlap_are_a_draft(
    acme: SsoOrganization, keys: tuple[Key, Key]
) -> None:
    await enabled(acme, ends=None)
    report = await connect(acme, NOW + H, keys[1])
    assert (report.new, report.live, report.next_step) == (True, False, "rosterd sso test acme.example")
    assert (await gate(acme, NOW + H)).state is GateState.OPEN
    back = await connect(acme, NOW + 2 * H, keys[0])  # what is on already: the draft waits no more
    assert (back.new, back.live, back.version) == (False, True, 1)
    async with acme.ledger.read("acme") as reader:
        assert (await steps.status(reader, now=NOW + 2 * H)).connections[0].draft is None


async def test_n1_an_admins_own_certificate_counts_at_once(acme: SsoOrganization, keys: tuple[Key, Key]) -> None:
    await enabled(acme, ends=None)
    report = await connect(acme, NOW + H, *keys)
    assert (report.new, report.live) == (True, True)
    going = await acme.start_test(NOW + H)
    posted = acme.forged(going, NOW + H, key=keys[1], assertion_id="_second").post()
    assert (await acme.finish(going, posted, NOW + H)).held_until is None


async def test_with_two_people_a_key_given_by_hand_is_turned_on_by_both(
    acme: SsoOrganization, keys: tuple[Key, Key]
) -> None:
    """Otherwise one person signs in whom they like: the same metadata, with a key of their own, was live at once."""
    await enabled(acme, ends=None)
    two = SsoSettings(second_approver=True)

    async def given(text: bytes, at: datetime, source: str = "") -> steps.ConnectionReport:
        return await steps.connect(acme.ledger, "acme", text, settings=two, actor="mallory", now=at, source=source)

    async def on(actor: str, at: datetime) -> steps.ConnectionReport:
        return await steps.turn_on(acme.ledger, "acme", actor=actor, now=at, second_approver=True)

    report = await given(metadata(IDP, *keys), NOW + H)
    assert (report.live, report.version, report.next_step) == (False, 2, "rosterd sso on")
    going = await acme.start_login(NOW + H)
    with pytest.raises(SignInRefused):
        await acme.finish(going, acme.forged(going, NOW + H, key=keys[1], assertion_id="_own").post(), NOW + H)
    assert not (await given(metadata(IDP, *keys), NOW + H)).live  # nor the second time
    assert (await on("mallory", NOW + 2 * H)).asked is not None
    assert (await on("ada", NOW + 3 * H)).live
    later = metadata(IDP, *keys, extra='validUntil="2026-06-01T00:00:00Z"')
    moved = await given(later, NOW + 4 * H, "https://mallory.example/metadata.xml")
    assert not moved.live, "an address of one person's own would bring in their keys by itself"
    fewer = await given(metadata(IDP, keys[0]), NOW + 5 * H)
    assert fewer.live, "what takes a key away waits for nobody"


async def test_turning_off_needs_a_reason_that_says_something(acme: SsoOrganization) -> None:
    await enabled(acme, ends=None)
    for reason in ("", " \t\n"):
        with pytest.raises(BadInput, match="needs a reason"):
            await steps.turn_off(acme.ledger, "acme", reason=reason, actor="ada", now=NOW + H)
    assert (await gate(acme, NOW + H)).state is GateState.OPEN
    assert await steps.turn_off(acme.ledger, "acme", reason=" a  thief ", actor="ada", now=NOW + H)
    async with acme.ledger.read("acme") as reader:
        [fact] = [one for one in await rows.evidence(reader) if one.kind == evidence.TURNED_OFF]
    assert fact.facts["reason"] == "a  thief"


async def test_on_says_only_what_is_on(acme: SsoOrganization) -> None:
    """Case sso-on-untested: a proved, linked domain that was never tested is not on."""
    await prove(acme.ledger, "acme", "acme-labs.example", NOW)
    await acme.connect(NOW)
    await acme.test(NOW)
    with pytest.raises(Refused) as refused:
        await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW, domain="acme-labs.example")
    assert refused.value.exit_code == 3
    assert "acme-labs.example: nobody of the domain has passed" in refused.value.what
    assert "rosterd sso test acme-labs.example" in refused.value.what
    assert (await gate(acme, NOW)).reasons == ("sso_off",)  # nothing was switched
    report = await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW)
    assert report.domains == ("acme.example",)
    assert "acme-labs.example" in report.missing[0]
    assert (await gate(acme, NOW, "acme-labs.example")).state is GateState.CLOSED
    with pytest.raises(BadInput, match="is not linked"):
        await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW, domain="other.example")


async def test_on_again_after_the_week_of_the_test_says_the_same(acme: SsoOrganization) -> None:
    await enabled(acme, ends=None)
    await look_at_dns(acme, NOW + 6 * DAY)
    report = await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW + 9 * DAY, domain="acme.example")
    assert (report.domains, report.missing) == (("acme.example",), ())


async def test_a_second_person_completes_it_within_a_day(acme: SsoOrganization) -> None:
    await acme.connect(NOW)
    await acme.test(NOW)

    async def on(actor: str, at: datetime) -> steps.ConnectionReport:
        return await steps.turn_on(acme.ledger, "acme", actor=actor, now=at, second_approver=True)

    asked = await on("ada", NOW)
    assert asked.asked is not None
    assert (asked.domains, asked.live, asked.asked.actor) == ((), False, "ada")
    assert (await on("ada", NOW + H)).asked == asked.asked  # the same person twice is one person
    assert (await gate(acme, NOW + H)).state is GateState.CLOSED
    async with acme.ledger.read("acme") as reader:
        [connection] = (await steps.status(reader, now=NOW + H)).connections
    assert connection.asked is not None
    late = await on("ben", NOW + DAY)
    assert late.asked is not None
    assert late.asked.actor == "ben"  # a day is over: it begins anew
    done = await on("ada", NOW + DAY + H)
    assert (done.domains, done.live, done.asked) == (("acme.example",), True, None)
    assert (await gate(acme, NOW + DAY + H)).state is GateState.OPEN
