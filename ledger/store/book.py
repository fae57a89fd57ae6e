"""Handles bound to one organization. Whoever holds one cannot ask about another.

``Reader`` reads one consistent snapshot; ``Book`` also writes, inside one transaction whose instant is ``at``.
Aggregate modules beside this file take a handle as their first argument: ``identities.open_rows(book)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, Table, delete, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.errors import Stale
from ledger.instant import new_ids, require_aware, to_micros
from ledger.store import bulk

_KEYS_PER_QUERY = 500


class Reader:
    """Reads one organization's rows in one snapshot."""

    def __init__(self, connection: AsyncConnection, organization: str) -> None:
        self._connection = connection
        self.organization = organization

    def select(self, table: Table, *columns: str) -> Select[Any]:
        """All rows of ``table`` that belong to this organization (all columns, or the named ones)."""
        chosen = [table.c[name] for name in columns] if columns else [table]
        return select(*chosen).where(table.c.organization_id == self.organization)

    def open(self, table: Table, *columns: str) -> Select[Any]:
        """The open intervals: what holds now."""
        return self.select(table, *columns).where(table.c.valid_to.is_(None))

    def as_of(self, table: Table, at: datetime, *columns: str) -> Select[Any]:
        """The intervals that held at ``at`` (``valid_from <= at < valid_to``)."""
        at = require_aware(at)
        return self.select(table, *columns).where(
            table.c.valid_from <= at, or_(table.c.valid_to.is_(None), table.c.valid_to > at)
        )

    async def all(self, statement: Select[Any]) -> Sequence[Row[Any]]:
        """Every row."""
        return (await self._connection.execute(statement)).all()

    async def first(self, statement: Select[Any]) -> Row[Any] | None:
        """The first row, or None."""
        return (await self._connection.execute(statement.limit(1))).first()

    async def scalar(self, statement: Select[Any]) -> Any:
        """The first column of the first row, or None."""
        return (await self._connection.execute(statement)).scalar()

    async def by_keys(self, statement: Select[Any], column: ColumnElement[Any], keys: Sequence[Any]) -> list[Row[Any]]:
        """``statement`` restricted to ``column IN keys``, asked in batches, so that any number of keys works."""
        found: list[Row[Any]] = []
        for start in range(0, len(keys), _KEYS_PER_QUERY):
            found += await self.all(statement.where(column.in_(list(keys[start : start + _KEYS_PER_QUERY]))))
        return found


class Book(Reader):
    """Writes one organization's rows. Made by ``Ledger.write``; everything commits together or not at all."""

    def __init__(self, connection: AsyncConnection, organization: str, at: datetime, run_id: str = "") -> None:
        super().__init__(connection, organization)
        self.at = require_aware(at)
        self.run_id = run_id

    async def begin(self, table: Table, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
        """Begin intervals at ``self.at``: ``rows`` are tuples in the order of ``columns``; returns their row ids."""
        if not rows:
            return []
        ids = new_ids(len(rows))
        names = [*columns, "row_id", "organization_id", "valid_from", "recorded_at", "run_id"]
        tail = (self.organization, self.at, self.at, self.run_id)
        await bulk.insert_rows(
            self._connection, table, names, [(*row, row_id, *tail) for row, row_id in zip(rows, ids, strict=True)]
        )
        return ids

    async def end(self, table: Table, row_ids: Sequence[str]) -> None:
        """End open intervals at ``self.at``; raises ``Stale`` when any of them is no longer open (precondition)."""
        ended = await bulk.end_rows(
            self._connection, table, self.organization, row_ids, to_micros(self.at), self.run_id
        )
        if ended != len(row_ids):
            raise Stale(
                f"{len(row_ids) - ended} of {len(row_ids)} rows of {table.name} changed since they were read",
                next_step="nothing was written; run it again",
            )

    async def insert(self, table: Table, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Insert plain rows (``organization_id`` is added)."""
        await bulk.insert_rows(
            self._connection, table, [*columns, "organization_id"], [(*row, self.organization) for row in rows]
        )

    async def upsert(self, table: Table, key: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert plain rows, or replace the values of those whose key exists."""
        make = sqlite_insert if self._connection.dialect.name == "sqlite" else postgres_insert
        for values in rows:
            statement = make(table).values(organization_id=self.organization, **values)
            changed = {name: statement.excluded[name] for name in values if name not in key}
            target = ["organization_id", *key]
            if changed:
                statement = statement.on_conflict_do_update(index_elements=target, set_=changed)
            else:
                statement = statement.on_conflict_do_nothing(index_elements=target)
            await self._connection.execute(statement)

    async def insert_new(self, table: Table, key: Sequence[str], row: Mapping[str, Any]) -> bool:
        """Insert one plain row unless its key exists; say whether it was new (one-time ids, replay caches)."""
        make = sqlite_insert if self._connection.dialect.name == "sqlite" else postgres_insert
        statement = make(table).values(organization_id=self.organization, **row)
        done = await self._connection.execute(
            statement.on_conflict_do_nothing(index_elements=["organization_id", *key]).returning(table.c.organization_id)
        )
        return done.first() is not None

    async def update(self, table: Table, values: Mapping[str, Any], *where: ColumnElement[bool]) -> int:
        """Change plain rows; returns how many."""
        statement = update(table).where(table.c.organization_id == self.organization, *where).values(**values)
        return (await self._connection.execute(statement)).rowcount

    async def delete(self, table: Table, *where: ColumnElement[bool]) -> int:
        """Delete plain rows; returns how many. History rows are never deleted through here."""
        if "valid_from" in table.c:
            raise ValueError(f"{table.name} is history: end its rows instead")
        statement = delete(table).where(table.c.organization_id == self.organization, *where)
        return (await self._connection.execute(statement)).rowcount

    async def delete_keys(self, table: Table, columns: Sequence[str], keys: Sequence[Sequence[Any]]) -> int:
        """Delete the plain rows with these keys, in batches."""
        total = 0
        chosen = tuple_(*(table.c[name] for name in columns))
        for start in range(0, len(keys), _KEYS_PER_QUERY):
            total += await self.delete(table, chosen.in_([tuple(key) for key in keys[start : start + _KEYS_PER_QUERY]]))
        return total
