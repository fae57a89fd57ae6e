"""Whom a SAML subject is bound to, and what a first sign-in changes (D9). Small statements about one person.

Prohibition: decides nothing; the rules of claiming are in ``connector.reconcile.by_hand.sign_in`` and ``bonds``.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, select

from ledger.identity import Email
from ledger.seat import SeatState
from ledger.store.book import Book, Reader
from ledger.store.seats import SEAT, begin_seats, end_seats
from ledger.store.tables import people, seats

_SAML = "saml"
_LINK = ("identity_id", "kind", "source_id", "anchor", "fingerprint", "subject_kind", "bonded_at")
_BOND = ("row_id", "identity_id", "source_id", "anchor", "subject_kind", "bonded_at", "valid_from")


@dataclass(frozen=True, slots=True)
class Person:
    """The open row of an identity; ``mail_since``: when it got the address it has, whatever its
    letter case (another mailbox that folds to the same key is another address); ``mails``: every address it ever
    had, as written and as compared."""

    id: str
    state: str
    mail: str
    mail_key: str
    mail_since: datetime
    mails: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Bond:
    """A link of a SAML subject. ``kind``: what the subject is made of; empty: a raw NameID, from before that was kept
    (N3). ``since``: when the subject was bound; another key for the same subject (N3) leaves it, so that what is
    asked of a bond's age is asked of the act, not of the row."""

    row_id: str
    identity_id: str
    entity_id: str
    subject: str
    kind: str
    since: datetime


_bound_at = func.coalesce(people.identity_link.c.bonded_at, people.identity_link.c.valid_from)


async def person_by_id(reader: Reader, identity_id: str) -> Person | None:
    """One identity by its id."""
    table = people.identity
    row = await reader.first(reader.open(table, "id", "state", "mail", "mail_key").where(table.c.id == identity_id))
    if row is None:
        return None
    history = reader.select(table, "mail", "mail_key", "valid_from").where(table.c.id == row.id)
    rows = await reader.all(history.order_by(table.c.valid_from.desc()))
    mailbox = Email(row.mail, row.mail_key).mailbox
    same = itertools.takewhile(lambda past: Email(past.mail, past.mail_key).mailbox == mailbox, rows)
    mails = frozenset(text for past in rows for text in (past.mail, past.mail_key))
    return Person(row.id, row.state, row.mail, row.mail_key, min(past.valid_from for past in same), mails)


async def persons_by_mail(reader: Reader, mail_key: str) -> list[Person]:
    """Everybody whose address it is now: a removed person may share it with a later one."""
    table = people.identity
    rows = await reader.all(reader.open(table, "id").where(table.c.mail_key == mail_key))
    found = [await person_by_id(reader, str(row.id)) for row in rows]
    return [person for person in found if person is not None]


def _made(row: Row[Any]) -> Bond:
    since = row.bonded_at or row.valid_from
    return Bond(row.row_id, row.identity_id, row.source_id, row.anchor, row.subject_kind, since)


async def bond_of_subject(reader: Reader, entity_id: str, subject: str) -> Bond | None:
    """The link of one subject of one identity provider."""
    table = people.identity_link
    chosen = (table.c.kind == _SAML) & (table.c.source_id == entity_id) & (table.c.anchor == subject)
    row = await reader.first(reader.open(table, *_BOND).where(chosen))
    return None if row is None else _made(row)


async def bonds_of_person(reader: Reader, identity_id: str) -> list[Bond]:
    """The subjects that this person is bound to, of whatever identity provider, oldest first."""
    table = people.identity_link
    chosen = (table.c.kind == _SAML) & (table.c.identity_id == identity_id)
    rows = await reader.all(
        reader.open(table, *_BOND).where(chosen).order_by(_bound_at, table.c.valid_from, table.c.row_id)
    )
    return [_made(row) for row in rows]


async def last_bond(reader: Reader, identity_id: str) -> Bond | None:
    """The bond that this person had last, whether it stands or not."""
    table = people.identity_link
    chosen = (table.c.kind == _SAML) & (table.c.identity_id == identity_id)
    newest = (
        reader.select(table, *_BOND)
        .where(chosen)
        .order_by(_bound_at.desc(), table.c.valid_from.desc(), table.c.row_id.desc())
    )
    row = await reader.first(newest)
    return None if row is None else _made(row)


async def count_bound_before(reader: Reader, at: datetime) -> int:
    """How many people were last bound before an instant, of those who are bound."""
    table = people.identity_link
    bound = reader.open(table, "identity_id").where(table.c.kind == _SAML)
    since = bound.where(_bound_at >= at)
    older = bound.where(_bound_at < at, table.c.identity_id.not_in(since)).distinct().subquery()
    return int(await reader.scalar(select(func.count()).select_from(older)) or 0)


async def unbind(book: Book, bond: Bond) -> None:
    """End a bond."""
    await book.end(people.identity_link, [bond.row_id])


async def bind(book: Book, entity_id: str, subject: str, kind: str, identity_id: str) -> None:
    """Bind a subject to a person."""
    await book.begin(people.identity_link, _LINK, [(identity_id, _SAML, entity_id, subject, "", kind, None)])


async def rekey(book: Book, bond: Bond, subject: str, kind: str) -> None:
    """Keep a bond under another key; it is as old as it was."""
    await unbind(book, bond)
    row = (bond.identity_id, _SAML, bond.entity_id, subject, "", kind, bond.since)
    await book.begin(people.identity_link, _LINK, [row])


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
