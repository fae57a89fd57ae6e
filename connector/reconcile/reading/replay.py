"""What the directories showed when they were last read, without asking any of them: the ground of a what-if (P6).

Reads only. What the last reading does not hold is unknown, never absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from connector.directory.base import Entry, GroupView, Reading, Scope, ScopeState
from connector.reconcile.policy.policy import Policy
from connector.reconcile.reading import last_reading as parts
from connector.reconcile.reading.memory import Observed
from connector.reconcile.reading.whole import Configured, see
from ledger.instant import to_text
from ledger.store import last_readings
from ledger.store.book import Reader
from ledger.store.last_readings import LastReading

LAST_READING = "last-reading"
"""The scope of what was read earlier, and the word that asks for it."""


async def recollect(reader: Reader, sources: Sequence[Configured], policy: Policy, now: datetime) -> Observed:
    """Every source as it was last read, mapped by the rules and for the policy that are given now."""
    kept = await last_readings.readings(reader)
    seen = {}
    for item in sources:
        source_id, references = item.source.id, policy.groups_of(item.source.id)
        last = kept.get(source_id)
        reading = _nothing(source_id, references, now) if last is None else await _read(reader, last, references)
        seen[source_id] = see(reading, references, item.rules, now)
    return Observed(seen, rules={item.source.id: item.rules for item in sources})


def _nothing(source_id: str, references: Sequence[str], now: datetime) -> Reading:
    why = "it was never read to its end; run rosterd apply first, or leave out --against"
    names = [f"people:{LAST_READING}", *(f"group:{reference}" for reference in references)]
    scopes = {name: Scope(name, ScopeState.UNKNOWN, why) for name in names}
    return Reading(source_id, now, now, people={}, groups={}, scopes=scopes)


async def _read(reader: Reader, last: LastReading, references: Sequence[str]) -> Reading:
    people: dict[str, Entry] = {}
    for content in (await last_readings.parts(reader, last.source_id, parts.PERSON)).values():
        people.update((anchor, kept.entry) for anchor, kept in parts.unpack(parts.PERSON, content).items())
    members = await last_readings.parts(reader, last.source_id, parts.MEMBERS, references)
    known = {group.reference: group for group in parts.decode_header(last.header).groups}
    name = f"people:{LAST_READING} of {to_text(last.read_at)}"
    scopes = {name: Scope(name, ScopeState.COMPLETE, entries=len(people))}
    groups: dict[str, GroupView] = {}
    for reference in references:
        scope, group = f"group:{reference}", known.get(reference)
        if group is None:
            why = "no mapping asked for this group when the directory was last read"
            scopes[scope] = Scope(scope, ScopeState.UNKNOWN, why)
            continue
        found = parts.decode_members(members[reference]) if reference in members else parts.Members()
        scopes[scope] = Scope(scope, ScopeState.COMPLETE, entries=len(found.anchors))
        groups[reference] = GroupView(
            reference, group.anchor, group.dn, group.name, frozenset(found.anchors), found.paths,
            frozenset(group.unresolved), listings=found.listed,
        )  # fmt: skip
    return Reading(last.source_id, last.read_at, last.read_at, people, groups, scopes)
