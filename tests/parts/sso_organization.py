"""An organization with its domain proved and a forger as its identity provider, without DNS or processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

from connector.sso import sign_in, steps
from connector.sso.gate import evidence
from connector.sso.saml.service_provider import ServiceProvider
from connector.sso.settings import SsoSettings
from connector.sso.sign_in import Outgoing, SignedIn
from ledger.store import sso_requests
from ledger.store.engine import Ledger
from tests.parts.fences import ALONE
from tests.parts.idp import Forged, Key, metadata

IDP = "https://idp.acme.example/metadata"


async def prove(ledger: Ledger, organization: str, domain: str, now: datetime) -> None:
    """Add a domain and record what two resolvers would have shown."""
    await steps.add_domain(ledger, organization, domain, actor="ada", now=now)
    facts = {"attempt": 1, "answer": "found", "why": "", "resolvers": []}
    async with ledger.write(organization, ALONE, at=now) as book:
        await sso_requests.claim(book, "domain", domain)
        await evidence.record(book, evidence.DOMAIN_CHECKED, domain, actor="ada", facts=facts, domains=[domain])


@dataclass(frozen=True, slots=True)
class SsoOrganization:
    """One organization; the forger signs with ``key``."""

    ledger: Ledger
    provider: ServiceProvider
    key: Key
    name: str = "acme"
    domain: str = "acme.example"
    idp: str = IDP
    settings: SsoSettings = field(default_factory=SsoSettings)

    async def connect(self, now: datetime, *keys: Key) -> steps.ConnectionReport:
        """Prove the domain and connect the forger's metadata."""
        await prove(self.ledger, self.name, self.domain, now)
        return await self.reconnect(now, *keys)

    async def reconnect(self, now: datetime, *keys: Key) -> steps.ConnectionReport:
        """Metadata again, with other keys."""
        text = metadata(self.idp, *(keys or (self.key,)))
        return await steps.connect(self.ledger, self.name, text, settings=self.settings, actor="ada", now=now)

    async def start_test(self, now: datetime) -> Outgoing:
        """A test sign-in up to the identity provider."""
        ticket = await steps.begin_test(self.ledger, self.provider, self.name, self.domain, actor="ada", now=now)
        name = parse_qs(urlsplit(ticket.url).query)["ticket"][0]
        return await sign_in.open_test(self.ledger, self.provider, self.name, name, now=now)

    async def test(self, now: datetime, **changes: object) -> SignedIn:
        """A whole test sign-in."""
        going = await self.start_test(now)
        return await self.finish(going, self.forged(going, now, **changes).post(), now)

    async def start_login(self, now: datetime, domain: str = "") -> Outgoing:
        """A login up to the identity provider."""
        return await sign_in.open_login(self.ledger, self.provider, self.name, domain, now=now)

    async def turned_on(self, now: datetime, **changes: object) -> None:
        """Everything up to ON; ``changes``: of the response to the test."""
        await self.connect(now)
        await self.test(now, **changes)
        await steps.turn_on(self.ledger, self.name, actor="ada", now=now)

    def forged(self, going: Outgoing, now: datetime, **changes: object) -> Forged:
        """A right response to a request that went out."""
        forged = Forged(
            self.key,
            now,
            self.provider.acs(self.name),
            self.provider.entity_id(self.name),
            self.idp,
            going.request_id,
            f"anna@{self.domain}",
        )
        return forged.but(**changes)

    async def finish(self, going: Outgoing, posted: str, now: datetime, *, cookie: str | None = None) -> SignedIn:
        """Post it back in the browser that began (or another, by its cookie)."""
        return await sign_in.finish(
            self.ledger,
            self.provider,
            self.name,
            posted,
            cookies=[going.cookie if cookie is None else cookie],
            relay_state=relay_state(going),
            now=now,
        )


def relay_state(going: Outgoing) -> str:
    """The opaque id that travels with a request."""
    return parse_qs(urlsplit(going.location).query)["RelayState"][0]
