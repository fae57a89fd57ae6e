"""G3: inside a freeze window no harm is applied, approved or not; additions and invites go on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from connector.reconcile.guard.guard import Guarded
from connector.reconcile.guard.limits import FREEZE, Permit, Windows
from connector.reconcile.plan.changes import Kind
from connector.reconcile.plan.freeze import frozen
from connector.reconcile.plan.settings import FreezeSettings, LimitSettings
from tests.parts.directories import HandSource, Somebody, mapping, policy
from tests.unit.reconcile.test_pipeline import absent, ground, guard, holding, plan_for

START = datetime(2026, 12, 24, tzinfo=UTC)
END = datetime(2027, 1, 2, tzinfo=UTC)


def freeze(start: datetime = START, end: datetime = END, reason: str = "holidays") -> FreezeSettings:
    return FreezeSettings.model_validate({"from": start, "until": end, "reason": reason})


@pytest.mark.parametrize(
    ("now", "shut"),
    [
        (START - timedelta(microseconds=1), False),
        (START, True),
        (END - timedelta(microseconds=1), True),
        (END, False),
    ],
)
def test_g3_a_freeze_window_begins_at_from_and_is_over_at_until(now: datetime, shut: bool) -> None:
    assert bool(frozen([freeze()], now)) is shut


def test_g3_of_several_freeze_windows_the_longest_is_named() -> None:
    both = [freeze(reason="short"), freeze(end=END + timedelta(days=1), reason="long")]
    assert frozen(both, START) == "no harm is applied before 2027-01-03T00:00:00Z: long"
    assert frozen(both, END + timedelta(days=1)) == ""
    assert frozen([], START) == ""


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"from": datetime(2026, 12, 24), "until": END, "reason": "x"}, "names no zone"),  # noqa: DTZ001
        ({"from": END, "until": END, "reason": "x"}, "until lies after from"),
        ({"from": START, "until": END}, "reason"),
        ({"from": START, "until": END, "reason": " "}, "reason"),
        ({"from": START, "until": END, "reason": "x", "starts_at": START}, "starts_at"),
    ],
)
def test_g3_a_freeze_window_that_cannot_be_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        LimitSettings.model_validate({"freeze": [values]})


def test_g3_an_instant_with_another_zone_is_the_same_instant() -> None:
    warsaw = freeze(datetime.fromisoformat("2026-12-24T01:00:00+01:00"))
    assert warsaw.starts_at == START
    assert warsaw.starts_at.tzinfo is UTC


def frozen_guard(permit: Permit | None = None, **limits: Any) -> tuple[Guarded, Guarded]:
    """(inside, outside) of a plan with a leaver, a pause that is due for release, a rename, an invite, a join."""
    wide = {"day_floor": 1000, "day_percent": 100, "month_percent": 100, "team_day_floor": 1000, **limits}
    chosen = policy(mapping("design", "Design", "CAD"), mapping("site", "Site", "CAD"), limits=wide)
    source = HandSource()
    source.put(*(Somebody(uid) for uid in ("anna", "bo", "cy", "dan")), groups=["design"])
    source.put("eve", "fay", groups=["site"])
    recorded = holding(chosen, source, absences=absent("eve", scope="group:site"))
    source.change("anna", disabled=True)
    source.change("bo", mail="bo.new@acme.example")
    source.groups["site"].remove("eve")
    source.groups["site"].append("dan")
    source.put("new", groups=["design"])
    draft = plan_for(source, chosen, recorded)
    windows = Windows(frozen="no harm is applied before then: holidays")
    made = [guard(draft, ground(recorded, chosen), item, permit or Permit()) for item in (windows, Windows())]
    return made[0], made[1]


def test_g3_a_freeze_holds_all_harm_with_its_reason_and_lets_additions_go_on() -> None:
    inside, outside = frozen_guard()
    assert {bundle.subject for bundle in inside.held} == {"anna@acme.example", "bo@acme.example", "eve@acme.example"}
    assert {bundle.subject for bundle in inside.allowed} == {"dan@acme.example", "new@acme.example"}
    assert inside.counts[Kind.INVITE] == inside.counts[Kind.ASSIGN_SEAT] == 1
    assert [trip.window for trip in inside.trips] == [FREEZE]
    assert inside.trips[0].text == "no harm is applied before then: holidays; 3 people wait"
    assert not outside.held


def test_g3_a_freeze_holds_what_was_approved_too_unless_the_approval_says_so() -> None:
    keys = frozenset(change.key for bundle in frozen_guard()[0].held for change in bundle.changes)
    for permit in (Permit(everything=True), Permit(keys), Permit(keys, only=True)):
        assert len(frozen_guard(permit)[0].held) == 3, permit
    through, _ = frozen_guard(Permit(keys, despite_freeze=keys))
    assert not through.held
    assert through.approved == {"anna@acme.example", "bo@acme.example", "eve@acme.example"}


def test_g3_a_freeze_frees_no_seat_and_what_counts_on_one_waits() -> None:
    chosen = policy(mapping("design", "Design", "CAD"))
    source = HandSource()
    source.put(*(Somebody(uid) for uid in ("anna", "bo")), groups=["design"])
    recorded = holding(chosen, source, seats=2, absences=absent("bo", scope="group:design"))
    source.groups["design"].remove("bo")
    source.put("new", groups=["design"])
    draft = plan_for(source, chosen, recorded)
    assert draft.plan.counts["AssignSeat"] == 1
    inside = guard(draft, ground(recorded, chosen), Windows(frozen="holidays"), Permit())
    assert inside.counts == {"Invite": 1, "JoinTeam": 1}
    assert inside.held_counts == {"LeaveTeam": 1, "AssignSeat": 1, "ReleaseSeat": 1}
