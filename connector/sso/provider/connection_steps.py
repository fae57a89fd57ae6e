"""The admin's steps with an identity provider: connect its metadata, turn it on, turn it off (sso.md §1).

Prohibition: a live version is never changed; new metadata is a new version, tested beside the live one, then swapped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from connector.sso.gate import connections, domains, evidence, sync
from connector.sso.gate.evidence import Known
from connector.sso.gate.explain_gate import missing_steps
from connector.sso.saml.metadata import IdpMetadata, SigningCertificate, Wants, fingerprint, parse
from connector.sso.saml.service_provider import Peer
from connector.sso.settings import SsoSettings
from ledger.audit import AuditEvent
from ledger.errors import NotFound, Refused
from ledger.instant import to_text
from ledger.jobs import Unleased
from ledger.store import audit, sso_requests
from ledger.store import sso as rows
from ledger.store.book import Book
from ledger.store.engine import Ledger
from ledger.store.sso import VersionRow

MAIN = "main"
"""The connection of the organization file; later ones get names."""
_ENTITY = "entity"


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """What connecting metadata led to. ``new``: a version was made; else this is what is connected already."""

    connection_id: str
    version: int
    entity_id: str
    fingerprint: str
    new: bool
    works_until: datetime | None
    domains: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For ``--json`` and the admin API."""
        return {
            "connection": self.connection_id,
            "version": self.version,
            "entity_id": self.entity_id,
            "fingerprint": self.fingerprint,
            "new": self.new,
            "works_until": to_text(self.works_until) if self.works_until else None,
            "domains": list(self.domains),
            "warnings": list(self.warnings),
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
    allow_http_on_loopback: bool = False,
) -> ConnectionReport:
    """Take in an identity provider's metadata and link domains to it (None: every registered one).

    The same metadata again changes nothing. Raises ``ManyErrors`` with every fault of the metadata, ``Refused`` when
    another organization uses this identity provider.
    """
    found = parse(metadata, now, entity_id=settings.entity_id, allow_http_on_loopback=allow_http_on_loopback)
    wants = Wants(
        settings.mail_attribute, settings.response_signed_only, settings.subject_attribute, settings.fold_subject
    )
    mark = fingerprint(found, wants)
    async with ledger.write(organization, Unleased.EVIDENCE, at=now) as book:
        now = book.at
        await _refuse_used(book, found.entity_id)
        await rows.put_connection(book, MAIN, settings.entity_id or found.entity_id, actor)
        known = await evidence.known(book)
        newest = known.connections[MAIN].newest
        row = VersionRow(
            MAIN,
            newest.number + 1 if newest else 1,
            "saml",
            found.entity_id,
            mark,
            found.sha256,
            facts_of(found, wants),
            now,
            actor,
            metadata.decode("utf-8"),
        )
        # a certificate renewed over the same key keeps the fingerprint, but not its end: that is a version too
        same = newest is not None and newest.fingerprint == mark and newest.certificates == _values(found)
        if not same:
            await rows.put_version(book, row)
            facts = {"version": row.version, "fingerprint": mark, "entity_id": found.entity_id, "sha256": found.sha256}
            await _record(book, known, evidence.CONFIGURED, actor, {**facts, "warnings": list(found.warnings)})
        linked = await _link(book, known, link, actor)
        await sync.follow_gate(book)
        number = newest.number if same and newest else row.version
        version = evidence.version_of(row)
        return ConnectionReport(
            MAIN, number, found.entity_id, mark, not same, version.works_until, linked, found.warnings
        )


