"""The gate: one pure decision per domain, from evidence rows (sso.md §1; R5 holds continuously).

Pure: no I/O, no clock here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from connector.sso.gate import connections, domains
from connector.sso.gate.connections import ConnectionEvidence
from connector.sso.gate.domains import DomainEvidence, DomainStanding, DomainState

UNKNOWN_CLOSES_AFTER = timedelta(hours=24)
"""What could not be read for so long is closed."""
CLOCK_TOLERANCE = timedelta(minutes=5)
"""Evidence further in the future than this means that our clock is wrong, not that the evidence is."""

CLOSED_REASONS = (
    "domain_unverified",
    "domain_lost",
    "domain_undeclared",
    "no_connection",
    "not_tested",
    "test_outdated",
    "sso_off",
    "cert_expired",
    "idp_changed",
    "metadata_expired",
    "kc_idp_disabled",
    "kc_signature_off",
    "kc_version_vulnerable",
    "kc_unreachable",
)
"""Every reason a gate closes for, in the order they are told."""
UNKNOWN_REASONS = ("kc_unreachable", "clock_behind")


class GateState(StrEnum):
    """open: people of the domain may be granted things · closed: evidence of lapse · unknown: cannot be read."""

    OPEN = "open"
    CLOSED = "closed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Gate:
    """The decision for one A-label ``domain``; ``reasons`` are sso.md's codes (``sso_off`` …), in order.

    ``warnings`` leave it open. ``version`` is the gate row's counter that the apply transaction compares. ``standing``:
    the domain's, from which the words of its reasons are made.
    """

    domain: str
    state: GateState
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    version: int = 0
    standing: DomainStanding | None = field(default=None, compare=False)


def decide(domain: DomainEvidence, connection: ConnectionEvidence | None, now: datetime) -> Gate:
    """Open, closed or unknown for ``domain`` at ``now``; ``connection`` is the one linked to it, if any.

    A clock that is behind the evidence decides nothing. Otherwise closed wins over unknown: what is known to be wrong
    stays wrong while something else cannot be read.
    """
    stands = domains.standing(domain, now)
    if _from_the_future(domain, connection, now):
        return Gate(domain.domain, GateState.UNKNOWN, ("clock_behind",), (), domain.version, stands)
    reasons, warnings = _domain_part(domain, stands)
    since: datetime | None = None
    unreadable = ""
    if connection is None:
        reasons += ("no_connection",)
    else:
        state = connections.standing(connection, now)
        reasons += _connection_part(domain.domain, connection, now)
        warnings += state.warnings
        since, unreadable = state.unreadable_since, state.unreadable_reason
    if reasons:
        ordered = tuple(sorted(set(reasons), key=CLOSED_REASONS.index))
        return Gate(domain.domain, GateState.CLOSED, ordered, warnings, domain.version, stands)
    if since is not None:
        closes = now - since >= UNKNOWN_CLOSES_AFTER
        verdict = GateState.CLOSED if closes else GateState.UNKNOWN
        return Gate(domain.domain, verdict, (unreadable,), warnings, domain.version, stands)
    return Gate(domain.domain, GateState.OPEN, (), warnings, domain.version, stands)


def _domain_part(evidence: DomainEvidence, found: DomainStanding) -> tuple[tuple[str, ...], tuple[str, ...]]:
    frozen = () if evidence.undeclared_at is None else ("domain_undeclared",)
    if found.state is DomainState.LOST:
        return ("domain_lost", *frozen), ()
    if not found.proved:
        return ("domain_unverified", *frozen), ()
    stale = ("domain_stale",) if found.state is DomainState.STALE else ()
    return frozen, stale + (("dns_unreadable",) if found.unreadable else ())


def _connection_part(domain: str, evidence: ConnectionEvidence, now: datetime) -> tuple[str, ...]:
    """Closed reasons of the linked connection, for this domain."""
    live = evidence.live(now)
    if live is None:
        return ("sso_off", *connections.missing_for_on(evidence, domain, now))
    untested = () if evidence.tested(live, domain, now) else ("not_tested",)
    return connections.standing(evidence, now).reasons + untested


def _from_the_future(domain: DomainEvidence, connection: ConnectionEvidence | None, now: datetime) -> bool:
    instants = [check.at for check in domain.checks[-1:]]
    if connection is not None:
        instants += [switch.at for switch in connection.switches[-1:]]
        instants += [probe.at for probe in connection.probes[-1:]]
        instants += [look.at for look in connection.looks[-1:]]
    return any(at > now + CLOCK_TOLERANCE for at in instants)
