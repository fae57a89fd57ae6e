"""The last reading of a directory in parts that change one by one, and what a new reading differs in (D13, D14).

Pure: bytes and values only; no I/O, no clock here. Every part is a bucket by CRC-32 of its key, so that a change
rewrites a few buckets whatever the directory's size. Kinds of parts: ``print`` (anchor → mark of the entry), ``person``
(anchor → entry and the mapped groups that list it), ``name`` (DN key → anchor), ``mail`` (mail key, or key of an
employee number → anchors),
``members`` (of one mapped group, by its reference).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import blake2b
from typing import Any
from zlib import crc32

import msgspec

from connector.directory.base import Entry, GroupView, Listing
from connector.reconcile.desired.seen import Outside
from connector.reconcile.evidence.stated import Signs

PRINT, PERSON, NAME, MAIL, MEMBERS = "print", "person", "name", "mail", "members"
_PER_BUCKET = 128
FORMAT = "/3"
"""Behind the rules' mark of a kept reading: one of another format is not built on. 2: numbers are in the index. 3:
groups inside a mapped one are known by anchor."""

_encode = msgspec.msgpack.Encoder().encode


class Kept(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One person as last read. ``groups``: positions (in ``Header.groups``) of the mapped groups that list them, nested
    ones included; ``mail``: the mail key, empty when the entry cannot be mapped."""

    anchor: str
    dn: str
    attributes: dict[str, tuple[bytes, ...]]
    groups: tuple[int, ...]
    mail: str

    @property
    def entry(self) -> Entry:
        """The entry as the directory gave it."""
        return Entry(self.anchor, self.dn, self.attributes)


