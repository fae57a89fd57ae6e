"""Metadata is fetched again: keys roll over by themselves, and what is another provider's waits (N1, N2; §3, 16)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from connector.sso import sign_in, steps
from connector.sso.gate import evidence
from connector.sso.gate.decision import Gate, GateState
from connector.sso.gate.sync import SyncState
from connector.sso.pages import Letterhead
from connector.sso.provider.refresh import Outcome, RefreshReport, next_refresh
from connector.sso.saml import metadata_signature
from connector.sso.saml.metadata_signature import NotSigned, signed_by, signer_of
from connector.sso.saml.response import SignInRefused
from connector.sso.saml.service_provider import ServiceProvider
from connector.sso.saml.signing import ensure_key
from connector.sso.settings import SamlSettings, SsoSettings
from connector.sso.sign_in import SignedIn
from ledger.errors import Unavailable
from ledger.secret import SecretRef
from ledger.store import audit, claims
from ledger.store import sso as rows
from ledger.store.engine import Ledger
from ledger.store.tables import people
from ledger.store.tables.outbox import outbox
from ledger.store.tables.sso import sso_version
from rosterd.faces import arrive
from rosterd.service import Service
from rosterd.settings import Settings
from tests.parts.fences import ALONE
from tests.parts.idp import Key, metadata, signed_metadata
from tests.parts.sso_organization import IDP, SsoOrganization, prove

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
H = timedelta(hours=1)
DAY = timedelta(days=1)
SOURCE = "https://idp.acme.example/metadata.xml"
ANNA = "anna@acme.example"


@pytest.fixture(scope="module")
def keys() -> tuple[Key, Key, Key]:
    return Key.make(NOW), Key.make(NOW), Key.make(NOW)


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


@dataclass
class Company:
    """An organization that is on since NOW, by metadata of an https address that shows ``published``; None: silent."""

    organization: SsoOrganization
    published: bytes | None
    settings: SsoSettings = field(default_factory=SsoSettings)

    @property
    def ledger(self) -> Ledger:
        return self.organization.ledger

    async def fetch(self, url: str) -> bytes:
        assert url == SOURCE
        if self.published is None:
            raise Unavailable("cannot be fetched: no route", where=url)
        return self.published

    async def begin(self) -> None:
        """Anna exists; the domain is proved, the provider is connected, tested and on, and sync is enabled."""
        async with self.ledger.write("acme", ALONE, at=NOW) as book:
            columns = ("id", "mail", "mail_key", "given_name", "family_name", "display_name", "state")
            person = ("p1", ANNA, ANNA, "Anna", "Nowak", "Anna Nowak", "active")
            await book.begin(people.identity, (*columns, "employee_number", "attributes"), [(*person, "", {})])
        await prove(self.ledger, "acme", "acme.example", NOW)
        await self.connect(NOW)
        await self.test_by(NOW, self.organization.key)
        await steps.turn_on(self.ledger, "acme", actor="ada", now=NOW)
        await steps.enable_sync(self.ledger, "acme", actor="ada", now=NOW)

    async def connect(self, now: datetime, text: bytes | None = None, source: str = SOURCE) -> steps.ConnectionReport:
        given = text or self.published
        assert given is not None
        return await steps.connect(
            self.ledger, "acme", given, settings=self.settings, actor="ada", now=now, source=source
        )

    async def refresh(self, now: datetime, text: bytes | None = None) -> RefreshReport:
        """One look; ``text`` is what the address shows from now on."""
        self.published = text if text is not None else self.published
        found = await steps.refresh(self.ledger, "acme", settings=self.settings, fetch=self.fetch, now=now, fence=ALONE)
        assert found is not None
        return found

    async def look_at_dns(self, now: datetime) -> None:
        facts = {"attempt": 1, "answer": "found", "why": "", "resolvers": []}
        async with self.ledger.write("acme", ALONE, at=now) as book:
            await evidence.record(
                book, evidence.DOMAIN_CHECKED, "acme.example", actor="ada", facts=facts, domains=["acme.example"]
            )

    async def signs_in(self, now: datetime, key: Key) -> SignedIn:
        """Anna, all the way, by a response that ``key`` signs."""
        return await self.answers(await self.goes(now), now, key)

    async def answers(self, going: sign_in.Outgoing, now: datetime, key: Key) -> SignedIn:
        """The provider's response to a request that went out, signed by ``key``."""
        forged = self.organization.forged(going, now, key=key, assertion_id=f"_{going.request_id}")
        return await self.organization.finish(going, forged.post(), now)

    async def goes(self, now: datetime) -> sign_in.Outgoing:
        return await sign_in.open_login(self.ledger, self.organization.provider, "acme", "acme.example", now=now)

    async def arrives(self, now: datetime, key: Key) -> tuple[int, str]:
        """Anna signs in and meets the composition; status and page."""
        done = await self.signs_in(now, key)
        answer = await arrive(Service(cast(Settings, None), self.ledger, lambda: now), done)
        return answer.status, answer.html(Letterhead(), "en")

    async def test_by(self, now: datetime, key: Key) -> SignedIn:
        return await self.answers(await self.organization.start_test(now), now, key)

    async def gate(self, now: datetime) -> Gate:
        async with self.ledger.read("acme") as reader:
            return (await evidence.gates(reader, now=now))["acme.example"]

    async def sync(self) -> SyncState:
        async with self.ledger.read("acme") as reader:
            return (await steps.sync_status(reader)).state

    async def told(self) -> list[tuple[str, dict[str, object]]]:
        async with self.ledger.read("acme") as reader:
            found = await reader.all(reader.select(outbox).order_by(outbox.c.id))
        return [(row.kind, row.payload) for row in found if row.kind.startswith("connection.")]

    async def count(self) -> int:
        async with self.ledger.read("acme") as reader:
            return len(await rows.evidence(reader))

    async def status(self, now: datetime) -> steps.SsoStatus:
        async with self.ledger.read("acme") as reader:
            return await steps.status(reader, now=now)


