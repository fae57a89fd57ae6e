"""What is missing at each step, and what will lapse when (sso.md §0.1, §0.4). Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connector.sso.gate import connections, domains, evidence, rebind_window, sync
from connector.sso.gate.connections import ConnectionState
from connector.sso.gate.decision import Gate
from connector.sso.gate.domains import DomainStanding, DomainState
from connector.sso.gate.evidence import Known
from connector.sso.gate.explain_gate import whole_way
from connector.sso.gate.rebind_window import RebindWindow
from connector.sso.gate.sync import SyncStatus
from ledger.instant import to_text
from ledger.store import claims, relinks
from ledger.store.book import Reader
from ledger.store.book_times import present


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
class BondStatus:
    """Held relinks that wait, and the rebind window while one is open; ``left``: people still bound as before it."""

    waiting: int
    window: RebindWindow | None
    left: int = 0

    @property
    def lines(self) -> tuple[str, ...]:
        """Plain text; none when there is nothing to say."""
        lines: tuple[str, ...] = ()
        if self.waiting:
            lines += (f"{self.waiting} sign-in(s) by another subject wait\n  → rosterd sso relinks",)
        if self.window:
            lines += (f"rebind window: until {to_text(self.window.until)}, {self.left} still bound as before",)
        return lines

    def to_json(self) -> dict[str, Any]:
        """For ``--json`` and the admin API."""
        window = {**self.window.to_json(), "left": self.left} if self.window else None
        return {"relinks_waiting": self.waiting, "rebind_window": window}


@dataclass(frozen=True, slots=True)
class SsoStatus:
    """Everything about an organization's single sign-on, and the forecast of its lapse in sentences."""

    domains: tuple[DomainStatus, ...]
    connections: tuple[ConnectionStatus, ...]
    sync: SyncStatus
    forecast: tuple[str, ...]
    bonds: BondStatus

    def to_json(self) -> dict[str, Any]:
        """For ``--json`` and the admin API."""
        return {
            "domains": [_domain_json(found) for found in self.domains],
            "connections": [_connection_json(found) for found in self.connections],
            "sync": self.sync.to_json(),
            "forecast": list(self.forecast),
            "bonds": self.bonds.to_json(),
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
        await _bonds(reader, now),
    )


async def _bonds(reader: Reader, now: datetime) -> BondStatus:
    now = await present(reader, now)
    window = await rebind_window.open_now(reader, now)
    left = await claims.count_bound_before(reader, window.opened_at) if window else 0
    return BondStatus(await relinks.count_waiting(reader, now), window, left)


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
