"""Looks again at the identity provider's metadata, at the address an admin entered (N1, N2).

Prohibition: takes over other signing certificates and another validUntil only. An address that does not answer, or
answers nonsense, is counted and warned of; it closes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from connector.sso.gate import connections, evidence, sync
from connector.sso.gate.connections import LOOKS_APART, Certificate, ConnectionEvidence, Version
from connector.sso.gate.evidence import Known
from connector.sso.provider import versions
from connector.sso.provider.connection_steps import MAIN, source_of
from connector.sso.provider.versions import Offered, hosts
from connector.sso.saml.metadata import Wants
from connector.sso.saml.metadata_signature import signed_by
from connector.sso.settings import SsoSettings
from ledger.errors import ManyErrors, RosterdError
from ledger.jobs import Fence
from ledger.store import outbox
from ledger.store import sso as rows
from ledger.store.book import Book, Reader
from ledger.store.book_times import present
from ledger.store.engine import Ledger
from ledger.store.outbox import Message
from ledger.store.sso import FetchRow, VersionRow

Fetch = Callable[[str], Awaitable[bytes]]
"""The body at an https address; raises ``RosterdError``."""


class Outcome(StrEnum):
    """UNREADABLE: not fetched, or not understood · UNCHANGED: the live version says it all · LIVE: a new version went
    live · DRAFT: something else changed, and waits for a test · DIFFERENT: it is another provider's."""

    UNREADABLE = "unreadable"
    UNCHANGED = "unchanged"
    LIVE = "live"
    DRAFT = "draft"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class RefreshReport:
    """What one look led to. ``source``: the address without its query; ``version``: the live one afterwards, or the
    draft that waits; ``why``: in words."""

    source: str
    outcome: Outcome
    version: int
    why: str = ""
    added: tuple[Certificate, ...] = ()
    removed: tuple[Certificate, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For ``--json``, a job's outcome and the admin API."""
        return {
            "source": self.source,
            "outcome": self.outcome.value,
            "version": self.version,
            "why": self.why,
            "added": [one.thumbprint for one in self.added],
            "removed": [one.thumbprint for one in self.removed],
        }


async def refresh(
    ledger: Ledger,
    organization: str,
    *,
    settings: SsoSettings,
    fetch: Fetch,
    now: datetime,
    fence: Fence,
    actor: str = "schedule",
    allow_http_on_loopback: bool = False,
) -> RefreshReport | None:
    """Fetch the live version's metadata again and go on with it, draft it, or count that it cannot be read.

    None when there is nothing to fetch: no version is on, it was given as a file, or somebody changed the connection
    meanwhile. Raises ``Overtaken``.
    """
    async with ledger.read(organization) as reader:
        known = await evidence.known(reader)
        connection = known.connections.get(MAIN)
        live = connection.live(now) if connection else None
        row = await rows.version(reader, MAIN, live.number) if live else None
    source = source_of(live, settings) if live else ""
    if live is None or row is None or not source:
        return None
    try:
        document = await fetch(source)
        offered = await versions.understand(
            document,
            Wants(**row.facts["wants"]),
            now=now,
            source=source,
            refreshed=True,
            allow_http_on_loopback=allow_http_on_loopback,
        )
        kept = row.facts.get("signed_by", "")
        unsigned = bool(kept) and not await signed_by(document, kept)
    except RosterdError as error:
        why = "; ".join(fault.what for fault in error.faults) if isinstance(error, ManyErrors) else error.what
        return await _unreadable(ledger, organization, connections.shown(source), why, live, now=now, fence=fence)
    async with ledger.write(organization, fence, at=now) as book:
        known = await evidence.known(book)
        connection = known.connections[MAIN]
        present = connection.live(book.at)
        if present is None or present.number != live.number:
            return None
        await rows.put_fetch(book, FetchRow(MAIN, connections.shown(source), book.at, book.at))
        report = await _Look(book, known, connection, present, row, offered, actor).judge(unsigned=unsigned)
        await sync.follow_gate(book)
        return report


async def next_refresh(reader: Reader, *, now: datetime) -> timedelta | None:
    """How long until the next look while the last one showed another provider: hourly, so that the second look decides
    (N2), and so that what was mended opens again. None when the schedule's own tick is soon enough."""
    now = await present(reader, now)
    connection = (await evidence.known(reader)).connections.get(MAIN)
    live = connection.live(now) if connection else None
    if connection is None or live is None or not connection.differing(live, now):
        return None
    fetch = (await rows.fetches(reader)).get(MAIN)
    return max(fetch.at + LOOKS_APART - now, timedelta(0)) if fetch else None


@dataclass(frozen=True, slots=True)
class _Look:
    """A document that was fetched, beside the live version, in the transaction that judges it."""

    book: Book
    known: Known
    connection: ConnectionEvidence
    live: Version
    row: VersionRow
    offered: Offered
    actor: str

    async def judge(self, *, unsigned: bool) -> RefreshReport:
        """``unsigned``: it is not signed by the key that signed the live version's document."""
        shown = self._shown()
        if shown:
            return await self._different(shown)
        await versions.looked_right(self.book, self.known, self.connection, self.live, self.actor)
        if self.offered.is_in(self.live, self.book.at) or self._only_a_later_end():
            await self._drop_own_drafts()
            return self._report(Outcome.UNCHANGED, self.live.number)
        why = self._hindrance(unsigned=unsigned)
        if why:
            draft = await self._draft(why)
            return self._report(Outcome.DRAFT, draft.number, why)
        await self._drop_own_drafts()
        after = await versions.write_version(self.book, self.connection, self.offered, self.actor)
        added, removed = await versions.go_on_with(
            self.book, self.known, self.live, after, connection_id=MAIN, actor=self.actor, by_hand=False
        )
        return RefreshReport(connections.shown(self.offered.source), Outcome.LIVE, after.number, "", added, removed)

    def _shown(self) -> str:
        """What is another provider's; empty when nothing is."""
        found = self.offered.found
        if found.entity_id != self.live.entity_id:
            return "entity_id"
        if not hosts(found.services.values()) <= hosts(self.row.facts["services"].values()):
            return "host"
        keys = frozenset(one.spki for one in self.offered.certificates)
        return "" if keys & self.live.keys else "certificates"

    def _only_a_later_end(self) -> bool:
        """A validUntil that moves on with every fetch is taken over when half of the time is gone, not every day."""
        ends, later = self.live.valid_until, self.offered.found.valid_until
        if ends is None or later is None or later < ends:
            return False
        left, now = frozenset(one for one in self.live.certificates if one.not_after > self.book.at), self.book.at
        same = self.live.fingerprint == self.offered.fingerprint and left == self.offered.certificates
        return same and ends - now > (later - now) / 2

    def _hindrance(self, *, unsigned: bool) -> str:
        """Why the document does not go live by itself; empty when it does."""
        if self.offered.fingerprint != self.live.fingerprint:
            return "more than certificates and validUntil has changed"
        if unsigned:
            return "it is not signed by the key that signed the tested metadata"
        keys = frozenset(one.spki for one in self.offered.certificates if one.valid(self.book.at))
        if not keys & self.live.keys & self.connection.proved(self.book.at):
            return "none of its certificates that were there before has verified a test or a sign-in yet"
        return ""

    async def _different(self, shown: str) -> RefreshReport:
        """Another provider: told at the first look, closing at a second that is apart, and no more is written then."""
        before = self.connection.differing(self.live, self.book.at)
        words = {
            "entity_id": f"it is of another identity provider, {self.offered.found.entity_id}",
            "host": f"people would sign in at another host, {', '.join(sorted(self._hosts()))}",
            "certificates": "none of the certificates in force is in it",
        }[shown]
        draft = await self._draft(words)
        closed = bool(before) and before[-1].at - before[0].at >= LOOKS_APART
        if not before or (not closed and self.book.at - before[0].at >= LOOKS_APART):
            facts = {
                "live": self.live.number,
                "shown": shown,
                "why": words,
                "draft": draft.number,
                "sha256": self.offered.found.sha256,
            }
            await versions.record(self.book, self.known, evidence.LOOKED, MAIN, self.actor, facts)
        return self._report(Outcome.DIFFERENT, draft.number, words)

    def _hosts(self) -> frozenset[str]:
        return hosts(self.offered.found.services.values())

    async def _draft(self, why: str) -> Version:
        """The draft that waits, where an admin's does or the last look's says the same; else a new one, told to every
        SSO admin."""
        waiting = self.connection.drafts
        if waiting and (not waiting[-1].refreshed or self._says_the_same(waiting[-1])):
            return waiting[-1]
        await self._drop_own_drafts()
        draft = await versions.write_version(self.book, self.connection, self.offered, self.actor)
        facts = {
            "version": draft.number,
            "fingerprint": draft.fingerprint,
            "entity_id": draft.entity_id,
            "sha256": self.offered.found.sha256,
            "source": connections.shown(self.offered.source),
            "why": why,
        }
        await versions.record(self.book, self.known, evidence.CONFIGURED, MAIN, self.actor, facts)
        told = {"to": "sso_admin", "version": draft.number, "why": why, "next": "rosterd sso status"}
        await outbox.append(self.book, [Message("connection.draft_waits", MAIN, told)])
        return draft

    def _says_the_same(self, draft: Version) -> bool:
        return draft.fingerprint == self.offered.fingerprint and frozenset(draft.certificates) == (
            self.offered.certificates
        )

    async def _drop_own_drafts(self) -> None:
        own = [draft for draft in self.connection.drafts if draft.refreshed]
        await versions.drop_drafts(self.book, self.known, self.connection, self.actor, own)

    def _report(self, outcome: Outcome, version: int, why: str = "") -> RefreshReport:
        return RefreshReport(connections.shown(self.offered.source), outcome, version, why)


async def _unreadable(
    ledger: Ledger, organization: str, source: str, why: str, live: Version, *, now: datetime, fence: Fence
) -> RefreshReport:
    """Count one more fetch that led to nothing; no evidence, no gate (N2)."""
    async with ledger.write(organization, fence, at=now) as book:
        before = (await rows.fetches(book)).get(MAIN) or FetchRow(MAIN, source, book.at)
        row = FetchRow(
            MAIN, source, book.at, before.read_at, before.failing_since or book.at, before.failures + 1, why[:500]
        )
        await rows.put_fetch(book, row)
    return RefreshReport(source, Outcome.UNREADABLE, live.number, why)
