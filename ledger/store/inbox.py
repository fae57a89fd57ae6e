"""The inbox: what identity providers pushed, in a file (schema) of its own so that pushes never wait for runs.

Prohibition: nothing here changes an identity, a Team or a seat; what is stored is one more source to read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import case, func, literal

from ledger.errors import Stale
from ledger.identity import fold
from ledger.instant import new_id
from ledger.store.book import Book, Reader
from ledger.store.engine import Store
from ledger.store.tables import inbox as tables

USER = "User"
GROUP = "Group"

_TABLE = tables.inbox_resource
_MEMBER = tables.inbox_member
_DELETED = tables.inbox_deleted
_LEFT = tables.inbox_left
_MAIL = tables.inbox_mail
_LONGEST_MAIL = 250
"""Characters of an address that are indexed: PostgreSQL holds no key longer than 2,700 bytes."""
_FEW = 2000
_VERY_MANY = 10_000
"""So many ids are looked for among all there are, read once: each query by keys costs PostgreSQL as much while it does
not know yet how large the table is."""
_KEY = ("connection_id", "kind", "id")
_PAIR = ("connection_id", "group_id", "member_id")
_MAIL_OF = ("connection_id", "mail", "id")
_COLUMNS = ("connection_id", "kind", "id", "external_id", "key", "document", "version", "created_at", "modified_at")


class Inbox(Store):
    """``inbox.db``, or the schema ``inbox``: opened by the same URL as the ledger."""

    name = "inbox"
    times = tables.inbox_time
    tables = tables.metadata
    lock_seed = 11

    @asynccontextmanager
    async def write(self, organization: str, *, at: datetime) -> AsyncIterator[Book]:
        """One push, as ``Store._write``."""
        async with self._write(organization, at) as book:
            yield book


@dataclass(frozen=True, slots=True)
class Resource:
    """One stored SCIM resource; ``key`` is its folded name, ``version`` grows by one with each change.

    ``document`` has no members: those are rows of their own.
    """

    connection_id: str
    kind: str
    id: str
    external_id: str
    key: str
    document: Any
    version: int
    created_at: datetime
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class Write:
    """What one push did (S-R57). ``change``: attribute → [before, after], without secrets; ``bent``: why it was taken
    otherwise than the standard says."""

    connection_id: str
    actor: str
    request_id: str
    verb: str
    kind: str
    resource_id: str
    change: Mapping[str, Any]
    bent: Sequence[str] = ()


async def put(
    book: Book, connection_id: str, kind: str, resource_id: str, *, external_id: str, key: str, document: Any
) -> Resource:
    """Create or replace a resource whole, at the book's instant; answers it as stored.

    Who waited for the other writers does not set its last change back before theirs.
    """
    old = await get(book, connection_id, kind, resource_id)
    new = Resource(
        connection_id,
        kind,
        resource_id,
        external_id,
        key,
        document,
        old.version + 1 if old else 1,
        old.created_at if old else book.at,
        max(book.at, old.modified_at) if old else book.at,
    )
    await book.upsert(_TABLE, _KEY, [{name: getattr(new, name) for name in _COLUMNS}])
    await _index_mails(book, new, _mails(old) if old else frozenset(), _mails(new))
    return new


async def get(reader: Reader, connection_id: str, kind: str, resource_id: str) -> Resource | None:
    """One resource by id."""
    rows = await reader.tuples(_of(reader, connection_id, kind).where(_TABLE.c.id == resource_id))
    return Resource(*rows[0]) if rows else None


async def find(
    reader: Reader, connection_id: str, kind: str, *, key: str = "", external_id: str = ""
) -> list[Resource]:
    """Resources with this folded name, or this external id (case matters there, RFC 7643 §3.1), by id."""
    chosen = _TABLE.c.key == key if key else _TABLE.c.external_id == external_id
    # ordered here: for ORDER BY id SQLite goes through every id instead of the index of what is looked for
    rows = await reader.tuples(_of(reader, connection_id, kind).where(chosen))
    return sorted((Resource(*row) for row in rows), key=lambda one: one.id)


async def with_mail(reader: Reader, connection_id: str, address: str) -> list[Resource]:
    """People one of whose ``emails`` is this address in any case, by id; of an endless one also others, as only its
    beginning is compared."""
    here = (_MAIL.c.connection_id == connection_id, _MAIL.c.mail == _mail_key(address))
    rows = await reader.tuples(reader.select(_MAIL, "id").where(*here))
    return await some(reader, connection_id, USER, [row[0] for row in rows])


async def page(reader: Reader, connection_id: str, kind: str, *, after: str = "", limit: int = 1000) -> list[Resource]:
    """The next resources in the order of their ids, behind ``after``."""
    statement = _of(reader, connection_id, kind).where(_TABLE.c.id > after).order_by(_TABLE.c.id).limit(limit)
    return [Resource(*row) for row in await reader.tuples(statement)]


async def documents(reader: Reader, connection_id: str, kind: str) -> list[tuple[str, Any]]:
    """(id, document) of every resource: the fast way to read them all."""
    return [(row[0], row[1]) for row in await reader.tuples(_of(reader, connection_id, kind, ("id", "document")))]


async def count(reader: Reader, connection_id: str, kind: str) -> int:
    """How many there are."""
    return int(await reader.scalar(_of(reader, connection_id, kind, ("id",)).with_only_columns(func.count())))


async def part(reader: Reader, connection_id: str, kind: str, *, skip: int, limit: int) -> list[Resource]:
    """``limit`` resources in the order of their ids, behind the first ``skip``."""
    statement = _of(reader, connection_id, kind).order_by(_TABLE.c.id).offset(skip).limit(limit)
    return [Resource(*row) for row in await reader.tuples(statement)]


async def some(reader: Reader, connection_id: str, kind: str, ids: Collection[str]) -> list[Resource]:
    """Those of these ids that exist, by id."""
    found = await reader.tuples_by_keys(_of(reader, connection_id, kind), _TABLE.c.id, sorted(set(ids)))
    return sorted((Resource(*row) for row in found), key=lambda one: one.id)


async def touch(book: Book, connection_id: str, kind: str, ids: Collection[str]) -> None:
    """Raise the version of resources that change by what happened to others: groups that lose a deleted member."""
    modified = _TABLE.c.modified_at
    later = case((modified > book.at, modified), else_=literal(book.at, modified.type))
    values = {"version": _TABLE.c.version + 1, "modified_at": later}
    for one in sorted(set(ids)):
        here = (_TABLE.c.connection_id == connection_id, _TABLE.c.kind == kind, _TABLE.c.id == one)
        await book.update(_TABLE, values, *here)


async def remove(book: Book, resource: Resource) -> None:
    """Delete it with every membership it is part of, and remember that it was deleted (D3).

    Raises ``Stale`` when it has changed or gone since it was read.
    """
    same = [getattr(_TABLE.c, name) == getattr(resource, name) for name in (*_KEY, "version")]
    if await book.delete(_TABLE, *same) != 1:
        raise Stale(f"{resource.kind} {resource.id} has changed since it was read", where=resource.connection_id)
    here = _MEMBER.c.connection_id == resource.connection_id
    for part in (_MEMBER.c.member_id, _MEMBER.c.group_id):
        chosen = book.select(_MEMBER, "group_id", "member_id").where(here, part == resource.id)
        await _note_left(book, resource.connection_id, [(row[0], row[1]) for row in await book.tuples(chosen)])
        await book.delete(_MEMBER, here, part == resource.id)
    await _index_mails(book, resource, _mails(resource), frozenset())
    row = {**dict(zip(_KEY, (resource.connection_id, resource.kind, resource.id), strict=True)), "deleted_at": book.at}
    await book.upsert(_DELETED, _KEY, [row])


async def deleted(reader: Reader, connection_id: str, kind: str) -> frozenset[str]:
    """Every id that was deleted."""
    chosen = (_DELETED.c.connection_id == connection_id, _DELETED.c.kind == kind)
    return frozenset(row[0] for row in await reader.tuples(reader.select(_DELETED, "id").where(*chosen)))


async def kinds(reader: Reader, connection_id: str, ids: Collection[str]) -> dict[str, str]:
    """id → ``User`` or ``Group``, of those of these ids that exist."""
    here = (_TABLE.c.connection_id == connection_id, _TABLE.c.kind.in_((GROUP, USER)))  # the key begins with them
    statement = reader.select(_TABLE, "id", "kind").where(*here)
    wanted = dict.fromkeys(ids)
    if len(wanted) > _VERY_MANY:
        return {row[0]: row[1] for row in await reader.tuples(statement) if row[0] in wanted}
    return {row[0]: row[1] for row in await reader.tuples_by_keys(statement, _TABLE.c.id, list(wanted))}


async def memberships(reader: Reader, connection_id: str) -> list[tuple[str, str]]:
    """Every (group id, member id) of a connection."""
    chosen = _MEMBER.c.connection_id == connection_id
    return [
        (row[0], row[1]) for row in await reader.tuples(reader.select(_MEMBER, "group_id", "member_id").where(chosen))
    ]


async def members(reader: Reader, connection_id: str, group_ids: Collection[str]) -> dict[str, list[str]]:
    """Group id → the ids of its members in order, of these groups; a group without members is not in it."""
    statement = reader.select(_MEMBER, "group_id", "member_id").where(_MEMBER.c.connection_id == connection_id)
    found: dict[str, list[str]] = {}
    for group_id, member_id in await reader.tuples_by_keys(statement, _MEMBER.c.group_id, sorted(set(group_ids))):
        found.setdefault(group_id, []).append(member_id)
    return {group_id: sorted(inside) for group_id, inside in found.items()}


async def members_with_kinds(
    reader: Reader, connection_id: str, group_ids: Collection[str]
) -> dict[str, list[tuple[str, str]]]:
    """Group id → (id, kind) of its members in order, of these groups; a group without members is not in it."""
    found = await members(reader, connection_id, group_ids)
    statement = _of(reader, connection_id, GROUP, ("id",))
    # every group of the connection is one query, so many members would be very many
    if sum(map(len, found.values())) > _FEW:
        rows = await reader.tuples(statement)
    else:
        inside = sorted({one for ids in found.values() for one in ids})
        rows = await reader.tuples_by_keys(statement, _TABLE.c.id, inside)
    nested = {row[0] for row in rows}
    return {group: [(one, GROUP if one in nested else USER) for one in ids] for group, ids in found.items()}


async def groups_of(reader: Reader, connection_id: str, member_ids: Collection[str]) -> dict[str, list[str]]:
    """Member id → the ids of the groups it is in itself, in order; who is in none is not in it."""
    # added_at is read so that the key covers nothing: else SQLite goes through it whole instead of the index
    columns = ("member_id", "group_id", "added_at")
    statement = reader.select(_MEMBER, *columns).where(_MEMBER.c.connection_id == connection_id)
    found: dict[str, list[str]] = {}
    for member_id, group_id, _ in await reader.tuples_by_keys(statement, _MEMBER.c.member_id, sorted(set(member_ids))):
        found.setdefault(member_id, []).append(group_id)
    return {member_id: sorted(inside) for member_id, inside in found.items()}


async def are_members(reader: Reader, connection_id: str, group_id: str, ids: Collection[str]) -> frozenset[str]:
    """Those of these ids that are in the group; reads the others only beside very many."""
    if len(ids) > _VERY_MANY:
        return frozenset((await members(reader, connection_id, [group_id])).get(group_id, ())).intersection(ids)
    here = (_MEMBER.c.connection_id == connection_id, _MEMBER.c.group_id == group_id)
    statement = reader.select(_MEMBER, "member_id").where(*here)
    found = await reader.tuples_by_keys(statement, _MEMBER.c.member_id, sorted(set(ids)))
    return frozenset(row[0] for row in found)


async def add_members(book: Book, connection_id: str, group_id: str, ids: Collection[str]) -> frozenset[str]:
    """Put these ids into the group; answers those that were not in it. Whether they exist is the caller's to know."""
    same = {"connection_id": connection_id, "group_id": group_id, "added_at": book.at}
    there = await are_members(book, connection_id, group_id, ids)
    new = dict.fromkeys(one for one in ids if one not in there)
    for part in _parts(new):
        await book.insert(_MEMBER, ("member_id",), [(member_id,) for member_id in part], same=same)
        await book.delete_keys(_LEFT, _PAIR, [(connection_id, group_id, member_id) for member_id in part])
    return frozenset(new)


