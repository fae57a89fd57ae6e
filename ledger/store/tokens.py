"""Rows of API tokens and of the access log.

Prohibition: never sees a token, only its keyed digest; decides nothing about validity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.instant import new_ids
from ledger.store import bulk
from ledger.store.book import Book, Reader
from ledger.store.tables.access import access_log, api_token


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One stored token. ``team_ids`` empty = every Team; ``networks`` empty = from anywhere; ``directory``: whose
    inbox it pushes to."""

    id: str
    organization: str
    name: str
    digest: str
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    team_ids: tuple[str, ...]
    networks: tuple[str, ...]
    purpose: str
    created_at: datetime
    created_by: str
    expires_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_by: str = ""
    directory: str = ""

    def to_json(self) -> dict[str, Any]:
        """Everything but the digest."""
        shown = {name: getattr(self, name) for name in self.__slots__ if name != "digest"}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in shown.items()}


@dataclass(frozen=True, slots=True)
class Access:
    """One read, with its purpose (R12): who, what, which columns of which Teams, from which publication."""

    organization: str
    at: datetime
    token_id: str
    purpose: str
    privacy: str
    resource: str
    columns: tuple[str, ...] = ()
    team_ids: tuple[str, ...] = ()
    query: str = ""
    snapshot: str = ""
    rows: int = 0
    status: int = 200
    remote: str = ""


_LOGGED = ("at", "token_id", "purpose", "privacy", "resource", "columns", "team_ids", "query", "snapshot", "rows")
_LOGGED_TAIL = ("status", "remote")


async def insert(book: Book, row: TokenRow) -> bool:
    """Store a new token; False when its id is taken in the organization."""
    values = {
        "id": row.id,
        "name": row.name,
        "digest": row.digest,
        "roles": list(row.roles),
        "scopes": list(row.scopes),
        "team_ids": list(row.team_ids),
        "networks": list(row.networks),
        "purpose": row.purpose,
        "created_at": row.created_at,
        "created_by": row.created_by,
        "expires_at": row.expires_at,
        "revoked_by": "",
        "directory": row.directory,
    }
    return await book.insert_new(api_token, ("id",), values)


async def rows(reader: Reader) -> tuple[TokenRow, ...]:
    """Every token of the organization, oldest first; expired and revoked ones too."""
    statement = reader.select(api_token).order_by(api_token.c.created_at, api_token.c.id)
    return tuple(_row(row) for row in await reader.all(statement))


async def find(connection: AsyncConnection, token_id: str) -> TokenRow | None:
    """The token with this public id, of any organization: the one look-up that cannot know its organization yet."""
    row = (await connection.execute(select(api_token).where(api_token.c.id == token_id))).first()
    return None if row is None else _row(row)


async def revoke(book: Book, token_id: str, *, actor: str) -> bool:
    """Revoke at ``book.at``; False when there is no such live token in the organization."""
    values = {"revoked_at": book.at, "revoked_by": actor}
    return bool(await book.update(api_token, values, api_token.c.id == token_id, api_token.c.revoked_at.is_(None)))


async def touch(connection: AsyncConnection, used: Mapping[str, datetime]) -> None:
    """Record the last use of tokens (id → when); never moves backwards."""
    for token_id, at in used.items():
        older = or_(api_token.c.last_used_at.is_(None), api_token.c.last_used_at < at)
        await connection.execute(update(api_token).where(api_token.c.id == token_id, older).values(last_used_at=at))


async def log(connection: AsyncConnection, accesses: Sequence[Access]) -> None:
    """Append to the access log, any organizations, in one statement."""
    names = ("id", "organization_id", *_LOGGED, *_LOGGED_TAIL)
    ids = new_ids(len(accesses))
    values = [
        (row_id, access.organization, *_values(access), access.status, access.remote)
        for row_id, access in zip(ids, accesses, strict=True)
    ]
    await bulk.insert_rows(connection, access_log, names, values)


async def accesses(reader: Reader, *, since: datetime | None = None, limit: int = 1000) -> tuple[Access, ...]:
    """The organization's access log, newest first."""
    statement = reader.select(access_log).order_by(access_log.c.at.desc(), access_log.c.id.desc()).limit(limit)
    if since is not None:
        statement = statement.where(access_log.c.at >= since)
    return tuple(_access(row) for row in await reader.all(statement))


def _values(access: Access) -> list[Any]:
    found = (getattr(access, name) for name in _LOGGED)
    return [list(value) if isinstance(value, tuple) else value for value in found]


def _access(row: Row[Any]) -> Access:
    found = row._mapping
    values = {name: found[name] for name in (*_LOGGED, *_LOGGED_TAIL)}
    values["columns"] = tuple(values["columns"])
    values["team_ids"] = tuple(values["team_ids"])
    return Access(organization=found["organization_id"], **values)


def _row(row: Row[Any]) -> TokenRow:
    found = row._mapping
    lists: dict[str, Any] = {name: tuple(found[name]) for name in ("roles", "scopes", "team_ids", "networks")}
    plain = {name: found[name] for name in TokenRow.__slots__ if name not in lists and name != "organization"}
    return TokenRow(organization=found["organization_id"], **plain, **lists)
