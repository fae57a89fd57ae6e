"""``Query`` → SQL text with positional parameters, for DuckDB and Trino alike.

Values only ever travel as parameters; identifiers only ever come from the list of datasets. The scope is ANDed in here,
and a column outside the scope is a fault of ours that ends the query. Pure: no I/O here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.published.datasets import SEATS, Dataset
from reporting_api.query.model import Compare, Condition, Every, In, IsNull, Not, Op, Order, Query, Some


@dataclass(frozen=True, slots=True)
class Relation:
    """How an engine names one published table at one snapshot: the text after FROM, and its parameters."""

    sql: str
    parameters: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Compiled:
    """A statement. ``columns`` names its output: the selected columns, then what only the next cursor needs."""

    sql: str
    parameters: tuple[Any, ...]
    columns: tuple[str, ...]


def relations_of(query: Query) -> tuple[str, ...]:
    """The datasets a statement for ``query`` reads: its own, and for people without a Team column the seats."""
    return (query.dataset, SEATS.name) if _through_seats(query.shape) else (query.dataset,)


def page(query: Query, relations: Mapping[str, Relation]) -> Compiled:
    """The rows of one page, and one more to know whether another page follows."""
    hidden = [order.column for order in query.order if order.column not in query.select]
    columns = tuple(query.shape.by_name[name].name for name in (*query.select, *hidden))
    where, parameters = _where(query, relations)
    if query.after is not None:
        sql, values = _after(query.shape, query.order, query.after)
        where.append(sql)
        parameters += values
    text = (
        f"SELECT {', '.join(map(_name, columns))} FROM {relations[query.dataset].sql}"  # noqa: S608 - names from the list
        f" WHERE {' AND '.join(where)} ORDER BY {', '.join(map(_order, query.order))} LIMIT {query.limit + 1}"
    )
    return Compiled(text, (*relations[query.dataset].parameters, *parameters), columns)


def count(query: Query, relations: Mapping[str, Relation]) -> Compiled:
    """How many rows the question has on all pages together."""
    where, parameters = _where(query, relations)
    relation = relations[query.dataset]
    text = f"SELECT count(*) FROM {relation.sql} WHERE {' AND '.join(where)}"  # noqa: S608 - names from the list
    return Compiled(text, (*relation.parameters, *parameters), ("count",))


def _where(query: Query, relations: Mapping[str, Relation]) -> tuple[list[str], list[Any]]:
    dataset = query.shape
    beyond = query.touched() - query.scope.columns
    if beyond:
        raise PermissionError(f"columns outside the scope reached the compiler: {sorted(beyond)}")
    parts: list[str] = []
    parameters: list[Any] = []
    for sql, values in _scope(query, relations):
        parts.append(sql)
        parameters += values
    day = dataset.day_column
    for op, value in ((Op.GE, query.since), (Op.LT, query.until)):
        if value is not None:
            parts.append(f"{_name(day)} {op} ?")
            parameters.append(value)
    for condition in query.where:
        sql, values = _condition(condition, dataset)
        parts.append(sql)
        parameters += values
    return parts or ["TRUE"], parameters


def _scope(query: Query, relations: Mapping[str, Relation]) -> list[tuple[str, list[Any]]]:
    dataset, teams = query.shape, list(query.scope.team_ids)
    if not teams:
        return [("FALSE", [])]
    marks = ", ".join("?" * len(teams))
    if dataset.team_column:
        return [(f"{_name(dataset.team_column)} IN ({marks})", teams)]
    if _through_seats(dataset):
        seats = relations[SEATS.name]
        inner = f'SELECT "user_key" FROM {seats.sql} WHERE {_name(SEATS.team_column)} IN ({marks})'  # noqa: S608
        return [(f'"user_key" IN ({inner})', [*seats.parameters, *teams])]
    return []


def _through_seats(dataset: Dataset) -> bool:
    """People belong to no one Team: they are seen through the seats they hold or held in a readable Team."""
    return dataset.per_user and not dataset.team_column


def _condition(condition: Condition, dataset: Dataset) -> tuple[str, list[Any]]:
    match condition:
        case Compare(column, op, value):
            return f"{_known(column, dataset)} {op} ?", [value]
        case In(column, values):
            return f"{_known(column, dataset)} IN ({', '.join('?' * len(values))})", list(values)
        case IsNull(column):
            return f"{_known(column, dataset)} IS NULL", []
        case Not(inner):
            sql, values_ = _condition(inner, dataset)
            return f"NOT ({sql})", values_
        case Every(parts):
            return _joined(" AND ", parts, dataset)
        case Some(parts):
            return _joined(" OR ", parts, dataset)


def _joined(word: str, parts: Sequence[Condition], dataset: Dataset) -> tuple[str, list[Any]]:
    texts, parameters = [], []
    for part in parts:
        sql, values = _condition(part, dataset)
        texts.append(sql)
        parameters += values
    return f"({word.join(texts)})", parameters


def _after(dataset: Dataset, order: Sequence[Order], values: Sequence[Any]) -> tuple[str, list[Any]]:
    """Strictly behind ``values`` in ``order`` with nulls last: an exact position, whatever ties there are.

    The leading column is bounded on its own first, because engines skip files and row groups by that.
    """
    head, value = order[0], values[0]
    sql, parameters = _behind(dataset, order, values)
    if not dataset.by_name[head.column].nullable and len(order) > 1:
        return f"{_name(head.column)} {Op.LE if head.descending else Op.GE} ? AND ({sql})", [value, *parameters]
    return f"({sql})", parameters


def _behind(dataset: Dataset, order: Sequence[Order], values: Sequence[Any]) -> tuple[str, list[Any]]:
    head, value = order[0], values[0]
    name = _name(head.column)
    later: list[str] = []
    parameters: list[Any] = []
    if value is not None:
        later.append(f"{name} {Op.LT if head.descending else Op.GT} ?")
        parameters.append(value)
        if dataset.by_name[head.column].nullable:
            later.append(f"{name} IS NULL")
    if len(order) > 1:
        rest, more = _behind(dataset, order[1:], values[1:])
        same = f"{name} IS NULL" if value is None else f"{name} = ?"
        later.append(f"({same} AND ({rest}))")
        parameters += ([] if value is None else [value]) + more
    return " OR ".join(later) or "FALSE", parameters


def _order(order: Order) -> str:
    return f"{_name(order.column)} {'DESC' if order.descending else 'ASC'} NULLS LAST"


def _known(column: str, dataset: Dataset) -> str:
    return _name(dataset.by_name[column].name)


def _name(column: str) -> str:
    return f'"{column}"'
