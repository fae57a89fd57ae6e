"""The instant of a transaction: never before the last one, and never by a clock that cannot be right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ledger.book_time import HostTime, LastWrite, WrongClock, accepted, instant

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
STEP = timedelta(microseconds=1)


def host(wall: timedelta = timedelta(0), steady: timedelta = timedelta(0), boot: str = "b") -> HostTime:
    """What the host shows this long after ``AT``."""
    return HostTime(AT + wall, 1_000.0 + steady.total_seconds(), boot)


LAST = LastWrite(AT, host())


@pytest.mark.parametrize(
    ("wall", "at"),
    [
        (MINUTE, MINUTE),
        (STEP, STEP),
        (timedelta(0), STEP),  # two in one microsecond
        (-MINUTE, STEP),  # a clock that was set back a little: the book's time stands
        (-5 * MINUTE, STEP),
    ],
)
def test_instants_only_grow(wall: timedelta, at: timedelta) -> None:
    assert instant(LAST, host(wall, max(wall, timedelta(0)))) == AT + at


@pytest.mark.parametrize(
    ("wall", "steady", "said"),
    [
        (-5 * MINUTE - STEP, MINUTE, "5 min behind what was written last, at 2026-03-02T09:00:00Z"),
        (-2 * HOUR, MINUTE, "2 h behind"),
        (timedelta(days=-400), MINUTE, "400 d behind"),
        (HOUR + MINUTE + STEP, MINUTE, "it jumped 1 h ahead since 2026-03-02T09:00:00Z"),
        (timedelta(days=9), HOUR, "it jumped 8 d 23 h ahead"),
    ],
)
def test_a_clock_that_cannot_be_right_is_refused(wall: timedelta, steady: timedelta, said: str) -> None:
    with pytest.raises(WrongClock, match=said) as caught:
        instant(LAST, host(wall, steady))
    assert "nothing is written" in caught.value.what
    assert "rosterd clock accept" in caught.value.next_step


@pytest.mark.parametrize("boot", ["another boot", ""])
def test_what_another_boot_or_host_showed_says_nothing_of_a_jump(boot: str) -> None:
    later = host(timedelta(days=9), boot=boot)
    assert instant(LAST, later) == later.wall
    assert instant(LastWrite(AT, host(boot="")), host(timedelta(days=9), boot="")) == AT + timedelta(days=9)


def test_a_host_that_slept_did_not_jump() -> None:
    assert instant(LAST, host(timedelta(days=9), timedelta(days=9))) == AT + timedelta(days=9)


@pytest.mark.parametrize(("lead", "refused"), [(HOUR, False), (HOUR + STEP, True), (-9 * HOUR, False)])
def test_the_database_s_clock_is_a_second_one(lead: timedelta, refused: bool) -> None:
    now = host(timedelta(days=1), timedelta(days=1))
    database = now.wall - lead
    for last in (None, LAST):
        if refused:
            with pytest.raises(WrongClock, match="1 h ahead of the database's"):
                instant(last, now, database)
        else:
            assert instant(last, now, database) == now.wall


@pytest.mark.parametrize(
    ("wall", "database"),
    [(timedelta(days=-400), None), (timedelta(days=9), None), (timedelta(days=9), timedelta(0)), (MINUTE, None)],
)
def test_an_accepted_clock_goes_on_from_where_it_is(wall: timedelta, database: timedelta | None) -> None:
    told = AT + database if database is not None else None
    last = accepted(LAST, host(wall, MINUTE), told)
    assert last.at > AT
    again = last.at
    for minutes in range(1, 4):
        now = host(wall + minutes * MINUTE, (1 + minutes) * MINUTE)
        seen = instant(last, now, told + minutes * MINUTE if told else None)
        assert seen > again
        again, last = seen, LastWrite(seen, now, last.behind, last.ahead)
    with pytest.raises(WrongClock):
        instant(last, host(wall - HOUR, 5 * MINUTE), told)
    with pytest.raises(WrongClock):
        instant(last, host(wall + 2 * HOUR, 5 * MINUTE), told)


def test_the_first_transaction_is_when_the_host_says() -> None:
    assert instant(None, host(MINUTE)) == AT + MINUTE
    assert accepted(None, host(MINUTE)).at == AT + MINUTE
