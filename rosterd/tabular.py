"""Offerings and subscriptions from CSV or NDJSON files: every bad row with every reason at once, or all values.

Reads one file; writes nothing.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from connector.usage.formats import text as text_forms
from ledger.errors import BadInput, ManyErrors, RosterdError
from ledger.identity import fold
from ledger.seat import Offering, OfferingKind, Subscription, Tier
from rosterd.faults import close, model_faults

MAX_BYTES = 64 * 1024 * 1024
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Row:
    """One row and its line in the file."""

    line: int
    values: Mapping[str, Any]


class OfferingRow(BaseModel):
    """One offering: ``code,name,kind,eligible``."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    code: str = Field(min_length=1, max_length=64)
    name: str = Field(min_length=1, max_length=200)
    kind: OfferingKind = OfferingKind.SINGLE_USER
    eligible: bool = True


def _day(value: Any) -> Any:
    """A number is no day: spreadsheets count from 1899, Unix from 1970, and neither says so."""
    if isinstance(value, date):
        return value
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value.strip(), re.ASCII):
        return value.strip()
    raise ValueError("is not a day: write YYYY-MM-DD")


def _whole(value: Any) -> Any:
    """``1.000`` is a thousand where points part thousands, and one elsewhere: it is neither here."""
    if isinstance(value, str) and not re.fullmatch(r"\s*[+-]?\d+\s*", value, re.ASCII):
        raise ValueError("is not a whole number: write it in digits only")
    return value


Day = Annotated[date, BeforeValidator(_day)]


