"""What a run stands on: everybody who was seen, or who is near what differs, with what is recorded of them (A1, D14).

Reads only. Together with ``pipeline.judge`` this is the one way from what was observed to a judgement; plan, apply,
approve and adopt take it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import msgspec

from connector.directory.stand import Stand
from connector.reconcile.desired.clock_jumps import Continuity, continuity
from connector.reconcile.desired.ground import Ground
from connector.reconcile.desired.seen import Domains, GroupSeen, SourceSeen
from connector.reconcile.diff.diff import Draft
from connector.reconcile.diff.kept_groups import left
from connector.reconcile.evidence.doubts import folded
from connector.reconcile.evidence.stated import Signs
from connector.reconcile.evidence.witness import Kept, Verdict
from connector.reconcile.evidence.witness import judge as judge_witness
from connector.reconcile.guard.limits import Permit, scopes_of
from connector.reconcile.pipeline import Judgement, Measured, Problems, judge
from connector.reconcile.plan.changes import Plan
from connector.reconcile.plan.recorded import Recorded
from connector.reconcile.policy.policy import Policy
from connector.reconcile.reading.affected import Closure, Part
from connector.reconcile.reading.earlier import with_earlier
from connector.reconcile.reading.last_reading import decode_header
from connector.reconcile.reading.memory import Observed, merged
from connector.reconcile.state.load import load, load_elsewhere
from connector.reconcile.state.teams import with_teams
from connector.reconcile.state.windows import measure
from ledger.collector import without_collector
from ledger.errors import Stale
from ledger.identity import IdentityState
from ledger.store import last_readings, people, runs
from ledger.store.book import Reader


class BaseMoved(Stale):
    """What the last run left is no longer so: everybody has to be looked at."""


@dataclass(frozen=True, slots=True)
class Grounded:
    """A ground, and what it was made of. ``names``: every name by which a problem may speak of who is planned; empty
    when it is everybody. ``time``: what the clock lets be believed of earlier absences (D3).
    ``population``: active people, counted where somebody may be kept by doubt. ``verdicts``: whether each reading may
    witness an absence (E2); ``observed`` has no cursors of those that may not."""

    ground: Ground
    observed: Observed
    time: Continuity
    names: frozenset[str] = frozenset()
    population: int = 0
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)


async def grounded(reader: Reader, policy: Policy, observed: Observed, domains: Domains, now: datetime) -> Grounded:
    """The ground of a run; inside a ``Book`` it is the state that the transaction changes. Raises ``BaseMoved``."""
    verdicts = await _witnesses(reader, observed, now)
    part = await _part(reader, policy, observed, domains, now)
    doubts = {source_id: verdict.doubt for source_id, verdict in verdicts.items() if verdict.doubt}
    sources = {
        source_id: _behind(seen, doubts[source_id], part.recorded) if source_id in doubts else seen
        for source_id, seen in part.sources.items()
    }
    anew = {source_id for source_id, verdict in verdicts.items() if verdict.anew}
    time = await _went_on(reader, part.recorded, sources, now, anew)
    ground = Ground(sources, with_teams(time.recorded, policy), policy, domains, now)
    ground = await with_earlier(reader, ground, observed.rules)
    doubtful = any(_doubtful(group) for seen in sources.values() for group in seen.groups.values())
    population = await people.active_people(reader) if doubtful else 0
    cursors = {source_id: cursor for source_id, cursor in observed.cursors.items() if source_id not in doubts}
    observed = replace(observed, cursors=cursors)
    return Grounded(ground, observed, time, part.names, population, verdicts)


async def judged(reader: Reader, base: Grounded, permit: Callable[[Draft], Awaitable[Permit]]) -> Judgement:
    """The judgement on this ground. ``permit``: what approvals let through of a draft; whatever it raises goes on."""
    ground, observed = base.ground, base.observed

    async def measured(draft: Draft) -> Measured:
        recorded = ground.recorded
        if observed.near:
            recorded = await _counted(reader, draft.plan, recorded, ground.now)
        allowed = await permit(draft)
        windows = await measure(reader, draft.plan, ground.with_recorded(recorded), allowed)
        return Measured(windows, allowed, recorded)

    def report(problems: Problems) -> Problems:
        """With what still stands of everybody who was not looked at, and how the directories were read."""
        standing = observed.memory.base if observed.near and observed.memory is not None else None
        found = merged(problems, standing.standing, base.names) if standing is not None else problems
        return folded((*found, *observed.notes), base.population, ground.policy)

    return await judge(ground, measured, report)


async def _part(reader: Reader, policy: Policy, observed: Observed, domains: Domains, now: datetime) -> Part:
    if not observed.near:
        doubtful = any(_doubtful(group) for seen in observed.sources.values() for group in seen.groups.values())
        edges = doubtful or observed.memory is not None  # to be judged by, or to be learnt
        recorded = await load(reader, with_edges=edges, with_causes=doubtful)
        return Part(await _with_signs(reader, observed.sources), recorded)
    memory, base = observed.memory, await last_readings.base(reader)
    if memory is None or base is None or base != memory.base or frozenset(base.domains) != domains.open:
        raise BaseMoved("the ledger or a domain changed while the directories were read")
    with without_collector():
        closure = Closure(reader, observed.overlays, policy, now)
        part = await closure.part(memory.pending, observed.scopes)
    for source_id in observed.followed:
        delta = observed.overlays[source_id].delta
        if not closure.unseen(source_id) <= delta.gone | delta.absent | delta.tombstones:
            raise BaseMoved(f"not everybody who is absent from directory {source_id} was looked up")
        if _let_in(part, source_id, delta.entries):
            raise BaseMoved("what no entry shows any more takes a whole reading to see")
    return part


def _doubtful(group: GroupSeen) -> bool:
    """Whether somebody may be kept only because of this group."""
    lost = any(listing.left is not None for listing in group.listings)
    return bool(group.unresolved) or not group.complete or lost


async def kept_stands(reader: Reader) -> dict[str, Kept]:
    """What is kept of how new the readings of each source were."""
    rows = await runs.stands(reader)
    return {row[0]: Kept(msgspec.convert(row[1], Stand), msgspec.convert(row[2], Stand | None), row[3]) for row in rows}


async def _witnesses(reader: Reader, observed: Observed, now: datetime) -> dict[str, Verdict]:
    """Whether each reading may witness an absence (E2). Raises ``BaseMoved`` for a near one when that is about people
    who are not near, too."""
    if not observed.stands:
        return {}
    kept = await kept_stands(reader)
    found = {source_id: judge_witness(kept.get(source_id), stand, now) for source_id, stand in observed.stands.items()}
    noted = {row[0] for row in await people.absences(reader)} if observed.near else set()
    if any(observed.near and (it.doubt or (it.anew and source_id in noted)) for source_id, it in found.items()):
        raise BaseMoved("a directory was read from another server, or from one that went back")
    return found


def _behind(seen: SourceSeen, why: str, recorded: Recorded) -> SourceSeen:
    """The reading as one that witnesses no absence; that somebody is enabled again does not count there either."""
    links = recorded.links.get(seen.source_id, {})
    unheard = {
        anchor for anchor, person in seen.people.items() if person.enabled and (link := links.get(anchor))
        and recorded.identities[link.identity_id].state != IdentityState.ACTIVE
    }  # fmt: skip
    return seen.as_behind(why, unheard)


async def _with_signs(reader: Reader, sources: Mapping[str, SourceSeen]) -> dict[str, SourceSeen]:
    """With the signs of disabled accounts that earlier readings showed (E1)."""
    last = await last_readings.readings(reader)
    before = {source_id: decode_header(last[source_id].header).signs for source_id in sources if source_id in last}
    return {
        source_id: msgspec.structs.replace(seen, signs=seen.signs.after(before.get(source_id, Signs())))
        for source_id, seen in sources.items()
    }


def _let_in(part: Part, source_id: str, changed: Collection[str]) -> bool:
    """Whether somebody disabled would be let in again because their changed entry has no value of what said so (E1)."""
    seen, once = part.sources[source_id], frozenset(part.sources[source_id].signs.once)
    for anchor, link in part.recorded.links.get(source_id, {}).items():
        entry = seen.people.get(anchor) if anchor in changed else None
        state = part.recorded.identities[link.identity_id].state if entry is not None else ""
        if entry is not None and entry.enabled and state == IdentityState.DISABLED and not once.isdisjoint(entry.blank):
            return True
    return False


async def _went_on(
    reader: Reader, recorded: Recorded, sources: Mapping[str, SourceSeen], now: datetime, anew: Collection[str]
) -> Continuity:
    """The recorded state as far as the clock, and who was read, let it be believed (D3, E2)."""
    rows = await runs.scopes(reader)
    return continuity(recorded, {(row[0], row[1]): row[5] for row in rows if row[5]}, sources, now, anew)


async def _counted(reader: Reader, plan: Plan, recorded: Recorded, now: datetime) -> Recorded:
    """With what the guard needs of people who are not planned: whoever left, and how many are there (G1)."""
    harmful = [(bundle, change) for bundle in plan.bundles for change in bundle.changes if change.harm]
    scopes = {scope for bundle, change in harmful for scope in scopes_of(bundle, change)}
    scopes |= {("group", group) for group in left(plan.bundles, recorded).values()}
    return await load_elsewhere(reader, recorded, scopes, now) if scopes else recorded
