"""PATCH on one document (RFC 7644 §3.5.2; S-R24–S-R33): a new document or a fault, so that all of it happens or none.

Pure: no I/O here. Members of groups are never in a document; ``membership`` takes what concerns them out first.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connector.scim import filtering, resources
from connector.scim.bending import Bending
from connector.scim.errors import Fault
from connector.scim.grammar import Filter, Name, Path, name_of, parse_path
from connector.scim.resources import Document
from connector.scim.schemas import Attribute, Kind, Place

PATCH_URN = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
_VERBS = frozenset({"add", "replace", "remove"})
_ABOUT = frozenset({"type", "primary"})
"""With nothing else, a value of several says nothing."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One of the ``Operations``. ``path`` is empty when there is none; ``given``: whether it has a ``value``."""

    verb: str
    path: str
    value: Any
    given: bool


def operations(body: Mapping[str, Any], bending: Bending) -> list[Operation]:
    """The operations in order, names and verbs in any case (S-R24); raises ``Fault``."""
    parts = {key.lower(): value for key, value in body.items()}
    named = parts.get("schemas")
    if not isinstance(named, list) or PATCH_URN not in named:
        bending.bend(f"does not name {PATCH_URN}", where="schemas")
    listed = parts.get("operations")
    if not isinstance(listed, list) or not listed:
        raise Fault("a list of operations is expected", "invalidSyntax", where="Operations")
    return [_operation(item, bending) for item in listed]


def _operation(item: Any, bending: Bending) -> Operation:
    if not isinstance(item, Mapping):
        raise Fault("an operation is an object", "invalidSyntax", where="Operations")
    parts = {key.lower(): value for key, value in item.items()}
    verb, path = parts.get("op"), parts.get("path")
    if not isinstance(verb, str) or verb.lower() not in _VERBS:
        raise Fault("op is add, replace or remove", "invalidSyntax", where="Operations")
    if not isinstance(path, str | None):
        raise Fault("a path is a text", "invalidPath", where="Operations")
    path = (path or "").strip()
    if verb.lower() == "remove" and not path:
        raise Fault("remove needs a path", "noTarget", where="Operations")
    if verb.lower() != "remove" and "value" not in parts:
        raise Fault(f"{verb.lower()} needs a value", "invalidValue", where=path or "Operations")
    value = parts.get("value")
    if not path:
        value = resources.one_of(value, bending, "Operations")
    return Operation(verb.lower(), path, value, "value" in parts)


def patched(
    document: Document, wanted: Sequence[Operation], kind: Kind, resource_id: str, bending: Bending
) -> Document:
    """What the document becomes; the one that is given stays as it is. Raises ``Fault``."""
    found = copy.deepcopy(document)
    work = _Work(found, kind, resource_id, bending)
    for operation in wanted:
        work.apply(operation)
    if "active" in document and "active" not in found:  # whoever is disabled stays so until told otherwise (S-R19)
        bending.bend("cannot be unassigned: kept", "mutability", where="active")
        found["active"] = document["active"]
    if not str(found.get(kind.named, "")).strip():
        raise Fault("it is required", "mutability", where=kind.named)
    resources.require_named(found, kind)
    return found


