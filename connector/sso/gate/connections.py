"""A connection's standing, read from its evidence: DRAFT → CONFIGURED → TESTED → ON → ON_WARN → BROKEN | DISABLED.

Pure: no I/O, no clock here. A connection is a list of immutable versions; which one is live, and whether it still
works, is decided each time from tests, switches and probes (sso.md §1).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

TEST_LIFE = timedelta(days=7)
"""How old a test sign-in may be at the moment of turning on; later age is no reason."""
EXPIRY_WARNINGS = tuple(timedelta(days=days) for days in (60, 30, 14, 7, 1))
"""How long before the last signing certificate expires, or the metadata ends, people are told."""
HELD_FOR = timedelta(hours=24)
"""How long a certificate that a refresh added counts neither for tests nor for first sign-ins, unless confirmed."""
LOOKS_APART = timedelta(hours=1)
"""Two looks at the metadata so far apart, and both at another provider, close the gate."""
ASKED_FOR = timedelta(hours=24)
"""How long a second person may complete what the first asked for."""


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
    """One signing certificate of the identity provider. ``spki``: SHA-256 of its public key; ``thumbprint``: SHA-256 of
    the certificate itself, what ``openssl x509 -fingerprint -sha256`` prints; both hexadecimal."""

    spki: str
    not_before: datetime
    not_after: datetime
    thumbprint: str = ""

    def valid(self, now: datetime) -> bool:
        """Whether it may sign at ``now``."""
        return self.not_before <= now < self.not_after


@dataclass(frozen=True, slots=True)
class Version:
    """One immutable version of a connection; ``valid_until`` is the metadata's own limit.

    ``source``: the https address its metadata was fetched from; empty: it was given as a file; None: nobody wrote it
    down (older versions). ``refreshed``: a refresh made it, nobody gave it by hand.
    """

    number: int
    fingerprint: str
    entity_id: str
    certificates: tuple[Certificate, ...]
    created_at: datetime
    valid_until: datetime | None = None
    source: str | None = None
    refreshed: bool = False

    @property
    def works_until(self) -> datetime | None:
        """When the last certificate, or the metadata, ends; None when there is no certificate at all."""
        if not self.certificates:
            return None
        last = max(certificate.not_after for certificate in self.certificates)
        return last if self.valid_until is None else min(last, self.valid_until)

    @property
    def keys(self) -> frozenset[str]:
        """The public keys of its certificates (``spki``)."""
        return frozenset(certificate.spki for certificate in self.certificates)


@dataclass(frozen=True, slots=True)
class Test:
    """A test sign-in that passed strict validation, by an address of ``domain``, with that fingerprint.

    ``version``: which one it was made with; 0: the first with that fingerprint. ``signers``: the keys that may have
    signed it; one, since it is looked at which; all that were valid in older evidence; none: all of that version.
    """

    __test__ = False  # not a test class of pytest

    at: datetime
    fingerprint: str
    domain: str
    version: int = 0
    signers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Switch:
    """The connection was turned on (with that version) or off. ``by_hand``: not by a refresh that continues it."""

    at: datetime
    on: bool
    version: int = 0
    reason: str = ""
    by_hand: bool = True


@dataclass(frozen=True, slots=True)
class Probe:
    """What a look at the provider's own configuration showed. ``reason``: closed code or unknown code, empty = fine."""

    at: datetime
    readable: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What a fetch of the metadata showed beside the live version ``live``: ``shown`` is empty when it was the same
    provider; else what was another one (``entity_id``, ``host``, ``certificates``). Only changes are kept."""

    at: datetime
    live: int
    shown: str = ""


@dataclass(frozen=True, slots=True)
class KeyFact:
    """Something about one public key: a sign-in of a bound person proved it, a refresh added it, somebody confirmed
    it."""

    at: datetime
    spki: str


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody asked to turn a version on; another person completes it."""

    at: datetime
    version: int
    actor: str


