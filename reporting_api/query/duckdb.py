"""DuckDB in process over the pinned Iceberg snapshots' Parquet files: bounded threads, memory, rows and time.

Each query has a cursor of its own in a small pool of threads; a time limit or a cancelled caller interrupts it, and the
thread is free again before the caller hears of it. Prohibition: no text of a request ever becomes SQL or a path here.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

import duckdb

from ledger.errors import NotFound, Unavailable
from ledger.publication import Publication
from ledger.published.datasets import ColumnType, Dataset
from ledger.published.iceberg import Scan, Warehouse
from reporting_api.errors import Overloaded, QueryTimeout
from reporting_api.query import compile as sql
from reporting_api.query.compile import Compiled, Relation
from reporting_api.query.engine import Page
from reporting_api.query.model import Query, columns_of

_SCANS_KEPT = 256
_FIRST_DAYS = (4, 32)  # days tried before all: most pages lie in the first few
T = TypeVar("T")
ScanKey = tuple[str, str, int, date | None, date | None]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the engine. ``memory``: DuckDB's text (``1GB``); ``waiting``: queries that may queue for a thread."""

    memory: str = "1GB"
    threads: int = 2
    at_once: int = 4
    waiting: int = 32
    time: timedelta = timedelta(seconds=30)


class DuckEngine:
    """The embedded engine. One DuckDB instance, ``limits.at_once`` queries at a time."""

    def __init__(self, warehouse: Warehouse, limits: Limits) -> None:
        self._warehouse = warehouse
        self._limits = limits
        self._database = duckdb.connect(config={"memory_limit": limits.memory, "threads": limits.threads})
        for setting in ("TimeZone = 'UTC'", "parquet_metadata_cache = true", "autoinstall_known_extensions = false"):
            self._database.execute(f"SET GLOBAL {setting}")
        self._pool = ThreadPoolExecutor(limits.at_once, thread_name_prefix="duckdb")
        self._slots = asyncio.Semaphore(limits.at_once)
        self._pending = 0
        self._running: dict[asyncio.Future[Any], Any] = {}
        self._closing = False
        self._scans: OrderedDict[ScanKey, _Table] = OrderedDict()

    async def page(self, query: Query, publication: Publication) -> Page:
        """One page of ``query``: from the first days that fill it, where the order begins with the day."""
        found = await self._tables(query, publication)
        own = found[query.dataset]
        for files in _windows(query, own.scan):
            tables = found | {query.dataset: replace(own, scan=replace(own.scan, files=files))}
            compiled = sql.page(query, {name: table.relation() for name, table in tables.items()})
            rows = await self._in_thread(_fetch, compiled, query.shape, _remote(tables))
            if len(rows) > query.limit:
                break
        return Page(compiled.columns, rows[: query.limit], len(rows) > query.limit)

    async def count(self, query: Query, publication: Publication) -> int:
        """Rows on all pages of ``query`` together."""
        tables = await self._tables(query, publication)
        compiled = sql.count(query, {name: table.relation() for name, table in tables.items()})
        rows = await self._in_thread(_fetch, compiled, query.shape, _remote(tables))
        return int(rows[0][0])

    async def close(self) -> None:
        """Interrupt what runs; wait for the threads."""
        self._closing = True
        while self._running:
            for future, cursor in list(self._running.items()):
                await _stopped(future, cursor)
            await asyncio.sleep(0)  # whoever waits for it takes it off the list
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)
        self._database.close()
        del self._database  # DuckDB complains on stderr of whatever of it is left when the process ends

    async def _tables(self, query: Query, publication: Publication) -> dict[str, _Table]:
        found = {}
        for name in sql.relations_of(query):
            table = publication.tables.get(name)
            if table is None:
                raise NotFound(f"{name} is not part of publication {publication.id}")
            since, until = (query.since, query.until) if name == query.dataset else (None, None)
            found[name] = await self._scan((query.scope.organization, name, table.snapshot, since, until))
        return found

    async def _scan(self, key: ScanKey) -> _Table:
        """The files of a snapshot: it never changes, so its plan is kept."""
        if key in self._scans:
            self._scans.move_to_end(key)
            return self._scans[key]
        organization, name, snapshot, since, until = key
        scan = await self._warehouse.scan(organization, name, snapshot, since=since, until=until)
        table = _Table(scan, await self._in_thread(_is_uniform, scan))
        self._scans[key] = table
        if len(self._scans) > _SCANS_KEPT:
            self._scans.popitem(last=False)
        return table

    async def _in_thread(self, call: Callable[..., T], *arguments: Any) -> T:
        if self._pending >= self._limits.at_once + self._limits.waiting:
            raise Overloaded
        self._pending += 1
        try:
            async with self._slots:
                return await self._interruptible(call, *arguments)
        finally:
            self._pending -= 1

    async def _interruptible(self, call: Callable[..., T], *arguments: Any) -> T:
        if self._closing:
            raise Unavailable("the engine is shutting down", where="query")
        cursor = self._database.cursor()
        future = asyncio.get_running_loop().run_in_executor(self._pool, call, cursor, *arguments)
        self._running[future] = cursor
        seconds = self._limits.time.total_seconds()
        try:
            done, _ = await asyncio.wait({future}, timeout=seconds)
            if not done:
                raise QueryTimeout(seconds)
            return future.result()
        except duckdb.InterruptException as error:
            raise Unavailable("the engine is shutting down", where="query") from error
        except duckdb.OutOfMemoryException as error:
            raise Unavailable("the query needs more memory than it may have", where="query") from error
        except duckdb.Error as error:
            raise Unavailable(f"the published files cannot be read: {error}", where="query") from error
        finally:
            await _stopped(future, cursor)
            self._running.pop(future, None)
            cursor.close()


