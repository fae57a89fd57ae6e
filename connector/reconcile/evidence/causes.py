"""What a membership rested on by the cause it was granted with, where no edge is recorded for it (E3: upgrade).

Pure: no I/O, no clock here. A cause names the entry, the group, and the groups on the shortest way
(``DN → group / inner group → mapping ID``). One that names no entry proves nothing: any value may be its person's.
"""

from __future__ import annotations

from functools import lru_cache

from connector.directory import dn
from ledger.identity import fold

_ARROW, _STEP = " → ", " / "
LOGIN = "memberUid="
"""How a listing marks a name that is a login name."""


def name_of(text: str) -> str:
    """The form in which listings name an entry with this DN."""
    try:
        return dn.key(text)
    except ValueError:
        return f"\0{text}"


@lru_cache(maxsize=4096)
def named_in(cause: str, name: str) -> bool:
    """Whether a listed name may be what a membership with this cause rested on."""
    entry, arrow, rest = cause.partition(_ARROW)
    if not arrow or name == name_of(entry):
        return True
    if name.startswith(LOGIN):
        return name.removeprefix(LOGIN) in {fold(text) for kind, text in _first(entry) if kind == "uid"}
    inner = {fold(step) for step in rest.partition(_ARROW)[0].split(_STEP)[1:]}
    return not inner.isdisjoint(fold(text) for _, text in _first(name))


def _first(text: str) -> tuple[tuple[str, str], ...]:
    try:
        return next(iter(dn.parse(text)), ())
    except ValueError:
        return ()
