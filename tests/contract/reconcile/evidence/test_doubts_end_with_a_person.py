"""Whoever is kept only by doubt is put before a person after a while, apart from everything else (E15, E1)."""

from __future__ import annotations

from datetime import datetime

import pytest

from connector.reconcile import run
from connector.reconcile.plan.changes import DOUBT
from connector.reconcile.show.outcome import RunOutcome, RunState
from ledger.store.engine import Ledger
from tests.parts.directories import World, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE

OFF = {"PauseSeat": 1, "DisableIdentity": 1}


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


async def again(world: World, **later: float) -> RunOutcome:
    return await run.apply(world.ledger, world.setup, fence=ALONE, now=world.later(**later), actor="test", auto=True)


async def approve(world: World, digest: str) -> RunOutcome:
    return await run.approve(
        world.ledger, world.setup, digest, reason="left", actor="ann", fence=ALONE, now=world.later(hours=1)
    )


@pytest.fixture
async def world(ledger: Ledger, now: datetime) -> World:
    """Bo's entry is gone, and the group still lists it."""
    made = await make_world(ledger, now, policy(mapping("design", "Design", "CAD")), Design_CAD=20)
    made.source.put("anna", "bo", "cy", "di", groups=["design"])
    await again(made)
    made.source.drop("bo")
    made.source.unresolved["design"] = {"uid=bo,ou=People"}
    return made


async def held_after_a_week(world: World) -> RunOutcome:
    """The first doubt, and the runs of a week."""
    for days in (0.5, 3, 3.9):
        outcome = await again(world, days=days)
        assert (outcome.counts, outcome.held) == ({}, "")
        assert any(problem.code == DOUBT for problem in outcome.problems)
    return await again(world, days=0.2)


async def test_e15_after_a_week_a_person_decides(world: World) -> None:
    outcome = await held_after_a_week(world)
    assert (outcome.state, outcome.exit_code, outcome.counts, outcome.held_counts) == (RunState.HELD, 3, {}, OFF)
    text = "\n".join(outcome.lines)
    assert "bo@acme.example: not shown since 2026-03-0" in text
    assert "group design still lists uid=bo,ou=People" in text
    assert r"printf 'dn: design\nchangetype: modify\ndelete: member\nmember: uid=bo,ou=People\n' | ldapmodify" in text
    assert f"rosterd approve {outcome.held[:12]}" in text
    assert not any(problem.code == DOUBT for problem in outcome.problems)
    assert (await again(world, days=30)).held == outcome.held, "never applied by itself"


async def test_e15_the_approval_is_the_evidence_and_the_later_stages_follow(world: World) -> None:
    held = await held_after_a_week(world)
    done = await approve(world, held.held)
    assert done.counts == OFF
    released = await again(world, days=20)
    assert released.counts == {"ReleaseSeat": 1}
    removed = [(await again(world, days=25)).counts for _ in range(4)]
    assert [counts for counts in removed if counts] == [{"LeaveTeam": 1, "RemoveIdentity": 1}]


async def test_e15_it_waits_apart_from_what_limits_hold(world: World) -> None:
    await held_after_a_week(world)
    world.policy = policy(mapping("design", "Design", "CAD"), limits={"day_floor": 0, "day_percent": 0})
    world.source.change("cy", disabled=True)
    outcome = await again(world, hours=1)
    planned = await run.plan(world.ledger, world.setup, now=world.now)
    limited, decided = planned.guarded.parts
    assert [bundle.subject for bundle in limited.bundles] == ["cy@acme.example"]
    assert [bundle.subject for bundle in decided.bundles] == ["bo@acme.example"]
    for lines in (outcome.lines, planned.lines):
        assert all(
            any(f"rosterd approve {part.digest[:12]}" in line for line in lines) for part in planned.guarded.parts
        )
    assert outcome.held == limited.digest
    one = await run.approve(
        world.ledger, world.setup, decided.digest, reason="left", actor="a", fence=ALONE, now=world.later(hours=1)
    )
    assert one.counts == OFF
    assert (await run.plan(world.ledger, world.setup, now=world.now)).guarded.parts == (limited,)


async def test_e15_the_value_removed_it_is_an_absence_like_any_other(world: World) -> None:
    await held_after_a_week(world)
    world.source.unresolved.clear()
    first, second = await again(world, hours=1), await again(world, hours=1)
    assert (first.counts, first.held, second.counts) == ({}, "", OFF)


async def test_e15_seen_again_the_doubt_begins_anew(world: World) -> None:
    await held_after_a_week(world)
    world.source.put("bo", groups=["design"])
    world.source.unresolved.clear()
    assert (await again(world, hours=1)).held == ""
    world.source.drop("bo")
    world.source.unresolved["design"] = {"uid=bo,ou=People"}
    await held_after_a_week(world)


async def test_e15_a_doubted_reading_ages_nobody(world: World) -> None:
    world.policy = policy(mapping("design", "Design", "CAD"), sync={"doubt_floor": 0, "doubt_percent": 0})
    for days in (1, 5, 5):
        assert ((outcome := await again(world, days=days)).exit_code, outcome.held) == (4, "")


async def test_e1_what_was_stated_stays_stated_whatever_a_stale_value_says(world: World) -> None:
    world.source.change("cy", disabled=True)
    assert (await again(world, hours=1)).counts == OFF
    world.source.drop("cy")
    world.source.unresolved["design"].add("uid=cy,ou=People")
    outcome = await again(world, days=20)
    assert outcome.counts == {"ReleaseSeat": 1}
    assert not any("cy@acme.example" in problem.subjects for problem in outcome.problems)
