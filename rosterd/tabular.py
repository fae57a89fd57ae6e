"""Offerings and subscriptions from CSV or NDJSON files: every bad row with every reason at once, or all values.

Reads one file; writes nothing.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from connector.usage.formats import text as text_forms
from connector.usage.formats.columns import Column, cut_to
from connector.usage.formats.columns import header as header_of
from ledger.errors import BadInput, ManyErrors, RosterdError
from ledger.identity import fold
from ledger.seat import Offering, OfferingKind, Subscription, Tier
from rosterd.faults import close, model_faults, shown

MAX_BYTES = 64 * 1024 * 1024
_MOST_NAMES = 10
_NDJSON = {".ndjson", ".jsonl"}
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Row:
    """One row and its line in the file."""

    line: int
    values: Mapping[str, Any]


def _day(value: Any) -> Any:
    """A number is no day: spreadsheets count from 1899, Unix from 1970, and neither says so."""
    if isinstance(value, date):
        return value
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value.strip(), re.ASCII):
        return value.strip()
    raise ValueError("is not a day")


def _whole(value: Any) -> Any:
    """``1.000`` is a thousand where points part thousands, and one elsewhere: it is neither here."""
    if isinstance(value, str) and not re.fullmatch(r"\s*[+-]?\d+\s*", value, re.ASCII):
        raise ValueError("is not a whole number")
    return value


def _truth(value: Any) -> Any:
    """Spreadsheets write TRUE and FALSE in the language of their desk."""
    return _TRUTHS.get(value.strip().casefold(), value) if isinstance(value, str) else value


_TRUTHS = {"prawda": True, "fałsz": False, "wahr": True, "falsch": False, "vrai": True, "faux": False}
Day = Annotated[date, BeforeValidator(_day)]


class _FileRow(BaseModel):
    """A row of a file. A field's docstring is what its column is about, wherever columns are shown."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, use_attribute_docstrings=True)


class OfferingRow(_FileRow):
    """One offering: what the vendor sells."""

    code: Annotated[str, Field(min_length=1, max_length=64, examples=["CAD", "RENDER", "PLOT"])]
    """The short code by which mappings (`offerings = ["CAD"]`), subscriptions and usage name it, in its letter case."""

    name: Annotated[str, Field(min_length=1, max_length=200, examples=["CAD Studio", "Render Farm", "Plot Server"])]
    """The name that people read."""

    kind: Annotated[OfferingKind, Field(examples=["single_user", "single_user", "multi_user"])] = (
        OfferingKind.SINGLE_USER
    )
    """Whether a seat belongs to one named person or is shared. Only single-user offerings count for coverage (R13)."""

    eligible: Annotated[bool, BeforeValidator(_truth), Field(examples=[True, False, False])] = True
    """Whether it may carry the Business tier; an excluded one never counts (R15)."""


class SubscriptionRow(_FileRow):
    """One subscription: a Team's right to so many seats of an offering for a term."""

    id: Annotated[str, Field(min_length=1, max_length=64, examples=["SUB-1001", "SUB-1002", "SUB-1003"])]
    """The vendor's id of the subscription. A row with an id that is known changes that subscription."""

    team: Annotated[str, Field(min_length=1, examples=["Design", "Design", "Design"])]
    """The Team that owns it: a name of `[[teams]]` or of a mapping in the organization's file, in any letter case."""

    offering: Annotated[str, Field(min_length=1, examples=["CAD", "RENDER", "CAD"])]
    """What it is a subscription of: a code of `rosterd import offerings`: import those before."""

    quantity: Annotated[int, BeforeValidator(_whole), Field(ge=1, le=10_000_000, examples=[25, 5, 30])]
    """How many seats."""

    tier: Annotated[Tier, Field(examples=["business", "standard", "business"])] = Tier.STANDARD
    """The plan that was bought. While a subscription of tier `business` runs, its Team is a Business Team."""

    starts_on: Annotated[Day, Field(examples=["{year}-01-01", "{year}-01-01", "{next_year}-01-01"])]
    """The first day of the term."""

    ends_on: Annotated[Day, Field(examples=["{next_year}-01-01", "{next_year}-01-01", "{after_next_year}-01-01"])]
    """The first day that is no longer covered, after `starts_on`."""

    renews: Annotated[str, Field(examples=[None, None, "SUB-1001"])] = ""
    """The id of the subscription that this one follows: one of the file, or one that is known."""

    contract_number: Annotated[str, Field(examples=["C-2040-17", None, "C-2041-03"])] = ""
    """The contract it was bought under; kept and shown in reports."""

    @field_validator("ends_on")
    @classmethod
    def _term(cls, ends_on: date, info: ValidationInfo) -> date:
        starts_on = info.data.get("starts_on")
        if starts_on is not None and ends_on <= starts_on:
            raise ValueError(f"is not after starts_on, {starts_on}: it is the first day that is no longer covered")
        return ends_on


