"""Usage days become rows of ``usage_daily``: Team and pseudonym in, identity out.

Pure: no I/O, no clock here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa

from ledger.published.datasets import USAGE_DAILY, row_id
from ledger.usage import DEFINITION_VERSION, DayStatus, UsageDay

Keyed = tuple[str, str, str, str, str, int | None, str]
"""team_id, user_key, offering_code, version, source, tokens, collection_state: one row of a day, in key order."""


@dataclass(frozen=True, slots=True)
class FoldedDay:
    """A day as it is now: its rows in key order, and a digest of them (not of status, revision or publication)."""

    day: date
    rows: tuple[Keyed, ...]
    digest: str


def keyed_days(
    days: Iterable[date],
    rows: Iterable[UsageDay],
    *,
    team_of: Callable[[UsageDay], str],
    key_of: Callable[[str], str],
) -> tuple[FoldedDay, ...]:
    """One ``FoldedDay`` per day of ``days``, in order; a day without rows is empty."""
    found: dict[date, list[Keyed]] = {day: [] for day in sorted(days)}
    for row in rows:
        found[row.day].append(
            (
                team_of(row),
                key_of(row.identity_id),
                row.offering_code,
                row.version,
                row.source.value,
                whole(row.tokens),
                row.collection_state.value,
            )
        )
    return tuple(_folded(day, sorted(keyed, key=lambda one: one[:5])) for day, keyed in found.items())


def whole(tokens: Decimal | None) -> int | None:
    """``tokens`` as the column of that name publishes them; None where there is a fraction."""
    return None if tokens is None or tokens % 1 else int(tokens)


def _folded(day: date, rows: Sequence[Keyed]) -> FoldedDay:
    digest = hashlib.sha256(f"{DEFINITION_VERSION}\n".encode())
    for row in rows:
        digest.update("\x1f".join(map(str, row)).encode("utf-8") + b"\n")
    return FoldedDay(day, tuple(rows), digest.hexdigest())


def usage_table(
    days: Iterable[tuple[FoldedDay, DayStatus, int]], offering_names: Mapping[str, str], publication_id: str
) -> pa.Table:
    """The rows of ``days`` (each with its status and revision) as a table of ``usage_daily``."""
    columns: dict[str, list[Any]] = {name: [] for name in USAGE_DAILY.names}
    for folded, status, revision in days:
        count = len(folded.rows)
        if not count:
            continue
        day = folded.day
        teams, users, offerings, versions, sources, tokens, states = (
            list(column) for column in zip(*folded.rows, strict=True)
        )
        text = day.isoformat()
        columns["row_id"] += [
            row_id("usage_daily", (text, *key)) for key in zip(teams, users, offerings, versions, sources, strict=True)
        ]
        columns["usage_date"] += [day] * count
        columns["usage_at"] += [datetime.combine(day, time.min, tzinfo=UTC)] * count
        columns["date_key"] += [day.year * 10_000 + day.month * 100 + day.day] * count
        columns["team_id"] += teams
        columns["user_key"] += users
        columns["offering_code"] += offerings
        columns["offering_name"] += [offering_names.get(code, code) for code in offerings]
        columns["parent_offering_code"] += [None] * count
        columns["version"] += versions
        columns["source"] += sources
        columns["is_active"] += [state == "observed" for state in states]
        columns["tokens"] += tokens
        columns["collection_state"] += states
        columns["status"] += [str(status)] * count
        columns["definition_version"] += [DEFINITION_VERSION] * count
        columns["revision"] += [revision] * count
        columns["snapshot_id"] += [publication_id] * count
    schema = USAGE_DAILY.arrow_schema
    return pa.Table.from_arrays([pa.array(columns[field.name], field.type) for field in schema], schema=schema)
