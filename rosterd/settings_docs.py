"""Writes the example files and JSON Schemas of ``config/`` from the settings models.

``python -m rosterd.settings_docs --write`` writes them into ``config/`` of the current folder: the checkout's, or that
of whoever installed the wheel, which holds none of these files. Without ``--write`` it says which are stale (exit 1).
The docstring of a setting is its comment, so a setting is described once.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ledger.settings import show_duration
from rosterd.faults import models_in
from rosterd.settings import InstallationSettings, OrganizationSettings
from rosterd.settings_example import INSTALLATION, ORGANIZATION

_TABLE = re.compile(r"\[+[\w.]+\]+: (\w)")
WIDTH = 118


SCHEMAS: dict[str, type[BaseModel]] = {
    "rosterd.schema.json": InstallationSettings,
    "organization.schema.json": OrganizationSettings,
}
"""Name of a JSON Schema → the model of the files that it describes."""


def generated() -> dict[str, str]:
    """Path below ``config/`` → content."""
    return {
        "rosterd.example.toml": example(InstallationSettings, INSTALLATION),
        "organizations/acme.example.toml": example(OrganizationSettings, ORGANIZATION),
        **{f"schema/{name}": text for name, text in schemas().items()},
    }


def schemas() -> dict[str, str]:
    """Name → JSON Schema, of the rosterd that runs."""
    return {name: _schema(model) for name, model in SCHEMAS.items()}


def chosen(model: type[BaseModel], values: Mapping[str, Any]) -> str:
    """A file with the keys that ``values`` sets and no others, each with its docstring."""
    return "\n".join(_table(model, values, "", whole=False)).strip() + "\n"


def example(model: type[BaseModel], values: Mapping[str, Any]) -> str:
    """An example file: every key with its docstring; keys that ``values`` does not set are commented out."""
    return "\n".join([*_comment(model.__doc__ or ""), "", *_table(model, values, "")]).rstrip() + "\n"


def _table(model: type[BaseModel], values: Mapping[str, Any], prefix: str, *, whole: bool = True) -> Iterator[str]:
    """Keys, then tables; ``whole``: also those that ``values`` does not set, commented out."""
    tables: list[tuple[str, FieldInfo]] = []
    for attribute, field in model.model_fields.items():
        name = field.alias or attribute
        if not whole and name not in values:
            continue
        if models_in(field.annotation) or isinstance(values.get(name), dict):
            tables.append((name, field))
            continue
        yield from _comment(field.description or "")
        if name in values:
            yield f"{name} = {_toml(values[name])}"
        else:
            yield f"# {name} = {_toml(_default(field))}"
    for name, field in tables:
        yield from _subtables(f"{prefix}{name}", field, values.get(name), whole=whole)


def _subtables(path: str, field: FieldInfo, value: Any, *, whole: bool) -> Iterator[str]:
    kinds = models_in(field.annotation)
    if isinstance(value, list):
        for item in value:
            model = _kind(kinds, item)
            yield from ("", *_comment(model.__doc__ or ""), f"[[{path}]]")
            yield from _table(model, item, f"{path}.", whole=whole)
    elif isinstance(value, dict) and not kinds:
        yield from ("", *_comment(field.description or ""), f"[{path}]")
        yield from (f"{key} = {_toml(inner)}" for key, inner in value.items())
    else:
        yield from ("", *_comment(field.description or kinds[0].__doc__ or ""))
        yield f"[{path}]" if value is not None else f"# [{path}]"
        yield from _table(kinds[0], value or {}, f"{path}.", whole=whole)


def _kind(kinds: Sequence[type[BaseModel]], item: Mapping[str, Any]) -> type[BaseModel]:
    """The member of a tagged union that ``item`` is one of."""
    for model in kinds:
        if "kind" not in model.model_fields or model.model_fields["kind"].default == item.get("kind"):
            return model
    raise LookupError(f"no model for {item!r}")


def _comment(text: str) -> list[str]:
    """The name of a table is left out: it stands below, and once, so that whoever searches for it finds the table."""
    words = " ".join(text.replace("``", "").split())
    if named := _TABLE.match(words):
        words = f"{named[1].upper()}{words[named.end() :]}"
    return [f"# {line}" for line in textwrap.wrap(words, WIDTH)]


def _default(field: FieldInfo) -> Any:
    value = field.get_default(call_default_factory=True)
    return "" if value is None or value is PydanticUndefined else value


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, timedelta):
        return json.dumps(show_duration(value))
    if isinstance(value, StrEnum):
        return json.dumps(value.value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }" if value else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    return json.dumps(str(value), ensure_ascii=False)


def _schema(model: type[BaseModel]) -> str:
    return json.dumps(model.model_json_schema(), ensure_ascii=False, indent=2) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Write, or compare; returns the exit code."""
    folder = Path("config")
    stale = 0
    for name, content in generated().items():
        path = folder / name
        if path.exists() and path.read_text(encoding="utf-8") == content:
            continue
        stale += 1
        if "--write" in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        sys.stdout.write(f"{'written' if '--write' in arguments else 'stale'}: config/{name}\n")
    return 1 if stale and "--write" not in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
