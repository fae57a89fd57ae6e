"""Column types and the two table shapes: plain rows, and intervals ``[valid_from, valid_to)`` that *are* the present.

An interval table's open row (``valid_to IS NULL``) is what holds now; ended rows are history, written in the same
transaction. ``run_id`` says which run began the row, ``ended_run`` which ended it; both are empty for manual edits.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy
from sqlalchemy import DDL, BigInteger, CheckConstraint, Column, Index, MetaData, PrimaryKeyConstraint, Table, event
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from ledger.instant import from_micros, to_micros

__all__ = ["Column", "Instant", "Json", "Text", "canonical_json", "decode_json", "instant", "interval", "metadata"]
__all__ += ["book_time", "plain", "text"]

metadata = MetaData()
Text: TypeEngine[str] = sqlalchemy.Text().with_variant(sqlalchemy.Text(collation="C"), "postgresql")
"""Text ordered by code point on both databases: one order for cursors, and keys that compare fast."""

_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder().decode


def canonical_json(value: Any) -> str:
    """Canonical JSON text: sorted keys, no spaces; the form stored and hashed."""
    return _encode(value).decode("utf-8")


def decode_json(text: str | None) -> Any:
    """What ``canonical_json`` wrote; None stays None."""
    return None if text is None else _decode(text)


def _to_micros(value: datetime | None) -> int | None:
    return None if value is None else to_micros(value)


def _from_micros(value: int | None) -> datetime | None:
    return None if value is None else from_micros(value)


def _to_json(value: Any) -> str | None:
    return None if value is None else canonical_json(value)


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime, stored as microseconds since 1970 (exact, and ordered alike in both databases)."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """To microseconds; a naive datetime raises ``ValueError``."""
        return _to_micros(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Back to an aware datetime."""
        return _from_micros(value)

    def bind_processor(self, dialect: Dialect) -> Any:
        """The bare function: half the calls of SQLAlchemy's wrapper, per value."""
        return _to_micros

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """The bare function, as above."""
        return _from_micros


class Json(TypeDecorator[Any]):
    """A JSON value in canonical text."""

    impl = sqlalchemy.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """To canonical JSON text."""
        return _to_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Parsed."""
        return decode_json(value)

    def bind_processor(self, dialect: Dialect) -> Any:
        """The bare function, as in ``Instant``."""
        return _to_json

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """The bare function, as in ``Instant``."""
        return decode_json


def text(name: str, *, nullable: bool = False) -> Column[str]:
    """A text column, required unless said otherwise (empty string means *none* for keys)."""
    return Column(name, Text, nullable=nullable)


def instant(name: str, *, nullable: bool = False) -> Column[datetime]:
    """An instant column."""
    return Column(name, Instant, nullable=nullable)


def plain(
    name: str,
    *columns: Column[Any],
    key: Sequence[str],
    indexes: Sequence[Sequence[str]] = (),
    into: MetaData = metadata,
) -> Table:
    """A table of plain rows of one organization, the natural key ``(organization_id, *key)``, in the store ``into``."""
    table = Table(
        name,
        into,
        Column("organization_id", Text, nullable=False),
        *columns,
        PrimaryKeyConstraint("organization_id", *key),
    )
    for position, index in enumerate(indexes):
        Index(f"ix_{name}_{position}", table.c.organization_id, *(table.c[column] for column in index))
    return table


def interval(
    name: str,
    *columns: Column[Any],
    key: Sequence[str],
    indexes: Sequence[Sequence[str]] = (),
    unique: bool = True,
    later: Sequence[Column[Any]] = (),
) -> Table:
    """An interval table; at most one open row per ``(organization_id, *key)`` unless ``unique`` is false.

    ``indexes``: further column lists indexed over open rows only. ``later``: columns that a later revision added, each
    with a server default or nullable; they stand last, as in the database.
    """
    table = Table(
        name,
        metadata,
        Column("row_id", Text, primary_key=True),
        Column("organization_id", Text, nullable=False),
        *columns,
        Column("valid_from", Instant, nullable=False),
        Column("valid_to", Instant, nullable=True),
        Column("recorded_at", Instant, nullable=False),
        Column("run_id", Text, nullable=False, server_default=""),
        Column("ended_run", Text, nullable=False, server_default=""),
        *later,
    )
    forward = f"ck_{name}_forward"
    table.append_constraint(CheckConstraint("valid_to >= valid_from", name=forward).ddl_if(dialect="postgresql"))
    refuse = DDL(  # type: ignore[no-untyped-call]
        f"CREATE TRIGGER {forward} BEFORE UPDATE OF valid_to ON {name} WHEN NEW.valid_to < NEW.valid_from"
        f" BEGIN SELECT RAISE(ABORT, 'CHECK constraint failed: {forward}'); END"
    )
    event.listen(table, "after_create", refuse.execute_if(dialect="sqlite"))
    is_open = table.c.valid_to.is_(None)
    open_key = [table.c.organization_id, *(table.c[column] for column in key)]
    Index(f"uq_{name}_open", *open_key, unique=unique, sqlite_where=is_open, postgresql_where=is_open)
    for position, index in enumerate(indexes):
        chosen = [table.c.organization_id, *(table.c[column] for column in index)]
        Index(f"ix_{name}_open_{position}", *chosen, sqlite_where=is_open, postgresql_where=is_open)
    return table


def book_time(name: str, into: MetaData) -> Table:
    """When the organization's last transaction was, and by which clocks: one row each (``ledger.book_time``)."""
    numbers = [Column(number, BigInteger, nullable=False) for number in ("steady", "behind", "ahead")]  # microseconds
    return plain(name, instant("at"), instant("wall"), text("boot"), *numbers, key=(), into=into)
