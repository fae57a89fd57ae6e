"""The rows of some people, by key: what planning for a part of an organization needs (D13, D14).

Prohibition: decides nothing; who belongs to the part is said by ``connector/reconcile/reading/affected.py``. Rows are
plain tuples, as the function of the same name without ``_of`` in ``people`` and ``seats`` gives them for everybody.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select, tuple_

from ledger.identity import IdentityState
from ledger.store import people as whole
from ledger.store.book import Reader
from ledger.store.seats import GRANT_READ, SEAT, WAITING_READ
from ledger.store.tables import people, seats

Rows = list[tuple[Any, ...]]


async def identities_of(reader: Reader, ids: Collection[str]) -> Rows:
    """Raw, by identity id."""
    statement = reader.open(people.identity, "row_id", *whole.IDENTITY)
    return await reader.tuples_by_keys(statement, people.identity.c.id, sorted(ids), raw=True)


async def ids_by_mail(reader: Reader, keys: Collection[str]) -> set[str]:
    """Identities with these mail keys, removed ones included."""
    statement = reader.open(people.identity, "id")
    return {row[0] for row in await reader.tuples_by_keys(statement, people.identity.c.mail_key, sorted(keys))}


async def ids_by_number(reader: Reader, numbers: Collection[str]) -> set[str]:
    """Identities with these employee numbers."""
    statement = reader.open(people.identity, "id")
    column = people.identity.c.employee_number
    return {row[0] for row in await reader.tuples_by_keys(statement, column, sorted(numbers))}


async def links_of_anchors(reader: Reader, source_id: str, anchors: Collection[str]) -> Rows:
    """As ``people.directory_links``, by anchor of one source."""
    statement = _links(reader).where(people.identity_link.c.source_id == source_id)
    return await reader.tuples_by_keys(statement, people.identity_link.c.anchor, sorted(anchors))


async def links_of(reader: Reader, ids: Collection[str]) -> Rows:
    """As ``people.directory_links``, by identity."""
    return await reader.tuples_by_keys(_links(reader), people.identity_link.c.identity_id, sorted(ids))


def _links(reader: Reader) -> Any:
    columns = ("row_id", "identity_id", "source_id", "anchor", "fingerprint")
    return reader.open(people.identity_link, *columns).where(people.identity_link.c.kind == "directory")


async def signed_in_of(reader: Reader, ids: Collection[str]) -> frozenset[str]:
    """Those of them who are bound to a SAML subject."""
    statement = reader.open(people.identity_link, "identity_id").where(people.identity_link.c.kind == "saml")
    rows = await reader.tuples_by_keys(statement, people.identity_link.c.identity_id, sorted(ids))
    return frozenset(row[0] for row in rows)


async def memberships_of(reader: Reader, ids: Collection[str]) -> Rows:
    """By identity."""
    statement = reader.open(people.team_membership, "row_id", "identity_id", "team_id", "provenance")
    return await reader.tuples_by_keys(statement, people.team_membership.c.identity_id, sorted(ids))


async def membership_causes_of(reader: Reader, ids: Collection[str]) -> Rows:
    """By identity."""
    statement = reader.open(people.team_membership, "identity_id", "provenance", "cause")
    return await reader.tuples_by_keys(statement, people.team_membership.c.identity_id, sorted(ids))


async def seats_of(reader: Reader, ids: Collection[str]) -> Rows:
    """By identity."""
    return await reader.tuples_by_keys(reader.open(seats.seat, "row_id", *SEAT), seats.seat.c.identity_id, sorted(ids))


async def grants_of(reader: Reader, ids: Collection[str]) -> Rows:
    """By identity."""
    statement = reader.open(seats.seat_grant, *GRANT_READ)
    return await reader.tuples_by_keys(statement, seats.seat_grant.c.identity_id, sorted(ids))


async def waiting_of(reader: Reader, ids: Collection[str]) -> Rows:
    """By identity."""
    statement = reader.open(seats.waiting, *WAITING_READ)
    return await reader.tuples_by_keys(statement, seats.waiting.c.identity_id, sorted(ids))


async def waiting_pools(reader: Reader) -> set[tuple[str, str]]:
    """(Team id, offering code) of every pool that somebody waits for."""
    return {
        (row[0], row[1])
        for row in await reader.tuples(reader.open(seats.waiting, "team_id", "offering_code").distinct())
    }


async def waiting_in(reader: Reader, pools: Collection[tuple[str, str]]) -> set[str]:
    """Everybody who waits for a seat of one of these pools."""
    pair = tuple_(seats.waiting.c.team_id, seats.waiting.c.offering_code)
    rows = await reader.tuples_by_keys(reader.open(seats.waiting, "identity_id"), pair, sorted(pools))
    return {row[0] for row in rows}


async def seats_due(reader: Reader, now: datetime) -> set[str]:
    """Identities with a paused seat whose release is due."""
    statement = reader.open(seats.seat, "identity_id").where(seats.seat.c.release_due_at <= now)
    return {row[0] for row in await reader.tuples(statement)}


async def seat_counts(reader: Reader) -> dict[tuple[str, str, str], int]:
    """(subscription id, Team id, offering code) → open seats of the whole organization."""
    columns = (seats.seat.c.subscription_id, seats.seat.c.team_id, seats.seat.c.offering_code)
    statement = reader.open(seats.seat, *(column.name for column in columns)).add_columns(func.count())
    return {(row[0], row[1], row[2]): int(row[3]) for row in await reader.tuples(statement.group_by(*columns))}


async def active_in(
    reader: Reader, teams: Collection[str], provenances: Collection[str]
) -> tuple[int, dict[str, int], dict[str, int]]:
    """Active people now: of the organization; by Team id; by provenance. Only memberships in these Teams, or of these
    provenances, are counted."""
    active = reader.open(people.identity, "id").where(people.identity.c.state == IdentityState.ACTIVE.value)
    total = await reader.scalar(select(func.count()).select_from(active.subquery()))
    chosen = or_(
        people.team_membership.c.team_id.in_(sorted(teams)),
        people.team_membership.c.provenance.in_(sorted(provenances)),
    )
    statement = reader.open(people.team_membership, "identity_id", "team_id", "provenance").where(
        chosen, people.team_membership.c.identity_id.in_(active)
    )
    rows = statement.subquery()
    found: list[Mapping[str, int]] = []
    for column in (rows.c.team_id, rows.c.provenance):
        counted = select(column, func.count(rows.c.identity_id.distinct())).group_by(column)
        found.append({str(row[0]): int(row[1]) for row in await reader.tuples(counted)})
    return int(total or 0), dict(found[0]), dict(found[1])
