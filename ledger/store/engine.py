"""Opens the book: SQLite files or PostgreSQL schemas, one API.

``sqlite:///FOLDER`` keeps ``ledger.db``, ``inbox.db`` and ``catalog.db`` in FOLDER, so that one long transaction stalls
nothing else; ``postgresql://…`` keeps the same three as schemas. Writers are explicit: on SQLite ``BEGIN IMMEDIATE``
(SQLAlchemy drops ``FOR UPDATE`` there silently, and a plain BEGIN lets another writer in between), on PostgreSQL an
advisory transaction lock per organization. Readers get one snapshot and cannot write.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from ledger.errors import BadInput, Busy, Unavailable
from ledger.store.book import Book, Reader
from ledger.store.tables import metadata

_BUSY_SECONDS = 30


class Ledger:
    """One open book. ``Ledger.open(url)`` then ``async with ledger.write(org, at=now) as book``; ``close`` at the end."""

    def __init__(self, url: str, writer: AsyncEngine, reader: AsyncEngine) -> None:
        self.url = url
        self._writer = writer
        self._reader = reader

    @classmethod
    def open(cls, url: str) -> Ledger:
        """Open (not connect yet). Raises ``BadInput`` for an unknown scheme."""
        if url.startswith("sqlite:///"):
            folder = Path(url.removeprefix("sqlite:///"))
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / "ledger.db"
            return cls(url, _sqlite(path, write=True), _sqlite(path, write=False))
        if url.startswith("postgresql://"):
            engine = _postgres(url, "ledger")
            return cls(url, engine, engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True))
        raise BadInput(
            "the database is neither SQLite nor PostgreSQL",
            where="database.url",
            next_step="use sqlite:///FOLDER or postgresql://USER@HOST/NAME",
        )

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._writer.dialect.name

    async def migrate(self) -> None:
        """Bring the schema to the newest revision."""
        async with self._guarded(self._writer.begin()) as connection:
            if self.dialect == "postgresql":
                await connection.execute(text("CREATE SCHEMA IF NOT EXISTS ledger"))
            await connection.run_sync(metadata.create_all)

    @asynccontextmanager
    async def write(self, organization: str, *, at: datetime, run_id: str = "") -> AsyncIterator[Book]:
        """One write transaction of one organization; writers of the same organization wait for each other."""
        async with self.unscoped_write() as connection:
            if self.dialect == "postgresql":
                await connection.execute(
                    text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 7))"), {"name": organization}
                )
            yield Book(connection, organization, at, run_id)

    @asynccontextmanager
    async def read(self, organization: str) -> AsyncIterator[Reader]:
        """One read-only snapshot of one organization."""
        async with self.unscoped_read() as connection:
            yield Reader(connection, organization)

    @asynccontextmanager
    async def unscoped_write(self) -> AsyncIterator[AsyncConnection]:
        """A write transaction over all organizations: only for leases, jobs, token look-up and cross-organization claims."""
        async with self._guarded(self._writer.begin()) as connection:
            yield connection

    @asynccontextmanager
    async def unscoped_read(self) -> AsyncIterator[AsyncConnection]:
        """A snapshot over all organizations: same restriction as ``unscoped_write``."""
        async with self._guarded(self._reader.begin()) as connection:
            yield connection

    @asynccontextmanager
    async def _guarded(self, opening: Any) -> AsyncIterator[AsyncConnection]:
        """The wall: driver errors leave as ours."""
        try:
            async with opening as connection:
                yield connection
        except OperationalError as error:
            if "locked" in str(error.orig) or "deadlock" in str(error.orig):
                raise Busy("another writer holds the book", where=self._shown()) from error
            raise Unavailable(
                f"the database does not answer: {error.orig}", where=self._shown(), next_step="rosterd check --live"
            ) from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise Unavailable("the database connection broke", where=self._shown()) from error
            raise

    def _shown(self) -> str:
        return self._writer.url.render_as_string(hide_password=True)

    async def close(self) -> None:
        """Close every connection."""
        await self._writer.dispose()
        if self.dialect == "sqlite":
            await self._reader.dispose()


def _sqlite(path: Path, *, write: bool) -> AsyncEngine:
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{path}",
        connect_args={"timeout": _BUSY_SECONDS, "isolation_level": None},
        pool_size=1 if write else 8,
        max_overflow=0 if write else 8,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA cache_size=-65536")
        cursor.execute("PRAGMA temp_store=MEMORY")
        if not write:
            cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _postgres(url: str, schema: str) -> AsyncEngine:
    return create_async_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1),
        connect_args={"options": f"-csearch_path={schema}"},
        pool_pre_ping=True,
    )