@pytest.fixture
async def acme(ledger: Ledger, provider: ServiceProvider, keys: tuple[Key, Key, Key]) -> AsyncIterator[Company]:
    """On; afterwards nobody is gone and no evidence was changed, whatever happened."""
    company = Company(SsoOrganization(ledger, provider, keys[0]), metadata(IDP, keys[0]))
    await company.begin()
    yield company
    async with ledger.read("acme") as reader:
        assert len(await reader.all(reader.open(people.identity, "id"))) == 1
        assert await rows.broken_evidence(reader) == 0
        assert (await audit.verify(reader)).ok


async def test_n1_row_16_a_rollover_goes_through_by_itself(acme: Company, keys: tuple[Key, Key, Key]) -> None:
    """Old and new, then the new one signs, then the old one goes: sign-ins and sync go on all the way."""
    old, new, _ = keys
    assert (await acme.arrives(NOW, old))[0] == 200  # Anna is bound
    report = await acme.refresh(NOW + DAY, metadata(IDP, old, new))
    assert (report.outcome, report.version, len(report.added), report.removed) == (Outcome.LIVE, 2, 1, ())
    kind, told = (await acme.told())[-1]
    assert (kind, told["to"]) == ("connection.continued", "sso_admin")
    assert str(told["next"]) == f"rosterd sso confirm-certificate {report.added[0].thumbprint[:16]}"
    for key in (old, new, old):
        assert (await acme.arrives(NOW + DAY, key))[0] == 200
    assert (await acme.arrives(NOW + 2 * DAY, new))[0] == 200  # a day later it proves the new key
    report = await acme.refresh(NOW + 2 * DAY, metadata(IDP, new))
    assert (report.outcome, report.version, len(report.removed)) == (Outcome.LIVE, 3, 1)
    assert (await acme.arrives(NOW + 2 * DAY, new))[0] == 200
    with pytest.raises(SignInRefused):  # removed: it stops at once
        await acme.signs_in(NOW + 2 * DAY, old)
    assert (await acme.gate(NOW + 2 * DAY)).state is GateState.OPEN
    assert await acme.sync() is SyncState.ENABLED


