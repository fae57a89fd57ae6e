"""Restricts a Team and lifts it again (R16): an admin's explicit act that takes effect at once, never automatic.

While a Team is restricted no seat of it is assigned and no invite to one is claimed; whoever enforces access is told
through the outbox and sees the state on every seat. Prohibition: ends no seat, no grant and no membership, so that
lifting restores everything, and what must be paid for (R13) is not made smaller by it.
"""

from __future__ import annotations

from connector.reconcile.by_hand.people import Edited, team_named
from connector.reconcile.by_hand.rules import Act
from ledger.audit import AuditEvent
from ledger.counted import counted
from ledger.jobs import Unleased
from ledger.store import audit, last_readings, outbox, roster
from ledger.store.book import Book
from ledger.store.engine import Ledger
from ledger.store.outbox import Message

RESTRICTED = "team.restricted"
LIFTED = "team.lifted"
"""Kinds of the messages (and verbs of the audit events) about a Team; their subject is the Team's id."""


async def restrict(ledger: Ledger, organization: str, team: str, act: Act) -> Edited:
    """From this transaction on the Team is restricted (R16). Needs a reason; idempotent. Raises ``NotFound``."""
    act.require_reason()
    async with ledger.write(organization, Unleased.BY_HAND, at=act.now) as book:
        team_id, name = await team_named(book, team, act)
        held = (await roster.restrictions(book)).get(team_id)
        if held is not None:
            return Edited(team_id, False, f"Team {name} is restricted already: {held.reason}")
        await roster.begin_restriction(book, team_id, act.actor, act.reason)
        counts = await roster.seat_counts(book)
        seats = sum(count for key, count in counts.items() if key[0] == team_id)
        await _tell(
            book, act, RESTRICTED, team_id, {"team": name, "team_id": team_id, "reason": act.reason, "seats": seats}
        )
    note = "no seat is lost: rosterd lift gives all of it back"
    return Edited(team_id, True, f"Team {name} is restricted: access through {counted(seats, 'seat')} stops", (note,))


async def lift(ledger: Ledger, organization: str, team: str, act: Act) -> Edited:
    """The restriction ends at once. Needs a reason; idempotent. Raises ``NotFound``."""
    act.require_reason()
    async with ledger.write(organization, Unleased.BY_HAND, at=act.now) as book:
        team_id, name = await team_named(book, team, act)
        held = (await roster.restrictions(book)).get(team_id)
        if held is None:
            return Edited(team_id, False, f"Team {name} is not restricted")
        await roster.end_restriction(book, held.row_id)
        await _tell(book, act, LIFTED, team_id, {"team": name, "team_id": team_id, "reason": act.reason})
    return Edited(team_id, True, f"Team {name} is no longer restricted")


async def _tell(book: Book, act: Act, verb: str, team_id: str, after: dict[str, object]) -> None:
    """Audit, outbox, and the next run looks at everybody."""
    await audit.append(book, [AuditEvent(act.actor, verb, team_id, act.reason, after=after)])
    await outbox.append(book, [Message(verb, team_id, after)])
    await last_readings.forget_base(book)
