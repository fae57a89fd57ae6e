"""Opens the book: SQLite files or PostgreSQL schemas, one API.

``sqlite:///FOLDER`` keeps ``ledger.db``, ``inbox.db`` and ``catalog.db`` in FOLDER, so that one long transaction stalls
nothing else; ``postgresql://…`` keeps the same three as schemas. Writers are explicit: on SQLite ``BEGIN IMMEDIATE``
(SQLAlchemy drops ``FOR UPDATE`` there silently, and a plain BEGIN lets another writer in between), on PostgreSQL an
advisory transaction lock per organization. Readers get one snapshot and cannot write.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Self

from sqlalchemy import URL, MetaData, Table, event, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from ledger.book_time import HostClock, HostTime, LastWrite, accepted, following, instant
from ledger.errors import BadInput, Unavailable
from ledger.instant import from_micros
from ledger.jobs import Fence
from ledger.modes import private_file
from ledger.store import book_times, fencing, migrations
from ledger.store.book import Book, Reader
from ledger.store.doors import OPEN, Doors
from ledger.store.tables import metadata, people
from ledger.store.wall import wall

_BUSY_SECONDS = 30.0
_TABLES = text("SELECT 1 FROM information_schema.tables WHERE table_schema = :schema LIMIT 1")
_CLOCK = text("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000000)")


class Store:
    """One open file (SQLite) or schema (PostgreSQL); ``Ledger`` and ``Inbox`` say which."""

    name: ClassVar[str]
    """File stem and schema name."""
    tables: ClassVar[MetaData]
    times: ClassVar[Table]
    lock_seed: ClassVar[int]
    """Keeps the organization locks of two stores apart: a long ledger transaction must not stall the inbox."""

    def __init__(
        self,
        url: str,
        writer: AsyncEngine,
        reader: AsyncEngine,
        clock: HostClock | None,
        doors: Doors,
        beside: AsyncEngine | None = None,
    ) -> None:
        """``beside``: for what must not wait behind the writers of one organization (signs of life, leases, jobs)."""
        self.url = url
        self._writer = writer
        self._beside = beside or writer
        self._reader = reader
        self._clock = clock
        self._doors = doors

    @classmethod
    def open(
        cls, url: str, *, busy_seconds: float = _BUSY_SECONDS, clock: HostClock | None = None, doors: Doors = OPEN
    ) -> Self:
        """Open (not connect yet); a writer waits ``busy_seconds`` for another. ``BadInput`` for an unknown scheme.

        ``clock`` is read inside each transaction; without one the instants that callers give are believed.
        """
        if url.startswith("sqlite:///"):
            path = cls.file(url)
            return cls(
                url, _sqlite(path, busy_seconds, write=True), _sqlite(path, busy_seconds, write=False), clock, doors
            )
        if url.startswith("postgresql://"):
            reading = _postgres(url, cls.name, busy_seconds).execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            writing, beside = (_postgres(url, cls.name, busy_seconds) for _ in range(2))
            return cls(url, writing, reading, clock, doors, beside)
        raise BadInput(
            "the database is neither SQLite nor PostgreSQL",
            where="database.url",
            next_step="use sqlite:///FOLDER or postgresql://USER@HOST/NAME",
        )

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._writer.dialect.name

    @classmethod
    def file(cls, url: str) -> Path:
        """The file of a SQLite URL."""
        return Path(url.removeprefix("sqlite:///")) / f"{cls.name}.db"

    async def exists(self) -> bool:
        """Whether it was ever made; makes nothing. A file without a byte was not."""
        if self.dialect == "sqlite":
            file = self.file(self.url)
            return file.is_file() and file.stat().st_size > 0
        async with self.unscoped_read() as connection:
            return (await connection.execute(_TABLES, {"schema": self.name})).first() is not None

    async def migrate(self) -> None:
        """Bring the schema to the newest revision, making what is not there; several may do so at once."""
        if self.dialect == "sqlite":
            file = self.file(self.url)
            try:
                private_file(file)  # its log and index take their modes from it
            except OSError as error:
                raise Unavailable(f"it cannot be made: {error.strerror}", where=str(file)) from error
        async with migrations.turn(), self.unscoped_write() as connection:
            if self.dialect == "postgresql":
                await connection.execute(text("SELECT pg_advisory_xact_lock(7, 7)"))
                await connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {self.name}"))
            if migrations.FROZEN:
                await connection.run_sync(migrations.upgrade, self.name)
            else:
                await connection.run_sync(self.tables.create_all)

    @asynccontextmanager
    async def _write(
        self, organization: str, at: datetime, run_id: str = "", *, accept_clock: bool = False
    ) -> AsyncIterator[Book]:
        """One write transaction of one organization; writers of the same organization wait for each other.

        Its instant is ``Book.at``, taken when the wait is over: ``at`` is when the caller came, and counts alone where
        the store has no clock. Commits when the block ends, rolls back when it raises. Raises ``Busy`` when the wait is
        longer than ``busy_seconds``, and ``WrongClock``.
        """
        async with self._transaction(self._writer) as connection:
            if self.dialect == "postgresql":
                await connection.execute(
                    text("SELECT pg_advisory_xact_lock(hashtextextended(:name, :seed))"),
                    {"name": organization, "seed": self.lock_seed},
                )
            book = Book(connection, organization, at, run_id)
            await self._doors.locked()
            await self._take_instant(connection, book, accept_clock)
            yield book

    async def _take_instant(self, connection: AsyncConnection, book: Book, accept_clock: bool) -> None:
        last = await book_times.last(book, self.times)
        if self._clock is None:
            book.at = max(book.at, last.at) if last else book.at
            left = LastWrite(book.at, HostTime(book.at))
        else:
            host = self._clock()
            database = await self._database_clock(connection, host)
            if accept_clock:
                left = accepted(last, host, database)
            else:
                at = instant(last, host, database)
                left = following(last, at, host, database)
            book.at = left.at
        await book_times.keep(book, self.times, left)

    async def _database_clock(self, connection: AsyncConnection, host: HostTime) -> datetime | None:
        """What the database's clock shows, where it may be another host's and ours is a real one."""
        if self.dialect != "postgresql" or not host.boot:
            return None
        return from_micros(int((await connection.execute(_CLOCK)).scalar_one()))

    async def moment(self, connection: AsyncConnection, now: datetime) -> datetime:
        """``now`` by the clock that every host of this store shares: the database's, where it is another process's."""
        if self._clock is None:
            return now
        return await self._database_clock(connection, self._clock()) or now

    async def check_clock(self, *organizations: str) -> None:
        """Raises ``WrongClock`` where a transaction of one of them would."""
        if self._clock is None:
            return
        async with self.unscoped_read() as connection:
            host = self._clock()
            database = await self._database_clock(connection, host)
            for organization in organizations:
                instant(await book_times.last(Reader(connection, organization), self.times), host, database)

    @asynccontextmanager
    async def accept_clock(self, organization: str, *, at: datetime) -> AsyncIterator[Book]:
        """A transaction by the clock of this host, whatever is thought of it; what comes after is compared with it."""
        async with self._write(organization, at, accept_clock=True) as book:
            yield book

    @asynccontextmanager
    async def read(self, organization: str) -> AsyncIterator[Reader]:
        """One read-only snapshot of one organization."""
        async with self.unscoped_read() as connection:
            yield Reader(connection, organization)

    @asynccontextmanager
    async def unscoped_write(self) -> AsyncIterator[AsyncConnection]:
        """A write transaction over all organizations: only for leases, jobs, tokens, cross-organization claims."""
        async with self._transaction(self._beside) as connection:
            yield connection

    @asynccontextmanager
    async def unscoped_read(self) -> AsyncIterator[AsyncConnection]:
        """A snapshot over all organizations: same restriction as ``unscoped_write``."""
        async with self._transaction(self._reader) as connection:
            yield connection

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        """One transaction behind the wall: driver errors leave as ours, a cancelled one ends with its connection."""
        with wall(self._shown()):
            writes = engine is not self._reader
            await self._doors.begin(writes=writes)
            try:
                async with engine.connect() as connection:
                    try:
                        await connection.begin()
                        yield connection
                        await self._doors.commit(writes=writes)
                        await connection.commit()
                    except asyncio.CancelledError:
                        # what is under way cannot be taken back: the end of its connection rolls it back
                        await connection.invalidate()
                        raise
                    except BaseException:
                        await connection.rollback()
                        raise
                    await self._doors.committed(writes=writes)
            finally:
                self._doors.ended()

    def _shown(self) -> str:
        return self._writer.url.render_as_string(hide_password=True)

    async def close(self) -> None:
        """Close every connection."""
        for engine in {self._writer, self._reader, self._beside}:
            await engine.dispose()


class Ledger(Store):
    """The book. ``Ledger.open(url)`` then ``async with ledger.write(org, fence, at=now) as book``; ``close`` at the
    end."""

    name = "ledger"
    tables = metadata
    times = people.book_time
    lock_seed = 7

    @asynccontextmanager
    async def write(self, organization: str, fence: Fence, *, at: datetime, run_id: str = "") -> AsyncIterator[Book]:
        """As ``_write``, by right of ``fence``; raises ``Stale`` when its lease was taken over (A2)."""
        async with self._write(organization, at, run_id) as book:
            await fencing.hold(book, fence)
            yield book


def _sqlite(path: Path, busy_seconds: float, *, write: bool) -> AsyncEngine:
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        connect_args={"timeout": busy_seconds, "isolation_level": None},
        pool_size=1 if write else 8,
        max_overflow=0 if write else 8,
        pool_timeout=busy_seconds,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA page_size=8192")  # of a new file: half as many pages to log and to copy at a commit
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


def _postgres(url: str, schema: str, busy_seconds: float) -> AsyncEngine:
    """Writers, readers and what goes beside them have an engine each: writers that wait for a lock must not use up the
    connections of the others."""
    milliseconds = max(1, int(busy_seconds * 1000))
    return create_async_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1),
        connect_args={"options": f"-csearch_path={schema} -clock_timeout={milliseconds}"},
        pool_pre_ping=True,
        pool_timeout=busy_seconds,
    )