async def remove_members(book: Book, connection_id: str, group_id: str, ids: Collection[str]) -> frozenset[str]:
    """Take these ids out of the group, and remember it, also of those whose row was lost before; answers those that
    were in it."""
    there = await are_members(book, connection_id, group_id, ids)
    known = await kinds(book, connection_id, [one for one in ids if one not in there])
    for part in _parts([one for one in ids if one in there or one in known]):
        await book.delete_keys(_MEMBER, _PAIR, [(connection_id, group_id, member_id) for member_id in part])
        await _note_left(book, connection_id, [(group_id, member_id) for member_id in part])
    return there


async def left(reader: Reader, connection_id: str) -> list[tuple[str, str]]:
    """Every (group id, member id) that a push ended: taken out by name, left out of a whole list, or one of the two
    deleted."""
    statement = reader.select(_LEFT, "group_id", "member_id").where(_LEFT.c.connection_id == connection_id)
    return [(row[0], row[1]) for row in await reader.tuples(statement)]


def _parts(ids: Collection[str]) -> Iterator[list[str]]:
    """Each id once, some at a time: others have their turn in between."""
    every = list(dict.fromkeys(ids))
    return (every[start : start + _FEW] for start in range(0, len(every), _FEW))


async def _note_left(book: Book, connection_id: str, pairs: Sequence[tuple[str, str]]) -> None:
    rows = [{**dict(zip(_PAIR, (connection_id, *pair), strict=True)), "left_at": book.at} for pair in pairs]
    await book.upsert(_LEFT, _PAIR, rows)


