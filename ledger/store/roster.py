"""People, Teams and seats as administrators look at them: one person, one pool, pages in a stable order.

Reads only, but for the rows of a restriction (R16). Prohibition: decides nothing. Instants are aware datetimes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select

from ledger.identity import IdentityState
from ledger.store.book import Book, Reader
from ledger.store.tables import people, runs, seats

_PERSON = ("id", "mail", "mail_key", "given_name", "family_name", "display_name", "state", "employee_number")
_SEAT = ("id", "subscription_id", "team_id", "offering_code", "identity_id", "state", "release_due_at", "valid_from")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which people: empty means any. ``bound``: only people of these Teams exist for the asker; ``due``: those with
    such a due date, at ``due_before`` at the latest when that is given, and not removed, unless ``state`` says so."""

    mail_key: str = ""
    team_id: str = ""
    state: str = ""
    bound: Collection[str] = ()
    due: str = ""
    due_before: datetime | None = None


async def people_page(reader: Reader, wanted: Wanted, after: tuple[str, str] | None, limit: int) -> list[Any]:
    """Up to ``limit`` people behind (mail key, id), in that order; ``due_at`` is set when ``wanted.due`` is."""
    table = people.identity
    statement = reader.open(table, *_PERSON)
    if wanted.mail_key:
        statement = statement.where(table.c.mail_key == wanted.mail_key)
    if wanted.state:
        statement = statement.where(table.c.state == wanted.state)
    if wanted.team_id:
        statement = statement.where(_of_teams(reader, [wanted.team_id]))
    if wanted.bound:
        statement = statement.where(_of_teams(reader, wanted.bound))
    if wanted.due:
        due = reader.select(runs.due, "subject", "at").where(runs.due.c.kind == wanted.due).subquery()
        statement = statement.join(due, due.c.subject == table.c.id).add_columns(due.c.at.label("due_at"))
        if not wanted.state:  # nothing comes due for whoever is removed
            statement = statement.where(table.c.state != IdentityState.REMOVED.value)
        if wanted.due_before is not None:
            statement = statement.where(due.c.at <= wanted.due_before)
    if after is not None:
        statement = statement.where(_behind((table.c.mail_key, table.c.id), after))
    return list(await reader.all(statement.order_by(table.c.mail_key, table.c.id).limit(limit)))


def _of_teams(reader: Reader, teams: Collection[str]) -> ColumnElement[bool]:
    """Members of these Teams, holders of their seats, and those who wait for one."""
    found: list[Select[Any]] = []
    for table in (people.team_membership, seats.seat, seats.waiting):
        found.append(reader.open(table, "identity_id").where(table.c.team_id.in_(list(teams))))
    return or_(*(people.identity.c.id.in_(statement) for statement in found))


def _behind(columns: tuple[ColumnElement[str], ColumnElement[str]], after: tuple[str, str]) -> ColumnElement[bool]:
    first, second = columns
    return or_(first > after[0], (first == after[0]) & (second > after[1]))


async def person(reader: Reader, identity_id: str) -> Any | None:
    """The open identity row, all columns, or None."""
    return await reader.first(reader.open(people.identity).where(people.identity.c.id == identity_id))


async def roles_of(reader: Reader, identity_id: str) -> list[tuple[str, str]]:
    """(role, Team id) of the admin roles somebody holds."""
    statement = reader.open(people.admin_role, "role", "team_id")
    return [tuple(row) for row in await reader.all(statement.where(people.admin_role.c.identity_id == identity_id))]


async def due_of(reader: Reader, identity_id: str, kind: str) -> datetime | None:
    """When something of this kind is due for one person, or None."""
    chosen = (runs.due.c.subject == identity_id) & (runs.due.c.kind == kind)
    found: datetime | None = await reader.scalar(reader.select(runs.due, "at").where(chosen))
    return found


async def holder_of_entry(reader: Reader, source_id: str, anchor: str) -> Any | None:
    """The open directory link of an entry with its person: identity_id, row_id, mail; or None."""
    link, who = people.identity_link, people.identity
    chosen = (link.c.kind == "directory") & (link.c.source_id == source_id) & (link.c.anchor == anchor)
    mails = reader.open(who, "id", "mail").subquery()
    rows = reader.open(link, "identity_id", "row_id").where(chosen)
    return await reader.first(rows.outerjoin(mails, mails.c.id == link.c.identity_id).add_columns(mails.c.mail))


async def state_counts(reader: Reader) -> dict[str, int]:
    """State of an identity → people in it."""
    rows = reader.open(people.identity, "state").subquery()
    statement = select(rows.c.state, func.count()).group_by(rows.c.state)
    return {row[0]: int(row[1]) for row in await reader.tuples(statement)}


async def due_count(reader: Reader, kind: str) -> int:
    """For how many people who are not removed something of this kind is due."""
    table = people.identity
    rows = reader.select(runs.due, "subject").where(runs.due.c.kind == kind).subquery()
    there = reader.open(table, "id").where(table.c.state != IdentityState.REMOVED.value).subquery()
    joined = rows.join(there, there.c.id == rows.c.subject)
    return int(await reader.scalar(select(func.count()).select_from(joined)))


