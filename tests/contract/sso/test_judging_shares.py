"""What judging the responses of one organization may cost the others: workers, places to wait, tries (sso.md §2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest

from connector.sso.gate.connections import Certificate
from connector.sso.saml.metadata import MOST_CERTIFICATES, REDIRECT, IdpMetadata, Peer, SigningCertificate, Wants
from connector.sso.saml.response import Document, Expected, SignInRefused, read_response
from connector.sso.saml.service_provider import ServiceProvider
from connector.sso.saml.signing import ensure_key
from connector.sso.settings import SamlSettings
from ledger.errors import Busy
from ledger.secret import SecretRef
from tests.parts.idp import Forged, Key

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
IDP = "https://idp.evil.example"


@pytest.fixture
async def provider(tmp_path: Path) -> AsyncIterator[ServiceProvider]:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    ensure_key(key, certificate, name="rosterd", now=NOW)
    settings = SamlSettings(
        signing_key=SecretRef("file", str(key)), signing_certificate=SecretRef("file", str(certificate))
    )
    made = ServiceProvider("https://rosterd.example", settings, workers=2)
    yield made
    await made.close()


def peer(keys: int = 1, *, last: str = "") -> Peer:
    """A version as it was stored; the certificates are never opened."""
    value = Certificate("", NOW - timedelta(days=1), NOW + timedelta(days=1))
    found = [SigningCertificate(f"AA{number}", replace(value, spki=f"key{number}")) for number in range(keys)]
    if last:
        found[-1] = replace(found[-1], base64=last)
    return Peer("evil", "f", IdpMetadata(IDP, {REDIRECT: f"{IDP}/sso"}, tuple(found)), Wants())


@pytest.fixture(scope="module")
def key() -> Key:
    return Key.make(NOW)


@pytest.fixture
def asked(provider: ServiceProvider, key: Key) -> tuple[Document, Expected]:
    acs, ours = provider.acs("evil"), provider.entity_id("evil")
    forged = Forged(key, NOW, acs, ours, IDP, "_request")
    return read_response(forged.post()), Expected(NOW, acs, ours, IDP, "_request", frozenset({"acme.example"}))


async def test_no_organization_has_every_worker(
    provider: ServiceProvider, asked: tuple[Document, Expected], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, begun = Event(), []
    monkeypatch.setattr(provider, "_judge", lambda *_: begun.append(slow.wait(20)))
    held = [asyncio.create_task(provider.judge(peer(), *asked)) for _ in range(4)]
    try:
        await asyncio.sleep(0.1)
        assert b"EntityDescriptor" in await asyncio.wait_for(provider.metadata("acme"), 5)
    finally:
        slow.set()
        await asyncio.gather(*held)
    assert begun == [True] * 4, "and what waits for its own organization is done after it"


async def test_no_organization_has_every_place_to_wait(
    provider: ServiceProvider, asked: tuple[Document, Expected], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Event()
    monkeypatch.setattr(provider, "_judge", lambda *_: slow.wait(20))
    held = [asyncio.create_task(provider.judge(peer(), *asked)) for _ in range(200)]
    try:
        await asyncio.sleep(0.1)
        assert b"EntityDescriptor" in await asyncio.wait_for(provider.metadata("acme"), 5)
    finally:
        slow.set()
    found = await asyncio.gather(*held, return_exceptions=True)
    assert any(isinstance(one, Busy) for one in found)


async def test_what_nobody_waits_for_any_more_ends_and_frees_its_place_only_then(
    provider: ServiceProvider, asked: tuple[Document, Expected], monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.settings = provider.settings.model_copy(update={"deadline": timedelta(seconds=0.2)})
    tried: list[str] = []
    late = Event()

    def verify(one: Peer, *_: object) -> tuple[str, bool]:
        tried.append(one.organization)
        late.wait(0.5)
        raise SignInRefused(4, "not_verified")

    monkeypatch.setattr(provider, "_verify_by", verify)
    with pytest.raises(Busy, match="took too long"):
        await provider.judge(peer(8), *asked)
    with pytest.raises(Busy, match="took too long"):  # the only worker it may have is still at work
        await provider.judge(peer(1), *asked)
    await asyncio.sleep(1.5)
    assert tried == ["evil"], "no further try once nobody waits"
    provider.settings = provider.settings.model_copy(update={"deadline": timedelta(seconds=20)})
    with pytest.raises(SignInRefused):
        await provider.judge(peer(1), *asked)


async def test_a_response_is_tried_with_ten_keys_at_most_however_many_a_stored_version_has(
    provider: ServiceProvider, asked: tuple[Document, Expected], key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[tuple[str, ...]] = []

    def refuse(one: Peer, *_: object) -> tuple[str, bool]:
        tried.append(one.keys(NOW))
        raise SignInRefused(4, "not_verified")

    monkeypatch.setattr(provider, "_verify_by", refuse)
    with pytest.raises(SignInRefused):
        await provider.judge(peer(60, last=key.base64), *asked)
    assert tried[0] == ("key59",), "the one that the response names comes first"
    assert sum(map(len, tried)) == MOST_CERTIFICATES
