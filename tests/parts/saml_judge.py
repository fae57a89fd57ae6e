"""Our side of a sign-in with one connection, to be shown responses; and what a right judgement of a mutant is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from connector.sso.saml.metadata import Wants, fingerprint, parse
from connector.sso.saml.response import Accepted, Expected, SignInRefused, carried_by, read_response
from connector.sso.saml.service_provider import Peer, ServiceProvider
from connector.sso.saml.signing import ensure_key
from connector.sso.settings import SamlSettings
from ledger.secret import SecretRef
from tests.parts.idp import Forged, Key, metadata
from tests.parts.saml_mutants import Mutant

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
_IDP = "https://idp.acme.example/metadata"


@dataclass(frozen=True, slots=True)
class Judge:
    """One connection of one organization; ``right`` is what its genuine response says."""

    provider: ServiceProvider
    peer: Peer
    genuine: Forged
    attacker: Key
    right: Accepted

    @classmethod
    @asynccontextmanager
    async def made(cls, folder: Path) -> AsyncIterator[Judge]:
        """With keys of its own; one thread judges."""
        key, certificate = folder / "key.pem", folder / "certificate.pem"
        ensure_key(key, certificate, name="rosterd", now=NOW)
        settings = SamlSettings(
            signing_key=SecretRef("file", str(key)), signing_certificate=SecretRef("file", str(certificate))
        )
        provider = ServiceProvider("https://rosterd.example", settings, workers=1)
        ours, attacker = Key.make(NOW), Key.make(NOW)
        found = parse(metadata(_IDP, ours), NOW)
        peer = Peer("acme", fingerprint(found, Wants()), found, Wants())
        genuine = Forged(ours, NOW, provider.acs("acme"), provider.entity_id("acme"), _IDP, "id-request1")
        expected = cls._expected(provider, genuine)
        right = await provider.judge(peer, read_response(genuine.post()), expected)
        try:
            yield cls(provider, peer, genuine, attacker, right)
        finally:
            await provider.close()

    @staticmethod
    def _expected(provider: ServiceProvider, genuine: Forged) -> Expected:
        domains = frozenset({"acme.example"})
        return Expected(NOW, provider.acs("acme"), provider.entity_id("acme"), _IDP, genuine.request_id, domains)

    async def verdict(self, mutant: Mutant) -> str:
        """``accepted``, or the reason of the refusal; ``AssertionError`` for a wrong judgement, whatever else for a
        fault of ours."""
        try:
            document = read_response(mutant.posted)
            carried_by(document).in_words()
            found = await self.provider.judge(self.peer, document, self._expected(self.provider, self.genuine))
        except SignInRefused as error:
            return error.reason
        if mutant.signed:
            assert found.mail.domain == "acme.example", mutant
        else:
            assert found == self.right, mutant
        return "accepted"
