"""How long, since when and until when is said to people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from connector.reconcile.plan.words import ago, span, until

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("length", "said"),
    [
        (timedelta(0), "0 seconds"),
        (timedelta(seconds=1), "1 second"),
        (timedelta(seconds=90), "90 seconds"),
        (timedelta(minutes=15), "15 minutes"),
        (timedelta(minutes=90), "90 minutes"),
        (timedelta(hours=24), "1 day"),
        (timedelta(days=7), "7 days"),
    ],
)
def test_a_span_is_said_whole(length: timedelta, said: str) -> None:
    assert span(length) == said


@pytest.mark.parametrize(
    ("past", "said"),
    [
        (timedelta(seconds=-5), "just now"),
        (timedelta(seconds=119), "just now"),
        (timedelta(minutes=2), "2 minutes ago"),
        (timedelta(minutes=119), "119 minutes ago"),
        (timedelta(hours=47), "47 hours ago"),
        (timedelta(days=3, hours=5), "3 days ago"),
    ],
)
def test_what_is_past_is_said_as_what_comes(past: timedelta, said: str) -> None:
    assert ago(NOW - past, NOW) == said


def test_what_comes_and_what_is_past_are_counted_alike() -> None:
    for hours in range(2, 100):
        length = timedelta(hours=hours)
        assert until(NOW + length, NOW) == f"in {ago(NOW - length, NOW).removesuffix(' ago')}"
