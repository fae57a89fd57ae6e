"""What a simulated year keeps beside the product: the evidence each directory gave, and what was true at each moment.

``Evidence`` judges losses from the readings alone; ``Moments`` compares the ledger's history with what was seen then.
Nothing here plans, and nothing here asks the product why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from connector.directory.base import Reading
from ledger.store import kept_groups, people, seats
from ledger.store.book import Reader
from ledger.store.tables import people as people_tables
from ledger.store.tables import seats as seat_tables

CONFIRM = timedelta(minutes=15)
DECIDED = timedelta(days=7)
"""After that a person may decide about somebody whom a group still lists (E15)."""
OFF = {"disabled", "absent"}
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Picture:
    """What holds now. ``people``: id → (mail, state). ``members``: (id, Team, provenance). ``seats``: seat → (id, Team,
    offering, state). ``grants``: (seat, provenance). ``links``: id → (source, anchor). ``waiting``: (id, offering).
    ``groups``: (id, kept group, provenance)."""

    people: Mapping[str, tuple[str, str]]
    members: frozenset[tuple[str, str, str]]
    seats: Mapping[str, tuple[str, str, str, str]]
    grants: frozenset[tuple[str, str]]
    links: Mapping[str, tuple[str, str]]
    waiting: frozenset[tuple[str, str]]
    groups: frozenset[tuple[str, str, str]]

    @classmethod
    async def of(cls, reader: Reader) -> Picture:
        """From the open rows."""
        return cls(
            {row[1]: (row[3], row[7]) for row in await people.open_identities(reader)},
            frozenset((row[1], row[2], row[3]) for row in await people.open_memberships(reader)),
            {row[1]: (row[5], row[3], row[4], row[6]) for row in await seats.open_seats(reader)},
            frozenset((row[1], row[3]) for row in await seats.open_grants(reader)),
            {row[1]: (row[2], row[3]) for row in await people.directory_links(reader)},
            frozenset((row[1], row[3]) for row in await seats.open_waiting(reader)),
            frozenset((row[1], row[2], row[3]) for row in await kept_groups.members(reader, None)),
        )

    @property
    def history(self) -> tuple[frozenset[Row], ...]:
        """Identities, memberships, seats, memberships of groups, as ``as_of`` gives them."""
        identities = frozenset((who, *values) for who, values in self.people.items())
        seats = frozenset((seat, *values) for seat, values in self.seats.items())
        return identities, self.members, seats, self.groups

    def active(self) -> dict[str, set[str]]:
        """Team → its active people."""
        found: dict[str, set[str]] = {}
        for who, team, _ in self.members:
            if self.people[who][1] == "active":
                found.setdefault(team, set()).add(who)
        return found

    def faults(self) -> list[str]:
        """What must never be so."""
        held = Counter((who, code) for who, _, code, _ in self.seats.values())
        found = [f"two seats of one offering: {key}" for key, count in held.items() if count > 1]
        granted = {seat for seat, _ in self.grants}
        found += [f"seat {seat} has no reason" for seat in self.seats.keys() - granted]
        found += [f"a reason for no seat: {seat}" for seat in granted - self.seats.keys()]
        members = {(who, provenance) for who, _, provenance in self.members}
        found += [
            f"{self.people[self.seats[seat][0]]} holds a seat through {provenance} and is not in it"
            for seat, provenance in self.grants
            if provenance.startswith("mapping:") and (self.seats[seat][0], provenance) not in members
        ]
        # whoever is in a Team by another mapping that keeps a group may keep this one until that one is read (D2)
        keeping = {provenance for _, _, provenance in self.groups}
        unsure = {who for who, provenance in members if provenance in keeping}
        found += [f"{self.people[who][0]} is in a group kept by {provenance} and not in its Team"
                  for who, _, provenance in self.groups
                  if (who, provenance) not in members and who not in unsure]  # fmt: skip
        removed = {who for who, (_, state) in self.people.items() if state == "removed"}
        found += [f"removed and has something: {who}" for who in removed
                  if any(who == row[0] for row in (*self.members, *self.seats.values(), *self.groups))]  # fmt: skip
        mails = Counter(mail for mail, state in self.people.values() if state != "removed")
        found += [f"{count} people have {mail}" for mail, count in mails.items() if count > 1]
        found += [f"waits for what they have: {row}" for row in self.waiting if row in held]
        return found


@dataclass
class Evidence:
    """What complete readings proved so far; ``groups``: mapping id → (source, group); delays by mapping id."""

    groups: Mapping[str, tuple[str, str]]
    release: Mapping[str, timedelta]
    remove: Mapping[str, timedelta]
    absent: dict[tuple[str, str], datetime] = field(default_factory=dict)
    outside: dict[tuple[str, str, str], datetime] = field(default_factory=dict)
    known: dict[str, set[str]] = field(default_factory=dict)
    names: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    off_since: dict[str, datetime] = field(default_factory=dict)
    delay: dict[str, timedelta] = field(default_factory=dict)
    paused_since: dict[str, datetime] = field(default_factory=dict)
    last: dict[str, Reading] = field(default_factory=dict)

    def read(self, readings: Sequence[Reading], at: datetime) -> None:
        """A run that was committed saw these."""
        self.last = {reading.source_id: reading for reading in readings}
        for reading in readings:
            name = reading.source_id
            known = self.known.setdefault(name, set())
            known.update(reading.people)
            for anchor, entry in reading.people.items():
                self.names.setdefault((name, anchor), set()).add(entry.dn)
            for anchor in known:
                if anchor in reading.people:
                    self.absent.pop((name, anchor), None)
                elif reading.people_complete:
                    self.absent.setdefault((name, anchor), at)
            for group, view in reading.groups.items():
                for anchor in known & reading.people.keys():
                    if anchor in view.members:
                        self.outside.pop((name, group, anchor), None)
                    else:
                        self.outside.setdefault((name, group, anchor), at)

    def remember(self, before: Picture, after: Picture, at: datetime) -> None:
        """Since when each leaver is off, and for how long before they are removed; since when each seat is paused."""
        for who, (_, state) in after.people.items():
            if state in OFF and (before.people.get(who, ("", ""))[1] not in OFF or who not in self.off_since):
                self.off_since[who] = at
                delays = [self.remove[p.removeprefix("mapping:")] for w, _, p in before.members
                          if w == who and p.removeprefix("mapping:") in self.remove]  # fmt: skip
                self.delay[who] = max(delays, default=timedelta(days=30))  # an undo that adds a Team moves no date
        for seat, row in after.seats.items():
            if row[3] == "paused" and before.seats.get(seat, ("",) * 4)[3] != "paused":
                self.paused_since[seat] = at

    def losses(self, before: Picture, after: Picture, at: datetime, open_domains: set[str]) -> list[str]:
        """Every loss of one run that nothing proves."""
        found: list[str] = []
        for who, (mail, state) in before.people.items():
            now = after.people[who][1]
            if state == "active" and now != "active" and (why := self._not_gone(before, who, at)):
                found.append(f"{mail} is {now}: {why}")
            if state in OFF and now == "removed" and not self._due(who, at):
                found.append(f"{mail} was removed before it was due")
        for who, team, provenance in before.members - after.members:
            if why := self._not_out(before, after, who, provenance, at):
                found.append(f"{before.people[who][0]} left {team} ({provenance}): {why}")
        through = {(who, provenance) for who, _, provenance in before.members}
        for who, _, provenance in before.groups - after.groups:
            if (who, provenance) not in through:
                continue  # the membership it came with ended before, on its own evidence
            if why := self._not_out(before, after, who, provenance, at):
                found.append(f"{before.people[who][0]} left a group ({provenance}): {why}")
        for seat, (who, _, code, state) in before.seats.items():
            now = after.seats.get(seat, ("",) * 4)[3]
            if (now == "paused" and state != "paused") and (why := self._not_gone(before, who, at)):
                found.append(f"{code} of {before.people[who][0]} paused: {why}")
            if not now and (why := self._not_released(before, after, seat, at)):
                found.append(f"{code} of {before.people[who][0]} released: {why}")
        touched = {line.partition(" ")[0] for line in found}
        for who, (mail, _) in before.people.items():
            if (
                mail.rpartition("@")[2] not in open_domains
                and self._changed(before, after, who)
                and mail not in touched
            ):
                shown = self._entry(before, who)
                if shown is None or self._mail(shown).rpartition("@")[2] not in open_domains:
                    found.append(f"{mail} was changed while its domain is not open")
        return found

    def _changed(self, before: Picture, after: Picture, who: str) -> bool:
        parts = [(p.people[who][1], {m for m in p.members if m[0] == who}, {s for s, r in p.seats.items() if r[0] == who})  # noqa: E501
                 for p in (before, after)]  # fmt: skip
        return parts[0] != parts[1]

    def _entry(self, before: Picture, who: str) -> Any:
        name, anchor = before.links.get(who, ("", ""))
        return self.last[name].people.get(anchor) if name in self.last else None

    def _mail(self, entry: Any) -> str:
        return str(entry.attributes.get("mail", (b"",))[0].decode())

    def _not_gone(self, before: Picture, who: str, at: datetime) -> str:
        entry, (name, anchor) = self._entry(before, who), before.links.get(who, ("", ""))
        if not name:
            return "linked to no entry"
        if entry is not None:
            return "" if entry.attributes.get("disabled") == (b"yes",) else "the entry is there and enabled"
        if anchor in self.last[name].tombstones:
            return ""
        if not self.last[name].people_complete:
            return "the people were not read to their end"
        if before.people[who][1] == "disabled":
            return ""  # what was stated stays stated
        first = self.absent.get((name, anchor), at)
        if at - first >= DECIDED:
            return ""  # a person may have
        listed = [group for _, group in self.groups.values() if self._listed(name, group, anchor)]
        if listed:
            return f"group {listed[0]} still lists them"
        return "" if at - first >= CONFIRM else f"absent only since {first}"

    def _listed(self, name: str, group: str, anchor: str) -> bool:
        """Whether a group of the last reading lists a name of whoever has the entry, that nobody answers to now."""
        view = self.last[name].groups.get(group)
        return view is not None and not self.names.get((name, anchor), set()).isdisjoint(view.unresolved)

    def _due(self, who: str, at: datetime) -> bool:
        return at - self.off_since[who] >= self.delay[who]

    def _not_out(self, before: Picture, after: Picture, who: str, provenance: str, at: datetime) -> str:
        if not provenance.startswith("mapping:"):
            return "it was given by hand"
        if before.people[who][1] in OFF and not self._not_gone(before, who, at):
            return "" if self._due(who, at) else "removed before it was due"
        name, group = self.groups[provenance.removeprefix("mapping:")]
        link = after.links.get(who, ("", ""))  # a rehire is known by the new entry from now on
        if link[0] != name or self._entry(after, who) is None:
            return "not seen in that directory"
        if group not in self.last[name].groups:
            return "the group was not read to its end"
        if self._listed(name, group, link[1]):
            return "the group still lists them"
        first = self.outside.get((name, group, link[1]), at)
        return "" if at - first >= CONFIRM else f"outside only since {first}"

    def _not_released(self, before: Picture, after: Picture, seat: str, at: datetime) -> str:
        who = before.seats[seat][0]
        reasons = [provenance for held, provenance in before.grants if held == seat]
        if any(not provenance.startswith("mapping:") for provenance in reasons):
            return "it was given by hand"
        left = [self._not_out(before, after, who, provenance, at) for provenance in reasons
                if any(row[0] == who and row[2] == provenance for row in before.members)]  # fmt: skip
        if not any(left):
            return ""
        if why := self._not_gone(before, who, at):
            return why
        delay = max(self.release[provenance.removeprefix("mapping:")] for provenance in reasons)
        since = self.paused_since.get(seat, at)
        return "" if at - since >= delay else f"paused only since {since}"


@dataclass
class Moments:
    """(instant, what was true from then on), in order; several at one instant: the last one counts."""

    kept: list[tuple[datetime, Picture]] = field(default_factory=list)

    def keep(self, at: datetime, picture: Picture) -> None:
        """Record what a transaction at ``at`` left."""
        if self.kept and self.kept[-1][0] == at:
            self.kept.pop()
        self.kept.append((at, picture))

    async def differences(self, reader: Reader, every: int = 1) -> list[str]:
        """Ask the ledger's history about sampled moments, and the instant before each; say where it differs."""
        found: list[str] = []
        for position in range(0, len(self.kept), every):
            at, picture = self.kept[position]
            checks = [(at, picture)]
            if position:
                checks.append((at - timedelta(microseconds=1), self.kept[position - 1][1]))
            for moment, truth in checks:
                names = ("identities", "memberships", "seats", "groups")
                for name, told, was in zip(names, await as_of(reader, moment), truth.history, strict=True):
                    if told != was:
                        found.append(f"{name} at {moment}: {sorted(told ^ was)[:4]}")
        return found


