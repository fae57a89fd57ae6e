"""Deliveries on both databases (L1, L3): written with the change, claimed by one, in order, told at least once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from ledger.errors import Stale
from ledger.store import deliveries, outbox
from ledger.store.deliveries import Batch, DeliveryState, Digest, Receipt
from ledger.store.engine import Ledger
from ledger.store.outbox import Message
from tests.parts.fences import ALONE

HOLD = timedelta(minutes=5)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
KINDS = ("invite.mail", "plan.held", "source.stale")
ORGANIZATIONS = ("acme", "globex")
APART = Digest()
HELD = Digest(frozenset({"plan.held"}), timedelta(hours=1))


async def start(ledger: Ledger, now: datetime, organization: str = "acme", kinds: tuple[str, ...] = KINDS) -> int:
    async with ledger.write(organization, ALONE, at=now) as book:
        return await deliveries.start(book, "mail", kinds, keep_before=now - DAY)


async def written(
    ledger: Ledger, now: datetime, *subjects: str, kind: str = "invite.mail", organization: str = "acme"
) -> list[str]:
    async with ledger.write(organization, ALONE, at=now, run_id="r1") as book:
        return await outbox.append(book, [Message(kind, subject, {"mail": "łódź@x.pl"}) for subject in subjects])


async def claimed(ledger: Ledger, now: datetime, limit: int = 100, digest: Digest = APART) -> list[Batch]:
    each = dict.fromkeys(ORGANIZATIONS, limit)
    return await deliveries.claim(ledger, "mail", each, now=now, hold=HOLD, limit=limit, digest=digest)


async def any_due(ledger: Ledger, now: datetime, digest: Digest = APART) -> bool:
    return await deliveries.any_due(ledger, "mail", ORGANIZATIONS, now=now, digest=digest)


async def sent(ledger: Ledger, now: datetime, batch: Batch) -> None:
    await deliveries.settle(ledger, batch, DeliveryState.SENT, note="250 OK", now=now)


async def states(ledger: Ledger, organization: str = "acme") -> dict[str, tuple[str, str]]:
    async with ledger.read(organization) as reader:
        found = await deliveries.listed(reader, states=list(DeliveryState))
    return {item.message_id: (item.state.value, item.note) for item in found}


async def test_a1_a_message_and_its_delivery_are_written_with_its_change_or_not_at_all(
    ledger: Ledger, now: datetime
) -> None:
    async def write_and_fail() -> None:
        async with ledger.write("acme", ALONE, at=now) as book:
            await outbox.append(book, [Message("invite.mail", "i1", {})])
            raise LookupError

    await start(ledger, now)
    with pytest.raises(LookupError):
        await write_and_fail()
    assert not await any_due(ledger, now)
    assert await claimed(ledger, now) == []


async def test_l1_a_message_is_claimed_once_and_told(ledger: Ledger, now: datetime) -> None:
    for organization in ORGANIZATIONS:
        await start(ledger, now, organization)
    ids = await written(ledger, now, "i0", "i1", "i2")
    globex = await written(ledger, now + MINUTE / 60, "i0", organization="globex")
    later = now + MINUTE
    assert await any_due(ledger, later)
    first = await claimed(ledger, later, limit=2)
    rest = await claimed(ledger, later)
    taken = {batch.id: batch for batch in first + rest}
    assert {batch.organization for batch in first} == {"acme", "globex"}, "none waits behind all of another's"
    assert [batch.id for batch in first + rest if batch.organization == "acme"] == ids
    assert set(taken) == {*ids, *globex}
    assert taken[ids[0]].messages[0].payload == {"mail": "łódź@x.pl"}
    assert await claimed(ledger, later) == []
    for batch in first + rest:
        await sent(ledger, later, batch)
    assert await claimed(ledger, later + 2 * HOLD) == []
    assert await states(ledger) == dict.fromkeys(ids, ("sent", "250 OK"))


async def test_other_kinds_and_organizations_without_the_target_are_left_alone(ledger: Ledger, now: datetime) -> None:
    await start(ledger, now)
    await written(ledger, now, "d1", kind="seats.short")
    await written(ledger, now, "i1", organization="globex")
    assert await claimed(ledger, now) == []


async def test_l1_a_hold_that_ends_is_due_again_and_fences_the_first_hands(ledger: Ledger, now: datetime) -> None:
    await start(ledger, now)
    await written(ledger, now, "i1")
    [first] = await claimed(ledger, now)
    assert await claimed(ledger, now + HOLD / 2) == []
    [second] = await claimed(ledger, now + HOLD)
    assert (second.id, second.claims) == (first.id, 2)
    for late in (
        deliveries.settle(ledger, first, DeliveryState.SENT, note="", now=now),
        deliveries.put_off(ledger, first, wait=MINUTE, note="", now=now),
        deliveries.progress(ledger, first, now=now, hold=HOLD),
    ):
        with pytest.raises(Stale):
            await late
    await sent(ledger, now + HOLD, second)
    assert await claimed(ledger, now + 9 * HOLD) == []


async def test_l1_a_hold_can_be_made_longer_by_who_has_it(ledger: Ledger, now: datetime) -> None:
    await start(ledger, now)
    await written(ledger, now, "i1")
    [first] = await claimed(ledger, now)
    await deliveries.hold_further(ledger, first, now=now + HOLD / 2, hold=HOLD)
    assert await claimed(ledger, now + HOLD) == []
    [second] = await claimed(ledger, now + 2 * HOLD)
    await deliveries.hold_further(ledger, first, now=now + 2 * HOLD, hold=9 * HOLD)
    [third] = await claimed(ledger, now + 3 * HOLD)
    assert third.claims == second.claims + 1, "who has lost it holds nothing"


async def test_l1_nothing_is_due_behind_what_waits_and_where_nobody_asks(ledger: Ledger, now: datetime) -> None:
    await start(ledger, now)
    await written(ledger, now, "i1", "i1")
    [first] = await claimed(ledger, now)
    await deliveries.put_off(ledger, first, wait=DAY, note="451", now=now)
    assert not await any_due(ledger, now + MINUTE)
    assert await any_due(ledger, now + DAY)
    assert not await deliveries.any_due(ledger, "mail", ["globex"], now=now + DAY, digest=APART)


async def test_l1_put_off_counts_or_does_not(ledger: Ledger, now: datetime) -> None:
    await start(ledger, now)
    await written(ledger, now, "i1")
    [batch] = await claimed(ledger, now)
    await deliveries.put_off(ledger, batch, wait=2 * MINUTE, note="451 greylisted", now=now)
    assert await claimed(ledger, now + MINUTE) == []
    [batch] = await claimed(ledger, now + 2 * MINUTE)
    assert (batch.attempts, batch.begun_at) == (1, now)
    await deliveries.put_off(ledger, batch, wait=MINUTE, note="refused", now=now + 3 * MINUTE, counts=False)
    [batch] = await claimed(ledger, now + 4 * MINUTE)
    assert (batch.attempts, batch.begun_at, batch.claims) == (1, now, 3)


async def test_l1_one_subject_is_told_in_order_and_a_dead_letter_lets_the_next_pass(
    ledger: Ledger, now: datetime
) -> None:
    await start(ledger, now)
    [first] = await written(ledger, now, "i1")
    [other] = await written(ledger, now + MINUTE, "i2")
    [second] = await written(ledger, now + 2 * MINUTE, "i1")
    at = now + 3 * MINUTE
    batches = await claimed(ledger, at)
    assert [batch.id for batch in batches] == [first, other]
    await deliveries.put_off(ledger, batches[0], wait=MINUTE, note="451", now=at)
    assert await claimed(ledger, at) == []
    [again] = await claimed(ledger, at + MINUTE)
    assert again.id == first
    await deliveries.settle(ledger, again, DeliveryState.DEAD, note="550 no such user", now=at + MINUTE)
    assert [batch.id for batch in await claimed(ledger, at + MINUTE)] == [second]


async def test_l5_a_digest_is_one_batch_that_stays_as_it_was_and_the_next_waits(ledger: Ledger, now: datetime) -> None:
    await start(ledger, now)
    first = await written(ledger, now, "d1", "d2", "d1", kind="plan.held")
    [batch] = await claimed(ledger, now, digest=HELD)
    assert [told.id for told in batch.messages] == first
    ada = Receipt("ada@acme.example", True, "250 OK")
    await deliveries.progress(ledger, replace(batch, done=(ada,)), now=now, hold=HOLD)
    late = await written(ledger, now + MINUTE, "d3", "d1", kind="plan.held")
    [apart, again] = await claimed(ledger, now + HOLD, digest=HELD)
    assert ([told.id for told in again.messages], again.done) == (first, (ada,)), "what was begun stays what it was"
    assert [told.id for told in apart.messages] == late, "what came since is told apart"
    await sent(ledger, now + HOLD, again)
    await deliveries.put_off(ledger, apart, wait=timedelta(0), note="", now=now + HOLD, counts=False)
    [apart] = await claimed(ledger, now + HOLD + MINUTE, digest=HELD)
    assert [told.id for told in apart.messages] == late
    await sent(ledger, now + HOLD + MINUTE, apart)
    more = await written(ledger, now + HOLD + 2 * MINUTE, "d4", kind="plan.held")
    assert await claimed(ledger, now + HOLD + 60 * MINUTE, digest=HELD) == []
    [after] = await claimed(ledger, now + HOLD + 61 * MINUTE, digest=HELD)
    assert [told.id for told in after.messages] == more


async def test_l5_what_comes_while_nobody_can_be_told_is_told_in_one(ledger: Ledger, now: datetime) -> None:
    """A server that refuses for a day is no reason for a mail a message when it is there again."""
    await start(ledger, now)
    ids = await written(ledger, now, "d0", kind="plan.held")
    for hour in range(1, 25):
        at = now + hour * 60 * MINUTE
        for batch in await claimed(ledger, at, digest=HELD):
            assert [told.id for told in batch.messages] == ids
            await deliveries.put_off(ledger, batch, wait=30 * MINUTE, note="451", now=at, loosen=True)
        ids += await written(ledger, at, f"d{hour}", kind="plan.held")
    [batch] = await claimed(ledger, now + 30 * 60 * MINUTE, digest=HELD)
    assert [told.id for told in batch.messages] == ids


async def test_l5_what_one_reader_does_not_take_holds_up_no_other(ledger: Ledger, now: datetime) -> None:
    await start(ledger, now)
    first = await written(ledger, now, "d1", kind="plan.held")
    [batch] = await claimed(ledger, now, digest=HELD)
    half = replace(batch, done=(Receipt("ada@acme.example", True, "250 OK"),))
    await deliveries.put_off(ledger, half, wait=30 * 60 * MINUTE, note="bo: mailbox full", now=now, loosen=True)
    second = await written(ledger, now + MINUTE, "d1", kind="plan.held")
    [after] = await claimed(ledger, now + 120 * MINUTE, digest=HELD)
    assert [told.id for told in after.messages] == second
    await sent(ledger, now + 120 * MINUTE, after)
    [again] = await claimed(ledger, now + 31 * 60 * MINUTE, digest=HELD)
    assert ([told.id for told in again.messages], again.done) == (first, half.done)


async def test_l5_where_others_read_it_only_the_same_is_told_together(ledger: Ledger, now: datetime) -> None:
    await start(ledger, now)
    ids = await written(ledger, now, "design", "site", "design", kind="plan.held")
    apart = replace(HELD, apart=frozenset({"plan.held"}))
    found = await claimed(ledger, now, digest=apart)
    assert sorted([told.id for told in batch.messages] for batch in found) == sorted([[ids[0], ids[2]], [ids[1]]])


async def test_l5_more_than_a_digest_holds_goes_into_the_next(ledger: Ledger, now: datetime) -> None:
    await start(ledger, now)
    ids = await written(ledger, now, *(f"d{n}" for n in range(5)), kind="plan.held")
    small = Digest(frozenset({"plan.held"}), timedelta(0), most=3)
    [first] = await claimed(ledger, now, digest=small)
    await sent(ledger, now, first)
    [second] = await claimed(ledger, now + HOLD, digest=small)
    assert [told.id for batch in (first, second) for told in batch.messages] == ids


async def test_l2_a_part_of_a_batch_may_be_obsolete(ledger: Ledger, now: datetime) -> None:
    await start(ledger, now)
    ids = await written(ledger, now, "d1", "d2", kind="plan.held")
    [batch] = await claimed(ledger, now, digest=HELD)
    rest = await deliveries.settle(ledger, batch, DeliveryState.OBSOLETE, note="it was decided", now=now, ids={ids[0]})
    assert [told.id for told in rest.messages] == [ids[1]]
    await sent(ledger, now, rest)
    assert await states(ledger) == {ids[0]: ("obsolete", "it was decided"), ids[1]: ("sent", "250 OK")}


async def test_l3_what_was_there_for_a_day_waits_for_its_release(ledger: Ledger, now: datetime) -> None:
    old = await written(ledger, now - 2 * DAY, "i1", "i2")
    held = await written(ledger, now - 2 * DAY, "d1", kind="plan.held")
    fresh = await written(ledger, now - DAY / 2, "i1")
    await written(ledger, now - DAY / 2, "x", kind="seats.short")
    assert await start(ledger, now) == 3
    assert await start(ledger, now) == 0, "once"
    assert [batch.id for batch in await claimed(ledger, now)] == fresh, "what is kept holds up nobody"
    async with ledger.write("acme", ALONE, at=now) as book:
        assert await deliveries.release(book, "mail", "invite.mail") == 2
        assert await deliveries.release(book, "mail", "invite.mail") == 0
    assert {batch.id for batch in await claimed(ledger, now)} == set(old)
    assert (await states(ledger))[held[0]][0] == "kept"


async def test_l3_a_target_that_stopped_begins_anew(ledger: Ledger, now: datetime) -> None:
    await start(ledger, now - 9 * DAY)
    before = await written(ledger, now - 8 * DAY, "i1")
    async with ledger.write("acme", ALONE, at=now - 7 * DAY) as book:
        await deliveries.stop(book, "mail")
    meanwhile = await written(ledger, now - 6 * DAY, "i2")
    assert await start(ledger, now) == 2
    assert await claimed(ledger, now) == []
    assert await states(ledger) == dict.fromkeys([*before, *meanwhile], ("kept", ""))


async def test_l3_a_kind_that_is_taken_only_later(ledger: Ledger, now: datetime) -> None:
    await start(ledger, now - 9 * DAY, kinds=("invite.mail",))
    waiting = await written(ledger, now - 8 * DAY, "i1")
    await written(ledger, now - 8 * DAY, "d1", kind="plan.held")
    assert await start(ledger, now) == 1
    assert [batch.id for batch in await claimed(ledger, now)] == waiting, "its target was never away"
    async with ledger.read("acme") as reader:
        assert await deliveries.started(reader) == {"mail": frozenset(KINDS)}


async def test_by_hand_retry_drop_and_find(ledger: Ledger, now: datetime) -> None:
    await start(ledger, now)
    [one, two] = await written(ledger, now, "i1", "i2")
    [first, second] = await claimed(ledger, now)
    await deliveries.settle(ledger, first, DeliveryState.DEAD, note="550", now=now)

    async def by_hand(act: Any, *values: Any, organization: str = "acme") -> bool:
        async with ledger.write(organization, ALONE, at=now) as book:
            return bool(await act(book, *values))

    assert not await by_hand(deliveries.retry, one, "mail", organization="globex")
    assert await by_hand(deliveries.retry, one, "mail")
    [again] = await claimed(ledger, now)
    assert (again.id, again.attempts) == (one, 0)
    assert not await by_hand(deliveries.drop, two, "mail", "a mistake"), "it is on its way"
    assert not await by_hand(deliveries.retry, two, "mail"), "it would arrive twice"
    await deliveries.put_off(ledger, second, wait=MINUTE, note="451", now=now)
    assert await by_hand(deliveries.drop, two, "mail", "a mistake")
    with pytest.raises(Stale):
        await sent(ledger, now, second)
    assert not await by_hand(deliveries.drop, two, "mail", "again")
    await sent(ledger, now, again)
    assert not await by_hand(deliveries.retry, one, "mail"), "what was sent is not sent again"
    async with ledger.read("acme") as reader:
        [found] = await deliveries.of_message(reader, one)
        assert (found.payload, found.state) == ({"mail": "łódź@x.pl"}, DeliveryState.SENT)
        assert await deliveries.of_message(reader, "%") == []
        assert await deliveries.counts(reader) == {
            ("mail", "invite.mail", DeliveryState.SENT): 1,
            ("mail", "invite.mail", DeliveryState.DROPPED): 1,
        }


async def test_claimers_at_the_same_time_get_different_messages(ledger: Ledger, now: datetime) -> None:
    await start(ledger, now)
    ids = await written(ledger, now, *(f"i{n}" for n in range(40)))
    found = await asyncio.gather(*(claimed(ledger, now, limit=10) for _ in range(4)))
    got = sorted(batch.id for part in found for batch in part)
    rest = sorted(batch.id for batch in await claimed(ledger, now))  # PostgreSQL skips what another one is taking
    assert sorted(got + rest) == sorted(ids)
