"""Rows of single sign-on that are taken or held once: claims, tickets, answered requests, assertions (sso.md §1, §2).

Prohibition: decides nothing. A claim is looked at under a lock over all organizations; nothing else here leaves one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.store.book import Book, Reader
from ledger.store.tables.sso import sso_claim, sso_replay, sso_spent, sso_ticket

_CLAIMS_LOCK = 11


@dataclass(frozen=True, slots=True)
class TicketRow:
    """A ticket that waits for the browser of the admin who was given it."""

    ticket_hash: str
    domain: str
    actor: str
    expires_at: datetime


async def lock_claims(book: Book) -> None:
    """Make every other organization's claim wait until this transaction ends (SQLite: it does already)."""
    if book.dialect == "postgresql":
        await book._execute(text(f"SELECT pg_advisory_xact_lock({_CLAIMS_LOCK}, {_CLAIMS_LOCK})"))


async def other_claims(
    book: Book, kind: str, names: Sequence[str], below: str = ""
) -> list[tuple[str, datetime | None]]:
    """What *other* organizations hold now: (name, until) of any of ``names`` or of anything below ``below``.

    Call ``lock_claims`` first. Which organization holds it is not told: an answer must not reveal customers.
    """
    wanted: ColumnElement[bool] = sso_claim.c.name.in_(list(names))
    if below:
        wanted = or_(wanted, sso_claim.c.name.endswith(f".{below}", autoescape=True))
    held = or_(sso_claim.c.until.is_(None), sso_claim.c.until > book.at)
    statement = select(sso_claim.c.name, sso_claim.c.until).where(
        sso_claim.c.kind == kind, sso_claim.c.organization_id != book.organization, wanted, held
    )
    return [(row.name, row.until) for row in await book.all(statement)]


async def claim(book: Book, kind: str, name: str) -> None:
    """Hold ``name``; the caller has locked the claims and looked at the others'."""
    row = {"kind": kind, "name": name, "since": book.at, "until": None}
    await book.upsert(sso_claim, ("kind", "name"), [row])


async def end_claim(book: Book, kind: str, name: str, *, until: datetime) -> None:
    """Hold ``name`` only until then."""
    await book.update(
        sso_claim,
        {"until": until},
        and_(sso_claim.c.kind == kind, sso_claim.c.name == name, sso_claim.c.until.is_(None)),
    )


async def holder(connection: AsyncConnection, kind: str, name: str, now: datetime) -> str:
    """Which organization holds ``name``, empty for none: for the operator, of all organizations."""
    held = or_(sso_claim.c.until.is_(None), sso_claim.c.until > now)
    statement = select(sso_claim.c.organization_id).where(sso_claim.c.kind == kind, sso_claim.c.name == name, held)
    found = (await connection.execute(statement)).first()
    return str(found.organization_id) if found else ""


async def give_up(book: Book, kind: str, name: str) -> bool:
    """Hold ``name`` no longer, at once; False when it was not held (any more)."""
    held = and_(
        sso_claim.c.kind == kind,
        sso_claim.c.name == name,
        or_(sso_claim.c.until.is_(None), sso_claim.c.until > book.at),
    )
    if await book.first(book.select(sso_claim).where(held)) is None:
        return False
    await book.update(sso_claim, {"until": book.at}, held)
    return True


async def put_ticket(book: Book, row: TicketRow) -> None:
    """Keep a ticket, and forget those that have run out."""
    await book.delete(sso_ticket, sso_ticket.c.expires_at <= book.at)
    columns = TicketRow.__slots__
    await book.insert(sso_ticket, columns, [tuple(getattr(row, name) for name in columns)])


async def ticket(reader: Reader, ticket_hash: str) -> TicketRow | None:
    """Look at a ticket without taking it."""
    return _ticket(await reader.first(reader.select(sso_ticket).where(sso_ticket.c.ticket_hash == ticket_hash)))


async def take_ticket(book: Book, ticket_hash: str) -> TicketRow | None:
    """Take a ticket out, once; None when there is none (any more)."""
    statement = delete(sso_ticket).where(
        sso_ticket.c.organization_id == book.organization, sso_ticket.c.ticket_hash == ticket_hash
    )
    return _ticket((await book._execute(statement.returning(*sso_ticket.c))).first())


def _ticket(row: Row[Any] | None) -> TicketRow | None:
    return None if row is None else TicketRow(**{name: row._mapping[name] for name in TicketRow.__slots__})


async def is_spent(reader: Reader, request_id: str) -> bool:
    """Whether a request was answered, as far as it is remembered."""
    return await reader.first(reader.select(sso_spent, "id").where(sso_spent.c.id == request_id)) is not None


async def spend(book: Book, request_id: str, until: datetime) -> bool:
    """Answer a request, once; False when it was answered before. ``until``, by the book's time: how long to remember
    it."""
    await book.delete(sso_spent, sso_spent.c.until <= book.at)
    return await book.insert_new(sso_spent, ("id",), {"id": request_id, "until": until, "told": False})


async def tell(book: Book, kind: str, reference: str, until: datetime, most: int) -> bool:
    """Count a refusal that the audit is to tell of until ``until``; False when ``most`` of its kind count already."""
    counted = book.select(sso_spent, "id").where(
        sso_spent.c.told.is_(True), sso_spent.c.until > book.at, sso_spent.c.id.startswith(f"{kind}:")
    )
    if len(await book.all(counted.limit(most))) >= most:
        return False
    row = {"id": f"{kind}:{reference}", "until": until, "told": True}
    await book.upsert(sso_spent, ("id",), [row])
    return True


async def remember_assertion(book: Book, entity_id: str, assertion_id: str, until: datetime) -> bool:
    """Remember an assertion until it can no longer be valid; False when it was seen before (replay)."""
    await book.delete(sso_replay, sso_replay.c.until <= book.at)
    row = {"entity_id": entity_id, "assertion_id": assertion_id, "until": until}
    return await book.insert_new(sso_replay, ("entity_id", "assertion_id"), row)
