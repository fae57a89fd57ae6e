"""The one door for many rows: driver-level ``executemany`` on SQLite, ``COPY`` on PostgreSQL, tuples in, counts out.

Rows are turned into columns and back (``zip`` twice, in C), so that a converter runs once per value that needs one and
values that are the same in every row (organization, instant, run) are written once per statement or line ending.

Prohibition: no statement is built here from anything but table and column objects and quoted constants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Select, Table, Text, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.collector import without_collector
from ledger.instant import from_micros
from ledger.store.tables.base import Instant, Json, decode_json

_CHUNK = 20_000
_BLOCK = 4_000  # rows of one COPY block: a few milliseconds on the event loop
_PLACES = 4_000  # of one SQLite statement, which takes as many rows: a third less time than one row a statement
_NOTHING: Mapping[str, Any] = {}
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})

Converter = Callable[[Any], Any]


async def insert_rows(
    connection: AsyncConnection,
    table: Table,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    constants: Mapping[str, Any] = _NOTHING,
    ids: Sequence[str] = (),
) -> int:
    """Insert ``rows`` (tuples in the order of ``columns``, Python values) inside the connection's transaction.

    ``constants``: columns with the same value in every row; ``ids``: the ``row_id`` of each row, where the table has
    one. Raises ``ValueError`` when a row is too long or too short.
    """
    if not rows:
        return 0
    columns = [*columns, "row_id"] if ids else columns
    driver = (await connection.get_raw_connection()).driver_connection
    dialect = connection.dialect
    convert = _encoders(table, columns, dialect)
    fixed = {name: _encode(table, name, dialect, value) for name, value in constants.items()}
    names = ", ".join(f'"{name}"' for name in (*columns, *fixed))
    if dialect.name == "sqlite":
        marks = f"({', '.join(['?'] * len(columns) + [_quoted(value) for value in fixed.values()])})"
        statement = f'INSERT INTO "{table.name}" ({names}) VALUES '  # noqa: S608
        many = _PLACES // len(columns)
        whole = len(rows) // many * many
        for size, chosen in ((many, slice(whole)), (1, slice(whole, None))):
            if rows[chosen]:
                values = _flat(rows[chosen], ids[chosen], len(columns), convert, size)
                cursor = await driver.executemany(statement + ", ".join([marks] * size), values)  # type: ignore[union-attr]
                await cursor.close()
        return len(rows)
    ending = "".join(f"\t{_copied(value)}" for value in fixed.values()) + "\n"
    async with (
        driver.cursor() as cursor,  # type: ignore[union-attr]
        cursor.copy(f'COPY "{table.name}" ({names}) FROM STDIN') as copy,
    ):
        for start in range(0, len(rows), _BLOCK):
            chosen = slice(start, start + _BLOCK)
            await copy.write(_block(rows[chosen], ids[chosen], len(columns), convert, ending))
    return len(rows)


def _encoders(table: Table, columns: Sequence[str], dialect: Any) -> dict[int, Converter]:
    """Position → converter, for the columns whose Python value is not what the driver stores."""
    found: dict[int, Converter] = {}
    for position, name in enumerate(columns):
        convert = table.c[name].type.dialect_impl(dialect).bind_processor(dialect)
        if convert is not None:
            found[position] = convert
    return found


def _encode(table: Table, name: str, dialect: Any, value: Any) -> Any:
    convert = table.c[name].type.dialect_impl(dialect).bind_processor(dialect)
    return value if convert is None else convert(value)


def _columns(
    rows: Sequence[Sequence[Any]], ids: Sequence[str], width: int, convert: Mapping[int, Converter]
) -> list[Sequence[Any]]:
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
    if ids:
        columns.append(ids)
    if len(columns) != width:
        raise ValueError(f"rows of {len(columns)} values for {width} columns")
    for position, converter in convert.items():
        columns[position] = list(map(converter, columns[position]))
    return columns


def _flat(
    rows: Sequence[Sequence[Any]], ids: Sequence[str], width: int, convert: Mapping[int, Converter], size: int
) -> Iterator[Sequence[Any]]:
    """The values of ``size`` rows after one another, for a statement that takes as many."""
    if size == 1:
        yield from _tuples(rows, ids, width, convert)
        return
    for start in range(0, len(rows), size):
        chosen = slice(start, start + size)
        values: list[Any] = [None] * (size * width)
        for position, column in enumerate(_columns(rows[chosen], ids[chosen], width, convert)):
            values[position::width] = column
        yield values


def _tuples(
    rows: Sequence[Sequence[Any]], ids: Sequence[str], width: int, convert: Mapping[int, Converter]
) -> Iterator[Sequence[Any]]:
    for start in range(0, len(rows), _BLOCK):
        chosen = slice(start, start + _BLOCK)
        yield from zip(*_columns(rows[chosen], ids[chosen], width, convert), strict=True)


def _block(
    rows: Sequence[Sequence[Any]], ids: Sequence[str], width: int, convert: Mapping[int, Converter], ending: str
) -> str:
    """One block of COPY's text format (PostgreSQL, COPY, "Text Format")."""
    columns = [_copied_column(column) for column in _columns(rows, ids, width, convert)]
    return ending.join(map("\t".join, zip(*columns, strict=True))) + ending


def _copied_column(column: Sequence[Any]) -> Sequence[str]:
    try:
        together = "\v".join(column)
    except TypeError:
        return [_copied(value) for value in column]
    if "\\" in together or "\t" in together or "\n" in together or "\r" in together:
        return [value.translate(_ESCAPES) for value in column]
    return column


def _copied(value: Any) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, str):
        return value.translate(_ESCAPES)
    if isinstance(value, bool):
        return "t" if value else "f"
    return str(value)


