"""A message is held against the book when its turn comes (L2): every kind, still true and no longer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connector.delivery import obsolete
from connector.reconcile.apply import notices
from ledger.identity import INVITE_EXPIRY
from ledger.store import claims, outbox, people, relinks, roster, runs, seats, sso
from ledger.store.book import Book
from ledger.store.deliveries import Batch, Told
from ledger.store.engine import Ledger
from ledger.store.outbox import Message
from ledger.store.relinks import RelinkRow
from ledger.store.runs import HeldSet
from ledger.store.sso import SyncRow
from ledger.store.tables import people as people_tables
from ledger.store.tables import seats as seat_tables
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


PLACES: dict[str, Callable[[Book], Awaitable[None]]] = {
    "membership": lambda book: people.begin_memberships(book, [("p1", "t1", "manual", "", "x")]),
    "seat": lambda book: seats.begin_seats(book, [("s1", "u1", "t1", "CAD", "p1", "invited", "", None)]),
    "waiting": lambda book: seats.begin_waiting(book, [("p1", "t1", "CAD", "manual", 1)]),
    "role": lambda book: people.begin_roles(book, [("p1", "sso_admin", "")]),
}


async def end_places(book: Book) -> None:
    for table in (people_tables.team_membership, people_tables.admin_role, seat_tables.seat, seat_tables.waiting):
        rows = await book.tuples(book.open(table, "row_id").where(table.c.identity_id == "p1"))
        await book.end(table, [row[0] for row in rows])


@pytest.mark.parametrize("left", ["", *PLACES])
async def test_l2_an_invite_whose_place_was_taken_back(ledger: Ledger, left: str) -> None:
    """Nothing of what the person was invited to is left, or one thing still is."""
    async with ledger.write("acme", ALONE, at=NOW - DAY) as book:
        await anna(book)
        for begin in PLACES.values():
            await begin(book)
    assert await said(ledger, "invite.mail", "p1") == ""
    async with ledger.write("acme", ALONE, at=NOW + DAY) as book:
        await end_places(book)
    async with ledger.write("acme", ALONE, at=NOW + 2 * DAY) as book:
        if left:
            await PLACES[left](book)
    told = Told("m1", "p1", {}, NOW)
    batch = Batch("acme", "mail", "m1", "invite.mail", (told,), 1, 0, None, ())
    async with ledger.read("acme") as reader:
        found = await obsolete.found(reader, batch, NOW)
        again = await obsolete.found(reader, replace(batch, messages=(replace(told, created_at=NOW + 2 * DAY),)), NOW)
    assert found == ({} if left else {"m1": "the place was taken back"})
    assert again == {}, "somebody asked for it after the place had ended"


async def test_r16_an_invite_into_a_restricted_team_is_still_true(ledger: Ledger) -> None:
    async with ledger.write("acme", ALONE, at=NOW) as book:
        await anna(book)
        await people.begin_teams(book, [("t1", "Design", "design")])
        await PLACES["membership"](book)
    async with ledger.write("acme", ALONE, at=NOW + DAY) as book:
        await roster.begin_restriction(book, "t1", "ada", "not paid")
    assert await said(ledger, "invite.mail", "p1") == ""


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
