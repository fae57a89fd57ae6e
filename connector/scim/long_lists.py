"""JSON that lists very many members, read and written in parts, so that no call holds the interpreter for long (S-R43).

Pure: no I/O here. For threads: between two parts others go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from ledger.collector import without_collector

_PART = 256 * 1024
_ITEMS = 2000
_DEEPEST = 4
"""A member stands in ``members``, or in ``value`` of one of the ``Operations``: what is further in is read whole."""


def decoded(raw: bytes) -> Any:
    """What ``raw`` says; raises ``ValueError`` or ``RecursionError``."""
    with without_collector():
        return _decoded(raw, _DEEPEST)


def values_at_most(raw: bytes) -> int:
    """How many values ``raw`` can hold, told without reading it."""
    return 1 + sum(raw.count(sign) for sign in (b",", b"[", b"{"))


def encoded(items: Sequence[Any]) -> msgspec.Raw:
    """A list as it is written."""
    parts = (msgspec.json.encode(items[start : start + _ITEMS])[1:-1] for start in range(0, len(items), _ITEMS))
    return msgspec.Raw(b"[" + b",".join(parts) + b"]")


def _decoded(raw: bytes, deep: int) -> Any:
    kind = raw.lstrip()[:1]
    if len(raw) <= _PART or not deep or kind not in (b"{", b"["):
        return msgspec.json.decode(raw)
    if kind == b"{":
        named = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        return {name: _decoded(bytes(value), deep - 1) for name, value in named.items()}
    try:
        return [item for part in _parts(raw.strip()) for item in msgspec.json.decode(part, type=list[Any])]
    except msgspec.DecodeError:  # a cut was inside of an item, or it is no JSON
        items = msgspec.json.decode(raw, type=list[msgspec.Raw])
        return [_decoded(bytes(item), deep - 1) for item in items]


def _parts(raw: bytes) -> Iterator[bytes]:
    """A list as several, cut behind objects. A cut that is not between two items leaves a part that is no JSON: a
    bracket or a quotation mark in it stays open."""
    at = 1
    while (cut := raw.find(b"},", at + _PART)) >= 0:
        yield b"[" + raw[at : cut + 1] + b"]"
        at = cut + 2
    yield b"[" * (at == 1 or raw[at:-1].strip() != b"") + raw[at:]  # nothing behind a comma is no JSON
