"""The admin's steps with a domain: declare, add, prove, look again, release (sso.md §0, §1; N13).

Prohibition: nothing is granted or taken here; a lapse suspends sync in the transaction that records it (R5).
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from connector.sso.domain_names import POLICY_VERSION, normalise, overlaps, require_registrable
from connector.sso.gate import domains, evidence, sync
from connector.sso.gate.decision import Gate
from connector.sso.gate.domains import Answer, DomainStanding, DomainState, Finding, Way
from connector.sso.gate.explain_gate import missing_steps, proof_missing
from connector.sso.proof import web
from connector.sso.proof.dns import ResolverAnswer, judge, look_elsewhere, look_up, misplaced, shows, why_not_web
from connector.sso.proof.web import Fetch
from connector.sso.settings import DnsSettings
from ledger.audit import AuditEvent
from ledger.errors import BadInput, NotFound, Overtaken, Refused, Retryable, Stale
from ledger.instant import to_text
from ledger.jobs import Fence, Unleased
from ledger.store import audit, sso_requests
from ledger.store import sso as rows
from ledger.store.book import Book, Reader
from ledger.store.book_times import present
from ledger.store.engine import Ledger
from ledger.store.sso import DomainRow, TokenRow

AGAIN_AFTER = timedelta(minutes=1)
"""How often whoever asks may have one domain looked for."""
_DOMAIN = "domain"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Challenge:
    """What to publish, as a record or as a file. ``record_value`` and ``file_body`` hold the token and are shown once:
    only its hash is kept. ``file_url`` is empty for a name below a registered domain, which no file proves.
    ``replaces``: one was printed before, which counts no more; ``keeps_until``: until then the domain stands by what
    was seen of it."""

    domain: str
    record_name: str
    record_value: str
    file_url: str
    file_body: str
    expires_at: datetime
    replaces: bool = False
    keeps_until: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """For ``--json`` and the admin API."""
        return {
            "domain": self.domain,
            "record_name": self.record_name,
            "record_type": "TXT",
            "record_value": self.record_value,
            "file_url": self.file_url or None,
            "file_type": "text/plain" if self.file_url else None,
            "file_body": self.file_body or None,
            "expires_at": to_text(self.expires_at),
            "replaces": self.replaces,
            "keeps_until": to_text(self.keeps_until) if self.keeps_until else None,
        }


@dataclass(frozen=True, slots=True)
class _Look:
    """What one look showed, before anybody says what it means."""

    at: datetime
    answers: tuple[ResolverAnswer, ...]
    dns: Finding
    web: Finding | None
    mistake: str
    token_hash: str

    def facts(self, attempt: int, way: Way, found: Finding) -> dict[str, Any]:
        """What is kept of it."""
        facts: dict[str, Any] = {
            "attempt": attempt,
            "answer": found.answer.value,
            "why": found.why,
            "method": way.value,
            "resolvers": [answer.to_facts(shows(answer, self.token_hash)) for answer in self.answers],
        }
        if self.web is not None:
            facts["web"] = {"answer": self.web.answer.value, "why": self.web.why}
        if self.mistake:
            facts["mistake"] = self.mistake
        return facts


@dataclass(frozen=True, slots=True)
class DomainReport:
    """What one look proved and by which way, and where the domain and its gate stand since.

    ``missing``: what stands between the domain and its proof, with the next command; ``mistake``: what is wrong with
    what was published, when it was looked for where it does not belong.
    """

    domain: str
    answer: Answer
    way: Way
    why: str
    standing: DomainStanding
    gate: Gate
    mistake: str = ""
    found_at: datetime | None = None
    """The last look that found the proof; this one or an earlier one."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Empty for a domain that is proved and in the organization's file."""
        own = [reason for reason in self.gate.reasons if reason.startswith("domain_")]
        stale = proof_missing(self.domain, self.standing)
        return (*((stale,) if stale else ()), *missing_steps(self.domain, own, self.standing))

    @property
    def proved(self) -> bool:
        """Whether the domain counts as the organization's."""
        return self.standing.proved

    def to_json(self) -> dict[str, Any]:
        """For ``--json`` and the admin API."""
        return {
            "domain": self.domain,
            "answer": self.answer.value,
            "method": self.way.value,
            "why": self.why,
            "mistake": self.mistake,
            "found_at": to_text(self.found_at) if self.found_at else None,
            "missing": list(self.missing),
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

    An earlier token stops counting. A domain whose proof is missing (STALE) stands by what was seen of it until it is
    found or the grace ends: only the token is another. Raises ``Refused`` for names nobody may own, for a domain that
    is proved already, and when another organization holds it, its parent or a part of it.
    """
    domain = require_registrable(name)
    token = domains.make_token(secrets.token_bytes(32))
    async with ledger.write(organization, Unleased.EVIDENCE, at=now) as book:
        now = book.at
        await _refuse_held(book, domain)
        before = await rows.domain(book, domain)
        known = (await evidence.known(book)).domains.get(domain)
        stands = domains.standing(known, now) if known else None
        if stands is not None and stands.state is DomainState.VERIFIED:
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
        facts: dict[str, Any] = {
            "attempt": attempt,
            "token_hash": domains.token_hash(token),
            "expires_at": to_text(expires),
        }
        stale = stands is not None and stands.state is DomainState.STALE
        if stale:
            facts["replaces"] = attempt - 1
        await _record(book, evidence.DOMAIN_TOKEN, domain, actor, facts)
    by_file = domains.file_counts(domain)
    return Challenge(
        domain,
        domains.record_name(domain),
        domains.record_value(token),
        domains.file_url(domain) if by_file else "",
        token if by_file else "",
        expires,
        not anew,
        stands.lost_at if stands and stale else None,
    )


async def declare(
    ledger: Ledger, organization: str, listed: Mapping[str, timedelta], *, actor: str, now: datetime
) -> tuple[str, ...]:
    """Hold the registered domains against the organization's file; returns those that it newly no longer names.

    ``listed``: the file's domains with their grace. A domain that is gone from it is frozen until it is back or is
    released: its gate closes, its proof goes on being looked for, its people sign in as before and nobody is removed
    (N13). The file only declares: nothing is added or released here. Nothing is written when nothing changed.
    """
    async with ledger.read(organization) as reader:
        if not await _undeclared(reader, listed):
            return ()
    async with ledger.write(organization, Unleased.EVIDENCE, at=now) as book:
        gone = []
        for row, kind in await _undeclared(book, listed):
            grace = listed.get(row.domain)
            if kind:
                await _record(book, kind, row.domain, actor, {})
                gone += [row.domain] if kind == evidence.DOMAIN_UNDECLARED else []
            elif grace is not None:
                await rows.put_domain(book, replace(row, grace_seconds=int(grace.total_seconds())))
                await rows.bump_gates(book, [row.domain])
                facts = {"grace_seconds": int(grace.total_seconds())}
                await audit.append(book, [AuditEvent(actor, "domain.grace", row.domain, after=facts)])
        await sync.follow_gate(book)
    return tuple(gone)


async def _undeclared(reader: Reader, listed: Mapping[str, timedelta]) -> list[tuple[DomainRow, str]]:
    """Registered domains that differ from the file, each with the fact to record; empty for another grace."""
    known = (await evidence.known(reader)).domains
    found = []
    for row in await rows.domains(reader):
        was, grace = known[row.domain].undeclared_at is None, listed.get(row.domain)
        if was != (grace is not None):
            found.append((row, evidence.DOMAIN_UNDECLARED if was else evidence.DOMAIN_DECLARED))
        if grace is not None and row.grace_seconds != int(grace.total_seconds()):
            found.append((row, ""))
    return found


async def verify_domain(
    ledger: Ledger,
    organization: str,
    name: str,
    *,
    dns: DnsSettings,
    actor: str,
    now: datetime,
    fetch: Fetch | None = None,
) -> DomainReport:
    """Look for the record by every resolver, then for the file, because somebody asks, and record what that proves.

    Where the proof is missing, it is also looked for where it ends up by mistake (``mistake``). ``fetch``: None asks no
    web server. Raises ``NotFound`` for a domain nobody added, ``Retryable`` when it was looked for less than a minute
    ago, ``Stale`` when somebody who looked later has recorded what they saw, ``Refused`` when the token has run out or
    another organization has proved the domain meanwhile.
    """
    async with ledger.read(organization) as reader:
        row, token = await _registered(reader, name)
        found = (await evidence.known(reader)).domains[row.domain]
        tokens = await rows.tokens(reader)
        now_there = await present(reader, now)
    _require_token(row.domain, domains.standing(found, now_there))
    if found.checks and now_there - found.checks[-1].at < AGAIN_AFTER:
        again = found.checks[-1].at + AGAIN_AFTER
        raise Retryable(
            f"{row.domain} was looked for at {to_text(found.checks[-1].at)}; once a minute is enough",
            where=row.domain,
            next_step=f"at {to_text(again)}: rosterd sso verify {row.domain}",
            after=again - now_there,
        )
    look = await _look(row, token, dns, fetch, now_there)
    if Answer.FOUND not in {look.dns.answer, look.web.answer if look.web else None}:
        elsewhere = await look_elsewhere(row.domain, dns)
        earlier = [kept.token_hash for key, kept in tokens.items() if key[0] == row.domain and kept != token]
        mistake = misplaced(row.domain, look.answers, elsewhere, token.token_hash, earlier)
        look = replace(look, mistake=mistake)
    return await _recorded(ledger, organization, row, look, actor=actor, now=now, fence=Unleased.EVIDENCE)


async def recheck_domains(
    ledger: Ledger,
    organization: str,
    *,
    dns: DnsSettings,
    now: datetime,
    fence: Fence,
    fetch: Fetch | None = None,
    every: timedelta = timedelta(0),
    actor: str = "schedule",
) -> tuple[DomainReport, ...]:
    """Look again at every domain that is or was proved and is due (``domains.next_look``); those never proved wait for
    their admin. One that was released or looked at meanwhile is left out. Raises ``Overtaken``. Eight parameters: who
    looks, when, how often, by what and by what right are the caller's."""
    async with ledger.read(organization) as reader:
        known = await evidence.known(reader)
        now_there = await present(reader, now)
    due = [
        name
        for name, found in known.domains.items()
        if (at := domains.next_look(found, now_there, every)) is not None and at <= now_there
    ]
    reports = []
    for name in due:
        try:
            async with ledger.read(organization) as reader:
                row, token = await _registered(reader, name)
                looked_at = await present(reader, now)
            look = await _look(row, token, dns, fetch, looked_at)
            reports.append(await _recorded(ledger, organization, row, look, actor=actor, now=now, fence=fence))
        except Overtaken:
            raise
        except (NotFound, Stale) as error:
            _log.info("event=domain_left_out domain=%s why=%r", name, error.what)
        except Refused as error:  # one lost to another organization must not keep the others from being looked at
            async with ledger.write(organization, fence, at=now) as book:
                await audit.append(book, [AuditEvent(actor, "domain.refused", name, reason=error.what)])
    return tuple(reports)


async def next_look(reader: Reader, *, now: datetime, every: timedelta) -> timedelta | None:
    """How long until the first domain is due to be looked at again; None when none ever is."""
    now = await present(reader, now)
    known = (await evidence.known(reader)).domains.values()
    due = [at for found in known if (at := domains.next_look(found, now, every)) is not None]
    return max(min(due) - now, timedelta(0)) if due else None


async def release_domain(
    ledger: Ledger, organization: str, name: str, *, actor: str, now: datetime, confirmed: bool = False
) -> None:
    """Give a domain up; nobody else may claim it for 30 days. Refused while sync is enabled unless ``confirmed``."""
    async with ledger.write(organization, Unleased.EVIDENCE, at=now) as book:
        now = book.at
        row, _ = await _registered(book, name)
        status = await sync.sync_status(book)
        depends = (await evidence.known(book)).domains[row.domain].proved_by is not None
        enabled = status.state in {sync.SyncState.ENABLED, sync.SyncState.SUSPENDED}
        if enabled and depends and not confirmed:
            raise Refused(
                f"directory sync of {organization} depends on {row.domain}",
                where=row.domain,
                next_step=f"rosterd sso release {row.domain} --yes, or first: rosterd sync disable",
            )
        await rows.put_domain(book, replace(row, released_at=now))
        await rows.unlink(book, row.domain)
        await sso_requests.end_claim(book, _DOMAIN, row.domain, until=now + domains.HOLD)
        await _record(book, evidence.DOMAIN_RELEASED, row.domain, actor, {})
        await sync.follow_gate(book)


async def _look(row: DomainRow, token: TokenRow, dns: DnsSettings, fetch: Fetch | None, at: datetime) -> _Look:
    """DNS, then, unless TXT has said all there is to say, the file of a registered domain."""
    answers = await look_up(row.domain, dns)
    found, file = judge(answers, token.token_hash), None
    if found.answer is not Answer.FOUND and fetch is not None:
        if why := why_not_web(row.domain, answers):
            file = Finding(Answer.UNREADABLE, why)
        else:
            file = await web.look_at(row.domain, fetch, token.token_hash)
    return _Look(at, answers, found, file, "", token.token_hash)


async def _recorded(
    ledger: Ledger, organization: str, row: DomainRow, look: _Look, *, actor: str, now: datetime, fence: Fence
) -> DomainReport:
    async with ledger.write(organization, fence, at=now) as book:
        fresh, _ = await _registered(book, row.domain)
        if fresh.attempt != row.attempt:
            next_step = f"rosterd sso verify {row.domain}"
            raise Stale(f"{row.domain} was added anew while its record was looked for", next_step=next_step)
        return await _record_check(book, row, look, actor)


async def _record_check(book: Book, row: DomainRow, look: _Look, actor: str) -> DomainReport:
    known = (await evidence.known(book)).domains[row.domain]
    if known.checks and known.checks[-1].at > look.at:
        raise Stale(f"somebody looked for {row.domain} later and was done sooner", next_step="rosterd sso status")
    before = domains.standing(known, book.at)
    _require_token(row.domain, before)
    way, found = domains.settled(look.dns, look.web, known.proved_by)
    if found.answer is Answer.FOUND and not before.proved:
        await _refuse_held(book, row.domain)
        await sso_requests.claim(book, _DOMAIN, row.domain)
    facts = look.facts(row.attempt, way, found)
    await evidence.record(book, evidence.DOMAIN_CHECKED, row.domain, actor=actor, facts=facts, domains=[row.domain])
    known = (await evidence.known(book)).domains[row.domain]
    after, last = domains.standing(known, book.at), known.last_found
    if after.state is DomainState.LOST:
        await sso_requests.end_claim(book, _DOMAIN, row.domain, until=book.at)
    if after.state is not before.state:
        change = AuditEvent(actor, "domain.state", row.domain, found.why, before.state.value, after.state.value)
        await audit.append(book, [change])
    gates = await sync.follow_gate(book)
    found_at = last.at if last else None
    return DomainReport(row.domain, found.answer, way, found.why, after, gates[row.domain], look.mistake, found_at)


def _require_token(domain: str, found: DomainStanding) -> None:
    """Raise ``Refused`` for a domain whose token has run out."""
    if found.state is DomainState.FAILED:
        raise Refused(
            f"the token of {domain} ran out on {to_text(found.since)}",
            where=domain,
            next_step=f"rosterd sso add {domain}",
        )


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
