"""What pydantic found, said for people: path in the file and a sentence, suggestions included.

Pure: no I/O here. A value is repeated only where it cannot be a secret.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rosterd.toml_places import Path

_LONGEST, _LONGEST_SENTENCE = 80, 1000
_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "float_type": "a number",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}


def model_faults(model: type[BaseModel], raw: dict[str, Any], error: ValidationError) -> Iterator[tuple[Path, str]]:
    """Each fault once, in the order of the file's model: (path in ``raw``, what is wrong)."""
    seen: set[tuple[Path, str]] = set()
    for item in error.errors(include_url=False):
        path, tags = _path(item, raw)
        fault = (path, _sentence(item, path, model, raw, tags)[:_LONGEST_SENTENCE])
        if fault not in seen:
            seen.add(fault)
            yield fault


def _path(item: ErrorDetails, raw: Any) -> tuple[Path, tuple[str, ...]]:
    """Where the fault is in the data; union members that pydantic puts in between are returned apart."""
    path: list[str | int] = []
    tags: list[str] = []
    node: Any = raw
    location = item["loc"]
    for position, part in enumerate(location):
        last = position == len(location) - 1
        inside_list = isinstance(node, list) and isinstance(part, int) and part < len(node)
        if inside_list or (isinstance(node, dict) and part in node):
            node = node[part]
            path.append(part)
        elif last and item["type"] == "missing":
            path.append(part)
        else:
            tags.append(str(part))
    return tuple(path), tuple(tags)


def _sentence(item: ErrorDetails, path: Path, model: type[BaseModel], raw: Any, tags: tuple[str, ...]) -> str:
    kind = item["type"]
    if kind == "extra_forbidden":
        return _unknown_key(str(path[-1]), path[:-1], model, tags)
    if kind == "missing":
        return "this key is required"
    if kind == "union_tag_not_found":
        return f"the key kind is required: {item['ctx']['discriminator']} says which kind of table this is"
    if kind == "union_tag_invalid":
        known = [part.strip("' ") for part in str(item["ctx"]["expected_tags"]).split(",")]
        tag = str(item["ctx"]["tag"])
        return f"unknown kind {shown(tag)}{close(tag, known)} (known: {', '.join(known)})"
    if kind in _WANTED:
        return f"{shown(item['input'])} is {_called(item['input'])}: {_WANTED[kind]} is wanted"
    text = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if kind in {"literal_error", "enum"}:
        wanted = [part.strip("' ") for part in text.replace(" or ", ",").split(",")]
        return f"{shown(item['input'])} is none of {', '.join(wanted)}{close(str(item['input']), wanted)}"
    if kind.startswith(("greater_than", "less_than")):
        return f"{shown(item['input'])} is out of range: {text}"
    if kind == "string_pattern_mismatch":
        return f"{shown(item['input'])} is not of the form {item['ctx']['pattern']}"
    return text


def _unknown_key(key: str, parent: Path, model: type[BaseModel], tags: tuple[str, ...]) -> str:
    known = {field.alias or name for found in _models_at(model, parent) for name, field in found.model_fields.items()}
    if key in known:
        return f"this key does not belong here{f' (kind = {tags[-1]!r})' if tags else ''}"
    if hint := close(key, known):
        return f"unknown key {shown(key)}{hint}"
    if parent and key in model.model_fields:
        where = "it is a key of the file itself, write it before the first [table]"
        return f"unknown key {shown(key)} in [{parent[0]}]: {where}"
    return f"unknown key {shown(key)} (known here: {', '.join(sorted(known)) or 'none'})"


def _models_at(model: type[BaseModel], path: Path) -> list[type[BaseModel]]:
    """The models that may describe the table at ``path``."""
    found: list[type[BaseModel]] = [model]
    for part in path:
        if isinstance(part, int):
            continue
        annotations = [item.model_fields[part].annotation for item in found if part in item.model_fields]
        found = [inner for annotation in annotations for inner in models_in(annotation)]
    return found


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Every settings model inside an annotation: ``tuple[A | B, ...]`` → A, B."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in typing.get_args(annotation) for found in models_in(inner)]


def shown(value: Any) -> str:
    """A value or a key as a message repeats it: not all of it where it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def close(text: str, known: Any) -> str:
    """``: did you mean 'x'?`` for the nearest known word, or nothing."""
    found = difflib.get_close_matches(text, sorted(str(item) for item in known), n=1, cutoff=0.6)
    return f": did you mean {found[0]!r}?" if found else ""


def _called(value: Any) -> str:
    names = {str: "text", bool: "a truth value", int: "a number", float: "a number", list: "a list", dict: "a table"}
    return names.get(type(value), "of another type")