async def test_n1_without_a_proved_key_in_both_nothing_goes_live(acme: Company, keys: tuple[Key, Key, Key]) -> None:
    old, new, _ = keys
    await acme.refresh(NOW + DAY, metadata(IDP, old, new))
    report = await acme.refresh(NOW + 2 * DAY, metadata(IDP, new))  # the new one has signed nothing yet
    assert (report.outcome, report.version) == (Outcome.DRAFT, 3)
    assert "has verified" in report.why
    assert (await acme.signs_in(NOW + 2 * DAY, old)).mail.text == ANNA  # the live version judges on
    assert (await acme.gate(NOW + 2 * DAY)).state is GateState.OPEN
    [connection] = (await acme.status(NOW + 2 * DAY)).connections
    assert connection.draft is not None
    assert "rosterd sso test acme.example" in connection.draft.steps[0]
    await acme.arrives(NOW + 2 * DAY, old)  # Anna is bound
    await acme.arrives(NOW + 2 * DAY, new)  # … and proves the new one
    report = await acme.refresh(NOW + 3 * DAY)
    assert (report.outcome, report.version) == (Outcome.LIVE, 4)
    assert (await acme.status(NOW + 3 * DAY)).connections[0].draft is None


async def test_n1_an_added_certificate_makes_no_test_and_no_first_sign_in_for_a_day(
    acme: Company, keys: tuple[Key, Key, Key]
) -> None:
    old, new, _ = keys
    at = NOW + DAY
    report = await acme.refresh(at, metadata(IDP, old, new))
    status, page = await acme.arrives(at + H, new)
    assert status == 403
    assert "confirm" in page
    assert "4 March" in page or "2026-03-04" in page
    async with acme.ledger.read("acme") as reader:
        assert await claims.bonds_of_person(reader, "p1") == []
    with pytest.raises(SignInRefused) as refused:
        await acme.test_by(at + H, new)
    assert refused.value.reason == "certificate_new"
    assert "2026-03-04" in refused.value.detail
    [connection] = (await acme.status(at + H)).connections
    held = [one for one in connection.certificates if one.held_until]
    assert [one.next_step for one in held] == [f"rosterd sso confirm-certificate {report.added[0].thumbprint[:16]}"]
    await steps.confirm_certificate(acme.ledger, "acme", held[0].certificate.thumbprint[:16], actor="ada", now=at + H)
    assert (await acme.arrives(at + H, new))[0] == 200
    await acme.test_by(at + H, new)


async def test_n1_after_a_day_it_counts_unconfirmed(acme: Company, keys: tuple[Key, Key, Key]) -> None:
    await acme.refresh(NOW + DAY, metadata(IDP, keys[0], keys[1]))
    assert (await acme.arrives(NOW + 2 * DAY, keys[1]))[0] == 200


async def test_n1_a_key_that_is_held_proves_nothing(acme: Company, keys: tuple[Key, Key, Key]) -> None:
    """Else whoever has the address brings in a key and drives the tested one out within minutes."""
    old, new, _ = keys
    assert (await acme.arrives(NOW, old))[0] == 200  # Anna is bound
    await acme.refresh(NOW + DAY, metadata(IDP, old, new))
    before = await acme.count()
    assert (await acme.arrives(NOW + DAY + H / 6, new))[0] == 200
    assert await acme.count() == before
    async with acme.ledger.read("acme") as reader:
        live = (await evidence.known(reader)).connections["main"].live(NOW + DAY)
    assert live is not None
    spki = live.certificates[1].spki
    facts = {"spki": spki, "version": 2}  # as it was written before
    async with acme.ledger.write("acme", ALONE, at=NOW + DAY + H / 6) as book:
        await evidence.record(book, evidence.KEY_PROVED, "main", actor="sign-in", facts=facts, domains=())
    assert not await steps.prove_key(acme.ledger, "acme", "main", spki, now=NOW + DAY + H / 6)
    report = await acme.refresh(NOW + DAY + H / 3, metadata(IDP, new))
    assert report.outcome is Outcome.DRAFT
    assert (await acme.signs_in(NOW + DAY + H / 2, old)).mail.text == ANNA
    await steps.confirm_certificate(
        acme.ledger, "acme", live.certificates[1].thumbprint, actor="ada", now=NOW + DAY + H
    )
    assert (await acme.arrives(NOW + DAY + H, new))[0] == 200
    assert (await acme.refresh(NOW + DAY + 2 * H)).outcome is Outcome.LIVE