_MODELS: Mapping[str, type[_FileRow]] = {"offerings": OfferingRow, "subscriptions": SubscriptionRow}


def columns(what: str) -> tuple[Column, ...]:
    """The columns of a file, by what it holds: their limits are those that its rows are judged by."""
    fields = _MODELS[what].model_fields.items()
    return tuple(
        Column(name, field.is_required(), _holds(field), field.description or "", tuple(field.examples or ()))
        for name, field in fields
    )


def _holds(field: FieldInfo) -> str:
    limits = {name: getattr(item, name) for item in field.metadata for name in ("max_length", "ge", "le")
              if hasattr(item, name)}  # fmt: skip
    kind = field.annotation
    if kind is date:
        return "a day, as YYYY-MM-DD"
    if kind is int:
        return f"a whole number from {limits['ge']} to {limits['le']}, in digits only"
    words = "text" + (f" of at most {limits['max_length']} characters" if "max_length" in limits else "")
    allowed = ("true", "false") if kind is bool else tuple(kind) if isinstance(kind, type(StrEnum)) else ()
    if not allowed:
        return words
    default = str(field.default).lower()
    return " or ".join(f"`{word}`{' (when left out)' if word == default else ''}" for word in map(str, allowed))


def read(file: Path, what: str, encoding: str = "", separator: str = "") -> list[Row]:
    """The rows of a CSV file with a header, or of an NDJSON file; raises ``BadInput`` or ``ManyErrors``.

    ``what`` it holds, as ``rosterd import`` calls it; ``encoding`` and ``separator``: names of
    ``connector.usage.formats.text``, empty for what the file shows, else UTF-8 and a comma.
    """
    command = f"rosterd import {what} {shlex.quote(str(file))}"
    named = ""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise BadInput(f"the file is over {MAX_BYTES // 1024**2} MiB", where=str(file), next_step="split it")
        content = file.read_bytes()
        names = [column.name for column in columns(what)]
        named, cut = text_forms.form_of(content[: text_forms.HEAD], encoding, separator, names)
        text = content.decode(named).removeprefix("\ufeff")
        rows = _ndjson(file, what, text) if file.suffix.lower() in _NDJSON else _csv(file, what, text, cut)
    except text_forms.OtherForm as other:
        raise BadInput(other.what, where=str(file), next_step=f"{command} {other.options()}") from other
    except OSError as error:
        raise BadInput(
            f"cannot be read: {error.strerror}", where=str(file), next_step="check the path and its rights"
        ) from error
    except UnicodeDecodeError as error:
        likely = text_forms.likely_encoding(error.object)
        line = error.object.count(b"\n", 0, error.start) + 1
        raise BadInput(
            f"is not {named.upper()} text (byte {error.start}){_read_as(error, likely)}",
            where=f"{file}:{line}",
            next_step=f"{command} --encoding {likely}" if named == "utf-8" else "name the encoding it was saved in",
        ) from error
    if not rows:
        found = "a header and no rows" if text.strip() else "nothing"
        raise BadInput(f"the file holds no {what}: {found}", where=str(file), next_step=_template(what))
    return rows


def offerings(file: Path, rows: list[Row]) -> list[Offering]:
    """Values of every row; raises ``ManyErrors`` naming every bad one."""
    faults: list[RosterdError] = []
    found = _models("offerings", OfferingRow, file, rows, faults)
    _twice(file, [(line, item.code) for line, item in found], "code", faults)
    _raise(faults, "offerings")
    return [Offering(item.code, item.name, item.kind, item.eligible) for _, item in found]


def subscriptions(
    file: Path,
    rows: list[Row],
    *,
    teams: Mapping[str, str],
    offerings: Collection[str],
    existing: Collection[str],
) -> list[tuple[Subscription, str]]:
    """(value, contract number) of every row. ``teams``: name → id of the Teams there are; ``offerings``: known codes;
    ``existing``: subscription ids that ``renews`` may name besides those of the file. Raises ``ManyErrors``."""
    faults: list[RosterdError] = []
    found = _models("subscriptions", SubscriptionRow, file, rows, faults)
    _twice(file, [(line, item.id) for line, item in found], "id", faults)
    by_key = {fold(name): identifier for name, identifier in teams.items()}
    ids = {*existing, *(item.id for _, item in found)}
    for line, item in found:
        if fold(item.team) not in by_key:
            _add(faults, file, line, "team", _unknown("Team", item.team, teams, "a mapping or [[teams]]"))
        if item.offering not in offerings:
            text = _unknown("offering", item.offering, offerings, "rosterd import offerings FILE")
            _add(faults, file, line, "offering", text)
        if item.renews and item.renews not in ids:
            _add(faults, file, line, "renews", _unknown("subscription", item.renews, ids, "the file itself"))
    _raise(faults, "subscriptions")
    return [(_subscription(item, by_key[fold(item.team)]), item.contract_number) for _, item in found]


