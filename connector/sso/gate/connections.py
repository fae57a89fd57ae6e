"""A connection's standing, read from its evidence: DRAFT → CONFIGURED → TESTED → ON → ON_WARN → BROKEN | DISABLED.

Pure: no I/O, no clock here. A connection is a list of immutable versions; which one is live, and whether it still
works, is decided each time from tests, switches and probes (sso.md §1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

TEST_LIFE = timedelta(days=7)
"""How old a test sign-in may be at the moment of turning on; later age is no reason."""
EXPIRY_WARNINGS = tuple(timedelta(days=days) for days in (60, 30, 14, 7, 1))
"""How long before the last signing certificate expires people are told."""


class ConnectionState(StrEnum):
    """ON_WARN works and will stop (or could not be checked); BROKEN closes the gate."""

    DRAFT = "draft"
    CONFIGURED = "configured"
    TESTED = "tested"
    ON = "on"
    ON_WARN = "on_warn"
    BROKEN = "broken"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Certificate:
    """One signing certificate of the identity provider. ``spki``: SHA-256 of its public key, hexadecimal."""

    spki: str
    not_before: datetime
    not_after: datetime

    def valid(self, now: datetime) -> bool:
        """Whether it may sign at ``now``."""
        return self.not_before <= now < self.not_after


@dataclass(frozen=True, slots=True)
class Version:
    """One immutable version of a connection; ``valid_until`` is the metadata's own limit."""

    number: int
    fingerprint: str
    entity_id: str
    certificates: tuple[Certificate, ...]
    created_at: datetime
    valid_until: datetime | None = None

    @property
    def works_until(self) -> datetime | None:
        """When the last certificate, or the metadata, ends; None when there is no certificate at all."""
        if not self.certificates:
            return None
        last = max(certificate.not_after for certificate in self.certificates)
        return last if self.valid_until is None else min(last, self.valid_until)


@dataclass(frozen=True, slots=True)
class Test:
    """A test sign-in that passed strict validation, by an address of ``domain``, with that fingerprint."""

    __test__ = False  # not a test class of pytest

    at: datetime
    fingerprint: str
    domain: str


@dataclass(frozen=True, slots=True)
class Switch:
    """Somebody turned the connection on (with that version) or off."""

    at: datetime
    on: bool
    version: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a look at the provider's own configuration showed. ``reason``: closed code or unknown code, empty = fine."""

    at: datetime
    readable: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ConnectionEvidence:
    """What is known of one connection, everything oldest first."""

    id: str
    versions: Sequence[Version] = ()
    tests: Sequence[Test] = ()
    switches: Sequence[Switch] = ()
    probes: Sequence[Probe] = ()

    @property
    def newest(self) -> Version | None:
        """The version a test sign-in would use."""
        return self.versions[-1] if self.versions else None

    def live(self, now: datetime) -> Version | None:
        """The version that is turned on, if any."""
        switches = [switch for switch in self.switches if switch.at <= now]
        if not switches or not switches[-1].on:
            return None
        return next((version for version in self.versions if version.number == switches[-1].version), None)

    def tested(self, fingerprint: str, domain: str, now: datetime) -> datetime | None:
        """When an address of ``domain`` last passed a test with exactly this fingerprint."""
        found = [
            test.at
            for test in self.tests
            if test.fingerprint == fingerprint and test.domain == domain and test.at <= now
        ]
        return max(found, default=None)


@dataclass(frozen=True, slots=True)
class ConnectionStanding:
    """A state with its reasons (why BROKEN or DISABLED) and warnings (why ON_WARN); ``unknown``: not readable now."""

    state: ConnectionState
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unreadable_since: datetime | None = None
    unreadable_reason: str = ""

    @property
    def on(self) -> bool:
        """Whether people sign in through it: ON or ON_WARN."""
        return self.state in {ConnectionState.ON, ConnectionState.ON_WARN}


def standing(evidence: ConnectionEvidence, now: datetime) -> ConnectionStanding:
    """The connection's standing at ``now``."""
    newest = evidence.newest
    if newest is None:
        return ConnectionStanding(ConnectionState.DRAFT)
    live = evidence.live(now)
    if live is None:
        return _off(evidence, newest, now)
    reasons, unreadable_since, unreadable_reason = _probed(evidence.probes, live, now)
    reasons = _version_faults(live, now) + reasons
    if reasons:
        return ConnectionStanding(ConnectionState.BROKEN, reasons, (), unreadable_since, unreadable_reason)
    warnings = expiry_warnings(live, now)
    state = ConnectionState.ON_WARN if warnings else ConnectionState.ON
    return ConnectionStanding(state, (), warnings, unreadable_since, unreadable_reason)


def _off(evidence: ConnectionEvidence, newest: Version, now: datetime) -> ConnectionStanding:
    switches = [switch for switch in evidence.switches if switch.at <= now]
    tests = [test.at for test in evidence.tests if test.fingerprint == newest.fingerprint and test.at <= now]
    off_at = switches[-1].at if switches else None
    if off_at is not None and (not tests or max(tests) <= off_at):
        return ConnectionStanding(ConnectionState.DISABLED, (switches[-1].reason,) if switches[-1].reason else ())
    if tests:
        return ConnectionStanding(ConnectionState.TESTED)
    return ConnectionStanding(ConnectionState.CONFIGURED)


def _version_faults(version: Version, now: datetime) -> tuple[str, ...]:
    faults = []
    if not any(certificate.valid(now) for certificate in version.certificates):
        faults.append("cert_expired")
    if version.valid_until is not None and version.valid_until <= now:
        faults.append("metadata_expired")
    return tuple(faults)


def _probed(probes: Sequence[Probe], live: Version, now: datetime) -> tuple[tuple[str, ...], datetime | None, str]:
    """Closed reasons of the last readable probe; since when, and why, it is unreadable."""
    reasons: tuple[str, ...] = ()
    since: datetime | None = None
    why = ""
    for probe in probes:
        if probe.at > now or probe.at < live.created_at:
            continue
        if probe.readable:
            reasons, since, why = ((probe.reason,) if probe.reason else ()), None, ""
        elif since is None:
            since, why = probe.at, probe.reason
    return reasons, since, why


def expiry_warnings(version: Version, now: datetime) -> tuple[str, ...]:
    """``cert_expires_in_<days>d`` of the nearest warning that has been reached; empty before the first."""
    ends = version.works_until
    if ends is None:
        return ()
    reached = [warning for warning in EXPIRY_WARNINGS if ends - now <= warning]
    return (f"cert_expires_in_{min(reached).days}d",) if reached else ()


def missing_for_on(evidence: ConnectionEvidence, domain: str, now: datetime) -> tuple[str, ...]:
    """What still stands between the newest version and ON, for one domain: reason codes, empty when nothing."""
    newest = evidence.newest
    if newest is None:
        return ("no_connection",)
    faults = list(_version_faults(newest, now))
    tested_at = evidence.tested(newest.fingerprint, domain, now)
    if tested_at is None:
        earlier = any(test.domain == domain and test.at <= now for test in evidence.tests)
        faults.append("test_outdated" if earlier else "not_tested")
    elif now - tested_at > TEST_LIFE:
        faults.append("test_outdated")
    return tuple(faults)
