"""Which noted absences a clock lets be confirmed, case by case (D3)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from connector.reconcile.desired.clock_jumps import continuity
from connector.reconcile.desired.seen import SourceSeen
from connector.reconcile.plan.changes import Absence, ScopeLine
from connector.reconcile.plan.recorded import PEOPLE, Recorded

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
BASE, GROUP = "people:ou=People", "group:design"
SEEN = {"corp": SourceSeen("corp", True, scopes=tuple(ScopeLine("corp", name, True, "", 1) for name in (BASE, GROUP)))}
NOTED = {("corp", "anna", PEOPLE): NOW - timedelta(hours=2), ("corp", "bo", GROUP): NOW - timedelta(hours=2)}


@pytest.mark.parametrize(
    ("ago", "believed", "noted"),
    [
        (timedelta(0), True, True),
        (timedelta(hours=1), True, True),
        (timedelta(days=31), True, True),  # whoever runs monthly
        (timedelta(days=31, seconds=1), False, True),  # stood still, or jumped ahead
        (-timedelta(minutes=5), False, True),  # a little back: begins anew
        (-timedelta(minutes=6), False, False),  # set back: not even noted
        (-timedelta(days=31), False, False),
        (-timedelta(days=32), False, True),  # the earlier reading had the wrong clock: begins anew by this one
    ],
)
def test_d3_an_absence_is_believed_while_the_clock_went_on(ago: timedelta, believed: bool, noted: bool) -> None:
    found = continuity(Recorded(absences=NOTED), {("corp", BASE): NOW - ago, ("corp", GROUP): NOW}, SEEN, NOW)
    anna, bo = NOTED
    assert (anna in found.recorded.absences) is believed
    assert (anna in found.forgotten) is not believed
    assert bo in found.recorded.absences  # another scope
    assert (found.notable([Absence(*anna), Absence(*anna)]) == [anna]) is noted
    assert ([line.scope for line in found.steady(SEEN["corp"].scopes)] == [BASE, GROUP]) is noted


def test_d3_a_note_from_the_future_is_forgotten() -> None:
    noted = {("corp", "anna", PEOPLE): NOW + timedelta(hours=1)}
    found = continuity(Recorded(absences=noted), {}, SEEN, NOW)
    assert (found.recorded.absences, found.forgotten) == ({}, tuple(noted))


def test_d3_scopes_never_read_before_and_sources_not_read_now_change_nothing() -> None:
    recorded = Recorded(absences=NOTED)
    assert continuity(recorded, {}, SEEN, NOW).recorded is recorded
    assert continuity(recorded, {("corp", BASE): NOW - timedelta(days=99)}, {}, NOW).recorded is recorded
