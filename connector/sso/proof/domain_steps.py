"""The admin's steps with a domain: add, prove, look again, release (sso.md §0, §1).

Prohibition: nothing is granted or taken here; a lapse suspends sync in the transaction that records it (R5).
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from connector.sso.domain_names import POLICY_VERSION, normalise, overlaps, require_registrable
from connector.sso.gate import domains, evidence, sync
from connector.sso.gate.decision import Gate
from connector.sso.gate.domains import Answer, DomainStanding, DomainState
from connector.sso.proof.dns import Proof, judge, look_up
from connector.sso.settings import DnsSettings
from ledger.audit import AuditEvent
from ledger.errors import BadInput, NotFound, Overtaken, Refused, Stale
from ledger.instant import to_text
from ledger.jobs import Fence, Unleased
from ledger.store import audit, sso_requests
from ledger.store import sso as rows
from ledger.store.book import Book, Reader
from ledger.store.book_times import present
from ledger.store.engine import Ledger
from ledger.store.sso import DomainRow, TokenRow

_DOMAIN = "domain"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Challenge:
    """What to publish. ``record_value`` holds the token and is shown once: only its hash is kept."""

    domain: str
    record_name: str
    record_value: str
    expires_at: datetime

    def to_json(self) -> dict[str, Any]:
        """For ``--json`` and the admin API."""
        return {
            "domain": self.domain,
            "record_name": self.record_name,
            "record_type": "TXT",
            "record_value": self.record_value,
            "expires_at": to_text(self.expires_at),
        }


@dataclass(frozen=True, slots=True)
class DomainReport:
    """What one look at the record proved, and where the domain and its gate stand since."""

    domain: str
    answer: Answer
    why: str
    standing: DomainStanding
    gate: Gate

    @property
    def proved(self) -> bool:
        """Whether the domain counts as the organization's."""
        return self.standing.proved

    def to_json(self) -> dict[str, Any]:
        """For ``--json`` and the admin API."""
        return {
            "domain": self.domain,
            "answer": self.answer.value,
            "why": self.why,
            "state": self.standing.state.value,
            "since": to_text(self.standing.since),
            "gate": self.gate.state.value,
            "reasons": list(self.gate.reasons),
        }


async def add_domain(
    ledger: Ledger,
    organization: str,
    name: str,
    *,
    actor: str,
    now: datetime,
    grace: timedelta = domains.DEFAULT_GRACE,
) -> Challenge:
    """Register a domain, or begin anew with one that failed, was lost or released; returns the record to publish.

    An earlier unproved token stops counting. Raises ``Refused`` for names nobody may own, for a domain that is proved
    already, and when another organization holds it, its parent or a part of it.
    """
    domain = require_registrable(name)
    token = domains.make_token(secrets.token_bytes(32))
    async with ledger.write(organization, Unleased.EVIDENCE, at=now) as book:
        now = book.at
        await _refuse_held(book, domain)
        before = await rows.domain(book, domain)
        known = (await evidence.known(book)).domains.get(domain)
        if known is not None and domains.standing(known, now).proved:
            raise Refused(f"{domain} is proved already", where=domain, next_step="rosterd sso status")
        attempt = before.attempt + 1 if before else 1
        anew = before is None or before.released_at is not None
        added_at, added_by = (now, actor) if anew or before is None else (before.added_at, before.added_by)
        await rows.put_domain(
            book, DomainRow(domain, name.strip(), added_at, added_by, attempt, int(grace.total_seconds()))
        )
        expires = now + domains.TOKEN_LIFE
        await rows.put_token(book, TokenRow(domain, attempt, domains.token_hash(token), now, expires))
        if anew:
            added = {"raw": name, "domain": domain, "policy": POLICY_VERSION}
            await _record(book, evidence.DOMAIN_ADDED, domain, actor, added)
        facts = {"attempt": attempt, "token_hash": domains.token_hash(token), "expires_at": to_text(expires)}
        await _record(book, evidence.DOMAIN_TOKEN, domain, actor, facts)
    return Challenge(domain, domains.record_name(domain), domains.record_value(token), expires)


async def set_grace(
    ledger: Ledger, organization: str, name: str, grace: timedelta, *, actor: str, now: datetime
) -> bool:
    """Bring a domain's grace in line with the organization file; False when nothing changed or it is not registered."""
    async with ledger.write(organization, Unleased.EVIDENCE, at=now) as book:
        row = await rows.domain(book, _normal(name))
        seconds = int(grace.total_seconds())
        if row is None or row.released_at is not None or row.grace_seconds == seconds:
            return False
        await rows.put_domain(book, replace(row, grace_seconds=seconds))
        await rows.bump_gates(book, [row.domain])
        facts = {"grace_seconds": seconds}
        await audit.append(book, [AuditEvent(actor, "domain.grace", row.domain, after=facts)])
        await sync.follow_gate(book)
        return True


async def verify_domain(
    ledger: Ledger,
    organization: str,
    name: str,
    *,
    dns: DnsSettings,
    actor: str,
    now: datetime,
    fence: Fence = Unleased.EVIDENCE,
) -> DomainReport:
    """Look for the record by every resolver and record what that proves; also the daily look at a proved domain.

    Raises ``NotFound`` for a domain nobody added, ``Stale`` when somebody who looked later has recorded what they saw,
    ``Refused`` when the token has run out or another organization has proved the domain meanwhile. Seven parameters:
    who looks, when, how and by what right are the caller's.
    """
    async with ledger.read(organization) as reader:
        row, token = await _registered(reader, name)
        looked_at = await present(reader, now)
    proof = judge(await look_up(row.domain, dns), token.token_hash)
    async with ledger.write(organization, fence, at=now) as book:
        fresh, _ = await _registered(book, row.domain)
        if fresh.attempt != row.attempt:
            raise Stale(f"{row.domain} was added anew while its record was looked for", next_step="verify it again")
        return await _record_check(book, row, proof, actor, looked_at)


