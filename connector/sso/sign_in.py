"""One sign-in, out and back: a ticket or a domain becomes a signed request, a response becomes a person or a refusal.

Prohibition: no response is believed that this browser did not ask for through us; a request is good for one response.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from connector.sso import connections, domains, evidence, sync
from connector.sso.connection_steps import MAIN, load_peer
from connector.sso.response import Accepted, Document, Expected, SignInRefused, read_response
from connector.sso.saml import Peer, ServiceProvider
from ledger.audit import AuditEvent
from ledger.errors import NotFound, Refused
from ledger.identity import Email
from ledger.instant import to_text
from ledger.jobs import Unleased
from ledger.store import audit
from ledger.store import sso_requests as rows
from ledger.store.book import Book, Reader
from ledger.store.book_times import present
from ledger.store.engine import Ledger
from ledger.store.sso_requests import RequestRow

REQUEST_LIFE = timedelta(minutes=10)
TICKET_LIFE = timedelta(minutes=30)
TICKET, TEST, LOGIN = "ticket", "test", "login"
_RANDOM_BYTES = 32


@dataclass(frozen=True, slots=True)
class TestTicket:
    """The page one admin opens in a browser to begin a test sign-in; good once."""

    __test__ = False  # not a test class of pytest

    url: str
    domain: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Where the browser goes next (``location``, or a page ``form`` that posts itself) and the cookie it keeps."""

    location: str
    form: str
    cookie: str
    request_id: str


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A response that passed. ``mail`` was asserted by the organization's own provider for one of its own domains.
    ``by_address``: the subject is nothing but that address."""

    organization: str
    purpose: str
    mail: Email
    domain: str
    connection_id: str
    entity_id: str
    subject_hash: str
    at: datetime
    by_address: bool = False


async def begin_test(
    ledger: Ledger, provider: ServiceProvider, organization: str, domain: str, *, actor: str, now: datetime
) -> TestTicket:
    """Let one browser make a test sign-in with the newest version. Raises ``Refused`` naming what must come first."""
    ticket = secrets.token_urlsafe(_RANDOM_BYTES)
    async with ledger.write(organization, Unleased.SIGN_IN, at=now) as book:
        now = book.at
        version = await _testable(book, domain, now)
        row = RequestRow(ticket, TICKET, MAIN, version, domain, "", "", actor, now, now + TICKET_LIFE)
        await rows.put_request(book, row)
    url = f"{provider.public_url}/sso/{organization}/test?ticket={ticket}"
    return TestTicket(url, domain, now + TICKET_LIFE)


async def open_test(
    ledger: Ledger, provider: ServiceProvider, organization: str, ticket: str, *, cookie: str, now: datetime
) -> Outgoing:
    """Exchange a ticket for a signed request for fresh authentication. Raises ``Refused`` for a used ticket."""
    asked = now
    async with ledger.read(organization) as reader:
        if await rows.request(reader, ticket) is None:  # nothing is written for whoever has none
            raise _used()
    async with ledger.write(organization, Unleased.SIGN_IN, at=now) as book:
        now = book.at
        row = await rows.take_request(book, ticket, "")
        if row is None or row.purpose != TICKET or row.expires_at <= now:
            raise _used()
        version = await _testable(book, row.domain, now)
    peer = await load_peer(ledger, organization, row.connection_id, version)
    request = RequestRow("", TEST, row.connection_id, version, row.domain, "", "", row.actor, now, now + REQUEST_LIFE)
    return await _send(ledger, provider, peer, request, cookie, asked)


async def open_login(
    ledger: Ledger, provider: ServiceProvider, organization: str, domain: str, *, cookie: str, now: datetime
) -> Outgoing:
    """A signed request to the live identity provider of a domain (empty: of the organization). Raises ``NotFound``."""
    asked = now
    async with ledger.read(organization) as reader:
        now = await present(reader, now)
        known = await evidence.known(reader)
    found = known.connections.get(known.links.get(domain, "") if domain else MAIN)
    live = found.live(now) if found else None
    if found is None or live is None or not connections.standing(found, now).on:
        raise NotFound("single sign-on is not on here", where=organization, next_step="ask your administrator")
    peer = await load_peer(ledger, organization, found.id, live.number)
    request = RequestRow("", LOGIN, found.id, live.number, domain, "", "", "", now, now + REQUEST_LIFE)
    return await _send(ledger, provider, peer, request, cookie, asked)


async def finish(
    ledger: Ledger,
    provider: ServiceProvider,
    organization: str,
    saml_response: str,
    *,
    cookie: str,
    relay_state: str,
    now: datetime,
) -> SignedIn:
    """Judge a posted response; record a passed test. Raises ``SignInRefused`` (audited with its reason), ``Busy``.

    The request is taken out first, so a second response to it, right or wrong, finds nothing. The provider's instants
    are held against this host's clock, which a book that was written ahead of it does not move; ours against the
    book's time.
    """
    document = read_response(saml_response)
    if not document.request_id:
        raise SignInRefused(2, "unsolicited")
    arrived = now
    async with ledger.read(organization) as reader:
        asked = await rows.request(reader, document.request_id) if cookie else None
    if asked is None or not secrets.compare_digest(asked.cookie_hash, _hash(cookie)):
        raise SignInRefused(2, "unknown_request")  # nothing is written for whoever proved nothing
    async with ledger.write(organization, Unleased.SIGN_IN, at=now) as book:
        now = book.at
        request = await rows.take_request(book, document.request_id, asked.cookie_hash)
    if request is None:
        raise SignInRefused(2, "unknown_request")
    try:
        if request.expires_at <= now or request.purpose not in {TEST, LOGIN}:
            raise SignInRefused(2, "request_expired")
        if not secrets.compare_digest(relay_state, request.relay_state):
            raise SignInRefused(2, "relay_state")
        return await _judge(ledger, provider, organization, document, request, arrived)
    except SignInRefused as error:
        await _audit_refusal(ledger, organization, request, error, now)
        raise


async def _judge(
    ledger: Ledger, provider: ServiceProvider, organization: str, document: Document, request: RequestRow, now: datetime
) -> SignedIn:
    peer = await load_peer(ledger, organization, request.connection_id, request.version)
    async with ledger.read(organization) as reader:
        allowed = await _domains(reader, request, await present(reader, now))
    expected = Expected(
        now,
        provider.acs(organization),
        provider.entity_id(organization),
        peer.metadata.entity_id,
        request.id,
        allowed,
        peer.wants.mail_attribute,
        peer.wants.response_signed_only,
    )
    accepted = await provider.judge(peer, document, expected)
    await _accept(ledger, peer, document, request, accepted, now)
    return SignedIn(
        organization,
        request.purpose,
        accepted.mail,
        accepted.mail.domain,
        request.connection_id,
        peer.metadata.entity_id,
        accepted.subject_hash,
        now,
        accepted.by_address,
    )


async def _accept(
    ledger: Ledger, peer: Peer, document: Document, request: RequestRow, accepted: Accepted, now: datetime
) -> None:
    """⑩ Remember the assertion; for a test, the evidence. One transaction."""
    async with ledger.write(peer.organization, Unleased.SIGN_IN, at=now) as book:
        if request.purpose == LOGIN:
            await _still_live(book, request)
        entity_id = peer.metadata.entity_id
        if not await rows.remember_assertion(book, entity_id, accepted.assertion_id, accepted.valid_until):
            raise SignInRefused(10, "replay")
        facts = {
            "version": request.version,
            "fingerprint": peer.fingerprint,
            "domain": accepted.mail.domain,
            "request": request.id,
            "assertion": accepted.assertion_id,
            "response_sha256": document.sha256,
            "algorithm": accepted.algorithm,
            "signers": [found.value.spki for found in peer.metadata.certificates if found.value.valid(now)],
            "subject": accepted.subject_hash,
            "authenticated_at": to_text(accepted.authenticated_at) if accepted.authenticated_at else None,
        }
        verb = "sign_in.accepted"
        if request.purpose == TEST:
            verb = evidence.TESTED
            name, domain = request.connection_id, accepted.mail.domain
            await evidence.record(book, verb, name, actor=request.actor, facts=facts, domains=[domain])
            await sync.follow_gate(book)
        actor = request.actor or f"subject:{accepted.subject_hash[:16]}"
        await audit.append(book, [AuditEvent(actor, verb, request.connection_id, after=facts)])


async def _still_live(book: Book, request: RequestRow) -> None:
    """Nobody signs in by what was turned off, or replaced, while they were at the identity provider."""
    found = (await evidence.known(book)).connections.get(request.connection_id)
    live = found.live(book.at) if found else None
    if live is None or live.number != request.version:
        raise SignInRefused(10, "not_live", "single sign-on was turned off or changed meanwhile")


async def _send(
    ledger: Ledger, provider: ServiceProvider, peer: Peer, request: RequestRow, cookie: str, now: datetime
) -> Outgoing:
    """``now`` is what this host's clock shows: the identity provider holds it against its own."""
    relay_state = secrets.token_urlsafe(_RANDOM_BYTES)
    browser = cookie if len(cookie) >= _RANDOM_BYTES else secrets.token_urlsafe(_RANDOM_BYTES)
    sent = await provider.request(peer, relay_state=relay_state, force=request.purpose == TEST, now=now)
    async with ledger.write(peer.organization, Unleased.SIGN_IN, at=now) as book:
        kept = replace(request, id=sent.id, relay_state=relay_state, cookie_hash=_hash(browser))
        await rows.put_request(book, kept)
    return Outgoing(sent.location, sent.form, browser, sent.id)


