"""The published tables: one Iceberg table per dataset, one namespace per organization. The only door to pyiceberg.

Prohibition: decides nothing about what is visible. A table's newest snapshot may belong to a publish that died; only
the snapshots that a publication names are read, and every write starts from such a snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.dataset as pads
from pyiceberg.catalog.sql import SqlCatalog, SqlCatalogBaseTable
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression, GreaterThanOrEqual, In, LessThan
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import Table

from ledger.errors import Busy, NotFound, RosterdError, Unavailable
from ledger.published.addresses import SCHEMA, catalog_uri, namespace, warehouse_uri
from ledger.published.datasets import DATASETS, Dataset
from ledger.published.sweep import Swept, sweep

_CATALOG = "rosterd"  # Trino's iceberg.jdbc-catalog.catalog-name must say the same
_THREADS = 2
_TABLE_PROPERTIES = {
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "20",
    "write.parquet.compression-codec": "zstd",
}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scan:
    """The data files that hold one dataset at one snapshot: whole files, no deletes to apply.

    ``files`` are plain paths for a local warehouse and ``s3://…`` addresses otherwise; ``rows`` is their exact total
    when no days were asked for, and an upper bound otherwise. A file older than a column lacks it: read it as null
    (``arrow_dataset`` does).
    """

    dataset: Dataset
    files: tuple[str, ...]
    rows: int
    size: int
    filesystem: Any

    def arrow_dataset(self) -> pads.Dataset:
        """The files as one pyarrow dataset of the dataset's schema (for engines without their own S3 reader)."""
        schema = self.dataset.arrow_schema
        if not self.files:
            return pads.dataset(schema.empty_table())
        bare = [name.split("://", 1)[-1] for name in self.files]
        return pads.dataset(bare, schema=schema, format="parquet", filesystem=self.filesystem)


class Warehouse:
    """Published tables of all organizations. Blocking work runs in a small pool of threads of its own."""

    def __init__(self, catalog: SqlCatalog, deadline: timedelta) -> None:
        self._catalog = catalog
        self._deadline = deadline.total_seconds()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="iceberg")

    @classmethod
    def open(
        cls,
        location: str,
        catalog_url: str,
        *,
        properties: Mapping[str, str] | None = None,
        deadline: timedelta = timedelta(minutes=30),
    ) -> Warehouse:
        """Open the tables under ``location`` (``file:FOLDER`` or ``s3://bucket/prefix``); makes the catalog if missing.

        ``catalog_url`` is the ledger's own URL: ``sqlite:///FOLDER`` keeps the catalog in ``FOLDER/catalog.db``,
        ``postgresql://…`` in the schema ``catalog``. ``properties``: pyiceberg's (``s3.endpoint`` …). Raises
        ``BadInput`` for other schemes, ``Unavailable`` when the catalog does not answer.
        """
        uri = catalog_uri(catalog_url)
        settings = {"uri": uri, "warehouse": warehouse_uri(location), **(properties or {})}
        try:
            return cls(_opened(settings), deadline)
        except Exception as error:
            raise _translated(error, "the table catalog") from error

    async def close(self) -> None:
        """Wait for what is running, then let the threads and the catalog's connections go."""
        await asyncio.to_thread(self._pool.shutdown, wait=True)
        await asyncio.to_thread(self._catalog.engine.dispose)

    async def write(
        self,
        organization: str,
        dataset: str,
        rows: pa.Table,
        *,
        base: int | None,
        days: Collection[date] | None = None,
    ) -> int:
        """Write a snapshot and return its id: ``base`` with ``days`` (or, without ``days``, everything) replaced.

        ``base`` is the snapshot the last publication names, None before the first: whatever a dead publish left on
        top of it is set aside. ``rows`` must lie inside ``days``. Raises ``Busy`` when another publish got in between.
        """
        return await self._run(dataset, self._write, organization, dataset, rows, base, days)

    async def scan(
        self, organization: str, dataset: str, snapshot: int, *, since: date | None = None, until: date | None = None
    ) -> Scan:
        """The files of ``dataset`` at ``snapshot``, without files that lie outside ``[since, until)`` days entirely.

        Raises ``NotFound`` when the snapshot has been expired or never was.
        """
        return await self._run(dataset, self._scan, organization, dataset, snapshot, since, until)

    async def sweep(self, organization: str, dataset: str, *, keep: Collection[int], before: datetime) -> Swept:
        """Let go of snapshots not in ``keep`` and of files nobody needs, all older than ``before``: see ``sweep``."""
        return await self._run(dataset, self._sweep, organization, dataset, keep, before)

    async def snapshots(self, organization: str, dataset: str) -> tuple[int, ...]:
        """Ids of every snapshot still kept, oldest first; empty when the table does not exist."""
        return await self._run(dataset, self._snapshots, organization, dataset)

    async def _run(self, what: str, call: Callable[..., T], *arguments: Any) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.wait_for(loop.run_in_executor(self._pool, call, *arguments), self._deadline)
        except TimeoutError as error:
            raise Unavailable(f"no answer within {self._deadline:.0f} s", where=what) from error
        except Exception as error:
            raise _translated(error, what) from error

    def _write(
        self, organization: str, dataset: str, rows: pa.Table, base: int | None, days: Collection[date] | None
    ) -> int:
        table = self._table(organization, DATASETS[dataset])
        _start_from(table, base)
        if days is None:
            stale: BooleanExpression = AlwaysTrue()
        else:
            stale = In(DATASETS[dataset].day_column, [day.isoformat() for day in sorted(days)])
        occupied = table.current_snapshot() is not None and any(True for _ in table.scan(stale).plan_files())
        with table.transaction() as transaction:
            if occupied:
                transaction.delete(stale)
            if rows.num_rows or not occupied:
                transaction.append(rows)
        snapshot = table.current_snapshot()
        assert snapshot is not None  # noqa: S101 - one of the two branches above has committed
        return int(snapshot.snapshot_id)

    def _scan(self, organization: str, dataset: str, snapshot: int, since: date | None, until: date | None) -> Scan:
        shape = DATASETS[dataset]
        table = self._catalog.load_table((namespace(organization), dataset))
        if table.snapshot_by_id(snapshot) is None:
            raise NotFound(f"snapshot {snapshot} of {dataset} is gone", next_step="ask without a snapshot")
        chosen: BooleanExpression = AlwaysTrue()
        if shape.day_column and since is not None:
            chosen = And(chosen, GreaterThanOrEqual(shape.day_column, since.isoformat()))
        if shape.day_column and until is not None:
            chosen = And(chosen, LessThan(shape.day_column, until.isoformat()))
        files = [task.file for task in table.scan(chosen, snapshot_id=snapshot).plan_files()]
        files.sort(key=lambda file: file.file_path)
        return Scan(
            shape,
            tuple(_plain(file.file_path) for file in files),
            sum(file.record_count for file in files),
            sum(file.file_size_in_bytes for file in files),
            _filesystem(table),
        )

    def _sweep(self, organization: str, dataset: str, keep: Collection[int], before: datetime) -> Swept:
        try:
            table = self._catalog.load_table((namespace(organization), dataset))
        except NoSuchTableError:
            return Swept()
        return sweep(table, _filesystem(table), keep, before)

    def _snapshots(self, organization: str, dataset: str) -> tuple[int, ...]:
        try:
            table = self._catalog.load_table((namespace(organization), dataset))
        except NoSuchTableError:
            return ()
        return tuple(snapshot.snapshot_id for snapshot in table.snapshots())

    def _table(self, organization: str, dataset: Dataset) -> Table:
        name = (namespace(organization), dataset.name)
        try:
            table = self._catalog.load_table(name)
        except NoSuchTableError:
            self._catalog.create_namespace_if_not_exists((name[0],))
            table = self._create(name, dataset)
        missing = [column for column in dataset.names if column not in {field.name for field in table.schema().fields}]
        if missing:
            with table.update_schema() as change:
                change.union_by_name(dataset.arrow_schema)
        return table

    def _create(self, name: tuple[str, str], dataset: Dataset) -> Table:
        try:
            with self._catalog.create_table_transaction(
                name, schema=dataset.arrow_schema, properties=_TABLE_PROPERTIES
            ) as transaction:
                if dataset.day_column:
                    with transaction.update_spec() as spec:
                        spec.add_identity(dataset.day_column)
        except TableAlreadyExistsError:
            pass
        return self._catalog.load_table(name)