async def test_n1_a_certificate_is_confirmed_also_while_single_sign_on_is_off(
    acme: Company, keys: tuple[Key, Key, Key]
) -> None:
    report = await acme.refresh(NOW + DAY, metadata(IDP, keys[0], keys[1]))
    await steps.turn_off(acme.ledger, "acme", reason="a test", actor="ada", now=NOW + DAY + H)
    with pytest.raises(SignInRefused) as refused:
        await acme.test_by(NOW + DAY + 2 * H, keys[1])
    assert refused.value.reason == "certificate_new"
    await steps.confirm_certificate(acme.ledger, "acme", report.added[0].thumbprint, actor="ada", now=NOW + DAY + 2 * H)
    await acme.test_by(NOW + DAY + 2 * H, keys[1])


@pytest.mark.parametrize("source", ["file:idp.xml", "http://idp.acme.example/metadata.xml", "idp.xml"])
async def test_only_an_https_address_is_come_back_to(acme: Company, source: str) -> None:
    """Whoever connects, and where a version of before has something else written down."""
    await acme.connect(NOW + H, metadata(IDP, acme.organization.key, sso="https://idp.acme.example/b"), source=source)
    async with acme.ledger.write("acme", ALONE, at=NOW + H) as book:
        row = await rows.version(book, "main", 1)
        assert row is not None
        facts = {"facts": {**row.facts, "source": source}}
        await book.update(sso_version, facts, sso_version.c.version == 1)
    async with acme.ledger.read("acme") as reader:
        found = (await evidence.known(reader)).connections["main"]
    assert [version.source for version in found.versions] == ["", ""]


async def test_n1_only_what_waits_can_be_confirmed(acme: Company, keys: tuple[Key, Key, Key]) -> None:
    report = await acme.refresh(NOW + DAY, metadata(IDP, keys[0], keys[1]))
    thumb = report.added[0].thumbprint
    for wrong in ("", thumb[:7], "0" * 16, "zz"):
        with pytest.raises(Exception, match="rosterd sso status"):
            await steps.confirm_certificate(acme.ledger, "acme", wrong, actor="ada", now=NOW + DAY)
    colons = ":".join(thumb[at : at + 2].upper() for at in range(0, 64, 2))  # as openssl prints it
    await steps.confirm_certificate(acme.ledger, "acme", colons, actor="ada", now=NOW + DAY)


async def test_the_key_that_signed_is_evidence(acme: Company, keys: tuple[Key, Key, Key]) -> None:
    """With several valid certificates it is found out which one it was; the proof of a key is written once."""
    old, new, third = keys
    await acme.refresh(NOW + DAY, metadata(IDP, old, new, third))
    await acme.arrives(NOW + DAY, old)
    before = await acme.count()
    for _ in range(2):
        await acme.arrives(NOW + 2 * DAY, third)
    async with acme.ledger.read("acme") as reader:
        proofs = await rows.evidence(reader, [evidence.KEY_PROVED])
        tests = await rows.evidence(reader, [evidence.TESTED])
        known = (await evidence.known(reader)).connections["main"]
    assert await acme.count() == before + 1
    live = known.live(NOW + DAY)
    assert live is not None
    assert [proof.facts["spki"] for proof in proofs] == [live.certificates[2].spki]
    assert tests[0].facts["signer"] == live.certificates[0].spki


async def test_whoever_was_on_the_way_comes_in_by_the_version_that_went_on(
    acme: Company, keys: tuple[Key, Key, Key]
) -> None:
    old, new, _ = keys
    going = [await acme.goes(NOW + DAY) for _ in range(2)]
    await acme.refresh(NOW + DAY, metadata(IDP, old, new))
    for one, key in zip(going, (old, new), strict=True):
        assert (await acme.answers(one, NOW + DAY, key)).mail.text == ANNA


