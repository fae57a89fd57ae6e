"""What can be asked of a dataset, as frozen values. REST, OData and exports build the same ``Query``.

A ``Query`` cannot exist without a ``Scope``: the organization, its Teams and the columns the asker may touch. Only
``reporting_api.auth`` makes scopes. Pure: no I/O here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

import msgspec

from ledger.published.datasets import DATASETS, Dataset


class Op(StrEnum):
    """Comparisons. Text compares by code point; nothing compares with null (see ``IsNull``)."""

    EQ = "="
    NE = "<>"
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="


@dataclass(frozen=True, slots=True)
class Compare:
    """``column op value``; false where the column is null."""

    column: str
    op: Op
    value: Any


@dataclass(frozen=True, slots=True)
class In:
    """``column`` is one of ``values`` (at least one)."""

    column: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class IsNull:
    """``column`` holds nothing."""

    column: str


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite; of unknown it stays unknown, as in SQL and OData."""

    inner: Condition


@dataclass(frozen=True, slots=True)
class Every:
    """All of them (at least one)."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one of them."""

    parts: tuple[Condition, ...]


Condition = Compare | In | IsNull | Not | Every | Some


@dataclass(frozen=True, slots=True)
class Order:
    """Sort by ``column``; nulls come last either way."""

    column: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """What the asker may touch: rows of these Teams (at least one) of this organization, these columns."""

    organization: str
    team_ids: tuple[str, ...]
    columns: frozenset[str]
    privacy: str


@dataclass(frozen=True, slots=True)
class Query:
    """One question about one dataset of one publication.

    ``order`` always ends in ``row_id``, so that it is total; ``after`` holds the values of the order's columns in the
    last row of the page before. ``since``/``until`` narrow the day column, ``[since, until)``.
    """

    dataset: str
    scope: Scope
    snapshot: str
    select: tuple[str, ...]
    order: tuple[Order, ...]
    limit: int
    where: tuple[Condition, ...] = ()
    since: date | None = None
    until: date | None = None
    after: tuple[Any, ...] | None = field(default=None)

    @property
    def shape(self) -> Dataset:
        """The dataset's declaration."""
        return DATASETS[self.dataset]

    def touched(self) -> frozenset[str]:
        """Every column the question names anywhere."""
        named = {*self.select, *(order.column for order in self.order)}
        for condition in self.where:
            named.update(columns_of(condition))
        if self.since is not None or self.until is not None:
            named.add(self.shape.day_column)
        return frozenset(named)


def columns_of(condition: Condition) -> Iterator[str]:
    """The columns a condition names."""
    match condition:
        case Compare(column=column) | In(column=column) | IsNull(column=column):
            yield column
        case Not(inner=inner):
            yield from columns_of(inner)
        case Every(parts=parts) | Some(parts=parts):
            for part in parts:
                yield from columns_of(part)


def completed(order: tuple[Order, ...], dataset: Dataset) -> tuple[Order, ...]:
    """``order`` made total: the dataset's day first when nothing was asked for, ``row_id`` last always."""
    if not order and dataset.day_column:
        order = (Order(dataset.day_column),)
    named = [item.column for item in order]
    if "row_id" in named:
        return order[: named.index("row_id") + 1]
    return (*order, Order("row_id"))


def canonical(query: Query) -> str:
    """The question as text, equal for equal questions: without snapshot, Teams in scope, page size and position."""
    value = {
        "dataset": query.dataset,
        "organization": query.scope.organization,
        "privacy": query.scope.privacy,
        "select": list(query.select),
        "where": sorted(_canonical(condition) for condition in query.where),
        "since": query.since,
        "until": query.until,
        "order": [("-" if order.descending else "") + order.column for order in query.order],
    }
    return msgspec.json.encode(value, order="deterministic").decode("utf-8")


def fingerprint(query: Query) -> str:
    """16 bytes of SHA-256 over ``canonical``, hexadecimal: what a cursor is bound to."""
    return _digest(canonical(query))


def teams_fingerprint(query: Query) -> str:
    """The same over the Teams in scope."""
    return _digest("\x1f".join(sorted(query.scope.team_ids)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]


def _canonical(condition: Condition) -> str:
    match condition:
        case Compare(column, op, value):
            return f"{column} {op} {_text(value)}"
        case In(column, values):
            return f"{column} in {sorted(_text(value) for value in set(values))}"
        case IsNull(column):
            return f"{column} is null"
        case Not(inner):
            return f"not ({_canonical(inner)})"
        case Every(parts):
            return "(" + " and ".join(sorted(map(_canonical, parts))) + ")"
        case Some(parts):
            return "(" + " or ".join(sorted(map(_canonical, parts))) + ")"


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        value = value.astimezone(UTC)
    return msgspec.json.encode(value).decode("utf-8")
