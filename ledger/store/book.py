"""Handles bound to one organization. Whoever holds one cannot ask about another.

``Reader`` reads one consistent snapshot; ``Book`` also writes, inside one transaction whose instant is ``at``.
Aggregate modules beside this file take a handle as their first argument: ``identities.open_rows(book)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Executable,
    Result,
    Row,
    Select,
    Table,
    bindparam,
    delete,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.errors import Stale
from ledger.instant import new_ids, require_aware, to_micros
from ledger.store import bulk
from ledger.store.wall import wall

_KEYS_PER_QUERY = 2000


class Reader:
    """Reads one organization's rows in one snapshot."""

    def __init__(self, connection: AsyncConnection, organization: str) -> None:
        self._connection = connection
        self.organization = organization

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._connection.dialect.name

    def _wall(self) -> AbstractContextManager[None]:
        return wall(self._connection.engine.url.render_as_string(hide_password=True))

    async def _execute(self, statement: Executable, rows: Sequence[Mapping[str, Any]] | None = None) -> Result[Any]:
        with self._wall():
            return await self._connection.execute(statement, rows)

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
        return (await self._execute(statement)).all()

    async def tuples(self, statement: Select[Any], *, raw: bool = False) -> list[tuple[Any, ...]]:
        """Every row as a plain tuple in the order of the selected columns: the fast way to read very many rows.

        ``raw`` leaves instants as microseconds since 1970 and JSON as its canonical text (a fingerprint, a hash).
        """
        with self._wall():
            return await bulk.read_tuples(self._connection, statement, raw=raw)

    async def first(self, statement: Select[Any]) -> Row[Any] | None:
        """The first row, or None."""
        return (await self._execute(statement.limit(1))).first()

    async def scalar(self, statement: Select[Any]) -> Any:
        """The first column of the first row, or None."""
        return (await self._execute(statement)).scalar()

    async def by_keys(self, statement: Select[Any], column: ColumnElement[Any], keys: Sequence[Any]) -> list[Row[Any]]:
        """``statement`` restricted to ``column IN keys``, asked in batches, so that any number of keys works."""
        found: list[Row[Any]] = []
        for start in range(0, len(keys), _KEYS_PER_QUERY):
            found += await self.all(statement.where(column.in_(list(keys[start : start + _KEYS_PER_QUERY]))))
        return found

    async def tuples_by_keys(
        self, statement: Select[Any], column: ColumnElement[Any], keys: Sequence[Any], *, raw: bool = False
    ) -> list[tuple[Any, ...]]:
        """As ``by_keys``, as plain tuples."""
        found: list[tuple[Any, ...]] = []
        for start in range(0, len(keys), _KEYS_PER_QUERY):
            chosen = list(keys[start : start + _KEYS_PER_QUERY])
            found += await self.tuples(statement.where(column.in_(chosen)), raw=raw)
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
        constants = {
            "organization_id": self.organization,
            "valid_from": self.at,
            "recorded_at": self.at,
            "run_id": self.run_id,
        }
        with self._wall():
            await bulk.insert_rows(self._connection, table, columns, rows, constants, ids)
        return ids

    async def end(self, table: Table, row_ids: Sequence[str]) -> None:
        """End open intervals at ``self.at``; raises ``Stale`` when any of them is no longer open (precondition)."""
        with self._wall():
            ended = await bulk.end_rows(
                self._connection, table, self.organization, row_ids, to_micros(self.at), self.run_id
            )
        if ended != len(row_ids):
            raise Stale(
                f"{len(row_ids) - ended} of {len(row_ids)} rows of {table.name} changed since they were read",
                next_step="nothing was written; run it again",
            )

    async def insert(
        self,
        table: Table,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        *,
        same: Mapping[str, Any] | None = None,
    ) -> None:
        """Insert plain rows (``organization_id`` is added); ``same``: columns with one value for all of them."""
        constants = {"organization_id": self.organization, **(same or {})}
        with self._wall():
            await bulk.insert_rows(self._connection, table, columns, rows, constants)

    async def upsert(self, table: Table, key: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert plain rows, or replace the values of those whose key exists."""
        for names, alike in _by_columns(rows):
            statement = self._make_insert(table).values(
                organization_id=self.organization, **{name: bindparam(name) for name in names}
            )
            changed = {name: statement.excluded[name] for name in names if name not in key}
            target = ["organization_id", *key]
            if changed:
                statement = statement.on_conflict_do_update(index_elements=target, set_=changed)
            else:
                statement = statement.on_conflict_do_nothing(index_elements=target)
            await self._execute(statement, alike)

    def _make_insert(self, table: Table) -> Any:
        return sqlite_insert(table) if self.dialect == "sqlite" else postgres_insert(table)

    async def _changed(self, statement: Executable) -> int:
        with self._wall():
            return int((await self._connection.execute(statement)).rowcount)

    async def insert_new(self, table: Table, key: Sequence[str], row: Mapping[str, Any]) -> bool:
        """Insert one plain row unless its key exists; say whether it was new (one-time ids, replay caches)."""
        statement = self._make_insert(table).values(organization_id=self.organization, **row)
        done = await self._execute(
            statement.on_conflict_do_nothing(index_elements=["organization_id", *key]).returning(
                table.c.organization_id
            )
        )
        return done.first() is not None

    async def update(self, table: Table, values: Mapping[str, Any], *where: ColumnElement[bool]) -> int:
        """Change plain rows; returns how many."""
        statement = update(table).where(table.c.organization_id == self.organization, *where).values(**values)
        return await self._changed(statement)

    async def delete(self, table: Table, *where: ColumnElement[bool]) -> int:
        """Delete plain rows; returns how many. History rows are never deleted through here."""
        if "valid_from" in table.c:
            raise ValueError(f"{table.name} is history: end its rows instead")
        statement = delete(table).where(table.c.organization_id == self.organization, *where)
        return await self._changed(statement)

    async def delete_keys(self, table: Table, columns: Sequence[str], keys: Sequence[Sequence[Any]]) -> int:
        """Delete the plain rows with these keys, any number of them; returns how many. Never history rows."""
        if "valid_from" in table.c:
            raise ValueError(f"{table.name} is history: end its rows instead")
        with self._wall():
            return await bulk.delete_rows(self._connection, table, self.organization, columns, keys)


def _by_columns(rows: Sequence[Mapping[str, Any]]) -> list[tuple[tuple[str, ...], list[Mapping[str, Any]]]]:
    """Runs of rows that name the same columns, in the given order."""
    found: list[tuple[tuple[str, ...], list[Mapping[str, Any]]]] = []
    for row in rows:
        names = tuple(row)
        if not found or found[-1][0] != names:
            found.append((names, []))
        found[-1][1].append(row)
    return found
