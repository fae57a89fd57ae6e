"""Subjects that wait to be bound in another's place (N4): one row per person and subject, for as long as it may wait.

Prohibition: decides nothing; who may approve, and what then happens, is in ``connector.reconcile.by_hand.bonds``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from ledger.store.book import Book, Reader
from ledger.store.tables.sso import sso_relink


@dataclass(frozen=True, slots=True)
class RelinkRow:
    """A held relink. ``was_…``: the bond that stands, or that stood last; ``mail_since``: since when the person has the
    address; ``refused_at``: it was refused, and stays so until it runs out or the bond that
    it asked for is ended by an administrator; ``refused_by`` then stays, and no sign-in binds it by itself."""

    id: str
    identity_id: str
    entity_id: str
    subject: str
    kind: str
    was_subject: str
    was_kind: str
    bonded_at: datetime
    mail_since: datetime
    signer: str
    held_at: datetime
    expires_at: datetime
    refused_at: datetime | None = None
    refused_by: str = ""


def _row(found: Any) -> RelinkRow:
    return RelinkRow(**{name: found._mapping[name] for name in RelinkRow.__slots__})


async def standing(reader: Reader, at: datetime) -> list[RelinkRow]:
    """Those that have not run out, refused ones too, oldest first."""
    statement = reader.select(sso_relink).where(sso_relink.c.expires_at > at)
    return [_row(row) for row in await reader.all(statement.order_by(sso_relink.c.held_at, sso_relink.c.id))]


async def find(reader: Reader, relink_id: str, at: datetime) -> RelinkRow | None:
    """One that has not run out."""
    statement = reader.select(sso_relink).where(sso_relink.c.id == relink_id, sso_relink.c.expires_at > at)
    row = await reader.first(statement)
    return None if row is None else _row(row)


async def count_waiting(reader: Reader, at: datetime, identity_id: str = "") -> int:
    """How many wait for somebody's decision: of one person, or of everybody."""
    statement = reader.select(sso_relink, "id").where(sso_relink.c.expires_at > at, sso_relink.c.refused_at.is_(None))
    if identity_id:
        statement = statement.where(sso_relink.c.identity_id == identity_id)
    return int(await reader.scalar(select(func.count()).select_from(statement.subquery())) or 0)


async def put(book: Book, row: RelinkRow) -> None:
    """Hold one, or replace it; what has run out goes."""
    await book.delete(sso_relink, sso_relink.c.expires_at <= book.at)
    await book.upsert(sso_relink, ("id",), [{name: getattr(row, name) for name in RelinkRow.__slots__}])


async def end_waiting(book: Book, identity_id: str) -> None:
    """Forget what waits about a person: it rested on a bond that stands no more. What was ever refused stays."""
    await book.delete(sso_relink, sso_relink.c.identity_id == identity_id, sso_relink.c.refused_by == "")


async def ask_again(book: Book, identity_id: str) -> None:
    """What was refused about a person waits again: an administrator has decided anew about their bond."""
    await book.update(sso_relink, {"refused_at": None}, sso_relink.c.identity_id == identity_id)


async def drop(book: Book, relink_id: str) -> None:
    """Forget one, refused or not."""
    await book.delete(sso_relink, sso_relink.c.id == relink_id)


async def refuse(book: Book, relink_id: str, actor: str) -> None:
    """Mark one as refused; it stays so until it runs out."""
    await book.update(sso_relink, {"refused_at": book.at, "refused_by": actor}, sso_relink.c.id == relink_id)
