"""What happens while a run reads is before what the run does, on both databases: the book's own time (A1)."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import groupby, pairwise
from typing import Any

import pytest

from connector.directory.base import Reading, ReadRequest
from connector.reconcile import run
from connector.reconcile.by_hand.sign_in import Arrival, claim
from connector.sso.gate import evidence
from connector.sso.gate.evidence import DOMAIN_CHECKED
from ledger.book_time import HostTime
from ledger.identity import Email
from ledger.store import sso
from ledger.store.engine import Ledger
from ledger.store.tables import people, runs, seats
from tests.parts.directories import ORGANIZATION, World, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE

HOUR = timedelta(hours=1)


@pytest.fixture
def clock(ledger: Ledger, now: datetime, monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """What the wall clock shows, last."""
    shown = [now]
    monkeypatch.setattr(ledger, "_clock", lambda: HostTime(shown[-1]))
    return shown


async def two_people(ledger: Ledger, now: datetime, monkeypatch: pytest.MonkeyPatch) -> World:
    """ada and bo are in the Team with seats."""
    stand_in_gate(monkeypatch)
    world = await make_world(ledger, now, policy(mapping("design", "Design", "CAD")), Design_CAD=9)
    world.source.put("ada", "bo", groups=["design"])
    seen = await run.plan(ledger, world.setup, now=now)
    await run.apply(ledger, world.setup, fence=ALONE, now=now, actor="test", digest=seen.digest)
    return world


async def partition(ledger: Ledger) -> None:
    """Every interval ends after it began, and the next one of the same thing begins no earlier."""
    async with ledger.read(ORGANIZATION.id) as reader:
        for table, key in ((people.identity, "id"), (people.identity_link, "identity_id"), (seats.seat, "id")):
            rows = await reader.tuples(reader.select(table, key, "valid_from", "valid_to"))
            for _, same in groupby(sorted(rows, key=lambda row: row[:2]), key=lambda row: row[0]):
                spans = list(same)
                assert all(end is None or end > begin for _, begin, end in spans), table.name
                if key == "id":
                    assert all(one[2] is not None and one[2] <= two[1] for one, two in pairwise(spans)), table.name


@pytest.mark.parametrize("leaves", [False, True])
async def test_a1_a_sign_in_while_a_run_reads_is_before_what_the_run_does(
    ledger: Ledger, clock: list[datetime], now: datetime, monkeypatch: pytest.MonkeyPatch, leaves: bool
) -> None:
    world = await two_people(ledger, now, monkeypatch)
    began = now + HOUR
    clock.append(began)
    if leaves:
        world.source.change("ada", disabled=True)
    signed_in = reads_while(world, clock, "ada", began + timedelta(minutes=3), monkeypatch)
    outcome = await run.apply(ledger, world.setup, fence=ALONE, now=began, actor="test", auto=True)
    assert signed_in
    assert outcome.counts == ({"PauseSeat": 1, "DisableIdentity": 1} if leaves else {})
    await partition(ledger)
    async with ledger.read(ORGANIZATION.id) as reader:
        rows = await reader.tuples(reader.select(seats.seat, "valid_from", "state").order_by(seats.seat.c.valid_from))
    states = [state for at, state in rows if at > began]
    assert states == (["active", "paused"] if leaves else ["active"])


async def test_e2_a_reading_begins_in_the_books_time_and_what_comes_later_is_later(
    ledger: Ledger, clock: list[datetime], now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hosts: the one that reads is three minutes ahead of the one that writes meanwhile."""
    world = await two_people(ledger, now, monkeypatch)
    began, read = list[datetime](), world.source.read

    async def meanwhile(request: ReadRequest, *, now: datetime) -> Reading:
        began.append(now)
        clock.append(now - timedelta(minutes=3))
        mail = "ada@acme.example"
        await claim(ledger, ORGANIZATION.id, Arrival(Email.parse(mail), "idp", mail), now=clock[-1])
        return await read(request, now=now)

    monkeypatch.setattr(world.source, "read", meanwhile)
    clock.append(now + HOUR)
    await run.apply(ledger, world.setup, fence=ALONE, now=now + HOUR / 2, actor="test", auto=True)
    async with ledger.read(ORGANIZATION.id) as reader:
        active = reader.select(seats.seat, "valid_from").where(seats.seat.c.state == "active")
        came = await reader.scalar(active)
        started = await reader.scalar(reader.select(runs.run, "started_at").order_by(runs.run.c.started_at.desc()))
    assert began == [now + HOUR] == [started]
    assert came > began[0]


def reads_while(
    world: World, clock: list[datetime], uid: str, at: datetime, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """In the middle of the reading somebody signs in; the reading ends a minute later."""
    read, done = world.source.read, list[str]()

    async def meanwhile(request: ReadRequest, *, now: datetime) -> Reading:
        found = await read(request, now=now)
        clock.append(at)
        mail = f"{uid}@acme.example"
        await claim(world.ledger, ORGANIZATION.id, Arrival(Email.parse(mail), "idp", mail), now=at)
        done.append(mail)
        clock.append(at + timedelta(minutes=1))
        return found

    monkeypatch.setattr(world.source, "read", meanwhile)
    return done


async def test_g5_evidence_that_is_newer_than_the_run_suspends_nothing(
    ledger: Ledger, clock: list[datetime], now: datetime
) -> None:
    """The domain is looked at again while a run reads: nothing is behind anything."""
    async with ledger.write(ORGANIZATION.id, ALONE, at=now) as book:
        await sso.put_domain(book, sso.DomainRow("acme.example", "acme.example", now, "ada", 1, 0))
    clock.append(now + HOUR)
    facts: dict[str, Any] = {"answer": "found", "attempt": 1}
    async with ledger.write(ORGANIZATION.id, ALONE, at=now) as book:
        await evidence.record(book, DOMAIN_CHECKED, "acme.example", actor="schedule", facts=facts, domains=[])
        assert book.at == now + HOUR
    async with ledger.read(ORGANIZATION.id) as reader:
        gates = await evidence.gates(reader, now=now)
    assert "clock_behind" not in gates["acme.example"].reasons
