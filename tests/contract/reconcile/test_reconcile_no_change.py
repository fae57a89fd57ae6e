"""A run that finds nothing to change writes its own record and nothing else, on both databases (D14)."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from connector.reconcile import run
from connector.reconcile.show.outcome import RunState
from ledger.store.engine import Ledger
from tests.parts.directories import make_world, mapping, policy, stand_in_gate
from tests.parts.every_row import every_row
from tests.parts.fences import ALONE


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


async def test_d14_a_run_without_change_writes_only_its_record(ledger: Ledger, now: datetime) -> None:
    rules = policy(mapping("design", "Design", "CAD", priority=10), mapping("site", "Site", "CAD", priority=20))
    world = await make_world(ledger, now, rules, Design_CAD=2, Site_CAD=1)
    world.source.put("anna", "bo", "cy", groups=["design"])
    world.source.put("dan", groups=["site"])
    planned = await run.plan(ledger, world.setup, now=now)
    await run.apply(ledger, world.setup, fence=ALONE, now=now, actor="test", digest=planned.digest)
    for minutes in (20, 40, 60):
        later = now + timedelta(minutes=minutes)
        before = await every_row(ledger)
        outcome = await run.apply(ledger, world.setup, fence=ALONE, now=later, actor="test", auto=True)
        assert outcome.state is RunState.NOTHING
        after = await every_row(ledger)
        grown = {name: len(after[name]) - len(before[name]) for name in after if len(after[name]) != len(before[name])}
        assert grown == {"run": 1, "audit_event": 1, "audit_payload": 1}, "the run, and its witness"
        rewritten = {name for name in after if before[name] - after[name]}
        assert rewritten <= {"source_scope", "source_cursor", "last_reading", "reconcile_base", "book_time"}, (
            "when each scope was last read, and to where"
        )
