"""Offerings, subscriptions, seats, grants, the waitlist: set-based reads and writes over a handle.

Prohibition: decides nothing. Rows are plain tuples in the order each docstring states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import or_

from ledger.seat import Offering, OfferingKind, Subscription, Tier
from ledger.store.book import Book, Reader
from ledger.store.tables import seats

SEAT = (
    "id",
    "subscription_id",
    "team_id",
    "offering_code",
    "identity_id",
    "state",
    "paused_from",
    "release_due_at",
)
"""Columns of a seat row, in the order of ``begin_seats``."""
_GRANT = ("seat_id", "identity_id", "team_id", "provenance", "cause")
_WAITING = ("identity_id", "team_id", "offering_code", "provenance", "priority")
GRANT_READ = ("row_id", "seat_id", "team_id", "provenance")
"""Columns of a grant as planning reads it."""
WAITING_READ = ("row_id", *_WAITING, "valid_from")
"""Columns of a place on the waitlist as planning reads it."""
_OFFERING = ("code", "name", "kind", "eligible")
_SUBSCRIPTION = (
    "id",
    "team_id",
    "offering_code",
    "quantity",
    "tier",
    "starts_on",
    "ends_on",
    "renews",
    "contract_number",
)


async def open_offerings(reader: Reader) -> list[Offering]:
    """Every offering that is sold."""
    rows = await reader.tuples(reader.open(seats.offering, *_OFFERING))
    return [Offering(row[0], row[1], OfferingKind(row[2]), bool(row[3])) for row in rows]


async def open_subscriptions(reader: Reader) -> list[Subscription]:
    """Every subscription as it stands, whatever its term."""
    rows = await reader.tuples(reader.open(seats.subscription, *_SUBSCRIPTION))
    return [Subscription(row[0], row[1], row[2], row[3], Tier(row[4]), row[5], row[6], row[7]) for row in rows]


async def put_offering(book: Book, offering: Offering) -> bool:
    """Make or change an offering; says whether anything changed."""
    columns = ("row_id", *_OFFERING)
    found = await book.first(book.open(seats.offering, *columns).where(seats.offering.c.code == offering.code))
    row = (offering.code, offering.name, offering.kind.value, offering.eligible)
    if found is not None and tuple(found)[1:] == row:
        return False
    if found is not None:
        await book.end(seats.offering, [found[0]])
    await book.begin(seats.offering, _OFFERING, [row])
    return True


async def put_subscription(book: Book, subscription: Subscription, contract_number: str = "") -> bool:
    """Make or change a subscription; says whether anything changed."""
    columns = ("row_id", *_SUBSCRIPTION)
    chosen = seats.subscription.c.id == subscription.id
    found = await book.first(book.open(seats.subscription, *columns).where(chosen))
    item = subscription
    row = (
        *(item.id, item.team_id, item.offering_code, item.quantity, item.tier.value),
        *(item.starts_on, item.ends_on, item.renews, contract_number),
    )
    if found is not None and tuple(found)[1:] == row:
        return False
    if found is not None:
        await book.end(seats.subscription, [found[0]])
    await book.begin(seats.subscription, _SUBSCRIPTION, [row])
    return True


async def open_seats(reader: Reader) -> list[tuple[Any, ...]]:
    """row_id, id, subscription_id, team_id, offering_code, identity_id, state, paused_from, release_due_at."""
    return await reader.tuples(reader.open(seats.seat, "row_id", *SEAT))


async def open_grants(reader: Reader) -> list[tuple[Any, ...]]:
    """row_id, seat_id, team_id, provenance."""
    return await reader.tuples(reader.open(seats.seat_grant, *GRANT_READ))


async def open_waiting(reader: Reader) -> list[tuple[Any, ...]]:
    """row_id, identity_id, team_id, offering_code, provenance, priority, valid_from."""
    return await reader.tuples(reader.open(seats.waiting, *WAITING_READ))


async def begin_seats(book: Book, rows: Sequence[tuple[Any, ...]]) -> None:
    """Rows: id, subscription_id, team_id, offering_code, identity_id, state, paused_from, release_due_at."""
    await book.begin(seats.seat, SEAT, rows)


async def end_seats(book: Book, row_ids: Sequence[str]) -> None:
    """End seat rows: released, or replaced by a newer row."""
    await book.end(seats.seat, row_ids)


async def begin_grants(book: Book, rows: Sequence[tuple[str, str, str, str, str]]) -> None:
    """Rows: seat_id, identity_id, team_id, provenance, cause."""
    await book.begin(seats.seat_grant, _GRANT, rows)


async def end_grants(book: Book, row_ids: Sequence[str]) -> None:
    """End grants."""
    await book.end(seats.seat_grant, row_ids)


async def begin_waiting(book: Book, rows: Sequence[tuple[str, str, str, str, int]]) -> None:
    """Rows: identity_id, team_id, offering_code, provenance, priority."""
    await book.begin(seats.waiting, _WAITING, rows)


async def end_waiting(book: Book, row_ids: Sequence[str]) -> None:
    """End places on the waitlist."""
    await book.end(seats.waiting, row_ids)


async def history_of(reader: Reader, identity_id: str) -> Mapping[str, list[Any]]:
    """Every row, open or ended, about one person: ``seats``, ``grants``, ``waiting``; oldest first."""
    found: dict[str, list[Any]] = {}
    for name, table in (("seats", seats.seat), ("grants", seats.seat_grant), ("waiting", seats.waiting)):
        statement = reader.select(table).where(table.c.identity_id == identity_id)
        found[name] = list(await reader.all(statement.order_by(table.c.valid_from, table.c.row_id)))
    return found


async def touched_by(reader: Reader, run_id: str) -> Mapping[str, list[Any]]:
    """Rows that one run began or ended: ``seats``, ``grants``, ``waiting``."""
    found: dict[str, list[Any]] = {}
    for name, table in (("seats", seats.seat), ("grants", seats.seat_grant), ("waiting", seats.waiting)):
        statement = reader.select(table).where(or_(table.c.run_id == run_id, table.c.ended_run == run_id))
        found[name] = list(await reader.all(statement.order_by(table.c.row_id)))
    return found


async def open_of(reader: Reader, identity_ids: Sequence[str]) -> Mapping[str, list[Any]]:
    """Open rows about these people, by the same names as ``touched_by``."""
    found: dict[str, list[Any]] = {}
    for name, table, column in (
        ("seats", seats.seat, seats.seat.c.identity_id),
        ("grants", seats.seat_grant, seats.seat_grant.c.identity_id),
        ("waiting", seats.waiting, seats.waiting.c.identity_id),
    ):
        found[name] = list(await reader.by_keys(reader.open(table), column, list(identity_ids)))
    return found
