"""``public_url`` moved? It is part of our entityID and ACS, so every provider has to be changed with it (N17).

Which entityID of ours a provider was tested with is a fact of the test (``entity_id_of_ours``); where it is another
than today's, ``check`` refuses until somebody says ``--moved``, or a test passes under the new address. No gate closes
by it: people cannot sign in until the provider is changed, and that takes nothing from anybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connector.sso.gate import evidence
from connector.sso.saml.own_metadata import OwnSide
from ledger.audit import AuditEvent
from ledger.jobs import Unleased
from ledger.store import audit
from ledger.store import sso as rows
from ledger.store.book import Reader
from ledger.store.engine import Ledger


@dataclass(frozen=True, slots=True)
class Move:
    """One connection whose provider knows us under another address than we have now. ``domain``: one to test with."""

    organization: str
    connection: str
    provider: str
    before: str
    now: OwnSide
    domain: str = ""

    @property
    def line(self) -> str:
        """What has to be changed, and where."""
        return (
            f"{self.organization}: {self.provider} knows us as {self.before}; change it there to entityID"
            f" {self.now.entity_id} and ACS {self.now.acs}, then: {self.test}"
        )

    @property
    def test(self) -> str:
        """The command that tests it."""
        return f"rosterd sso test {self.domain or 'DOMAIN'} --organization {self.organization}"

    def to_json(self) -> dict[str, Any]:
        """For ``--json`` and the admin API."""
        return {
            "organization": self.organization,
            "connection": self.connection,
            "provider": self.provider,
            "entity_id_before": self.before,
            "entity_id": self.now.entity_id,
            "acs": self.now.acs,
        }


async def moves(reader: Reader, own: OwnSide, now: datetime) -> tuple[Move, ...]:
    """Connections whose version (the live one, else the newest) was tested under another entityID of ours, and nobody
    has said that it moved. Tests older than the fact say nothing: it is not known what they were made with."""
    return tuple(move for _, move in await _last(reader, own, now) if move.before != own.entity_id)


async def waiting(reader: Reader, own: OwnSide, now: datetime) -> tuple[Move, ...]:
    """Connections of which somebody said that our address moved, until a test passed under it."""
    found = await _last(reader, own, now)
    return tuple(move for kind, move in found if kind == evidence.OWN_ADDRESS_MOVED and move.before == own.entity_id)


async def _last(reader: Reader, own: OwnSide, now: datetime) -> list[tuple[str, Move]]:
    """Per connection the last fact that names an entityID of ours, by its kind."""
    facts = await rows.evidence(reader, (evidence.TESTED, evidence.OWN_ADDRESS_MOVED))
    known = await evidence.known(reader)
    found = []
    for connection in known.connections.values():
        shown = connection.live(now) or connection.newest
        said = [fact for fact in facts if fact.subject == connection.id and "entity_id_of_ours" in fact.facts]
        by_version = [fact for fact in said if fact.facts.get("fingerprint", "") in {"", shown and shown.fingerprint}]
        if shown is not None and said:
            last = (by_version or said)[-1]
            domain = next(iter(known.domains_of(connection.id)), "")
            move = Move(own.organization, connection.id, shown.entity_id, last.facts["entity_id_of_ours"], own, domain)
            found.append((last.kind, move))
    return found


async def confirm_moved(ledger: Ledger, own: OwnSide, *, actor: str, now: datetime) -> tuple[Move, ...]:
    """Write down that our address is another now, per connection that knew the old one; returns what must be changed
    at the providers. Doing it again changes nothing."""
    async with ledger.write(own.organization, Unleased.BY_HAND, at=now) as book:
        found = await moves(book, own, book.at)
        for move in found:
            facts = {"before": move.before, "entity_id_of_ours": own.entity_id}
            kind = evidence.OWN_ADDRESS_MOVED
            await evidence.record(book, kind, move.connection, actor=actor, facts=facts, domains=())
            await audit.append(book, [AuditEvent(actor, kind, move.connection, after=facts)])
        return found
