"""Whether a resource fits a filter, and which index could find those that do (RFC 7644 §3.4.2.2; S-R44, S-R46–S-R50).

Pure: no I/O here. A filter is made a function once and then asked for each resource as ``shaping.view`` shows it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from connector.scim.errors import Fault
from connector.scim.grammar import Compare, Every, Filter, Name, Not, Present, Some, Within
from connector.scim.schemas import Attribute, Kind, Place
from ledger.identity import fold

Test = Callable[[Mapping[str, Any]], bool]
Scope = Callable[[Name], Place | None]

_ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda one, other: one > other,
    "ge": lambda one, other: one >= other,
    "lt": lambda one, other: one < other,
    "le": lambda one, other: one <= other,
}
_COMPUTED = ("groups", "members")
"""Rows of their own: only their ids are looked at."""
_TRUTH = {"true": True, "false": False}


def predicate(tree: Filter, kind: Kind, *, strict: bool = False) -> Test:
    """The filter as a function of a resource's view; raises ``Fault`` (``invalidFilter``) where it has no meaning.

    An attribute that is not ours has no value; ``strict``: it is a fault.
    """
    return _Making(lambda name: kind.place(name.urn, name.attribute, name.sub), strict).test(tree)


def entry_predicate(tree: Filter, attribute: Attribute, *, strict: bool = False) -> Test:
    """A filter inside brackets as a function of one value of ``attribute``."""

    def inside(name: Name) -> Place | None:
        found = attribute.sub(name.attribute) if not name.urn and not name.sub else None
        if found is not None and attribute.name in _COMPUTED and found.name != "value":
            raise _fault(f"{attribute.name} are chosen by value")
        return Place("", found) if found else None

    return _Making(inside, strict).test(tree)


def implied(tree: Filter) -> dict[str, str] | None:
    """Sub-attribute (lower case) → text that a value must have to fit: ``eq`` joined by ``and``; None: not told."""
    found = {}
    for part in terms(tree):
        if not isinstance(part, Compare) or part.operator != "eq" or part.name.sub or part.name.urn:
            return None
        found[part.name.attribute.lower()] = part.value
    return found


def terms(tree: Filter) -> tuple[Filter, ...]:
    """What must all hold."""
    return tree.parts if isinstance(tree, Every) else (tree,)


WAYS = ("id", "key", "external_id", "mail", "inside")
"""The indexes, the best first. ``mail``: of people; ``inside``: the id of a member (of groups), a group (of people)."""
Probe = tuple[str, str]
"""(one of ``WAYS``, the value that is looked up)."""


def probes(tree: Filter, kind: Kind) -> tuple[Probe, ...]:
    """What to look up so that every fitting resource is found; none: every resource has to be looked at."""
    if isinstance(tree, Some):
        each = [probes(part, kind) for part in tree.parts]
        return tuple(one for found in each for one in found) if all(each) else ()
    if isinstance(tree, Every):
        each = [found for part in tree.parts if (found := probes(part, kind))]
    else:
        each = [((way, part.value),) for part in _equal(tree) if (way := _way(part.name, kind))]
    return min(each, key=lambda found: max(WAYS.index(way) for way, _ in found), default=())


def _way(name: Name, kind: Kind) -> str:
    """The index of an attribute; empty: none."""
    place = kind.place(name.urn, name.attribute, name.sub)
    if place is None or place.urn:
        return ""
    if place.sub is None and place.attribute.name in ("id", kind.named, "externalId"):
        return {"id": "id", "externalId": "external_id"}.get(place.attribute.name, "key")
    if place.sub is None or place.sub.name == "value":
        return {"emails": "mail", "members": "inside", "groups": "inside"}.get(place.attribute.name, "")
    return ""


def mentions(tree: Filter, attribute: str) -> bool:
    """Whether the filter asks for this attribute (lower case) at all."""
    return any(name.attribute.lower() == attribute for name, _, _ in _leaves(tree))


def ids_asked(tree: Filter, attribute: str) -> frozenset[str] | None:
    """The ids whose presence in ``attribute`` (lower case) decides the filter; None: every value has to be known."""
    found = set()
    for name, leaf, operators in _leaves(tree):
        if name.attribute.lower() != attribute:
            continue
        if not isinstance(leaf, Compare) or not _given(leaf) or leaf.operator not in operators:
            return None
        found.add(leaf.value)
    return frozenset(found)


def instant(text: str) -> datetime | None:
    """An ISO 8601 instant in UTC; one without a zone is taken for UTC."""
    try:
        found = datetime.fromisoformat(text.strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def caseless(text: str) -> str:
    """For parts of texts: as ``fold``, outer space kept."""
    return (
        text.lower() if text.isascii() else unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    )


def _equal(part: Filter) -> Iterator[Compare]:
    """The comparisons with ``eq`` that this part is or has inside brackets."""
    if isinstance(part, Within):
        for inner in (one for term in terms(part.inner) for one in _equal(term)):
            if not inner.name.urn and not inner.name.sub:
                yield Compare(Name(part.name.urn, part.name.attribute, inner.name.attribute), "eq", inner.value)
    elif isinstance(part, Compare) and part.operator == "eq" and part.value and _given(part):
        yield part


def _given(part: Compare) -> bool:
    return part.quoted or part.value.lower() != "null"


def _leaves(
    tree: Filter, within: Name | None = None, operators: tuple[str, ...] = ("eq", "ne")
) -> Iterator[tuple[Name, Filter, tuple[str, ...]]]:
    """(attribute, comparison, operators that a look at the compared value alone decides)."""
    match tree:
        case Every(parts) | Some(parts):
            both = within is not None and isinstance(tree, Every)
            for part in parts:
                yield from _leaves(part, within, () if both else operators)
        case Not(inner):
            yield from _leaves(inner, within, operators if within is None else ())
        case Within(name, inner):
            yield from _leaves(inner, name, ("eq",))
        case Compare(name) | Present(name):
            yield within or name, tree, operators


class _Making:
    """Makes one function of a tree. ``scope``: what a name means here."""

    def __init__(self, scope: Scope, strict: bool) -> None:
        self._scope = scope
        self._strict = strict

    def test(self, tree: Filter) -> Test:
        match tree:
            case Every(parts):
                every = [self.test(part) for part in parts]
                return lambda view: all(one(view) for one in every)
            case Some(parts):
                some = [self.test(part) for part in parts]
                return lambda view: any(one(view) for one in some)
            case Not(inner):
                denied = self.test(inner)
                return lambda view: not denied(view)
            case Within():
                return self._within(tree)
            case Present(name):
                return self._present(name)
            case Compare():
                return self._compare(tree)

    def _place(self, name: Name) -> Place | None:
        place = self._scope(name)
        if place is None and self._strict:
            raise _fault(f"{name.attribute or name.urn} is no attribute of this schema")
        if place is not None and place.attribute.returned == "never":
            raise _fault(f"{place.attribute.name} cannot be asked for")
        if place is not None and place.attribute.name in _COMPUTED and place.sub and place.sub.name != "value":
            raise _fault(f"{place.attribute.name} are chosen by value")
        return place

    def _within(self, tree: Within) -> Test:
        place = self._place(tree.name)
        if place is None:
            return lambda _view: False
        if not place.attribute.subs or place.sub is not None:
            raise _fault(f"{place.attribute.name} has no parts to choose by")
        inner = entry_predicate(tree.inner, place.attribute, strict=self._strict)
        return lambda view: any(isinstance(one, Mapping) and inner(one) for one in _values(view, place))

    def _present(self, name: Name) -> Test:
        place = self._place(name)
        if place is None:
            return lambda _view: False
        return lambda view: any(value not in ("", {}, []) for value in _values(view, place))

    def _compare(self, part: Compare) -> Test:
        place = self._place(part.name)
        if place is None:
            return lambda _view: part.operator == "ne"
        if not _given(part):
            if part.operator not in ("eq", "ne"):
                raise _fault("null is only equal or not")
            present = self._present(part.name)
            return present if part.operator == "ne" else lambda view: not present(view)
        if place.sub is None and place.attribute.subs:
            value = place.attribute.sub("value")
            if value is None:
                raise _fault(f"{place.attribute.name} is compared by one of its parts")
            place = Place(place.urn, place.attribute, value)
        meant = place
        fits = _fitting(place.sub or place.attribute, part)
        if part.operator == "ne":
            return lambda view: not any(fits(value) for value in _values(view, meant))
        return lambda view: any(fits(value) for value in _values(view, meant))


def _fitting(attribute: Attribute, part: Compare) -> Callable[[Any], bool]:
    """One value against the comparison by the attribute's type; ``ne`` is told as ``eq``, its caller denies it."""
    if attribute.type == "boolean":
        wanted = _TRUTH.get(part.value.strip().lower())
        if wanted is None or part.operator not in ("eq", "ne"):
            raise _fault(f"{attribute.name} is true or false")
        return lambda value: value is wanted
    if attribute.type == "dateTime":
        return _fitting_instant(attribute, part)
    whole = (lambda text: text) if attribute.exact else fold
    loose = (lambda text: text) if attribute.exact else caseless
    same, piece = whole(part.value), loose(part.value)
    match part.operator:
        case "eq" | "ne":
            return lambda value: isinstance(value, str) and whole(value) == same
        case "co":
            return lambda value: isinstance(value, str) and piece in loose(value)
        case "sw":
            return lambda value: isinstance(value, str) and loose(value).startswith(piece)
        case "ew":
            return lambda value: isinstance(value, str) and loose(value).endswith(piece)
    ordered = _ORDERED[part.operator]
    return lambda value: isinstance(value, str) and bool(ordered(loose(value), piece))


def _fitting_instant(attribute: Attribute, part: Compare) -> Callable[[Any], bool]:
    wanted = instant(part.value)
    if wanted is None or part.operator in ("co", "sw", "ew"):
        raise _fault(f"{attribute.name} is an instant")
    if part.operator in ("eq", "ne"):
        return lambda value: bool(value == wanted)
    ordered = _ORDERED[part.operator]
    return lambda value: isinstance(value, datetime) and bool(ordered(value, wanted))


def _values(view: Mapping[str, Any], place: Place) -> Sequence[Any]:
    """The values there are at a place, none left out that is ``false``."""
    base = view.get(place.urn) if place.urn else view
    found = base.get(place.attribute.name) if isinstance(base, Mapping) else None
    items = found if isinstance(found, list) else [found]
    if place.sub is not None:
        name = place.sub.name
        items = [item.get(name) for item in items if isinstance(item, Mapping)]
    return [item for item in items if item is not None]


def _fault(what: str) -> Fault:
    return Fault(what, "invalidFilter", where="filter")
