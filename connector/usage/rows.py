"""One row as sent: one rule per field, whatever format it came in (docs/guides/usage-intake.md lists them).

A reason is a sentence and, after the first ``: ``, what was found; the sentence alone is its *cause*, by which rows are
summed. Null, an absent field and an empty text are the same. Pure: no I/O, no clock here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from connector.usage.formats.columns import Column
from connector.usage.formats.text import likely_encoding
from ledger.identity import Email
from ledger.usage import CollectionState, UsageSource

MAX_TOKENS = 1_000_000_000
TOKEN_PLACES = 6
"""Decimal places of a token that are kept."""
LENGTHS = {"event_id": 128, "mail": 254, "offering_code": 64, "version": 64}
"""Most characters of a text."""
YEARS = (1970, 9998)
"""First and last year of an instant: inside them no conversion overflows, whatever the zone."""
_LONGEST = 1_000
PAYLOAD_LENGTH = 4_000
"""Characters of a row that quarantine keeps; a longer one cannot be replayed."""

_INSTANT = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d+))?)?(?: ?([Zz]|UTC|[+-]\d\d(?::?\d\d)?))?", re.ASCII
)
_COMMON = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:[0-5]\d(?:\.\d{3}|\.\d{6})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_LOOKS_NUMERIC = re.compile(r"[+-]?[\d., \u00a0]+(?:[eE][+-]?\d+)?", re.ASCII)
_ROUNDED = re.compile(r"\d[.,]\d+[eE]\+?\d+", re.ASCII)
_DECIMAL_COMMA = re.compile(r"\s*-?(?:0,\d+|\d{4,},\d+|\d+,(?:\d\d?|\d{4,}))\s*", re.ASCII)
"""A comma that can part no thousands: what stands before or behind it is no group of digits."""
_SPACES = re.compile(r"[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_UNSTORABLE = re.compile("[\ud800-\udfff\x00]")

Text64 = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class EventRow(msgspec.Struct, gc=False):
    """One usage event, read. ``tokens`` only with source ``flex``: at most six decimal places."""

    event_id: str
    occurred_at: datetime
    mail: str
    offering_code: str
    version: str = ""
    source: UsageSource = UsageSource.SUS
    tokens: Decimal | None = None
    collection_state: CollectionState = CollectionState.OBSERVED


FIELDS: tuple[str, ...] = EventRow.__struct_fields__
"""The names a row may use, in file column order."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is not as it should be; what could be read of it is kept, so that further reasons can be found."""

    payload: str
    reasons: tuple[str, ...]
    event_id: str = ""
    mail: str = ""
    offering_code: str = ""
    occurred_at: datetime | None = None


Row = tuple[str, EventRow | BadRow]
"""A row and its place (``line 7``)."""


class _Fault(Exception):
    """What is wrong with a value: the cause, and what was found."""

    def __init__(self, cause: str, found: str = "") -> None:
        super().__init__(f"{cause}: {found}" if found else cause)


def cause_of(reason: str) -> str:
    """The sentence of a reason without what was found: what rows are summed by."""
    return reason.partition(": ")[0]