class KeptGroup(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A mapped group as last read, without its members. ``nested``: DN keys of the groups inside it, ``inside``: their
    anchors; ``mark``: changes with anything about it, members included; ``told``: whether who left it is told."""

    reference: str
    anchor: str
    dn: str
    name: str
    unresolved: tuple[str, ...]
    nested: tuple[str, ...]
    by_uid: bool
    mark: bytes
    told: bool = False
    inside: tuple[str, ...] = ()


class Members(msgspec.Struct, array_like=True, frozen=True):
    """Who is in a mapped group. ``paths`` and ``listings``: as in ``GroupView``; that of a group without groups inside
    it repeats nobody."""

    anchors: tuple[str, ...] = ()
    paths: dict[str, tuple[str, ...]] = {}
    listings: tuple[Listing, ...] = ()

    @property
    def listed(self) -> tuple[Listing, ...]:
        """The listings, with everybody in them."""
        if len(self.listings) != 1:
            return self.listings
        return (replace(self.listings[0], people=frozenset(self.anchors)),)

    @property
    def direct(self) -> set[tuple[str, str]]:
        """(group's anchor, person's anchor) of everybody who is in a group inside this one."""
        inside = self.listings if len(self.listings) > 1 else ()
        return {(listing.anchor, anchor) for listing in inside for anchor in listing.people}


class Header(msgspec.Struct, array_like=True, frozen=True):
    """What is known of the whole reading. ``expiries``: (microseconds since 1970, anchor) of accounts with a date;
    ``signs``: as the last whole one showed them."""

    groups: tuple[KeptGroup, ...] = ()
    expiries: tuple[tuple[int, str], ...] = ()
    signs: Signs = Signs()


_decode_prints = msgspec.msgpack.Decoder(dict[str, bytes]).decode
_decode_people = msgspec.msgpack.Decoder(dict[str, Kept]).decode
_decode_names = msgspec.msgpack.Decoder(dict[str, str]).decode
_decode_mails = msgspec.msgpack.Decoder(dict[str, list[str]]).decode
decode_members = msgspec.msgpack.Decoder(Members).decode
decode_header = lru_cache(maxsize=8)(msgspec.msgpack.Decoder(Header).decode)

_DECODE: Mapping[str, Any] = {
    PRINT: _decode_prints,
    PERSON: _decode_people,
    NAME: _decode_names,
    MAIL: _decode_mails,
}


def pack(value: Any) -> bytes:
    """A header, members, or a bucket as bytes."""
    return _encode(value)


def unpack(kind: str, content: bytes) -> dict[str, Any]:
    """One bucket: key → what it holds."""
    found: dict[str, Any] = _DECODE[kind](content)
    return found


def bucket_of(key: str, buckets: int) -> str:
    """The bucket a key is in."""
    return str(crc32(key.encode("utf-8", "backslashreplace")) % buckets)


def bucket_count(people: int) -> int:
    """How many buckets suit a directory of this size."""
    return max(1, people // _PER_BUCKET)


def group_mark(view: GroupView) -> bytes:
    """16 bytes that change when the group's name, place, members or paths do, or what a group inside it lists."""
    told = (view.anchor, view.dn, view.name, sorted(view.members), sorted(view.unresolved), sorted(view.paths.items()))
    inside = [
        (item.anchor, item.dn, sorted(item.people), sorted(item.logins.items()), sorted(item.groups.items()),
         sorted(item.unresolved), sorted(item.left or ()))
        for item in view.listings if len(view.listings) > 1 or view.by_uid or item.left
    ]  # fmt: skip
    return blake2b(_encode((told, inside)), digest_size=16).digest()


def told(view: GroupView) -> bool:
    """Whether who left the group is told."""
    return any(listing.left is not None for listing in view.listings)


def keep_group(view: GroupView) -> KeptGroup:
    """What the header says of a group."""
    unresolved, mark = tuple(sorted(view.unresolved)), group_mark(view)
    inside = tuple(listing.anchor for listing in view.listings[1:])
    return KeptGroup(
        view.reference, view.anchor, view.dn, view.name, unresolved, view.nested, view.by_uid, mark, told(view), inside
    )


@dataclass(frozen=True, slots=True)
class Delta:
    """What one source differs in from its last reading, proved.

    ``entries``: added or changed entries by anchor, with their marks in ``marks``. ``gone``: anchors of the last
    reading that are not there now (where ``deletions_told``, only ``tombstones`` prove it); ``absent``: others that
    were looked up and are not there; ``tombstones``: anchors proved deleted. ``groups``: mapped groups that changed, by
    reference. ``signs``: where everything was read. ``whole``: everything was read, not only what the source says has
    changed. ``outside``, ``doubted``, ``listings``: as of ``SourceSeen``.
    """

    source_id: str
    whole: bool = False
    entries: Mapping[str, Entry] = field(default_factory=dict)
    marks: Mapping[str, bytes] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    tombstones: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    groups: Mapping[str, GroupView] = field(default_factory=dict)
    deletions_told: bool = False
    listings: tuple[Listing, ...] = ()
    outside: Mapping[str, Outside] = field(default_factory=dict)
    doubted: str = ""
    signs: Signs | None = None


class Gathered:
    """A whole reading on its way into parts: ``add`` every entry once, then ``parts``.

    Every entry is packed as it comes, so that nothing of the reading needs to stay in memory.
    """

    def __init__(self, groups: Iterable[GroupView], people: int) -> None:
        self.buckets = bucket_count(people)
        self.groups = sorted(groups, key=lambda view: view.reference)
        self._wants: dict[str, list[int]] = {}
        for position, view in enumerate(self.groups):
            for anchor in view.members:
                self._wants.setdefault(anchor, []).append(position)
        self._people: dict[str, dict[str, msgspec.Raw]] = {}
        self._prints: dict[str, dict[str, bytes]] = {}
        self._names: dict[str, dict[str, str]] = {}
        self._mails: dict[str, dict[str, list[str]]] = {}
        self.expiries: list[tuple[int, str]] = []
        self.signs = Signs()

    def add(self, entry: Entry, mark: bytes, name_key: str, mails: Sequence[str]) -> None:
        """One entry; ``mails``: the keys of its addresses and its number, none when it cannot be mapped."""
        anchor, buckets = entry.anchor, self.buckets
        bucket = bucket_of(anchor, buckets)
        # encoded at once, so that the entry itself can go; as ``Kept`` would be
        kept = (anchor, entry.dn, entry.attributes, self._wants.get(anchor, ()), mails[0] if mails else "")
        self._people.setdefault(bucket, {})[anchor] = msgspec.Raw(_encode(kept))
        self._prints.setdefault(bucket, {})[anchor] = mark
        self._names.setdefault(bucket_of(name_key, buckets), {})[name_key] = anchor
        for mail in mails:
            self._mails.setdefault(bucket_of(mail, buckets), {}).setdefault(mail, []).append(anchor)

    def header(self) -> Header:
        """The header of this reading."""
        return Header(tuple(map(keep_group, self.groups)), tuple(sorted(self.expiries)), self.signs)

    def parts(self) -> dict[tuple[str, str], bytes]:
        """Every part, packed; may be called once, for it lets go of what it packed."""
        out: dict[tuple[str, str], bytes] = {}
        for kind, found in ((PRINT, self._prints), (PERSON, self._people), (NAME, self._names), (MAIL, self._mails)):
            while found:
                bucket, content = found.popitem()
                out[kind, bucket] = _encode(content)
        for view in self.groups:
            out[MEMBERS, view.reference] = pack_members(view)
        return out


def pack_members(view: GroupView) -> bytes:
    """The members of a group as a part."""
    return _encode(members_of(view))


def members_of(view: GroupView) -> Members:
    """The members of a group as they are kept."""
    alone = len(view.listings) == 1
    listings = (replace(view.listings[0], people=frozenset()),) if alone else view.listings
    return Members(tuple(sorted(view.members)), {key: tuple(path) for key, path in view.paths.items()}, listings)


def marks_of(prints: Mapping[str, bytes]) -> dict[str, bytes]:
    """anchor → mark, out of every bucket of prints."""
    found: dict[str, bytes] = {}
    for content in prints.values():
        found.update(_decode_prints(content))
    return found


def changed_groups(header: Header, views: Mapping[str, GroupView]) -> dict[str, GroupView]:
    """The groups of a new reading that are not as they were; a group nobody mapped before counts as changed."""
    known = {group.reference: group.mark for group in header.groups}
    return {reference: view for reference, view in views.items() if known.get(reference) != group_mark(view)}


def groups_now(header: Header, delta: Delta) -> tuple[KeptGroup, ...]:
    """The header's groups with the changed ones replaced; positions stay."""
    return tuple(
        keep_group(delta.groups[group.reference]) if group.reference in delta.groups else group
        for group in header.groups
    )


def listed_in(header: Header, old: Sequence[int], anchor: str, delta: Delta) -> tuple[int, ...]:
    """Positions of the groups that list somebody now: as last read, but for the groups that changed."""
    found = []
    was = set(old)
    for position, group in enumerate(header.groups):
        view = delta.groups.get(group.reference)
        if (position in was) if view is None else (anchor in view.members):
            found.append(position)
    return tuple(found)
