"""Which characters of other people's text reach a mail: names, reasons and addresses that we did not write.

Pure: no I/O here.
"""

from __future__ import annotations

from typing import Final

NAME_LIMIT: Final = 64
"""Characters of a name, in words and headers alike; what is longer ends in …"""

DIRECTIONS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of what follows: with them a name can look like another name, or an address."""

_BREAKS = frozenset("\u0085\u2028\u2029")


def is_control(character: str) -> bool:
    """Whether it ends a line, steers a terminal (C0, DEL, C1), or is half of a character (a lone surrogate)."""
    code = ord(character)
    return code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code <= 0xDFFF or character in _BREAKS


def one_line(text: str, limit: int = 0) -> str:
    """The text on one line: no control character, no turn of direction, single spaces, at most ``limit`` characters
    (0: as long as it is)."""
    kept = "".join(" " if is_control(one) else one for one in text if one not in DIRECTIONS)
    line = " ".join(kept.split())
    return line if not limit or len(line) <= limit else line[: limit - 1].rstrip() + "…"


def name(text: str) -> str:
    """A name as it may be shown: ``one_line`` of at most 64 characters."""
    return one_line(text, NAME_LIMIT)