async def _testable(reader: Reader, domain: str, now: datetime) -> int:
    """The version a test would use; raises ``Refused`` unless the domain is proved and connected."""
    known = await evidence.known(reader)
    if domain not in known.domains:
        raise NotFound(f"{domain} is not registered", where=domain, next_step=f"rosterd sso add {domain}")
    if not domains.standing(known.domains[domain], now).proved:
        raise Refused(f"{domain} is not proved", where=domain, next_step=f"rosterd sso verify {domain}")
    connection = known.connection_of(domain)
    if connection is None or connection.newest is None:
        raise Refused(f"{domain} has no identity provider", where=domain, next_step="rosterd sso connect METADATA")
    return connection.newest.number


async def _domains(reader: Reader, request: RequestRow, now: datetime) -> frozenset[str]:
    """Proved domains linked to the connection (an unproved one may be anybody's); for a test, the tested one."""
    known = await evidence.known(reader)
    proved = {
        name for name in known.domains_of(request.connection_id) if domains.standing(known.domains[name], now).proved
    }
    return frozenset(proved & {request.domain} if request.purpose == TEST else proved)


async def _audit_refusal(
    ledger: Ledger, organization: str, request: RequestRow, error: SignInRefused, now: datetime
) -> None:
    facts = {"step": error.step, "reason": error.reason, "detail": error.detail, "version": request.version}
    event = AuditEvent(request.actor or "browser", "sign_in.refused", request.connection_id, error.reason, after=facts)
    async with ledger.write(organization, Unleased.SIGN_IN, at=now) as book:
        await audit.append(book, [event])


def _used() -> Refused:
    return Refused("this test link was used or has run out", next_step="rosterd sso test again")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
