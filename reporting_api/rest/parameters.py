"""The query string of a dataset → a value, or a 400 that points at the fault. Nothing is clamped or ignored silently.

Pure: no I/O here.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from ledger.published.datasets import Dataset
from reporting_api.catalog import FILTERS, filters_of, parameters_of
from reporting_api.errors import Problem, invalid
from reporting_api.query.model import Condition, In, Order

_MOST_VALUES = 200
_FORMATS = {"json": "application/json", "csv": "text/csv"}
Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks of a dataset, checked against its declaration but not yet against any right."""

    team_ids: tuple[str, ...] = ()
    where: tuple[Condition, ...] = ()
    since: date | None = None
    until: date | None = None
    select: tuple[str, ...] = ()
    order: tuple[Order, ...] = ()
    limit: int = 1000
    cursor: str = ""
    snapshot: str = ""
    exact_count: bool = False
    objects: bool = False
    media_type: str = "application/json"
    given: Mapping[str, str] = field(default_factory=dict)


def parse(pairs: Pairs, dataset: Dataset, *, accept: str, page_rows: int, max_page_rows: int) -> Asked:
    """Read the parameters; raises ``Problem`` 400, 406 or 422 (a filter the dataset does not have)."""
    single, repeated = _sorted_out(pairs, dataset)
    since, until = _day("from", single), _day("to", single)
    if since and until and until <= since:
        raise invalid("to", f"to={until} is not after from={since}; from is inclusive, to is exclusive")
    columns = filters_of(dataset)
    where = tuple(
        In(columns[name], tuple(dict.fromkeys(values))) for name, values in repeated.items() if name != "team_id"
    )
    return Asked(
        team_ids=tuple(dict.fromkeys(repeated.get("team_id", ()))),
        where=where,
        since=since,
        until=until,
        select=_select(single.get("select"), dataset),
        order=_order(single.get("order"), dataset),
        limit=_limit(single.get("limit"), page_rows, max_page_rows),
        cursor=_present("cursor", single),
        snapshot=_present("snapshot", single),
        exact_count=_choice("count", single, ("none", "exact")) == "exact",
        objects=_choice("shape", single, ("arrays", "objects")) == "objects",
        media_type=media_type(single.get("format"), accept),
        given=single,
    )


def suggestion(name: str, known: Collection[str]) -> str:
    """``did you mean …?``, or the list when nothing is near."""
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"


def media_type(wanted: str | None, accept: str) -> str:
    """The media type of the answer: ``format`` wins over ``Accept``. Raises ``Problem`` 400 or 406."""
    if wanted is not None:
        if wanted not in _FORMATS:
            raise invalid("format", f"unknown format {wanted[:40]!r}", next_step=suggestion(wanted, _FORMATS))
        return _FORMATS[wanted]
    best, quality = "", 0.0
    for kind in _FORMATS.values():
        found = _quality(kind, accept)
        if found > quality:
            best, quality = kind, found
    if not best:
        raise Problem("not-acceptable", f"nothing in Accept can be served: {accept[:100]!r}", formats=list(_FORMATS))
    return best


def _quality(kind: str, accept: str) -> float:
    """How much ``Accept`` wants a media type; the most specific range decides (RFC 9110 §12.5.1)."""
    if not accept.strip():
        return 1.0
    found: dict[int, float] = {}
    for item in accept.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        ranges = (kind, kind.partition("/")[0] + "/*", "*/*")
        if name in ranges:
            found[ranges.index(name)] = max(quality, found.get(ranges.index(name), 0.0))
    return found[min(found)] if found else 0.0


def _sorted_out(pairs: Pairs, dataset: Dataset) -> tuple[dict[str, str], dict[str, list[str]]]:
    known, filters = parameters_of(dataset), filters_of(dataset)
    single: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}
    for name, value in pairs:
        if name in FILTERS and name not in filters:
            detail = f"{dataset.name} cannot be filtered by {name}"
            raise Problem("field-not-filterable", detail, at=name, filterable=sorted(filters))
        if name not in known:
            if name in ("from", "to"):
                raise Problem(
                    "field-not-filterable", f"{dataset.name} has no days", at=name, filterable=sorted(filters)
                )
            raise invalid(name[:60], f"unknown parameter {name[:60]!r}", next_step=suggestion(name, known))
        if "\x00" in value:
            raise invalid(name, "a value holds a null character")
        if name in filters:
            repeated.setdefault(name, []).append(value)
            if len(repeated[name]) > _MOST_VALUES:
                raise invalid(name, f"more than {_MOST_VALUES} values of {name}")
        elif name in single:
            raise invalid(name, f"{name} is given twice")
        else:
            single[name] = value
    return single, repeated


def _day(name: str, single: Mapping[str, str]) -> date | None:
    text = single.get(name)
    if text is None:
        return None
    try:
        if len(text) != 10:
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise invalid(name, f"{text[:40]!r} is not a day", next_step="write YYYY-MM-DD") from None


def _select(text: str | None, dataset: Dataset) -> tuple[str, ...]:
    if text is None:
        return ()
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        _known_column("select", name, dataset)
    if len(set(names)) != len(names):
        raise invalid("select", "a column is selected twice")
    return names


def _order(text: str | None, dataset: Dataset) -> tuple[Order, ...]:
    if text is None:
        return ()
    found = []
    for part in (item.strip() for item in text.split(",")):
        name = part.removeprefix("-")
        _known_column("order", name, dataset)
        found.append(Order(name, part.startswith("-")))
    if len({order.column for order in found}) != len(found):
        raise invalid("order", "a column is named twice")
    return tuple(found)


def _known_column(parameter: str, name: str, dataset: Dataset) -> None:
    if name not in dataset.by_name:
        detail = f"{dataset.name} has no column {name[:60]!r}"
        raise invalid(parameter, detail, next_step=suggestion(name, dataset.names), column=name[:60])


def _limit(text: str | None, default: int, most: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= most):
        raise invalid("limit", f"limit={text[:20]!r} is not between 1 and {most}", next_step="page through with `next`")
    return int(text)


def _choice(name: str, single: Mapping[str, str], allowed: Sequence[str]) -> str:
    text = single.get(name, allowed[0])
    if text not in allowed:
        raise invalid(name, f"{name}={text[:40]!r} is unknown", next_step=f"one of {', '.join(allowed)}")
    return text


def _present(name: str, single: Mapping[str, str]) -> str:
    if name in single and not single[name]:
        raise invalid(name, f"{name} is empty", next_step="leave it out")
    return single.get(name, "")
