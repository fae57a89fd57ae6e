"""Pure decisions of the usage room: days, attribution, seats, pseudonyms, the list of datasets."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from connector.usage.attribution import Attribution, Span, history
from connector.usage.dimensions import term
from connector.usage.seat_view import HeldSeat, judge_seat
from connector.usage.settings import ReportingSettings
from ledger.published.addresses import namespace
from ledger.published.datasets import DATASETS, ColumnType, Privacy, arrow_table, row_id
from ledger.seat import SeatState
from ledger.usage import BasisKind, Calendar, CollectionState, DayStatus, LegalBasis, UsageDay, UsageSource, user_key

NOON = "2026-03-01T12:00:00"
WARSAW = Calendar.of("Europe/Warsaw", 3)
DAY = date(2026, 3, 1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("instant", "day"),
    [
        ("2026-03-28T22:59:59", 28),
        ("2026-03-28T23:00:00", 29),
        ("2026-03-29T21:59:59", 29),
        ("2026-03-29T22:00:00", 30),
    ],
)
def test_days_follow_the_zone_through_its_clock_changes(instant: str, day: int) -> None:
    assert WARSAW.day_of(at(instant)).day == day


def test_a_day_is_final_after_its_end_and_the_lag() -> None:
    edge = at("2026-03-04T23:00:00")
    assert WARSAW.status(DAY, edge - timedelta(microseconds=1)) is DayStatus.PROVISIONAL
    assert WARSAW.status(DAY, edge) is DayStatus.FINAL
    assert WARSAW.final_through(edge - timedelta(microseconds=1)) == date(2026, 2, 28)
    assert WARSAW.final_through(edge) == DAY


def test_an_unknown_zone_and_an_empty_basis_are_refused() -> None:
    with pytest.raises(ValueError, match="Mars"):
        Calendar.of("Mars/Olympus", 3)
    with pytest.raises(ValueError, match="purposes, evidence"):
        LegalBasis(BasisKind.NOTICE, (), ("employees",), (), DAY, "")


def test_lateness_must_outlast_finality() -> None:
    with pytest.raises(ValueError, match="finalise_after_days must be smaller"):
        ReportingSettings(finalise_after_days=7, lateness_days=7)


def usage(person: str = "p", offering: str = "CAD") -> UsageDay:
    return UsageDay(DAY, person, offering, "", UsageSource.SUS, None, CollectionState.OBSERVED)


@pytest.mark.parametrize(
    ("seats", "members", "team"),
    [
        ([], [], ""),
        ([], [("A", "2026-01-01T00:00:00", None)], "A"),
        ([("S", "2026-01-01T00:00:00", None)], [("A", "2026-01-01T00:00:00", None)], "S"),
        ([("S", "2026-01-01T00:00:00", "2026-02-28T22:00:00")], [("A", "2026-01-01T00:00:00", None)], "A"),
        ([], [("A", "2026-01-01T00:00:00", "2026-03-01T12:00:00"), ("B", "2026-03-01T12:00:00", None)], "B"),
        ([], [("A", "2026-03-01T22:59:59", None)], "A"),
        ([], [("A", "2026-03-01T23:00:00", None)], ""),
        ([], [("A", "2026-01-01T00:00:00", "2026-02-28T23:00:00")], ""),
        (
            [],
            [("A", "2026-01-01T00:00:00", "2026-03-01T05:00:00"), ("B", "2026-03-01T05:00:00", "2026-03-01T06:00:00")],
            "B",
        ),
        ([], [("B", "2026-01-01T00:00:00", None), ("A", "2026-01-01T00:00:00", None)], "A"),
        ([], [("B", "2026-01-01T00:00:00", None), ("A", "2026-01-02T00:00:00", None)], "B"),
    ],
)
def test_usage_belongs_to_exactly_one_team(seats: Any, members: Any, team: str) -> None:
    def spans(rows: Any) -> list[Span]:
        return [Span(one, at(since), at(until) if until else None) for one, since, until in rows]

    past = history([("p", "CAD", span) for span in spans(seats)], [("p", span) for span in spans(members)])
    assert Attribution(WARSAW, past).team_of(usage()) == team
    assert Attribution(WARSAW, past).team_of(usage("stranger")) == ""


def bits(*days: int) -> int:
    return sum(1 << (day - 1) for day in days)


def held(**fields: Any) -> HeldSeat:
    known: dict[str, Any] = {
        "state": SeatState.ACTIVE,
        "direct": True,
        "held_from": date(2026, 1, 1),
        "held_until": date(2026, 3, 2),
        "months": [],
        "observed_from": date(2025, 12, 1),
        "complete_through": date(2026, 3, 1),
    }
    return HeldSeat(**(known | fields))


JANUARY, FEBRUARY = date(2026, 1, 1), date(2026, 2, 1)


@pytest.mark.parametrize(
    ("seat", "state", "inactive", "reason"),
    [
        (held(), "never_used", 60, "never_used"),
        (held(months=[(FEBRUARY, bits(27), 0)]), "used", 2, "in_use"),
        (held(months=[(JANUARY, bits(30), 0)]), "used", 30, "idle"),
        (held(months=[(JANUARY, bits(31), 0)]), "used", 29, "in_use"),
        (held(direct=False), "never_used", 60, "group_assigned"),
        (held(state=SeatState.PAUSED), "never_used", 60, "paused"),
        (held(state=SeatState.RELEASED), "never_used", 60, "released"),
        (held(held_from=date(2026, 2, 20)), "never_used", 10, "too_new"),
        (held(observed_from=None), "not_observed", None, "not_observed"),
        (held(complete_through=None), "not_observed", None, "not_observed"),
        (held(observed_from=date(2026, 2, 15)), "not_observed", None, "not_observed"),
        (held(months=[(FEBRUARY, 0, bits(10))]), "not_observed", None, "not_observed"),
        (held(months=[(JANUARY, bits(5), bits(6))]), "used", 55, "idle"),
        (held(months=[(date(2025, 12, 1), bits(30), 0)]), "never_used", 60, "never_used"),
        (held(complete_through=date(2026, 1, 10)), "never_used", 10, "too_new"),
    ],
)
def test_unobserved_time_is_never_called_idle(seat: HeldSeat, state: str, inactive: int | None, reason: str) -> None:
    verdict = judge_seat(seat, 30)
    assert (verdict.last_activity_state, verdict.days_inactive, verdict.reason) == (state, inactive, reason)
    assert verdict.reclaimable == (reason in {"idle", "never_used"})


def test_days_used_and_their_average_count_days_held_only() -> None:
    seat = held(months=[(JANUARY, bits(1, 2, 31), 0), (FEBRUARY, bits(1, 28), 0)], held_from=date(2026, 1, 2))
    verdict = judge_seat(seat, 30)
    assert (verdict.days_used, verdict.last_used_on, verdict.monthly_average) == (4, date(2026, 2, 28), 2.0)


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        (date(2026, 1, 1), date(2027, 1, 1), "P12M"),
        (date(2026, 1, 31), date(2026, 2, 28), "P28D"),
        (date(2026, 1, 1), date(2026, 1, 1), "P0D"),
    ],
)
def test_terms_are_iso_durations(start: date, end: date, text: str) -> None:
    assert term(start, end) == text


def test_user_keys_are_stable_and_depend_on_secret_organization_and_version() -> None:
    key = user_key(b"k", "acme", "id-1")
    assert key == "u1-3f9c072611fafc506b1afb115c927fe7"
    others = {user_key(b"K", "acme", "id-1"), user_key(b"k", "acm", "id-1"), user_key(b"k", "acme", "id-1", version=2)}
    assert key not in others
    assert len(others) == 3
    with pytest.raises(ValueError, match="secret"):
        user_key(b"", "acme", "id-1")


def test_namespaces_of_two_organizations_never_meet() -> None:
    names = ["acme", "acme-1", "acme_1", "acme__1", "ACME", "acme.1", "żółw", "acme_x2d_1"]
    assert len({namespace(name) for name in names}) == len(names)
    assert namespace("acme") == "rosterd_acme"
    assert all(
        character.isascii() and (character.isalnum() or character == "_")
        for name in names
        for character in namespace(name)
    )


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda one: one.name)
def test_every_dataset_is_declared_consistently(dataset: Any) -> None:
    assert dataset.names[0] == "row_id"
    assert len(set(dataset.names)) == len(dataset.names)
    assert set(dataset.key) <= set(dataset.names)
    assert not any(dataset.by_name[name].nullable for name in dataset.key)
    assert dataset.team_column in {"", *dataset.names}
    assert dataset.day_column in {"", *dataset.dates}
    assert all(column.description.endswith(".") for column in dataset.columns)
    assert ("user_key" in dataset.names) == dataset.per_user
    named = {"department", "cost_centre", "country"}
    assert {column.name for column in dataset.columns if column.privacy is Privacy.NAMED} == named & set(dataset.names)
    empty = arrow_table(dataset, [])
    assert empty.schema.equals(dataset.arrow_schema)
    assert set(dataset.dates) == {column.name for column in dataset.columns if column.type is ColumnType.DATE}


def test_row_ids_are_frozen() -> None:
    """A changed rule would make every BI tool load everything again."""
    assert row_id("usage_daily", (DAY, "t", "u", "CAD", "1", "sus")) == "aadf41316776ac56fa66f9560ef972ce"
    table = arrow_table(
        DATASETS["teams"], [{"team_id": "b", "team_name": "B", "tier": "standard", "since": at("2026-01-01")}]
    )
    assert table["row_id"].to_pylist() == [row_id("teams", ("b",))]
    assert isinstance(table, pa.Table)
