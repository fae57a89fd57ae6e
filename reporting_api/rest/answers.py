"""Rows → bodies: JSON as columns and arrays (or objects), CSV by RFC 4180 with formula-leading cells made harmless.

Pure: no I/O here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any

import msgspec

from ledger.instant import to_text
from ledger.published.datasets import ColumnType, Dataset

_SAFE = 2**53
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_encode = msgspec.json.Encoder().encode


def json_rows(dataset: Dataset, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, objects: bool) -> list[Any]:
    """Arrays in the order of ``columns``, or objects; whole numbers beyond ±2^53 as text; nulls are always there."""
    width = len(columns)
    wide = [place for place, name in enumerate(columns) if dataset.by_name[name].type is ColumnType.INT64]
    cut: list[Any] = list(rows) if not rows or len(rows[0]) == width else [row[:width] for row in rows]
    for number, row in enumerate(cut):
        if any(row[place] is not None and not -_SAFE <= row[place] <= _SAFE for place in wide):
            cut[number] = [_safe(value) if place in wide else value for place, value in enumerate(row)]
    return [dict(zip(columns, row, strict=True)) for row in cut] if objects else cut


def _safe(value: int | None) -> int | str | None:
    return value if value is None or -_SAFE <= value <= _SAFE else str(value)


def json_body(value: Any) -> bytes:
    """JSON; days as YYYY-MM-DD, instants as RFC 3339 with Z."""
    return _encode(value)


def csv_body(dataset: Dataset, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """A header line and one line per row, CRLF; null is an empty cell, the empty text is ``""``."""
    texts = [dataset.by_name[name].type is ColumnType.STRING for name in columns]
    return "".join(_lines(columns, rows, texts)).encode("utf-8")


def _lines(columns: Sequence[str], rows: Sequence[Sequence[Any]], texts: Sequence[bool]) -> Iterator[str]:
    yield ",".join(columns) + "\r\n"
    for row in rows:
        yield ",".join(map(_cell, row[: len(columns)], texts)) + "\r\n"


def _cell(value: Any, is_text: bool) -> str:
    if value is None:
        return ""
    if is_text:
        return _text_cell(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return to_text(value)
    if isinstance(value, date):
        return value.isoformat()
    return repr(value) if isinstance(value, float) else str(value)


def _text_cell(value: str) -> str:
    if value.startswith(_FORMULA):
        value = "'" + value
    if not value or any(character in value for character in ',"\r\n') or value != value.strip():
        return '"' + value.replace('"', '""') + '"'
    return value
