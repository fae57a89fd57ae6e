"""P4: seats ahead. What is free, what the plan wants, who waits after it, and what the next term end leaves."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from connector.reconcile.outlook.seat_forecast import PoolForecast, forecast
from connector.reconcile.plan.recorded import Recorded, WaitRow
from ledger.seat import Subscription, Tier
from tests.parts.directories import HandSource, Somebody, mapping, policy
from tests.unit.reconcile.test_pipeline import NOW, absent, holding, plan_for

TODAY = NOW.date()
CHOSEN = policy(mapping("design", "Design", "CAD", priority=10), mapping("site", "Site", "CAD", priority=20))


def directory(design: int = 4, site: int = 2) -> HandSource:
    source = HandSource()
    source.groups = {"design": [], "site": []}
    source.put(*(Somebody(f"d{number}") for number in range(design)), groups=["design"])
    source.put(*(Somebody(f"s{number}") for number in range(site)), groups=["site"])
    return source


def sold(quantity: int, ends_on: date = date(2027, 1, 1), **values: Any) -> Subscription:
    return Subscription(
        values.get("id", "one"), values.get("team", "design"), "CAD", quantity, Tier.STANDARD,
        values.get("starts_on", date(2025, 1, 1)), ends_on, values.get("renews", ""),
    )  # fmt: skip


def pool(source: HandSource, recorded: Recorded, team: str = "Design") -> PoolForecast:
    found = forecast(recorded, plan_for(source, CHOSEN, recorded).plan, TODAY)
    return next(item for item in found if item.team == team)


def test_p4_a_shortage_says_who_waits_after_the_plan() -> None:
    source = directory()
    recorded = holding(CHOSEN, source, subscriptions=(sold(5), sold(2, id="two", team="site")))
    source.put("new1", "new2", "new3", groups=["design"])
    found = pool(source, recorded)
    assert (found.capacity, found.held, found.wanted, found.held_after) == (5, 4, 3, 5)
    assert (found.waiting, found.waiting_after) == (0, 2)
    assert found.lines == (
        "CAD @ Design: 2 people wait for a seat after this plan (2 more than now); 5 of 5 seats taken",
    )
    assert found.to_json()["free"] == 1
    assert pool(source, recorded, "Site").lines == ()


def test_p4_whoever_gets_a_seat_waits_no_longer() -> None:
    source = directory()
    recorded = holding(CHOSEN, source, subscriptions=(sold(5),))
    del recorded.seats["d3"], recorded.seats["d2"]
    waits = [WaitRow(f"w{n}", "design", "CAD", "mapping:design", 10, NOW - timedelta(days=n)) for n in (1, 2)]
    recorded.waiting.update({"d2": [waits[0]], "d3": [waits[1]]})
    source.put("new1", "new2", groups=["design"])
    found = pool(source, recorded)
    assert (found.held, found.held_after, found.waiting, found.waiting_after) == (2, 5, 2, 1)
    assert found.lines == (
        "CAD @ Design: 1 person waits for a seat after this plan (1 fewer than now); 5 of 5 seats taken",
    )


def test_p4_released_and_moved_seats_are_free_again() -> None:
    source = directory()
    confirmed = absent("d0", scope="group:design") | absent("d1", scope="group:design")
    recorded = holding(CHOSEN, source, seats=9, absences=confirmed)
    source.groups["design"].remove("d0")
    source.move("d1", "design", "site")
    design, site = pool(source, recorded), pool(source, recorded, "Site")
    assert (design.given_back, design.held, design.held_after) == (2, 4, 2)
    assert (site.wanted, site.held, site.held_after) == (1, 2, 3)


@pytest.mark.parametrize(
    ("subscriptions", "line"),
    [
        (
            (sold(5, TODAY + timedelta(days=1)),),
            "5 seats of CAD @ Design end on 2026-03-03: no successor; 4 people would be without a seat",
        ),
        (
            (
                sold(5, TODAY + timedelta(days=30)),
                sold(3, id="next", starts_on=TODAY + timedelta(days=30), renews="one"),
            ),
            "5 seats of CAD @ Design end on 2026-04-01: successor with 3 seats; 1 person would be without a seat",
        ),
        (
            (sold(5, TODAY + timedelta(days=2)), sold(9, id="next", starts_on=TODAY, renews="one")),
            "5 seats of CAD @ Design end on 2026-03-04: successor with 9 seats; everybody keeps a seat",
        ),
        (
            (sold(1, TODAY + timedelta(days=2)), sold(3, id="other")),
            "1 seat of CAD @ Design ends on 2026-03-04: no successor and 3 other seats;"
            " 1 person would be without a seat",
        ),
        (
            (sold(5, TODAY + timedelta(days=2)), sold(9, id="late", starts_on=TODAY + timedelta(days=3), renews="one")),
            "5 seats of CAD @ Design end on 2026-03-04: no successor; 4 people would be without a seat",
        ),
        ((sold(5, TODAY + timedelta(days=31)),), ""),
        ((sold(5, TODAY), sold(4, id="next", starts_on=TODAY)), ""),
    ],
)
def test_p4_a_term_that_ends_within_30_days_is_forecast(subscriptions: tuple[Subscription, ...], line: str) -> None:
    source = directory()
    recorded = holding(CHOSEN, source, subscriptions=subscriptions)
    assert pool(source, recorded).lines == ((line,) if line else ())


def test_p4_the_forecast_of_an_empty_plan_still_tells_of_terms() -> None:
    source = directory()
    recorded = holding(CHOSEN, source, subscriptions=(sold(4, TODAY + timedelta(days=1)),))
    assert plan_for(source, CHOSEN, recorded).plan.empty
    assert "no successor" in pool(source, recorded).lines[0]
