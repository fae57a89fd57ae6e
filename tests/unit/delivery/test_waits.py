"""Waits of the delivery engine as tables: between tries, while a target is shut, between parcels (L1)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from connector.delivery.waits import Breaker, Turns, backoff

MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("attempts", "wait"),
    [(0, 1), (1, 1), (2, 2), (3, 4), (8, 128), (9, 240), (50, 240), (10**9, 240)],
)
def test_l1_backoff_doubles_up_to_four_hours(attempts: int, wait: int) -> None:
    assert backoff(attempts, 0.5) == wait * MINUTE
    assert backoff(attempts, 0.0) == 0.8 * wait * MINUTE
    assert backoff(attempts, 1.0) == 1.2 * wait * MINUTE


def test_l1_a_breaker_waits_longer_each_time_and_forgets_when_it_mends() -> None:
    breaker = Breaker()
    assert (breaker.tripped, breaker.left(0.0)) == (False, 0.0)
    waits = []
    at = 0.0
    for _ in range(9):
        waits.append(breaker.trip(at, "421", None, chance=0.5))
        at += waits[-1]
        assert (breaker.tripped, breaker.left(at), breaker.why) == (True, 0.0, "421")
    assert waits == [5, 10, 20, 40, 80, 160, 320, 600, 600]
    breaker.mend()
    assert (breaker.tripped, breaker.why) == (False, "")
    assert breaker.trip(at, "421", None, chance=0.5) == 5


def test_l1_a_breaker_waits_as_long_as_was_asked_for_but_not_for_ever() -> None:
    breaker = Breaker()
    assert breaker.trip(0.0, "421", timedelta(seconds=90), chance=0.5) == 90
    assert breaker.trip(100.0, "421", timedelta(days=9), chance=0.5) == 3600


def test_turns_are_evenly_apart_and_none_are_saved_up() -> None:
    turns = Turns(per_minute=30)
    assert [turns.take(100.0) for _ in range(3)] == [0.0, 2.0, 4.0]
    assert turns.take(200.0) == 0.0
    assert turns.take(200.0) == 2.0
