"""One sign-in, out and back: a ticket or a domain becomes a signed request, a response becomes a person or a refusal.

Prohibition: no response is believed that this browser did not ask for through us; a request is good for one response.

A request is kept by the browser, sealed, in a cookie of its own (N10): sign-ins that were begun in several tabs all
work, each once. Nothing is written before a response comes that answers such a request; what it is refused for is then
audited, with a reference that the person is shown (N17), and for a test kept as evidence.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from connector.sso import refusals
from connector.sso.domain_names import normalise
from connector.sso.gate import connections, domains, evidence, sync
from connector.sso.gate.connections import ConnectionEvidence
from connector.sso.gate.explain_gate import missing_steps
from connector.sso.gate.explain_refusal import (
    CERTIFICATE_NEW,
    NOT_CLAIMED,
    REAUTH_NOT_HONOURED,
    Carried,
    Refusal,
    clock_off,
)
from connector.sso.gate.refused_logins import ACCEPTED
from connector.sso.provider.connection_steps import MAIN, load_peer
from connector.sso.saml.metadata import Peer
from connector.sso.saml.request_seal import LOGIN, TEST, OpenRequest
from connector.sso.saml.response import (
    SKEW,
    Accepted,
    Document,
    Expected,
    SignInRefused,
    carried_by,
    read_response,
)
from connector.sso.saml.service_provider import ServiceProvider
from connector.sso.saml.subject import Subject
from ledger.audit import AuditEvent
from ledger.errors import NotFound, Refused
from ledger.identity import Email
from ledger.instant import to_text
from ledger.jobs import Unleased
from ledger.store import audit
from ledger.store import sso_requests as rows
from ledger.store.book import Reader
from ledger.store.book_times import present
from ledger.store.engine import Ledger
from ledger.store.sso_requests import TicketRow

REQUEST_LIFE = timedelta(minutes=10)
TICKET_LIFE = timedelta(minutes=30)
_RANDOM_BYTES = 32
_LONGEST_DOMAIN = 1000  # as typed; what is longer is not looked at


@dataclass(frozen=True, slots=True)
class TestTicket:
    """The page one admin opens in a browser to begin a test sign-in; good once."""

    __test__ = False  # not a test class of pytest

    url: str
    domain: str
    expires_at: datetime

    def to_json(self) -> dict[str, Any]:
        """For ``--json`` and the admin API."""
        return {"url": self.url, "domain": self.domain, "expires_at": to_text(self.expires_at)}


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Where the browser goes next (``location``, or a page ``form`` that posts itself) and the cookie it keeps: the
    request, sealed."""

    location: str
    form: str
    cookie: str
    request_id: str


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A response that passed. ``mail`` was asserted by the organization's own provider for one of its own domains.
    ``signer``: the key that signed it (``spki``); ``proves``: a bound person's sign-in proves that key for the first
    time; ``held_until``: a refresh added its certificate, and it makes no first sign-in before then (N1); ``invite``:
    the person whose invite was followed, which gives them nothing (N7)."""

    organization: str
    purpose: str
    mail: Email
    domain: str
    connection_id: str
    entity_id: str
    subject: Subject
    at: datetime
    signer: str = ""
    proves: bool = False
    held_until: datetime | None = None
    warnings: tuple[str, ...] = ()
    invite: str = ""


class RequestRefused(SignInRefused):
    """A response to a request of this browser was refused; ``refusal`` is what is told of it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.step, refusal.reason, refusal.detail)
        self.refusal = refusal


async def begin_test(
    ledger: Ledger, provider: ServiceProvider, organization: str, domain: str, *, actor: str, now: datetime
) -> TestTicket:
    """Let one browser make a test sign-in with the newest version. Raises ``Refused`` naming what must come first."""
    ticket = secrets.token_urlsafe(_RANDOM_BYTES)
    async with ledger.write(organization, Unleased.SIGN_IN, at=now) as book:
        now = book.at
        await _testable(book, domain, now)
        await rows.put_ticket(book, TicketRow(_hash(ticket), domain, actor, now + TICKET_LIFE))
    url = f"{provider.public_url}/sso/{organization}/test?ticket={ticket}"
    return TestTicket(url, domain, now + TICKET_LIFE)


