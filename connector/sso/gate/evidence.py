"""From evidence rows to gates: reads the ledger, makes the pure values, decides nothing itself.

Works on any handle, so the same reading serves a status page, the start of a run and the apply transaction (R5).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from connector.sso.gate.connections import (
    Asked,
    Certificate,
    ConnectionEvidence,
    KeyFact,
    Look,
    Probe,
    Switch,
    Test,
    Version,
    fingerprint,
)
from connector.sso.gate.decision import Gate, decide
from connector.sso.gate.domains import Answer, Check, DomainEvidence, Way
from ledger.instant import to_text
from ledger.store import sso as rows
from ledger.store.book import Book, Reader
from ledger.store.book_times import present
from ledger.store.sso import DomainRow, EvidenceRow, FetchRow, TokenRow, VersionRow

DOMAIN_ADDED = "domain.added"
DOMAIN_TOKEN = "domain.token"  # noqa: S105 (a kind of evidence)
DOMAIN_CHECKED = "domain.checked"
DOMAIN_RELEASED = "domain.released"
DOMAIN_UNDECLARED = "domain.undeclared"
DOMAIN_DECLARED = "domain.declared"
DOMAIN_LINKED = "domain.linked"
CONFIGURED = "connection.configured"
TESTED = "connection.tested"
ON_ASKED = "connection.on_asked"
TEST_FAILED = "connection.test_failed"
TURNED_ON = "connection.on"
TURNED_OFF = "connection.off"
CONTINUED = "connection.continued"
LOOKED = "connection.looked"
DRAFT_DROPPED = "connection.draft_dropped"
KEY_PROVED = "connection.key_proved"
CERTIFICATE_CONFIRMED = "connection.certificate_confirmed"
PROBED = "connection.probed"
OWN_ADDRESS_MOVED = "connection.own_address_moved"
SYNC_ENABLED = "sync.enabled"
SYNC_DISABLED = "sync.disabled"
SYNC_SUSPENDED = "sync.suspended"
SYNC_RESUMED = "sync.resumed"

_IN_FILE = (DOMAIN_ADDED, DOMAIN_DECLARED, DOMAIN_UNDECLARED)
_READ = (
    *_IN_FILE,
    DOMAIN_TOKEN,
    DOMAIN_CHECKED,
    TESTED,
    ON_ASKED,
    TURNED_ON,
    TURNED_OFF,
    CONTINUED,
    LOOKED,
    DRAFT_DROPPED,
    KEY_PROVED,
    CERTIFICATE_CONFIRMED,
    PROBED,
)


@dataclass(frozen=True, slots=True)
class Known:
    """All that is known of an organization's domains and connections, in one snapshot."""

    domains: Mapping[str, DomainEvidence]
    connections: Mapping[str, ConnectionEvidence]
    links: Mapping[str, str]

    def connection_of(self, domain: str) -> ConnectionEvidence | None:
        """The connection linked to a domain."""
        return self.connections.get(self.links.get(domain, ""))

    def domains_of(self, connection_id: str) -> tuple[str, ...]:
        """Registered domains linked to a connection, in order."""
        return tuple(domain for domain in self.domains if self.links.get(domain) == connection_id)

    def gates(self, now: datetime) -> dict[str, Gate]:
        """The gate of every registered domain."""
        return {name: decide(evidence, self.connection_of(name), now) for name, evidence in self.domains.items()}


async def gates(reader: Reader, *, now: datetime) -> dict[str, Gate]:
    """The gate of every registered domain of the reader's organization, by A-label.

    Inside a ``Book`` this sees, and by its lock holds, the evidence: nobody can change it before the commit.
    """
    now = await present(reader, now)  # what others wrote since the caller looked at the clock is not in the future
    return (await known(reader)).gates(now)


async def known(reader: Reader) -> Known:
    """Read everything the gates are decided from."""
    facts = await rows.evidence(reader, _READ)
    tokens = await rows.tokens(reader)
    versions = await rows.gate_versions(reader)
    checks: dict[str, list[EvidenceRow]] = defaultdict(list)
    in_file: dict[str, EvidenceRow] = {}
    replaced: dict[tuple[str, int], int] = {}
    for fact in facts:
        if fact.kind == DOMAIN_TOKEN and "replaces" in fact.facts:
            replaced[fact.subject, fact.facts["attempt"]] = fact.facts["replaces"]
        if fact.kind == DOMAIN_CHECKED:
            checks[fact.subject].append(fact)
        elif fact.kind in _IN_FILE:
            in_file[fact.subject] = fact
    domains = {
        row.domain: _domain(
            row,
            tokens.get((row.domain, row.attempt)),
            _of_attempts(checks[row.domain], row, replaced),
            in_file.get(row.domain),
            versions.get(row.domain, 0),
        )
        for row in await rows.domains(reader)
    }
    by_connection: dict[str, list[VersionRow]] = defaultdict(list)
    for version in await rows.versions(reader):
        by_connection[version.connection_id].append(version)
    fetches = await rows.fetches(reader)
    connections = {
        name: _connection(
            name, by_connection[name], [fact for fact in facts if fact.subject == name], fetches.get(name)
        )
        for name in await rows.connections(reader)
    }
    return Known(domains, connections, await rows.links(reader))


async def record(
    book: Book, kind: str, subject: str, *, actor: str, facts: Mapping[str, Any], domains: Iterable[str]
) -> int:
    """Append one fact and count the change at the gate of each of ``domains``."""
    number = await rows.append_evidence(book, kind, subject, actor=actor, facts=facts)
    await rows.bump_gates(book, domains)
    return number


