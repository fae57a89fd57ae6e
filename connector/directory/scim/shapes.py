"""What a SCIM provider can do, and what its list answers and resources mean (S-R62; RFC 7643, 7644, 9865).

Pure: no I/O here. What a ServiceProviderConfig does not say is unknown and probed, never taken for "no".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from connector.directory.base import Entry
from connector.directory.scim.settings import ENTERPRISE, ENTERPRISE_URN, ScimSettings

_ENTRA_HOSTS = ("graph.microsoft.com", "graph.microsoft.us", "microsoftgraph.chinacloudapi.cn")
_AWS_PAGE = 100


@dataclass(frozen=True, slots=True)
class Shape:
    """How to ask a provider. None: not known, so it is probed.

    ``count_zero``: whether ``count=0`` gives the total alone. ``members``: whether groups show their members.
    ``said``: what this rests on, for ``rosterd check --live``.
    """

    users: str = "Users"
    groups: str = "Groups"
    cursor: bool | None = None
    sort: bool | None = None
    count_zero: bool = True
    members: bool | None = None
    page_size: int = 100
    said: str = ""


def shape(settings: ScimSettings, config: Mapping[str, Any] | None) -> Shape:
    """The provider's shape by profile, then by its ServiceProviderConfig (``config``; None: it has none)."""
    found = Shape(page_size=settings.page_size)
    match profile(settings):
        case "entra":
            found = replace(found, users="users", groups="groups", cursor=True, sort=False, count_zero=False)
            found = replace(found, said="Microsoft Entra: cursors, no totals")
        case "aws":
            size = min(settings.page_size, _AWS_PAGE)
            found = replace(found, cursor=True, sort=False, count_zero=False, members=False, page_size=size)
            found = replace(found, said="AWS IAM Identity Center: cursors, groups without members")
        case _:
            found = _configured(found, config)
    return found if settings.paging == "auto" else replace(found, cursor=settings.paging == "cursor")


def profile(settings: ScimSettings) -> str:
    """``standard``, ``entra`` or ``aws``."""
    if settings.profile != "auto":
        return settings.profile
    parts = urlsplit(settings.url)
    host = parts.hostname or ""
    if host in _ENTRA_HOSTS and "/scim" in parts.path.lower():
        return "entra"
    return "aws" if host.startswith("scim.") and host.endswith((".amazonaws.com", ".amazonaws.com.cn")) else "standard"


def _configured(found: Shape, config: Mapping[str, Any] | None) -> Shape:
    if config is None:
        return replace(found, said="no usable ServiceProviderConfig: paging and sorting are probed")
    pagination = _object(config.get("pagination"))
    limits = [number(pagination.get("maxpagesize")), number(_object(config.get("filter")).get("maxresults"))]
    size = min([found.page_size, *(limit for limit in limits if limit is not None and limit > 1)])
    cursor = truth(pagination.get("cursor"))
    sort = truth(_object(config.get("sort")).get("supported"))
    words = {True: "yes", False: "no", None: "not said, so probed"}
    said = f"ServiceProviderConfig: cursors {words[cursor]}, sorting {words[sort]}"
    return replace(found, cursor=cursor, sort=sort, page_size=size, said=said)


def _object(value: Any) -> dict[str, Any]:
    return {key.lower(): inner for key, inner in value.items()} if isinstance(value, dict) else {}


@dataclass(frozen=True, slots=True)
class Page:
    """One list answer. ``total``: None when it is not said; ``cursor``: where to go on, empty at the end."""

    resources: list[Any]
    total: int | None
    cursor: str


class NoPage(ValueError):
    """An answer that is no list; the text says why."""


def page(body: Mapping[str, Any]) -> Page:
    """Read a ListResponse with tolerance (scim.md §4); ``body`` has its outermost names in lower case."""
    total = number(body.get("totalresults"))
    resources = body.get("resources")
    if resources is None:
        kinds = body.get("schemas")
        is_list = isinstance(kinds, list) and any(str(kind).endswith("ListResponse") for kind in kinds)
        if total != 0 and not (is_list and total is None):
            raise NoPage("the answer has no Resources")
        resources = []
    if not isinstance(resources, list) or not all(isinstance(item, dict) for item in resources):
        raise NoPage("Resources is no list of objects")
    cursor = body.get("nextcursor")
    return Page(resources, total, cursor if isinstance(cursor, str) else "")


