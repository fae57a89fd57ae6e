"""Tells people that they are invited, once or again, and keeps the date on which an invite expires (R4, D14).

Prohibition: takes nothing from anybody. What an expired invite means for a seat is decided by a plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connector.reconcile.by_hand.rules import Act, Person
from connector.reconcile.policy.invites import InviteSettings, expires_at, require_unclaimed
from ledger.audit import AuditEvent
from ledger.identity import INVITE_EXPIRY
from ledger.instant import to_text
from ledger.store import audit, last_readings, outbox, runs
from ledger.store.book import Book
from ledger.store.outbox import Message

MAIL = "invite.mail"
"""Kind of the message that invites one person; ``subject`` is the identity."""


def message(identity_id: str, mail: str, name: str, mapping: str = "") -> Message:
    """The invite of one person; ``mapping`` empty: invited by hand."""
    return Message(MAIL, identity_id, {"mail": mail, "name": name, "mapping": mapping})


async def announce(book: Book, invited: Sequence[Message], settings: InviteSettings) -> None:
    """Inside the transaction that makes the identities: the expiry of each invite, and the mail unless sending is off
    (silent mode: identities and seats are made, nobody is told)."""
    expires = expires_at(settings, book.at)
    if expires is not None and invited:
        await runs.add_due(book, [(expires, INVITE_EXPIRY, item.subject) for item in invited])
    if settings.send:
        await outbox.append(book, invited)


async def claimed(book: Book, identity_id: str) -> None:
    """The invite was accepted (or its person is gone): it expires no more."""
    await runs.clear_due(book, INVITE_EXPIRY, [identity_id])


@dataclass(frozen=True, slots=True)
class Resent:
    """An invite that was sent again. ``expires_at``: None when invites never expire."""

    identity_id: str
    mail: str
    expires_at: datetime | None

    @property
    def lines(self) -> tuple[str, ...]:
        """Plain text."""
        end = f"; it stands until {to_text(self.expires_at)}" if self.expires_at else ""
        return (f"{self.mail} is invited again{end}",)

    def to_json(self) -> dict[str, Any]:
        """One JSON document."""
        return {
            "id": self.identity_id,
            "mail": self.mail,
            "expires_at": to_text(self.expires_at) if self.expires_at else None,
        }


async def resend(book: Book, person: Person, settings: InviteSettings, act: Act) -> Resent:
    """Mail one invite again and let it stand anew. Also while ``send = false``: somebody asked for this one.

    Raises ``Refused`` for who has signed in or is not active.
    """
    row = person.identity
    require_unclaimed(person.mail, row.state, person.signed_in)
    expires = expires_at(settings, book.at)
    await claimed(book, row.id)
    if expires is not None:
        await runs.add_due(book, [(expires, INVITE_EXPIRY, row.id)])
    await outbox.append(book, [message(row.id, person.mail, row.display_name)])
    after = {"expires_at": to_text(expires) if expires else None}
    await audit.append(book, [AuditEvent(act.actor, "invite.resent", row.id, act.reason, after=after)])
    await last_readings.forget_base(book)
    return Resent(row.id, person.mail, expires)
