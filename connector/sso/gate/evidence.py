"""From evidence rows to gates: reads the ledger, makes the pure values, decides nothing itself.

Works on any handle, so the same reading serves a status page, the start of a run and the apply transaction (R5).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from connector.sso.gate.connections import Certificate, ConnectionEvidence, Probe, Switch, Test, Version
from connector.sso.gate.decision import Gate, decide
from connector.sso.gate.domains import Answer, Check, DomainEvidence
from ledger.instant import to_text
from ledger.store import sso as rows
from ledger.store.book import Book, Reader
from ledger.store.book_times import present
from ledger.store.sso import DomainRow, EvidenceRow, TokenRow, VersionRow

DOMAIN_ADDED = "domain.added"
DOMAIN_TOKEN = "domain.token"  # noqa: S105 (a kind of evidence)
DOMAIN_CHECKED = "domain.checked"
DOMAIN_RELEASED = "domain.released"
DOMAIN_LINKED = "domain.linked"
CONFIGURED = "connection.configured"
TESTED = "connection.tested"
TEST_FAILED = "connection.test_failed"
TURNED_ON = "connection.on"
TURNED_OFF = "connection.off"
PROBED = "connection.probed"
SYNC_ENABLED = "sync.enabled"
SYNC_DISABLED = "sync.disabled"
SYNC_SUSPENDED = "sync.suspended"
SYNC_RESUMED = "sync.resumed"

_READ = (DOMAIN_CHECKED, TESTED, TURNED_ON, TURNED_OFF, PROBED)


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
    for fact in facts:
        if fact.kind == DOMAIN_CHECKED:
            checks[fact.subject].append(fact)
    domains = {
        row.domain: _domain(row, tokens.get((row.domain, row.attempt)), checks[row.domain], versions.get(row.domain, 0))
        for row in await rows.domains(reader)
    }
    by_connection: dict[str, list[VersionRow]] = defaultdict(list)
    for version in await rows.versions(reader):
        by_connection[version.connection_id].append(version)
    connections = {
        name: _connection(name, by_connection[name], [fact for fact in facts if fact.subject == name])
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


def _domain(row: DomainRow, token: TokenRow | None, checks: Sequence[EvidenceRow], version: int) -> DomainEvidence:
    return DomainEvidence(
        row.domain,
        row.added_at,
        timedelta(seconds=row.grace_seconds),
        token.issued_at if token else None,
        token.expires_at if token else None,
        tuple(
            Check(fact.at, Answer(fact.facts["answer"]), fact.facts.get("why", ""))
            for fact in checks
            if fact.facts["attempt"] == row.attempt
        ),
        row.released_at,
        version,
    )


def _connection(name: str, versions: Sequence[VersionRow], facts: Sequence[EvidenceRow]) -> ConnectionEvidence:
    return ConnectionEvidence(
        name,
        tuple(version_of(row) for row in versions),
        tuple(Test(fact.at, fact.facts["fingerprint"], fact.facts["domain"]) for fact in facts if fact.kind == TESTED),
        tuple(
            Switch(fact.at, fact.kind == TURNED_ON, fact.facts.get("version", 0), fact.facts.get("reason", ""))
            for fact in facts
            if fact.kind in {TURNED_ON, TURNED_OFF}
        ),
        tuple(
            Probe(fact.at, fact.facts["readable"], fact.facts.get("reason", ""))
            for fact in facts
            if fact.kind == PROBED
        ),
    )


def version_of(row: VersionRow) -> Version:
    """The pure value of a stored version."""
    ends = row.facts.get("valid_until")
    return Version(
        row.version,
        row.fingerprint,
        row.entity_id,
        tuple(certificate_of(found) for found in row.facts["certificates"]),
        row.created_at,
        datetime.fromisoformat(ends) if ends else None,
    )


def certificate_of(facts: Mapping[str, str]) -> Certificate:
    """Back from ``certificate_facts``."""
    return Certificate(
        facts["spki"], datetime.fromisoformat(facts["not_before"]), datetime.fromisoformat(facts["not_after"])
    )


def certificate_facts(certificate: Certificate) -> dict[str, str]:
    """The JSON form kept with a version."""
    return {
        "spki": certificate.spki,
        "not_before": to_text(certificate.not_before),
        "not_after": to_text(certificate.not_after),
    }