async def as_of(reader: Reader, at: datetime) -> tuple[frozenset[Row], ...]:
    """Identities, memberships, seats and memberships of groups that held at ``at``, from history."""
    columns = (
        (people_tables.identity, ("id", "mail_key", "state")),
        (people_tables.team_membership, ("identity_id", "team_id", "provenance")),
        (seat_tables.seat, ("id", "identity_id", "team_id", "offering_code", "state")),
        (people_tables.group_membership, ("identity_id", "group_id", "provenance")),
    )
    rows = [await reader.tuples(reader.as_of(table, at, *names)) for table, names in columns]
    found = [frozenset(tuple(row) for row in part) for part in rows]
    assert [len(part) for part in found] == [len(part) for part in rows], "two rows for one fact at one instant"
    return tuple(found)


INTERVALS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "identity": (people_tables.identity, ("id",)),
    "identity_link": (people_tables.identity_link, ("kind", "source_id", "anchor")),
    "team_membership": (people_tables.team_membership, ("identity_id", "team_id", "provenance")),
    "seat": (seat_tables.seat, ("id",)),
    "seat_grant": (seat_tables.seat_grant, ("seat_id", "provenance", "team_id")),
    "waiting": (seat_tables.waiting, ("identity_id", "team_id", "offering_code", "provenance")),
    "subscription": (seat_tables.subscription, ("id",)),
    "team": (people_tables.team, ("id",)),
    "directory_group": (people_tables.directory_group, ("id",)),
    "group_membership": (people_tables.group_membership, ("identity_id", "group_id")),
}


