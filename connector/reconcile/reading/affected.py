"""Who has to be planned when little has changed: the changed, the due, the pending, and everybody they touch (D14).

Reads only. Starts from what differs and from what is due by time, and grows until nobody outside shares an identity,
an entry, a mail address, an employee number or a contested seat with anybody inside. Planning these people alone gives
what planning everybody gives; a property test holds the two side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from connector.directory.mapping import Person, index_keys, number_key
from connector.reconcile.desired.seen import GroupSeen, SourceSeen, UnmappableSeen
from connector.reconcile.diff.seat_pools import PoolKey, Pools
from connector.reconcile.plan.changes import ScopeLine
from connector.reconcile.plan.recorded import IdentityRow, LinkRow, Recorded
from connector.reconcile.policy.policy import Policy
from connector.reconcile.reading.last_reading import Kept
from connector.reconcile.reading.overlay import Overlay
from connector.reconcile.state.load import REMOVAL, load_some
from ledger.identity import INVITE_EXPIRY
from ledger.store import people, runs, some_people
from ledger.store.book import Reader

Anchors = Iterable[tuple[str, str]]
"""(source id, anchor)."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some people of an organization, ready to be planned: what the directories show of them and what is recorded.

    ``names``: every name by which a problem may speak of them (mail keys, anchors); empty when it is everybody.
    """

    sources: Mapping[str, SourceSeen]
    recorded: Recorded
    names: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Fresh:
    """What was found and not followed yet."""

    anchors: dict[str, set[str]] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)
    mails: set[str] = field(default_factory=set)
    """Keys of the index: addresses, and employee numbers (``number_key``) of entries."""
    numbers: set[str] = field(default_factory=set)


class Closure:
    """Grows one part. ``overlays``: every directory as it is now."""

    def __init__(self, reader: Reader, overlays: Mapping[str, Overlay], policy: Policy, now: datetime) -> None:
        self._reader = reader
        self._overlays = overlays
        self._policy = policy
        self._now = now
        self._fresh = _Fresh({source_id: set() for source_id in overlays})
        self._anchors: dict[str, set[str]] = {source_id: set() for source_id in overlays}
        self._kept: dict[str, dict[str, Kept]] = {source_id: {} for source_id in overlays}
        self._rows: dict[str, IdentityRow] = {}
        self._links: dict[str, dict[str, LinkRow]] = {}
        self._ids: set[str] = set()
        self._mails: set[str] = set()
        self._numbers: set[str] = set()
        self._counts: Mapping[tuple[str, str, str], int] | None = None

    async def part(self, pending: Anchors, scopes: tuple[ScopeLine, ...] = ()) -> Part:
        """Everybody to be planned now. ``scopes``: the evidence of this run's readings."""
        recorded = await self.grow(pending)
        names = frozenset().union(self._mails, *self._anchors.values())
        return Part({source_id: await self._seen(source_id, scopes) for source_id in self._overlays}, recorded, names)

    async def grow(self, pending: Anchors) -> Recorded:
        """Find everybody, as ``part`` does, and map nobody."""
        await self._seed(pending)
        await self._grow()
        return await self._contend()

    def unseen(self, source_id: str) -> set[str]:
        """Anchors of one source that people here are linked to or pending by, and that are not in its reading."""
        return self._anchors[source_id] - self._kept[source_id].keys()

    async def _seed(self, pending: Anchors) -> None:
        fresh, reader = self._fresh, self._reader
        for source_id, anchor in pending:
            if source_id in fresh.anchors:
                fresh.anchors[source_id].add(anchor)
        for row in await people.absences(reader):
            if row[0] in fresh.anchors:
                fresh.anchors[row[0]].add(row[1])
        for source_id, overlay in self._overlays.items():
            delta = overlay.delta
            moved = await overlay.members_moved(reader)
            known = (delta.entries, delta.gone, delta.absent)
            fresh.anchors[source_id].update(*known, moved, overlay.expired())
        if any(rule.role for rule in self._policy.rules.values()):
            fresh.ids.update(row[1] for row in await people.open_roles(reader))  # who is left when a role ends (G4)
        if self._policy.invites.release_expired:
            fresh.ids.update(await runs.due_by(reader, INVITE_EXPIRY, self._now))
        due = await runs.due_dates(reader, REMOVAL)
        fresh.ids.update(subject for subject, at in due.items() if at <= self._now)
        fresh.ids.update(await some_people.seats_due(reader, self._now))

    async def _grow(self) -> None:
        """Follow links, addresses and numbers until nothing new is found."""
        fresh = self._fresh
        while True:
            anchors = {source_id: found - self._anchors[source_id] for source_id, found in fresh.anchors.items()}
            ids, mails, numbers = fresh.ids - self._ids, fresh.mails - self._mails, fresh.numbers - self._numbers
            if not (any(anchors.values()) or ids or mails or numbers):
                return
            for source_id, found in anchors.items():
                if found:
                    self._anchors[source_id] |= found
                    await self._follow_anchors(source_id, found)
            if ids:
                self._ids |= ids
                await self._follow_ids(ids)
            if mails:
                self._mails |= mails
                fresh.ids |= await some_people.ids_by_mail(self._reader, mails)
                for source_id, overlay in self._overlays.items():
                    for several in (await overlay.with_mail(self._reader, mails)).values():
                        fresh.anchors[source_id].update(several)
            if numbers:
                self._numbers |= numbers
                fresh.ids |= await some_people.ids_by_number(self._reader, numbers)

    async def _follow_anchors(self, source_id: str, anchors: set[str]) -> None:
        overlay, fresh = self._overlays[source_id], self._fresh
        linked = set()
        for row in await some_people.links_of_anchors(self._reader, source_id, anchors):
            linked.add(row[3])
            fresh.ids.add(row[1])
        found = await overlay.people(self._reader, anchors)
        self._kept[source_id].update(found)
        for other, twin in self._overlays.items():  # an entry that moved to another directory keeps its objectGUID
            if other != source_id:
                fresh.anchors[other].update(await twin.people(self._reader, anchors))
                fresh.ids.update(row[1] for row in await some_people.links_of_anchors(self._reader, other, anchors))
        for mails, number in overlay.before(anchors):  # whom the entry was taken for may be somebody else's now
            fresh.mails.update(mails)
            fresh.numbers.update({number} - {""})
        for anchor, kept in found.items():
            person = overlay.mapped(kept)
            fresh.mails.update(index_keys(person))
            if anchor not in linked and isinstance(person, Person) and person.employee_number:
                fresh.numbers.add(person.employee_number)

    async def _follow_ids(self, ids: set[str]) -> None:
        for row in await some_people.identities_of(self._reader, ids):
            found = IdentityRow(*row)
            self._rows[found.id] = found
            self._fresh.mails.add(found.mail_key)
            if found.employee_number:
                self._fresh.mails.add(number_key(found.employee_number))
        for row in await some_people.links_of(self._reader, ids):
            self._links.setdefault(row[2], {})[row[3]] = LinkRow(*row)
            if row[2] in self._fresh.anchors:
                self._fresh.anchors[row[2]].add(row[3])

    async def _contend(self) -> Recorded:
        """With whoever waits for a seat of a pool that anybody here may free or take, or that has one free."""
        waited = await some_people.waiting_pools(self._reader)
        while True:
            recorded = await self._recorded()
            if not waited:
                return recorded
            left = Pools(recorded, self._now.date()).free()
            pools = {pool for pool in waited if left.get(pool, 0) > 0} | (waited & self._touched(recorded))
            self._fresh.ids |= await some_people.waiting_in(self._reader, pools)
            before = len(self._ids)
            await self._grow()
            if len(self._ids) == before:
                return recorded

    def _touched(self, recorded: Recorded) -> set[PoolKey]:
        """Pools of seats these people hold, wait for or may ask for."""
        teams = {key: team.id for key, team in recorded.teams.items()}
        found = {(seat.team_id, seat.offering_code) for held in recorded.seats.values() for seat in held}
        found |= {(row.team_id, row.offering_code) for rows in recorded.waiting.values() for row in rows}
        asked: dict[str, set[str]] = {}
        for source_id, people_there in self._kept.items():
            groups = self._overlays[source_id].header.groups
            asked[source_id] = {groups[place].reference for kept in people_there.values() for place in kept.groups}
        for rule in self._policy.rules.values():
            if rule.where or rule.group in asked.get(rule.directory, ()):
                found |= {(teams.get(rule.team_key, ""), offering) for offering in rule.offerings}
        return found

    async def _recorded(self) -> Recorded:
        """The recorded state of these people, and what the others count for."""
        if self._counts is None:
            self._counts = await some_people.seat_counts(self._reader)
        return await load_some(self._reader, self._rows, self._links, self._counts)

    async def _seen(self, source_id: str, scopes: tuple[ScopeLine, ...]) -> SourceSeen:
        overlay = self._overlays[source_id]
        persons: dict[str, Person] = {}
        unmappable: dict[str, UnmappableSeen] = {}
        members: dict[int, list[str]] = {}
        for anchor, kept in self._kept[source_id].items():
            found = overlay.mapped(kept)
            if isinstance(found, Person):
                persons[anchor] = found
            else:
                unmappable[anchor] = UnmappableSeen(found.reasons, found.enabled, found.dn, found.blank)
            for place in kept.groups:
                members.setdefault(place, []).append(anchor)
        groups: dict[str, GroupSeen] = {}
        for place, group in enumerate(overlay.groups):
            inside = members.get(place, ())
            paths = await overlay.paths(self._reader, group) if inside and group.nested else {}
            groups[group.reference] = GroupSeen(
                group.reference, True, group.name, members=inside, paths=paths, unresolved=group.unresolved,
                anchor=group.anchor, dn=group.dn, listings=await overlay.listings(self._reader, group, inside),
            )  # fmt: skip
        return SourceSeen(
            source_id=source_id,
            # a source that was not read whole was asked for everybody ``unseen``: ``ground`` proves it
            complete=not overlay.delta.doubted,
            people=persons,
            unmappable=unmappable,
            groups=groups,
            tombstones=overlay.delta.tombstones,
            scopes=tuple(line for line in scopes if line.source_id == source_id),
            deletions_told=overlay.delta.deletions_told,
            listings=overlay.delta.listings,
            outside=overlay.delta.outside,
            doubted=overlay.delta.doubted,
            signs=overlay.signs,
        )
