"""G2, G4: what waits or is spared is found again by every later run, though the directory changes no more."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from connector.reconcile import run
from connector.reconcile.show.outcome import RunState
from ledger.store.engine import Ledger
from tests.parts.directories import make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE

PEOPLE = [f"p{number}" for number in range(20)]


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


async def test_g2_held_renames_stay_held_until_they_are_approved(ledger: Ledger, now: datetime) -> None:
    world = await make_world(ledger, now, policy(mapping("design", "Design", "CAD"), limits={}), Design_CAD=50)
    world.source.put(*PEOPLE, groups=["design"])
    planned = await run.plan(ledger, world.setup, now=now)
    await run.apply(ledger, world.setup, fence=ALONE, now=now, actor="test", digest=planned.digest)
    for name in PEOPLE:
        world.source.change(name, mail=f"new.{name}@acme.example")
    first = await run.apply(ledger, world.setup, fence=ALONE, now=now + timedelta(hours=1), actor="test", auto=True)
    second = await run.apply(ledger, world.setup, fence=ALONE, now=now + timedelta(hours=2), actor="test", auto=True)
    assert first.held_counts == second.held_counts == {"UpdateIdentity": 20}
    assert first.held == second.held
    later = now + timedelta(hours=3)
    approved = await run.approve(
        ledger, world.setup, second.held, reason="a new brand", actor="ada", fence=ALONE, now=later
    )
    assert approved.counts == {"UpdateIdentity": 20}
    settled = await run.apply(ledger, world.setup, fence=ALONE, now=now + timedelta(hours=4), actor="test", auto=True)
    assert settled.state is RunState.NOTHING


async def test_g4_a_spared_person_is_reported_by_every_run(ledger: Ledger, now: datetime) -> None:
    rules = policy(mapping("design", "Design", "CAD"), sync={"protected": ("p0@acme.example",)})
    world = await make_world(ledger, now, rules, Design_CAD=50)
    world.source.put(*PEOPLE, groups=["design"])
    planned = await run.plan(ledger, world.setup, now=now)
    await run.apply(ledger, world.setup, fence=ALONE, now=now, actor="test", digest=planned.digest)
    world.source.change("p0", disabled=True)
    for hour in (1, 2):
        outcome = await run.apply(
            ledger, world.setup, fence=ALONE, now=now + timedelta(hours=hour), actor="test", auto=True
        )
        assert [problem.code for problem in outcome.problems] == ["protected"]
