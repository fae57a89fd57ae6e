"""By which names directory groups list people, and groups inside them: set-based reads and writes over a handle (E3).

Prohibition: decides nothing. ``listed`` is an identity, or ``group:<anchor>``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from hashlib import blake2b
from typing import Any

from ledger.store.book import Book, Reader
from ledger.store.tables import people

Listed = tuple[str, str]
"""(source id, listed)."""
Names = Mapping[str, frozenset[str]]
"""Name → anchors of the groups that list it."""

_COLUMNS = ("source_id", "listed", "name", "groups")
_GROUPS, _AFTER_GROUPS = "group:", "group;"


async def known(reader: Reader, identities: Collection[str] | None) -> dict[Listed, dict[str, frozenset[str]]]:
    """The edges of every group and of these identities (None: of everybody)."""
    table = people.edge
    statement = reader.open(table, *_COLUMNS)
    if identities is None:
        rows = await reader.tuples(statement)
    else:
        inside = (table.c.listed >= _GROUPS) & (table.c.listed < _AFTER_GROUPS)
        rows = await reader.tuples(statement.where(inside))
        rows += await reader.tuples_by_keys(statement, table.c.listed, sorted(identities))
    sets = await _sets(reader, {row[3] for row in rows})
    found: dict[Listed, dict[str, frozenset[str]]] = {}
    for source_id, listed, name, key in rows:
        found.setdefault((source_id, _read(listed)), {})[_read(name)] = sets[key]
    return found


async def replace(book: Book, changed: Mapping[Listed, Names], before: Mapping[Listed, Names]) -> None:
    """Make ``changed`` what is known of these; ``before``: what was."""
    table = people.edge
    sets = {groups for names in changed.values() for groups in names.values()}
    keys = {groups: key_of(groups) for groups in sets}
    new = {(source_id, _stored(listed), _stored(name)): keys[groups]
           for (source_id, listed), names in changed.items() for name, groups in names.items()}  # fmt: skip
    had = sorted({_stored(listed) for source_id, listed in changed if before.get((source_id, listed))})
    rows = await book.tuples_by_keys(book.open(table, "row_id", *_COLUMNS), table.c.listed, had)
    ended = []
    for row_id, source_id, listed, name, key in rows:
        if (source_id, _read(listed)) not in changed:
            continue
        if new.get((source_id, listed, name)) == key:
            del new[source_id, listed, name]
        else:
            ended.append(row_id)
    await book.end(table, ended)
    stored = [{"id": key, "anchors": sorted(groups)} for groups, key in keys.items()]
    if stored:
        await book.upsert(people.edge_groups, ("id",), stored)
    rows = sorted((*place, key) for place, key in new.items())  # into the index from its one end to the other
    await book.begin(table, _COLUMNS, rows)


def key_of(groups: Collection[str]) -> str:
    """The id of a set of groups: equal sets share it."""
    return blake2b("\0".join(sorted(groups)).encode(), digest_size=16).hexdigest()


def _stored(text: str) -> str:
    """As it can be stored: a member value may be anything, and PostgreSQL's text takes no zero character."""
    return text.replace("%", "%25").replace("\0", "%00")


def _read(text: str) -> str:
    return text.replace("%00", "\0").replace("%25", "%")


async def _sets(reader: Reader, keys: set[str]) -> dict[str, frozenset[str]]:
    table = people.edge_groups
    rows: list[tuple[Any, ...]] = await reader.tuples_by_keys(
        reader.select(table, "id", "anchors"), table.c.id, sorted(keys)
    )
    return {row[0]: frozenset(row[1]) for row in rows}
