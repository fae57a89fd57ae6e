"""Whom a SAML subject is bound to, and what a first sign-in changes (D9). Small statements about one person.

Prohibition: decides nothing; the rules of claiming are in ``connector.reconcile.by_hand.sign_in``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ledger.seat import SeatState
from ledger.store.book import Book, Reader
from ledger.store.seats import SEAT, begin_seats, end_seats
from ledger.store.tables import people, seats

_SAML = "saml"


@dataclass(frozen=True, slots=True)
class Person:
    """The open row of an identity; ``mail_since``: when it got the address it has."""

    id: str
    state: str
    mail_key: str
    mail_since: datetime


@dataclass(frozen=True, slots=True)
class Bond:
    """An open link of a SAML subject."""

    row_id: str
    identity_id: str
    subject: str
    since: datetime


async def person_by_id(reader: Reader, identity_id: str) -> Person | None:
    """One identity by its id."""
    table = people.identity
    row = await reader.first(reader.open(table, "id", "state", "mail_key").where(table.c.id == identity_id))
    if row is None:
        return None
    history = reader.select(table, "mail_key", "valid_from").where(table.c.id == row.id)
    since: datetime | None = None
    for past in await reader.all(history.order_by(table.c.valid_from.desc())):
        if past.mail_key != row.mail_key:
            break
        since = past.valid_from
    return None if since is None else Person(str(row.id), str(row.state), str(row.mail_key), since)


async def persons_by_mail(reader: Reader, mail_key: str) -> list[Person]:
    """Everybody whose address it is now: a removed person may share it with a later one."""
    table = people.identity
    rows = await reader.all(reader.open(table, "id").where(table.c.mail_key == mail_key))
    found = [await person_by_id(reader, str(row.id)) for row in rows]
    return [person for person in found if person is not None]


async def bond_of_subject(reader: Reader, entity_id: str, subject: str) -> Bond | None:
    """The link of one subject of one identity provider."""
    table = people.identity_link
    return await _bond(reader, (table.c.source_id == entity_id) & (table.c.anchor == subject))


async def bond_of_person(reader: Reader, entity_id: str, identity_id: str) -> Bond | None:
    """The subject of one identity provider that this person is bound to."""
    table = people.identity_link
    return await _bond(reader, (table.c.source_id == entity_id) & (table.c.identity_id == identity_id))


async def _bond(reader: Reader, chosen: object) -> Bond | None:
    table = people.identity_link
    statement = reader.open(table, "row_id", "identity_id", "anchor", "valid_from").where(table.c.kind == _SAML)
    row = await reader.first(statement.where(chosen))  # type: ignore[arg-type]
    return None if row is None else Bond(row.row_id, row.identity_id, row.anchor, row.valid_from)


async def unbind(book: Book, bond: Bond) -> None:
    """End a bond."""
    await book.end(people.identity_link, [bond.row_id])


async def bind(book: Book, entity_id: str, subject: str, identity_id: str, instead_of: Bond | None) -> None:
    """Bind a subject to a person, ending the bond it replaces."""
    if instead_of is not None:
        await unbind(book, instead_of)
    columns = ("identity_id", "kind", "source_id", "anchor", "fingerprint")
    await book.begin(people.identity_link, columns, [(identity_id, _SAML, entity_id, subject, "")])


async def activate_seats(book: Book, identity_id: str) -> list[str]:
    """The person's invited seats become active, those of restricted Teams excepted (R16); returns their offerings."""
    table = seats.seat
    restricted = book.open(people.team_restriction, "team_id")
    wanted = (table.c.identity_id == identity_id) & (table.c.state == SeatState.INVITED.value)
    wanted &= table.c.team_id.not_in(restricted)
    rows = await book.all(book.open(table, "row_id", *SEAT).where(wanted).order_by(table.c.offering_code))
    await end_seats(book, [row.row_id for row in rows])
    active = SeatState.ACTIVE.value
    fresh = [
        (row.id, row.subscription_id, row.team_id, row.offering_code, identity_id, active, "", None) for row in rows
    ]
    await begin_seats(book, fresh)
    return [str(row.offering_code) for row in rows]
