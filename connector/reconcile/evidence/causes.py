"""The cause of a membership: ``DN → group / inner group → mapping ID``, by the shortest way (P6). And what a membership
rested on by its cause, where no edge is recorded for it (E3: upgrade).

Pure: no I/O, no clock here. A cause that names no entry proves nothing: any value may be its person's.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from connector.directory import dn
from connector.directory.names import LOGIN, dn_key
from ledger.identity import fold

_ARROW, _STEP = " → ", " / "


def ending(steps: Iterable[str], mapping: str) -> str:
    """What follows the entry's DN in a cause. ``steps``: the group and those inside it, or what else means somebody."""
    return f"{_ARROW}{_STEP.join(steps)}{_ARROW}mapping {mapping}"


def entry_of(cause: str) -> str:
    """The DN of the entry that a cause names; empty where it names none."""
    entry, arrow, _ = cause.partition(_ARROW)
    return entry if arrow else ""


@lru_cache(maxsize=4096)
def named_in(cause: str, name: str) -> bool:
    """Whether a listed name may be what a membership with this cause rested on."""
    entry = entry_of(cause)
    if not entry or name == dn_key(entry):
        return True
    if name.startswith(LOGIN):
        return name.removeprefix(LOGIN) in {fold(text) for kind, text in _first(entry) if kind == "uid"}
    inner = {fold(step) for step in cause.split(_ARROW)[1].split(_STEP)[1:]}
    return not inner.isdisjoint(fold(text) for _, text in _first(name))


def _first(text: str) -> tuple[tuple[str, str], ...]:
    try:
        return next(iter(dn.parse(text)), ())
    except ValueError:
        return ()
