"""What happens to a run when its process dies, its gate closes, or its lease moves (A1, A2, G5), on both databases."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import sys
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from connector.reconcile import run
from connector.reconcile.desired.seen import Domains
from connector.reconcile.show.outcome import RunState
from connector.reconcile.state import gate
from ledger.errors import Busy, Stale
from ledger.jobs import Leased
from ledger.store import audit, leases, people, runs, seats
from ledger.store.book import Book
from ledger.store.engine import Ledger
from tests.parts.directories import (
    ORGANIZATION,
    HandSource,
    World,
    make_world,
    open_gate,
    stand_in_gate,
)
from tests.parts.dying_run import POINTS, changed_directory, first_directory, two_teams
from tests.parts.fences import ALONE

_SECONDS = 60


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


async def everything(ledger: Ledger) -> dict[str, Any]:
    """Every row a run writes, as it stands."""
    async with ledger.read(ORGANIZATION.id) as reader:
        return {
            "identities": sorted(await people.open_identities(reader)),
            "links": sorted(await people.directory_links(reader)),
            "memberships": sorted(await people.open_memberships(reader)),
            "seats": sorted(map(str, await seats.open_seats(reader))),
            "grants": sorted(await seats.open_grants(reader)),
            "runs": len(await runs.latest(reader)),
            "events": (await audit.verify(reader)).events,
        }


async def started(ledger: Ledger, now: datetime) -> World:
    world = await make_world(ledger, now, two_teams(), Design_CAD=40, Site_CAD=40)
    world.source = first_directory()
    await run.apply(ledger, world.setup, fence=ALONE, now=now, actor="test", auto=True)
    return world


@pytest.mark.parametrize("point", [*POINTS, "committed"])
async def test_a1_kill_leaves_before_or_after(ledger: Ledger, ledger_url: str, now: datetime, point: str) -> None:
    world = await started(ledger, now)
    before = await everything(ledger)
    later = now + timedelta(hours=1)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.parts.dying_run", ledger_url, later.isoformat(), point, stdin=pipe, stdout=pipe
    )
    try:
        assert process.stdout is not None
        said = await asyncio.wait_for(process.stdout.readline(), _SECONDS)
        assert said.decode().strip() == f"at {point}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    after = await everything(ledger)
    if point == "committed":
        assert after["runs"] == before["runs"] + 1
    else:
        assert after == before
    world.source = changed_directory()
    healed = await run.apply(ledger, world.setup, fence=ALONE, now=later, actor="test", auto=True)
    assert healed.state is (RunState.NOTHING if point == "committed" else RunState.APPLIED)
    async with ledger.read(ORGANIZATION.id) as reader:
        assert (await audit.verify(reader)).ok


class ClosingSource(HandSource):
    """A directory during whose reading somebody switches single sign-on off: the gap between planning and commit."""

    ledger: Ledger

    async def read(self, request: Any, *, now: datetime) -> Any:
        reading = await super().read(request, now=now)
        await open_gate(self.ledger, now, "acme.example", state="closed")
        return reading


@pytest.mark.parametrize("checked", [True, False], ids=["re-checked", "re-check removed"])
async def test_g5_a_gate_closed_between_reading_and_commit_writes_nothing(
    ledger: Ledger, now: datetime, checked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the check inside the transaction (second case) the harm appears: the test would see it."""
    world = await started(ledger, now)
    before = await everything(ledger)
    closing = ClosingSource()
    closing.ledger = ledger
    changed = changed_directory()
    closing.people, closing.groups = changed.people, changed.groups
    world.source = closing
    if not checked:
        looks: list[int] = []

        async def first_answer_only(reader: Any, at: datetime) -> Domains:
            looks.append(1)
            return Domains(frozenset({"acme.example"}))

        monkeypatch.setattr(gate, "look", first_answer_only)
    outcome = await run.apply(ledger, world.setup, fence=ALONE, now=now + timedelta(hours=1), actor="test", auto=True)
    after = await everything(ledger)
    if checked:
        assert outcome.state is RunState.SUSPENDED
        unchanged = ("identities", "links", "memberships", "seats", "grants")
        assert {name: after[name] for name in unchanged} == {name: before[name] for name in unchanged}
    else:
        assert outcome.state is RunState.APPLIED
        assert after["seats"] != before["seats"], "the harm this check prevents"


