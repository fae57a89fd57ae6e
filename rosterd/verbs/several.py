"""Commands in what is printed name the organization where an installation has several, and work as they stand."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

_COMMAND = re.compile(r"(?<![\w./-])rosterd(?: [^\s`\"';,()→]+)+")
_OPTION = ("-o", "--organization")


def named(line: str, organization: str) -> str:
    """The line with ``-o ORGANIZATION`` behind each command in it that takes it and does not have it yet."""
    return _COMMAND.sub(lambda found: _with(found[0], organization), line)


def _with(command: str, organization: str) -> str:
    kept = command.rstrip(".:")
    words = kept.split(" ")[1:]
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