async def test_unchanged_metadata_writes_no_evidence_and_no_gate(acme: Company) -> None:
    before, gate = await acme.count(), await acme.gate(NOW + H)
    for day in range(1, 6):
        assert (await acme.refresh(NOW + day * DAY)).outcome is Outcome.UNCHANGED
    assert (await acme.count(), await acme.gate(NOW + H)) == (before, gate)
    [connection] = (await acme.status(NOW + 5 * DAY)).connections
    assert connection.fetch is not None
    assert connection.fetch.read_at == NOW + 5 * DAY


async def test_n2_an_unreachable_or_broken_address_never_closes(acme: Company) -> None:
    before = await acme.count()
    good = acme.published
    for day, text in enumerate((None, b"<html>maintenance</html>", b"", metadata(IDP), None), 1):
        acme.published = text
        report = await acme.refresh(NOW + day * DAY)
        assert report.outcome is Outcome.UNREADABLE
    await acme.look_at_dns(NOW + 5 * DAY)
    gate = await acme.gate(NOW + 5 * DAY)
    assert (gate.state, gate.warnings) == (GateState.OPEN, ("metadata_unreachable",))
    [connection] = (await acme.status(NOW + 5 * DAY)).connections
    assert connection.fetch is not None
    assert (connection.fetch.failing_since, connection.fetch.failures) == (NOW + DAY, 5)
    assert await acme.count() == before + 1  # the look at DNS
    assert (await acme.refresh(NOW + 6 * DAY, good)).outcome is Outcome.UNCHANGED
    assert (await acme.gate(NOW + 6 * DAY)).warnings == ()


@pytest.mark.parametrize("shown", ["entity", "host", "certificates"])
async def test_n2_another_provider_closes_at_the_second_look_and_reopens_by_itself(
    acme: Company, keys: tuple[Key, Key, Key], shown: str
) -> None:
    old, _, foreign = keys
    right = acme.published
    wrong = {
        "entity": metadata("https://idp.evil.example", old),
        "host": metadata(IDP, old, sso="https://idp.evil.example/sso"),
        "certificates": metadata(IDP, foreign),
    }[shown]
    report = await acme.refresh(NOW + DAY, wrong)
    assert (report.outcome, report.version) == (Outcome.DIFFERENT, 2)
    gate = await acme.gate(NOW + DAY)
    code = "new_certificates_seen" if shown == "certificates" else "idp_change_seen"
    assert (gate.state, gate.warnings) == (GateState.OPEN, (code,))
    shows = "new certificates only" if shown == "certificates" else "another provider"
    second = f"{NOW + DAY + H:%H:%M} UTC, a look at the metadata that still shows {shows} closes the gate: sync would"
    assert any(second in sentence for sentence in (await acme.status(NOW + DAY)).forecast)
    await acme.refresh(NOW + DAY + H / 2)
    assert (await acme.gate(NOW + DAY + H / 2)).state is GateState.OPEN
    assert (await acme.refresh(NOW + 2 * DAY)).version == 2  # the same draft
    gate = await acme.gate(NOW + 2 * DAY)
    assert (gate.state, gate.reasons) == (GateState.CLOSED, ("idp_changed",))
    assert await acme.sync() is SyncState.SUSPENDED
    [connection] = (await acme.status(NOW + 2 * DAY)).connections
    assert connection.draft is not None
    assert any("rosterd sso test acme.example" in step for step in connection.draft.steps)
    before = await acme.count()
    await acme.refresh(NOW + 3 * DAY)
    assert await acme.count() == before  # nothing grows while it stays so
    assert (await acme.signs_in(NOW + 3 * DAY, old)).mail.text == ANNA  # the live version still judges
    assert (await acme.refresh(NOW + 3 * DAY + H, right)).outcome is Outcome.UNCHANGED
    assert (await acme.gate(NOW + 3 * DAY + H)).state is GateState.OPEN
    assert await acme.sync() is SyncState.ENABLED
    assert (await acme.status(NOW + 3 * DAY + H)).connections[0].draft is None
    assert (await acme.signs_in(NOW + 3 * DAY + H, old)).mail.text == ANNA