class _Plain(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The common shape of a JSON row, decoded at once; any other goes by the rules, which say the same of this one."""

    event_id: Annotated[str, msgspec.Meta(min_length=1, max_length=LENGTHS["event_id"])]
    occurred_at: str
    mail: Annotated[str, msgspec.Meta(min_length=3, max_length=LENGTHS["mail"])]
    offering_code: Text64
    version: Text64 | None = None
    source: UsageSource | None = None
    tokens: Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)] | None = None
    collection_state: CollectionState | None = None


_decode_plain = msgspec.json.Decoder(_Plain).decode


def parse_line(line: bytes) -> EventRow | BadRow:
    """One line of NDJSON."""
    try:
        sent = _decode_plain(line)
        if not _COMMON.fullmatch(sent.occurred_at):
            return _by_rules(line)
        row = EventRow(
            sent.event_id,
            datetime.fromisoformat(sent.occurred_at),
            sent.mail,
            sent.offering_code,
            sent.version or "",
            sent.source or UsageSource.SUS,
            None if sent.tokens is None else Decimal(sent.tokens),
            sent.collection_state or CollectionState.OBSERVED,
        )
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _by_rules(line)
    return row if _is_plain(row) else _by_rules(line)


def parse_mapping(fields: Mapping[str, Any]) -> EventRow | BadRow:
    """One row of a table: values as its format gives them, all of them texts for CSV."""
    return _read(fields, lambda: _payload(fields))


def with_point(fields: dict[str, str]) -> dict[str, str]:
    """A row of a table that was written where the comma is the decimal mark, with a point where it can be no other."""
    tokens = fields.get("tokens", "")
    return {**fields, "tokens": tokens.replace(",", ".")} if _DECIMAL_COMMA.fullmatch(tokens[:65]) else fields


def payload_of(row: EventRow | BadRow) -> str:
    """``row`` as quarantine keeps it: readable as a line of NDJSON where it could be read at all."""
    return row.payload if isinstance(row, BadRow) else msgspec.json.encode(row).decode()


@lru_cache(maxsize=65_536)
def mail_key(text: str) -> str | None:
    """The caseless key of a mail address, or None when it is none."""
    try:
        return Email.parse(text).key
    except ValueError:
        return None


def clean(text: str) -> str:
    """``text`` as it can be stored anywhere: NUL and broken characters become U+FFFD, and it is not endlessly long."""
    return _UNSTORABLE.sub("\ufffd", text[:PAYLOAD_LENGTH])


def _is_plain(row: EventRow) -> bool:
    texts = row.event_id + row.mail + row.offering_code + row.version
    return (
        YEARS[0] <= row.occurred_at.year <= YEARS[1]
        and texts.isprintable()
        and (" " not in texts or not any(text[:1] == " " or text[-1:] == " " for text in _texts(row)))
        and (texts.isascii() or "\ufffd" not in texts)
        and (row.tokens is None or row.source is UsageSource.FLEX)
        and mail_key(row.mail) is not None
        and not (row.event_id[0].isdigit() and _ROUNDED.fullmatch(row.event_id))
    )


def _texts(row: EventRow) -> tuple[str, ...]:
    return row.event_id, row.mail, row.offering_code, row.version


def _by_rules(line: bytes) -> EventRow | BadRow:
    text = line.decode("utf-8", "surrogateescape")  # what is no UTF-8 is told of the field it stands in
    try:
        fields = json.loads(text, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError) as error:
        return BadRow(clean(text), (f"not JSON: {_cut(str(error))}",))
    if not isinstance(fields, dict):
        return BadRow(clean(text), (f"not a JSON object: {_shown(fields)}",))
    return _read(fields, lambda: clean(text))


def _read(fields: Mapping[str, Any], payload: Callable[[], str]) -> EventRow | BadRow:
    reasons = [f"a field is not known: {_shown(name)}" for name in fields if name not in _RULES]
    found: dict[str, Any] = {}
    for name, rule in _RULES.items():
        value = fields.get(name)
        try:
            if isinstance(value, str | bytes) and len(value) > _LONGEST:  # gone through by no rule: it may be repeated
                raise _Fault(f"{name} is too long", f"{len(value)} characters, {LENGTHS.get(name, 64)} are read")
            found[name] = None if value is None or value == "" else rule(name, value)
        except _Fault as fault:
            reasons.append(str(fault))
        else:
            if found[name] is None and name in REQUIRED:
                reasons.append(f"{name} is missing")
    good = {name: value for name, value in found.items() if value is not None}
    if "tokens" in good and "source" in found and good.get("source") is not UsageSource.FLEX:
        reasons.append("tokens are given, but source is not flex")
    if not reasons:
        return EventRow(**good)
    names = ("event_id", "mail", "offering_code", "occurred_at")
    return BadRow(payload(), tuple(reasons), **{name: good[name] for name in names if name in good})


def _text(name: str, value: Any) -> str | None:
    longest = LENGTHS.get(name, 64)
    if type(value) is str and value.isascii() and value.isprintable() and 0 < len(value) <= longest:
        return value.strip() or None  # nearly all of them
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    elif isinstance(value, int) and not isinstance(value, bool):
        value = _digits(value)
    if isinstance(value, float | Decimal):
        raise _Fault(f"{name} is a number with a fraction", f"{_shown(value)}; write it as text")
    if not isinstance(value, str):
        raise _Fault(f"{name} is not text", _shown(value))
    text = _SPACES.sub(" ", value).strip()
    if _UNSTORABLE.search(text) and "\x00" not in text:
        raise _Fault(f"{name} is not UTF-8", _other_encoding(text))
    if "\ufffd" in text:
        raise _Fault(f"{name} has lost characters", f"{_shown(text)} holds U+FFFD; export it again")
    if not text.isprintable():
        raise _Fault(f"{name} holds invisible characters", _shown(text))
    if len(text) > longest:
        raise _Fault(f"{name} is too long", f"{len(text)} characters, {longest} are read")
    return text or None


def _event_id(name: str, value: Any) -> str | None:
    text = _text(name, value)
    if text and _ROUNDED.fullmatch(text):
        raise _Fault(f"{name} is a rounded number", f"{text!r}; tell the spreadsheet that the column is text")
    return text


def _mail(name: str, value: Any) -> str | None:
    text = _text(name, value)
    if text and mail_key(text) is None:
        raise _Fault("mail is not a mail address")
    return text


def _instant(name: str, value: Any) -> datetime:
    if isinstance(value, datetime):
        at = value
    elif isinstance(value, date):
        raise _Fault(f"{name} is a day without a time", str(value))
    elif isinstance(value, str):
        at = _instant_of(name, value.strip())
    elif isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        raise _Fault(f"{name} is a number", f"{_shown(value)}; write it like 2026-03-01T10:00:00Z")
    else:
        raise _Fault(f"{name} is not an RFC 3339 instant", _shown(value))
    if at.tzinfo is None:
        raise _Fault(f"{name} has no time zone", f"{_shown(str(value))}; write it with Z or an offset")
    if not YEARS[0] <= at.year <= YEARS[1]:
        raise _Fault(f"{name} is out of range", f"{_shown(str(value))}; years {YEARS[0]} to {YEARS[1]} are read")
    return at


def _instant_of(name: str, text: str) -> datetime:
    if _COMMON.fullmatch(text):
        with suppress(ValueError):
            return datetime.fromisoformat(text)
    parts = _INSTANT.fullmatch(text)
    if parts is None:
        if _LOOKS_NUMERIC.fullmatch(text):
            raise _Fault(f"{name} is a number", f"{_shown(text)}; write it like 2026-03-01T10:00:00Z")
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            raise _Fault(f"{name} is a day without a time", text)
        raise _Fault(f"{name} is not an RFC 3339 instant", _shown(text))
    day, minute, second, fraction, zone = parts.groups()
    if second == "60" and minute.endswith("59"):
        second, fraction = "59", "999999"  # a leap second is the end of its minute: its day is certain (RFC 3339 §5.6)
    zone = {None: "", "Z": "+00:00", "z": "+00:00", "UTC": "+00:00"}.get(zone, zone)
    try:
        # digits beyond microseconds are cut off: rounded up they could be another day
        return datetime.fromisoformat(f"{day}T{minute}:{second or '00'}.{(fraction or '0')[:6]:0<6}{zone}")
    except ValueError as error:
        raise _Fault(f"{name} is not an RFC 3339 instant", f"{_shown(text)}; {error}") from error


def _tokens(name: str, value: Any) -> Decimal | None:
    if type(value) is str and len(value) < 10 and value.isascii() and value.isdigit():
        return Decimal(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, str):
        value = value.strip()
        if not value:
            return None
        if len(value) > 64 or not _NUMBER.fullmatch(value):
            comma = "; write a point for the comma" if re.fullmatch(r"\d+,\d+", value) else ""
            raise _Fault("tokens is not a number", _shown(value) + comma)
    elif isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise _Fault("tokens is not a number", _shown(value))
    number = Decimal(repr(value) if isinstance(value, float) else value)  # 0.1 is what was written, not its binary form
    if not number.is_finite():
        raise _Fault("tokens is not a number", f"{_shown(value)}; leave it empty where there is none")
    if not 0 <= number <= MAX_TOKENS:
        raise _Fault("tokens is out of range", f"{_shown(value)}; 0 to {MAX_TOKENS} are read")
    digits, exponent = "".join(map(str, number.as_tuple().digits)), int(number.as_tuple().exponent)
    significant = digits.rstrip("0")
    if significant and exponent + len(digits) - len(significant) < -TOKEN_PLACES:
        raise _Fault(f"tokens has more than {TOKEN_PLACES} decimal places", _shown(value))
    return abs(number.normalize()) + 0


def _choice(kinds: type[UsageSource] | type[CollectionState]) -> Callable[[str, Any], Any]:
    allowed: Iterable[str] = tuple(str(kind) for kind in kinds)

    def read(name: str, value: Any) -> Any:
        text = _text(name, value)
        if text is not None and text not in allowed:
            raise _Fault(f"{name} is none of {', '.join(allowed)}", _shown(text))
        return None if text is None else kinds(text)

    return read


_TABLE: tuple[tuple[Column, Callable[[str, Any], Any]], ...] = (
    (
        Column(
            "event_id",
            True,
            f"text of at most {LENGTHS['event_id']} characters, any script",
            "The product's own id of the event. The same id is counted once, however often it is sent.",
            ("e-1001", "e-1002", "e-1003"),
        ),
        _event_id,
    ),
    (
        Column(
            "occurred_at",
            True,
            f"an instant with `Z` or an offset, years {YEARS[0]} to {YEARS[1]}",
            "When it was used. Neither in the future nor older than `[reporting] lateness_days` of the organization.",
            ("{yesterday}T09:30:00Z", "{yesterday}T10:15:00+01:00", "{yesterday}T16:45:00Z"),
        ),
        _instant,
    ),
    (
        Column(
            "mail",
            True,
            f"the person's mail address, at most {LENGTHS['mail']} characters, any case",
            "Who used it: an address of the directory, or of somebody who was added by hand.",
            ("anna.kowalska@acme.example",) * 3,
        ),
        _mail,
    ),
    (
        Column(
            "offering_code",
            True,
            f"a code of `rosterd import offerings`, at most {LENGTHS['offering_code']} characters, in its case",
            "What was used.",
            ("CAD", "RENDER", "CAD"),
        ),
        _text,
    ),
    (
        Column(
            "version",
            False,
            f"text of at most {LENGTHS['version']} characters",
            "Version of the product that was used.",
            ("2026.1", None, "2026.1"),
        ),
        _text,
    ),
    (
        Column(
            "source",
            False,
            "`sus` (when left out) or `flex`",
            "What paid for it: a single-user subscription, or tokens.",
            ("sus", "flex", None),
        ),
        _choice(UsageSource),
    ),
    (
        Column(
            "tokens",
            False,
            f"0 to {MAX_TOKENS} with at most {TOKEN_PLACES} decimal places; only with `flex`",
            "How many tokens it took.",
            (None, "1.5", None),
        ),
        _tokens,
    ),
    (
        Column(
            "collection_state",
            False,
            "`observed` (when left out), `offline`, `unsupported`, `opted_out`",
            "Whether use was seen, or why none could be.",
            (None, None, "offline"),
        ),
        _choice(CollectionState),
    ),
)
"""Every field with its rule: (name, value) → the value; None where it is as good as none. Raises ``_Fault``."""

COLUMNS: tuple[Column, ...] = tuple(column for column, _ in _TABLE)
"""The columns of a file, in order."""

REQUIRED: tuple[str, ...] = tuple(column.name for column in COLUMNS if column.needed)
"""The names a row must use."""

_RULES: Mapping[str, Callable[[str, Any], Any]] = {column.name: rule for column, rule in _TABLE}


def _payload(fields: Mapping[str, Any]) -> str:
    shown = {clean(str(name)): _storable(name, value) for name, value in fields.items()}
    return clean(msgspec.json.encode(shown).decode())


def _storable(name: str, value: Any) -> Any:
    """``value`` so that a replay judges it alike: what JSON has no type for stays no text, in a list."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, str):
        return clean(value) if len(value) <= PAYLOAD_LENGTH else value[: PAYLOAD_LENGTH + 1].encode().decode()
    if isinstance(value, int | float) and abs(value) < 2**63:
        return value
    if isinstance(value, date | Decimal) and name in ("occurred_at", "tokens"):
        return str(value)
    return [_shown(value)]


def _digits(value: int) -> str:
    """Python refuses to write numbers of more than 4,300 digits."""
    return str(value) if abs(value) < 10**200 else "9" * 200


def _other_encoding(text: str) -> str:
    """What bytes that are no UTF-8 would be in an encoding that spreadsheets of Central Europe write."""
    try:
        sent = text.encode("utf-8", "surrogateescape")
        name = likely_encoding(sent)
        read = sent.decode(name)
    except UnicodeError:
        return _shown(text)
    return f"in {name.upper()} it reads {_shown(read)}; then import it with --encoding {name} (HTTP: charset={name})"


def _shown(value: Any) -> str:
    return _cut(_digits(value) if type(value) is int else str(value) if isinstance(value, Decimal) else repr(value))


def _cut(text: str) -> str:
    shown = clean(text)
    return shown if len(shown) <= 80 else shown[:79] + "…"
