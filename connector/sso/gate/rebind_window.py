"""The one approved window in which everybody may be bound anew, once each: after a change of what the identity provider
sends of its people, or of the identity provider itself (N4).

A window is evidence, opened and closed by somebody with the right, after a test that showed what is sent now; there is
no other place that says whether one is open. Prohibition: binds nobody; whom it lets be bound anew is decided, sign-in
by sign-in, by ``connector.reconcile.by_hand.sign_in``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from access.principal import Principal, Scope
from connector.sso.gate import evidence
from connector.sso.gate.connections import TEST_LIFE, ConnectionEvidence, Version
from ledger.audit import AuditEvent, given_reason
from ledger.errors import BadInput, Refused
from ledger.instant import to_text
from ledger.jobs import Unleased
from ledger.store import audit
from ledger.store import sso as rows
from ledger.store.book import Book, Reader
from ledger.store.engine import Ledger

OPENED = "rebind_window.opened"
CLOSED = "rebind_window.closed"
MOST_DAYS = 30
_WHY = "this lets people be bound anew: it needs a reason"


@dataclass(frozen=True, slots=True)
class RebindWindow:
    """A window and for which version of the connection it was opened; ``until``: when it ends, or ended."""

    connection_id: str
    fingerprint: str
    opened_at: datetime
    until: datetime
    actor: str
    reason: str

    @property
    def lines(self) -> tuple[str, ...]:
        """Plain text."""
        return (
            f"until {to_text(self.until)} everybody is bound anew once, whose address has not changed since",
            "  → rosterd sso status says how many are still bound as before",
        )

    def to_json(self) -> dict[str, Any]:
        """For ``--json`` and the admin API."""
        return {
            "connection": self.connection_id,
            "opened_at": to_text(self.opened_at),
            "until": to_text(self.until),
            "actor": self.actor,
            "reason": self.reason,
        }


async def open_now(reader: Reader, now: datetime) -> RebindWindow | None:
    """The window that is open, if any. It ends with the version it was opened for."""
    found = next(iter(reversed(await _windows(reader))), None)
    if found is None or not found.opened_at <= now < found.until:
        return None
    connection = (await evidence.known(reader)).connections.get(found.connection_id)
    live = connection.live(now) if connection else None
    return found if live is not None and live.fingerprint == found.fingerprint else None


async def open_window(
    ledger: Ledger, organization: str, *, days: int, reason: str, who: Principal, now: datetime
) -> RebindWindow:
    """Open the window for the live version. Needs ``sso:write`` for the whole organization, and a reason.

    Raises ``BadInput`` (days, reason), ``Forbidden``, ``Refused``: nothing is on, one is open, or what the provider
    sends now was not tested since the last window and within seven days.
    """
    who.require(Scope.SSO_WRITE)
    who.require_every_team()
    reason = given_reason(reason, _WHY)
    if not 1 <= days <= MOST_DAYS:
        raise BadInput(f"a window is open for 1 to {MOST_DAYS} days", where="days", next_step="--days 14")
    async with ledger.write(organization, Unleased.EVIDENCE, at=now) as book:
        known = await evidence.known(book)
        connection, live = _live(known.connections, book.at, organization)
        before = [window for window in await _windows(book) if window.fingerprint == live.fingerprint]
        if await open_now(book, book.at) is not None:
            raise Refused("a window is open already", where=organization, next_step="rosterd sso status")
        after = before[-1].until if before else None
        _require_tested(connection, live, after, book.at, known.domains_of(connection.id))
        until = book.at + timedelta(days=days)
        window = RebindWindow(connection.id, live.fingerprint, book.at, until, who.actor, reason)
        await _record(book, OPENED, window, who.actor, reason)
    return window


async def close_window(ledger: Ledger, organization: str, *, reason: str, who: Principal, now: datetime) -> bool:
    """Close the window before its time; who was bound anew stays so. False when none was open."""
    who.require(Scope.SSO_WRITE)
    who.require_every_team()
    reason = given_reason(reason, _WHY)
    async with ledger.write(organization, Unleased.EVIDENCE, at=now) as book:
        window = await open_now(book, book.at)
        if window is None:
            return False
        await _record(book, CLOSED, window, who.actor, reason)
    return True


async def _windows(reader: Reader) -> list[RebindWindow]:
    """Every window there was, in order; each ends where it was closed, or where the next began."""
    found: list[RebindWindow] = []
    for fact in await rows.evidence(reader, (OPENED, CLOSED)):
        if found and fact.at < found[-1].until:
            found[-1] = replace(found[-1], until=fact.at)
        if fact.kind == OPENED:
            until = datetime.fromisoformat(fact.facts["until"])
            facts = fact.facts
            found.append(RebindWindow(fact.subject, facts["fingerprint"], fact.at, until, fact.actor, facts["reason"]))
    return found


async def _record(book: Book, kind: str, window: RebindWindow, actor: str, reason: str) -> None:
    facts = {"fingerprint": window.fingerprint, "until": to_text(window.until), "reason": reason}
    await rows.append_evidence(book, kind, window.connection_id, actor=actor, facts=facts)
    await audit.append(book, [AuditEvent(actor, kind, window.connection_id, reason, after=facts)])


def _live(
    connections: Mapping[str, ConnectionEvidence], now: datetime, organization: str
) -> tuple[ConnectionEvidence, Version]:
    for connection in connections.values():
        version = connection.live(now)
        if version is not None:
            return connection, version
    raise Refused("single sign-on is not on", where=organization, next_step="rosterd sso status")


def _require_tested(
    connection: ConnectionEvidence, live: Version, after: datetime | None, now: datetime, domains: Sequence[str]
) -> None:
    """Somebody has just seen what the provider sends now, and no window was open since."""
    tests = [test.at for test in connection.tests if test.fingerprint == live.fingerprint and test.at <= now]
    last = max(tests, default=None)
    if last is None or now - last > TEST_LIFE or (after is not None and last <= after):
        raise Refused(
            "what the identity provider sends now was not tested within seven days, or a window rested on that test",
            where=live.entity_id,
            next_step=f"rosterd sso test {next(iter(domains), 'DOMAIN')}",
        )
