"""Distinguished names: parsing and one comparable key per name (D6; RFC 4514, RFC 4518).

Pure: no I/O here. Nothing is looked up in a schema: every value is compared without case and without insignificant
space, which is right for the attributes that name people and groups.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

Rdn = tuple[tuple[str, str], ...]
"""One relative name: (attribute type, prepared value) pairs, sorted."""

_PLAIN_VALUE = r"[a-z0-9._@'()/:&!?*~-]+(?: [a-z0-9._@'()/:&!?*~-]+)*"
_PLAIN = re.compile(rf"(?:cn|ou|uid|dc|o|c|l|st|sn)={_PLAIN_VALUE}(?:,(?:cn|ou|uid|dc|o|c|l|st|sn)={_PLAIN_VALUE})*")
_TYPE = re.compile(r"[a-z][a-z0-9-]*|(?:oid\.)?\d+(?:\.\d+)*")
_HEX = re.compile(r"[0-9a-fA-F]{2}")
_HEX_STRING = re.compile(r"#((?:[0-9a-fA-F]{2})+)")
_UNSEEN = re.compile("[\u00ad\u034f\u180b-\u180d\u200b-\u200f\u2060\ufe00-\ufe0f\ufeff]")
_SPACE = re.compile(r"\s+")
_UID_SUFFIX = re.compile(rb"#'[01]*'B$")
_STRING_TAGS = {0x04: "utf-8", 0x0C: "utf-8", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii", 0x1E: "utf-16-be"}
_ALIASES = {
    "commonname": "cn",
    "2.5.4.3": "cn",
    "surname": "sn",
    "2.5.4.4": "sn",
    "countryname": "c",
    "2.5.4.6": "c",
    "localityname": "l",
    "2.5.4.7": "l",
    "stateorprovincename": "st",
    "2.5.4.8": "st",
    "organizationname": "o",
    "2.5.4.10": "o",
    "organizationalunitname": "ou",
    "2.5.4.11": "ou",
    "userid": "uid",
    "0.9.2342.19200300.100.1.1": "uid",
    "domaincomponent": "dc",
    "0.9.2342.19200300.100.1.25": "dc",
}


def key(text: str) -> str:
    """The comparable form of a DN: equal keys, same entry. ``ValueError`` when it is not a DN.

    Commas, pluses and backslashes inside values are written as hex pairs, so a plain comma always separates.
    """
    lowered = text.lower() if text.isascii() else ""
    if lowered and _PLAIN.fullmatch(lowered):
        return lowered
    return _slow_key(text)


def parse(text: str) -> tuple[Rdn, ...]:
    """RDNs from the entry up to the root; ``()`` for the empty DN. ``ValueError`` names what is wrong and where."""
    if not text.strip():
        return ()
    return _Scanner(text).rdns()


def is_under(entry_key: str, base_key: str) -> bool:
    """Whether the entry is the base itself or below it; both are keys."""
    return not base_key or entry_key == base_key or entry_key.endswith("," + base_key)


def looks_like_dn(text: str) -> bool:
    """Whether a configured group reference is a DN and not a name."""
    try:
        return "=" in text and bool(parse(text))
    except ValueError:
        return False


def without_uid_suffix(value: bytes) -> bytes:
    """A ``uniqueMember`` value (NameAndOptionalUID, RFC 4517 §3.3.21) without its ``#'0101'B``."""
    return _UID_SUFFIX.sub(b"", value) if value.endswith(b"'B") else value


@lru_cache(maxsize=65536)
def _slow_key(text: str) -> str:
    return ",".join("+".join(f"{kind}={_escaped(value)}" for kind, value in rdn) for rdn in parse(text))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\5c").replace(",", "\\2c").replace("+", "\\2b")


def _prepared(text: str) -> str:
    """RFC 4518: map to nothing, fold case, normalise, drop insignificant space."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", _UNSEEN.sub("", text)).casefold())
    return _SPACE.sub(" ", folded).strip()


class _Scanner:
    """Reads one DN from left to right; also takes RFC 2253's quotes, semicolons and loose spaces."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def rdns(self) -> tuple[Rdn, ...]:
        result: list[Rdn] = []
        pairs = [self._pair()]
        while self._at < len(self._text):
            separator = self._text[self._at]
            self._at += 1
            if separator == "+":
                pairs.append(self._pair())
            else:
                result.append(tuple(sorted(pairs)))
                pairs = [self._pair()]
        result.append(tuple(sorted(pairs)))
        return tuple(result)

    def _pair(self) -> tuple[str, str]:
        end = self._text.find("=", self._at)
        kind = self._text[self._at : end if end >= 0 else None].strip().lower()
        if end < 0 or not _TYPE.fullmatch(kind):
            raise ValueError(f"{self._text!r} is not a DN: no attribute type at character {self._at + 1}")
        self._at = end + 1
        kind = kind.removeprefix("oid.")
        return _ALIASES.get(kind, kind), self._value()

    def _value(self) -> str:
        text = self._text
        while text[self._at : self._at + 1] == " ":
            self._at += 1
        if text[self._at : self._at + 1] == "#":
            return self._hex_string()
        quoted = text[self._at : self._at + 1] == '"'
        self._at += quoted
        out = bytearray()
        while self._at < len(text):
            character = text[self._at]
            if character == "\\":
                out += self._escape()
                continue
            if quoted and character == '"':
                quoted = False
                self._at += 1
                self._skip_to_separator()
                break
            if not quoted and character in ",;+":
                break
            out += character.encode("utf-8", "surrogatepass")
            self._at += 1
        if quoted:
            raise ValueError(f"{text!r} is not a DN: a quote is not closed")
        return _prepared(out.decode("utf-8", "backslashreplace"))

    def _skip_to_separator(self) -> None:
        while self._at < len(self._text) and self._text[self._at] == " ":
            self._at += 1
        if self._at < len(self._text) and self._text[self._at] not in ",;+":
            raise ValueError(f"{self._text!r} is not a DN: text after a closing quote")

    def _escape(self) -> bytes:
        pair = self._text[self._at + 1 : self._at + 3]
        if _HEX.fullmatch(pair):
            self._at += 3
            return bytes.fromhex(pair)
        if not pair:
            raise ValueError(f"{self._text!r} is not a DN: it ends with a backslash")
        self._at += 2
        return pair[0].encode("utf-8", "surrogatepass")

    def _hex_string(self) -> str:
        match = _HEX_STRING.match(self._text, self._at)
        if not match:
            raise ValueError(f"{self._text!r} is not a DN: # without hex pairs")
        self._at = match.end()
        self._skip_to_separator()
        raw = bytes.fromhex(match[1])
        encoding = _STRING_TAGS.get(raw[0])
        if encoding and len(raw) >= 2 and raw[1] < 128 and len(raw) == 2 + raw[1]:
            return _prepared(raw[2:].decode(encoding, "backslashreplace"))
        return f"#{raw.hex()}"