async def note(book: Book, write: Write) -> None:
    """Record what a push did, in its own transaction."""
    names = ("connection_id", "actor", "request_id", "verb", "kind", "resource_id")
    values = [*(getattr(write, name) for name in names), dict(write.change), list(write.bent)]
    await book.insert(tables.inbox_write, ("id", "at", *names, "change", "bent"), [(new_id(), book.at, *values)])


async def writes(reader: Reader, connection_id: str, *, limit: int = 100) -> list[tuple[datetime, Write]]:
    """What was pushed, newest first."""
    table = tables.inbox_write
    names = ("at", "connection_id", "actor", "request_id", "verb", "kind", "resource_id", "change", "bent")
    statement = reader.select(table, *names).where(table.c.connection_id == connection_id)
    rows = await reader.tuples(statement.order_by(table.c.at.desc(), table.c.id.desc()).limit(limit))
    return [(row[0], Write(*row[1:])) for row in rows]


async def _index_mails(book: Book, resource: Resource, old: frozenset[str], new: frozenset[str]) -> None:
    gone, come = (
        [(resource.connection_id, mail, resource.id) for mail in sorted(one)] for one in (old - new, new - old)
    )
    await book.delete_keys(_MAIL, _MAIL_OF, gone)
    await book.insert(_MAIL, _MAIL_OF, come)


def _mails(resource: Resource) -> frozenset[str]:
    items = resource.document.get("emails") if resource.kind == USER else None
    values = [item.get("value") for item in items or () if isinstance(item, Mapping)]
    return frozenset(_mail_key(value) for value in values if isinstance(value, str)) - {""}


def _mail_key(address: str) -> str:
    return fold(address)[:_LONGEST_MAIL]


def _of(reader: Reader, connection_id: str, kind: str, columns: Sequence[str] = _COLUMNS) -> Any:
    chosen = (_TABLE.c.connection_id == connection_id, _TABLE.c.kind == kind)
    return reader.select(_TABLE, *columns).where(*chosen)
