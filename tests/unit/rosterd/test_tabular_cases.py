"""Files of subscriptions that once went wrong: every fault at its line, other forms named with their option."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.errors import BadInput, ManyErrors
from rosterd import tabular

CASES = Path(__file__).parents[2] / "cases" / "imports"


def taken(name: str, encoding: str = "", separator: str = "") -> list[str]:
    path = CASES / name
    rows = tabular.read(path, "subscriptions", encoding, separator)
    teams, offerings = {"Design": "t1", "Dęsign": "t2"}, ("CAD",)
    return [
        value.id for value, _ in tabular.subscriptions(path, rows, teams=teams, offerings=offerings, existing=())
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "faults"),
    [
        ("s_epoch.csv", ["s_epoch.csv:2: starts_on", "s_epoch.csv:2: ends_on"]),
        ("s_dup.csv", ["s_dup.csv:3: id"]),
        (
            "s_bad.csv",
            ["s_bad.csv:4: quantity", "s_bad.csv:5: quantity", "s_bad.csv:5: starts_on", "s_bad.csv:5: ends_on",
             "s_bad.csv:6: ends_on", "s_bad.csv:7: quantity", "s_bad.csv:7: starts_on", "s_bad.csv:2: team",
             "s_bad.csv:3: offering", "s_bad.csv:9: id"],
        ),
    ],
)  # fmt: skip
def test_each_fault_is_told_at_its_line_and_nothing_is_taken(name: str, faults: list[str]) -> None:
    with pytest.raises(ManyErrors) as caught:
        taken(name)
    places = [fault.where for fault in caught.value.faults]
    assert set(faults) <= set(places), places


def test_numbers_are_not_days() -> None:
    with pytest.raises(ManyErrors) as caught:
        taken("s_epoch.csv")
    assert [fault.what for fault in caught.value.faults] == [
        "'86400' is not a day; expected: a day, as YYYY-MM-DD",
        "'1767225600' is not a day; expected: a day, as YYYY-MM-DD",
    ]


def test_a_separator_that_is_not_the_one_named_is_refused_with_the_option_that_reads_it() -> None:
    with pytest.raises(BadInput, match="the columns look separated by semicolons") as caught:
        taken("s_semi.csv", separator="comma")
    assert caught.value.next_step == f"rosterd import subscriptions {CASES / 's_semi.csv'} --separator semicolon"
    assert taken("s_semi.csv") == taken("s_semi.csv", separator=";") == ["S9"]


def test_another_encoding_is_named_with_the_option_that_reads_it() -> None:
    with pytest.raises(BadInput, match=r"is not UTF-8 text \(byte 49\): as CP1250 the line is 'S10,D") as caught:
        taken("s_l1.csv")
    assert caught.value.next_step.endswith("--encoding cp1250")


def test_utf16_is_named_and_read(tmp_path: Path) -> None:
    path = tmp_path / "excel.csv"
    text = "id\tteam\toffering\tquantity\tstarts_on\tends_on\nS1\tDęsign\tCAD\t5\t2026-01-01\t2027-01-01\n"
    path.write_text(text, encoding="utf-16")
    with pytest.raises(BadInput, match="looks like UTF-16") as caught:
        tabular.read(path, "subscriptions", "cp1250")
    assert caught.value.next_step.endswith("--encoding utf-16 --separator tab")
    for named in ((), ("utf-16",), ("utf-16", "tab")):
        assert [row.values["team"] for row in tabular.read(path, "subscriptions", *named)] == ["Dęsign"]