async def open_test(
    ledger: Ledger, provider: ServiceProvider, organization: str, ticket: str, *, now: datetime
) -> Outgoing:
    """Exchange a ticket for a signed request for fresh authentication. Raises ``Refused`` for a used ticket."""
    asked = now
    async with ledger.read(organization) as reader:
        if await rows.ticket(reader, _hash(ticket)) is None:  # nothing is written for whoever has none
            raise _used()
    async with ledger.write(organization, Unleased.SIGN_IN, at=now) as book:
        now = book.at
        row = await rows.take_ticket(book, _hash(ticket))
        if row is None or row.expires_at <= now:
            raise _used()
        version = await _testable(book, row.domain, now)
    peer = await load_peer(ledger, organization, MAIN, version)
    request = OpenRequest(
        "", organization, TEST, MAIN, version, row.domain, "", row.actor, "", asked, asked + REQUEST_LIFE
    )
    return await _send(provider, peer, request)


async def open_login(
    ledger: Ledger, provider: ServiceProvider, organization: str, domain: str, *, now: datetime, invite: str = ""
) -> Outgoing:
    """A signed request to the live identity provider of a domain (empty: of the organization), as anybody writes it.
    ``invite``: the person whose invite was followed.

    Raises ``NotFound``. Writes nothing (N10).
    """
    asked = now
    name = _normal(domain)
    async with ledger.read(organization) as reader:
        now = await present(reader, now)
        known = await evidence.known(reader)
    found = known.connections.get(known.links.get(name, "") if name else MAIN)
    live = found.live(now) if found else None
    if found is None or live is None or not connections.standing(found, now).on:
        raise _not_on(organization)
    peer = await load_peer(ledger, organization, found.id, live.number)
    request = OpenRequest(
        "", organization, LOGIN, found.id, live.number, name, "", "", invite, asked, asked + REQUEST_LIFE
    )
    return await _send(provider, peer, request)


async def finish(
    ledger: Ledger,
    provider: ServiceProvider,
    organization: str,
    saml_response: str,
    *,
    cookies: Sequence[str],
    relay_state: str,
    now: datetime,
) -> SignedIn:
    """Judge a posted response; record a passed test. Raises ``SignInRefused``, ``Busy``.

    ``cookies``: the sealed requests that this browser keeps. What answers none of them, or one whose time is over or
    that was answered before, is refused and nothing is written. Otherwise the request is spent first, so a second
    response to it, right or wrong, finds nothing; a refusal is then a ``RequestRefused``, audited with its reason. The
    provider's instants, and the life of a request, are held against this host's clock, which a book that was written
    ahead of it does not move.
    """
    document: Document | None = None
    fault: SignInRefused | None = None
    try:
        document = read_response(saml_response)
    except SignInRefused as error:
        fault = error
    if document is not None and not document.request_id:
        fault = SignInRefused(2, "unsolicited")
    opened = [provider.seal.opened(text, organization) for text in cookies]
    asked = "" if fault or document is None else document.request_id
    request = _answered([found for found in opened if found], asked, relay_state)
    if request is None:
        raise fault or SignInRefused(2, "unknown_request")
    if request.expires_at <= now:
        raise RequestRefused(refusals.refusal(request, SignInRefused(2, "request_expired"), Carried(), now))
    await _spend(ledger, request, now)
    try:
        if fault is not None or document is None:
            raise fault or SignInRefused(1, "malformed")
        if not _same(relay_state, request.relay_state):
            raise SignInRefused(2, "relay_state")
        return await _judge(ledger, provider, organization, document, request, now)
    except SignInRefused as error:
        carried = carried_by(document) if document else Carried()
        refusal = refusals.refusal(request, error, carried, now)
        raise RequestRefused(await refusals.keep(ledger, organization, refusal, request.actor or "browser")) from error


async def left_after_test(ledger: Ledger, organization: str, domain: str, *, now: datetime) -> tuple[str, ...]:
    """What is left to do after a test of a domain passed: everything that is missing, or the command that turns on;
    nothing where what was tested is on."""
    async with ledger.read(organization) as reader:
        now = await present(reader, now)
        known = await evidence.known(reader)
    connection, gate = known.connection_of(domain), known.gates(now).get(domain)
    if connection is None or gate is None:
        return ()
    own = [reason for reason in gate.reasons if reason.startswith("domain_")]
    missing = missing_steps(domain, (*own, *connections.missing_for_on(connection, domain, now)), gate.standing)
    live = connection.live(now)
    return missing or (() if live is not None and live is connection.newest else (f"→ rosterd sso on {domain}",))