class SubscriptionRow(BaseModel):
    """One subscription: ``id,team,offering,quantity,tier,starts_on,ends_on,renews,contract_number``."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    id: str = Field(min_length=1, max_length=64)
    team: str = Field(min_length=1)
    offering: str = Field(min_length=1)
    quantity: Annotated[int, BeforeValidator(_whole), Field(ge=1, le=10_000_000)]
    tier: Tier = Tier.STANDARD
    starts_on: Day
    ends_on: Day
    renews: str = ""
    contract_number: str = ""

    @model_validator(mode="after")
    def _term(self) -> SubscriptionRow:
        if self.ends_on <= self.starts_on:
            raise ValueError("ends_on is the first day that is no longer covered: it lies after starts_on")
        return self


_NEEDED: Mapping[str, type[BaseModel]] = {"offerings": OfferingRow, "subscriptions": SubscriptionRow}


def read(file: Path, what: str, encoding: str = "", separator: str = "") -> list[Row]:
    """The rows of a CSV file with a header, or of an NDJSON file; raises ``BadInput`` or ``ManyErrors``.

    ``what`` it holds, as ``rosterd import`` calls it; ``encoding`` and ``separator``: names of
    ``connector.usage.formats.text``, empty for UTF-8 and a comma.
    """
    command = f"rosterd import {what} {shlex.quote(str(file))}"
    named = text_forms.encoding_of(encoding)
    try:
        if file.stat().st_size > MAX_BYTES:
            raise BadInput(f"the file is over {MAX_BYTES // 1024**2} MiB", where=str(file), next_step="split it")
        content = file.read_bytes()
        text_forms.require_form(content[:4_000], named)
        text = content.decode(named).removeprefix("\ufeff")
        if file.suffix.lower() in {".ndjson", ".jsonl"}:
            return _ndjson(file, text)
        cut = text_forms.separator_of(separator)
        needed = _NEEDED.get(what, OfferingRow).model_fields.items()
        required = [name for name, field in needed if field.is_required()]
        text_forms.require_columns(text.partition("\n")[0], required, cut)
        return _csv(file, text, cut)
    except text_forms.OtherForm as other:
        raise BadInput(other.what, where=str(file), next_step=f"{command} {other.options()}") from other
    except OSError as error:
        raise BadInput(
            f"cannot be read: {error.strerror}", where=str(file), next_step="check the path and its rights"
        ) from error
    except UnicodeDecodeError as error:
        raise BadInput(
            f"is not {named.upper()} text (byte {error.start}){_as_cp1250(error)}",
            where=str(file),
            next_step=f"{command} --encoding cp1250" if named == "utf-8" else "name the encoding it was saved in",
        ) from error


def offerings(file: Path, rows: list[Row]) -> list[Offering]:
    """Values of every row; raises ``ManyErrors`` naming every bad one."""
    faults: list[RosterdError] = []
    found = _models(OfferingRow, file, rows, faults)
    _twice(file, [(line, item.code) for line, item in found], "code", faults)
    _raise(faults)
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
    found = _models(SubscriptionRow, file, rows, faults)
    _twice(file, [(line, item.id) for line, item in found], "id", faults)
    by_key = {fold(name): identifier for name, identifier in teams.items()}
    ids = {*existing, *(item.id for _, item in found)}
    for line, item in found:
        if fold(item.team) not in by_key:
            _add(faults, file, line, "team", f"unknown Team {item.team!r}{close(item.team, teams)}")
        if item.offering not in offerings:
            _add(faults, file, line, "offering", f"unknown offering {item.offering!r}{close(item.offering, offerings)}")
        if item.renews and item.renews not in ids:
            _add(faults, file, line, "renews", f"unknown subscription {item.renews!r}{close(item.renews, ids)}")
    _raise(faults)
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


def _as_cp1250(error: UnicodeDecodeError) -> str:
    line = error.object[error.object.rfind(b"\n", 0, error.start) + 1 :].partition(b"\n")[0]
    return f": as CP1250 the line is {line.decode('cp1250', 'replace').strip()[:80]!r}"


def _csv(file: Path, text: str, separator: str) -> list[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    rows: list[Row] = []
    faults: list[RosterdError] = []
    try:
        for values in reader:
            if None in values:
                _add(faults, file, reader.line_num, "", "this row has more values than the header has names")
            elif any(value is None for value in values.values()):
                _add(faults, file, reader.line_num, "", "this row has fewer values than the header has names")
            else:
                rows.append(Row(reader.line_num, {name: value for name, value in values.items() if value != ""}))
    except csv.Error as error:
        _add(faults, file, reader.line_num, "", f"broken CSV: {error}")
    _raise(faults)
    return rows


def _ndjson(file: Path, text: str) -> list[Row]:
    rows: list[Row] = []
    faults: list[RosterdError] = []
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            values = json.loads(content)
        except (ValueError, RecursionError) as error:
            _add(faults, file, line, "", f"broken JSON: {error}")
            continue
        if isinstance(values, dict):
            rows.append(Row(line, values))
        else:
            _add(faults, file, line, "", "is not a JSON object")
    _raise(faults)
    return rows


def _models(model: type[M], file: Path, rows: list[Row], faults: list[RosterdError]) -> list[tuple[int, M]]:
    found: list[tuple[int, M]] = []
    for row in rows:
        try:
            found.append((row.line, model.model_validate(row.values)))
        except ValidationError as error:
            for path, text in model_faults(model, dict(row.values), error):
                _add(faults, file, row.line, str(path[0]) if path else "", text)
    return found


def _twice(file: Path, keys: list[tuple[int, str]], name: str, faults: list[RosterdError]) -> None:
    seen: dict[str, int] = {}
    for line, key in keys:
        if key in seen:
            _add(faults, file, line, name, f"{key!r} is here twice: the first is line {seen[key]}")
        seen.setdefault(key, line)


def _add(faults: list[RosterdError], file: Path, line: int, name: str, text: str) -> None:
    faults.append(BadInput(text, where=f"{file.name}:{line}" + (f": {name}" if name else "")))


def _raise(faults: list[RosterdError]) -> None:
    if faults:
        raise ManyErrors(faults, next_step="nothing was imported; correct the rows and import the file again")
