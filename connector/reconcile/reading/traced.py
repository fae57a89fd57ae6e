"""Asks after people whose entries no reading shows: such an entry may be there, beside the filter or outside the base,
and say that its account is disabled; or the server may prove that it was deleted (E1).

Asks sources and the ledger; decides nothing about anybody. Whoever is shown by any directory, has left already, or is
kept by the gate is not asked after: where nobody is missing, nothing is asked. What cannot be asked changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from connector.directory.base import Entry
from connector.directory.changes import Traced, Tracer, TraceRequest
from connector.directory.mapping import AttributeRules, map_entry
from connector.reconcile.desired import guests
from connector.reconcile.desired.seen import Outside
from connector.reconcile.plan.changes import READING_DOUBTED, Problem, ScopeLine
from connector.reconcile.policy.policy import Policy
from connector.reconcile.reading.affected import Closure
from connector.reconcile.reading.memory import Linked, Observed
from connector.reconcile.reading.whole import Configured
from ledger.identity import IdentityState

MOST = 1_000
"""With more people of one directory missing at once than this, its reading is what is doubted (E13)."""
_PEOPLE = ("people:", "changes")
"""How the scopes begin in which somebody can be missing."""


async def traced(
    sources: Sequence[Configured], policy: Policy, observed: Observed, now: datetime, linked: Sequence[Linked] | None
) -> Observed:
    """With what is known of everybody who is missing. ``linked``: whom to look for where there is no memory; None:
    nobody."""
    tracers = {item.source.id: item for item in sources if isinstance(item.source, Tracer)}
    if not tracers:
        return observed
    for source_id, anchors in sorted((await _missing(policy, observed, now, linked)).items()):
        item = tracers.get(source_id)
        if item is None or not (observed.near or observed.sources[source_id].complete):
            continue
        shown = observed.overlays[source_id].delta if observed.near else observed.sources[source_id]
        anchors.difference_update(shown.tombstones)
        if not anchors:
            continue
        if len(anchors) > MOST:
            observed = _doubted(observed, source_id, len(anchors))
            continue
        assert isinstance(item.source, Tracer)  # noqa: S101  # see above
        found = await item.source.trace(TraceRequest(tuple(sorted(anchors)), item.rules.requested), now=now)
        outside = {
            anchor: _outside(entry, found.logins.get(anchor, ()), item.rules, now)
            for anchor, entry in found.found.items()
        }
        observed = _put(observed, source_id, found.deleted, outside=outside)
        if found.unknown:
            observed = replace(observed, notes=(*observed.notes, _unasked(source_id, anchors, found)))
    return observed


async def _missing(
    policy: Policy, observed: Observed, now: datetime, linked: Sequence[Linked] | None
) -> dict[str, set[str]]:
    """Source id → anchors of active people whom no directory shows."""
    memory = observed.memory
    if observed.near and memory is not None:
        if not memory.pending and not any(item.delta.gone or item.delta.absent for item in observed.overlays.values()):
            return {}
        async with memory.ledger.read(memory.organization) as reader:
            closure = Closure(reader, observed.overlays, policy, now)
            recorded = await closure.grow(memory.pending)
        unseen = {source_id: closure.unseen(source_id) for source_id in observed.overlays}
        near = [
            (link.identity_id, source_id, anchor)
            for source_id, links in recorded.links.items()
            for anchor, link in links.items()
            if (identity := recorded.identities[link.identity_id]).state == IdentityState.ACTIVE
            and not guests.frozen(memory.domains, policy, identity.mail_key)
        ]
        return _without(near, lambda source_id, anchor: source_id in unseen and anchor not in unseen[source_id])
    if memory is not None:
        linked = await memory.linked(policy)
    return _without(linked or (), lambda source_id, anchor: (
        source_id in observed.sources and observed.sources[source_id].shows(anchor)
    ))  # fmt: skip


def _without(linked: Iterable[Linked], shown: Callable[[str, str], bool]) -> dict[str, set[str]]:
    """The links of people of whom no link is shown."""
    here: set[str] = set()
    absent: list[Linked] = []
    for link in linked:
        if shown(link[1], link[2]):
            here.add(link[0])
        else:
            absent.append(link)
    found: dict[str, set[str]] = {}
    for identity, source_id, anchor in absent:
        if identity not in here:
            found.setdefault(source_id, set()).add(anchor)
    return found


def _outside(entry: Entry, logins: tuple[str, ...], rules: AttributeRules, now: datetime) -> Outside:
    enabled = map_entry(entry, rules, now=now).enabled
    return Outside(entry.dn, enabled, "" if enabled else "; ".join(rules.signs(entry)) or "its date has passed", logins)


def _unasked(source_id: str, anchors: set[str], found: Traced) -> Problem:
    left = len(anchors - found.found.keys() - found.deleted)
    text = (
        f"{left} people whom directory {source_id} does not show could not be looked for beside its filter and outside"
        f" its base, where a disabled entry would say so: {found.unknown}"
    )
    return Problem("not-looked-for", text)


def _doubted(observed: Observed, source_id: str, count: int) -> Observed:
    """A reading that lost so many people at once is not believed: nobody is absent by it, and it is not remembered."""
    why = (
        f"{count} active people are not shown by directory {source_id}: more than {MOST} at once are not looked for"
        " one by one, so the reading is doubted, not these people, and nobody leaves for absence because of it. See"
        " with `rosterd check --live` what base, filter and rights show now; where so many did leave, disable their"
        " entries and let the filter show them, and each says so itself"
    )

    def lines(scopes: Iterable[ScopeLine]) -> tuple[ScopeLine, ...]:
        return tuple(
            msgspec.structs.replace(line, complete=False, reason=why)
            if line.source_id == source_id and line.scope.startswith(_PEOPLE)
            else line
            for line in scopes
        )

    observed = _put(observed, source_id, doubted=why)
    if observed.near:
        observed = replace(observed, scopes=lines(observed.scopes))
    else:
        seen = observed.sources[source_id]
        seen = msgspec.structs.replace(seen, complete=False, scopes=lines(seen.scopes))
        observed = replace(observed, sources={**observed.sources, source_id: seen})
    cursors = {name: cursor for name, cursor in observed.cursors.items() if name != source_id}
    return replace(observed, cursors=cursors, notes=(*observed.notes, Problem(READING_DOUBTED, why)))


def _put(observed: Observed, source_id: str, deleted: frozenset[str] = frozenset(), **found: Any) -> Observed:
    """With what was found of one source; fields of ``Delta`` and of ``SourceSeen`` alike."""
    if observed.near:
        overlay = observed.overlays[source_id]
        overlay = overlay.traced(tombstones=overlay.delta.tombstones | deleted, **found)
        return replace(observed, overlays={**observed.overlays, source_id: overlay})
    seen = observed.sources[source_id]
    seen = msgspec.structs.replace(seen, tombstones=frozenset(seen.tombstones) | deleted, **found)
    return replace(observed, sources={**observed.sources, source_id: seen})
