"""A directory as it is now: its last reading with a delta laid over it, loaded bucket by bucket (D13, D14).

Reads parts through a handle and writes them back changed; decides nothing about anybody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from connector.directory.base import Entry, Listing
from connector.directory.mapping import AttributeRules, Person, Unmappable, index_keys, map_entry
from connector.directory.names import dn_key
from connector.reconcile.reading import last_reading as parts
from connector.reconcile.reading.last_reading import Delta, Header, Kept, Members, bucket_of
from ledger.instant import to_micros
from ledger.store import last_readings
from ledger.store.book import Book, Reader
from ledger.store.last_readings import LastReading


class Overlay:
    """One source. ``people``, ``with_mail`` and ``members_moved`` answer for the directory as it is now."""

    def __init__(self, kept: LastReading, delta: Delta, rules: AttributeRules, now: datetime) -> None:
        self.kept = kept
        self.delta = delta
        self.header: Header = parts.decode_header(kept.header)
        self.groups = parts.groups_now(self.header, delta)
        self.signs = delta.signs.after(self.header.signs) if delta.signs is not None else self.header.signs
        self._rules = rules
        self._now = now
        self._loaded: dict[tuple[str, str], dict[str, Any]] = {}
        self._members: dict[str, Members] = {}
        self._mapped: dict[str, Person | Unmappable] = {}
        self._new_mails: dict[str, list[str]] = {}
        for anchor, entry in delta.entries.items():
            mapped = self._mapped[anchor] = map_entry(entry, rules, now=now)
            for mail in index_keys(mapped):
                self._new_mails.setdefault(mail, []).append(anchor)

    def traced(self, **found: Any) -> Overlay:
        """The same with what was ``found`` of people who are not shown: fields of ``Delta``."""
        other = copy(self)
        other.delta = replace(self.delta, **found)
        return other

    def mapped(self, kept: Kept) -> Person | Unmappable:
        """The person a record stands for."""
        found = self._mapped.get(kept.anchor)
        if found is None:
            found = self._mapped[kept.anchor] = map_entry(kept.entry, self._rules, now=self._now)
        return found

    async def people(self, reader: Reader, anchors: Collection[str]) -> dict[str, Kept]:
        """The records of these anchors, as far as they are there now."""
        wanted = [anchor for anchor in anchors if anchor not in self.delta.gone]
        await self._load(reader, parts.PERSON, anchors)
        found: dict[str, Kept] = {}
        for anchor in wanted:
            entry = self.delta.entries.get(anchor)
            old: Kept | None = self._bucket(parts.PERSON, anchor).get(anchor)
            if entry is not None:
                found[anchor] = self._record(entry, old)
            elif old is not None:
                groups = parts.listed_in(self.header, old.groups, anchor, self.delta)
                found[anchor] = old if groups == old.groups else msgspec.structs.replace(old, groups=groups)
        return found

    async def marks(self, reader: Reader, anchors: Collection[str]) -> dict[str, bytes]:
        """anchor → mark of the last reading, of those of these anchors that were in it."""
        await self._load(reader, parts.PRINT, anchors)
        found = {anchor: self._bucket(parts.PRINT, anchor).get(anchor) for anchor in anchors}
        return {anchor: mark for anchor, mark in found.items() if mark is not None}

    async def anchors(self, reader: Reader) -> set[str]:
        """Everybody's anchor in the last reading."""
        return set(parts.marks_of(await last_readings.parts(reader, self.kept.source_id, parts.PRINT)))

    def before(self, anchors: Iterable[str]) -> list[tuple[Collection[str], str]]:
        """(index keys, employee number) as last read of those of these anchors that changed or are gone; ``people`` was
        asked for them first."""
        found: list[tuple[Collection[str], str]] = []
        for anchor in anchors:
            old: Kept | None = self._bucket(parts.PERSON, anchor).get(anchor)
            if old is not None and (anchor in self.delta.entries or anchor in self.delta.gone):
                person = map_entry(old.entry, self._rules, now=self._now)
                found.append((index_keys(person), person.employee_number if isinstance(person, Person) else ""))
        return found

    async def with_mail(self, reader: Reader, keys: Collection[str]) -> dict[str, list[str]]:
        """Index key (address or number) → the anchors of everybody who has it now."""
        await self._load(reader, parts.MAIL, keys)
        found: dict[str, list[str]] = {}
        for key in keys:
            old = self._bucket(parts.MAIL, key).get(key, ())
            stays = [a for a in old if a not in self.delta.entries and a not in self.delta.gone]
            if stays or key in self._new_mails:
                found[key] = [*stays, *self._new_mails.get(key, ())]
        return found

    async def with_names(self, reader: Reader, keys: Collection[str]) -> dict[str, str]:
        """DN key → anchor, for the DN keys that somebody has now."""
        await self._load(reader, parts.NAME, keys)
        fresh = {dn_key(entry.dn): anchor for anchor, entry in self.delta.entries.items()}
        found: dict[str, str] = {}
        for key in keys:
            anchor = fresh.get(key) or self._bucket(parts.NAME, key).get(key, "")
            if anchor and anchor not in self.delta.gone and (key in fresh or anchor not in self.delta.entries):
                found[key] = anchor
        return found

    async def members_moved(self, reader: Reader) -> set[str]:
        """Everybody who is in a changed group, or in one inside it, and was not, or was and is not; and, where a
        reference means another group now, everybody in either of the two."""
        await self.members(reader, self.delta.groups)
        anchors = {group.reference: group.anchor for group in self.header.groups}
        moved: set[str] = set()
        for reference, view in self.delta.groups.items():
            was = self._members[reference]
            same = anchors.get(reference) == view.anchor
            moved |= view.members.symmetric_difference(was.anchors) if same else view.members.union(was.anchors)
            moved |= {anchor for _, anchor in parts.members_of(view).direct ^ was.direct}
        return moved

    async def members(self, reader: Reader, references: Iterable[str]) -> Mapping[str, Members]:
        """Who was in these mapped groups when they were last read."""
        missing = [reference for reference in references if reference not in self._members]
        if missing:
            found = await last_readings.parts(reader, self.kept.source_id, parts.MEMBERS, missing)
            for reference in missing:
                content = found.get(reference)
                self._members[reference] = parts.decode_members(content) if content else Members()
        return self._members

    async def paths(self, reader: Reader, group: parts.KeptGroup) -> Mapping[str, tuple[str, ...]]:
        """The group names walked to each person who is in a mapped group through another one."""
        view = self.delta.groups.get(group.reference)
        return (
            view.paths if view is not None else (await self.members(reader, [group.reference]))[group.reference].paths
        )

    async def listings(self, reader: Reader, group: parts.KeptGroup, near: Collection[str]) -> Sequence[Listing]:
        """What a mapped group, and each one inside it, lists now. ``near``: the members it is asked for; of a group
        with none inside, no others are told."""
        view = self.delta.groups.get(group.reference)
        if view is not None:
            return view.listings
        if group.nested or group.by_uid or group.told:
            return (await self.members(reader, [group.reference]))[group.reference].listed
        unresolved = {dn_key(value): value for value in group.unresolved}
        return (Listing(group.anchor or dn_key(group.dn), group.dn, frozenset(near), unresolved=unresolved),)

    def expired(self) -> list[str]:
        """Anchors whose accounts had a date that has passed by now."""
        micros = to_micros(self._now)
        return [anchor for at, anchor in self.header.expiries if at <= micros]

    async def save(self, book: Book) -> None:
        """Write the last reading as it is now."""
        touched = {*self.delta.entries, *self.delta.gone, *await self.members_moved(book)}
        changed = await self._edit(book, touched) if touched else {}
        for reference, view in self.delta.groups.items():
            changed[parts.MEMBERS, reference] = parts.pack_members(view)
        await last_readings.put_parts(book, self.kept.source_id, changed)
        header = Header(self.groups, self._expiries(), self.signs)
        whole_at = book.at if self.delta.whole else self.kept.whole_at
        row = LastReading(
            self.kept.source_id, self.kept.rules, self.kept.buckets, book.at, whole_at, parts.pack(header)
        )
        await last_readings.put_reading(book, row)

    async def _edit(self, book: Book, touched: set[str]) -> dict[tuple[str, str], bytes]:
        now = await self.people(book, touched)
        was = {a: old for a in touched if (old := self._bucket(parts.PERSON, a).get(a)) is not None}
        records = [*was.values(), *now.values()]
        had = {anchor: index_keys(map_entry(old.entry, self._rules)) for anchor, old in was.items()}
        has = {anchor: index_keys(self.mapped(record)) for anchor, record in now.items()}
        await self._load(book, parts.PRINT, touched)
        await self._load(book, parts.NAME, [dn_key(record.dn) for record in records])
        await self._load(book, parts.MAIL, [mail for found in (*had.values(), *has.values()) for mail in found])
        changed: set[tuple[str, str]] = set()

        def bucket(kind: str, key: str) -> dict[str, Any]:
            changed.add((kind, bucket_of(key, self.kept.buckets)))
            return self._bucket(kind, key)

        for anchor, old in was.items():
            del bucket(parts.PERSON, anchor)[anchor]
            names = bucket(parts.NAME, dn_key(old.dn))
            if names.get(dn_key(old.dn)) == anchor:
                del names[dn_key(old.dn)]
            for mail in had[anchor]:
                mails = bucket(parts.MAIL, mail)
                mails[mail] = [other for other in mails.get(mail, ()) if other != anchor]
        for anchor, record in now.items():
            bucket(parts.PERSON, anchor)[anchor] = record
            bucket(parts.NAME, dn_key(record.dn))[dn_key(record.dn)] = anchor
            for mail in has[anchor]:
                bucket(parts.MAIL, mail).setdefault(mail, []).append(anchor)
        for anchor in self.delta.gone:
            bucket(parts.PRINT, anchor).pop(anchor, None)
        for anchor, mark in self.delta.marks.items():
            bucket(parts.PRINT, anchor)[anchor] = mark
        return {(kind, at): parts.pack(self._loaded[kind, at]) for kind, at in changed}

    def _expiries(self) -> tuple[tuple[int, str], ...]:
        micros, delta = to_micros(self._now), self.delta
        stays = [item for item in self.header.expiries
                 if item[0] > micros and item[1] not in delta.entries and item[1] not in delta.gone]  # fmt: skip
        for anchor in delta.entries:
            expires_at = self._mapped[anchor].expires_at
            if expires_at is not None and expires_at > self._now:
                stays.append((to_micros(expires_at), anchor))
        return tuple(sorted(stays))

    def _record(self, entry: Entry, old: Kept | None) -> Kept:
        person = self._mapped[entry.anchor]
        mail = person.mail.key if isinstance(person, Person) else ""
        groups = parts.listed_in(self.header, old.groups if old else (), entry.anchor, self.delta)
        attributes = {name: tuple(values) for name, values in entry.attributes.items()}
        return Kept(entry.anchor, entry.dn, attributes, groups, mail)

    async def _load(self, reader: Reader, kind: str, keys: Iterable[str]) -> None:
        wanted = {bucket_of(key, self.kept.buckets) for key in keys}
        missing = {bucket for bucket in wanted if (kind, bucket) not in self._loaded}
        if not missing:
            return
        found = await last_readings.parts(reader, self.kept.source_id, kind, missing)
        for bucket in missing:
            content = found.get(bucket)
            self._loaded[kind, bucket] = parts.unpack(kind, content) if content else {}

    def _bucket(self, kind: str, key: str) -> dict[str, Any]:
        return self._loaded[kind, bucket_of(key, self.kept.buckets)]
