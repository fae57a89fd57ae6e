"""Directory groups that mappings keep, and who is in them: set-based reads and writes over a handle.

Prohibition: decides nothing. Rows are plain tuples in the order each docstring states.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import func, or_, select

from ledger.identity import IdentityState
from ledger.store.book import Book, Reader
from ledger.store.tables import people

GROUP = ("id", "source_id", "anchor", "dn", "name")
"""Columns of a group row, in the order of ``begin_groups``."""
_MEMBER = ("identity_id", "group_id", "provenance", "cause")


async def open_groups(reader: Reader) -> list[tuple[Any, ...]]:
    """row_id, id, source_id, anchor, dn, name of every kept group."""
    return await reader.tuples(reader.open(people.directory_group, "row_id", *GROUP))


async def earlier_ids(reader: Reader, anchors: Collection[str]) -> dict[tuple[str, str], str]:
    """(source id, anchor) → id that a group once had: kept again, it is the same group."""
    table = people.directory_group
    rows = await reader.tuples_by_keys(
        reader.select(table, "source_id", "anchor", "id").order_by(table.c.row_id), table.c.anchor, sorted(anchors)
    )
    return {(row[0], row[1]): row[2] for row in rows}


async def members(reader: Reader, identity_ids: Collection[str] | None) -> list[tuple[Any, ...]]:
    """row_id, identity_id, group_id, provenance of the open memberships of these people (None: of everybody)."""
    table = people.group_membership
    statement = reader.open(table, "row_id", "identity_id", "group_id", "provenance")
    if identity_ids is None:
        return await reader.tuples(statement)
    return await reader.tuples_by_keys(statement, table.c.identity_id, sorted(identity_ids))


async def inhabited(reader: Reader, group_ids: Collection[str]) -> set[str]:
    """Those of these groups that somebody is in."""
    table = people.group_membership
    statement = reader.open(table, "group_id").distinct()
    return {row[0] for row in await reader.tuples_by_keys(statement, table.c.group_id, sorted(group_ids))}


async def active_in(reader: Reader, group_ids: Collection[str]) -> dict[str, int]:
    """Group id → active people in it."""
    table = people.group_membership
    active = reader.open(people.identity, "id").where(people.identity.c.state == IdentityState.ACTIVE.value)
    rows = reader.open(table, "group_id").where(table.c.identity_id.in_(active)).add_columns(func.count())
    found = await reader.tuples_by_keys(rows.group_by(table.c.group_id), table.c.group_id, sorted(group_ids))
    return {row[0]: int(row[1]) for row in found}


async def begin_groups(book: Book, rows: Sequence[tuple[str, str, str, str, str]]) -> None:
    """Rows: id, source_id, anchor, dn, name."""
    await book.begin(people.directory_group, GROUP, rows)


async def end_groups(book: Book, row_ids: Sequence[str]) -> None:
    """End group rows: renamed or moved (then a newer row begins), or kept by nobody any more."""
    await book.end(people.directory_group, row_ids)


async def reopen_groups(book: Book, group_ids: Collection[str]) -> None:
    """Begin the last row again of those of these groups that are no longer kept: an undo puts people back into them."""
    table = people.directory_group
    statement = book.select(table, "valid_to", *GROUP).order_by(table.c.valid_from, table.c.row_id)
    last = {row[1]: row for row in await book.tuples_by_keys(statement, table.c.id, sorted(group_ids))}
    await begin_groups(book, [row[1:] for row in last.values() if row[0] is not None])


async def begin_members(book: Book, rows: Sequence[tuple[str, str, str, str]]) -> None:
    """Rows: identity_id, group_id, provenance, cause."""
    await book.begin(people.group_membership, _MEMBER, rows)


async def end_members(book: Book, row_ids: Sequence[str]) -> None:
    """End memberships of groups."""
    await book.end(people.group_membership, row_ids)


async def names(reader: Reader, group_ids: Collection[str]) -> dict[str, str]:
    """Group id → what it is called, or was called last."""
    table = people.directory_group
    statement = reader.select(table, "id", "name").order_by(table.c.valid_from, table.c.row_id)
    return dict(await reader.tuples_by_keys(statement, table.c.id, sorted(group_ids)))


async def groups_page(reader: Reader, after: str, limit: int) -> list[Any]:
    """Up to ``limit`` kept groups behind the id ``after``: id, source_id, anchor, dn, name, valid_from, members."""
    table, rows = people.directory_group, people.group_membership
    count = (
        select(func.count())
        .where(rows.c.organization_id == table.c.organization_id, rows.c.group_id == table.c.id)
        .where(rows.c.valid_to.is_(None))
        .scalar_subquery()
    )
    statement = reader.open(table, *GROUP, "valid_from").where(table.c.id > after).add_columns(count.label("members"))
    return list(await reader.all(statement.order_by(table.c.id).limit(limit)))


async def group(reader: Reader, group_id: str) -> Any | None:
    """The open row of one kept group, all columns, or None."""
    return await reader.first(reader.open(people.directory_group).where(people.directory_group.c.id == group_id))


async def members_page(reader: Reader, group_id: str, after: tuple[str, str] | None, limit: int) -> list[Any]:
    """Members of a kept group behind (mail key, id): id, mail, mail_key, display_name, state, provenance, cause,
    valid_from of the membership."""
    table, rows = people.identity, people.group_membership
    inside = reader.open(rows, "identity_id", "provenance", "cause", "valid_from").where(rows.c.group_id == group_id)
    found = inside.subquery()
    statement = (
        reader.open(table, "id", "mail", "mail_key", "display_name", "state")
        .join(found, found.c.identity_id == table.c.id)
        .add_columns(found.c.provenance, found.c.cause, found.c.valid_from)
    )
    if after is not None:
        mail, identity = after
        statement = statement.where(or_(table.c.mail_key > mail, (table.c.mail_key == mail) & (table.c.id > identity)))
    return list(await reader.all(statement.order_by(table.c.mail_key, table.c.id).limit(limit)))


async def touched_by(reader: Reader, run_id: str) -> Mapping[str, list[Any]]:
    """Memberships that one run began or ended, as ``people.touched_by``: ``groups``."""
    table = people.group_membership
    statement = reader.select(table).where(or_(table.c.run_id == run_id, table.c.ended_run == run_id))
    return {"groups": list(await reader.all(statement.order_by(table.c.row_id)))}


async def open_of(reader: Reader, identity_ids: Sequence[str]) -> Mapping[str, list[Any]]:
    """Open memberships of these people, by the same name."""
    table = people.group_membership
    return {"groups": list(await reader.by_keys(reader.open(table), table.c.identity_id, list(identity_ids)))}


async def history_of(reader: Reader, identity_id: str) -> list[Any]:
    """Every membership of one person, open or ended, oldest first."""
    table = people.group_membership
    statement = reader.select(table).where(table.c.identity_id == identity_id)
    return list(await reader.all(statement.order_by(table.c.valid_from, table.c.row_id)))
