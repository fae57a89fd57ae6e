"""The shape of a published dataset: columns, types, privacy classes, the row id, the pyarrow schema.

The datasets themselves are listed in ``datasets``. Pure: no I/O here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import pyarrow as pa


class ColumnType(StrEnum):
    """The types a column may have; every face maps these and no others."""

    STRING = "string"
    INT32 = "int32"
    INT64 = "int64"
    DOUBLE = "double"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"  # aware, UTC, microseconds


class Privacy(StrEnum):
    """Whom a column's value is about, hence which scope may see it row by row.

    ``public`` says nothing about a person. ``pseudonym`` describes one person under their user key. ``named``
    identifies a person or is not k-anonymous (department, country): only with ``reports:named``. ``aggregate`` counts
    persons and is subject to suppression.
    """

    PUBLIC = "public"
    PSEUDONYM = "pseudonym"
    NAMED = "named"
    AGGREGATE = "aggregate"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a dataset."""

    name: str
    type: ColumnType
    description: str
    privacy: Privacy = Privacy.PUBLIC
    nullable: bool = False
    filterable: bool = True
    since: str = "0.1.0"


@dataclass(frozen=True)
class Dataset:
    """One published table, flat, with the single string key ``row_id`` made from ``key`` (stable across publications).

    ``team_column`` is the column a Team-bound credential is restricted by; empty where rows belong to no one Team.
    ``day_column`` is the date that ``from``/``to`` select by and that partitions the table; empty for dimensions, which
    are replaced whole. ``per_user``: rows describe single persons, so ``reports:aggregate`` may not list them.
    """

    name: str
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    team_column: str = "team_id"
    day_column: str = ""
    per_user: bool = False

    @cached_property
    def by_name(self) -> Mapping[str, Column]:
        """Columns by name."""
        return {column.name: column for column in self.columns}

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in declared order."""
        return tuple(column.name for column in self.columns)

    @property
    def dates(self) -> tuple[str, ...]:
        """The names of the columns that hold calendar dates (``YYYY-MM-DD``)."""
        return tuple(column.name for column in self.columns if column.type is ColumnType.DATE)

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """The pyarrow schema of the published table."""
        return pa.schema([pa.field(c.name, _ARROW[c.type], nullable=c.nullable) for c in self.columns])

    def row_id(self, values: Iterable[Any]) -> str:
        """The id of the row whose ``key`` columns hold ``values``, in the order of ``key``: see ``row_id``."""
        return row_id(self.name, values)


_ARROW: dict[ColumnType, pa.DataType] = {
    ColumnType.STRING: pa.string(),
    ColumnType.INT32: pa.int32(),
    ColumnType.INT64: pa.int64(),
    ColumnType.DOUBLE: pa.float64(),
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.DATE: pa.date32(),
    ColumnType.TIMESTAMP: pa.timestamp("us", tz="UTC"),
}


def row_id(dataset: str, values: Iterable[Any]) -> str:
    """32 hexadecimal digits: SHA-256 over the dataset's name and the key values as text, separated by U+001F.

    Dates are written ``YYYY-MM-DD``. U+001F cannot occur in a key value: ingest refuses control characters.
    """
    text = "\x1f".join([dataset, *map(str, values)])
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]


def arrow_table(dataset: Dataset, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """``rows`` as a table of the dataset's schema, sorted by the declared key, ``row_id`` filled in."""
    ordered = sorted(rows, key=lambda row: tuple(row[name] for name in dataset.key))
    columns: dict[str, list[Any]] = {
        name: [row.get(name) for row in ordered] for name in dataset.names if name != "row_id"
    }
    columns["row_id"] = [
        row_id(dataset.name, key) for key in zip(*(columns[name] for name in dataset.key), strict=True)
    ]
    arrays = [pa.array(columns[field.name], field.type) for field in dataset.arrow_schema]
    return pa.Table.from_arrays(arrays, schema=dataset.arrow_schema)
