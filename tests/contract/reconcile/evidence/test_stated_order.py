"""What a linked entry states acts at once, behind gate, protection, freeze windows and limits, in this order (E1)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

from connector.reconcile import run
from ledger.store.engine import Ledger
from tests.parts.directories import make_world, mapping, open_gate, policy, stand_in_gate
from tests.parts.fences import ALONE

OFF = {"PauseSeat": 1, "DisableIdentity": 1}
FREEZE = {"from": "2026-03-01T00:00Z", "until": "2026-03-03T00:00Z", "reason": "year-end closing"}
TIGHT = {"day_floor": 0, "day_percent": 0}
SPARED = {"protected": ["bo@acme.example"]}


@pytest.mark.parametrize(
    ("shut", "values", "held", "code"),
    [
        (True, {"sync": SPARED, "limits": {**TIGHT, "freeze": [FREEZE]}}, {}, "frozen"),
        (False, {"sync": SPARED, "limits": {**TIGHT, "freeze": [FREEZE]}}, {}, "protected"),
        (False, {"limits": {"freeze": [FREEZE]}}, OFF, ""),
        (False, {"limits": TIGHT}, OFF, ""),
        (False, {"limits": {}}, {}, ""),
    ],
    ids=["gate", "protected", "freeze", "limits", "at once"],
)
@pytest.mark.parametrize("spoiled", [{}, {"broken": True}, {"mail": "bo@elsewhere.example"}])
async def test_e1_what_stands_before_a_stated_end(
    ledger: Ledger, now: datetime, monkeypatch: pytest.MonkeyPatch, shut: bool, values: Mapping[str, Any],
    held: Mapping[str, int], code: str, spoiled: Mapping[str, Any],
) -> None:  # fmt: skip
    """The gate that counts is that of the identity's domain, whatever the entry shows now."""
    stand_in_gate(monkeypatch)
    world = await make_world(ledger, now, policy(mapping("design", "Design", "CAD")), Design_CAD=9)
    world.source.put("anna", "bo", "cy", groups=["design"])
    await run.apply(ledger, world.setup, fence=ALONE, now=world.now, actor="test", auto=True)
    world.policy = policy(mapping("design", "Design", "CAD"), **values)
    if shut:
        await open_gate(ledger, world.now, "elsewhere.example")
    world.source.change("bo", disabled=True, **spoiled)
    outcome = await run.apply(ledger, world.setup, fence=ALONE, now=world.later(hours=1), actor="test", auto=True)
    assert outcome.counts == ({} if held or code else OFF)
    assert outcome.held_counts == held
    assert not code or any(
        problem.code == code and "bo@acme.example" in problem.subjects for problem in outcome.problems
    )