async def broken_intervals(reader: Reader) -> list[str]:
    """Overlaps, ends before beginnings, gaps in what has none (an identity, a subscription), seats back from the dead
    other than by an undo, rows a run ended without saying which."""
    found: list[str] = []
    for name, (table, key) in INTERVALS.items():
        rows: dict[tuple[Any, ...], list[Any]] = {}
        for row in await reader.all(reader.select(table).order_by(table.c.valid_from, table.c.row_id)):
            rows.setdefault(tuple(getattr(row, column) for column in key), []).append(row)
            if row.valid_to is not None and row.valid_to < row.valid_from:
                found.append(f"{name} {row.row_id} ends before it begins")
            if row.recorded_at != row.valid_from:
                found.append(f"{name} {row.row_id} was recorded at another time than it began")
        for about, lives in rows.items():
            lives.sort(key=lambda row: (row.valid_from, row.valid_to is None, row.valid_to or row.valid_from))
            for one, other in pairwise(lives):
                if one.valid_to is None or one.valid_to > other.valid_from:
                    found.append(f"{name} {about}: two rows at {other.valid_from}")
                elif one.valid_to < other.valid_from and name in {"identity", "subscription", "team"}:
                    found.append(f"{name} {about}: nothing between {one.valid_to} and {other.valid_from}")
                elif one.valid_to < other.valid_from and name == "seat":
                    kind = await _kind(reader, other.run_id)
                    found += [] if kind == "undo" else [f"seat {about} came back by {kind or 'nothing'}"]
    return found


async def _kind(reader: Reader, run_id: str) -> str:
    from ledger.store import runs

    row = await runs.get(reader, run_id)
    return row.kind if row else ""