def _quoted(value: Any) -> str:
    """A SQLite literal."""
    if value is None:
        return "NULL"
    if isinstance(value, int | float):
        return repr(value + 0)
    text = str(value)
    if "\0" in text:
        raise ValueError("a text constant holds a NUL character")
    return "'" + text.replace("'", "''") + "'"


async def end_rows(
    connection: AsyncConnection, table: Table, organization: str, row_ids: Sequence[str], at: int, run_id: str
) -> int:
    """End the open interval rows named by ``row_ids`` at ``at`` (microseconds); return how many were still open."""
    if not row_ids:
        return 0
    driver = (await connection.get_raw_connection()).driver_connection
    if connection.dialect.name == "sqlite":
        statement = (
            f'UPDATE "{table.name}" SET valid_to = {int(at)}, ended_run = {_quoted(run_id)} '  # noqa: S608
            f"WHERE row_id = ? AND organization_id = {_quoted(organization)} AND valid_to IS NULL"
        )
        cursor = await driver.executemany(statement, [(row,) for row in row_ids])  # type: ignore[union-attr]
        count = int(cursor.rowcount)
        await cursor.close()
        return count
    ended = 0
    async with driver.cursor() as cursor:  # type: ignore[union-attr]
        for start in range(0, len(row_ids), _CHUNK):
            await cursor.execute(
                f'UPDATE "{table.name}" SET valid_to = %s, ended_run = %s '  # noqa: S608
                "WHERE row_id = ANY(%s) AND organization_id = %s AND valid_to IS NULL",
                (at, run_id, list(row_ids[start : start + _CHUNK]), organization),
            )
            ended += cursor.rowcount
    return ended


async def delete_rows(
    connection: AsyncConnection, table: Table, organization: str, columns: Sequence[str], keys: Sequence[Sequence[Any]]
) -> int:
    """Delete the rows of ``organization`` whose ``columns`` equal one of ``keys``; return how many there were."""
    if not keys:
        return 0
    driver = (await connection.get_raw_connection()).driver_connection
    convert = _encoders(table, columns, connection.dialect)
    if connection.dialect.name == "sqlite":
        same = " AND ".join(f'"{name}" = ?' for name in columns)
        statement = f'DELETE FROM "{table.name}" WHERE organization_id = {_quoted(organization)} AND {same}'  # noqa: S608
        cursor = await driver.executemany(statement, _tuples(keys, (), len(columns), convert))  # type: ignore[union-attr]
        count = int(cursor.rowcount)
        await cursor.close()
        return count
    types = [table.c[name].type.compile(connection.dialect).partition(" ")[0] for name in columns]
    arrays = ", ".join(f"%s::{kind}[]" for kind in types)
    same = " AND ".join(f'"{table.name}"."{name}" = k{position}' for position, name in enumerate(columns))
    names = ", ".join(f"k{position}" for position in range(len(columns)))
    statement = (
        f'DELETE FROM "{table.name}" USING unnest({arrays}) AS keys({names}) '  # noqa: S608
        f"WHERE organization_id = %s AND {same}"
    )
    deleted = 0
    async with driver.cursor() as cursor:  # type: ignore[union-attr]
        for start in range(0, len(keys), _CHUNK):
            chunk = _columns(keys[start : start + _CHUNK], (), len(columns), convert)
            await cursor.execute(statement, (*(list(column) for column in chunk), organization))
            deleted += cursor.rowcount
    return deleted


class _Instants(dict[Any, Any]):
    """Microseconds → datetime, remembered: rows of one run share their instants."""

    def __missing__(self, micros: Any) -> Any:
        made = self[micros] = None if micros is None else from_micros(micros)
        return made


async def read_tuples(
    connection: AsyncConnection, statement: Select[Any], *, raw: bool = False
) -> list[tuple[Any, ...]]:
    """Every row as a plain tuple, decoded by whole columns. ``raw``: instants stay microseconds, JSON stays text."""
    plain, decoders = _undecoded(statement)
    with without_collector():
        rows = await _fetched(connection, plain)
        if raw or not decoders:
            return rows
        out: list[tuple[Any, ...]] = []
        for start in range(0, len(rows), _CHUNK):
            columns: list[Iterable[Any]] = list(zip(*rows[start : start + _CHUNK], strict=True))
            for position, decoder in decoders.items():
                columns[position] = map(decoder, columns[position])
            out.extend(zip(*columns, strict=True))
        return out


async def _fetched(connection: AsyncConnection, statement: Select[Any]) -> list[tuple[Any, ...]]:
    """The driver's own tuples where no column needs decoding; a ``Row`` per row would double the time."""
    dialect = connection.dialect
    if isinstance(statement, Select) and all(
        column.type.dialect_impl(dialect).result_processor(dialect, None) is None
        for column in statement.selected_columns
    ):
        return await connection.run_sync(lambda plain: list(plain.execute(statement).cursor.fetchall()))
    return [tuple(row) for row in (await connection.execute(statement)).all()]


def _undecoded(statement: Select[Any]) -> tuple[Select[Any], dict[int, Converter]]:
    """The statement without our result processors, and what to apply instead, by position."""
    chosen: list[Any] = []
    decoders: dict[int, Converter] = {}
    if not isinstance(statement, Select):  # a union: SQLAlchemy decodes it
        return statement, decoders
    for position, column in enumerate(statement.selected_columns):
        if isinstance(column.type, Instant):
            decoders[position] = _Instants().__getitem__
            chosen.append(type_coerce(column, BigInteger).label(column.key))
        elif isinstance(column.type, Json):
            decoders[position] = decode_json
            chosen.append(type_coerce(column, Text).label(column.key))
        else:
            chosen.append(column)
    return (statement.with_only_columns(*chosen, maintain_column_froms=True) if decoders else statement), decoders