def _subscription(item: SubscriptionRow, team_id: str) -> Subscription:
    return Subscription(
        id=item.id,
        team_id=team_id,
        offering_code=item.offering,
        quantity=item.quantity,
        tier=item.tier,
        starts_on=item.starts_on,
        ends_on=item.ends_on,
        renews=item.renews,
    )


def _read_as(error: UnicodeDecodeError, encoding: str) -> str:
    line = error.object[error.object.rfind(b"\n", 0, error.start) + 1 :].partition(b"\n")[0]
    return f": as {encoding.upper()} the line is {line.decode(encoding, 'replace').strip()[:80]!r}"


def _csv(file: Path, what: str, text: str, separator: str) -> list[Row]:
    """Rows below a header, with the cells that are filled; before the header there may be comments."""
    table = columns(what)
    names = [column.name for column in table]
    before = list(takewhile(lambda line: text_forms.is_preamble(line, names), text.splitlines(keepends=True)))
    reader = csv.reader(io.StringIO(text[sum(map(len, before)) :], newline=""), strict=True, delimiter=separator)
    rows: list[Row] = []
    faults: list[RosterdError] = []
    header: list[str] = []
    try:
        for cells in reader:
            line = len(before) + reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = header_of(cut_to(cells, 0), table, _template(what), f"{file}:{line}")
            elif (found := len(cut_to(cells, len(header)))) != len(header):
                few = "fewer" if found < len(header) else "more"
                said = f"this row has {few} values than the header has names: {found} instead of {len(header)}"
                _add(faults, file, line, "", said)
            else:
                rows.append(Row(line, _filled(zip(header, map(str.strip, cells), strict=True))))
    except csv.Error as error:
        _add(faults, file, len(before) + reader.line_num, "", f"broken CSV: {error}")
    _raise(faults, what)
    return rows


def _filled(values: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Null, an absent field and an empty text are the same."""
    return {name: value for name, value in values if value is not None and value != ""}


def _ndjson(file: Path, what: str, text: str) -> list[Row]:
    rows: list[Row] = []
    faults: list[RosterdError] = []
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip() or (not rows and not faults and content.lstrip().startswith("#")):
            continue
        try:
            values = json.loads(content)
        except (ValueError, RecursionError) as error:
            _add(faults, file, line, "", f"broken JSON: {error}")
            continue
        if isinstance(values, dict):
            rows.append(Row(line, _filled(values.items())))
        else:
            _add(faults, file, line, "", "is not a JSON object")
    _raise(faults, what)
    return rows


def _models(what: str, model: type[M], file: Path, rows: list[Row], faults: list[RosterdError]) -> list[tuple[int, M]]:
    found: list[tuple[int, M]] = []
    holds = {column.name: column.holds.replace("`", "") for column in columns(what)}
    for row in rows:
        try:
            found.append((row.line, model.model_validate(row.values)))
        except ValidationError as error:
            for path, text in model_faults(model, dict(row.values), error):
                name = str(path[0]) if path else ""
                _add(faults, file, row.line, name, _fault(text, row.values.get(name), holds.get(name, "")))
    return found


def _fault(text: str, value: Any, holds: str) -> str:
    """What is wrong with a value, with the value and what is expected in its place."""
    if not holds:  # no column: the text says what is known
        return text
    if value is None:
        return f"is empty; expected: {holds}"
    said = text if shown(value) in text else f"{shown(value)} {text.removeprefix('String ')}"
    return f"{said}; expected: {holds}"


def _unknown(kind: str, value: str, known: Collection[str], command: str) -> str:
    if not known:
        return f"unknown {kind} {shown(value)}: none is known yet; {command} adds them"
    names = sorted(known)
    listed = ", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
    return f"unknown {kind} {shown(value)}{close(value, known) or f' (known: {listed})'}"


def _twice(file: Path, keys: list[tuple[int, str]], name: str, faults: list[RosterdError]) -> None:
    seen: dict[str, int] = {}
    for line, key in keys:
        if key in seen:
            _add(faults, file, line, name, f"{key!r} is here twice: the first is line {seen[key]}")
        seen.setdefault(key, line)


def _add(faults: list[RosterdError], file: Path, line: int, name: str, text: str) -> None:
    faults.append(BadInput(text, where=f"{file.name}:{line}" + (f": {name}" if name else "")))


def _template(what: str) -> str:
    return f"rosterd import {what} --template prints the format"


def _raise(faults: list[RosterdError], what: str) -> None:
    if faults:
        step = f"nothing was imported; correct the rows and import the file again; {_template(what)}"
        raise ManyErrors(faults, next_step=step)
