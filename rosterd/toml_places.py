"""Where each key of a TOML file stands: path → line. For messages only.

Pure: text in, mapping out. The text has been parsed by ``tomllib`` already, so this reads it leniently.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

Path = tuple[str | int, ...]
"""Keys and positions in arrays of tables: ``("mappings", 2, "team")``."""

_LONGEST = 80
_PART = r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)"""
_DOTTED = rf"{_PART}(?:\s*\.\s*{_PART})*"
_ARRAY = re.compile(rf"\s*\[\[\s*({_DOTTED})\s*\]\]")
_TABLE = re.compile(rf"\s*\[\s*({_DOTTED})\s*\]")
_KEY = re.compile(rf"\s*({_DOTTED})\s*=")
_TOKEN = re.compile(r'"""|\'\'\'|"(?:[^"\\]|\\.)*"|\'[^\']*\'|#|[\[\]{}]')


def locate(text: str) -> dict[Path, int]:
    """The line (from 1) of every table and key. Keys inside inline tables stand where their table stands."""
    places: dict[Path, int] = {(): 1}
    counts: dict[Path, int] = {}
    prefix: Path = ()
    depth, quote = 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        if depth == 0 and not quote:
            if match := _ARRAY.match(line):
                bare = _within(_parts(match[1]), counts)
                counts[bare] = counts.get(bare, -1) + 1
                prefix = (*bare, counts[bare])
                places.setdefault(bare, number)
                places[prefix] = number
                continue
            if match := _TABLE.match(line):
                prefix = _within(_parts(match[1]), counts)
                places.setdefault(prefix, number)
                continue
            if match := _KEY.match(line):
                parts = _parts(match[1])
                for end in range(1, len(parts) + 1):
                    places.setdefault((*prefix, *parts[:end]), number)
                line = line[match.end() :]
        depth, quote = _scan(line, depth, quote)
    return places


def line_of(places: Mapping[Path, int], path: Sequence[str | int]) -> int:
    """The line of ``path``, or of the nearest thing around it."""
    here = tuple(path)
    while here and here not in places:
        here = here[:-1]
    return places.get(here, 1)


def show_path(path: Sequence[str | int]) -> str:
    """``mappings[2].team`` with positions from 1, as people count."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part + 1}]"
        else:
            part = part if len(part) <= _LONGEST else f"{part[:_LONGEST]}…"
            out += f".{part}" if out else part
    return out


def _parts(dotted: str) -> Path:
    return tuple(part.strip("\"'") for part in re.findall(_PART, dotted))


def _within(bare: Path, counts: Mapping[Path, int]) -> Path:
    """``bare`` with the current position after each array of tables it lies in."""
    here: Path = ()
    for position, part in enumerate(bare):
        here = (*here, part)
        if position < len(bare) - 1 and here in counts:
            here = (*here, counts[here])
    return here


def _scan(line: str, depth: int, quote: str) -> tuple[int, str]:
    """Brackets and multi-line quotes still open at the end of ``line``."""
    position = 0
    while position < len(line):
        if quote:
            end = line.find(quote, position)
            if end < 0:
                return depth, quote
            position, quote = end + 3, ""
            continue
        match = _TOKEN.search(line, position)
        if match is None or match[0] == "#":
            break
        position = match.end()
        if match[0] in ('"""', "'''"):
            quote = match[0]
        elif match[0] in "[{":
            depth += 1
        elif match[0] in "]}":
            depth -= 1
    return depth, quote
