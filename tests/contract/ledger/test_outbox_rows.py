"""The outbox on both databases: written with the change, claimed by one, told at least once, erased in the end."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from ledger.errors import Stale
from ledger.store import outbox
from ledger.store.engine import Ledger
from ledger.store.outbox import Message
from ledger.store.tables import audit
from tests.parts.fences import ALONE

HOLD = timedelta(minutes=5)


async def written(ledger: Ledger, now: datetime, count: int = 1, organization: str = "acme") -> list[str]:
    async with ledger.write(organization, ALONE, at=now, run_id="r1") as book:
        return await outbox.append(book, [Message("invite.mail", f"i{n}", {"mail": "łódź@x.pl"}) for n in range(count)])


async def test_a1_a_message_is_written_with_its_change_or_not_at_all(ledger: Ledger, now: datetime) -> None:
    async def write_and_fail() -> None:
        async with ledger.write("acme", ALONE, at=now) as book:
            await outbox.append(book, [Message("invite.mail", "i1", {})])
            raise LookupError

    with pytest.raises(LookupError):
        await write_and_fail()
    assert await outbox.claim(ledger, now=now, hold=HOLD) == []


async def test_a_message_is_claimed_once_and_told(ledger: Ledger, now: datetime) -> None:
    ids = await written(ledger, now, 3)
    globex = await written(ledger, now + timedelta(seconds=1), 1, "globex")
    later = now + timedelta(seconds=2)
    first = await outbox.claim(ledger, now=later, hold=HOLD, limit=2)
    rest = await outbox.claim(ledger, now=later, hold=HOLD, kinds=["invite.mail"])
    assert [message.id for message in first + rest] == ids + globex
    assert (first[0].payload, first[0].run_id, first[0].attempts) == ({"mail": "łódź@x.pl"}, "r1", 1)
    assert await outbox.claim(ledger, now=later, hold=HOLD) == []
    for message in first + rest:
        await outbox.delivered(ledger, message)
    assert await outbox.claim(ledger, now=later + 2 * HOLD, hold=HOLD) == []
    assert await outbox.forget_delivered(ledger, before=later) == 4


async def test_other_kinds_are_left_alone(ledger: Ledger, now: datetime) -> None:
    await written(ledger, now)
    assert await outbox.claim(ledger, now=now, hold=HOLD, kinds=["plan.held"]) == []


async def test_a_claim_that_ends_is_due_again_and_fences_the_first_hands(ledger: Ledger, now: datetime) -> None:
    await written(ledger, now)
    [first] = await outbox.claim(ledger, now=now, hold=HOLD)
    assert await outbox.claim(ledger, now=now + HOLD / 2, hold=HOLD) == []
    [second] = await outbox.claim(ledger, now=now + HOLD, hold=HOLD)
    assert (second.id, second.attempts) == (first.id, 2)
    with pytest.raises(Stale):
        await outbox.delivered(ledger, first)
    await outbox.delivered(ledger, second)


async def test_failures_wait_then_die_and_can_be_revived(ledger: Ledger, now: datetime) -> None:
    [message_id] = await written(ledger, now)
    [message] = await outbox.claim(ledger, now=now, hold=HOLD)
    await outbox.failed(ledger, message, error="451 try later", retry_at=now + timedelta(hours=1))
    assert await outbox.claim(ledger, now=now + timedelta(minutes=59), hold=HOLD) == []
    [message] = await outbox.claim(ledger, now=now + timedelta(hours=1), hold=HOLD)
    await outbox.failed(ledger, message, error="550 no such user", retry_at=None)
    assert await outbox.claim(ledger, now=now + timedelta(days=9), hold=HOLD) == []
    assert await outbox.forget_delivered(ledger, before=now + timedelta(days=9)) == 0
    async with ledger.write("globex", ALONE, at=now) as book:
        assert await outbox.revive(book, [message_id]) == 0
    async with ledger.write("acme", ALONE, at=now) as book:
        assert await book.tuples(book.select(audit.outbox, "state", "last_error")) == [("dead", "550 no such user")]
        assert await outbox.revive(book, [message_id]) == 1
    [message] = await outbox.claim(ledger, now=now, hold=HOLD)
    assert message.attempts == 3


async def test_claimers_at_the_same_time_get_different_messages(ledger: Ledger, now: datetime) -> None:
    ids = await written(ledger, now, 40)
    found = await asyncio.gather(*(outbox.claim(ledger, now=now, hold=HOLD, limit=10) for _ in range(4)))
    assert sorted(message.id for part in found for message in part) == sorted(ids)
