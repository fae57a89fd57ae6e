"""Brings the directory groups that mappings keep into the ledger, under the names they have there now (P2, D5).

Prohibition: nobody joins or leaves a group here; a row of a group that somebody is in is never ended but for a newer
one.
"""

from __future__ import annotations

from collections.abc import Mapping

from connector.reconcile.desired.ground import Ground
from connector.reconcile.diff.kept_groups import Kept, Named, kept, read_groups
from connector.reconcile.plan.recorded import GroupRow
from connector.reconcile.policy.policy import Policy
from connector.reconcile.reading.memory import Observed
from ledger.instant import new_id
from ledger.store import kept_groups
from ledger.store.book import Book


async def ensure_groups(book: Book, policy: Policy, observed: Observed) -> None:
    """A row for every kept group that was read, as it is called now; reads nothing where no mapping keeps one."""
    if not any(rule.keep_group for rule in policy.rules.values()):
        return
    now = {group.key: group for group in kept(_groups_of(observed), policy).values()}
    rows = {(row.source_id, row.anchor): row for row in await _open(book)}
    renamed = [row for key, row in rows.items() if key in now and _differs(row, now[key])]
    new = [group for key, group in now.items() if key not in rows]
    earlier = await kept_groups.earlier_ids(book, {group.anchor for group in new}) if new else {}
    begun = [(row.id, now[row.source_id, row.anchor]) for row in renamed]
    begun += [(earlier.get(group.key) or new_id(), group) for group in new]
    await kept_groups.end_groups(book, [row.row_id for row in renamed])
    await kept_groups.begin_groups(book, [(i, item.source_id, item.anchor, item.dn, item.name) for i, item in begun])


async def end_idle_groups(book: Book, ground: Ground) -> None:
    """End the rows of groups that no mapping keeps any more and nobody is in. Where a group that is kept was not read,
    it is not known which row is its own: then none of its source ends (D2)."""
    recorded, policy = ground.recorded, ground.policy
    if not recorded.groups:
        return
    now = kept(read_groups(ground.sources), policy)
    keys = {group.key for group in now.values()}
    unread = {rule.directory for rule in policy.rules.values() if rule.keep_group and rule.id not in now}
    idle = [row for key, row in recorded.groups.items() if key not in keys and row.source_id not in unread]
    if idle:
        inhabited = await kept_groups.inhabited(book, {row.id for row in idle})
        await kept_groups.end_groups(book, [row.row_id for row in idle if row.id not in inhabited])


def _groups_of(observed: Observed) -> Mapping[str, Mapping[str, Named]]:
    if not observed.near:
        return read_groups(observed.sources)
    return {name: {group.reference: group for group in one.groups} for name, one in observed.overlays.items()}


async def _open(book: Book) -> list[GroupRow]:
    return [GroupRow(*row) for row in await kept_groups.open_groups(book)]


def _differs(row: GroupRow, group: Kept) -> bool:
    return (row.dn, row.name) != (group.dn, group.name)