async def _stopped(future: asyncio.Future[Any], cursor: Any) -> None:
    """Interrupt until the thread has let go: an interrupt before the statement began is lost, so it is repeated."""
    while not future.done():
        cursor.interrupt()
        await asyncio.wait({future}, timeout=0.05)
    if not future.cancelled():
        future.exception()


def _fetch(cursor: Any, compiled: Compiled, dataset: Dataset, remote: Sequence[Scan]) -> list[tuple[Any, ...]]:
    for scan in remote:
        cursor.register(f"scan_{scan.dataset.name}", scan.arrow_dataset())
    stamps = {
        place
        for place, name in enumerate(compiled.columns)
        if name in dataset.by_name and dataset.by_name[name].type is ColumnType.TIMESTAMP
    }
    if stamps:
        # DuckDB hands aware timestamps out through pytz, which we do not have
        shown = [
            f'CAST("{name}" AT TIME ZONE \'UTC\' AS TIMESTAMP) AS "{name}"' if place in stamps else f'"{name}"'
            for place, name in enumerate(compiled.columns)
        ]
        text = f"SELECT {', '.join(shown)} FROM ({compiled.sql})"  # noqa: S608 - names from the list of datasets
    else:
        text = compiled.sql
    rows: list[tuple[Any, ...]] = cursor.execute(text, list(compiled.parameters)).fetchall()
    return [_aware(row, stamps) for row in rows] if stamps else rows


def _aware(row: Sequence[Any], stamps: set[int]) -> tuple[Any, ...]:
    return tuple(
        value.replace(tzinfo=UTC) if place in stamps and isinstance(value, datetime) else value
        for place, value in enumerate(row)
    )


def _is_uniform(cursor: Any, scan: Scan) -> bool:
    """Whether every file has every column; files from before a column was added have not."""
    if not _local(scan):
        return True
    text = "SELECT count(*) FROM parquet_schema(?) WHERE name IN (SELECT unnest(?))"
    names = list(scan.dataset.names)
    (found,) = cursor.execute(text, [list(scan.files), names]).fetchone()
    return bool(found == len(names) * len(scan.files))


def _local(scan: Scan) -> bool:
    return bool(scan.files) and not scan.files[0].startswith("s3://")


def _remote(tables: Mapping[str, _Table]) -> list[Scan]:
    """What must be registered under a name first, because it does not lie in local files."""
    return [table.scan for table in tables.values() if table.scan.files and not _local(table.scan)]


def _days(scan: Scan) -> dict[str, date]:
    """File → its day, from the partition's folder; empty where the files are not laid out by day."""
    marker = f"/{scan.dataset.day_column}="
    if not scan.dataset.day_column or not all(marker in name for name in scan.files):
        return {}
    return {name: date.fromisoformat(name.rpartition(marker)[2][:10]) for name in scan.files}


def _windows(query: Query, scan: Scan) -> list[tuple[str, ...]]:
    """The files to read for one page, few days first and all at last; each step holds the one before."""
    days, first = _days(scan), query.order[0]
    narrow = any(column == "user_key" for condition in query.where for column in columns_of(condition))
    if not days or narrow or first.column != query.shape.day_column:
        return [scan.files]  # few days will not fill a page: ask once
    begin = query.after[0] if query.after else None
    kept = [name for name, day in days.items() if begin is None or (day <= begin if first.descending else day >= begin)]
    ordered = sorted({days[name] for name in kept}, reverse=first.descending)
    found = []
    for count in _FIRST_DAYS:
        if count < len(ordered):
            chosen = set(ordered[:count])
            found.append(tuple(name for name in kept if days[name] in chosen))
    return [*found, tuple(kept)]


@dataclass(frozen=True, slots=True)
class _Table:
    """The files of one dataset. ``uniform``: each has every column."""

    scan: Scan
    uniform: bool

    def relation(self) -> Relation:
        """How SQL names them."""
        scan = self.scan
        if not scan.files:
            columns = ", ".join(
                f'CAST(NULL AS {_TYPES[column.type]}) AS "{column.name}"' for column in scan.dataset.columns
            )
            return Relation(f"(SELECT {columns} WHERE FALSE)")
        if not _local(scan):
            return Relation(f'"scan_{scan.dataset.name}"')
        options = [] if self.uniform else ["union_by_name => true"]
        if _days(scan):
            # the partition value in the path lets whole days be skipped unopened
            options += ["hive_partitioning => true", f"hive_types => {{'{scan.dataset.day_column}': DATE}}"]
        else:
            options.append("hive_partitioning => false")
        return Relation(f"read_parquet(?, {', '.join(options)})", (list(scan.files),))


_TYPES = {
    ColumnType.STRING: "VARCHAR",
    ColumnType.INT32: "INTEGER",
    ColumnType.INT64: "BIGINT",
    ColumnType.DOUBLE: "DOUBLE",
    ColumnType.BOOLEAN: "BOOLEAN",
    ColumnType.DATE: "DATE",
    ColumnType.TIMESTAMP: "TIMESTAMP WITH TIME ZONE",
}