async def turned_away(ledger: Ledger, done: SignedIn, why: str, *, now: datetime, reason: str = NOT_CLAIMED) -> Refusal:
    """Keep that somebody whom the provider vouched for may not come in; ``why`` as they are told, without an address.
    ``reason``: ``RELINK_HELD`` where another account came with somebody's address.

    Their page shows the reference (N17).
    """
    told = why.replace(done.mail.text, "the address").replace(done.mail.key, "the address")
    refusal = Refusal(
        refusals.reference(), now, done.purpose, done.connection_id, 0, done.domain, 12, reason, told, Carried()
    )
    return await refusals.keep(ledger, done.organization, refusal, f"subject:{done.subject.key[:16]}")


def _answered(kept: Sequence[OpenRequest], asked: str, relay_state: str) -> OpenRequest | None:
    """Which request is answered: the one that the response names, or, where it names none, whose RelayState came."""
    for request in kept:
        if request.id == asked if asked else _same(relay_state, request.relay_state):
            return request
    return None


async def _spend(ledger: Ledger, request: OpenRequest, now: datetime) -> None:
    """Raises ``SignInRefused`` when the request was answered before."""
    async with ledger.read(request.organization) as reader:
        spent = await rows.is_spent(reader, request.id)
    if not spent:
        async with ledger.write(request.organization, Unleased.SIGN_IN, at=now) as book:
            # what is left of its life by the clock it goes by, in the book's time; twice, as clocks of hosts differ
            spent = not await rows.spend(book, request.id, book.at + 2 * REQUEST_LIFE)
    if spent:
        raise RequestRefused(refusals.refusal(request, SignInRefused(2, "request_used"), Carried(), now))


async def _judge(
    ledger: Ledger,
    provider: ServiceProvider,
    organization: str,
    document: Document,
    request: OpenRequest,
    now: datetime,
) -> SignedIn:
    async with ledger.read(organization) as reader:
        at = await present(reader, now)
        allowed = await _domains(reader, request, at)
        version = _judging((await evidence.known(reader)).connections.get(request.connection_id), request, at)
    peer = await load_peer(ledger, organization, request.connection_id, version)
    request = replace(request, version=version)
    expected = Expected(
        now,
        provider.acs(organization),
        provider.entity_id(organization),
        peer.metadata.entity_id,
        request.id,
        allowed,
        peer.wants.mail_attribute,
        peer.wants.response_signed_only,
        peer.wants.subject_policy,
    )
    accepted = await provider.judge(peer, document, expected)
    warnings = _warnings(request, accepted, now)
    proves, held_until = await _accept(ledger, peer, document, request, accepted, warnings, now, ours=expected.audience)
    return SignedIn(
        organization,
        request.purpose,
        accepted.mail,
        accepted.mail.domain,
        request.connection_id,
        peer.metadata.entity_id,
        accepted.subject,
        now,
        accepted.signer,
        proves,
        held_until,
        warnings,
        request.invite,
    )


def _judging(connection: ConnectionEvidence | None, request: OpenRequest, now: datetime) -> int:
    """The version that judges a response: the live one, where only certificates or an end have changed since the
    request went out (N1: a removed certificate stops at once, and nobody on the way is turned back)."""
    asked = connection.version(request.version) if connection else None
    live = connection.live(now) if connection else None
    if request.purpose != LOGIN or asked is None or live is None or asked.fingerprint != live.fingerprint:
        return request.version
    return live.number


def _warnings(request: OpenRequest, accepted: Accepted, now: datetime) -> tuple[str, ...]:
    """A test asks for a fresh sign-in; a provider that answers with an old one is told of, not refused (N9). Its clock
    comes first, because a slow one makes a fresh sign-in look old."""
    at, off = accepted.authenticated_at, (accepted.issued_at or now) - now
    clock = (clock_off(off),) if request.purpose == TEST and abs(off) > SKEW else ()
    stale = request.purpose == TEST and (at is None or at < request.begun_at - SKEW)
    subject = (accepted.subject.warning,) if accepted.subject.warning else ()
    return subject + clock + ((REAUTH_NOT_HONOURED,) if stale else ())