async def _another_writer_may_enter(url: str) -> bool:
    """Whether a writer of the same organization could begin right now; asks without waiting."""
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(f"{url.removeprefix('sqlite:///')}/ledger.db", timeout=0)) as file:
            try:
                file.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            return True
    async with await psycopg.AsyncConnection.connect(url) as connection:
        cursor = await connection.execute(
            "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 7))", (ORGANIZATION.id,)
        )
        row = await cursor.fetchone()
        return bool(row and row[0])


async def _may_enter_during_apply(ledger: Ledger, url: str, now: datetime, monkeypatch: pytest.MonkeyPatch) -> bool:
    world = await started(ledger, now)
    world.source = changed_directory()
    answers: list[bool] = []
    original = runs.record

    async def record(book: Any, row: runs.RunRow) -> None:
        answers.append(await _another_writer_may_enter(url))
        await original(book, row)

    monkeypatch.setattr(runs, "record", record)
    await run.apply(ledger, world.setup, fence=ALONE, now=now + timedelta(hours=1), actor="test", auto=True)
    assert await _another_writer_may_enter(url), "afterwards it may"
    return answers[0]


async def test_g5_a_gate_writer_waits_for_the_apply_transaction(
    ledger: Ledger, ledger_url: str, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the gate's re-check and the commit nobody can close it."""
    assert not await _may_enter_during_apply(ledger, ledger_url, now, monkeypatch)


async def test_g5_without_the_lock_a_gate_writer_would_get_in_between(
    postgres_url: str, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above fails without the lock (on SQLite it is the file's own and cannot be left out)."""

    @contextlib.asynccontextmanager
    async def unlocked(self: Ledger, organization: str, at: datetime, run_id: str = "") -> AsyncIterator[Book]:
        async with self.unscoped_write() as connection:
            yield Book(connection, organization, at, run_id)

    monkeypatch.setattr(Ledger, "_write", unlocked)
    ledger = Ledger.open(postgres_url)
    assert await _may_enter_during_apply(ledger, postgres_url, now, monkeypatch)
    await ledger.close()


async def test_a2_a_run_that_lost_its_lease_writes_nothing(ledger: Ledger, now: datetime) -> None:
    world = await started(ledger, now)
    before = await everything(ledger)
    world.source = changed_directory()
    later = now + timedelta(hours=1)
    mine = await leases.acquire(ledger, "run:acme", "one", now=now, ttl=timedelta(minutes=1))
    theirs = await leases.acquire(ledger, "run:acme", "two", now=later, ttl=timedelta(minutes=1))
    assert mine is not None
    assert theirs is not None
    with pytest.raises(Stale):
        await run.apply(ledger, world.setup, fence=Leased(mine), now=later, actor="one", auto=True)
    assert await everything(ledger) == before
    outcome = await run.apply(ledger, world.setup, fence=Leased(theirs), now=later, actor="two", auto=True)
    assert outcome.state is RunState.APPLIED


async def test_a2_two_runs_at_once_apply_once(ledger: Ledger, now: datetime) -> None:
    world = await started(ledger, now)
    world.source = changed_directory()
    later = now + timedelta(hours=1)
    both = await asyncio.gather(
        *(run.apply(ledger, world.setup, fence=ALONE, now=later, actor=f"d{n}", auto=True) for n in range(2)),
        return_exceptions=True,
    )
    states = sorted(item.state for item in both if not isinstance(item, BaseException))
    assert [item for item in both if isinstance(item, BaseException) and not isinstance(item, Busy)] == []
    assert states == [RunState.APPLIED, RunState.NOTHING]
    async with ledger.read(ORGANIZATION.id) as reader:
        assert (await audit.verify(reader)).ok


async def test_g5_other_open_domains_go_on_when_one_closes(ledger: Ledger, now: datetime) -> None:
    world = await started(ledger, now)
    await open_gate(ledger, now, "other.example")
    before = await everything(ledger)
    world.source = changed_directory()
    outcome = await run.apply(ledger, world.setup, fence=ALONE, now=now + timedelta(hours=1), actor="test", auto=True)
    assert outcome.state is RunState.NOTHING
    assert "frozen" in {problem.code for problem in outcome.problems}
    assert (await everything(ledger))["identities"] == before["identities"]
