"""The witness on both databases: append, seal, verify, erase; every kind of tampering is named with its row."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from ledger.audit import AuditEvent, Head, event_digest, payload_digest
from ledger.store import audit
from ledger.store.engine import Ledger
from ledger.store.tables import audit as tables
from tests.parts.fences import ALONE

EVENTS, PAYLOADS, SEALS = tables.audit_event, tables.audit_payload, tables.audit_seal


async def written(ledger: Ledger, now: datetime, count: int = 6, organization: str = "acme") -> Head:
    async with ledger.write(organization, ALONE, at=now, run_id="r1") as book:
        events = [
            AuditEvent("system:rosterd", "bundle.applied", f"i{n}", changes=[{"kind": "Invite", "mail": f"a{n}@x.pl"}])
            for n in range(1, count + 1)
        ]
        assert await audit.append(book, events) == range(1, count + 1)
    async with ledger.write(organization, ALONE, at=now) as book:
        head = await audit.seal(book)
    assert head is not None
    return head


async def test_what_was_written_verifies(ledger: Ledger, now: datetime) -> None:
    head = await written(ledger, now)
    await written(ledger, now, 2, "globex")
    async with ledger.write("acme", ALONE, at=now + timedelta(hours=1)) as book:
        assert await audit.append(book, [AuditEvent("operator:ewa", "held.approved", "9f3c", reason="checked")])
        assert await audit.append(book, []) == range(0)
    async with ledger.read("acme") as reader:
        found = await audit.verify(reader, head)
    assert (found.ok, found.events, found.sealed_through, found.head) == (True, 7, 6, head)
    assert found.to_json()["broken"] is None


async def test_sealing_goes_on_from_the_last_head_and_says_the_same_twice(ledger: Ledger, now: datetime) -> None:
    async with ledger.write("acme", ALONE, at=now) as book:
        assert await audit.seal(book) is None
    first = await written(ledger, now)
    async with ledger.write("acme", ALONE, at=now) as book:
        assert await audit.seal(book) == first
        await audit.append(book, [AuditEvent("a", "v", "s")])
        second = await audit.seal(book)
    assert second is not None
    assert (second.seq, second.head != first.head) == (7, True)
    async with ledger.read("acme") as reader:
        assert (await audit.verify(reader, first)).ok
        assert (await audit.verify(reader, second)).ok


async def test_an_aborted_write_leaves_no_gap(ledger: Ledger, now: datetime) -> None:
    async def write_and_fail() -> None:
        async with ledger.write("acme", ALONE, at=now) as book:
            await audit.append(book, [AuditEvent("a", "v", "s")])
            raise LookupError

    with pytest.raises(LookupError):
        await write_and_fail()
    await written(ledger, now)
    async with ledger.read("acme") as reader:
        assert (await audit.verify(reader)).ok


async def test_erasing_a_subject_keeps_the_chain(ledger: Ledger, now: datetime) -> None:
    head = await written(ledger, now)
    async with ledger.write("acme", ALONE, at=now) as book:
        assert await audit.purge_payloads(book, ["i2", "i5", "nobody"]) == 2
    async with ledger.read("acme") as reader:
        found = await audit.verify(reader, head)
        texts = await reader.tuples(reader.select(PAYLOADS, "payload"))
    assert (found.ok, found.erased) == (True, 2)
    assert not any("a2@x.pl" in text for (text,) in texts)


def forged(row: Any, **changes: Any) -> dict[str, Any]:
    """A row changed by somebody who also recomputes its digest."""
    values = {**row._mapping, **changes}
    names = ("organization_id", "seq", "at", "actor", "verb", "subject", "run_id", "plan_digest", "payload_digest")
    micros = int(values["at"].timestamp()) * 1_000_000
    return {**values, "digest": event_digest([micros if name == "at" else values[name] for name in names])}


Tampering = Callable[[Any], list[Any]]
TAMPERINGS: dict[str, tuple[Tampering, int, str]] = {
    "changed row": (lambda row: [update(EVENTS).where(EVENTS.c.seq == 3).values(actor="nobody")], 3, "changed"),
    "deleted row": (lambda row: [delete(EVENTS).where(EVENTS.c.seq == 3)], 3, "deleted"),
    "deleted first row": (lambda row: [delete(EVENTS).where(EVENTS.c.seq == 1)], 1, "deleted"),
    "inserted before": (lambda row: [insert(EVENTS).values(forged(row, seq=0))], 0, "inserted"),
    "inserted behind": (lambda row: [insert(EVENTS).values({**row._mapping, "seq": 7})], 7, "changed"),
    "changed payload": (
        lambda row: [update(PAYLOADS).where(PAYLOADS.c.seq == 3).values(payload="{}")],
        3,
        "its payload was changed",
    ),
    "rewritten row": (
        lambda row: [delete(EVENTS).where(EVENTS.c.seq == 3), insert(EVENTS).values(forged(row, actor="nobody"))],
        1,
        "rewritten together with its digest",
    ),
    "truncated tail": (lambda row: [delete(EVENTS).where(EVENTS.c.seq >= 5)], 5, "the tail was cut off"),
    "truncated tail with its seal": (
        lambda row: [delete(EVENTS).where(EVENTS.c.seq >= 5), delete(SEALS)],
        5,
        "a head at 6 was exported",
    ),
    "everything deleted": (lambda row: [delete(EVENTS), delete(SEALS), delete(PAYLOADS)], 1, "the tail was cut off"),
    "changed seal": (lambda row: [update(SEALS).values(head="0" * 64)], 1, "rewritten together with its digest"),
}


@pytest.mark.parametrize("kind", TAMPERINGS)
async def test_tampering_is_named_with_the_first_broken_row(ledger: Ledger, now: datetime, kind: str) -> None:
    tamper, seq, what = TAMPERINGS[kind]
    head = await written(ledger, now)
    async with ledger.unscoped_write() as connection:
        row = (await connection.execute(select(EVENTS).where(EVENTS.c.seq == 3))).one()
        for statement in tamper(row):
            await connection.execute(statement)
    async with ledger.read("acme") as reader:
        found = await audit.verify(reader, head)
    assert found.broken is not None
    assert (found.broken.seq, what in found.broken.what) == (seq, True), found.broken


async def test_a_chain_rewritten_whole_does_not_match_the_exported_head(ledger: Ledger, now: datetime) -> None:
    head = await written(ledger, now)
    async with ledger.unscoped_write() as connection:
        for table in (EVENTS, PAYLOADS, SEALS):
            await connection.execute(delete(table))
    await written(ledger, now + timedelta(seconds=1))
    async with ledger.read("acme") as reader:
        assert (await audit.verify(reader)).ok
        found = await audit.verify(reader, head)
    assert found.broken is not None
    assert "exported" in found.broken.what


async def test_a_payload_that_was_swapped_with_its_salt_is_found(ledger: Ledger, now: datetime) -> None:
    await written(ledger, now)
    async with ledger.unscoped_write() as connection:
        row = (await connection.execute(select(PAYLOADS).where(PAYLOADS.c.seq == 2))).one()
        assert payload_digest(row.salt, row.payload.encode())
        await connection.execute(update(PAYLOADS).where(PAYLOADS.c.seq == 4).values(salt=row.salt, payload=row.payload))
    async with ledger.read("acme") as reader:
        found = await audit.verify(reader)
    assert found.broken is not None
    assert found.broken.seq == 4


async def test_many_events_in_several_seals_verify(ledger: Ledger, now: datetime) -> None:
    head = await written(ledger, now, 20_500)
    async with ledger.read("acme") as reader:
        found = await audit.verify(reader, head)
        seals = await reader.tuples(reader.select(SEALS, "from_seq", "to_seq").order_by("to_seq"))
    assert (found.ok, found.events, seals) == (True, 20_500, [(1, 10_000), (10_001, 20_000), (20_001, 20_500)])
