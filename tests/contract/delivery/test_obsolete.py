"""A message is held against the book when its turn comes (L2): every kind, still true and no longer."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connector.delivery import obsolete
from connector.reconcile.apply import notices
from ledger.identity import INVITE_EXPIRY
from ledger.store import claims, outbox, people, relinks, runs, sso
from ledger.store.book import Book
from ledger.store.deliveries import Batch, Told
from ledger.store.engine import Ledger
from ledger.store.outbox import Message
from ledger.store.relinks import RelinkRow
from ledger.store.runs import HeldSet
from ledger.store.sso import SyncRow
from tests.parts.fences import ALONE

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)


async def anna(book: Book, state: str = "active") -> None:
    row = ("p1", "anna@acme.example", "anna@acme.example", "", "", "Anna", state, "", {})
    await people.begin_identities(book, [row])


async def said(ledger: Ledger, kind: str, subject: str, payload: Any = None, *, now: datetime = NOW) -> str:
    """Why a message that was written now is obsolete; empty when it is not."""
    async with ledger.write("acme", ALONE, at=NOW) as book:
        [message] = await outbox.append(book, [Message(kind, subject, payload or {})])
    batch = Batch("acme", "mail", message, kind, (Told(message, subject, payload or {}, NOW),), 1, 0, None, ())
    async with ledger.read("acme") as reader:
        return (await obsolete.found(reader, batch, now)).get(message, "")


async def test_l2_an_invite(ledger: Ledger) -> None:
    assert await said(ledger, "invite.mail", "p1") == "the person is no longer active"
    async with ledger.write("acme", ALONE, at=NOW) as book:
        await anna(book)
    assert await said(ledger, "invite.mail", "p1") == ""
    async with ledger.write("acme", ALONE, at=NOW) as book:
        await runs.add_due(book, [(NOW + DAY, INVITE_EXPIRY, "p1")])
    assert await said(ledger, "invite.mail", "p1") == ""
    assert await said(ledger, "invite.mail", "p1", now=NOW + DAY) == "the invite has expired"
    async with ledger.write("acme", ALONE, at=NOW) as book:
        await claims.bind(book, "idp", "subject", "mail", "p1")
    assert await said(ledger, "invite.mail", "p1") == "the invite was claimed"


async def test_l2_of_two_invites_the_later_one_is_sent(ledger: Ledger) -> None:
    async with ledger.write("acme", ALONE, at=NOW) as book:
        await anna(book)
        [first] = await outbox.append(book, [Message("invite.mail", "p1", {})])
    async with ledger.write("acme", ALONE, at=NOW + DAY) as book:
        [second] = await outbox.append(book, [Message("invite.mail", "p1", {})])
    told = tuple(Told(message, "p1", {}, NOW) for message in (first, second))
    async with ledger.read("acme") as reader:
        found = await obsolete.found(reader, Batch("acme", "mail", first, "invite.mail", told, 1, 0, None, ()), NOW)
    assert found == {first: "the person was invited again since"}


@pytest.mark.parametrize("kind", ["plan.held", "plan.approval_needed"])
async def test_l2_a_held_set(ledger: Ledger, kind: str) -> None:
    held = HeldSet("d1", "r1", "open", "why", [], NOW, NOW + DAY)
    decided = "it was decided, or another plan took its place"
    assert await said(ledger, kind, "d1") == decided
    async with ledger.write("acme", ALONE, at=NOW) as book:
        await runs.put_held(book, held)
    assert await said(ledger, kind, "d1") == ""
    assert await said(ledger, kind, "d1", now=NOW + DAY) == "it has expired"
    async with ledger.write("acme", ALONE, at=NOW) as book:
        await runs.set_held_state(book, ["d1"], "applied")
    assert await said(ledger, kind, "d1") == decided


async def test_l2_a_suspension(ledger: Ledger) -> None:
    for reasons, suspended, resumed in (
        (("domain_lost",), "", "it is suspended again"),
        ((), "the suspension is over", ""),
    ):
        async with ledger.write("acme", ALONE, at=NOW) as book:
            await sso.put_sync(book, SyncRow(True, reasons, NOW, "ada"))
        assert await said(ledger, "sync.suspended", "sync") == suspended
        assert await said(ledger, "sync.resumed", "sync") == resumed


async def test_l2_a_directory(ledger: Ledger) -> None:
    assert await said(ledger, notices.SOURCE_STALE, "corp") == "the directory is read whole again"
    assert await said(ledger, notices.SOURCE_FRESH, "corp") == ""
    async with ledger.write("acme", ALONE, at=NOW) as book:
        await runs.add_due(book, [(NOW, notices._TOLD, "corp")])
    assert await said(ledger, notices.SOURCE_STALE, "corp") == ""
    assert await said(ledger, notices.SOURCE_FRESH, "corp") == "the directory is stale again"


async def test_l2_a_waitlist_is_told_as_it_is_now(ledger: Ledger) -> None:
    async with ledger.write("acme", ALONE, at=NOW - DAY) as book:
        [old] = await outbox.append(book, [Message(notices.SEATS_SHORT, "CAD @ Design", {})])
    assert await said(ledger, notices.SEATS_SHORT, "CAD @ Design") == ""
    told = (Told(old, "CAD @ Design", {}, NOW - DAY),)
    async with ledger.read("acme") as reader:
        found = await obsolete.found(reader, Batch("acme", "mail", old, notices.SEATS_SHORT, told, 1, 0, None, ()), NOW)
    assert list(found) == [old]


async def test_l2_a_relink(ledger: Ledger) -> None:
    row = RelinkRow("r1", "p1", "idp", "new", "other", "old", "other", NOW, NOW, "", NOW, NOW + DAY)
    decided = "it was decided, or has run out"
    assert await said(ledger, "relink.held", "p1", {"id": "r1"}) == decided
    async with ledger.write("acme", ALONE, at=NOW) as book:
        await relinks.put(book, row)
    assert await said(ledger, "relink.held", "p1", {"id": "r1"}) == ""
    assert await said(ledger, "relink.held", "p1", {"id": "r1"}, now=NOW + 2 * DAY) == decided
    async with ledger.write("acme", ALONE, at=NOW) as book:
        await relinks.put(book, replace(row, refused_at=NOW, refused_by="ada"))
    assert await said(ledger, "relink.held", "p1", {"id": "r1"}) == decided


async def test_l2_a_draft_that_waits_no_more(ledger: Ledger) -> None:
    assert await said(ledger, "connection.draft_waits", "main", {"version": 2}) == "the draft waits no more"


@pytest.mark.parametrize("kind", ["team.restricted", "team.lifted", "connection.continued"])
async def test_what_happened_stays_true(ledger: Ledger, kind: str) -> None:
    assert await said(ledger, kind, "t1") == ""
