"""Whether time went on between two readings as it should: a clock that jumped confirms no absence (D3).

Two readings count as two only by their instants, and instants are only as good as the clock. So an absence begins anew
when its scope's last complete reading is longer ago than ``LONGEST_PAUSE`` or in the future, and while the clock is
behind that reading no absence is noted either. Additions and positive evidence go on. Pure: no I/O, no clock here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from connector.reconcile.desired.seen import SourceSeen
from connector.reconcile.plan.changes import Absence, ScopeLine
from connector.reconcile.plan.recorded import DOUBTED, PEOPLE, Recorded

LONGEST_PAUSE = timedelta(days=31)
"""Between two readings of which one confirms the other; whoever runs once a month still gets there."""
TOLERANCE = timedelta(minutes=5)
"""How far a clock may be set back without meaning anything (the gate's too)."""

Key = tuple[str, str, str]
"""(source id, anchor, scope) of a noted absence."""


@dataclass(frozen=True, slots=True)
class Continuity:
    """``recorded`` without the absences that begin anew; ``forgotten``: their keys; ``behind``: the scopes (source id,
    scope as absences name it) whose last complete reading is in the future: no absence is noted there now, and that
    reading stays the last one."""

    recorded: Recorded
    forgotten: tuple[Key, ...] = ()
    behind: frozenset[tuple[str, str]] = frozenset()

    def notable(self, absent: Iterable[Absence]) -> list[Key]:
        """The absences of a plan that may be noted, each once."""
        keys = dict.fromkeys((item.source_id, item.anchor, item.scope) for item in absent)
        return [key for key in keys if (key[0], _named(key[2])) not in self.behind]

    def steady(self, lines: Iterable[ScopeLine]) -> list[ScopeLine]:
        """The scopes of a reading that are to be remembered as read now."""
        return [line for line in lines if (line.source_id, _named(line.scope)) not in self.behind]


def continuity(
    recorded: Recorded,
    completed: Mapping[tuple[str, str], datetime],
    sources: Mapping[str, SourceSeen],
    now: datetime,
    anew: Collection[str] = (),
) -> Continuity:
    """Look at every scope of the reading; ``completed``: (source id, scope) → its last complete reading before;
    ``anew``: sources whose absences begin anew whatever the clock says."""
    behind: set[tuple[str, str]] = set()
    doubted: set[tuple[str, str]] = set()
    for source_id, source in sources.items():
        for line in source.scopes:
            last = completed.get((source_id, line.scope))
            key = (source_id, _named(line.scope))
            if last is None or timedelta(0) <= now - last <= LONGEST_PAUSE:
                continue
            doubted.add(key)
            if TOLERANCE < last - now <= LONGEST_PAUSE:  # further ahead, that reading's clock was wrong, not this one
                behind.add(key)
    forgotten = tuple(
        key
        for key, first in recorded.absences.items()
        if key[0] in anew or (key[0], _named(key[2])) in doubted or first > now + TOLERANCE
    )
    if not forgotten:
        return Continuity(recorded, (), frozenset(behind))
    gone = set(forgotten)
    kept = {key: first for key, first in recorded.absences.items() if key not in gone}
    return Continuity(msgspec.structs.replace(recorded, absences=kept), forgotten, frozenset(behind))


def _named(scope: str) -> str:
    """A reading's scope as absences name it; what an attribute filter does not see (``where:``) is seen with people."""
    return PEOPLE if scope == DOUBTED or scope.startswith(("people:", "where:")) else scope