@dataclass(frozen=True, slots=True)
class ConnectionEvidence:
    """What is known of one connection, everything oldest first. ``unreadable_since``: since when its metadata cannot
    be fetched or understood; it only warns (N2)."""

    id: str
    versions: Sequence[Version] = ()
    tests: Sequence[Test] = ()
    switches: Sequence[Switch] = ()
    probes: Sequence[Probe] = ()
    looks: Sequence[Look] = ()
    proofs: Sequence[KeyFact] = ()
    additions: Sequence[KeyFact] = ()
    confirmations: Sequence[KeyFact] = ()
    asked: Sequence[Asked] = ()
    dropped: frozenset[int] = frozenset()
    unreadable_since: datetime | None = None

    @property
    def newest(self) -> Version | None:
        """The version a test sign-in would use: the draft that waits, else the one that was on last."""
        waiting = self.drafts
        if waiting:
            return waiting[-1]
        was_on = [switch.version for switch in self.switches if switch.on]
        return self.version(was_on[-1]) if was_on else None

    @property
    def drafts(self) -> tuple[Version, ...]:
        """Versions that were never on and that nothing has overtaken: neither an admin's later choice, nor a look that
        showed the live version again. A refresh that goes on with the live version overtakes no draft."""
        was_on = {switch.version for switch in self.switches if switch.on}
        chosen = max((switch.version for switch in self.switches if switch.on and switch.by_hand), default=0)
        return tuple(
            version
            for version in self.versions
            if version.number > chosen and version.number not in was_on | self.dropped
        )

    def version(self, number: int) -> Version | None:
        """One version by its number."""
        return next((version for version in self.versions if version.number == number), None)

    def live(self, now: datetime) -> Version | None:
        """The version that is turned on, if any."""
        switches = [switch for switch in self.switches if switch.at <= now]
        return self.version(switches[-1].version) if switches and switches[-1].on else None

    def tested(self, version: Version, domain: str, now: datetime) -> datetime | None:
        """When an address of ``domain`` last passed a test that counts for ``version``: with the same fingerprint, and
        handed on from document to document by keys that are proved (N1)."""
        joined = self._joined(version, now)
        found = [
            test.at
            for test in self.tests
            if test.domain == domain
            and test.at <= now
            and test.fingerprint == version.fingerprint
            and any(before.number in joined for before in self._tested_with(test))
        ]
        return max(found, default=None)

    def proved(self, now: datetime) -> frozenset[str]:
        """Keys that signed a test, or a sign-in of somebody who was bound already: not one that was held then, or
        whoever has the address of the metadata would bring in a key and drive the others out with it."""
        found = {fact.spki for fact in self.proofs if fact.at <= now and not self.held_until(fact.spki, fact.at)}
        for test in self.tests:
            if test.at <= now:
                found.update(test.signers or [key for version in self._tested_with(test) for key in version.keys])
        return frozenset(found)

    def continues(self, before: Version, after: Version, now: datetime) -> bool:
        """Whether ``after`` may take the place of ``before`` without a test: the same fingerprint, and a proved key in
        both documents whose certificate in the newer one was valid when it came."""
        return _hands_on(before, after, self.proved(now))

    def held_until(self, spki: str, now: datetime) -> datetime | None:
        """Until when a key that a refresh added counts neither for tests nor for first sign-ins; None: it counts."""
        added = max((fact.at for fact in self.additions if fact.spki == spki and fact.at <= now), default=None)
        if added is None or now >= added + HELD_FOR:
            return None
        confirmed = any(fact.spki == spki and added <= fact.at <= now for fact in self.confirmations)
        return None if confirmed else added + HELD_FOR

    def differing(self, live: Version, now: datetime) -> tuple[Look, ...]:
        """Looks that showed another provider than the live version's, since the last that showed it."""
        found: list[Look] = []
        for look in self.looks:
            if look.live == live.number and look.at <= now:
                found = [*found, look] if look.shown else []
        return tuple(found)

    def asked_for(self, version: int, now: datetime) -> Asked | None:
        """Who asked to turn this version on and waits for a second person."""
        last_switch = max((switch.at for switch in self.switches), default=None)
        found = [
            asked
            for asked in self.asked
            if asked.version == version
            and asked.at <= now < asked.at + ASKED_FOR
            and (last_switch is None or asked.at > last_switch)
        ]
        return found[-1] if found else None

    def _tested_with(self, test: Test) -> tuple[Version, ...]:
        if test.version:
            return tuple(version for version in self.versions if version.number == test.version)
        return tuple(version for version in self.versions if version.fingerprint == test.fingerprint)[:1]

    def _joined(self, version: Version, now: datetime) -> frozenset[int]:
        """Numbers of the versions that ``version`` continues, over any number of steps, and its own."""
        proved, found = self.proved(now), [version]
        others = [one for one in self.versions if one.number != version.number]
        for one in found:  # grows while it is walked
            joined = [other for other in others if _hands_on(one, other, proved)]
            found += joined
            others = [other for other in others if other not in joined]
        return frozenset(one.number for one in found)


