"""What is missing at each step, and what will lapse when (sso.md §0.1, §0.4). Reads only."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from connector.sso.gate import connections, domains, evidence, rebind_window, sync
from connector.sso.gate.connections import (
    ASKED_FOR,
    LOOKS_APART,
    Asked,
    Certificate,
    ConnectionEvidence,
    ConnectionState,
    Version,
)
from connector.sso.gate.decision import Gate
from connector.sso.gate.domains import DomainEvidence, DomainStanding, DomainState, Way
from connector.sso.gate.evidence import Known
from connector.sso.gate.explain_gate import missing_steps, proof_missing, warning_in_words, whole_way
from connector.sso.gate.explain_refusal import Refusal, refusal_of
from connector.sso.gate.explain_refusal import warning_in_words as test_warning_in_words
from connector.sso.gate.rebind_window import RebindWindow
from connector.sso.gate.refused_logins import RefusedLogins, refused_logins
from connector.sso.gate.sync import SyncStatus
from ledger.counted import counted
from ledger.instant import to_minute, to_text
from ledger.store import claims, relinks
from ledger.store import sso as rows
from ledger.store.book import Reader
from ledger.store.book_times import present
from ledger.store.sso import EvidenceRow, FetchRow


@dataclass(frozen=True, slots=True)
class DomainStatus:
    """One domain: its standing, its gate, and every missing step with its command."""

    domain: str
    record_name: str
    standing: DomainStanding
    gate: Gate
    missing: tuple[str, ...]
    mistake: str = ""


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """One signing certificate in force. ``proved``: a test, or a sign-in of somebody bound, was signed by its key;
    ``held_until``: a refresh added it, and it counts neither for tests nor for first sign-ins before then."""

    certificate: Certificate
    proved: bool
    held_until: datetime | None

    @property
    def next_step(self) -> str:
        """The command that lets it count at once."""
        return f"rosterd sso confirm-certificate {self.certificate.thumbprint[:16]}" if self.held_until else ""


@dataclass(frozen=True, slots=True)
class DraftStatus:
    """A version that waits: how it differs from the live one, in words, and what is missing, with the commands."""

    number: int
    since: datetime
    refreshed: bool
    differences: tuple[str, ...]
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """One connection; versions 0: none. ``works_until``: end of the live (else newest) version. ``source``: where a
    refresh fetches its metadata, empty: nowhere, None: where ``[sso] metadata`` says; ``fetch``: the last one."""

    id: str
    state: ConnectionState
    entity_id: str
    newest: int
    live: int
    works_until: datetime | None
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    certificates: tuple[CertificateStatus, ...] = ()
    draft: DraftStatus | None = None
    source: str | None = ""
    fetch: FetchRow | None = None
    asked: Asked | None = None

    @property
    def warnings_in_words(self) -> tuple[str, ...]:
        """Each with what ends it."""
        return tuple(warning_in_words(warning) for warning in self.warnings)


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
            return (f"last test of {self.domain} failed on {to_minute(self.at)}: {words[0]}", *words[1:])
        return tuple(f"test of {self.domain}: {test_warning_in_words(found)}" for found in self.warnings)

    def to_json(self) -> dict[str, Any]:
        """For ``--json`` and the admin API."""
        refusal = self.refusal.to_json() if self.refusal else None
        return {"domain": self.domain, "at": to_text(self.at), "refusal": refusal, "warnings": list(self.warnings)}


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
            lines += (f"{counted(self.waiting, 'sign-in')} by another subject waiting", "  → rosterd sso relinks")
        if self.window:
            lines += (f"rebind window: until {to_text(self.window.until)}, {self.left} still bound as before",)
        return lines

    def to_json(self) -> dict[str, Any]:
        """For ``--json`` and the admin API."""
        window = {**self.window.to_json(), "left": self.left} if self.window else None
        return {"relinks_waiting": self.waiting, "rebind_window": window}


@dataclass(frozen=True, slots=True)
class SsoStatus:
    """Everything about an organization's single sign-on, and the forecast of its lapse in sentences.

    ``differences``: domains that the organization's file names and nobody has added, and the other way round.
    """

    domains: tuple[DomainStatus, ...]
    connections: tuple[ConnectionStatus, ...]
    sync: SyncStatus
    forecast: tuple[str, ...]
    bonds: BondStatus
    differences: tuple[str, ...] = ()
    tests: tuple[TestStatus, ...] = ()
    refused: RefusedLogins | None = None

    def to_json(self) -> dict[str, Any]:
        """For ``--json`` and the admin API."""
        return {
            "domains": [_domain_json(found) for found in self.domains],
            "connections": [_connection_json(found) for found in self.connections],
            "sync": self.sync.to_json(),
            "forecast": list(self.forecast),
            "differences": list(self.differences),
            "tests": [found.to_json() for found in self.tests],
            "bonds": self.bonds.to_json(),
            "refused_logins": self.refused.to_json() if self.refused else None,
        }


async def status(reader: Reader, *, now: datetime, listed: Collection[str] | None = None) -> SsoStatus:
    """The status at ``now``. ``listed``: the domains that the organization's file names; None: not compared."""
    known = await evidence.known(reader)
    gates = known.gates(now)
    fetches = await rows.fetches(reader)
    return SsoStatus(
        tuple(_domain(known, name, gates[name], now) for name in known.domains),
        tuple(_connection(known, name, fetches.get(name), now) for name in known.connections),
        await sync.sync_status(reader, now=now),
        _forecast(known, now),
        await _bonds(reader, now),
        () if listed is None else differences(known.domains, listed),
        _tests(known, await rows.evidence(reader, (evidence.TESTED, evidence.TEST_FAILED))),
        await _refused(reader, known, now),
    )