def number(value: Any) -> int | None:
    """A whole number ≥ 0, also when it is written as text; else None."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 12:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def truth(value: Any) -> bool | None:
    """A boolean, also as ``"True"`` or ``"false"``; else None."""
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value.strip().lower()) if isinstance(value, str) else None


def identifier(resource: Mapping[str, Any]) -> str:
    """The id of a resource; empty when it has none."""
    value = resource.get("id", resource.get("Id", resource.get("ID")))
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


@dataclass(frozen=True, slots=True)
class User:
    """A user resource: its entry, its userName, and the ids of the groups it says it is in."""

    entry: Entry
    user_name: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A group resource. ``members``: values as shown; None: the resource has no such attribute."""

    anchor: str
    name: str
    members: tuple[str, ...] | None


def user_reader(attributes: Iterable[str]) -> Callable[[Mapping[str, Any]], User]:
    """Makes users of resources, with only these attributes (lower-case dotted names) in their entries."""
    wanted = frozenset(attributes)
    roots = frozenset(name.partition(".")[0] for name in wanted if not name.startswith("urn:"))

    def read(resource: Mapping[str, Any]) -> User:
        found: dict[str, list[bytes]] = {}
        name = ""
        groups: tuple[str, ...] = ()
        anchor = identifier(resource)
        for key, value in resource.items():
            lowered = key.lower()
            if lowered == "username" and isinstance(value, str):
                name = value
            elif lowered == "groups":
                groups = values_of(value)
            if lowered in roots:
                _put(found, wanted, lowered, value)
            elif lowered.startswith("urn:") and isinstance(value, dict):
                prefix = ENTERPRISE if lowered == ENTERPRISE_URN else f"{lowered}:"
                for inner, content in value.items():
                    _put(found, wanted, prefix + inner.lower(), content)
        return User(Entry(anchor, f"Users/{anchor}", found), name, groups)

    return read


def group(resource: Mapping[str, Any]) -> Group:
    """The group a resource stands for."""
    lowered = {key.lower(): value for key, value in resource.items()}
    name = lowered.get("displayname")
    shown = lowered.get("members")
    members = None if shown is None else values_of(shown)
    return Group(identifier(resource), name if isinstance(name, str) else "", members)


def values_of(value: Any) -> tuple[str, ...]:
    """The values of a multi-valued attribute, given as a list, as one object, or as bare text (S-R42)."""
    items = value if isinstance(value, list) else [value]
    found = []
    for item in items:
        inner = item.get("value", item.get("Value")) if isinstance(item, dict) else item
        if isinstance(inner, str | int) and not isinstance(inner, bool) and inner != "":
            found.append(str(inner))
    return tuple(found)


def _put(found: dict[str, list[bytes]], wanted: frozenset[str], name: str, value: Any) -> None:
    """Add a value and what is inside it under their dotted names, where they are wanted."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _put(found, wanted, f"{name}.{key.lower()}", inner)
        if name in wanted and "value" in value:
            _add(found, name, value["value"])
    elif isinstance(value, list):
        for item in value:
            _put_item(found, wanted, name, item)
    elif name in wanted:
        _add(found, name, value)


def _put_item(found: dict[str, list[bytes]], wanted: frozenset[str], name: str, item: Any) -> None:
    """One of several values: ``emails``, ``emails.work``, ``emails.primary``, ``addresses.work.country``."""
    if not isinstance(item, dict):
        if name in wanted:
            _add(found, name, item)
        return
    parts = {key.lower(): inner for key, inner in item.items()}
    kinds = [""]
    if isinstance(parts.get("type"), str) and parts["type"]:
        kinds.append("." + parts["type"].lower())
    if truth(parts.get("primary")):
        kinds.append(".primary")
    for kind in kinds:
        place = name + kind
        if place in wanted:
            _add(found, place, parts.get("value"))
        for key, inner in parts.items():
            if key not in {"type", "primary", "value"} and f"{place}.{key}" in wanted:
                _add(found, f"{place}.{key}", inner)


def _add(found: dict[str, list[bytes]], name: str, value: Any) -> None:
    if isinstance(value, bool):
        found.setdefault(name, []).append(b"true" if value else b"false")
    elif isinstance(value, str):
        found.setdefault(name, []).append(value.encode("utf-8", "surrogatepass"))
    elif isinstance(value, int | float):
        found.setdefault(name, []).append(str(value).encode())
