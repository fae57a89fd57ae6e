"""G1, G7: denominators after an approved removal, and what follows from an approved off-boarding."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from connector.reconcile.guard.guard import Guarded, guard
from connector.reconcile.guard.limits import ORGANIZATION, PastHarm, Permit, Windows
from connector.reconcile.plan.changes import Plan
from connector.reconcile.plan.recorded import Recorded
from connector.reconcile.policy.policy import Policy
from tests.parts.directories import HandSource, Somebody, mapping, policy
from tests.unit.reconcile.test_pipeline import NOW, ground, holding, plan_for

LIMITS = {"day_percent": 10, "day_floor": 1, "month_percent": 25, "team_day_percent": 100, "team_day_floor": 99}


def company(size: int) -> tuple[Policy, HandSource, Recorded]:
    chosen = policy(mapping("design", "Design", "CAD"), limits=LIMITS)
    source = HandSource()
    source.put(*(Somebody(f"p{number:03}") for number in range(size)), groups=["design"])
    return chosen, source, holding(chosen, source, seats=1000)


def windows(population: int, *past: PastHarm) -> Windows:
    scopes = ((ORGANIZATION, ""), ("team", "design"), ("mapping", "design"))
    return Windows(dict.fromkeys(scopes, population), population, past)


def disabling(count: int, measured: Windows, size: int = 20) -> Guarded:
    """``count`` of ``size`` people are disabled at once; everybody else who was ever there is gone by approval."""
    chosen, source, recorded = company(size)
    for number in range(count):
        source.change(f"p{number:03}", disabled=True)
    draft = plan_for(source, chosen, recorded)
    return guard(draft, ground(recorded, chosen), measured, Permit())


def test_g1_approved_harm_is_not_counted_and_leaves_no_wide_limit_behind() -> None:
    assert not disabling(2, windows(20)).held
    held = disabling(3, windows(200))
    assert len(held.held) == 3, "of 200 people 180 left by approval: ten per cent of the other 20 are two"
    assert any("(20 people there)" in trip.text for trip in held.trips)


def test_g1_unapproved_leavers_stay_in_the_denominator() -> None:
    gone = tuple(PastHarm("disable", f"gone{number}", "design", "design", True) for number in range(10))
    assert not disabling(1, windows(110, *gone), size=100).held, "eleven of 110: the ten before count on both sides"
    assert disabling(2, windows(110, *gone), size=100).held


def test_g1_the_removal_of_who_left_long_ago_widens_no_limit() -> None:
    """Off-boarded before the window began, removed inside it: they were not there at its start."""
    kinds = ("remove", "leave")
    removed = tuple(PastHarm(kind, f"gone{number}", "design", "design", True) for number in range(10) for kind in kinds)
    assert not disabling(2, windows(200, *removed)).held
    assert disabling(3, windows(200, *removed)).held, "ten per cent of the 20 who are there"


def test_g1_growth_inside_the_window_loosens_nothing() -> None:
    assert disabling(3, windows(10), size=100).held


def off_boarding() -> tuple[Policy, Plan, Recorded, HandSource]:
    """Twenty of forty people, disabled a week ago, whose seats are due for release."""
    chosen, source, recorded = company(40)
    gone = [f"p{number:03}" for number in range(20)]
    due = NOW - timedelta(minutes=1)
    identities, seats = dict(recorded.identities), dict(recorded.seats)
    for uid in gone:
        source.change(uid, disabled=True)
        identities[uid] = msgspec.structs.replace(identities[uid], state="disabled")
        seats[uid] = [msgspec.structs.replace(seat, state="paused", release_due_at=due) for seat in seats[uid]]
    recorded = msgspec.structs.replace(recorded, identities=identities, seats=seats)
    return chosen, plan_for(source, chosen, recorded).plan, recorded, source


@pytest.mark.parametrize(("approved", "held"), [(20, 0), (18, 0), (17, 3), (0, 20)])
def test_g7_what_follows_from_an_approved_off_boarding_is_not_counted_anew(approved: int, held: int) -> None:
    chosen, plan, recorded, source = off_boarding()
    assert plan.counts == {"ReleaseSeat": 20}
    leavers = frozenset(f"p{number:03}" for number in range(approved))
    measured = msgspec.structs.replace(windows(20), leavers=leavers)
    draft = plan_for(source, chosen, recorded)
    made = guard(draft, ground(recorded, chosen), measured, Permit())
    assert len(made.held) == held, "two are within the limit"
    assert len(made.approved) == approved


def test_g7_new_harm_of_an_approved_leaver_counts() -> None:
    chosen, source, recorded = company(20)
    for number in range(5):
        source.change(f"p{number:03}", disabled=True)
    draft = plan_for(source, chosen, recorded)
    everybody = frozenset(recorded.identities)
    measured = msgspec.structs.replace(windows(20), leavers=everybody)
    made = guard(draft, ground(recorded, chosen), measured, Permit())
    assert len(made.held) == 5, "to be disabled again is decided again"
