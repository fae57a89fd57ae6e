"""How a kept resource is shown: meta, ETag, the attributes that were asked for; and what a change was (S-R53, S-R55).

Pure: no I/O here. The version is that of what was pushed: a person's ``groups`` are computed and do not raise it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connector.scim.errors import Fault
from connector.scim.grammar import name_of
from connector.scim.schemas import GROUP, USER, Kind
from ledger.instant import to_text
from ledger.store.inbox import Resource

_ALWAYS = frozenset({"schemas", "id"})
_Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which attributes an answer has (RFC 7644 §3.9); ``only`` None: all but those ``without``."""

    only: _Tree | None = None
    without: _Tree = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether anything of this attribute (lower case) is to be shown, so that it has to be read."""
        if self.only is not None:
            return name in self.only
        return self.without.get(name) is not True

    def of(self, shown: dict[str, Any]) -> dict[str, Any]:
        """The part of a resource that was asked for; ``schemas`` and ``id`` are always in it."""
        if self.only is None and not self.without:
            return shown
        kept = {name: shown[name] for name in ("schemas", "id") if name in shown}
        rest = {name: value for name, value in shown.items() if name not in _ALWAYS}
        chosen: dict[str, Any] = _without(rest, self.without) if self.only is None else _only(rest, self.only)
        return kept | chosen


def wanted(attributes: str | None, excluded: str | None, kind: Kind) -> Wanted:
    """From the two query parameters; raises ``Fault`` when both are given."""
    if attributes and excluded:
        raise Fault("give attributes or excludedAttributes, not both", "invalidValue", where="attributes")
    if attributes:
        return Wanted(only=_tree(attributes, kind))
    return Wanted(without=_tree(excluded or "", kind))


def etag(resource: Resource) -> str:
    """Weak: two texts of one version may differ in the order of their members."""
    return f'W/"{resource.version}"'


def location(resource: Resource, base: str) -> str:
    """The address of a resource."""
    return f"{base}/{resource.kind}s/{resource.id}"


def view(resource: Resource, kind: Kind, inside: Sequence[str] = ()) -> dict[str, Any]:
    """A resource as filters look at it. ``inside``: ids of members (of a group) or groups (of a person)."""
    found = dict(resource.document)
    found["id"] = resource.id
    found["schemas"] = _schemas(resource, kind)
    found["meta"] = {
        "resourceType": resource.kind,
        "created": resource.created_at,
        "lastModified": resource.modified_at,
        "version": etag(resource),
    }
    if inside:
        found["groups" if kind is USER else "members"] = [{"value": one} for one in inside]
    return found


def shown(resource: Resource, kind: Kind, base: str, more: Mapping[str, Any]) -> dict[str, Any]:
    """A resource as it is answered, whole. ``more``: its ``groups`` or ``members``, where they are shown."""
    return {
        "schemas": _schemas(resource, kind),
        "id": resource.id,
        **resource.document,
        **more,
        "meta": {
            "resourceType": resource.kind,
            "created": to_text(resource.created_at),
            "lastModified": to_text(resource.modified_at),
            "location": location(resource, base),
            "version": etag(resource),
        },
    }


def members_shown(members: Sequence[tuple[str, str]], base: str) -> list[dict[str, str]]:
    """``members`` of a group, from (id, kind)."""
    return [{"value": one, "$ref": f"{base}/{kind}s/{one}", "type": kind} for one, kind in members]


def groups_shown(groups: Sequence[tuple[str, str]], base: str) -> list[dict[str, str]]:
    """``groups`` of a person, from (id, displayName)."""
    return [
        {"value": one, "$ref": f"{base}{GROUP.path}/{one}", "display": name, "type": "direct"} for one, name in groups
    ]


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Attribute → [before, after], of those that differ; those of an extension under ``URN:attribute``."""
    old, new = _flat(before), _flat(after)
    return {name: [old.get(name), new.get(name)] for name in (old | new) if old.get(name) != new.get(name)}


def _flat(document: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in document.items():
        if name.startswith("urn:"):
            found |= {f"{name}:{inner}": content for inner, content in value.items()}
        else:
            found[name] = value
    return found


def _schemas(resource: Resource, kind: Kind) -> list[str]:
    return [kind.schema.urn, *(one.urn for one in kind.extensions if one.urn in resource.document)]


def _tree(text: str, kind: Kind) -> _Tree:
    """Lower-case names → True for the whole, or the same for parts; an extension stands under its URN."""
    found: _Tree = {}
    for item in filter(None, (one.strip() for one in text.split(","))):
        name = name_of(item, "invalidValue")
        extension = bool(name.urn) and name.urn.lower() != kind.schema.urn.lower()
        parts = [name.urn] if extension else []
        parts += [part for part in (name.attribute, name.sub) if part]
        at = found
        for part in (one.lower() for one in parts[:-1]):
            inner = at.setdefault(part, {})
            if inner is True:
                break
            at = inner
        else:
            if parts:
                at[parts[-1].lower()] = True
    return found


def _only(value: Any, tree: _Tree) -> Any:
    if isinstance(value, list):
        return [part for item in value if (part := _only(item, tree))]
    if not isinstance(value, Mapping):
        return value
    found = {}
    for name, inner in value.items():
        chosen = tree.get(name.lower())
        if chosen is True:
            found[name] = inner
        elif chosen and (part := _only(inner, chosen)):
            found[name] = part
    return found


def _without(value: Any, tree: _Tree) -> Any:
    if isinstance(value, list):
        return [_without(item, tree) for item in value]
    if not isinstance(value, Mapping):
        return value
    found = {}
    for name, inner in value.items():
        left = tree.get(name.lower())
        if left is not True:
            found[name] = _without(inner, left) if left else inner
    return found
