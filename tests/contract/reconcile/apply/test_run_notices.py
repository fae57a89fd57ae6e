"""What a run writes to the outbox beside its changes, each with the exact next command, once per lapse and growth."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from connector.reconcile import run
from connector.reconcile.apply import notices
from connector.reconcile.show.outcome import RunState
from connector.sso.gate import sync
from ledger.store import runs
from ledger.store import sso as rows
from ledger.store.engine import Ledger
from tests.parts.directories import BASE, ORGANIZATION, HandSource, World, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE
from tests.parts.outbox_rows import written


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


async def told(world: World, *kinds: str) -> list[tuple[str, Any]]:
    """Messages of these kinds that were written now."""
    return [(row.subject, row.payload) for row in await written(world.ledger, *kinds, since=world.now)]


async def step(world: World, **parts: float) -> list[tuple[str, Any]]:
    world.later(**parts)
    await run.apply(world.ledger, world.setup, fence=ALONE, now=world.now, actor="test", auto=True)
    return await told(world, notices.SOURCE_STALE, notices.SOURCE_FRESH)


async def company(ledger: Ledger, now: datetime, **values: Any) -> World:
    world = await make_world(ledger, now, policy(mapping("design", "Design", "CAD"), **values), Design_CAD=2)
    world.source.put("anna", "bo", groups=["design"])
    assert await step(world) == []
    return world


async def test_d1_a_directory_that_stays_unknown_is_told_once_per_lapse(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    world.source.unknown[BASE] = "connection refused"
    assert await step(world, hours=1) == []
    assert await step(world, hours=22, minutes=59) == []
    [(source, payload)] = await step(world, minutes=1)
    assert source == "corp"
    assert payload["why"] == f"directory corp was not read whole since 2026-03-02T09:00:00Z: {BASE}: connection refused"
    assert payload["next"] == "rosterd check --live"
    assert await step(world, minutes=15) == [], "once per lapse, not per run"
    assert await step(world, days=3) == []
    world.source.unknown.clear()
    [(_, again)] = await step(world, minutes=15)
    assert again["why"].startswith("directory corp is read whole again")
    assert await step(world, minutes=15) == []
    world.source.unknown["group:design"] = "timeout"
    assert await step(world, hours=23) == []
    [(_, second)] = await step(world, hours=1)
    assert second["scopes"] == ["group:design"]
    async with ledger.read(ORGANIZATION.id) as reader:
        assert await runs.due_dates(reader, "source_stale") == {}


async def test_d1_a_directory_that_was_away_while_the_daemon_was_is_told_at_once(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    world.source.unknown[BASE] = "connection refused"
    [(source, _)] = await step(world, days=3)
    assert source == "corp"


async def test_d1_a_directory_that_was_never_read_whole_counts_from_its_first_run(
    ledger: Ledger, now: datetime
) -> None:
    world = await company(ledger, now)
    other = HandSource("lab")
    other.unknown[BASE] = "bind failed"
    world.others = (other,)
    assert await step(world, hours=1) == []
    assert await step(world, hours=23) == []
    [(source, payload)] = await step(world, hours=1)
    assert (source, payload["last_complete_at"]) == ("lab", None)
    assert "was not read whole ever" in payload["why"]


async def test_d1_a_lapse_that_ends_in_time_is_not_told(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    world.source.unknown[BASE] = "connection refused"
    assert await step(world, hours=23) == []
    world.source.unknown.clear()
    assert await step(world, hours=2) == []
    async with ledger.read(ORGANIZATION.id) as reader:
        assert await runs.due_dates(reader, "source_stale") == {}


@pytest.mark.parametrize(("within", "messages"), [("2h", 1), ("0", 0)])
async def test_d1_how_fresh_a_directory_must_be_is_a_setting(
    ledger: Ledger, now: datetime, within: str, messages: int
) -> None:
    world = await company(ledger, now, sync={"fresh_within": within})
    world.source.unknown[BASE] = "connection refused"
    assert len(await step(world, hours=2)) == messages


async def test_p4_seats_that_run_short_are_told_when_the_waitlist_grows(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    assert await told(world, notices.SEATS_SHORT) == []
    world.source.put("cy", "dan", groups=["design"])
    await step(world, hours=1)
    [(pool, payload)] = await told(world, notices.SEATS_SHORT)
    assert pool == "CAD @ Design"
    assert (payload["waiting_before"], payload["waiting"], payload["capacity"]) == (0, 2, 2)
    assert payload["next"] == ("buy 2 more seats of CAD for Team Design, then rosterd import subscriptions FILE")
    await step(world, hours=1)
    assert await told(world, notices.SEATS_SHORT) == [], "nobody new waits"
    world.source.put("eve", groups=["design"])
    await step(world, hours=1)
    [(_, payload)] = await told(world, notices.SEATS_SHORT)
    assert (payload["waiting_before"], payload["waiting"]) == (2, 3)


async def test_p4_a_waitlist_that_moves_without_growing_is_not_told(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now, offboarding={"release_after": "0"})
    world.source.put("cy", groups=["design"])
    await step(world, hours=1)
    await told(world, notices.SEATS_SHORT)
    world.source.change("anna", disabled=True)
    world.source.put("dan", groups=["design"])
    await step(world, hours=1)
    assert await told(world, notices.SEATS_SHORT) == [], "one got a seat, one came"


async def test_g5_suspending_and_resuming_are_told_with_the_next_command(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    async with ledger.write(ORGANIZATION.id, ALONE, at=now) as book:
        await rows.put_sync(book, rows.SyncRow(True, (), now, "ada"))
        await sync.suspend(book, ["domain_unverified"])
        assert await sync.resume(book)
    found = await told(world, "sync.suspended", "sync.resumed")
    assert [payload["next"] for _, payload in found] == ["rosterd sso status", "rosterd plan"]


async def test_g2_a_held_plan_is_told_with_its_expiry_and_command(ledger: Ledger, now: datetime) -> None:
    world = await make_world(ledger, now, policy(mapping("design", "Design", "CAD"), limits={}), Design_CAD=50)
    world.source.put(*(f"p{number}" for number in range(9)), groups=["design"])
    outcome = await run.apply(ledger, world.setup, fence=ALONE, now=now, actor="test", auto=True)
    assert outcome.state is RunState.HELD
    [(digest, payload)] = await told(world, "plan.held")
    assert digest == outcome.held
    assert payload["next"] == f"rosterd approve {outcome.held[:12]}"
    assert payload["expires_at"] == "2026-03-05T09:00:00Z"
