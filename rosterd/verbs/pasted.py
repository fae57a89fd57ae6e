"""Commands in what is printed work as they stand: they name the admin file that was named, and the organization where
an installation has several.
"""

from __future__ import annotations

import re
import shlex
from functools import lru_cache
from typing import Any

_COMMAND = re.compile(r"(?<![\w./-])rosterd(?: (?:[^\s`\"';,()→]+|'[^']*'))+")
_OPTION = ("-o", "--organization")
_FILE = ("-c", "--config")
_WITHOUT_FILE = ("init", "demo", "completion", "man")


def named(line: str, organization: str) -> str:
    """The line with ``-o ORGANIZATION`` behind each command in it that takes it and does not have it yet."""
    return _COMMAND.sub(lambda found: _with(found[0], organization), line)


def of_file(line: str, file: str) -> str:
    """The line with ``-c FILE`` in each command in it that reads the admin file and does not name one yet."""
    return _COMMAND.sub(lambda found: _with_file(found[0], file), line)


def _with_file(command: str, file: str) -> str:
    from rosterd.cli import VERBS

    _, *words = command.split(" ")
    verb = words[0].rstrip(".:")
    is_verb = any(verb in verbs for verbs in VERBS.values())
    if not is_verb or verb in _WITHOUT_FILE or set(words) & set(_FILE):
        return command
    return f"rosterd -c {shlex.quote(file)} {' '.join(words)}"


def _with(command: str, organization: str) -> str:
    kept = command.rstrip(".:")
    words = kept.split(" ")[1:]
    if words[0] in _FILE:
        words = words[2:]
    at = _tree()
    known = True
    while words and known:
        inner = getattr(at, "commands", {}).get(words[0])
        known = inner is not None
        if inner is not None:
            at, words = inner, words[1:]
    takes = any(_OPTION[0] in item.opts for item in at.params)
    if at is _tree() or getattr(at, "commands", None) or not takes or set(words) & set(_OPTION):
        return command
    return f"{kept} -o {organization}{command[len(kept) :]}"


@lru_cache
def _tree() -> Any:
    """The whole command line."""
    from typer.main import get_command

    from rosterd.cli import VERBS, make

    return get_command(make(VERBS))
