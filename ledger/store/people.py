"""Identities, links, Teams, roles, memberships: set-based reads and writes over a handle.

Prohibition: decides nothing. Rows are plain tuples in the order each docstring states; instants are microseconds, JSON
is canonical text where a docstring says *raw*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select

from ledger.identity import MANUAL, IdentityState
from ledger.store.book import Book, Reader
from ledger.store.tables import people

IDENTITY = (
    "id",
    "mail",
    "mail_key",
    "given_name",
    "family_name",
    "display_name",
    "state",
    "employee_number",
    "attributes",
)
"""Columns of an identity row, in the order of ``begin_identities``."""
_LINK = ("identity_id", "kind", "source_id", "anchor", "fingerprint")
_MEMBERSHIP = ("identity_id", "team_id", "provenance", "source_id", "cause")
_ROLE = ("identity_id", "role", "team_id", "provenance", "cause")
_DIRECTORY = "directory"
_SAML = "saml"


async def open_identities(reader: Reader) -> list[tuple[Any, ...]]:
    """Raw: row_id, id, mail, mail_key, given_name, family_name, display_name, state, employee_number, attributes."""
    return await reader.tuples(reader.open(people.identity, "row_id", *IDENTITY), raw=True)


async def identities_by_mail(reader: Reader, mail_key: str) -> list[tuple[Any, ...]]:
    """As ``open_identities``, of one address: a removed person may share it with a later one."""
    statement = reader.open(people.identity, "row_id", *IDENTITY).where(people.identity.c.mail_key == mail_key)
    return await reader.tuples(statement, raw=True)


async def directory_links(reader: Reader) -> list[tuple[Any, ...]]:
    """row_id, identity_id, source_id, anchor, fingerprint of every open directory link."""
    columns = ("row_id", "identity_id", "source_id", "anchor", "fingerprint")
    statement = reader.open(people.identity_link, *columns).where(people.identity_link.c.kind == _DIRECTORY)
    return await reader.tuples(statement)


async def active_links(reader: Reader) -> list[tuple[str, str, str, str]]:
    """identity_id, source_id, anchor, mail_key of every open directory link of somebody active."""
    active = reader.open(people.identity, "id", "mail_key").where(people.identity.c.state == IdentityState.ACTIVE.value)
    mails: dict[str, str] = {row[0]: row[1] for row in await reader.tuples(active)}
    rows = await directory_links(reader)
    return [(row[1], row[2], row[3], mails[row[1]]) for row in rows if row[1] in mails]


async def holders_of(reader: Reader, source_id: str, anchors: Sequence[str]) -> dict[str, str]:
    """Anchor of one source → mail address of the identity it is linked to, for those of ``anchors`` that are linked."""
    table = people.identity_link
    statement = reader.open(table, "anchor", "identity_id").where(
        table.c.kind == _DIRECTORY, table.c.source_id == source_id
    )
    links = {row.anchor: row.identity_id for row in await reader.by_keys(statement, table.c.anchor, list(anchors))}
    chosen = reader.open(people.identity, "id", "mail")
    mails = {row.id: row.mail for row in await reader.by_keys(chosen, people.identity.c.id, list({*links.values()}))}
    return {anchor: mails[identity] for anchor, identity in links.items() if identity in mails}


async def signed_in(reader: Reader) -> frozenset[str]:
    """Identities bound to a SAML subject: they have signed in at least once."""
    statement = reader.open(people.identity_link, "identity_id").where(people.identity_link.c.kind == _SAML)
    return frozenset(row[0] for row in await reader.tuples(statement))


async def open_memberships(reader: Reader) -> list[tuple[Any, ...]]:
    """row_id, identity_id, team_id, provenance of every open Team membership."""
    return await reader.tuples(reader.open(people.team_membership, "row_id", "identity_id", "team_id", "provenance"))


async def teams_of(reader: Reader, identity_id: str) -> list[str]:
    """Names of the Teams that somebody is in, in order."""
    team, membership = people.team, people.team_membership
    mine = reader.open(membership, "team_id").where(membership.c.identity_id == identity_id)
    rows = await reader.all(reader.open(team, "name").where(team.c.id.in_(mine)).order_by(team.c.name))
    return [row.name for row in rows]


async def membership_causes(reader: Reader) -> list[tuple[Any, ...]]:
    """identity_id, provenance, cause of every open Team membership."""
    return await reader.tuples(reader.open(people.team_membership, "identity_id", "provenance", "cause"))


async def open_teams(reader: Reader) -> list[tuple[Any, ...]]:
    """id, name, name_key of every Team."""
    return await reader.tuples(reader.open(people.team, "id", "name", "name_key"))


async def open_roles(reader: Reader) -> list[tuple[Any, ...]]:
    """row_id, identity_id, role, team_id of every admin role."""
    return await reader.tuples(reader.open(people.admin_role, "row_id", "identity_id", "role", "team_id"))


async def held_roles(reader: Reader) -> list[tuple[Any, ...]]:
    """row_id, identity_id, role, team_id, provenance of every admin role."""
    return await reader.tuples(reader.open(people.admin_role, "row_id", "identity_id", "role", "team_id", "provenance"))


async def absences(reader: Reader) -> list[tuple[Any, ...]]:
    """source_id, anchor, scope, first_absent_at."""
    return await reader.tuples(reader.select(people.absence, "source_id", "anchor", "scope", "first_absent_at"))


async def active_people(reader: Reader) -> int:
    """How many people are active now."""
    active = reader.open(people.identity, "id").where(people.identity.c.state == IdentityState.ACTIVE.value).subquery()
    return int(await reader.scalar(select(func.count()).select_from(active)) or 0)


async def populations(reader: Reader, at: datetime) -> tuple[int, dict[str, int], dict[str, int]]:
    """Active people at ``at``: of the organization, by Team id, by provenance."""
    counted = reader.as_of(people.identity, at, "id").where(people.identity.c.state == IdentityState.ACTIVE.value)
    active = counted.subquery()
    total = await reader.scalar(select(func.count()).select_from(active))
    rows = (
        reader.as_of(people.team_membership, at, "identity_id", "team_id", "provenance")
        .where(people.team_membership.c.identity_id.in_(select(active.c.id)))
        .subquery()
    )
    found: list[dict[str, int]] = []
    for column in (rows.c.team_id, rows.c.provenance):
        statement = select(column, func.count(rows.c.identity_id.distinct())).group_by(column)
        found.append({str(row[0]): int(row[1]) for row in await reader.tuples(statement)})
    return int(total or 0), found[0], found[1]


async def organization_name(reader: Reader) -> tuple[str, str] | None:
    """(name, report_zone) of the organization row, or None."""
    rows = await reader.tuples(reader.select(people.organization, "name", "report_zone"))
    return (str(rows[0][0]), str(rows[0][1])) if rows else None


async def put_organization(book: Book, name: str, report_zone: str) -> None:
    """Make or rename the organization row; ``created_at`` stays."""
    found = await organization_name(book)
    if found is None:
        row = {"name": name, "report_zone": report_zone, "created_at": book.at}
        await book.upsert(people.organization, (), [row])
    elif found != (name, report_zone):
        await book.update(people.organization, {"name": name, "report_zone": report_zone})


async def begin_identities(book: Book, rows: Sequence[tuple[Any, ...]]) -> None:
    """Rows: id, mail, mail_key, given_name, family_name, display_name, state, employee_number, attributes (a dict)."""
    await book.begin(people.identity, IDENTITY, rows)


async def end_identities(book: Book, row_ids: Sequence[str]) -> None:
    """End identity rows that a newer row replaces."""
    await book.end(people.identity, row_ids)


async def begin_links(book: Book, rows: Sequence[tuple[str, str, str, str]]) -> None:
    """Rows: identity_id, source_id, anchor, fingerprint (directory links)."""
    await book.begin(people.identity_link, _LINK, [(row[0], _DIRECTORY, *row[1:]) for row in rows])


async def end_links(book: Book, row_ids: Sequence[str]) -> None:
    """End links (relinked, or refreshed with a new fingerprint)."""
    await book.end(people.identity_link, row_ids)


async def begin_memberships(book: Book, rows: Sequence[tuple[str, str, str, str, str]]) -> None:
    """Rows: identity_id, team_id, provenance, source_id, cause."""
    await book.begin(people.team_membership, _MEMBERSHIP, rows)


async def end_memberships(book: Book, row_ids: Sequence[str]) -> None:
    """End Team memberships."""
    await book.end(people.team_membership, row_ids)


async def begin_teams(book: Book, rows: Sequence[tuple[str, str, str]]) -> None:
    """Rows: id, name, name_key."""
    await book.begin(people.team, ("id", "name", "name_key"), rows)


async def begin_roles(book: Book, rows: Sequence[tuple[str, str, str]]) -> None:
    """Rows: identity_id, role, team_id (empty: organization-wide)."""
    await book.begin(people.admin_role, ("identity_id", "role", "team_id"), rows)


async def begin_mapped_roles(book: Book, rows: Sequence[tuple[str, str, str, str, str]]) -> None:
    """Rows: identity_id, role, team_id (empty: organization-wide), provenance, cause."""
    await book.begin(people.admin_role, _ROLE, rows)


async def end_roles(book: Book, row_ids: Sequence[str]) -> None:
    """End admin roles."""
    await book.end(people.admin_role, row_ids)


async def note_absences(book: Book, rows: Sequence[tuple[str, str, str]], *, at: datetime) -> None:
    """Rows: source_id, anchor, scope that a complete reading, which ended ``at``, did not show for the first time."""
    same = {"first_absent_at": at, "last_absent_at": at, "first_run": book.run_id}
    await book.insert(people.absence, ("source_id", "anchor", "scope"), rows, same=same)


async def undone(reader: Reader) -> list[tuple[Any, ...]]:
    """identity_id, kind, mapping, rule of everything that an undo took back and that still counts (E14)."""
    return await reader.tuples(reader.select(people.undone, "identity_id", "kind", "mapping", "rule"))


async def mark_undone(book: Book, rows: Sequence[tuple[str, str, str, str]]) -> None:
    """Rows as ``undone`` reads them; an earlier mark of the same is replaced."""
    await clear_undone(book, [row[:3] for row in rows])
    same = {"undone_at": book.at, "run_id": book.run_id}
    await book.insert(people.undone, ("identity_id", "kind", "mapping", "rule"), rows, same=same)


async def clear_undone(book: Book, keys: Sequence[tuple[str, str, str]]) -> None:
    """Forget marks: (identity_id, kind, mapping)."""
    await book.delete_keys(people.undone, ("identity_id", "kind", "mapping"), keys)


async def clear_absences(book: Book, keys: Sequence[tuple[str, str, str]]) -> None:
    """Forget absences of what was seen again."""
    await book.delete_keys(people.absence, ("source_id", "anchor", "scope"), keys)


async def clear_absences_of(book: Book, identity_ids: Sequence[str]) -> None:
    """Forget every absence of these people: confirmation starts anew (after an undo)."""
    statement = book.open(people.identity_link, "source_id", "anchor")
    links = await book.by_keys(statement, people.identity_link.c.identity_id, list(identity_ids))
    await book.delete_keys(people.absence, ("source_id", "anchor"), [tuple(row) for row in links])


async def history_of(reader: Reader, identity_id: str) -> Mapping[str, list[Any]]:
    """Every row, open or ended, about one person: ``identity``, ``links``, ``memberships``,
    ``roles``; oldest first."""
    found: dict[str, list[Any]] = {}
    for name, table, column in (
        ("identity", people.identity, people.identity.c.id),
        ("links", people.identity_link, people.identity_link.c.identity_id),
        ("memberships", people.team_membership, people.team_membership.c.identity_id),
        ("roles", people.admin_role, people.admin_role.c.identity_id),
    ):
        statement = reader.select(table).where(column == identity_id).order_by(table.c.valid_from, table.c.row_id)
        found[name] = list(await reader.all(statement))
    return found


async def touched_by(reader: Reader, run_id: str) -> Mapping[str, list[Any]]:
    """Rows that one run began or ended, ended ones included: ``identity``, ``links``, ``memberships``, and ``roles``
    (those that a mapping granted)."""
    found: dict[str, list[Any]] = {}
    for name, table in (
        ("identity", people.identity),
        ("links", people.identity_link),
        ("memberships", people.team_membership),
    ):
        statement = reader.select(table).where(or_(table.c.run_id == run_id, table.c.ended_run == run_id))
        found[name] = list(await reader.all(statement.order_by(table.c.row_id)))
    mapped = reader.select(people.admin_role).where(people.admin_role.c.provenance != MANUAL)
    mine = or_(people.admin_role.c.run_id == run_id, people.admin_role.c.ended_run == run_id)
    found["roles"] = list(await reader.all(mapped.where(mine).order_by(people.admin_role.c.row_id)))
    return found


async def open_of(reader: Reader, identity_ids: Sequence[str]) -> Mapping[str, list[Any]]:
    """Open rows about these people, by the same names as ``touched_by``."""
    found: dict[str, list[Any]] = {}
    for name, table, column in (
        ("identity", people.identity, people.identity.c.id),
        ("links", people.identity_link, people.identity_link.c.identity_id),
        ("memberships", people.team_membership, people.team_membership.c.identity_id),
        ("roles", people.admin_role, people.admin_role.c.identity_id),
    ):
        found[name] = list(await reader.by_keys(reader.open(table), column, list(identity_ids)))
    return found