async def _refused(reader: Reader, known: Known, now: datetime) -> RefusedLogins | None:
    """Of connections that are on, since the first of them was turned on as it is."""
    on = [found.switches[-1].at for found in known.connections.values() if found.live(now)]
    return await refused_logins(reader, min(on)) if on else None


async def _bonds(reader: Reader, now: datetime) -> BondStatus:
    now = await present(reader, now)
    window = await rebind_window.open_now(reader, now)
    left = await claims.count_bound_before(reader, window.opened_at) if window else 0
    return BondStatus(await relinks.count_waiting(reader, now), window, left)


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


def differences(registered: Mapping[str, DomainEvidence], listed: Collection[str]) -> tuple[str, ...]:
    """Where the organization's file and the ledger differ, each with its next command; what the ledger knows to be
    gone from the file is told by its gate. Pure."""
    added = [
        f"{name} is in the organization's file and was not added → rosterd sso add {name}"
        for name in listed
        if name not in registered
    ]
    gone = [
        f"{name} is no longer in the organization's file: frozen from the next reload on, until it is back or given up"
        f" → rosterd sso release {name}"
        for name, found in registered.items()
        if name not in listed and found.undeclared_at is None
    ]
    back = [
        f"{name} is back in the organization's file, and frozen until that is read → kill -HUP the daemon or restart it"
        for name, found in registered.items()
        if name in listed and found.undeclared_at is not None
    ]
    return (*added, *gone, *back)


def _domain(known: Known, name: str, gate: Gate, now: datetime) -> DomainStatus:
    found = domains.standing(known.domains[name], now)
    stale, last = proof_missing(name, found), known.domains[name].checks[-1:]
    missing = (*((stale,) if stale else ()), *whole_way(name, gate.reasons, gate.standing))
    mistake = last[0].mistake if last else ""
    return DomainStatus(name, domains.record_name(name), found, gate, missing, mistake)


def _connection(known: Known, name: str, fetch: FetchRow | None, now: datetime) -> ConnectionStatus:
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
        _certificates(found, shown, now) if shown else (),
        _draft(known, found, live, newest, now) if live and newest and newest is not live else None,
        _source(live, fetch) if live else "",
        fetch if live else None,
        found.asked_for(newest.number, now) if newest else None,
    )


def _source(live: Version, fetch: FetchRow | None) -> str | None:
    if live.source is None:
        return fetch.source if fetch else None
    return connections.shown(live.source)


def _certificates(found: ConnectionEvidence, shown: Version, now: datetime) -> tuple[CertificateStatus, ...]:
    proved = found.proved(now)
    return tuple(
        CertificateStatus(one, one.spki in proved, found.held_until(one.spki, now)) for one in shown.certificates
    )


