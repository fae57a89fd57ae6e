"""What reports look back on: whole histories of Teams, seats, subscriptions, offerings and people, read only.

Prohibition: writes nothing; judges nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Table, or_

from ledger.store.book import Reader
from ledger.store.tables import people, seats


@dataclass(frozen=True, slots=True)
class Histories:
    """Interval rows, ended ones included, oldest first; each has ``valid_from`` and ``valid_to``."""

    teams: Sequence[Any]
    offerings: Sequence[Any]
    subscriptions: Sequence[Any]
    seats: Sequence[Any]
    grants: Sequence[Any]
    identities: Sequence[Any]


async def read_histories(reader: Reader) -> Histories:
    """Everything the dimension datasets are made from, in one snapshot. Of people only the open rows."""
    times = ("valid_from", "valid_to")
    identity = reader.open(people.identity, "id", "state", "attributes", *times).order_by(people.identity.c.id)
    return Histories(
        teams=await _all(reader, people.team, "id", "name", *times),
        offerings=await _all(reader, seats.offering, "code", "name", "kind", "eligible", *times),
        subscriptions=await reader.all(reader.select(seats.subscription).order_by(seats.subscription.c.valid_from)),
        seats=await _all(
            reader,
            seats.seat,
            *("id", "subscription_id", "team_id", "offering_code", "identity_id", "state", *times),
        ),
        grants=await _all(reader, seats.seat_grant, "seat_id", "provenance", *times),
        identities=await reader.all(identity),
    )


async def team_members(reader: Reader, start: datetime, end: datetime) -> Sequence[Any]:
    """Memberships that overlap ``[start, end)``: identity_id, team_id, valid_from, valid_to."""
    return await _overlapping(reader, people.team_membership, ("identity_id", "team_id"), start, end)


async def seat_holders(reader: Reader, start: datetime, end: datetime) -> Sequence[Any]:
    """Seats that overlap ``[start, end)``: identity_id, offering_code, team_id, valid_from, valid_to."""
    return await _overlapping(reader, seats.seat, ("identity_id", "offering_code", "team_id"), start, end)


async def _all(reader: Reader, table: Table, *columns: str) -> Sequence[Any]:
    return await reader.all(reader.select(table, *columns).order_by(table.c.valid_from, table.c.row_id))


async def _overlapping(
    reader: Reader, table: Table, columns: Sequence[str], start: datetime, end: datetime
) -> Sequence[Any]:
    statement = reader.select(table, *columns, "valid_from", "valid_to").where(
        table.c.valid_from < end, or_(table.c.valid_to.is_(None), table.c.valid_to > start)
    )
    return await reader.all(statement)