def _hands_on(before: Version, after: Version, proved: frozenset[str]) -> bool:
    if before.fingerprint != after.fingerprint:
        return False
    earlier, later = sorted((before, after), key=lambda version: version.number)
    shared = proved & earlier.keys
    return any(found.spki in shared and found.valid(later.created_at) for found in later.certificates)


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
        """Whether people sign in through it: ON or ON_WARN, and while only the address of its metadata shows another
        provider: the live version still judges (N2)."""
        broken = self.state is ConnectionState.BROKEN and self.reasons == ("idp_changed",)
        return broken or self.state in {ConnectionState.ON, ConnectionState.ON_WARN}


def standing(evidence: ConnectionEvidence, now: datetime) -> ConnectionStanding:
    """The connection's standing at ``now``."""
    newest = evidence.newest
    if newest is None:
        return ConnectionStanding(ConnectionState.DRAFT)
    live = evidence.live(now)
    if live is None:
        return _off(evidence, newest, now)
    reasons, unreadable_since, unreadable_reason = _probed(evidence.probes, live, now)
    reasons = _version_faults(live, now) + _changed(evidence, live, now) + reasons
    if reasons:
        return ConnectionStanding(ConnectionState.BROKEN, reasons, (), unreadable_since, unreadable_reason)
    warnings = expiry_warnings(live, now) + _look_warnings(evidence, live, now)
    state = ConnectionState.ON_WARN if warnings else ConnectionState.ON
    return ConnectionStanding(state, (), warnings, unreadable_since, unreadable_reason)


def _off(evidence: ConnectionEvidence, newest: Version, now: datetime) -> ConnectionStanding:
    switches = [switch for switch in evidence.switches if switch.at <= now]
    domains = {test.domain for test in evidence.tests}
    tests = [at for domain in domains if (at := evidence.tested(newest, domain, now))]
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


def _changed(evidence: ConnectionEvidence, live: Version, now: datetime) -> tuple[str, ...]:
    looks = evidence.differing(live, now)
    return ("idp_changed",) if looks and looks[-1].at - looks[0].at >= LOOKS_APART else ()


def _look_warnings(evidence: ConnectionEvidence, live: Version, now: datetime) -> tuple[str, ...]:
    """Codes of what a fetch found: nothing of it closes anything yet (N2)."""
    looks = evidence.differing(live, now)
    code = "new_certificates_seen" if {look.shown for look in looks} == {"certificates"} else "idp_change_seen"
    return ((code,) if looks else ()) + (("metadata_unreachable",) if evidence.unreadable_since is not None else ())


def expiry_warnings(version: Version, now: datetime) -> tuple[str, ...]:
    """``cert_expires_in_<days>d`` and ``metadata_expires_in_<days>d`` of the nearest warning that has been reached,
    by the last certificate's end and by validUntil."""
    ends = [("metadata", version.valid_until)] if version.valid_until else []
    if version.certificates:
        ends.insert(0, ("cert", max(certificate.not_after for certificate in version.certificates)))
    found = []
    for what, end in ends:
        reached = [warning for warning in EXPIRY_WARNINGS if end - now <= warning]
        found += [f"{what}_expires_in_{min(reached).days}d"] if reached else []
    return tuple(found)


def missing_for_on(evidence: ConnectionEvidence, domain: str, now: datetime) -> tuple[str, ...]:
    """What still stands between the newest version and ON, for one domain: reason codes, empty when nothing."""
    newest = evidence.newest
    if newest is None:
        return ("no_connection",)
    faults = list(_version_faults(newest, now))
    tested_at = evidence.tested(newest, domain, now)
    if tested_at is None:
        earlier = any(test.domain == domain and test.at <= now for test in evidence.tests)
        faults.append("test_outdated" if earlier else "not_tested")
    elif now - tested_at > TEST_LIFE:
        faults.append("test_outdated")
    return tuple(faults)


def shown(address: str) -> str:
    """An address without its query, which may hold a secret: what is printed, told and kept as evidence."""
    parts = urlsplit(address)
    return parts._replace(query="…").geturl() if parts.query else address


def fingerprint(entity_id: str, facts: Mapping[str, Any]) -> str:
    """SHA-256 over what a test sign-in proves and no certificate (N1), from the facts kept with a version.

    What has its default counts as not said, so that a setting added later leaves older fingerprints as they are.
    """
    parts = {
        "entity_id": entity_id,
        "services": dict(facts.get("services", {})),
        "name_id_formats": sorted(set(facts.get("name_id_formats", ()))),
        "wants_signed_requests": bool(facts.get("wants_signed_requests", False)),
        "wants": {name: value for name, value in facts.get("wants", {}).items() if value},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
