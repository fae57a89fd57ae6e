"""Rows of single sign-on that are taken or held once: claims, sign-in requests, replayed assertions (sso.md §1, §2).

Prohibition: decides nothing. A claim is looked at under a lock over all organizations; nothing else here leaves one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, or_, select, text

from ledger.store.book import Book, Reader
from ledger.store.tables.sso import sso_claim, sso_replay, sso_request

_CLAIMS_LOCK = 11


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One sign-in request that waits for its response, or a ticket (``purpose``) that waits for its browser."""

    id: str
    purpose: str
    connection_id: str
    version: int
    domain: str
    cookie_hash: str
    relay_state: str
    actor: str
    created_at: datetime
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


async def put_request(book: Book, row: RequestRow) -> None:
    """Keep a request; what has expired goes."""
    await book.delete(sso_request, sso_request.c.expires_at <= book.at)
    columns = RequestRow.__slots__
    await book.insert(sso_request, columns, [tuple(getattr(row, name) for name in columns)])


async def request(reader: Reader, request_id: str) -> RequestRow | None:
    """Look at a request without taking it."""
    row = await reader.first(reader.select(sso_request).where(sso_request.c.id == request_id))
    return None if row is None else RequestRow(**{name: row._mapping[name] for name in RequestRow.__slots__})


async def take_request(book: Book, request_id: str, cookie_hash: str) -> RequestRow | None:
    """Take a request out, once, for the browser that began it; None when there is none (any more)."""
    statement = (
        delete(sso_request)
        .where(
            sso_request.c.organization_id == book.organization,
            sso_request.c.id == request_id,
            sso_request.c.cookie_hash == cookie_hash,
        )
        .returning(*sso_request.c)
    )
    row = (await book._execute(statement)).first()
    return None if row is None else RequestRow(**{name: row._mapping[name] for name in RequestRow.__slots__})


async def remember_assertion(book: Book, entity_id: str, assertion_id: str, until: datetime) -> bool:
    """Remember an assertion until it can no longer be valid; False when it was seen before (replay)."""
    await book.delete(sso_replay, sso_replay.c.until <= book.at)
    row = {"entity_id": entity_id, "assertion_id": assertion_id, "until": until}
    return await book.insert_new(sso_replay, ("entity_id", "assertion_id"), row)
