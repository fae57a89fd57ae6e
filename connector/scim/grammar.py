"""Filters, attribute names and PATCH paths as trees (RFC 7644 §3.4.2.2, §3.5.2; S-R25, S-R46, S-R48).

Pure: no I/O here. What a name means is not asked here. Depth and length have a limit, whoever asks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

import msgspec

from connector.scim.errors import Fault
from connector.scim.schemas import URNS

LONGEST = 4096
"""Characters of a filter or a path."""
DEEPEST = 32
"""Brackets inside brackets."""
OPERATORS = frozenset({"eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"})
_TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|([()\[\]])|([^\s()\[\]"]+))')
_NAME = re.compile(r"[A-Za-z$][\w$-]*")
_BARE = re.compile(r"true|false|null|-?\d+(\.\d+)?([eE][+-]?\d+)?", re.IGNORECASE)
_URNS = tuple((urn, urn.lower()) for urn in URNS)


@dataclass(frozen=True, slots=True)
class Name:
    """An attribute as written: ``urn`` may be empty; ``attribute`` is empty when a whole URN is meant."""

    urn: str
    attribute: str
    sub: str = ""


@dataclass(frozen=True, slots=True)
class Compare:
    """``name operator value``; ``quoted``: the value stood in quotes."""

    name: Name
    operator: str
    value: str
    quoted: bool = True


@dataclass(frozen=True, slots=True)
class Present:
    """``name pr``"""

    name: Name


@dataclass(frozen=True, slots=True)
class Within:
    """``name[inner]``: one value that fits ``inner`` by itself."""

    name: Name
    inner: Filter


@dataclass(frozen=True, slots=True)
class Not:
    """``not (inner)``"""

    inner: Filter


@dataclass(frozen=True, slots=True)
class Every:
    """Parts joined by ``and``."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """Parts joined by ``or``."""

    parts: tuple[Filter, ...]


Filter = Compare | Present | Within | Not | Every | Some


@dataclass(frozen=True, slots=True)
class Path:
    """Where a PATCH operation goes: ``name``, ``name[chosen]`` or ``name[chosen].sub``."""

    name: Name
    chosen: Filter | None = None
    sub: str = ""


def name_of(text: str, scim_type: str = "invalidPath") -> Name:
    """``attr``, ``attr.sub``, ``URN:attr``, ``URN:attr.sub`` or a URN of ours alone; raises ``Fault``."""
    lowered = text.lower()
    urn, rest = "", text
    for known, key in _URNS:
        if lowered == key:
            return Name(known, "")
        if lowered.startswith(f"{key}:"):
            urn, rest = known, text[len(key) + 1 :]
            break
    else:
        if lowered.startswith("urn:") or "://" in lowered:
            return Name(text, "")
    attribute, dot, sub = rest.partition(".")
    if not _NAME.fullmatch(attribute) or (dot and not _NAME.fullmatch(sub)):
        raise Fault(f"{text[:80]!r} is no attribute", scim_type)
    return Name(urn, attribute, sub)


def parse_filter(text: str, *, strict: bool = False) -> Filter:
    """The tree of a filter; raises ``Fault`` (``invalidFilter``). ``strict``: text values stand in quotes."""
    reader = _Reader(text, "invalidFilter", strict)
    found = reader.some()
    if reader.ahead():
        reader.wrong(f"{reader.ahead()[:40]!r} is not expected")
    return found


def parse_path(text: str, *, strict: bool = False) -> Path:
    """The parts of a PATCH path; raises ``Fault`` (``invalidPath``)."""
    reader = _Reader(text, "invalidPath", strict)
    name = reader.name()
    if not reader.ahead():
        return Path(name)
    reader.need("[")
    chosen = reader.some()
    reader.need("]")
    rest = reader.ahead()
    if not rest:
        return Path(name, chosen)
    if not rest.startswith(".") or not _NAME.fullmatch(rest[1:]) or name.sub:
        reader.wrong(f"{rest[:40]!r} is not expected")
    reader.take()
    if reader.ahead():
        reader.wrong(f"{reader.ahead()[:40]!r} is not expected")
    return Path(name, chosen, rest[1:])


class _Reader:
    """Recursive descent over tokens; ``scim_type`` is what a fault is called."""

    def __init__(self, text: str, scim_type: str, strict: bool) -> None:
        self._type = scim_type
        self._strict = strict
        self._depth = 0
        if len(text) > LONGEST:
            self.wrong(f"longer than {LONGEST} characters")
        if any(ord(letter) < 32 for letter in text):
            self.wrong("it has control characters")
        self._tokens = self._split(text)
        self._at = 0

    def _split(self, text: str) -> list[str]:
        found, at, end = [], 0, len(text.rstrip())
        while at < end:
            match = _TOKEN.match(text, at)
            if match is None:
                self.wrong("a quotation mark is missing")
            found.append(match[1] or match[2] or match[3])
            at = match.end()
        if not found:
            self.wrong("it is empty")
        return found

    def wrong(self, what: str) -> NoReturn:
        """Raise the fault."""
        raise Fault(what, self._type, where="filter" if self._type == "invalidFilter" else "path")

    def ahead(self) -> str:
        """The next token; empty at the end."""
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def take(self) -> str:
        """The next token, gone past."""
        token = self.ahead()
        if not token:
            self.wrong("it ends too early")
        self._at += 1
        return token

    def need(self, token: str) -> None:
        """Go past exactly this one."""
        found = self.take()
        if found != token:
            self.wrong(f"{token!r} is expected before {found[:40]!r}")

    def name(self) -> Name:
        """An attribute."""
        return name_of(self.take(), self._type)

    def some(self) -> Filter:
        """Parts joined by ``or``; ``and`` binds closer."""
        self._depth += 1
        if self._depth > DEEPEST:
            self.wrong(f"more than {DEEPEST} brackets inside each other")
        parts = [self._every()]
        while self.ahead().lower() == "or":
            self.take()
            parts.append(self._every())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else Some(tuple(parts))

    def _every(self) -> Filter:
        parts = [self._one()]
        while self.ahead().lower() == "and":
            self.take()
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def _one(self) -> Filter:
        if self.ahead() == "(":
            return self._bracketed("(", ")")
        if self.ahead().lower() == "not" and self._tokens[self._at + 1 : self._at + 2] == ["("]:
            self.take()
            return Not(self._bracketed("(", ")"))
        name = self.name()
        if self.ahead() == "[":
            return self._chosen(name)
        return self._condition(name)

    def _chosen(self, name: Name) -> Filter:
        """``name[inner]``, or ``name[inner].sub operator value`` as Entra asks: of one and the same value. Without the
        sub, as Microsoft's manual prints it, ``value`` is meant."""
        inner = self._bracketed("[", "]")
        sub = self.ahead()
        if sub.startswith("."):
            self.take()
            asked = name_of(sub[1:], self._type)
        elif not self._strict and sub.lower() in OPERATORS | {"pr"}:
            asked = Name("", "value")
        else:
            return Within(name, inner)
        return Within(name, Every((inner, self._condition(asked))))

    def _condition(self, name: Name) -> Filter:
        operator = self.take().lower()
        if operator == "pr":
            return Present(name)
        if operator not in OPERATORS:
            self.wrong(f"{operator[:40]!r} is no operator")
        return self._compared(name, operator, self.take())

    def _bracketed(self, opening: str, closing: str) -> Filter:
        self.need(opening)
        found = self.some()
        self.need(closing)
        return found

    def _compared(self, name: Name, operator: str, token: str) -> Compare:
        if token.startswith('"'):
            try:
                value = msgspec.json.decode(token, type=str)
            except (msgspec.DecodeError, UnicodeError):
                self.wrong("a quoted value is no JSON text")
            if "\0" in value:
                self.wrong("it has control characters")
            return Compare(name, operator, value)
        if token in {"(", ")", "[", "]"}:
            self.wrong("a value is missing")
        if self._strict and not _BARE.fullmatch(token):
            self.wrong("a text value stands in quotes")
        return Compare(name, operator, token, quoted=False)
