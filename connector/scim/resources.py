"""What a pushed body holds, in the names and types of the schemas (S-R13–S-R16, S-R22, S-R23, S-R29, S-R42).

Pure: no I/O here. Values stay as they came, byte for byte; names, shapes and the text of booleans are made regular.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from connector.scim.bending import Bending
from connector.scim.errors import Fault
from connector.scim.schemas import COMMON, ENTERPRISE_URN, GROUP, USER, Attribute, Kind
from ledger.identity import fold

Document = dict[str, Any]
"""A resource as it is kept: attribute → value, extensions under their URN; no id, meta, schemas, groups or members."""

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LONGEST_NAME = 1024
_TRUTH = {"true": True, "false": False}
_IGNORED = frozenset({"id", "meta", "schemas"})
_PARTS = frozenset({"value", "$ref", "display", "type", "primary"})
"""What may stand around a bare value: Microsoft's own client has one shape for every value of a PATCH."""


def person_of(body: Mapping[str, Any], bending: Bending) -> Document:
    """A whole user as POST and PUT send it; raises ``Fault``. ``active`` is missing when the body has none."""
    _check_schemas(body, USER, bending)
    found: Document = {}
    for key, raw in body.items():
        _take(found, key, raw, bending)
    require_named(found, USER)
    return found


def group_of(body: Mapping[str, Any], bending: Bending) -> tuple[Document, tuple[str, ...] | None]:
    """A whole group and the ids of its members; None: the body says nothing of members, so they stay (S-R38)."""
    _check_schemas(body, GROUP, bending)
    found: Document = {}
    members: tuple[str, ...] | None = None
    for key, raw in body.items():
        lowered = key.lower()
        if lowered == "members":
            members = member_ids(raw, bending)
            if not members and raw not in (None, []):  # not read is not empty
                bending.bend("no id can be read: nobody is added or removed", "invalidValue", where="members")
                members = None
        elif lowered not in _IGNORED:
            attribute = GROUP.schema.find(key) or _common(key)
            if attribute is None:
                bending.bend("not kept: no attribute of groups", where=key[:80])
            else:
                put(found, attribute, raw, bending)
    require_named(found, GROUP)
    return found, members


def require_named(document: Document, kind: Kind) -> None:
    """Raise ``Fault`` when the name that a resource must have is missing, empty or longer than is kept."""
    name = document.get(kind.named)
    if not isinstance(name, str) or not name.strip():
        raise Fault("it is required", "invalidValue", where=kind.named)
    external = document.get("externalId", "")
    for where, text in ((kind.named, name), ("externalId", external)):
        if len(text) > _LONGEST_NAME or any(letter in text for letter in "\t\r\n"):
            raise Fault(f"it is one line of at most {_LONGEST_NAME} characters", "invalidValue", where=where)


def key_of(document: Document, kind: Kind) -> str:
    """The folded name that a resource is found by and that is compared for uniqueness (S-R49)."""
    return fold(document[kind.named])


def member_ids(raw: Any, bending: Bending) -> tuple[str, ...]:
    """The ids of members given as a list, one object or bare text (S-R42), each once; an empty list and null mean
    nobody."""
    if raw is None:
        return ()
    if isinstance(raw, Mapping) and len(raw) == 1 and "members" in raw:
        bending.bend("an object where a list belongs", "invalidValue", where="members")  # Salesforce prints it so
        raw = raw["members"]
    if not isinstance(raw, list):
        bending.bend("not a list", "invalidValue", where="members")
    found = []
    for item in raw if isinstance(raw, list) else [raw]:
        value = item
        if isinstance(item, Mapping):
            value = next((inner for key, inner in item.items() if key.lower() == "value"), None)
        elif item is not None:
            bending.bend("a bare id", "invalidValue", where="members")
        if isinstance(value, int) and not isinstance(value, bool):
            bending.bend("a number for an id", "invalidValue", where="members")
            value = str(value)
        if isinstance(value, str) and value and not _CONTROL.search(value):
            found.append(value)
        else:
            bending.bend("a member without an id is left out", "invalidValue", where="members")
    return tuple(dict.fromkeys(found))


def put(target: Document, attribute: Attribute, raw: Any, bending: Bending) -> None:
    """Set an attribute to what ``raw`` means, or take it away where that is nothing."""
    value = value_of(attribute, raw, bending)
    if value is None or attribute.returned == "never":
        target.pop(attribute.name, None)
    else:
        target[attribute.name] = value


def value_of(attribute: Attribute, raw: Any, bending: Bending, where: str = "") -> Any:
    """The value in the attribute's shape; None for null, an empty list, or a reference that is cleared."""
    where = where or attribute.name
    if attribute.multi:
        return values_of(attribute, raw, bending, where)
    raw = one_of(raw, bending, where)
    if raw is None:
        return None
    return entry_of(attribute, raw, bending, where) if attribute.subs else _simple(attribute, raw, bending, where)


