"""The templates of ``rosterd import KIND --template``: what each column is, a header, and rows that are accepted.

Makes text from the tables that the decoders judge by (``rosterd.tabular``, ``connector.usage.rows``); reads nothing.
"""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from connector.usage.formats.columns import Column
from connector.usage.formats.text import separator_of

WIDTH = 100
_INTRODUCTION = {
    "offerings": "Offerings: what the vendor sells. One a row; import them before subscriptions.",
    "subscriptions": "Subscriptions: a Team's right to so many seats of an offering for a term. One a row.",
    "usage": "Usage: who used what, and when. One a row; without a legal basis none is kept (rosterd usage basis).",
}
_HOW = "Above the first row, a line that begins with # is a comment. Write your rows in place of the examples."


def columns_of(what: str) -> tuple[Column, ...]:
    """The columns of a file that holds ``what``."""
    if what == "usage":
        from connector.usage.rows import COLUMNS

        return COLUMNS
    from rosterd import tabular

    return tabular.columns(what)


def template(what: str, today: date, separator: str = "", *, ndjson: bool = False) -> list[str]:
    """The lines of a file that ``rosterd import`` takes as it is: CSV, or NDJSON. Its examples are of about ``today``.

    ``separator``: what ``--separator`` takes, empty for a comma. Raises ``BadInput``.
    """
    columns = columns_of(what)
    rows = list(_examples(columns, today))
    made = [json.dumps(row) for row in rows] if ndjson else _csv(columns, rows, separator_of(separator))
    return [*_comment(what, columns), *made]


def _comment(what: str, columns: tuple[Column, ...]) -> Iterator[str]:
    yield from _wrapped(_INTRODUCTION[what], "# ")
    yield from _wrapped(
        "Lines of # are read over, above the first row only. Put your rows in place of the examples.", "# "
    )
    yield "#"
    for column in columns:
        needed = "required" if column.needed else "may be left out"
        yield from _wrapped(f"{column.name} ({needed}): {column.holds}. {column.about}", "# - ", "#   ")


def _wrapped(text: str, first: str, others: str = "# ") -> list[str]:
    return textwrap.wrap(text.replace("`", ""), WIDTH, initial_indent=first, subsequent_indent=others)


def _examples(columns: tuple[Column, ...], today: date) -> Iterator[dict[str, Any]]:
    words = {
        "yesterday": today - timedelta(days=1),
        "year": today.year,
        "next_year": today.year + 1,
        "after_next_year": today.year + 2,
    }
    for row in zip(*(column.examples for column in columns), strict=True):
        values = (value.format(**words) if isinstance(value, str) else value for value in row)
        yield {column.name: value for column, value in zip(columns, values, strict=True) if value is not None}


def _csv(columns: tuple[Column, ...], rows: list[dict[str, Any]], separator: str) -> list[str]:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator="\n")
    writer.writerow(column.name for column in columns)
    writer.writerows([_cell(row.get(column.name)) for column in columns] for row in rows)
    return out.getvalue().splitlines()


def _cell(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