async def _accept(
    ledger: Ledger,
    peer: Peer,
    document: Document,
    request: OpenRequest,
    accepted: Accepted,
    warnings: tuple[str, ...],
    now: datetime,
    *,
    ours: str,
) -> tuple[bool, datetime | None]:
    """⑩ Remember the assertion; for a test, the evidence. One transaction. Returns whether its key would be proved for
    the first time, and until when its certificate is held."""
    async with ledger.write(peer.organization, Unleased.SIGN_IN, at=now) as book:
        connection = (await evidence.known(book)).connections.get(request.connection_id)
        held = connection.held_until(accepted.signer, book.at) if connection else None
        proved = connection.proved(book.at) if connection else frozenset()
        if request.purpose == LOGIN:
            _require_live(connection, request, book.at)
        elif held is not None:
            raise SignInRefused(4, CERTIFICATE_NEW, f"it was added by a refresh and counts from {to_text(held)} on")
        entity_id = peer.metadata.entity_id
        until = book.at + (accepted.valid_until - now)  # a book that is ahead forgets no assertion sooner
        if not await rows.remember_assertion(book, entity_id, accepted.assertion_id, until):
            raise SignInRefused(10, "replay")
        facts = {
            "version": request.version,
            "fingerprint": peer.fingerprint,
            "entity_id_of_ours": ours,
            "domain": accepted.mail.domain,
            "request": request.id,
            "assertion": accepted.assertion_id,
            "response_sha256": document.sha256,
            "algorithm": accepted.algorithm,
            "signer": accepted.signer,
            "subject": accepted.subject.key,
            "subject_kind": accepted.subject.kind.value,
            "authenticated_at": to_text(accepted.authenticated_at) if accepted.authenticated_at else None,
            "warnings": list(warnings),
        }
        verb = ACCEPTED
        if request.purpose == TEST:
            verb = evidence.TESTED
            name, domain = request.connection_id, accepted.mail.domain
            await evidence.record(book, verb, name, actor=request.actor, facts=facts, domains=[domain])
            await sync.follow_gate(book)
        actor = request.actor or f"subject:{accepted.subject.key[:16]}"
        await audit.append(book, [AuditEvent(actor, verb, request.connection_id, after=facts)])
        return bool(accepted.signer) and accepted.signer not in proved and held is None, held


def _require_live(connection: ConnectionEvidence | None, request: OpenRequest, now: datetime) -> None:
    """Nobody signs in by what was turned off, or replaced, while they were at the identity provider."""
    live = connection.live(now) if connection else None
    if live is None or live.number != request.version:
        raise SignInRefused(10, "not_live", "single sign-on was turned off or changed meanwhile")


async def _send(provider: ServiceProvider, peer: Peer, request: OpenRequest) -> Outgoing:
    relay_state = secrets.token_urlsafe(_RANDOM_BYTES)
    sent = await provider.request(peer, relay_state=relay_state, force=request.purpose == TEST, now=request.begun_at)
    kept = replace(request, id=sent.id, relay_state=relay_state)
    return Outgoing(sent.location, sent.form, provider.seal.seal(kept), sent.id)


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


async def _domains(reader: Reader, request: OpenRequest, now: datetime) -> frozenset[str]:
    """Proved domains linked to the connection (an unproved one may be anybody's); for a test, the tested one."""
    known = await evidence.known(reader)
    proved = {
        name for name in known.domains_of(request.connection_id) if domains.standing(known.domains[name], now).proved
    }
    return frozenset(proved & {request.domain} if request.purpose == TEST else proved)


def _normal(domain: str) -> str:
    """The A-label of a domain as a person or a link writes it; raises ``NotFound`` for what is none."""
    if not domain.strip():
        return ""
    try:
        if len(domain) <= _LONGEST_DOMAIN:
            return normalise(domain)
    except ValueError:
        pass
    raise _not_on("")


def _not_on(organization: str) -> NotFound:
    return NotFound("single sign-on is not on here", where=organization, next_step="ask your administrator")


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))


def _used() -> Refused:
    return Refused("this test link was used or has run out", next_step="rosterd sso test DOMAIN makes another")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