async def test_n2_while_another_provider_is_shown_the_looks_are_hourly(
    acme: Company, keys: tuple[Key, Key, Key]
) -> None:
    async def wait(at: datetime) -> timedelta | None:
        async with acme.ledger.read("acme") as reader:
            return await next_refresh(reader, now=at)

    right = acme.published
    assert await wait(NOW + DAY) is None
    await acme.refresh(NOW + DAY, metadata(IDP, keys[2]))
    assert await wait(NOW + DAY) == H
    assert await wait(NOW + DAY + H / 4) == 3 * H / 4
    acme.published = None
    await acme.refresh(NOW + DAY + H)  # unreachable: asked again in an hour, not each minute
    assert await wait(NOW + DAY + H) == H
    await acme.refresh(NOW + DAY + 2 * H, metadata(IDP, keys[2]))
    assert (await acme.gate(NOW + DAY + 2 * H)).state is GateState.CLOSED
    assert await wait(NOW + DAY + 2 * H) == H
    await acme.refresh(NOW + DAY + 3 * H, right)
    assert await wait(NOW + DAY + 3 * H) is None


async def test_n2_the_draft_that_is_tested_and_turned_on_opens_again(acme: Company, keys: tuple[Key, Key, Key]) -> None:
    """The provider really changed its key without an overlap: the commands that status prints lead back."""
    await acme.refresh(NOW + DAY, metadata(IDP, keys[2]))
    await acme.refresh(NOW + 2 * DAY)
    assert (await acme.gate(NOW + 2 * DAY)).state is GateState.CLOSED
    await acme.test_by(NOW + 2 * DAY, keys[2])
    report = await steps.turn_on(acme.ledger, "acme", actor="ada", now=NOW + 2 * DAY)
    assert report.version == 2
    assert (await acme.gate(NOW + 2 * DAY)).state is GateState.OPEN
    assert await acme.sync() is SyncState.ENABLED
    assert (await acme.refresh(NOW + 3 * DAY)).outcome is Outcome.UNCHANGED


async def test_n2_the_right_metadata_by_hand_opens_again(acme: Company, keys: tuple[Key, Key, Key]) -> None:
    right = acme.published
    await acme.refresh(NOW + DAY, metadata(IDP, keys[2]))
    await acme.refresh(NOW + 2 * DAY)
    report = await acme.connect(NOW + 2 * DAY, right)
    assert (report.new, report.live, report.version) == (False, True, 1)
    assert (await acme.gate(NOW + 2 * DAY)).state is GateState.OPEN
    assert await acme.sync() is SyncState.ENABLED


async def test_what_else_changes_is_a_draft(acme: Company, keys: tuple[Key, Key, Key]) -> None:
    report = await acme.refresh(NOW + DAY, metadata(IDP, keys[0], sso="https://idp.acme.example/elsewhere"))
    assert (report.outcome, report.version) == (Outcome.DRAFT, 2)
    assert (await acme.gate(NOW + DAY)).state is GateState.OPEN
    assert [kind for kind, _ in await acme.told()] == ["connection.draft_waits"]
    assert (await acme.refresh(NOW + 2 * DAY)).version == 2  # told once
    assert [kind for kind, _ in await acme.told()] == ["connection.draft_waits"]


async def test_an_admins_draft_is_not_pushed_aside(acme: Company, keys: tuple[Key, Key, Key]) -> None:
    """While somebody moves to another provider, the old one's keys still roll over, and their draft still waits."""
    old, new, other = keys
    await acme.connect(NOW + H, metadata("https://next.example", other), source="")
    report = await acme.refresh(NOW + DAY, metadata(IDP, old, new))
    assert (report.outcome, report.version) == (Outcome.LIVE, 3)
    [connection] = (await acme.status(NOW + DAY)).connections
    assert connection.draft is not None
    assert (connection.draft.number, connection.live, connection.draft.refreshed) == (2, 3, False)