def _opened(settings: Mapping[str, str]) -> SqlCatalog:
    """The catalog, its tables made when missing; on PostgreSQL in a schema of their own, made first."""
    catalog = SqlCatalog(_CATALOG, **settings, init_catalog_tables="false")
    with catalog.engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            # two processes may open a new installation at once; making what another has just made is an error there
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(4711)")
            if connection.exec_driver_sql(f"SELECT to_regnamespace('{SCHEMA}')").scalar() is None:
                connection.exec_driver_sql(f"CREATE SCHEMA {SCHEMA}")
        else:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        SqlCatalogBaseTable.metadata.create_all(connection)
    return catalog


def _start_from(table: Table, base: int | None) -> None:
    current = table.current_snapshot()
    if base is None:
        if current is not None and any(True for _ in table.scan().plan_files()):
            # a publish died before the first publication: its rows were never visible
            table.delete(AlwaysTrue())
        return
    if table.snapshot_by_id(base) is None:
        raise NotFound(f"snapshot {base} of {table.name()[-1]} is gone", next_step="restore the warehouse folder")
    if current is None or current.snapshot_id != base:
        table.manage_snapshots().set_current_snapshot(base).commit()


def _plain(path: str) -> str:
    return path.removeprefix("file://")


def _filesystem(table: Table) -> Any:
    parts = urlsplit(table.location())
    io = table.io
    assert isinstance(io, PyArrowFileIO)  # noqa: S101 - the only FileIO we configure
    return io.fs_by_scheme(parts.scheme or "file", parts.netloc)


def _translated(error: Exception, what: str) -> Exception:
    """Ours, for an exception of pyiceberg, pyarrow or the catalog's database; our own pass through."""
    if isinstance(error, RosterdError):
        return error
    if isinstance(error, CommitFailedException):
        return Busy("another publish changed the table in between", where=what)
    if isinstance(error, NoSuchTableError):
        return NotFound("was never published", where=what, next_step="publish first")
    return Unavailable(f"the published tables cannot be used: {error}", where=what, next_step="rosterd check --live")