def one_of(raw: Any, bending: Bending, where: str) -> Any:
    """The one value in a list of one, and None for an empty list; anything else as it is."""
    if not isinstance(raw, list) or len(raw) > 1:
        return raw
    bending.bend("a list where one value belongs", "invalidValue", where=where)
    return raw[0] if raw else None


def values_of(attribute: Attribute, raw: Any, bending: Bending, where: str = "") -> list[Any] | None:
    """Several values; one object or text in place of the list is taken for a list of one (S-R23)."""
    where = where or attribute.name
    if raw is None:
        return None
    if not isinstance(raw, list):
        bending.bend("not a list", "invalidValue", where=where)
        raw = [raw]
    found = [entry_of(attribute, item, bending, where) for item in raw if item is not None]
    entries = [item for item in found if item]
    primary = [item for item in entries if item.get("primary") is True]
    for item in primary[1:]:
        bending.bend("more than one is primary: the first is", "invalidValue", where=where)
        item["primary"] = False
    return entries or None


def entry_of(attribute: Attribute, raw: Any, bending: Bending, where: str = "") -> Document | None:
    """One value of parts; None when nothing is in it."""
    where = where or attribute.name
    if isinstance(raw, str | int) and not isinstance(raw, bool) and attribute.sub("value"):
        if raw != "" or attribute.multi:
            bending.bend("bare text where an object belongs", "invalidValue", where=where)
        raw = {"value": raw}
    if not isinstance(raw, Mapping):
        raise Fault("an object is expected", "invalidValue", where=where)
    found: Document = {}
    for key, inner in raw.items():
        sub = attribute.sub(key)
        if sub is None:
            bending.bend("not kept: no such part", where=f"{where}.{key[:80]}")
        elif (value := value_of(sub, inner, bending, f"{where}.{sub.name}")) is not None:
            found[sub.name] = value
    if attribute.sub("$ref") and found.get("value") == "":  # an empty reference is none (S-R15)
        return None
    return found or None


def refuse_control_characters(value: Any) -> None:
    """Raise ``Fault`` for a text anywhere in ``value`` that holds NUL or its like; line breaks and tabs may be."""
    waiting: list[Any] = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, str):
            if _CONTROL.search(found):
                raise Fault("a text holds control characters", "invalidValue")
        elif isinstance(found, dict):
            waiting += found.keys()
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found


def _take(found: Document, key: str, raw: Any, bending: Bending) -> None:
    lowered = key.lower()
    if lowered == ENTERPRISE_URN.lower():
        _take_extension(found, raw, bending)
        return
    attribute = USER.schema.find(key) or _common(key)
    if attribute is None:
        bending.bend("not kept: no attribute of users", where=key[:80])
    elif attribute.mutability != "readOnly":
        put(found, attribute, raw, bending)


def _take_extension(found: Document, raw: Any, bending: Bending) -> None:
    raw = one_of(raw, bending, ENTERPRISE_URN)
    if raw is None:
        return
    if not isinstance(raw, Mapping):
        raise Fault("an object is expected", "invalidValue", where=ENTERPRISE_URN)
    inside: Document = {}
    for key, inner in raw.items():
        attribute = USER.extensions[0].find(key)
        if attribute is None:
            bending.bend("not kept: no attribute of the enterprise extension", where=key[:80])
        else:
            put(inside, attribute, inner, bending)
    if inside:
        found[ENTERPRISE_URN] = inside


def _common(key: str) -> Attribute | None:
    lowered = key.lower()
    return next((one for one in COMMON if one.key == lowered), None)


def _check_schemas(body: Mapping[str, Any], kind: Kind, bending: Bending) -> None:
    given = next((value for key, value in body.items() if key.lower() == "schemas"), None)
    named = {item.lower() for item in given if isinstance(item, str)} if isinstance(given, list) else set()
    known = {kind.schema.urn.lower(), *(one.urn.lower() for one in kind.extensions)}
    if kind.schema.urn.lower() not in named:
        bending.bend(f"does not name {kind.schema.urn}", where="schemas")
    for urn in sorted(named - known):
        bending.bend(f"not kept: {urn[:100]}", where="schemas")


def _simple(attribute: Attribute, raw: Any, bending: Bending, where: str) -> Any:
    if isinstance(raw, Mapping) and "value" in (names := {key.lower() for key in raw}) and names <= _PARTS:
        bending.bend("an object where one value belongs", "invalidValue", where=where)
        raw = one_of(next(inner for key, inner in raw.items() if key.lower() == "value"), bending, where)
        if raw is None:
            return None
    if attribute.type == "boolean":
        if isinstance(raw, bool):
            return raw
        truth = _TRUTH.get(raw.strip().lower()) if isinstance(raw, str) else None
        if truth is None:
            raise Fault("true or false is expected", "invalidValue", where=where)
        bending.bend("text for a boolean", "invalidValue", where=where)
        return truth
    if isinstance(raw, int) and not isinstance(raw, bool):
        bending.bend("a number for a text", "invalidValue", where=where)
        return str(raw)
    if not isinstance(raw, str):
        raise Fault("a text is expected", "invalidValue", where=where)
    return raw