def _draft(known: Known, found: ConnectionEvidence, live: Version, draft: Version, now: datetime) -> DraftStatus:
    """What waits beside the live version."""
    linked = known.domains_of(found.id)
    missing = [step for name in linked for step in missing_steps(name, connections.missing_for_on(found, name, now))]
    steps = missing or [f"it is tested → rosterd sso on {name}" for name in linked[:1]]
    return DraftStatus(draft.number, draft.created_at, draft.refreshed, _differences(live, draft), tuple(steps))


def _differences(live: Version, draft: Version) -> tuple[str, ...]:
    found = []
    if draft.entity_id != live.entity_id:
        found.append(f"another identity provider: {draft.entity_id}")
    elif draft.fingerprint != live.fingerprint:
        found.append("another sign-in address, NameID format or setting")
    added = [one for one in draft.certificates if one.spki not in live.keys]
    removed = [one for one in live.certificates if one.spki not in draft.keys]
    found += [f"with certificate {one.thumbprint[:16]} until {one.not_after:%Y-%m-%d}" for one in added]
    found += [f"without certificate {one.thumbprint[:16]}" for one in removed]
    return tuple(found) or ("another end",)


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
        looks = connection.differing(live, now) if live else ()
        if looks and looks[-1].at - looks[0].at < LOOKS_APART and known.domains_of(name):
            shows = (
                "new certificates only" if {look.shown for look in looks} == {"certificates"} else "another provider"
            )
            second = max(now, looks[0].at + LOOKS_APART)
            found.append(
                (second, f"a look at the metadata that still shows {shows} closes the gate: sync would suspend")
            )
    for name, domain in known.domains.items():
        standing = domains.standing(domain, now)
        proof = "file" if standing.way is Way.WEB and domains.file_counts(name) else "TXT record"
        why = f" ({standing.why})" if standing.why else ""
        if standing.state is DomainState.STALE and standing.lost_at is not None:
            found.append((standing.lost_at, f"the proof of {name} is lost unless its {proof} is back{why}"))
        elif standing.unreadable and standing.lost_at is not None:
            found.append((standing.lost_at, f"the proof of {name} is lost unless its {proof} can be read again{why}"))
    return tuple(f"{_on(at, now)}, {what}" for at, what in sorted(found))


def _on(at: datetime, now: datetime) -> str:
    """The day; within two days the minute too."""
    return f"on {at.day} {at:%B %Y}" + (f" at {at:%H:%M} UTC" if at - now < timedelta(days=2) else "")


def _domain_json(found: DomainStatus) -> dict[str, Any]:
    return {
        "domain": found.domain,
        "record_name": found.record_name,
        "state": found.standing.state.value,
        "since": to_text(found.standing.since),
        "method": found.standing.way.value,
        "why": found.standing.why,
        "gate": found.gate.state.value,
        "reasons": list(found.gate.reasons),
        "warnings": list(found.gate.warnings),
        "missing": list(found.missing),
        "mistake": found.mistake,
    }


def _connection_json(found: ConnectionStatus) -> dict[str, Any]:
    return {
        "connection": found.id,
        "state": found.state.value,
        "entity_id": found.entity_id,
        "newest_version": found.newest,
        "live_version": found.live or None,
        "works_until": _instant(found.works_until),
        "reasons": list(found.reasons),
        "warnings": list(found.warnings),
        "certificates": [
            {
                "sha256": one.certificate.thumbprint,
                "until": to_text(one.certificate.not_after),
                "proved": one.proved,
                "held_until": _instant(one.held_until),
                "next": one.next_step or None,
            }
            for one in found.certificates
        ],
        "draft": _draft_json(found.draft) if found.draft else None,
        "source": found.source or None,
        "fetch": _fetch_json(found.fetch) if found.fetch else None,
        "asked_by": found.asked.actor if found.asked else None,
        "asked_until": _instant(found.asked.at + ASKED_FOR if found.asked else None),
    }


def _draft_json(found: DraftStatus) -> dict[str, Any]:
    return {
        "version": found.number,
        "since": to_text(found.since),
        "by_refresh": found.refreshed,
        "differences": list(found.differences),
        "missing": list(found.steps),
    }


def _fetch_json(found: FetchRow) -> dict[str, Any]:
    return {
        "at": to_text(found.at),
        "read_at": _instant(found.read_at),
        "failing_since": _instant(found.failing_since),
        "failures": found.failures,
        "why": found.why,
    }


def _instant(at: datetime | None) -> str | None:
    return to_text(at) if at else None
