"""The inbox: what identity providers pushed, in a file (schema) of its own so that pushes never wait for runs.

Prohibition: nothing here changes an identity, a Team or a seat; what is stored is one more source to read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger.errors import Stale
from ledger.store.book import Book, Reader
from ledger.store.engine import Store
from ledger.store.tables import inbox as tables

_TABLE = tables.inbox_resource
_KEY = ("connection_id", "kind", "id")
_COLUMNS = ("connection_id", "kind", "id", "external_id", "key", "document", "version", "created_at", "modified_at")


class Inbox(Store):
    """``inbox.db``, or the schema ``inbox``: opened by the same URL as the ledger."""

    name = "inbox"
    tables = tables.metadata
    lock_seed = 11


@dataclass(frozen=True, slots=True)
class Resource:
    """One stored SCIM resource; ``key`` is its folded name, ``version`` grows by one with each change."""

    connection_id: str
    kind: str
    id: str
    external_id: str
    key: str
    document: Any
    version: int
    created_at: datetime
    modified_at: datetime


async def put(
    book: Book, connection_id: str, kind: str, resource_id: str, *, external_id: str, key: str, document: Any
) -> Resource:
    """Create or replace a resource whole, at the book's instant; answers it as stored."""
    old = await get(book, connection_id, kind, resource_id)
    new = Resource(
        connection_id,
        kind,
        resource_id,
        external_id,
        key,
        document,
        old.version + 1 if old else 1,
        old.created_at if old else book.at,
        book.at,
    )
    await book.upsert(_TABLE, _KEY, [{name: getattr(new, name) for name in _COLUMNS}])
    return new


async def get(reader: Reader, connection_id: str, kind: str, resource_id: str) -> Resource | None:
    """One resource by id."""
    rows = await reader.tuples(_of(reader, connection_id, kind).where(_TABLE.c.id == resource_id))
    return Resource(*rows[0]) if rows else None


async def find(
    reader: Reader, connection_id: str, kind: str, *, key: str = "", external_id: str = ""
) -> list[Resource]:
    """Resources with this folded name, or this external id (case matters there, RFC 7643 §3.1), by id."""
    chosen = _TABLE.c.key == key if key else _TABLE.c.external_id == external_id
    statement = _of(reader, connection_id, kind).where(chosen).order_by(_TABLE.c.id)
    return [Resource(*row) for row in await reader.tuples(statement)]


async def page(reader: Reader, connection_id: str, kind: str, *, after: str = "", limit: int = 1000) -> list[Resource]:
    """The next resources in the order of their ids, behind ``after``."""
    statement = _of(reader, connection_id, kind).where(_TABLE.c.id > after).order_by(_TABLE.c.id).limit(limit)
    return [Resource(*row) for row in await reader.tuples(statement)]


async def remove(book: Book, resource: Resource) -> None:
    """Delete it; raises ``Stale`` when it has changed or gone since it was read."""
    same = [getattr(_TABLE.c, name) == getattr(resource, name) for name in (*_KEY, "version")]
    if await book.delete(_TABLE, *same) != 1:
        raise Stale(f"{resource.kind} {resource.id} has changed since it was read", where=resource.connection_id)


def _of(reader: Reader, connection_id: str, kind: str, columns: Sequence[str] = _COLUMNS) -> Any:
    chosen = (_TABLE.c.connection_id == connection_id, _TABLE.c.kind == kind)
    return reader.select(_TABLE, *columns).where(*chosen)
