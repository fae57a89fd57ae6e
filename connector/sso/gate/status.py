"""What is missing at each step, and what will lapse when (sso.md §0.1, §0.4). Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connector.sso.gate import connections, domains, evidence, sync
from connector.sso.gate.connections import ConnectionState
from connector.sso.gate.decision import Gate
from connector.sso.gate.domains import DomainStanding, DomainState
from connector.sso.gate.evidence import Known
from connector.sso.gate.explain_gate import whole_way
from connector.sso.gate.explain_refusal import Refusal, refusal_of, warning_in_words
from connector.sso.gate.sync import SyncStatus
from ledger.instant import to_text
from ledger.store import sso as rows
from ledger.store.book import Reader
from ledger.store.sso import EvidenceRow


@dataclass(frozen=True, slots=True)
class DomainStatus:
    """One domain: its standing, its gate, and every missing step with its command."""

    domain: str
    record_name: str
    standing: DomainStanding
    gate: Gate
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """One connection; versions 0: none. ``works_until``: end of the live (else newest) version."""

    id: str
    state: ConnectionState
    entity_id: str
    newest: int
    live: int
    works_until: datetime | None
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TestStatus:
    """The last test sign-in of a domain: refused, and why, or passed with what is to be known about it."""

    __test__ = False  # not a test class of pytest

    domain: str
    at: datetime
    refusal: Refusal | None
    warnings: tuple[str, ...] = ()

    def in_words(self) -> tuple[str, ...]:
        """What an admin should know, a line each; nothing where it passed and nothing is to be said."""
        if self.refusal is not None:
            words = self.refusal.in_words()
            return (f"last test of {self.domain} failed on {self.at:%Y-%m-%d %H:%M} UTC: {words[0]}", *words[1:])
        return tuple(f"test of {self.domain}: {warning_in_words(found)}" for found in self.warnings)

    def to_json(self) -> dict[str, Any]:
        """For ``--json`` and the admin API."""
        refusal = self.refusal.to_json() if self.refusal else None
        return {"domain": self.domain, "at": to_text(self.at), "refusal": refusal, "warnings": list(self.warnings)}


@dataclass(frozen=True, slots=True)
class SsoStatus:
    """Everything about an organization's single sign-on, and the forecast of its lapse in sentences."""

    domains: tuple[DomainStatus, ...]
    connections: tuple[ConnectionStatus, ...]
    sync: SyncStatus
    forecast: tuple[str, ...]
    tests: tuple[TestStatus, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For ``--json`` and the admin API."""
        return {
            "domains": [_domain_json(found) for found in self.domains],
            "connections": [_connection_json(found) for found in self.connections],
            "sync": self.sync.to_json(),
            "forecast": list(self.forecast),
            "tests": [found.to_json() for found in self.tests],
        }


async def status(reader: Reader, *, now: datetime) -> SsoStatus:
    """The status at ``now``."""
    known = await evidence.known(reader)
    gates = known.gates(now)
    return SsoStatus(
        tuple(_domain(known, name, gates[name], now) for name in known.domains),
        tuple(_connection(known, name, now) for name in known.connections),
        await sync.sync_status(reader, now=now),
        _forecast(known, now),
        _tests(known, await rows.evidence(reader, (evidence.TESTED, evidence.TEST_FAILED))),
    )


def _tests(known: Known, facts: Sequence[EvidenceRow]) -> tuple[TestStatus, ...]:
    """The last test of each registered domain."""
    last = {fact.facts["domain"]: fact for fact in facts}
    return tuple(
        TestStatus(
            domain,
            last[domain].at,
            refusal_of(last[domain].at, last[domain].facts) if last[domain].kind == evidence.TEST_FAILED else None,
            tuple(last[domain].facts.get("warnings", ())),
        )
        for domain in known.domains
        if domain in last
    )


def _domain(known: Known, name: str, gate: Gate, now: datetime) -> DomainStatus:
    found = domains.standing(known.domains[name], now)
    return DomainStatus(name, domains.record_name(name), found, gate, whole_way(name, gate.reasons))


def _connection(known: Known, name: str, now: datetime) -> ConnectionStatus:
    found = known.connections[name]
    standing = connections.standing(found, now)
    live, newest = found.live(now), found.newest
    shown = live or newest
    return ConnectionStatus(
        name,
        standing.state,
        shown.entity_id if shown else "",
        newest.number if newest else 0,
        live.number if live else 0,
        shown.works_until if shown else None,
        standing.reasons,
        standing.warnings,
    )


def _forecast(known: Known, now: datetime) -> tuple[str, ...]:
    """What will close a gate by itself, soonest first."""
    found: list[tuple[datetime, str]] = []
    for name, connection in known.connections.items():
        live = connection.live(now)
        if live and live.works_until and live.works_until > now and known.domains_of(name):
            last = max(certificate.not_after for certificate in live.certificates)
            what = (
                "the last signing certificate expires"
                if last == live.works_until
                else "the metadata's validUntil passes"
            )
            found.append((live.works_until, f"{what}: sync would suspend"))
    for name, domain in known.domains.items():
        standing = domains.standing(domain, now)
        if standing.state is DomainState.STALE and standing.lost_at is not None:
            found.append((standing.lost_at, f"the proof of {name} is lost unless its TXT record is back"))
        elif standing.unreadable and standing.lost_at is not None:
            found.append((standing.lost_at, f"the proof of {name} is lost unless its TXT record can be read again"))
    return tuple(f"on {at.day} {at:%B %Y}, {what}" for at, what in sorted(found))


def _domain_json(found: DomainStatus) -> dict[str, Any]:
    return {
        "domain": found.domain,
        "record_name": found.record_name,
        "state": found.standing.state.value,
        "since": to_text(found.standing.since),
        "why": found.standing.why,
        "gate": found.gate.state.value,
        "reasons": list(found.gate.reasons),
        "warnings": list(found.gate.warnings),
        "missing": list(found.missing),
    }


def _connection_json(found: ConnectionStatus) -> dict[str, Any]:
    return {
        "connection": found.id,
        "state": found.state.value,
        "entity_id": found.entity_id,
        "newest_version": found.newest,
        "live_version": found.live or None,
        "works_until": to_text(found.works_until) if found.works_until else None,
        "reasons": list(found.reasons),
        "warnings": list(found.warnings),
    }
