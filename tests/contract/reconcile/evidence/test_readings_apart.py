"""A second reading confirms an absence only when it began long enough after the first one ended (E2, D3)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from connector.directory.base import Reading, ReadRequest
from connector.reconcile import run
from connector.reconcile.reading import how
from connector.reconcile.reading.ground import BaseMoved
from connector.reconcile.show.outcome import RunOutcome
from ledger.store.engine import Ledger
from tests.parts.directories import HandSource, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


class Slow(HandSource):
    """A directory whose readings take their time on a clock of its own."""

    clock = 0.0
    takes = 0.0

    async def read(self, request: ReadRequest, *, now: datetime) -> Reading:
        found = await super().read(request, now=now)
        Slow.clock += self.takes
        return found


@pytest.mark.parametrize(
    ("takes", "pauses", "confirmed"),
    [
        (0, (15,), [0, 1]),
        (14, (15,), [0, 0]),
        (14, (15, 30), [0, 0, 1]),
        (14, (29,), [0, 1]),
        (0, (14, 15), [0, 0, 1]),
    ],
)
async def test_e2_confirm_after_counts_from_the_end_of_a_reading_to_the_beginning_of_the_next(
    ledger: Ledger, now: datetime, monkeypatch: pytest.MonkeyPatch, takes: int, pauses: Sequence[int],
    confirmed: Sequence[int],
) -> None:  # fmt: skip
    monkeypatch.setattr(how, "elapsed", lambda: Slow.clock)
    world = await make_world(ledger, now, policy(mapping("design", "Design", "CAD")), Design_CAD=9)
    slow = world.source = Slow()
    slow.put("anna", "bo", "cy", groups=["design"])
    await run.apply(ledger, world.setup, fence=ALONE, now=world.now, actor="test", auto=True)
    slow.drop("bo")
    slow.takes = takes * 60.0
    first = world.later(hours=1)
    counts = []
    for minutes in (0, *pauses):
        outcome = await run.apply(
            ledger, world.setup, fence=ALONE, now=first + timedelta(minutes=minutes), actor="test", auto=True
        )
        counts.append(outcome.counts.get("DisableIdentity", 0))
    assert counts == list(confirmed)


async def test_e2_a_reading_that_had_to_be_made_again_ended_after_both(
    ledger: Ledger, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(how, "elapsed", lambda: Slow.clock)
    world = await make_world(ledger, now, policy(mapping("design", "Design", "CAD")), Design_CAD=9)
    slow = world.source = Slow()
    slow.put("anna", "bo", "cy", groups=["design"])
    await run.apply(ledger, world.setup, fence=ALONE, now=world.now, actor="test", auto=True)
    slow.drop("bo")
    slow.takes = 7 * 60.0
    committed, tries = run.commit, iter([True])

    async def moved(*arguments: Any) -> RunOutcome:
        if next(tries, False):
            raise BaseMoved("the ledger changed meanwhile")
        return await committed(*arguments)

    monkeypatch.setattr(run, "commit", moved)
    first = world.later(hours=1)
    counts = []
    for minutes in (0, 28, 30):
        outcome = await run.apply(
            ledger, world.setup, fence=ALONE, now=first + timedelta(minutes=minutes), actor="test", auto=True
        )
        counts.append(outcome.counts.get("DisableIdentity", 0))
    assert counts == [0, 0, 1], "14 minutes of reading, and confirm_after"