async def turn_on(ledger: Ledger, organization: str, *, actor: str, now: datetime) -> ConnectionReport:
    """Turn the newest version on. Needs a proved domain whose people passed a test with exactly this fingerprint.

    Raises ``Refused`` naming every missing step of every linked domain. Decision and switch are one transaction.
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
        ready, missing = _ready(known, linked, now)
        live = found.live(now)
        if not ready:
            lines = "\n".join(f"  - {step}" for step in missing)
            raise Refused(f"single sign-on cannot be turned on; missing:\n{lines}", where=organization)
        if live is None or live.number != newest.number:
            await _refuse_used(book, newest.entity_id)
            await sso_requests.claim(book, _ENTITY, newest.entity_id)
            if live is not None and live.entity_id != newest.entity_id:
                await sso_requests.end_claim(book, _ENTITY, live.entity_id, until=now)
            facts = {"version": newest.number, "fingerprint": newest.fingerprint, "domains": list(ready)}
            await _record(book, known, evidence.TURNED_ON, actor, facts)
        await sync.follow_gate(book)
        return ConnectionReport(
            MAIN, newest.number, newest.entity_id, newest.fingerprint, False, newest.works_until, linked
        )


async def turn_off(ledger: Ledger, organization: str, *, reason: str, actor: str, now: datetime) -> bool:
    """Turn single sign-on off; sync is suspended with it and nobody loses anything. False when it was off already."""
    async with ledger.write(organization, Unleased.EVIDENCE, at=now) as book:
        now = book.at
        known = await evidence.known(book)
        found = known.connections.get(MAIN)
        live = found.live(now) if found else None
        if live is None:
            return False
        await sso_requests.end_claim(book, _ENTITY, live.entity_id, until=now)
        await _record(book, known, evidence.TURNED_OFF, actor, {"version": live.number, "reason": reason})
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


def facts_of(found: IdpMetadata, wants: Wants) -> dict[str, Any]:
    """The JSON kept with a version; ``metadata_of`` is its inverse."""
    return {
        "services": dict(found.services),
        "certificates": [
            {**evidence.certificate_facts(certificate.value), "base64": certificate.base64}
            for certificate in found.certificates
        ],
        "name_id_formats": list(found.name_id_formats),
        "wants_signed_requests": found.wants_signed_requests,
        "valid_until": to_text(found.valid_until) if found.valid_until else None,
        "wants": asdict(wants),
    }


def metadata_of(row: VersionRow) -> IdpMetadata:
    """What was understood of a version's metadata when it came."""
    facts: Mapping[str, Any] = row.facts
    return IdpMetadata(
        row.entity_id,
        facts["services"],
        tuple(SigningCertificate(one["base64"], evidence.certificate_of(one)) for one in facts["certificates"]),
        tuple(facts["name_id_formats"]),
        facts["wants_signed_requests"],
        datetime.fromisoformat(facts["valid_until"]) if facts["valid_until"] else None,
        row.metadata_sha256,
    )


def _values(found: IdpMetadata) -> tuple[connections.Certificate, ...]:
    return tuple(certificate.value for certificate in found.certificates)


def _ready(known: Known, linked: Sequence[str], now: datetime) -> tuple[list[str], list[str]]:
    """Domains that nothing is missing for, and every missing step of the others."""
    ready: list[str] = []
    missing: list[str] = []
    connection = known.connections[MAIN]
    for name in linked:
        reasons: tuple[str, ...] = ()
        if not domains.standing(known.domains[name], now).proved:
            reasons += ("domain_unverified",)
        reasons += connections.missing_for_on(connection, name, now)
        if reasons:
            missing += missing_steps(name, reasons)
        else:
            ready.append(name)
    return ready, missing


async def _link(book: Book, known: Known, wanted: Sequence[str] | None, actor: str) -> tuple[str, ...]:
    for name in known.domains if wanted is None else wanted:
        if name not in known.domains:
            raise NotFound(f"{name} is not registered", where=name, next_step=f"rosterd sso add {name}")
        if await rows.link(book, name, MAIN):
            facts = {"connection": MAIN}
            await evidence.record(book, evidence.DOMAIN_LINKED, name, actor=actor, facts=facts, domains=[name])
            await audit.append(book, [AuditEvent(actor, evidence.DOMAIN_LINKED, name, after=facts)])
    return (await evidence.known(book)).domains_of(MAIN)


async def _record(book: Book, known: Known, kind: str, actor: str, facts: dict[str, Any]) -> None:
    await evidence.record(book, kind, MAIN, actor=actor, facts=facts, domains=known.domains_of(MAIN))
    await audit.append(book, [AuditEvent(actor, kind, MAIN, facts.get("reason", ""), after=facts)])


async def _refuse_used(book: Book, entity_id: str) -> None:
    await sso_requests.lock_claims(book)
    if await sso_requests.other_claims(book, _ENTITY, [entity_id]):
        raise Refused(
            "another organization signs in through this identity provider (the same entityID)",
            where=entity_id,
            next_step="give this application its own entityID in the identity provider",
        )
