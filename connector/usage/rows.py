"""Rows as products send them: strict shapes, and for a bad row every reason at once.

Pure: no I/O, no clock here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from ledger.identity import Email
from ledger.usage import CollectionState, UsageSource

MAX_TOKENS = 1_000_000_000
_PAYLOAD_LENGTH = 4_000
_LENGTHS = {"event_id": 128, "mail": 254, "offering_code": 64, "version": 64}

Text64 = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class EventRow(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One usage event as sent. ``tokens`` only with source ``flex``; the rest may be left out as shown."""

    event_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    occurred_at: Annotated[datetime, msgspec.Meta(tz=True)]
    mail: Annotated[str, msgspec.Meta(min_length=3, max_length=254)]
    offering_code: Text64
    version: Annotated[str, msgspec.Meta(max_length=64)] = ""
    source: UsageSource = UsageSource.SUS
    tokens: Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)] | None = None
    collection_state: CollectionState = CollectionState.OBSERVED


FIELDS: tuple[str, ...] = EventRow.__struct_fields__
"""The names a row may use, in file column order."""

REQUIRED: tuple[str, ...] = FIELDS[:4]
"""The names a row must use."""

_decode_row = msgspec.json.Decoder(EventRow).decode
_decode_any = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that has no valid shape; what could be read of it is kept, so that further reasons can be found."""

    payload: str
    reasons: tuple[str, ...]
    event_id: str = ""
    mail: str = ""
    offering_code: str = ""
    occurred_at: datetime | None = None


def parse_line(line: bytes) -> EventRow | BadRow:
    """One NDJSON line."""
    try:
        row = _decode_row(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _bad_line(line)
    return row if _is_clean(row) else _bad_line(line)


def parse_mapping(fields: Mapping[str, Any], *, texts: bool = False) -> EventRow | BadRow:
    """One row of a table. With ``texts`` every value is text (CSV): an empty one is *not given*, numbers are read."""
    given = {name: value for name, value in fields.items() if not (value is None or (texts and value == ""))}
    try:
        row = msgspec.convert(given, EventRow, strict=not texts)
    except (msgspec.MsgspecError, RecursionError):
        return _bad_fields(given, texts=texts)
    return row if _is_clean(row) else _bad_fields(given, texts=texts)


def _is_clean(row: EventRow) -> bool:
    return (
        row.event_id.isprintable()
        and row.offering_code.isprintable()
        and row.version.isprintable()
        and row.event_id.isascii()
        and (row.tokens is None or row.source is UsageSource.FLEX)
    )


@lru_cache(maxsize=65_536)
def mail_key(text: str) -> str | None:
    """The caseless key of a mail address, or None when it is none."""
    try:
        return Email.parse(text).key
    except ValueError:
        return None


def clean(text: str) -> str:
    """``text`` as it can be stored anywhere: no NUL, no broken characters, not endlessly long."""
    return text[:_PAYLOAD_LENGTH].encode("utf-8", "replace").decode("utf-8").replace("\x00", "�")


def _bad_line(line: bytes) -> BadRow:
    payload = clean(line[:_PAYLOAD_LENGTH].decode("utf-8", "replace"))
    try:
        fields = _decode_any(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return BadRow(payload, (f"not JSON: {_short(str(error))}",))
    if not isinstance(fields, dict):
        return BadRow(payload, ("not a JSON object",))
    return _explained(fields, payload, texts=False)


def _bad_fields(fields: Mapping[str, Any], *, texts: bool) -> BadRow:
    shown = {str(name): clean(value if isinstance(value, str) else str(value)) for name, value in fields.items()}
    return _explained(fields, clean(msgspec.json.encode(shown).decode()), texts=texts)


def _explained(fields: Mapping[str, Any], payload: str, *, texts: bool) -> BadRow:
    """Every reason, field by field, in the order of ``FIELDS``."""
    reasons = [f"{name} is missing" for name in REQUIRED if fields.get(name) is None]
    reasons += [f"unknown field {_short(repr(name))}" for name in fields if name not in FIELDS]
    good: dict[str, Any] = {}
    for name, check in _CHECKS.items():
        value = fields.get(name)
        if value is None:
            continue
        fault = check(name, value, texts)
        if fault:
            reasons.append(fault)
        else:
            good[name] = value
    if good.get("tokens") is not None and good.get("source", "sus") != "flex":
        reasons.append("tokens are given, but source is not flex")
    at = good.get("occurred_at")
    return BadRow(
        payload,
        tuple(reasons) or ("not a usage event",),
        event_id=good.get("event_id", ""),
        mail=good.get("mail", ""),
        offering_code=good.get("offering_code", ""),
        occurred_at=_instant(at) if isinstance(at, str) else at,
    )


def _text_fault(name: str, value: Any, texts: bool) -> str:
    if not isinstance(value, str):
        return f"{name} is not text"
    if not value and name != "version":
        return f"{name} is empty"
    if len(value) > _LENGTHS[name]:
        return f"{name} is longer than {_LENGTHS[name]} characters"
    if any("\ud800" <= character <= "\udfff" for character in value):
        return f"{name} is not UTF-8"
    if not value.isprintable():
        return f"{name} holds control characters"
    if name == "event_id" and not value.isascii():
        return "event_id is not ASCII"
    return ""


def _mail_fault(name: str, value: Any, texts: bool) -> str:
    return _text_fault(name, value, texts) or ("" if mail_key(value) else "mail is not a mail address")


def _instant(value: str) -> datetime | None:
    try:
        return msgspec.convert(value, datetime)
    except msgspec.MsgspecError:
        return None


def _instant_fault(name: str, value: Any, texts: bool) -> str:
    at = _instant(value) if isinstance(value, str) else value
    if not isinstance(at, datetime):
        return f"{name} {_short(repr(value))} is not an RFC 3339 instant"
    if at.tzinfo is None:
        return f"{name} {_short(repr(value))} has no time zone: write it with Z or an offset"
    return ""


def _tokens_fault(name: str, value: Any, texts: bool) -> str:
    if texts and isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:12])
    if isinstance(value, bool) or not isinstance(value, int):
        return "tokens is not a whole number"
    return "" if 0 <= value <= MAX_TOKENS else f"tokens is not between 0 and {MAX_TOKENS}"


def _choice_fault(values: Iterable[str]) -> Callable[[str, Any, bool], str]:
    allowed = tuple(str(value) for value in values)

    def check(name: str, value: Any, texts: bool) -> str:
        return "" if value in allowed else f"{name} {_short(repr(value))} is none of {', '.join(allowed)}"

    return check


_CHECKS: dict[str, Callable[[str, Any, bool], str]] = {
    "event_id": _text_fault,
    "occurred_at": _instant_fault,
    "mail": _mail_fault,
    "offering_code": _text_fault,
    "version": _text_fault,
    "source": _choice_fault(UsageSource),
    "tokens": _tokens_fault,
    "collection_state": _choice_fault(CollectionState),
}


def _short(text: str) -> str:
    shown = clean(text)
    return shown if len(shown) <= 80 else shown[:79] + "…"
