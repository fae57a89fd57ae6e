"""G3 on both databases: freeze windows, a second approver, and what each says is needed next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connector.reconcile import run
from connector.reconcile.policy.policy import Policy
from connector.reconcile.show.outcome import RunOutcome, RunState
from ledger.errors import Refused
from ledger.store import runs, tokens
from ledger.store.engine import Ledger
from tests.parts.directories import ORGANIZATION, World, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE
from tests.parts.outbox_rows import written

NONE_UNASKED = {"day_floor": 0, "day_percent": 0, "team_day_floor": 99}
FREEZE = {
    "from": datetime(2026, 3, 3, tzinfo=UTC),
    "until": datetime(2026, 3, 6, tzinfo=UTC),
    "reason": "the books are closed",
}
INSIDE = datetime(2026, 3, 4, 9, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


def rules(**limits: Any) -> Policy:
    return policy(mapping("design", "Design", "CAD"), limits={**NONE_UNASKED, **limits})


async def company(ledger: Ledger, now: datetime, chosen: Policy) -> World:
    """Six people who came in while nothing was frozen and one approval was enough."""
    world = await make_world(ledger, now, rules(), Design_CAD=9)
    world.source.put(*(f"p{number}" for number in range(6)), groups=["design"])
    planned = await run.plan(ledger, world.setup, now=now)
    await run.apply(ledger, world.setup, fence=ALONE, now=now, actor="test", digest=planned.digest)
    world.policy = chosen
    return world


async def leave(world: World, at: datetime, *numbers: int, newcomer: str = "") -> RunOutcome:
    world.now = at
    for number in numbers:
        world.source.change(f"p{number}", disabled=True)
    if newcomer:
        world.source.put(newcomer, groups=["design"])
    return await run.apply(world.ledger, world.setup, fence=ALONE, now=at, actor="test", auto=True)


async def approve(world: World, digest: str, actor: str, **values: Any) -> RunOutcome:
    return await run.approve(
        world.ledger, world.setup, digest, reason="meant", actor=actor, fence=ALONE, now=world.now, **values
    )


async def told(ledger: Ledger, kind: str) -> list[Any]:
    return [row.payload for row in await written(ledger, kind)]


async def test_g3_inside_a_freeze_additions_go_on_and_harm_waits_for_the_word(ledger: Ledger, now: datetime) -> None:
    wide = {"day_floor": 100, "month_percent": 100}
    world = await company(ledger, now, rules(freeze=[FREEZE], **wide))
    held = await leave(world, INSIDE, 0, newcomer="new")
    assert held.state is RunState.HELD
    assert held.counts == {"Invite": 1, "JoinTeam": 1, "AssignSeat": 1}
    assert held.lines[0] == (
        f"0 removals applied, 1 held; approve with `rosterd approve {held.held[:12]} --despite-freeze`"
    )
    assert held.lines[1] == "held: no harm is applied before 2026-03-06T00:00:00Z: the books are closed; 1 person waits"
    with pytest.raises(Refused, match="the books are closed") as caught:
        await approve(world, held.held, "ada")
    assert caught.value.next_step.endswith(f"rosterd approve {held.held[:12]} --despite-freeze")
    planned = await run.plan(ledger, world.setup, now=INSIDE)
    by_digest = await run.apply(ledger, world.setup, fence=ALONE, now=INSIDE, actor="ada", digest=planned.digest)
    assert (by_digest.state, by_digest.counts) == (RunState.HELD, {}), "a digest is not the word"
    done = await approve(world, held.held, "ada", despite_freeze=True)
    assert done.counts == {"PauseSeat": 1, "DisableIdentity": 1}
    assert [item["next"] for item in await told(ledger, "plan.held")] == [
        f"rosterd approve {held.held[:12]} --despite-freeze"
    ]


async def test_g3_after_the_freeze_what_the_limits_allow_goes_by_itself(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now, rules(freeze=[FREEZE], day_floor=100))
    assert (await leave(world, INSIDE, 0)).state is RunState.HELD
    assert (await leave(world, FREEZE["until"] - timedelta(microseconds=1))).state is RunState.HELD  # type: ignore[operator]
    assert (await leave(world, FREEZE["until"])).counts == {"PauseSeat": 1, "DisableIdentity": 1}  # type: ignore[arg-type]


async def test_g3_an_approval_given_before_a_freeze_does_not_reach_into_it(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now, rules(freeze=[FREEZE]))
    held = await leave(world, now + timedelta(hours=1), 0, 1)
    world.source.unknown["people:ou=People"] = "cut off"
    half = await approve(world, held.held, "ada")
    assert half.counts == {"PauseSeat": 2, "DisableIdentity": 2}, "disabled is positive evidence"
    async with ledger.read(ORGANIZATION.id) as reader:
        assert [item.state for item in await runs.held_sets(reader, ("approved",))] == ["approved"]
    for number in (0, 1):
        world.source.change(f"p{number}", disabled=False)
    world.source.unknown.clear()
    assert (await leave(world, now + timedelta(hours=2))).counts == {"Reinstate": 4}
    assert (await leave(world, INSIDE, 0, 1)).state is RunState.HELD, "the same changes, still approved, now frozen"


async def test_g3_two_principals_approve_and_the_first_is_told_so(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now, rules(approvers=2))
    held = await leave(world, now + timedelta(days=2), 0, 1, 2)
    assert held.lines[-2].endswith("it takes the approval of 2 principals")
    first = await approve(world, held.held[:10], "ada")
    assert (first.state, first.exit_code, first.counts, first.held) == (RunState.HELD, 3, {}, held.held)
    assert "one more approval by another principal is needed" in first.lines[0]
    assert f"`rosterd approve {held.held[:12]}`" in first.lines[1]
    assert "expires in 3 days" in first.lines[1]
    assert [item["approved_by"] for item in await told(ledger, "plan.approval_needed")] == ["ada"]
    with pytest.raises(Refused, match="another principal"):
        await approve(world, held.held, "ada")
    planned = await run.plan(ledger, world.setup, now=world.now)
    assert [how.approved_by for how in planned.awaiting] == [("ada",)]
    assert any("approved by ada: one more approval by another principal" in line for line in planned.lines)
    second = await approve(world, held.held, "ben")
    assert second.counts == {"PauseSeat": 3, "DisableIdentity": 3}
    async with ledger.read(ORGANIZATION.id) as reader:
        kept = (await runs.held_sets(reader, ("applied",)))[-1]
        assert [item["by"] for item in kept.approvals] == ["ada", "ben"]
        assert [row.state for row in await runs.latest(reader, 2)] == ["applied", "held"], "both are runs (A4)"


async def test_g3_apply_digest_by_one_principal_approves_no_harm_where_two_are_needed(
    ledger: Ledger, now: datetime
) -> None:
    world = await company(ledger, now, rules(approvers=2))
    world.now = now + timedelta(days=2)
    world.source.change("p0", disabled=True)
    world.source.put("new", groups=["design"])
    planned = await run.plan(ledger, world.setup, now=world.now)
    outcome = await run.apply(ledger, world.setup, fence=ALONE, now=world.now, actor="ada", digest=planned.digest)
    assert (outcome.state, outcome.counts) == (RunState.HELD, {}), "an invite is harm too (G1)"
    assert not any("apply --digest" in line for line in planned.lines)
    for actor in ("ada", "ben"):
        done = await approve(world, outcome.held, actor)
    assert done.state is RunState.APPLIED


async def test_g3_two_tokens_of_one_name_are_one_principal(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now, rules(approvers=2))
    async with ledger.write(ORGANIZATION.id, ALONE, at=now) as book:
        for public, name in (("aaaaaaaa", "Ada"), ("bbbbbbbb", "ada"), ("cccccccc", "ben")):
            await tokens.insert(book, tokens.TokenRow(public, ORGANIZATION.id, name, public, (), (), (), (), "report",
                                                      now, "operator:test", now + timedelta(days=30)))  # fmt: skip
    held = await leave(world, now + timedelta(days=2), 0)
    await approve(world, held.held, "token:aaaaaaaa")
    with pytest.raises(Refused, match="another principal"):
        await approve(world, held.held, "token:bbbbbbbb")
    assert (await approve(world, held.held, "token:cccccccc")).state is RunState.APPLIED


async def test_g3_inside_a_freeze_both_principals_say_the_word(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now, rules(approvers=2, freeze=[FREEZE]))
    held = await leave(world, FREEZE["from"] - timedelta(hours=1), 0)  # type: ignore[operator]
    await approve(world, held.held, "ada")
    world.now = FREEZE["from"] + timedelta(hours=1)  # type: ignore[operator]
    with pytest.raises(Refused, match="ada did not say"):
        await approve(world, held.held, "ben", despite_freeze=True)
    again = await approve(world, held.held, "ada", despite_freeze=True)
    assert (again.state, again.counts) == (RunState.HELD, {})
    done = await approve(world, held.held, "ben", despite_freeze=True)
    assert done.counts == {"PauseSeat": 1, "DisableIdentity": 1}


async def test_g3_a_half_approved_set_expires_like_any_other(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now, rules(approvers=2, approval_expires="1h"))
    held = await leave(world, now + timedelta(days=2), 0)
    await approve(world, held.held, "ada")
    world.later(hours=1)
    with pytest.raises(Refused, match="expired"):
        await approve(world, held.held, "ben")
    again = await leave(world, world.now)
    assert (again.held, again.state) == (held.held, RunState.HELD)
    async with ledger.read(ORGANIZATION.id) as reader:
        assert [len(item.approvals) for item in await runs.held_sets(reader, ("open",))] == [0], "it begins anew"
