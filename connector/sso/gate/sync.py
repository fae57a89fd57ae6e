"""May directory sync run? OFF → READY → ENABLED → SUSPENDED → ENABLED (R5; sso.md §1).

Prohibition: no identity, membership or seat is read or written here. A lapse suspends; it removes nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from connector.sso.gate import evidence
from connector.sso.gate.decision import Gate, GateState
from connector.sso.gate.explain_gate import whole_way
from ledger.audit import AuditEvent
from ledger.errors import Refused
from ledger.instant import require_aware, to_text
from ledger.jobs import Unleased
from ledger.store import audit, outbox
from ledger.store import sso as rows
from ledger.store.book import Book, Reader
from ledger.store.engine import Ledger
from ledger.store.outbox import Message
from ledger.store.sso import SyncRow

ADMIN_CONFIRMS_AFTER = timedelta(days=7)
"""A suspension longer than this ends only when an admin enables sync again: the drift looks like mass leavers."""
_SUBJECT = "sync"
_NEXT = {evidence.SYNC_SUSPENDED: "rosterd sso status", evidence.SYNC_RESUMED: "rosterd plan"}
"""The exact next command for whoever is told."""


class SyncState(StrEnum):
    """OFF: not enabled, something is missing · READY: could be enabled · SUSPENDED: enabled, the gate is closed."""

    OFF = "off"
    READY = "ready"
    ENABLED = "enabled"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """``reasons``: why it is suspended (codes, as given to ``suspend``), or while OFF every missing step in words.
    ``missing``: what ends a suspension, in words with the next command; empty where the next run ends it."""

    state: SyncState
    reasons: tuple[str, ...] = ()
    since: datetime | None = None
    missing: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For ``--json`` and the admin API."""
        since = to_text(self.since) if self.since else None
        return {
            "state": self.state.value,
            "reasons": list(self.reasons),
            "since": since,
            "missing": list(self.missing),
        }


async def sync_status(reader: Reader, *, now: datetime | None = None) -> SyncStatus:
    """The state of directory sync. ``now`` is needed only to tell READY from OFF, without it both are OFF, and what
    ends a suspension."""
    row = await rows.sync_row(reader)
    if row is not None and row.enabled:
        if not row.reasons or now is None:
            return SyncStatus(SyncState.SUSPENDED if row.reasons else SyncState.ENABLED, row.reasons, row.since)
        gates = await evidence.gates(reader, now=now)
        return SyncStatus(SyncState.SUSPENDED, row.reasons, row.since, _to_resume(gates, row.since, now))
    since = row.since if row else None
    if now is None:
        return SyncStatus(SyncState.OFF, (), since)
    found = await evidence.gates(reader, now=now)
    if any_open(found):
        return SyncStatus(SyncState.READY, (), since)
    return SyncStatus(SyncState.OFF, every_missing_step(found), since)


def any_open(gates: dict[str, Gate]) -> bool:
    """Whether sync may run at all: people of the domains that are not open are frozen, one by one (G5)."""
    return any(gate.state is GateState.OPEN for gate in gates.values())


def every_missing_step(gates: dict[str, Gate]) -> tuple[str, ...]:
    """What stands between each domain and an open gate, with the next command of each step."""
    if not gates:
        first = "no domain is registered → rosterd sso add DOMAIN"
        return (first, *whole_way("DOMAIN", ("domain_unverified", "no_connection")))
    return tuple(step for gate in gates.values() for step in whole_way(gate.domain, gate.reasons, gate.standing))


def _to_resume(gates: dict[str, Gate], suspended_at: datetime, now: datetime) -> tuple[str, ...]:
    """What ends a suspension: the missing steps, and after seven days an admin's word."""
    steps = () if any_open(gates) else every_missing_step(gates)
    if not needs_confirmation(suspended_at, now):
        return steps
    days = ADMIN_CONFIRMS_AFTER.days
    return (*steps, f"it was suspended for more than {days} days: an admin confirms its return → rosterd sync enable")


def lapse(gates: Mapping[str, Gate]) -> tuple[str, ...]:
    """The reasons that sync is suspended for when every gate is shut: those of the closed ones, each once.

    Without any domain, nothing is proved to be the organization's: R5 holds as long as sync is enabled.
    """
    if not gates:
        return ("domain_unverified",)
    shut = [gate for gate in gates.values() if gate.state is GateState.CLOSED]
    return tuple(dict.fromkeys(reason for gate in shut for reason in gate.reasons))