async def recheck_domains(
    ledger: Ledger, organization: str, *, dns: DnsSettings, now: datetime, fence: Fence, actor: str = "schedule"
) -> tuple[DomainReport, ...]:
    """Look again at every domain that is or was proved; those never proved wait for their admin. One that was released
    or looked at meanwhile is left out. Raises ``Overtaken``."""
    async with ledger.read(organization) as reader:
        known = await evidence.known(reader)
    proved = [
        name
        for name, found in known.domains.items()
        if domains.standing(found, now).state in {DomainState.VERIFIED, DomainState.STALE, DomainState.LOST}
    ]
    reports = []
    for name in proved:
        try:
            found = await verify_domain(ledger, organization, name, dns=dns, actor=actor, now=now, fence=fence)
            reports.append(found)
        except Overtaken:
            raise
        except (NotFound, Stale) as error:
            _log.info("event=domain_left_out domain=%s why=%r", name, error.what)
        except Refused as error:  # one lost to another organization must not keep the others from being looked at
            async with ledger.write(organization, fence, at=now) as book:
                await audit.append(book, [AuditEvent(actor, "domain.refused", name, reason=error.what)])
    return tuple(reports)


async def release_domain(
    ledger: Ledger, organization: str, name: str, *, actor: str, now: datetime, confirmed: bool = False
) -> None:
    """Give a domain up; nobody else may claim it for 30 days. Refused while sync is enabled unless ``confirmed``."""
    async with ledger.write(organization, Unleased.EVIDENCE, at=now) as book:
        now = book.at
        row, _ = await _registered(book, name)
        status = await sync.sync_status(book)
        if status.state in {sync.SyncState.ENABLED, sync.SyncState.SUSPENDED} and not confirmed:
            raise Refused(
                f"directory sync of {organization} depends on {row.domain}",
                where=row.domain,
                next_step="confirm the release, or disable sync first",
            )
        await rows.put_domain(book, replace(row, released_at=now))
        await rows.unlink(book, row.domain)
        await sso_requests.end_claim(book, _DOMAIN, row.domain, until=now + domains.HOLD)
        await _record(book, evidence.DOMAIN_RELEASED, row.domain, actor, {})
        await sync.follow_gate(book)


async def _record_check(book: Book, row: DomainRow, proof: Proof, actor: str, looked_at: datetime) -> DomainReport:
    known = (await evidence.known(book)).domains[row.domain]
    if known.checks and known.checks[-1].at > looked_at:
        raise Stale(f"somebody looked for {row.domain} later and was done sooner", next_step="rosterd sso status")
    before = domains.standing(known, book.at)
    if before.state is DomainState.FAILED:
        raise Refused(
            f"the token of {row.domain} ran out on {to_text(before.since)}",
            where=row.domain,
            next_step=f"rosterd sso add {row.domain}",
        )
    if proof.answer is Answer.FOUND and not before.proved:
        await _refuse_held(book, row.domain)
        await sso_requests.claim(book, _DOMAIN, row.domain)
    facts = {"attempt": row.attempt, "answer": proof.answer.value, "why": proof.why, "resolvers": list(proof.facts)}
    await evidence.record(book, evidence.DOMAIN_CHECKED, row.domain, actor=actor, facts=facts, domains=[row.domain])
    after = domains.standing((await evidence.known(book)).domains[row.domain], book.at)
    if after.state is DomainState.LOST:
        await sso_requests.end_claim(book, _DOMAIN, row.domain, until=book.at)
    if after.state is not before.state:
        change = AuditEvent(actor, "domain.state", row.domain, proof.why, before.state.value, after.state.value)
        await audit.append(book, [change])
    gates = await sync.follow_gate(book)
    return DomainReport(row.domain, proof.answer, proof.why, after, gates[row.domain])


async def _record(book: Book, kind: str, domain: str, actor: str, facts: dict[str, Any]) -> None:
    await evidence.record(book, kind, domain, actor=actor, facts=facts, domains=[domain])
    await audit.append(book, [AuditEvent(actor, kind, domain, after=facts)])


async def _refuse_held(book: Book, domain: str) -> None:
    """Refuse when another organization holds the domain, a parent or a child of it (overlapping claims)."""
    await sso_requests.lock_claims(book)
    labels = domain.split(".")
    names = [".".join(labels[start:]) for start in range(len(labels) - 1)]
    held = await sso_requests.other_claims(book, _DOMAIN, names, below=domain)
    for name, until in held:
        if overlaps(name, domain):
            when = f" until {to_text(until)}" if until else ""
            raise Refused(
                f"{name} is held by another organization{when}",
                where=domain,
                next_step="if it is yours, ask the operator; a proved domain has one owner",
            )


async def _registered(reader: Reader, name: str) -> tuple[DomainRow, TokenRow]:
    domain = _normal(name)
    row = await rows.domain(reader, domain)
    if row is None or row.released_at is not None:
        raise NotFound(f"{domain} is not registered", where=domain, next_step=f"rosterd sso add {domain}")
    return row, (await rows.tokens(reader))[domain, row.attempt]


def _normal(name: str) -> str:
    try:
        return normalise(name)
    except ValueError as error:
        raise BadInput(str(error), where="domain") from error
