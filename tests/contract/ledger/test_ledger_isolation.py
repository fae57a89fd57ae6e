"""A handle bound to one organization never sees, changes or ends another's rows (design.md §1, Tenancy)."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from ledger.errors import Stale
from ledger.store.engine import Ledger
from ledger.store.tables import people
from tests.parts.fences import ALONE

TEAM = ("id", "name", "name_key")
ORGANIZATION = {"report_zone": "UTC"}


async def test_the_same_keys_live_side_by_side(ledger: Ledger, now: datetime) -> None:
    for organization in ("acme", "globex"):
        async with ledger.write(organization, ALONE, at=now) as book:
            await book.begin(people.team, TEAM, [("t1", organization, organization)])
            await book.upsert(people.organization, [], [{**ORGANIZATION, "name": organization, "created_at": now}])
    for organization in ("acme", "globex"):
        async with ledger.read(organization) as reader:
            assert await reader.tuples(reader.open(people.team, "organization_id", "name")) == [
                (organization, organization)
            ]
            assert await reader.tuples(reader.as_of(people.team, now, "name")) == [(organization,)]
            assert await reader.scalar(reader.select(people.organization, "name")) == organization


async def test_another_organizations_rows_cannot_be_ended_changed_or_deleted(ledger: Ledger, now: datetime) -> None:
    async with ledger.write("acme", ALONE, at=now) as book:
        row_ids = await book.begin(people.team, TEAM, [("t1", "A", "a")])
        await book.upsert(people.organization, [], [{**ORGANIZATION, "name": "Acme", "created_at": now}])
    with pytest.raises(Stale):
        async with ledger.write("globex", ALONE, at=now + timedelta(hours=1)) as book:
            await book.end(people.team, row_ids)
    async with ledger.write("globex", ALONE, at=now + timedelta(hours=1)) as book:
        assert await book.update(people.organization, {"name": "Mine"}) == 0
        assert await book.delete(people.organization) == 0
        assert await book.delete_keys(people.organization, ["name"], [("Acme",)]) == 0
        assert await book.insert_new(people.organization, [], {**ORGANIZATION, "name": "Globex", "created_at": now})
        assert await book.by_keys(book.select(people.team), people.team.c.row_id, row_ids) == []
    async with ledger.read("acme") as reader:
        assert await reader.scalar(reader.select(people.organization, "name")) == "Acme"
        assert len(await reader.all(reader.open(people.team))) == 1
