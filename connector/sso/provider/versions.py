"""Metadata that came, and the version of a connection it becomes: what is kept, and when it may go live at once (N1).

Prohibition: a version that is written is never changed. What another fingerprint has goes live by test and switch only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from connector.sso.gate import evidence
from connector.sso.gate.connections import Certificate, ConnectionEvidence, Version, shown
from connector.sso.gate.evidence import Known
from connector.sso.saml.metadata import IdpMetadata, SigningCertificate, Wants, fingerprint, parse
from connector.sso.saml.metadata_signature import NotSigned, signer_of
from connector.sso.saml.xml_scan import BadXml
from ledger.audit import AuditEvent
from ledger.instant import to_text
from ledger.store import audit, outbox
from ledger.store import sso as rows
from ledger.store.book import Book
from ledger.store.outbox import Message
from ledger.store.sso import VersionRow


@dataclass(frozen=True, slots=True)
class Offered:
    """Metadata that came. ``source``: the https address it was fetched from, empty for a file; ``signed_by``: the
    certificate (base64) whose key signed the whole document, empty when it is not signed; ``refreshed``: nobody gave it
    by hand."""

    found: IdpMetadata
    wants: Wants
    text: str
    source: str = ""
    signed_by: str = ""
    refreshed: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """What a test would prove."""
        return fingerprint(self.found, self.wants)

    @property
    def certificates(self) -> frozenset[Certificate]:
        """Its signing certificates."""
        return frozenset(one.value for one in self.found.certificates)

    def is_in(self, version: Version, now: datetime) -> bool:
        """Whether ``version`` says all of it: nothing would change. What has expired since does not count."""
        left = frozenset(one for one in version.certificates if one.not_after > now)
        return (
            version.fingerprint == self.fingerprint
            and left == self.certificates
            and version.valid_until == self.found.valid_until
        )


async def understand(
    document: bytes,
    wants: Wants,
    *,
    now: datetime,
    source: str,
    entity_id: str = "",
    refreshed: bool = False,
    allow_http_on_loopback: bool = False,
) -> Offered:
    """Parse, lint, and see who signed it; raises ``ManyErrors`` with every fault. Seven parameters: what came, how it
    is judged and where from are the caller's."""
    found = parse(document, now, entity_id=entity_id, allow_http_on_loopback=allow_http_on_loopback)
    signer, warnings = "", found.warnings
    try:
        signer = await signer_of(document)
    except (NotSigned, BadXml) as error:
        warnings += (f"{error}: it is taken as not signed",)
    return Offered(found, wants, document.decode("utf-8"), source, signer, refreshed, warnings)


async def write_version(book: Book, connection: ConnectionEvidence, offered: Offered, actor: str) -> Version:
    """Write the next version; it is a draft until it is switched on or goes on with the live one."""
    found = offered.found
    facts = facts_of(found, offered.wants)
    facts |= {"source": offered.source, "signed_by": offered.signed_by, "refreshed": offered.refreshed}
    number = connection.versions[-1].number + 1 if connection.versions else 1
    row = VersionRow(
        connection.id,
        number,
        "saml",
        found.entity_id,
        offered.fingerprint,
        found.sha256,
        facts,
        book.at,
        actor,
        offered.text,
    )
    await rows.put_version(book, row)
    return evidence.version_of(row)


async def go_on_with(
    book: Book, known: Known, live: Version, after: Version, *, connection_id: str, actor: str, by_hand: bool
) -> tuple[tuple[Certificate, ...], tuple[Certificate, ...]]:
    """Put ``after`` in the place of the live version; returns certificates that were added and removed.

    The caller has seen that it may (``ConnectionEvidence.continues``). Every SSO admin is told.
    """
    added = tuple(one for one in after.certificates if one.spki not in live.keys)
    removed = tuple(one for one in live.certificates if one.spki not in after.keys)
    facts = {
        "version": after.number,
        "before": live.number,
        "fingerprint": after.fingerprint,
        "added": [one.spki for one in added],
        "removed": [one.spki for one in removed],
        "valid_until": to_text(after.valid_until) if after.valid_until else None,
        "source": shown(after.source or ""),
        "by_hand": by_hand,
    }
    await record(book, known, evidence.CONTINUED, connection_id, actor, facts)
    step = "rosterd sso status"
    if added and not by_hand:
        step = f"rosterd sso confirm-certificate {added[0].thumbprint[:16]}"
    told = {
        "to": "sso_admin",
        "version": after.number,
        "added": [_told(one) for one in added],
        "removed": [_told(one) for one in removed],
        "valid_until": facts["valid_until"],
        "source": facts["source"],
        "by": actor,
        "next": step,
    }
    await outbox.append(book, [Message(evidence.CONTINUED, connection_id, told)])
    return added, removed


async def record(
    book: Book, known: Known, kind: str, connection_id: str, actor: str, facts: Mapping[str, Any], reason: str = ""
) -> None:
    """One fact about a connection, counted at the gates of its domains, and in the audit."""
    domains = known.domains_of(connection_id)
    await evidence.record(book, kind, connection_id, actor=actor, facts=facts, domains=domains)
    await audit.append(book, [AuditEvent(actor, kind, connection_id, reason, after=dict(facts))])


async def drop_drafts(
    book: Book, known: Known, connection: ConnectionEvidence, actor: str, drafts: Iterable[Version]
) -> None:
    """Drafts that nobody waits for any more: the live version is the right one."""
    for draft in drafts:
        await record(book, known, evidence.DRAFT_DROPPED, connection.id, actor, {"version": draft.number})


async def looked_right(book: Book, known: Known, connection: ConnectionEvidence, live: Version, actor: str) -> None:
    """The live version was shown again: earlier looks that showed another provider count no more."""
    if connection.differing(live, book.at):
        facts = {"live": live.number, "shown": ""}
        await record(book, known, evidence.LOOKED, connection.id, actor, facts)


def hosts(services: Iterable[str]) -> frozenset[str]:
    """Where people are sent to sign in."""
    return frozenset(urlsplit(address).hostname or "" for address in services)


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


def _told(one: Certificate) -> dict[str, str]:
    return {"sha256": one.thumbprint, "until": to_text(one.not_after)}
