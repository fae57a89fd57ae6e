"""Leaves out of a failing script whatever its failure does not need (delta debugging, ddmin).

Pure but for ``fails``, which plays a script.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.interleavings.script import Act, Script

_MOST_PLAYS = 150


def shrunk(script: Script, fails: Callable[[Script], bool]) -> Script:
    """The script with as few acts as still fail, when any one of them left out lets it pass; given up after a bounded
    number of plays."""
    acts, parts, plays = list(script.acts), 2, 0
    while len(acts) > 1 and plays < _MOST_PLAYS:
        size = -(-len(acts) // parts)
        for start in range(0, len(acts), size):
            fewer = acts[:start] + acts[start + size :]
            plays += 1
            if fails(replace(script, acts=tuple(fewer))):
                acts, parts = fewer, max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(len(acts), parts * 2)
    return replace(script, acts=_plain(tuple(acts)))


def _plain(acts: tuple[Act, ...]) -> tuple[Act, ...]:
    return tuple(
        sorted(acts, key=lambda act: (act.what in {"is killed", "stands still", "changes priorities"}, act.at))
    )