class _Work:
    """The document under change."""

    def __init__(self, document: Document, kind: Kind, resource_id: str, bending: Bending) -> None:
        self._document = document
        self._kind = kind
        self._id = resource_id
        self._bending = bending

    def apply(self, operation: Operation) -> None:
        if operation.path:
            path = parse_path(operation.path, strict=self._bending.strict)
            self._at(path, operation, named=True)
            return
        if not isinstance(operation.value, Mapping):
            raise Fault("without a path the value is an object", "invalidValue", where="Operations")
        for key, value in operation.value.items():
            # a key may itself be a path: Entra sends "name.givenName" and "urn:…:User:department" (S-R26)
            try:
                path = parse_path(key)
            except Fault as fault:
                self._bending.bend(f"not kept: {fault.what}", "invalidPath", where=key[:80])
                continue
            if path.chosen is not None or path.name.sub or (path.name.urn and path.name.attribute):
                self._bending.bend("a path for a key", "invalidPath", where=key[:80])
            self._at(path, Operation(operation.verb, key, value, given=True), named=False)

    def _at(self, path: Path, operation: Operation, *, named: bool) -> None:
        name = path.name
        if not name.attribute:
            self._whole_schema(name, operation)
            return
        sub = name.sub or path.sub
        place = self._kind.place(name.urn, name.attribute, sub)
        if place is None:
            self._bending.bend("not kept: no such attribute", "invalidPath", where=operation.path[:80])
        elif self._may_write(place, operation, named=named):
            self._write(place, path.chosen, operation)

    def _may_write(self, place: Place, operation: Operation, *, named: bool) -> bool:
        """False: nothing to do. Raises ``Fault`` (``mutability``) for what only the provider sets (S-R31)."""
        attribute = place.attribute
        if attribute.name == "schemas" and not named:
            return False
        if attribute.returned == "never":
            self._bending.note(f"{attribute.name} is never kept")
            return False
        if attribute.mutability != "readOnly":
            return True
        if attribute.name == "id" and operation.verb != "remove" and operation.value == self._id:
            return False
        if named or attribute.name == "id":
            raise Fault("only this provider sets it", "mutability", where=operation.path[:80])
        self._bending.bend("left alone: only this provider sets it", "mutability", where=attribute.name)
        return False

    def _whole_schema(self, name: Name, operation: Operation) -> None:
        """A URN alone: every attribute of an extension at once."""
        urn = name.urn
        core = urn.lower() == self._kind.schema.urn.lower()
        if not core and not any(one.urn == urn for one in self._kind.extensions):
            self._bending.bend("not kept: no such schema", "invalidPath", where=urn[:80])
            return
        values = resources.one_of(operation.value, self._bending, urn)
        if operation.verb == "remove" or (values is None and operation.verb == "replace"):
            if core:
                raise Fault("the core schema stays", "mutability", where=urn)
            self._document.pop(urn, None)
            return
        if not isinstance(values, Mapping | None):
            raise Fault("an object is expected", "invalidValue", where=urn)
        for key, value in (values or {}).items():
            inner = name_of(key)
            if inner.urn or not inner.attribute:
                raise Fault(f"{key[:80]!r} is no attribute", "invalidPath", where=urn)
            full = Path(Name("" if core else urn, inner.attribute, inner.sub))
            self._at(full, Operation(operation.verb, f"{urn}:{key}", value, given=True), named=False)

    def _write(self, place: Place, chosen: Filter | None, operation: Operation) -> None:
        base = self._document
        if place.urn:
            base = self._document.setdefault(place.urn, {})
        if place.attribute.multi:
            _Several(base, place, self._bending).change(chosen, operation)
        elif chosen is not None:
            raise Fault("it has one value: nothing to choose from", "invalidPath", where=operation.path[:80])
        else:
            self._single(base, place, operation)
        if place.urn and not base:
            del self._document[place.urn]

    def _single(self, base: Document, place: Place, operation: Operation) -> None:
        attribute, sub = place.attribute, place.sub
        if sub is not None:
            inside = base.setdefault(attribute.name, {})
            if sub.name == "value":  # the old address does not lead to another person
                inside.pop("$ref", None)
            _set(inside, sub, operation, self._bending)
            if not inside or inside.get("value") == "":
                del base[attribute.name]
            return
        value = None if operation.verb == "remove" else resources.value_of(attribute, operation.value, self._bending)
        parts_stay = attribute.subs and not attribute.sub("$ref")
        if value is None and not (parts_stay and operation.verb == "add"):
            base.pop(attribute.name, None)
        elif parts_stay:  # those that are not named (RFC 7644 §3.5.2.3)
            if together := {**base.get(attribute.name, {}), **(value or {})}:
                base[attribute.name] = together
        else:
            base[attribute.name] = value


