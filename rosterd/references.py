"""Faults between the tables of one organization file: ids used twice, names that nobody has.

Pure. Works on the raw tables, so that these faults are named together with wrong types and unknown keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from connector.reconcile.plan.settings import (
    GuestSettings,
    MappingSettings,
    OffboardingSettings,
    SyncSettings,
    TeamSettings,
)
from connector.reconcile.policy.policy import Policy
from ledger.errors import ManyErrors
from ledger.identity import a_label
from rosterd.toml_places import Path

M = TypeVar("M", bound=BaseModel)
_WHERE = re.compile(r"(\w+)(?:\[(\d+)\])?(?:\.(.+))?")


def faults(raw: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """(path, what is wrong) for every contradiction between tables that are themselves readable."""
    yield from _twice(raw, "directories", "id")
    yield from _twice(raw, "domains", "name")
    try:
        Policy.build(
            teams=_teams(raw),
            mappings=[item for item in _valid(MappingSettings, raw, "mappings") if item is not None],
            offboarding=_offboarding(raw),
            sync=_sync(raw),
            guests=list(_guests(raw)),
            directories={str(item.get("id")): _fields(item) for item in _tables(raw, "directories")},
            domains=[_domain(item.get("name")) for item in _tables(raw, "domains")],
        )
    except ManyErrors as many:
        for fault in many.faults:
            yield _place(raw, fault.where), fault.what


def claims(raw: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """What only one organization may claim: its id and its domains, each with its path."""
    section = raw.get("organization")
    if isinstance(section, dict) and isinstance(section.get("id"), str):
        yield f"organization {section['id']!r}", ("organization", "id")
    seen: set[str] = set()
    for position, item in enumerate(_tables(raw, "domains")):
        name = _domain(item.get("name"))
        if name and name not in seen:
            seen.add(name)
            yield f"domain {name}", ("domains", position, "name")


def _tables(raw: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    items = raw.get(key, [])
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _twice(raw: Mapping[str, Any], section: str, key: str) -> Iterator[tuple[Path, str]]:
    seen: dict[str, int] = {}
    for position, item in enumerate(_tables(raw, section)):
        value = _domain(item.get(key)) if section == "domains" else item.get(key)
        if not isinstance(value, str) or not value:
            continue
        if value in seen:
            yield (section, position, key), f"{value!r} is here twice: the first is {section}[{seen[value] + 1}]"
        seen.setdefault(value, position)


def _valid(model: type[M], raw: Mapping[str, Any], section: str) -> Iterator[M | None]:
    """Each table as a value; without its wrong keys, which are reported elsewhere, or None when that is not enough."""
    for item in _tables(raw, section):
        try:
            yield model.model_validate(item)
        except ValidationError as error:
            wrong = {fault["loc"][0] for fault in error.errors() if fault["loc"]}
            try:
                yield model.model_validate({key: value for key, value in item.items() if key not in wrong})
            except ValidationError:
                yield None


def _teams(raw: Mapping[str, Any]) -> list[TeamSettings]:
    """Every Team that has a name; what else is wrong with one is said elsewhere."""
    found: list[TeamSettings] = []
    for item, team in zip(_tables(raw, "teams"), _valid(TeamSettings, raw, "teams"), strict=True):
        name = item.get("name")
        if team is not None:
            found.append(team)
        elif isinstance(name, str) and 0 < len(name) <= 200:
            found.append(TeamSettings(name=name))
    return found


def _offboarding(raw: Mapping[str, Any]) -> OffboardingSettings | None:
    try:
        return OffboardingSettings.model_validate(raw.get("offboarding", {}))
    except ValidationError:
        return None


def _sync(raw: Mapping[str, Any]) -> SyncSettings:
    """What can be read of ``[sync]``; where that is nothing, roles are not called forbidden too."""
    section = raw.get("sync", {})
    found = next(_valid(SyncSettings, {"sync": [section]}, "sync"), None)
    return found if found is not None else SyncSettings(allow_roles=True)


def _guests(raw: Mapping[str, Any]) -> Iterator[GuestSettings]:
    """Every rule, without the mappings that cannot be read: what is wrong with those is said elsewhere. A rule that
    cannot be read keeps its place, so that the others are found at theirs."""
    unread = {
        str(item.get("id"))
        for item, mapping in zip(_tables(raw, "mappings"), _valid(MappingSettings, raw, "mappings"), strict=True)
        if mapping is None
    }
    for rule in _valid(GuestSettings, raw, "guests"):
        kept = () if rule is None else tuple(name for name in rule.mappings if name not in unread)
        unreadable = GuestSettings.model_construct(domains=(), mappings=(), mails=())
        yield unreadable if rule is None else rule.model_copy(update={"mappings": kept})


def _fields(directory: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Our fields that a directory maps beside the ones everybody has; None when that cannot be read."""
    attributes = directory.get("attributes", {})
    return tuple(attributes) if isinstance(attributes, dict) else None


def _place(raw: Mapping[str, Any], where: str) -> Path:
    """``mappings.design.team`` or ``teams[1].name`` as a path; for an id used twice, its last table."""
    match = _WHERE.fullmatch(where)
    if match is None:
        return ()
    section, position, rest = match[1], match[2], match[3] or ""
    if position is not None:
        return (section, int(position), *rest.split(".")) if rest else (section, int(position))
    tables = _tables(raw, section)
    for index in range(len(tables) - 1, -1, -1):
        name = tables[index].get("id")
        if isinstance(name, str) and (rest == name or rest.startswith(f"{name}.")):
            key = rest[len(name) + 1 :]
            return (section, index, key) if key else (section, index)
    return (section,)


def _domain(value: Any) -> str:
    try:
        return a_label(value) if isinstance(value, str) else ""
    except ValueError:
        return ""
