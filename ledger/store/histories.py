"""What reports look back on: whole histories of Teams, seats, subscriptions, offerings and people, read only; and
whether every history runs forward.

Prohibition: writes nothing; repairs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Table, func, literal, or_, select

from ledger.counted import counted
from ledger.store.book import Reader
from ledger.store.tables import metadata, people, seats

_FOREVER = 2**63 - 1


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


async def backward(reader: Reader) -> list[str]:
    """Whether intervals partition time, as the constraint of every table and the book's time imply.

    One line per table with intervals that run backwards or overlap; empty when there are none.
    """
    found = []
    for table in metadata.sorted_tables:
        if "valid_to" in table.c:
            wrong = await _wrong(reader, table)
            if wrong:
                found.append(f"{table.name}: {counted(wrong, 'row')} running backwards or overlapping")
    return found


async def _wrong(reader: Reader, table: Table) -> int:
    index = next(index for index in table.indexes if index.name == f"uq_{table.name}_open")
    until = func.coalesce(table.c.valid_to, literal(_FOREVER, BigInteger))
    # by the book's own time: row ids were made by hosts, whose clocks may differ
    reached = func.lag(until).over(partition_by=list(index.columns), order_by=[table.c.valid_from, until])
    spans = reader.select(table, "valid_from", "valid_to").add_columns(reached.label("reached")).subquery()
    wrong = (spans.c.valid_to < spans.c.valid_from) | (spans.c.reached > spans.c.valid_from)
    return int(await reader.scalar(select(func.count()).select_from(spans).where(wrong)))