async def test_n1_signed_metadata_stays_signed_by_its_key(
    ledger: Ledger, provider: ServiceProvider, keys: tuple[Key, Key, Key]
) -> None:
    old, new, signer = keys
    acme = Company(SsoOrganization(ledger, provider, old), signed_metadata(metadata(IDP, old), signer))
    await acme.begin()
    both = metadata(IDP, old, new)
    for day, wrong in enumerate((both, signed_metadata(both, new), _wrapped(signed_metadata(both, signer))), 1):
        report = await acme.refresh(NOW + day * DAY, wrong)
        assert (report.outcome, "not signed" in report.why) == (Outcome.DRAFT, True)
    report = await acme.refresh(NOW + 4 * DAY, signed_metadata(both, signer))
    assert (report.outcome, len(report.added)) == (Outcome.LIVE, 1)


def _wrapped(signed: bytes) -> bytes:
    """The signed document put away inside another: its signature is right, and covers something else."""
    text = signed.decode().replace('ID="_signed"', 'ID="_outer"', 1)
    inner = f"<md:Extensions>{signed.decode()}</md:Extensions>"
    return text.replace("<md:IDPSSODescriptor", f"{inner}<md:IDPSSODescriptor", 1).encode()


async def test_n1_a_key_inside_the_signature_is_not_believed(keys: tuple[Key, Key, Key]) -> None:
    """xmlsec1 is asked with one key; what KeyInfo brings beside it counts for nothing."""
    signed = signed_metadata(metadata(IDP, keys[0]), keys[1])
    assert await signer_of(signed) == keys[1].base64
    assert await signed_by(signed, keys[1].base64)
    assert not await signed_by(signed, keys[0].base64)
    with pytest.raises(NotSigned, match="no certificate in its signature"):
        await signer_of(signed.replace(b"/sso", b"/evil"))
    assert await signer_of(metadata(IDP, keys[0])) == ""


