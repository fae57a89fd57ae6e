"""The operator frees an entityID that the wrong organization holds (sso.md §1: one connection, one organization).

Anybody who has proved a domain can connect metadata with somebody else's entityID, and it is theirs while it is on and
for a while after. Prohibition: no customer's role reaches this, and no answer to a customer says who holds what.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connector.sso.gate import evidence, sync
from connector.sso.provider import versions
from connector.sso.provider.connection_steps import ENTITY, MAIN
from ledger.audit import AuditEvent, given_reason
from ledger.errors import NotFound
from ledger.jobs import Unleased
from ledger.store import audit, sso_requests
from ledger.store.engine import Ledger

RELEASED = "connection.provider_released"


@dataclass(frozen=True, slots=True)
class Released:
    """Who held it, and whether their single sign-on was on by it."""

    organization: str
    entity_id: str
    turned_off: bool

    @property
    def lines(self) -> tuple[str, ...]:
        """For the operator."""
        off = "; its single sign-on is off, and its sync suspended" if self.turned_off else ""
        return (f"{self.organization} no longer holds {self.entity_id}{off}",)

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"organization": self.organization, "entity_id": self.entity_id, "turned_off": self.turned_off}


async def release_provider(ledger: Ledger, entity_id: str, *, reason: str, actor: str, now: datetime) -> Released:
    """Free an entityID at once, whoever holds it, and turn off the single sign-on that is on by it; nobody there loses
    anything but that. Audited in the organization that held it. Raises ``NotFound`` where nobody does, ``BadInput``
    without a reason."""
    reason = given_reason(reason)
    async with ledger.unscoped_read() as connection:
        holder = await sso_requests.holder(connection, ENTITY, entity_id, now)
    if not holder:
        raise _nobody(entity_id)
    async with ledger.write(holder, Unleased.EVIDENCE, at=now) as book:
        await sso_requests.lock_claims(book)
        if not await sso_requests.give_up(book, ENTITY, entity_id):
            raise _nobody(entity_id)
        known = await evidence.known(book)
        connection_of = known.connections.get(MAIN)
        live = connection_of.live(book.at) if connection_of else None
        turned_off = live is not None and live.entity_id == entity_id
        if live is not None and turned_off:
            facts = {"version": live.number, "reason": reason}
            await versions.record(book, known, evidence.TURNED_OFF, MAIN, actor, facts, reason)
            await sync.follow_gate(book)
        after = {"entity_id": entity_id, "turned_off": turned_off}
        await audit.append(book, [AuditEvent(actor, RELEASED, MAIN, reason, after=after)])
    return Released(holder, entity_id, turned_off)


def _nobody(entity_id: str) -> NotFound:
    return NotFound(
        "no organization holds this identity provider",
        where=entity_id,
        next_step="give the entityID exactly as the refusal names it",
    )
