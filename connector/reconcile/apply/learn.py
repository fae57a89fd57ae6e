"""Keeps by which names groups list the people of a run, whose memberships rest on them from then on (E3).

Prohibition: decides nothing about anybody.
"""

from __future__ import annotations

from collections.abc import Mapping

from connector.reconcile.desired.seen import SourceSeen
from connector.reconcile.evidence.edges import Listing
from connector.reconcile.evidence.learning import Settled, learnt
from connector.reconcile.pipeline import Judgement
from connector.reconcile.plan.changes import Kind
from connector.reconcile.plan.recorded import GROUP_NODE, Edges
from ledger.store import edges
from ledger.store.book import Book

_INVITE, _RELINK = Kind.INVITE, Kind.RELINK_ANCHOR


async def learn(book: Book, judgement: Judgement, invited: Mapping[str, str]) -> None:
    """Keep what this run read. ``invited``: subject of somebody new → identity."""
    ground = judgement.ground
    recorded = ground.recorded
    linked = {source_id: {anchor: row.identity_id for anchor, row in rows.items()}
              for source_id, rows in recorded.links.items()}  # fmt: skip
    for bundle in judgement.guarded.allowed:
        person = bundle.person
        if person is not None and any(c.kind is _INVITE or c.kind is _RELINK for c in bundle.changes):
            linked.setdefault(person.source_id, {})[person.anchor] = bundle.identity or invited[bundle.subject]
    absences = {
        *recorded.absences,
        *((item.source_id, item.anchor, item.scope) for item in judgement.plan.notes.absent),
    }
    changed: dict[edges.Listed, edges.Names] = {}
    for source_id, source in ground.sources.items():
        if source.behind:
            continue  # what was so once is not learnt anew
        links = linked.get(source_id, {})
        people = {anchor: (links[anchor], person.dn) for anchor, person in source.people.items() if anchor in links}
        people |= {anchor: (links[anchor], entry.dn) for anchor, entry in source.unmappable.items() if anchor in links}
        noted = [(links[anchor], scope) for where, anchor, scope in absences if where == source_id and anchor in links]
        waiting = {identity for identity, scope in noted if scope.startswith(GROUP_NODE)}
        missing = {identity for identity, _ in noted} if source.complete else None
        read = _known(source, recorded.edges)
        changed |= learnt(source_id, read, people, recorded.edges, _settled(waiting), missing)
    if changed:
        await edges.replace(book, changed, recorded.edges)


def _known(source: SourceSeen, before: Edges) -> dict[str, Listing]:
    """What the groups list that are mapped, or that somebody is known to be listed by."""
    read = source.listed()
    if not source.listings:
        return read
    known = {group for (source_id, _), names in before.items() if source_id == source.source_id
             for groups in names.values() for group in groups}  # fmt: skip
    strays = {listing.anchor for listing in source.listings} - known
    return {anchor: listing for anchor, listing in read.items() if anchor not in strays}


def _settled(waiting: set[str]) -> Settled:
    """Nobody whose membership waits for a second reading, and no group while anybody's does."""
    return lambda listed: not waiting if listed.startswith(GROUP_NODE) else listed not in waiting