async def test_few_certificates_are_tried_and_only_those_in_the_signature(
    keys: tuple[Key, Key, Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each costs a process: a megabyte of copies kept xmlsec1 busy for a minute."""
    tried: list[str] = []

    def verifies(_document: bytes, _root: str, certificate: str) -> bool:
        tried.append(certificate)
        return False

    monkeypatch.setattr(metadata_signature, "_verifies", verifies)
    one = "<ds:X509Certificate>{}</ds:X509Certificate>"
    inside = "".join(one.format(text) for text in ("AAAA",) * 300 + ("BBBB", "CCCC", "DDDD", "EEEE", "FFFF")).encode()
    outside = one.format("ZZZZ").encode() * 300
    signed = signed_metadata(metadata(IDP, keys[0]), keys[1])
    signed = signed.replace(b"</ds:X509Certificate>", b"</ds:X509Certificate>" + inside, 1)
    signed = signed.replace(
        b"</md:IDPSSODescriptor>", b"</md:IDPSSODescriptor><md:Extensions>" + outside + b"</md:Extensions>"
    )
    with pytest.raises(NotSigned):
        await signer_of(signed)
    assert tried == [keys[1].base64, "AAAA", "BBBB", "CCCC", "DDDD"]


async def test_a_later_end_is_taken_over_before_the_old_one_is_near(
    ledger: Ledger, provider: ServiceProvider, keys: tuple[Key, Key, Key]
) -> None:
    """Metadata that is made anew every day with two weeks to live makes a version a week, and never ends."""

    def until(at: datetime) -> bytes:
        return metadata(IDP, keys[0], extra=f'validUntil="{at:%Y-%m-%dT%H:%M:%SZ}"')

    acme = Company(SsoOrganization(ledger, provider, keys[0]), until(NOW + 14 * DAY))
    await acme.begin()
    for day in range(1, 61):
        await acme.refresh(NOW + day * DAY, until(NOW + (day + 14) * DAY))
        await acme.look_at_dns(NOW + day * DAY)
        assert (await acme.gate(NOW + day * DAY)).state is GateState.OPEN
    async with ledger.read("acme") as reader:
        assert len(await rows.versions(reader)) < 12


async def test_nothing_is_fetched_for_a_file_or_while_off(acme: Company, keys: tuple[Key, Key, Key]) -> None:
    await acme.connect(NOW + H, metadata(IDP, keys[0], keys[1]), source="")  # another document, as a file
    again = await steps.refresh(acme.ledger, "acme", settings=acme.settings, fetch=acme.fetch, now=NOW + H, fence=ALONE)
    assert again is None
    await acme.connect(NOW + 2 * H, metadata(IDP, keys[0], keys[1]))  # the same from its address: fetched from now on
    assert (await acme.refresh(NOW + 2 * H, metadata(IDP, keys[0], keys[1]))).outcome is Outcome.UNCHANGED
    await steps.turn_off(acme.ledger, "acme", reason="maintenance", actor="ada", now=NOW + 3 * H)
    off = await steps.refresh(
        acme.ledger, "acme", settings=acme.settings, fetch=acme.fetch, now=NOW + 3 * H, fence=ALONE
    )
    assert off is None


@pytest.mark.parametrize("declared", ["", SOURCE])
async def test_upgrade_what_was_tested_and_on_stays_on(
    acme: Company, keys: tuple[Key, Key, Key], declared: str
) -> None:
    """Rows as they were written before N1: the fingerprint held the keys, a test named all valid certificates."""
    async with acme.ledger.write("acme", ALONE, at=NOW + H) as book:
        now = await rows.version(book, "main", 1)
        assert now is not None
        facts = {name: value for name, value in now.facts.items() if name not in {"source", "signed_by", "refreshed"}}
        old = replace(now, version=2, fingerprint="0" * 64, facts=facts, created_at=book.at)
        await rows.put_version(book, old)
        spki = facts["certificates"][0]["spki"]
        tested = {"version": 2, "fingerprint": "0" * 64, "domain": "acme.example", "signers": [spki]}
        await evidence.record(book, evidence.TESTED, "main", actor="ada", facts=tested, domains=["acme.example"])
        on = {"version": 2, "fingerprint": "0" * 64, "domains": ["acme.example"]}
        await evidence.record(book, evidence.TURNED_ON, "main", actor="ada", facts=on, domains=["acme.example"])
    assert (await acme.gate(NOW + H)).state is GateState.OPEN
    assert (await acme.signs_in(NOW + H, keys[0])).mail.text == ANNA
    report = await acme.connect(NOW + 2 * H, source="")
    assert (report.new, report.live, report.version) == (False, True, 2)
    acme.settings = SsoSettings(metadata=declared)
    acme.published = metadata(IDP, keys[0], keys[1])
    found = await steps.refresh(
        acme.ledger, "acme", settings=acme.settings, fetch=acme.fetch, now=NOW + DAY, fence=ALONE
    )
    assert (found.outcome if found else None) == (Outcome.LIVE if declared else None)
    assert (await acme.gate(NOW + DAY)).state is GateState.OPEN


async def test_n2_the_right_document_as_a_file_leaves_an_address_that_is_lost(
    acme: Company, keys: tuple[Key, Key, Key]
) -> None:
    """What closed for ``idp_changed`` opens, and stays so: nothing is fetched any more from where another answers."""
    right = acme.published
    other = metadata("https://other.example/idp", keys[2], sso="https://other.example/sso")
    for day in (1, 2):
        await acme.refresh(NOW + day * DAY, other)
        await acme.look_at_dns(NOW + day * DAY)
    assert (await acme.gate(NOW + 2 * DAY)).reasons == ("idp_changed",)
    report = await acme.connect(NOW + 2 * DAY + H, right, source="")
    assert (report.live, report.new) == (True, True)
    assert (await acme.gate(NOW + 2 * DAY + H)).state is GateState.OPEN
    for day in (3, 4):
        await acme.look_at_dns(NOW + day * DAY)
        fetched = await steps.refresh(
            acme.ledger, "acme", settings=acme.settings, fetch=acme.fetch, now=NOW + day * DAY, fence=ALONE
        )
        assert fetched is None
    assert (await acme.gate(NOW + 4 * DAY)).state is GateState.OPEN
    [connection] = (await acme.status(NOW + 4 * DAY)).connections
    assert connection.source == ""
    again = await acme.connect(NOW + 4 * DAY, right)  # the address shows the right one again, and is said again
    assert (again.live, (await acme.status(NOW + 4 * DAY)).connections[0].source) == (True, SOURCE)
