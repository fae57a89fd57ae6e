"""``ROSTERD_<SECTION>_<KEY>`` overrides a key of ``rosterd.toml``; an unknown one is reported by name.

Pure: the variables are handed in.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from ledger.errors import BadInput
from rosterd.faults import close, models_in

PREFIX = "ROSTERD_"
OWN = frozenset({"ROSTERD_CONFIG", "ROSTERD_DEBUG"})
"""Variables of the command line itself."""


@dataclass(frozen=True, slots=True)
class Override:
    """One variable and the value it gives to a key."""

    name: str
    value: Any


def names(model: type[BaseModel]) -> dict[str, tuple[str, ...]]:
    """Variable → path of the key it overrides, for every key of ``model``."""
    found: dict[str, tuple[str, ...]] = {}
    for key, field in model.model_fields.items():
        inner = models_in(field.annotation)
        if inner:
            found |= {f"{PREFIX}{key}_{name}".upper(): (key, name) for part in inner for name in part.model_fields}
        else:
            found[f"{PREFIX}{key}".upper()] = (key,)
    return found


def overrides(
    model: type[BaseModel], variables: Mapping[str, str]
) -> tuple[dict[tuple[str, ...], Override], dict[str, BadInput]]:
    """What the environment overrides, by path, and one fault per unknown ``ROSTERD_`` variable, by name."""
    known = names(model)
    found: dict[tuple[str, ...], Override] = {}
    wrong: dict[str, BadInput] = {}
    for name, value in sorted(variables.items()):
        if not name.startswith(PREFIX) or name in OWN:
            continue
        path = known.get(name)
        if path is None:
            wrong[name] = BadInput(
                f"unknown variable {name}{close(name, known)}", where="environment", next_step=f"unset {name}"
            )
        else:
            found[path] = Override(name, _split(model, path, value))
    return found, wrong


def merged(raw: Mapping[str, Any], found: Mapping[tuple[str, ...], Override]) -> dict[str, Any]:
    """``raw`` with the overrides in their places."""
    out = dict(raw)
    for path, override in found.items():
        if len(path) == 1:
            out[path[0]] = override.value
        elif isinstance(out.get(path[0], {}), dict):
            out[path[0]] = {**out.get(path[0], {}), path[1]: override.value}
    return out


def named_secrets(raw: Any) -> Iterator[str]:
    """Every NAME that a value ``env:NAME`` somewhere in ``raw`` points to: no mistyped overrides."""
    if isinstance(raw, dict):
        for value in raw.values():
            yield from named_secrets(value)
    elif isinstance(raw, list):
        for value in raw:
            yield from named_secrets(value)
    elif isinstance(raw, str) and raw.startswith("env:"):
        yield raw.removeprefix("env:")


def _split(model: type[BaseModel], path: tuple[str, ...], value: str) -> Any:
    """A list where the key takes a list: values apart by commas."""
    annotation: Any = model.model_fields[path[0]].annotation
    for key in path[1:]:
        annotation = next(
            part.model_fields[key].annotation for part in models_in(annotation) if key in part.model_fields
        )
    if typing.get_origin(annotation) in {tuple, list}:
        return [part.strip() for part in value.split(",") if part.strip()]
    return value
