"""The admin's steps with an identity provider: connect its metadata, turn it on, turn it off (sso.md §1).

Prohibition: a live version is never changed; new metadata is a new version, tested beside the live one, then swapped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connector.sso.gate import connections, domains, evidence, sync
from connector.sso.gate.connections import ASKED_FOR, Asked, ConnectionEvidence, Version
from connector.sso.gate.decision import Gate, GateState
from connector.sso.gate.domains import DomainState
from connector.sso.gate.evidence import Known
from connector.sso.gate.explain_gate import missing_steps
from connector.sso.provider import versions
from connector.sso.provider.versions import Offered, metadata_of
from connector.sso.saml.metadata import Peer, Wants
from connector.sso.settings import SsoSettings
from ledger.audit import AuditEvent, given_reason
from ledger.errors import BadInput, NotFound, Refused
from ledger.instant import to_text
from ledger.jobs import Unleased
from ledger.store import audit, sso_requests
from ledger.store import sso as rows
from ledger.store.book import Book
from ledger.store.engine import Ledger

MAIN = "main"
"""The connection of the organization file; later ones get names."""
ENTITY = "entity"
"""The kind of claim that an organization has to its provider's entityID."""
_SHORTEST = 8
_ON = "rosterd sso on"


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """What connecting or turning on led to.

    ``new``: a version was made; else this is what is connected already. ``live``: this version is the one that judges
    sign-ins now. ``domains``: after connecting, those that are linked; after turning on, those that are really on.
    ``missing``: steps of the other domains, in words. ``asked``: somebody asked, another person has to complete it.
    ``closed``: what keeps gates closed although it is on. ``certificates``: those of the version. ``next_step``: the
    command that is left to type, if any.
    """

    connection_id: str
    version: int
    entity_id: str
    fingerprint: str
    new: bool
    works_until: datetime | None
    domains: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    live: bool = False
    missing: tuple[str, ...] = ()
    asked: Asked | None = None
    next_step: str = ""
    closed: tuple[str, ...] = ()
    certificates: tuple[connections.Certificate, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For ``--json`` and the admin API."""
        return {
            "connection": self.connection_id,
            "version": self.version,
            "entity_id": self.entity_id,
            "fingerprint": self.fingerprint,
            "new": self.new,
            "live": self.live,
            "works_until": to_text(self.works_until) if self.works_until else None,
            "domains": list(self.domains),
            "missing": list(self.missing),
            "closed": list(self.closed),
            "warnings": list(self.warnings),
            "asked_by": self.asked.actor if self.asked else None,
            "asked_until": to_text(self.asked.at + ASKED_FOR) if self.asked else None,
            "next": self.next_step or None,
        }


async def connect(
    ledger: Ledger,
    organization: str,
    metadata: bytes,
    *,
    settings: SsoSettings,
    actor: str,
    now: datetime,
    link: Sequence[str] | None = None,
    source: str = "",
    allow_http_on_loopback: bool = False,
) -> ConnectionReport:
    """Take in an identity provider's metadata and link domains to it (None: every registered one).

    ``source``: where it was read; to an https address a refresh comes back, to nothing else. The same metadata again
    changes nothing. Where only certificates or validUntil differ from the live version, and a proved certificate
    stands in both, it goes live at once; else it is a draft, tested beside the live version. So it is, with
    ``settings.second_approver``, when it adds a key or an address to fetch from: two people turn it on. A file while
    the live version's address shows another provider is a version that is not fetched again. Raises ``ManyErrors`` with
    every fault of the metadata, ``Refused`` when another organization uses this identity provider.
    """
    wants = Wants(
        settings.mail_attribute, settings.response_signed_only, settings.subject_attribute, settings.fold_subject
    )
    offered = await versions.understand(
        metadata,
        wants,
        now=now,
        source=evidence.fetchable(source),
        entity_id=settings.entity_id,
        allow_http_on_loopback=allow_http_on_loopback,
    )
    entity_id = offered.found.entity_id
    async with ledger.write(organization, Unleased.EVIDENCE, at=now) as book:
        await _refuse_used(book, entity_id)
        await rows.put_connection(book, MAIN, settings.entity_id or entity_id, actor)
        version, new = await _take_in(book, offered, settings, actor)
        linked = await _link(book, await evidence.known(book), link, actor)
        await sync.follow_gate(book)
        live = (await evidence.known(book)).connections[MAIN].live(book.at)
        is_live = live is not None and live.number == version.number
        return ConnectionReport(
            MAIN,
            version.number,
            entity_id,
            version.fingerprint,
            new,
            version.works_until,
            linked,
            offered.warnings,
            is_live,
            next_step=await _left_to_do(book, linked, is_live=is_live),
            certificates=version.certificates,
        )


async def turn_on(
    ledger: Ledger,
    organization: str,
    *,
    actor: str,
    now: datetime,
    domain: str = "",
    second_approver: bool = False,
) -> ConnectionReport:
    """Turn the newest version on. Needs a proved domain whose people passed a test with exactly this fingerprint.

    ``domain``: it has to be on afterwards. ``second_approver``: the first call records who asked, somebody else's
    within a day does it. Raises ``Refused`` naming every missing step, of that domain or of every linked one. Decision
    and switch are one transaction.
    """
    async with ledger.write(organization, Unleased.EVIDENCE, at=now) as book:
        now = book.at
        known = await evidence.known(book)
        found = known.connections.get(MAIN)
        newest = found.newest if found else None
        linked = known.domains_of(MAIN)
        if found is None or newest is None or not linked:
            raise Refused(
                "single sign-on cannot be turned on: no identity provider is connected to a registered domain",
                where=organization,
                next_step="rosterd sso add DOMAIN, then rosterd sso connect METADATA",
            )
        if domain and domain not in linked:
            raise BadInput(f"{domain} is not linked to {newest.entity_id}", next_step="rosterd sso status")
        ready, missing = _ready(known, linked, now)
        if not ready or (domain and domain not in ready):
            wanted = [domain] if domain else list(linked)
            lines = "\n".join(f"  - {step}" for name in wanted for step in missing.get(name, ()))
            what = f"single sign-on cannot be turned on{f' for {domain}' if domain else ''}; missing:\n{lines}"
            raise Refused(what, where=organization)
        live = found.live(now)
        asked = None
        if live is None or live.number != newest.number:
            asked = found.asked_for(newest.number, now)
            if second_approver and (asked is None or asked.actor == actor):
                asked = asked or await _ask(book, known, newest, actor)
            else:
                await _switch_on(book, known, newest, ready, actor, asked if second_approver else None)
                asked = None
        gates = await sync.follow_gate(book)
        shut = [gates[name] for name in ready if not asked and gates[name].state is not GateState.OPEN]
        closed = tuple(step for gate in shut for step in missing_steps(gate.domain, gate.reasons, gate.standing))
        return ConnectionReport(
            MAIN,
            newest.number,
            newest.entity_id,
            newest.fingerprint,
            False,
            newest.works_until,
            () if asked else tuple(ready),
            live=asked is None,
            missing=tuple(step for name in linked for step in missing.get(name, ())),
            asked=asked,
            next_step=_ON if asked else await _left_for_sync(book, gates),
            closed=closed,
        )


async def turn_off(ledger: Ledger, organization: str, *, reason: str, actor: str, now: datetime) -> bool:
    """Turn single sign-on off; sync is suspended with it and nobody loses anything. False when it was off already.

    Nobody else may take the identity provider for 30 days. Raises ``BadInput`` without a reason.
    """
    reason = given_reason(reason)
    async with ledger.write(organization, Unleased.EVIDENCE, at=now) as book:
        now = book.at
        known = await evidence.known(book)
        found = known.connections.get(MAIN)
        live = found.live(now) if found else None
        if live is None:
            return False
        await sso_requests.end_claim(book, ENTITY, live.entity_id, until=now + domains.HOLD)
        facts = {"version": live.number, "reason": reason}
        await versions.record(book, known, evidence.TURNED_OFF, MAIN, actor, facts, reason)
        await sync.follow_gate(book)
        return True


async def load_peer(ledger: Ledger, organization: str, connection_id: str, version: int) -> Peer:
    """One version as the service provider needs it; raises ``NotFound``."""
    async with ledger.read(organization) as reader:
        row = await rows.version(reader, connection_id, version)
    if row is None:
        raise NotFound(f"connection {connection_id} has no version {version}", where=organization)
    wants = Wants(**row.facts["wants"])
    return Peer(organization, row.fingerprint, metadata_of(row), wants)


async def confirm_certificate(
    ledger: Ledger, organization: str, certificate: str, *, actor: str, now: datetime
) -> connections.Certificate:
    """Say that a certificate which a refresh added is the provider's: it counts for tests and first sign-ins at once.

    ``certificate``: at least the first eight digits of its SHA-256, as ``sso status`` shows it and the provider's own
    page or administrator tells it; of the live version, or of the one that a test would use. Raises ``NotFound`` unless
    exactly one that is held begins so.
    """
    wanted = "".join(certificate.lower().replace(":", "").split())
    async with ledger.write(organization, Unleased.EVIDENCE, at=now) as book:
        known = await evidence.known(book)
        connection = known.connections.get(MAIN)
        known_to = (connection.live(book.at), connection.newest) if connection else ()
        held = [
            one
            for one in dict.fromkeys(one for version in known_to if version for one in version.certificates)
            if connection and connection.held_until(one.spki, book.at) and one.thumbprint.startswith(wanted)
        ]
        if len(wanted) < _SHORTEST or len(held) != 1:
            raise NotFound(
                f"{certificate!r} is not the beginning ({_SHORTEST} digits or more) of one certificate that waits",
                where=organization,
                next_step="rosterd sso status",
            )
        facts = {"spki": held[0].spki, "sha256": held[0].thumbprint}
        await versions.record(book, known, evidence.CERTIFICATE_CONFIRMED, MAIN, actor, facts)
        return held[0]


async def prove_key(ledger: Ledger, organization: str, connection_id: str, spki: str, *, now: datetime) -> bool:
    """Somebody who was bound already signed in with an assertion that this key signed: from now on it hands the
    connection on (N1). Written once; False when it is known, and while the key is held: then it proves nothing."""
    async with ledger.write(organization, Unleased.SIGN_IN, at=now) as book:
        found = (await evidence.known(book)).connections.get(connection_id)
        live = found.live(book.at) if found else None
        if found is None or live is None or spki not in live.keys or spki in found.proved(book.at):
            return False
        if found.held_until(spki, book.at):
            return False
        facts = {"spki": spki, "version": live.number}
        await evidence.record(book, evidence.KEY_PROVED, connection_id, actor="sign-in", facts=facts, domains=())
        await audit.append(book, [AuditEvent("sign-in", evidence.KEY_PROVED, connection_id, after=facts)])
        return True


async def _take_in(book: Book, offered: Offered, settings: SsoSettings, actor: str) -> tuple[Version, bool]:
    """The version that says what was given, and whether it had to be written."""
    known = await evidence.known(book)
    connection = known.connections[MAIN]
    live, newest = connection.live(book.at), connection.newest
    for known_version in filter(None, (newest, live)):
        if offered.is_in(known_version, book.at) and _same_source(known_version, offered, settings):
            if known_version is live:
                if not offered.source and connection.differing(live, book.at) and source_of(live, settings):
                    break  # its address shows another provider: it goes on as a file, and nothing is fetched from there
                await versions.looked_right(book, known, connection, live, actor)
                await versions.drop_drafts(book, known, connection, actor, connection.drafts)
            return known_version, False
    version = await versions.write_version(book, connection, offered, actor)
    facts = {
        "version": version.number,
        "fingerprint": version.fingerprint,
        "entity_id": version.entity_id,
        "sha256": offered.found.sha256,
        "source": connections.shown(offered.source),
        "warnings": list(offered.warnings),
    }
    await versions.record(book, known, evidence.CONFIGURED, MAIN, actor, facts)
    if (
        live is not None
        and connection.continues(live, version, book.at)
        and not (settings.second_approver and _brings_in(version, live, settings))
    ):
        await versions.go_on_with(book, known, live, version, connection_id=MAIN, actor=actor, by_hand=True)
    return version, True


def _brings_in(version: Version, live: Version, settings: SsoSettings) -> bool:
    """Whether whoever gave it could sign people in by it: with a key of their own, now or from an address of theirs."""
    return bool(version.keys - live.keys) or version.source not in {"", source_of(live, settings)}


def _same_source(version: Version, offered: Offered, settings: SsoSettings) -> bool:
    """Whether a refresh would go on coming back to the same address; older versions did not write theirs down."""
    if version.source is None:
        return offered.source in {"", source_of(version, settings)}
    return offered.source in {"", version.source}


def source_of(version: Version, settings: SsoSettings) -> str:
    """The https address that an admin entered and a version came from; empty when it was a file."""
    return evidence.fetchable(settings.metadata) if version.source is None else version.source


async def _left_to_do(book: Book, linked: Sequence[str], *, is_live: bool) -> str:
    """The one command that is left after connecting."""
    if not is_live:
        ready, _ = _ready(await evidence.known(book), linked, book.at)
        if linked and ready == list(linked):
            return _ON
        return f"rosterd sso test {linked[0]}" if linked else "rosterd sso add DOMAIN"
    row = await rows.sync_row(book)
    return await _left_for_sync(book, await evidence.gates(book, now=book.at)) if row and row.reasons else ""


async def _left_for_sync(book: Book, gates: dict[str, Gate]) -> str:
    """To enable sync, where it may run and does not."""
    runs = (await sync.sync_status(book)).state is sync.SyncState.ENABLED
    return "rosterd sync enable" if sync.any_open(gates) and not runs else ""


async def _switch_on(
    book: Book, known: Known, newest: Version, ready: Sequence[str], actor: str, asked: Asked | None
) -> None:
    live = known.connections[MAIN].live(book.at)
    await _refuse_used(book, newest.entity_id)
    await sso_requests.claim(book, ENTITY, newest.entity_id)
    if live is not None and live.entity_id != newest.entity_id:
        await sso_requests.end_claim(book, ENTITY, live.entity_id, until=book.at + domains.HOLD)
    facts: dict[str, Any] = {
        "version": newest.number,
        "fingerprint": newest.fingerprint,
        "domains": list(ready),
    }
    if asked is not None:
        facts["asked_by"] = asked.actor
    await versions.record(book, known, evidence.TURNED_ON, MAIN, actor, facts)


async def _ask(book: Book, known: Known, newest: Version, actor: str) -> Asked:
    """Write down who asked; it changes no gate."""
    facts = {"version": newest.number, "fingerprint": newest.fingerprint}
    await evidence.record(book, evidence.ON_ASKED, MAIN, actor=actor, facts=facts, domains=())
    await audit.append(book, [AuditEvent(actor, evidence.ON_ASKED, MAIN, after=facts)])
    return Asked(book.at, newest.number, actor)


def _ready(known: Known, linked: Sequence[str], now: datetime) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Domains that are on already or that nothing is missing for, and every missing step of the others."""
    ready: list[str] = []
    missing: dict[str, tuple[str, ...]] = {}
    connection = known.connections[MAIN]
    for name in linked:
        reasons: tuple[str, ...] = ()
        stands = domains.standing(known.domains[name], now)
        if not stands.proved:
            reasons += ("domain_lost" if stands.state is DomainState.LOST else "domain_unverified",)
        if not _is_on(connection, name, now):
            reasons += connections.missing_for_on(connection, name, now)
        if reasons:
            missing[name] = missing_steps(name, reasons, stands)
        else:
            ready.append(name)
    return ready, missing


def _is_on(connection: ConnectionEvidence, domain: str, now: datetime) -> bool:
    """Whether the newest version is live and was tested for the domain, however long ago."""
    live, newest = connection.live(now), connection.newest
    return live is not None and live is newest and connection.tested(live, domain, now) is not None


async def _link(book: Book, known: Known, wanted: Sequence[str] | None, actor: str) -> tuple[str, ...]:
    for name in known.domains if wanted is None else wanted:
        if name not in known.domains:
            raise NotFound(f"{name} is not registered", where=name, next_step=f"rosterd sso add {name}")
        if await rows.link(book, name, MAIN):
            facts = {"connection": MAIN}
            await evidence.record(book, evidence.DOMAIN_LINKED, name, actor=actor, facts=facts, domains=[name])
            await audit.append(book, [AuditEvent(actor, evidence.DOMAIN_LINKED, name, after=facts)])
    return (await evidence.known(book)).domains_of(MAIN)


async def _refuse_used(book: Book, entity_id: str) -> None:
    await sso_requests.lock_claims(book)
    for _, until in await sso_requests.other_claims(book, ENTITY, [entity_id]):
        held = f", or did lately, and holds it until {to_text(until)}" if until else ""
        raise Refused(
            f"another organization signs in through this identity provider (the same entityID){held}",
            where=entity_id,
            next_step="give this application its own entityID in the identity provider; where it is yours alone, the"
            " operator of this installation frees it: rosterd sso release-provider ENTITY_ID",
        )
