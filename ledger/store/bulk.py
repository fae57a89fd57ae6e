"""The one door for many rows: driver-level ``executemany`` on SQLite, ``COPY`` on PostgreSQL, tuples in, counts out.

Prohibition: no statement is built here from anything but table and column objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

_CHUNK = 20_000


def _encoders(table: Table, columns: Sequence[str], dialect: Any) -> list[tuple[int, Callable[[Any], Any]]]:
    """(position, converter) for the columns whose Python value is not what the driver stores."""
    found = []
    for position, name in enumerate(columns):
        convert = table.c[name].type.dialect_impl(dialect).bind_processor(dialect)
        if convert is not None:
            found.append((position, convert))
    return found


def _encoded(rows: Iterable[Sequence[Any]], encoders: list[tuple[int, Callable[[Any], Any]]]) -> Iterable[Sequence[Any]]:
    if not encoders:
        yield from rows
        return
    for row in rows:
        out = list(row)
        for position, convert in encoders:
            out[position] = convert(out[position])
        yield out


async def insert_rows(
    connection: AsyncConnection, table: Table, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> int:
    """Insert ``rows`` (tuples in the order of ``columns``, Python values) inside the connection's transaction."""
    if not rows:
        return 0
    encoded = _encoded(rows, _encoders(table, columns, connection.dialect))
    driver = (await connection.get_raw_connection()).driver_connection
    names = ", ".join(f'"{name}"' for name in columns)
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(columns))
        await driver.executemany(f'INSERT INTO "{table.name}" ({names}) VALUES ({marks})', encoded)  # type: ignore[union-attr]  # noqa: S608
    else:
        async with (
            driver.cursor() as cursor,  # type: ignore[union-attr]
            cursor.copy(f'COPY "{table.name}" ({names}) FROM STDIN') as copy,
        ):
            for row in encoded:
                await copy.write_row(row)
    return len(rows)


async def end_rows(
    connection: AsyncConnection, table: Table, organization: str, row_ids: Sequence[str], at: int, run_id: str
) -> int:
    """End the open interval rows named by ``row_ids`` at ``at`` (microseconds); return how many were still open."""
    if not row_ids:
        return 0
    driver = (await connection.get_raw_connection()).driver_connection
    if connection.dialect.name == "sqlite":
        statement = (
            f'UPDATE "{table.name}" SET valid_to = ?, ended_run = ? '  # noqa: S608
            "WHERE row_id = ? AND organization_id = ? AND valid_to IS NULL"
        )
        cursor = await driver.executemany(statement, [(at, run_id, row, organization) for row in row_ids])  # type: ignore[union-attr]
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
