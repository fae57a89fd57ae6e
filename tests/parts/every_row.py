"""Every row of every table of a ledger, to hold two moments against each other."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, LargeBinary, text

from ledger.store.engine import Ledger
from ledger.store.tables import metadata
from tests.parts.directories import ORGANIZATION


async def every_row(ledger: Ledger) -> dict[str, set[tuple[Any, ...]]]:
    """Every row of every table."""
    found: dict[str, set[tuple[Any, ...]]] = {}
    async with ledger.read(ORGANIZATION.id) as reader:
        for table in metadata.sorted_tables:
            names = ", ".join(_as_text(column, ledger.dialect) for column in table.columns)
            rows = await reader._connection.execute(text(f'SELECT {names} FROM "{table.name}"'))  # noqa: S608
            found[table.name] = {tuple(row) for row in rows}
    return found


def _as_text(column: Column[Any], dialect: str) -> str:
    if isinstance(column.type, LargeBinary) and dialect == "sqlite":
        return f'HEX("{column.name}")'
    return f'CAST("{column.name}" AS TEXT)'