def _of_attempts(
    checks: Sequence[EvidenceRow], row: DomainRow, replaced: Mapping[tuple[str, int], int]
) -> list[EvidenceRow]:
    """Checks of the present token, and of those that it replaced while their proof was missing: the domain goes on
    standing by them."""
    attempts = [row.attempt]
    while (row.domain, attempts[-1]) in replaced:
        attempts.append(replaced[row.domain, attempts[-1]])
    return [fact for fact in checks if fact.facts["attempt"] in attempts]


def _domain(
    row: DomainRow, token: TokenRow | None, checks: Sequence[EvidenceRow], in_file: EvidenceRow | None, version: int
) -> DomainEvidence:
    return DomainEvidence(
        row.domain,
        row.added_at,
        timedelta(seconds=row.grace_seconds),
        token.issued_at if token else None,
        token.expires_at if token else None,
        tuple(
            Check(
                fact.at,
                Answer(fact.facts["answer"]),
                fact.facts.get("why", ""),
                Way(fact.facts.get("method", Way.DNS)),  # before there was another way it was not said
                fact.facts.get("mistake", ""),
            )
            for fact in checks
        ),
        row.released_at,
        version,
        in_file.at if in_file is not None and in_file.kind == DOMAIN_UNDECLARED else None,
    )


def _connection(
    name: str, versions: Sequence[VersionRow], facts: Sequence[EvidenceRow], fetch: FetchRow | None
) -> ConnectionEvidence:
    def of(*kinds: str) -> list[EvidenceRow]:
        return [fact for fact in facts if fact.kind in kinds]

    found = tuple(version_of(row) for row in versions)
    stored = {row.fingerprint: version.number for row, version in reversed(list(zip(versions, found, strict=True)))}
    return ConnectionEvidence(
        name,
        found,
        tuple(test for fact in of(TESTED) if (test := _test(fact, found, stored))),
        tuple(
            Switch(
                fact.at,
                fact.kind != TURNED_OFF,
                fact.facts.get("version", 0),
                fact.facts.get("reason", ""),
                fact.facts.get("by_hand", True),
            )
            for fact in of(TURNED_ON, TURNED_OFF, CONTINUED)
        ),
        tuple(Probe(fact.at, fact.facts["readable"], fact.facts.get("reason", "")) for fact in of(PROBED)),
        tuple(Look(fact.at, fact.facts["live"], fact.facts["shown"]) for fact in of(LOOKED)),
        tuple(KeyFact(fact.at, fact.facts["spki"]) for fact in of(KEY_PROVED)),
        tuple(
            KeyFact(fact.at, spki)
            for fact in of(CONTINUED)
            if not fact.facts["by_hand"]
            for spki in fact.facts["added"]
        ),
        tuple(KeyFact(fact.at, fact.facts["spki"]) for fact in of(CERTIFICATE_CONFIRMED)),
        tuple(Asked(fact.at, fact.facts["version"], fact.actor) for fact in of(ON_ASKED)),
        frozenset(fact.facts["version"] for fact in of(DRAFT_DROPPED)),
        fetch.failing_since if fetch else None,
    )


def _test(fact: EvidenceRow, versions: Sequence[Version], stored: Mapping[str, int]) -> Test | None:
    """A test with the fingerprint of the version it was made with, computed as all fingerprints are now; None when that
    version is not known. Evidence from before N1 named all valid certificates as signers, and the fingerprint of its
    day."""
    number = fact.facts.get("version") or stored.get(fact.facts["fingerprint"], 0)
    version = next((one for one in versions if one.number == number), None)
    if version is None:
        return None
    signer = fact.facts.get("signer")
    signers = (signer,) if signer else tuple(fact.facts.get("signers", ()))
    return Test(fact.at, version.fingerprint, fact.facts["domain"], number, signers)


def version_of(row: VersionRow) -> Version:
    """The pure value of a stored version. Its fingerprint is computed from its facts: the stored one is of its day."""
    ends, source = row.facts.get("valid_until"), row.facts.get("source")
    return Version(
        row.version,
        fingerprint(row.entity_id, row.facts),
        row.entity_id,
        tuple(certificate_of(found) for found in row.facts["certificates"]),
        row.created_at,
        datetime.fromisoformat(ends) if ends else None,
        fetchable(source) if source is not None else None,
        row.facts.get("refreshed", False),
    )


def fetchable(reference: str) -> str:
    """Where metadata came from, as far as it can be fetched from there again: https, nothing else."""
    return reference if reference.lower().startswith("https://") else ""


def certificate_of(facts: Mapping[str, str]) -> Certificate:
    """Back from ``certificate_facts``."""
    return Certificate(
        facts["spki"],
        datetime.fromisoformat(facts["not_before"]),
        datetime.fromisoformat(facts["not_after"]),
        thumbprint(facts.get("base64", "")),
    )


def thumbprint(certificate: str) -> str:
    """SHA-256 of a certificate in base64, hexadecimal; empty for none."""
    try:
        der = base64.b64decode(certificate)
    except binascii.Error:
        return ""
    return hashlib.sha256(der).hexdigest() if der else ""


def certificate_facts(certificate: Certificate) -> dict[str, str]:
    """The JSON form kept with a version."""
    return {
        "spki": certificate.spki,
        "not_before": to_text(certificate.not_before),
        "not_after": to_text(certificate.not_after),
    }