async def enable_sync(ledger: Ledger, organization: str, *, actor: str, now: datetime) -> None:
    """Enable sync, or confirm its return after a long suspension. Raises ``Refused`` naming every missing step (R5).

    The gate is decided in the transaction that enables, under the organization's lock.
    """
    async with ledger.write(organization, Unleased.BY_HAND, at=now) as book:
        now = book.at
        found = await evidence.gates(book, now=now)
        if not any_open(found):
            steps = every_missing_step(found)
            raise Refused(
                "directory sync needs single sign-on first (R5); missing:\n"
                + "\n".join(f"  - {step}" for step in steps),
                where=organization,
                next_step="do these in order, then enable sync again",
            )
        before = await sync_status(book)
        if before.state is SyncState.ENABLED:
            return
        snapshot = {name: {"state": gate.state.value, "version": gate.version} for name, gate in found.items()}
        await _change(book, SyncRow(True, (), book.at, actor), evidence.SYNC_ENABLED, {"gates": snapshot})


async def disable_sync(ledger: Ledger, organization: str, *, actor: str, now: datetime) -> None:
    """Switch sync off. What it granted stays as it is."""
    async with ledger.write(organization, Unleased.BY_HAND, at=now) as book:
        row = await rows.sync_row(book)
        if row is None or not row.enabled:
            return
        await _change(book, SyncRow(False, (), book.at, actor), evidence.SYNC_DISABLED, {})


async def suspend(book: Book, reasons: Sequence[str], *, actor: str = "gate") -> bool:
    """Suspend for ``reasons`` (deduplicated, order kept). The first instant stays; False when nothing changed.

    One suspension is told once: that its reasons changed since is evidence, not news.
    """
    row = await rows.sync_row(book)
    why = tuple(dict.fromkeys(reasons))
    if row is None or not row.enabled or row.reasons == why:
        return False
    if not why:
        raise ValueError("a suspension has a reason")
    begins = not row.reasons
    since = book.at if begins else row.since
    await _change(book, SyncRow(True, why, since, row.actor), evidence.SYNC_SUSPENDED, {"reasons": list(why)}, actor)
    if begins:
        steps = every_missing_step(await evidence.gates(book, now=book.at))
        await _tell(book, evidence.SYNC_SUSPENDED, {"reasons": list(why), "missing": list(steps)})
    return True


async def resume(book: Book, *, actor: str = "gate") -> bool:
    """End a suspension because the gate is open again; False when there is none.

    Raises ``Refused`` after seven days: then an admin confirms with ``enable_sync``. The next run is a full plan.
    """
    row = await rows.sync_row(book)
    if row is None or not row.enabled or not row.reasons:
        return False
    if needs_confirmation(row.since, book.at):
        raise Refused(
            f"sync was suspended for more than {ADMIN_CONFIRMS_AFTER.days} days; an admin confirms its return",
            where=book.organization,
            next_step="rosterd sync enable",
        )
    facts = {"reasons": list(row.reasons), "suspended_at": to_text(row.since)}
    await _change(book, SyncRow(True, (), book.at, row.actor), evidence.SYNC_RESUMED, facts, actor)
    await _tell(book, evidence.SYNC_RESUMED, facts)
    return True


async def follow_gate(book: Book) -> dict[str, Gate]:
    """Suspend or resume after a change of evidence, in the transaction that records it; the gates as they are now.

    Closed everywhere suspends, and so does no domain at all (the last one was released); unknown does not (a run pauses
    by itself); open again resumes within seven days.
    """
    found = await evidence.gates(book, now=book.at)
    if any_open(found):
        row = await rows.sync_row(book)
        if row is not None and row.reasons and not needs_confirmation(row.since, book.at):
            await resume(book)
    elif all(gate.state is GateState.CLOSED for gate in found.values()):
        await suspend(book, lapse(found))
    return found


def needs_confirmation(suspended_at: datetime, now: datetime) -> bool:
    """Whether a suspension is too old to end by itself."""
    return require_aware(now) - suspended_at > ADMIN_CONFIRMS_AFTER


async def _change(book: Book, row: SyncRow, kind: str, facts: dict[str, Any], actor: str = "") -> None:
    await rows.put_sync(book, row)
    who = actor or row.actor
    await rows.append_evidence(book, kind, _SUBJECT, actor=who, facts=facts)
    await audit.append(book, [AuditEvent(who, kind, _SUBJECT, after=facts)])


async def _tell(book: Book, kind: str, payload: dict[str, Any]) -> None:
    await outbox.append(book, [Message(kind, _SUBJECT, {**payload, "next": _NEXT[kind]})])
