"""A first sign-in claims the invite: the SAML subject is bound to the identity and invited seats become active (D9).

Prohibition: makes nobody; who was not invited by a plan gets nothing by signing in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from connector.reconcile.by_hand import invites
from connector.reconcile.plan.changes import A_PERSON_DECIDES
from ledger.audit import AuditEvent
from ledger.errors import Refused
from ledger.identity import Email, IdentityState
from ledger.jobs import Unleased
from ledger.store import audit, claims, runs
from ledger.store.book import Book
from ledger.store.claims import Person
from ledger.store.engine import Ledger


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody whom the organization's own identity provider vouched for. ``by_address``: ``subject`` is nothing but
    the address, so that whoever has the address has it. ``no_first``: why this sign-in binds nobody (N1), if it may
    not."""

    mail: Email
    entity_id: str
    subject: str
    by_address: bool = False
    no_first: Refused | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """Who it is, whether this was the first time, and the offerings whose seats became active."""

    identity_id: str
    first: bool
    offerings: tuple[str, ...]


async def claim(ledger: Ledger, organization: str, arrival: Arrival, *, now: datetime) -> Claimed:
    """Bind the subject and activate invited seats, in one transaction; later sign-ins find it done already.

    Raises ``Refused`` for somebody unknown, not active, or with an address that somebody else was bound to (D9); and
    while a person has to decide whether a new entry is theirs, for everybody but the subject that was bound (E6).
    """
    async with ledger.write(organization, Unleased.SIGN_IN, at=now) as book:
        bond = await claims.bond_of_subject(book, arrival.entity_id, arrival.subject)
        bound = await claims.person_by_id(book, bond.identity_id) if bond else None
        if bond is not None and (bound is None or bound.state == IdentityState.REMOVED.value):
            await claims.unbind(book, bond)  # a removed person's subject, made of the address, came to somebody new
            bond = bound = None
        person = bound or await _invited(book, arrival)
        if person.state != IdentityState.ACTIVE.value:
            raise Refused(f"{arrival.mail} is {person.state}: ask your administrator", where=organization)
        if bond is None or arrival.by_address:
            await _require_decided(book, arrival, person)
        if bond is None:
            if arrival.no_first is not None:
                raise arrival.no_first
            await _bind(book, arrival, person)
            await invites.claimed(book, person.id)
        offerings = await claims.activate_seats(book, person.id)
        if bond is None or offerings:
            after = {"entity_id": arrival.entity_id, "offerings": offerings, "first": bond is None}
            await audit.append(book, [AuditEvent(f"identity:{person.id}", "invite.claim", person.id, after=after)])
        return Claimed(person.id, bond is None, tuple(offerings))


async def _invited(book: Book, arrival: Arrival) -> Person:
    """The one person with this address who is not removed."""
    found = await claims.persons_by_mail(book, arrival.mail.key)
    present = [person for person in found if person.state != IdentityState.REMOVED.value]
    if len(present) != 1:
        raise Refused(f"{arrival.mail} was not invited: ask your administrator", where=book.organization)
    return present[0]


async def _require_decided(book: Book, arrival: Arrival, person: Person) -> None:
    """The address alone is no proof while it may be somebody else's. Raises ``Refused``."""
    for held in await runs.held_sets(book, ("open",)):
        if any(change["subject"] == person.mail_key and change["cause"] == A_PERSON_DECIDES for change in held.changes):
            raise Refused(
                f"{arrival.mail} has a new directory entry, and a person has to decide whose it is: ask your"
                " administrator",
                where=book.organization,
                next_step=f"rosterd approve {held.digest[:12]} --reason TEXT, or rosterd explain {person.mail_key}",
            )


async def _bind(book: Book, arrival: Arrival, person: Person) -> None:
    """Bind for the first time, or again after the directory changed the address the subject is made of."""
    before = await claims.bond_of_person(book, arrival.entity_id, person.id)
    if before is not None and person.mail_since <= before.since:
        raise Refused(
            f"{arrival.mail} belongs to somebody who signs in as another subject of this identity provider",
            where=book.organization,
            next_step="a recycled address is a new person: correct the directory entry, then rosterd plan",
        )
    await claims.bind(book, arrival.entity_id, arrival.subject, person.id, before)
