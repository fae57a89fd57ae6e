"""A clock that jumps between two readings: it never turns one reading into two confirmations (D3).

Around each jump the directory shows 285 of 300 people for a moment: few enough that the limits would let them go.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from connector.reconcile.show.outcome import RunOutcome, RunState
from connector.sso.gate import evidence
from ledger.book_time import HostTime, WrongClock
from ledger.store.engine import Ledger
from tests.parts.directories import ORGANIZATION
from tests.parts.fences import ALONE
from tests.parts.reconciled_directory import COMPANY, FAULT_AT, Reconciled, ldif_settings

LEFT_OUT = [person.uid for person in COMPANY.in_group("engineering")[-15:]]
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
GONE = {"DisableIdentity": 15, "PauseSeat": 15}


def _show(reconciled: Reconciled, *, everybody: bool) -> None:
    shown = COMPANY if everybody else COMPANY.without(*LEFT_OUT)
    (reconciled.folder / "people.ldif").write_text(shown.to_ldif(), encoding="utf-8")
    reconciled.reads(ldif_settings())


async def _domain_seen(ledger: Ledger, at: datetime) -> None:
    """The daily look at the domain, by the clock as it is now; without it the gate closes."""
    facts = {"attempt": 1, "answer": "found", "why": "", "resolvers": []}
    async with ledger.write(ORGANIZATION.id, ALONE, at=at) as book:
        await evidence.record(
            book, evidence.DOMAIN_CHECKED, "acme.example", actor="ada", facts=facts, domains=["acme.example"]
        )


def _did(outcome: RunOutcome) -> tuple[RunState, dict[str, int], str]:
    return outcome.state, dict(outcome.counts), outcome.held


async def test_d3_a_clock_that_jumps_a_month_ahead_suspends_and_then_confirms_nothing(
    reconciled_anywhere: Reconciled,
) -> None:
    reconciled = reconciled_anywhere
    before = await reconciled.holdings()
    _show(reconciled, everybody=False)
    assert _did(await reconciled.run(FAULT_AT)) == (RunState.NOTHING, {}, "")
    jumped = FAULT_AT + 40 * DAY
    assert (await reconciled.run(jumped)).state is RunState.SUSPENDED  # the evidence of single sign-on is too old
    await _domain_seen(reconciled.ledger, jumped)
    assert _did(await reconciled.run(jumped + MINUTE)) == (RunState.NOTHING, {}, "")
    assert await reconciled.holdings() == before
    assert (await reconciled.run(jumped + 20 * MINUTE)).counts == GONE  # two readings by a steady clock


async def test_d3_after_a_jump_ahead_whoever_is_seen_again_is_forgotten(reconciled: Reconciled) -> None:
    before = await reconciled.holdings()
    _show(reconciled, everybody=False)
    await reconciled.run(FAULT_AT)
    jumped = FAULT_AT + 40 * DAY
    await _domain_seen(reconciled.ledger, jumped)
    _show(reconciled, everybody=True)
    assert _did(await reconciled.run(jumped + MINUTE)) == (RunState.NOTHING, {}, "")
    _show(reconciled, everybody=False)
    assert _did(await reconciled.run(jumped + 2 * MINUTE)) == (RunState.NOTHING, {}, "")
    assert await reconciled.holdings() == before


@pytest.mark.parametrize("back", [10 * MINUTE, 50 * MINUTE])
async def test_d3_a_clock_set_back_and_forward_again_confirms_nothing(
    reconciled_anywhere: Reconciled, back: timedelta
) -> None:
    reconciled = reconciled_anywhere
    before = await reconciled.holdings()
    _show(reconciled, everybody=True)
    assert _did(await reconciled.run(FAULT_AT)) == (RunState.NOTHING, {}, "")
    _show(reconciled, everybody=False)
    for at in (FAULT_AT - back, FAULT_AT - back + MINUTE, FAULT_AT + 6 * MINUTE):
        assert _did(await reconciled.run(at)) == (RunState.NOTHING, {}, "")
    assert await reconciled.holdings() == before
    assert (await reconciled.run(FAULT_AT + 30 * MINUTE)).counts == GONE


async def test_d3_a_note_from_the_future_begins_anew(reconciled: Reconciled) -> None:
    before = await reconciled.holdings()
    _show(reconciled, everybody=False)
    await reconciled.run(FAULT_AT + 6 * DAY)
    for at in (FAULT_AT, FAULT_AT + 20 * MINUTE):  # the clock is behind what was read: nothing is noted or confirmed
        assert _did(await reconciled.run(at)) == (RunState.NOTHING, {}, "")
    assert await reconciled.holdings() == before


async def test_r5_a_clock_set_back_before_the_evidence_decides_nothing(
    reconciled: Reconciled, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await reconciled.holdings()
    _show(reconciled, everybody=False)
    assert (await reconciled.run(FAULT_AT)).state is RunState.NOTHING
    back = FAULT_AT - 400 * DAY
    monkeypatch.setattr(reconciled.ledger, "_clock", lambda: HostTime(back))
    with pytest.raises(WrongClock, match="400 d behind"):
        await reconciled.run(back)
    assert await reconciled.holdings() == before
