"""NDJSON, separated values and Parquet: each a generator of rows with their places, from blocks of bytes or a file.

A line is a row: whatever stands in one, the next begins at the next. What is wrong with the whole (its columns, its
form, a Parquet file that is cut off) is raised, as ``BadInput``; nothing else is.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from connector.usage.formats import columns as table
from connector.usage.formats.text import LONGEST_LINE, LongLine, cells, is_preamble, lines, require_separator
from connector.usage.rows import COLUMNS, FIELDS, BadRow, Row, clean, parse_line, parse_mapping, with_point
from ledger.errors import BadInput

PARQUET_ROWS = 10_000
"""Rows of a Parquet file that are decoded at once."""
_COLUMNS = f"columns: {','.join(FIELDS)}"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_LATEST = 253_402_300_800_000_000  # microseconds: the end of the year 9999


def ndjson(blocks: Iterable[bytes], encoding: str = "utf-8") -> Iterator[Row]:
    """One JSON object a line; lines with nothing but space are none, and lines of ``#`` before the first.

    Raises ``BadInput`` for a JSON array.
    """
    first = True
    for number, line in lines(blocks, encoding):
        if not line.strip() or (first and line.lstrip()[:1] == b"#"):
            continue
        if first and line.lstrip()[:1] == b"[":
            raise BadInput("the text is a JSON array", next_step="write one JSON object per line, without [ , ]")
        first = False
        yield f"line {number}", _long(line) if isinstance(line, LongLine) else parse_line(line)


def separated(blocks: Iterable[bytes], encoding: str = "utf-8", separator: str = ",") -> Iterator[Row]:
    """A header, then one row a line; lines of nothing but separators are none, nor are comments before the header.

    Raises ``BadInput`` for the header.
    """
    header: list[str] = []
    for number, line in lines(blocks, encoding):
        text, place = line.decode("utf-8", "surrogateescape"), f"line {number}"
        if not text.strip(f"{separator} \t") or (not header and is_preamble(text, FIELDS)):
            continue
        try:
            values = cells(text, separator)
        except csv.Error as error:
            if not header:
                raise BadInput(f"the header cannot be read: {error}", next_step=_COLUMNS) from error
            values = []
        if not header:
            require_separator(text, FIELDS, separator)
            header = table.header(table.cut_to(values, 0), COLUMNS, _COLUMNS, place)
        elif isinstance(line, LongLine):
            yield place, _long(line)
        elif not values:
            yield place, BadRow(clean(text), ("the quotes are broken: a quoted cell ends on its line",))
        elif len(table.cut_to(values, len(header))) != len(header):
            found = f"the number of cells is not that of the header: {len(values)} instead of {len(header)}"
            yield place, BadRow(clean(text), (found,))
        elif any(values):
            fields = dict(zip(header, values, strict=True))
            # cells are parted by semicolons where the comma is taken: it stands in the numbers
            yield place, parse_mapping(with_point(fields) if separator == ";" else fields)
    if not header:
        raise BadInput("is empty: a header row is needed", next_step=_COLUMNS)


def parquet(source: Path | bytes) -> Iterator[Row]:
    """The rows of a Parquet file. Raises ``BadInput`` for its columns, ``pa.ArrowException`` where it is none."""
    number = 0
    with opened(source) as file:
        names = table.header(file.schema_arrow.names, COLUMNS, _COLUMNS)
        batches = file.iter_batches(batch_size=PARQUET_ROWS)
        while columns := _columns(batches):
            for values in zip(*columns, strict=True):
                number += 1
                yield f"row {number}", parse_mapping(dict(zip(names, values, strict=True)))


def _columns(batches: Iterator[pa.RecordBatch]) -> list[list[Any]]:
    """The values of the next rows, by column; none at the end. Raises ``pa.ArrowException``."""
    with _damage():
        batch = next(batches, None)
        return [] if batch is None else [_values(batch.column(place)) for place in range(batch.num_columns)]


def opened(source: Path | bytes) -> pq.ParquetFile:
    """A Parquet file whose columns were checked. Texts stay in their dictionaries: what is small stays small."""

    def file(**options: Any) -> pq.ParquetFile:
        return pq.ParquetFile(io.BytesIO(source) if isinstance(source, bytes) else source, **options)

    with _damage(), file() as found:
        table.header(found.schema_arrow.names, COLUMNS, _COLUMNS)
        texts = [field.name for field in found.schema_arrow if pa.types.is_string(field.type)]
    with _damage():
        return file(read_dictionary=texts)


@contextmanager
def _damage() -> Iterator[None]:
    """Damage is ``pa.ArrowInvalid``: pyarrow meets it with whatever it was about to do."""
    try:
        yield
    except (pa.ArrowException, OSError, BadInput):
        raise
    except Exception as error:
        raise pa.ArrowInvalid(f"it is damaged ({type(error).__name__})") from error


def _long(line: bytes) -> BadRow:
    return BadRow(clean(line.decode("utf-8", "replace")), (f"the line is too long: over {LONGEST_LINE} bytes",))


def _values(column: pa.Array) -> list[Any]:
    """Python values of a column, each by itself where the column holds one that Python cannot."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        known = _values(column.dictionary)
        return [None if index is None else known[index] for index in column.indices.to_pylist()]
    if pa.types.is_timestamp(kind):
        return [None if value is None else _instant(value, kind) for value in column.cast(pa.int64()).to_pylist()]
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        # the shortest text that is this number: as a double 0.1 were 0.10000000149011612
        return column.cast(pa.float32()).cast(pa.string()).to_pylist()  # type: ignore[no-any-return]
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except (pa.ArrowException, ValueError, OverflowError):
        return [_value(scalar) for scalar in column]


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return bytes(scalar.as_buffer())
    except (pa.ArrowException, ValueError, OverflowError):
        return [str(scalar.type)]


def _instant(value: int, kind: pa.TimestampType) -> Any:
    """An instant of whatever unit; nanoseconds are cut off, so that its day stays. A text where there is none such."""
    micros = value // 1_000 if kind.unit == "ns" else value * _MICROS[kind.unit]
    if not -_LATEST // 8 < micros < _LATEST:
        return f"{value} {kind.unit} since 1970"
    at = _EPOCH + timedelta(microseconds=micros)
    return at if kind.tz else at.replace(tzinfo=None)
