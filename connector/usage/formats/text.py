"""Lines of a text, whatever its encoding and line ends; and what a text looks like that a spreadsheet wrote."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Collection, Iterable, Iterator
from functools import cache

from connector.usage.formats.columns import named
from ledger.errors import BadInput

LONGEST_LINE = 1 << 20
"""Bytes of one line."""
HEAD = 1 << 16
"""First bytes of a text, by which its form is told: what stands before its header included."""
ENCODINGS = ("utf-8", "utf-16", "utf-16-le", "utf-16-be", "cp1250", "cp1252", "iso8859-1", "iso8859-2")
"""What ``--encoding`` and ``charset`` may name, in any spelling that Python knows (``UTF8``, ``windows-1250``)."""
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
"""What ``--separator`` may name; the character itself is taken too."""
_BOM = b"\xef\xbb\xbf"
_SEP = re.compile(r"sep=.?", re.IGNORECASE)


class OtherForm(BadInput):
    """The text is not in the form it was read in; ``encoding`` and ``separator`` are what it looks like, where seen."""

    def __init__(self, what: str, *, encoding: str = "", separator: str = "") -> None:
        super().__init__(what)
        self.encoding, self.separator = encoding, separator

    def options(self) -> str:
        """What to add to ``rosterd import``."""
        named = {"encoding": self.encoding, "separator": self.separator}
        return " ".join(f"--{name} {value}" for name, value in named.items() if value)


class LongLine(bytes):
    """The beginning of a line longer than ``LONGEST_LINE``."""


def encoding_of(name: str) -> str:
    """One of ``ENCODINGS``; empty is UTF-8. Raises ``BadInput``."""
    try:
        found = codecs.lookup(name or "utf-8").name
    except (LookupError, ValueError):
        found = ""
    if found not in ENCODINGS:
        raise BadInput(f"the encoding {name[:40]!r} is not read", next_step=f"one of {', '.join(ENCODINGS)}")
    return found


def separator_of(name: str) -> str:
    """The character that separates cells; empty is a comma. Raises ``BadInput``."""
    found = SEPARATORS.get((name or "comma").lower(), name)
    if found not in SEPARATORS.values():
        raise BadInput(f"the separator {name[:40]!r} is not read", next_step=f"one of {', '.join(SEPARATORS)}")
    return found


def require_form(head: bytes, encoding: str, names: Collection[str]) -> None:
    """Raise ``OtherForm`` when ``head``, the first bytes of a text, looks like UTF-16 and is to be read as another."""
    seen = _utf16_in(head)
    if seen and not encoding.startswith("utf-16"):
        separator = _separator_in(_decoded(head, seen), names).removeprefix("comma")
        raise OtherForm("the text looks like UTF-16", encoding=seen, separator=separator)


def require_separator(header: str, names: Collection[str], separator: str) -> None:
    """Raise ``OtherForm`` when more of ``header`` is in ``names`` with another separator than ``separator``."""
    other = _separator_in(header, names)
    if other and SEPARATORS[other] != separator:
        raise OtherForm(f"the columns look separated by {other}s", separator=other)


def form_of(head: bytes, encoding: str, separator: str, names: Collection[str]) -> tuple[str, str]:
    """The encoding, and the character between cells, of a file that begins with ``head`` and has columns of ``names``.

    What is not named (an empty ``encoding`` or ``separator``) is what the file shows, where it shows but one: UTF-16,
    and the separator of its header; else UTF-8 and a comma. Raises ``OtherForm`` where it shows another than was named.
    """
    chosen = encoding_of(encoding or _utf16_in(head))
    require_form(head, chosen, names)
    text = _decoded(head, chosen)
    if not separator:
        return chosen, SEPARATORS[_separator_in(text, names) or "comma"]
    require_separator(text, names, separator_of(separator))
    return chosen, separator_of(separator)


def likely_encoding(text: bytes) -> str:
    """The encoding in which most of what is not ASCII in ``text``, a piece that is no UTF-8, is a letter."""
    other = bytes(byte for byte in text if byte > 127)
    return max(("cp1250", "iso8859-2"), key=lambda one: sum(map(str.isalpha, other.decode(one, "replace"))))


def is_preamble(line: str, names: Collection[str]) -> bool:
    """Whether a line before the header is none: empty, a comment (``#``), or a spreadsheet's own word (``sep=;``).

    A line of ``#`` that holds columns of ``names`` is a header, whose first column is unknown.
    """
    text = line.strip(' "\t\r\n,;|\ufeff')
    if not text.startswith("#"):
        return not text or _SEP.fullmatch(text) is not None
    return not any(set(_cells(line, separator)) & set(names) for separator in SEPARATORS.values())


def _utf16_in(head: bytes) -> str:
    if head.count(0) * 4 <= len(head):
        return ""
    marked = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}.get(head[:2])
    return marked or ("utf-16-le" if head[1:2] == b"\0" else "utf-16-be")


def _decoded(head: bytes, encoding: str) -> str:
    return head[: len(head) // 2 * 2].decode(encoding, "replace")


def _separator_in(text: str, names: Collection[str]) -> str:
    """The separator, by name, that gives most of ``names`` in the header of ``text``; empty where no one alone does."""
    line = next((line for line in text.splitlines() if not is_preamble(line, names)), "")
    known = {name: len(set(_cells(line, one)) & set(names)) for name, one in SEPARATORS.items()}
    best = max(known.values())
    found = [name for name, count in known.items() if count == best]
    return found[0] if best and len(found) == 1 else ""


def _cells(line: str, separator: str) -> list[str]:
    return [named(cell.strip(' "\r\ufeff')) for cell in line.split(separator)]


def lines(blocks: Iterable[bytes], encoding: str = "utf-8") -> Iterator[tuple[int, bytes]]:
    """Number and text of every line, as UTF-8 without its end (LF, CRLF or CR); a mark of byte order is taken off.

    ``encoding`` is one of ``ENCODINGS``; bytes it has no character for become U+FFFD, those of UTF-8 stay as they are.
    A line longer than ``LONGEST_LINE`` is a ``LongLine``. Raises ``BadInput`` for UTF-16 without its mark.
    """
    number, rest, too_long = 0, b"", LongLine()
    for block in _utf8(blocks, encoding):
        parts = (rest + block).splitlines(keepends=True)
        # a carriage return at the end of a block may be the first half of an end of line
        rest = parts.pop() if parts and not parts[-1].endswith(b"\n") else b""
        for part in parts:
            number += 1
            yield number, too_long or _line(part, number)
            too_long = LongLine()
        if len(rest) > LONGEST_LINE and not rest.endswith(b"\r"):
            too_long, rest = too_long or LongLine(rest[:200]), b""
    for part in rest.splitlines() or ([b""] if too_long else []):
        number += 1
        yield number, too_long or _line(part, number)
        too_long = LongLine()


def _line(part: bytes, number: int) -> bytes:
    if len(part) > LONGEST_LINE:
        return LongLine(part[:200])
    line = part.rstrip(b"\r\n")
    return line.removeprefix(_BOM) if number == 1 else line


@cache
def _quoted(separator: str) -> re.Pattern[str]:
    cell = rf'(?:"(?:[^"]|"")*+"|[^"{re.escape(separator)}]*+)'
    return re.compile(rf"{cell}(?:{re.escape(separator)}{cell})*+")


def _utf8(blocks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    if encoding == "utf-8":
        yield from blocks
        return
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    try:
        for block in blocks:
            yield decoder.decode(block).encode("utf-8", "replace")
    except UnicodeError as error:
        way = "read it as utf-16-le or utf-16-be, or in the encoding it is in"
        raise BadInput("the text does not begin with the mark of UTF-16", next_step=way) from error
    if decoder.getstate()[0]:
        raise BadInput("the text is cut off in the middle of a character", next_step="send the whole text")
    yield decoder.decode(b"", final=True).encode("utf-8", "replace")


def cells(line: str, separator: str) -> list[str]:
    """The cells of one line; raises ``csv.Error`` where its quotes are broken (RFC 4180 §2.5): a cell never spans
    lines, and the second line of one that does would else be a row of its own."""
    if '"' in line and not _quoted(separator).fullmatch(line):
        raise csv.Error("a quote stands inside a cell")
    return next(csv.reader((line,), delimiter=separator, strict=True), [])