async def teams_of_each(reader: Reader, identity_ids: Sequence[str]) -> dict[str, list[str]]:
    """Identity → names of the Teams they are in, sorted."""
    names = {row[0]: row[1] for row in await reader.tuples(reader.open(people.team, "id", "name"))}
    table = people.team_membership
    statement = reader.open(table, "identity_id", "team_id").distinct()
    found: dict[str, list[str]] = {}
    for identity, team in await reader.tuples_by_keys(statement, table.c.identity_id, list(identity_ids)):
        found.setdefault(identity, []).append(names.get(team, team))
    return {identity: sorted(teams) for identity, teams in found.items()}


async def seats_of_each(reader: Reader, identity_ids: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Identity → (offering, state) of their seats, sorted."""
    table = seats.seat
    statement = reader.open(table, "identity_id", "offering_code", "state")
    found: dict[str, list[tuple[str, str]]] = {}
    for identity, offering, state in await reader.tuples_by_keys(statement, table.c.identity_id, list(identity_ids)):
        found.setdefault(identity, []).append((offering, state))
    return {identity: sorted(held) for identity, held in found.items()}


async def members_page(reader: Reader, team_id: str, after: tuple[str, str] | None, limit: int) -> list[Any]:
    """Members of a Team, one row per identity, by mail key: id, mail, mail_key, display_name, state."""
    member = reader.open(people.team_membership, "identity_id").where(people.team_membership.c.team_id == team_id)
    table = people.identity
    statement = reader.open(table, "id", "mail", "mail_key", "display_name", "state").where(table.c.id.in_(member))
    if after is not None:
        statement = statement.where(_behind((table.c.mail_key, table.c.id), after))
    return list(await reader.all(statement.order_by(table.c.mail_key, table.c.id).limit(limit)))


async def provenances(reader: Reader, team_id: str, identity_ids: Sequence[str]) -> dict[str, list[Any]]:
    """Identity → open membership rows in one Team."""
    table = people.team_membership
    statement = reader.open(table).where(table.c.team_id == team_id).order_by(table.c.provenance)
    found: dict[str, list[Any]] = {}
    for row in await reader.by_keys(statement, table.c.identity_id, list(identity_ids)):
        found.setdefault(row.identity_id, []).append(row)
    return found


async def member_counts(reader: Reader) -> dict[str, int]:
    """Team id → people in it."""
    rows = reader.open(people.team_membership, "team_id", "identity_id").distinct().subquery()
    statement = select(rows.c.team_id, func.count()).group_by(rows.c.team_id)
    return {row[0]: int(row[1]) for row in await reader.tuples(statement)}


async def seats_page(reader: Reader, teams: Collection[str], offering: str, after: str, limit: int) -> list[Any]:
    """Open seats behind the seat id ``after``, with the holder's mail; ``teams`` empty: of every Team."""
    table, who = seats.seat, people.identity
    mails = reader.open(who, "id", "mail").subquery()
    statement = reader.open(table, *_SEAT).join(mails, mails.c.id == table.c.identity_id).add_columns(mails.c.mail)
    if teams:
        statement = statement.where(table.c.team_id.in_(list(teams)))
    if offering:
        statement = statement.where(table.c.offering_code == offering)
    if after:
        statement = statement.where(table.c.id > after)
    return list(await reader.all(statement.order_by(table.c.id).limit(limit)))


async def grants_of(reader: Reader, seat_ids: Sequence[str]) -> dict[str, list[Any]]:
    """Seat id → open grants."""
    table = seats.seat_grant
    found: dict[str, list[Any]] = {}
    for row in await reader.by_keys(reader.open(table), table.c.seat_id, list(seat_ids)):
        found.setdefault(row.seat_id, []).append(row)
    return found


async def seat_counts(reader: Reader) -> dict[tuple[str, str, str], int]:
    """(Team id, offering, subscription id) → open seats."""
    rows = reader.open(seats.seat, "team_id", "offering_code", "subscription_id").subquery()
    columns = (rows.c.team_id, rows.c.offering_code, rows.c.subscription_id)
    return {
        tuple(row[:3]): int(row[3]) for row in await reader.tuples(select(*columns, func.count()).group_by(*columns))
    }


async def waiting_counts(reader: Reader) -> dict[tuple[str, str], int]:
    """(Team id, offering) → people who wait."""
    rows = reader.open(seats.waiting, "team_id", "offering_code", "identity_id").distinct().subquery()
    statement = select(rows.c.team_id, rows.c.offering_code, func.count()).group_by(
        rows.c.team_id, rows.c.offering_code
    )
    return {(row[0], row[1]): int(row[2]) for row in await reader.tuples(statement)}


async def restrictions(reader: Reader) -> Mapping[str, Any]:
    """Team id → the open restriction: row_id, actor, reason, valid_from (R16)."""
    table = people.team_restriction
    rows = await reader.all(reader.open(table, "row_id", "team_id", "actor", "reason", "valid_from"))
    return {row.team_id: row for row in rows}


async def begin_restriction(book: Book, team_id: str, actor: str, reason: str) -> None:
    """A Team is restricted from now on."""
    await book.begin(people.team_restriction, ("team_id", "actor", "reason"), [(team_id, actor, reason)])


async def end_restriction(book: Book, row_id: str) -> None:
    """A restriction ends now."""
    await book.end(people.team_restriction, [row_id])