class _Several:
    """A multi-valued attribute under change; afterwards at most one of its values is primary (S-R29)."""

    def __init__(self, base: Document, place: Place, bending: Bending) -> None:
        self._base = base
        self._attribute: Attribute = place.attribute
        self._sub = place.sub
        self._bending = bending
        self._entries: list[Document] = base.get(place.attribute.name, [])
        self._before = [(item, item.get("primary") is True) for item in self._entries]

    def change(self, chosen: Filter | None, operation: Operation) -> None:
        if chosen is None and self._sub is None:
            self._all(operation)
        else:
            self._some(chosen, operation)
        self._entries = [item for item in self._entries if item]
        self._keep_one_primary()
        if self._entries:
            self._base[self._attribute.name] = self._entries
        else:
            self._base.pop(self._attribute.name, None)

    def _all(self, operation: Operation) -> None:
        if operation.verb == "remove" and operation.value is None:
            self._entries = []
            return
        values = resources.values_of(self._attribute, operation.value, self._bending) or []
        if operation.verb == "replace":
            self._entries = values
        elif operation.verb == "add":
            for value in values:
                if value not in self._entries:
                    self._entries.append(value)
        else:  # remove with values takes only those: an empty list takes nothing (S-R37)
            self._bending.note(f"{self._attribute.name}: remove with values")
            self._entries = [item for item in self._entries if not any(_holds(item, value) for value in values)]

    def _some(self, chosen: Filter | None, operation: Operation) -> None:
        """The values that ``chosen`` fits (all of them when there is none), or one part of each."""
        fits = (
            (lambda _item: True)
            if chosen is None
            else filtering.entry_predicate(chosen, self._attribute, strict=self._bending.strict)
        )
        hit = [position for position, item in enumerate(self._entries) if fits(item)]
        if not hit and operation.verb != "remove":
            self._entries.append(self._fresh(chosen, operation))
            hit = [len(self._entries) - 1]
        for position in hit:
            self._entries[position] = self._changed(self._entries[position], chosen, operation)

    def _changed(self, item: Document, chosen: Filter | None, operation: Operation) -> Document:
        if self._sub is not None:
            _set(item, self._sub, operation, self._bending)
            nothing = operation.verb == "remove" or operation.value is None
            return {} if nothing and not item.keys() - _ABOUT else item
        if operation.verb == "remove":
            return {}
        raw = resources.one_of(operation.value, self._bending, self._attribute.name)
        value = resources.entry_of(self._attribute, raw, self._bending) if raw else None
        if operation.verb == "add":
            return {**item, **(value or {})} if value or item.keys() - _ABOUT else {}
        return {**self._implied(chosen), **value} if value else {}

    def _fresh(self, chosen: Filter | None, operation: Operation) -> Document:
        """A value that fits ``chosen``, for what is to be set on none yet (S-R27); raises ``Fault`` (``noTarget``)."""
        if self._bending.strict or (chosen is not None and filtering.implied(chosen) is None):
            raise Fault("no value fits the filter", "noTarget", where=operation.path[:80])
        self._bending.bend("no value fits the filter: made one", "noTarget", where=self._attribute.name)
        return self._implied(chosen)

    def _implied(self, chosen: Filter | None) -> Document:
        told = (filtering.implied(chosen) if chosen is not None else None) or {}
        return resources.entry_of(self._attribute, told, Bending(strict=False)) or {}

    def _keep_one_primary(self) -> None:
        primary = [item for item in self._entries if item.get("primary") is True]
        if len(primary) > 1:
            before = [item for item, was in self._before if was]
            fresh = [item for item in primary if not any(item is old for old in before)]
            stays = (fresh or primary)[-1]
            for item in primary:
                if item is not stays:
                    item["primary"] = False


def _set(inside: Document, sub: Attribute, operation: Operation, bending: Bending) -> None:
    value = None if operation.verb == "remove" else resources.value_of(sub, operation.value, bending)
    if value is None:
        inside.pop(sub.name, None)
    else:
        inside[sub.name] = value


def _holds(item: Document, value: Document) -> bool:
    """Whether everything that ``value`` says is true of ``item``."""
    return all(item.get(key) == inner for key, inner in value.items())
