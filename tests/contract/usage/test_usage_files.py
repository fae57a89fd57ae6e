"""Usage from files: the three kinds agree, a broken file says where, an import that broke off is started again."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connector.usage.files import Passed, import_file
from connector.usage.formats.bodies import MAX_EVENTS
from connector.usage.ingest import IngestReport
from connector.usage.rows import FIELDS, cause_of
from ledger.errors import BadInput
from ledger.store import usage
from ledger.store.engine import Ledger
from tests.parts.usage_company import NOW, ORG, PEOPLE, event, found, ndjson

ROWS = [
    event(1, source="flex", tokens=3),
    event(2, mail=PEOPLE["łucja"], occurred_at="2026-02-28T23:30:00+01:00", version="wersja, 2"),
    event(3, mail=PEOPLE["jorg"], collection_state="offline"),
    event(4, mail="nobody@acme.example"),
    event(5, tokens=1),
    event(6, occurred_at="2026-03-01T10:00:00"),
]


def as_ndjson(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    path.write_bytes(ndjson(*rows))
    return path


def as_csv(path: Path, rows: list[dict[str, Any]] = ROWS, *, bom: bool = True) -> Path:
    with path.open("w", encoding="utf-8-sig" if bom else "utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, FIELDS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def as_parquet(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    pq.write_table(pa.Table.from_pylist([{name: row.get(name) for name in FIELDS} for row in rows]), path)
    return path


async def take(ledger: Ledger, path: Path) -> IngestReport:
    return await import_file(ledger, ORG, path, now=NOW)


@pytest.mark.parametrize("write", [as_ndjson, as_csv, as_parquet])
async def test_every_kind_of_file_gives_the_same_days_and_reasons(ledger: Ledger, tmp_path: Path, write: Any) -> None:
    await found(ledger)
    path = write(tmp_path / f"zużycie.{write.__name__.removeprefix('as_')}")
    seen: list[Passed] = []
    report = await import_file(ledger, ORG, path, now=NOW, progress=seen.append)
    assert (report.rows, report.accepted) == (6, 3)
    assert [row.reasons for row in report.quarantined] == [
        ("the person is not known",),
        ("tokens are given, but source is not flex",),
        ("occurred_at has no time zone: '2026-03-01T10:00:00'; write it with Z or an offset",),
    ]
    async with ledger.read(ORG) as reader:
        days = await usage.folded(reader, [mark.day for mark in await usage.touched(reader)])
    assert [(day.day.day, day.identity_id, day.version, day.tokens, day.is_active) for day in days] == [
        (28, "łucja", "wersja, 2", None, True),
        (1, "anna", "2026.1", 3, True),
        (1, "jorg", "2026.1", None, False),
    ]
    size = 6 if path.suffix == ".parquet" else path.stat().st_size
    assert seen[-1] == Passed(6, size, size, in_bytes=path.suffix != ".parquet")
    again = await take(ledger, path)
    assert (again.accepted, again.duplicates, again.quarantined_count) == (0, 3, 3)


async def test_a_long_file_goes_in_batch_by_batch_with_progress(ledger: Ledger, tmp_path: Path) -> None:
    await found(ledger)
    path = as_ndjson(tmp_path / "long.jsonl", [event(n) for n in range(2 * MAX_EVENTS + 5)])
    seen: list[Passed] = []
    report = await import_file(ledger, ORG, path, now=NOW, progress=seen.append)
    assert report.accepted == 2 * MAX_EVENTS + 5
    assert [passed.rows for passed in seen] == [MAX_EVENTS, 2 * MAX_EVENTS, 2 * MAX_EVENTS + 5, 2 * MAX_EVENTS + 5]
    assert 0 < seen[0].done < seen[1].done <= seen[-1].total == path.stat().st_size


async def test_a_truncated_ndjson_file_quarantines_its_last_line_and_can_be_sent_again(
    ledger: Ledger, tmp_path: Path
) -> None:
    await found(ledger)
    path = as_ndjson(tmp_path / "cut.ndjson", [event(1), event(2)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    report = await take(ledger, path)
    assert (report.accepted, report.quarantined_count) == (1, 1)
    assert report.quarantined[0].place == "line 2"
    assert report.quarantined[0].reasons[0].startswith("not JSON: ")
    path.write_bytes(whole)
    report = await take(ledger, path)
    assert (report.accepted, report.duplicates) == (1, 1)


async def test_a_truncated_parquet_file_is_refused_by_name(ledger: Ledger, tmp_path: Path) -> None:
    await found(ledger)
    path = as_parquet(tmp_path / "cut.parquet")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(BadInput, match=r"cut\.parquet"):
        await take(ledger, path)


async def test_a_csv_that_breaks_off_in_a_quoted_cell_loses_that_row_only(ledger: Ledger, tmp_path: Path) -> None:
    await found(ledger)
    path = as_csv(tmp_path / "cut.csv", [event(n) for n in range(3)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-20] + b'\n"e-x","2026-03-01T10\n' + whole.splitlines()[-1])
    report = await take(ledger, path)
    assert (report.rows, report.accepted) == (5, 3)
    assert {cause_of(row.reasons[0]) for row in report.quarantined} == {
        "the quotes are broken",
        "the number of cells is not that of the header",
    }


async def test_a_csv_row_of_another_encoding_is_quarantined_alone(ledger: Ledger, tmp_path: Path) -> None:
    await found(ledger)
    path = as_csv(tmp_path / "latin.csv", [event(1)], bom=False)
    latin = "e-2,2026-03-01T10:00:00Z,Łucja.Żółć@acme.example,CAD,wersja ż,sus,,\n".encode("iso-8859-2")
    path.write_bytes(path.read_bytes() + latin)
    report = await take(ledger, path)
    assert report.accepted == 1
    [row] = report.quarantined
    assert [cause_of(reason) for reason in row.reasons] == ["mail is not UTF-8", "version is not UTF-8"]
    assert "in CP1250 it reads 'Łucja.Żółć@acme.example'; then import it with --encoding cp1250" in row.reasons[0]


async def test_a_csv_names_every_wrong_column_at_once(ledger: Ledger, tmp_path: Path) -> None:
    await found(ledger)
    path = tmp_path / "wrong.csv"
    path.write_text("event_id,email,occurred_at,occurred_at\n", encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        await take(ledger, path)
    assert caught.value.what == (
        "column mail is missing; column offering_code is missing; column 'email' is unknown: did you mean 'mail'?; "
        "column occurred_at is repeated"
    )


async def test_short_rows_bad_bytes_and_endless_lines_are_quarantined(ledger: Ledger, tmp_path: Path) -> None:
    await found(ledger)
    path = as_csv(tmp_path / "short.csv", [event(1)])
    path.write_bytes(path.read_bytes() + b"only,two\r\n\r\n")
    report = await take(ledger, path)
    assert [row.reasons for row in report.quarantined] == [
        ("the number of cells is not that of the header: 2 instead of 8",)
    ]
    lines = tmp_path / "bad.ndjson"
    lines.write_bytes(b"\xff\xfe\n[1]\n" + b"x" * (3 << 20) + b"\n" + b"[" * 100_000 + b"\n\x00\n" + ndjson(event(2)))
    report = await take(ledger, lines)
    assert (report.rows, report.accepted, report.quarantined_count) == (6, 1, 5)
    assert report.quarantined[2].reasons == ("the line is too long: over 1048576 bytes",)


@pytest.mark.parametrize("name", ["usage.xlsx", "missing.ndjson", "missing.csv", "empty.csv", "text.parquet"])
async def test_a_file_that_cannot_be_used_is_refused_by_name(ledger: Ledger, tmp_path: Path, name: str) -> None:
    await found(ledger)
    if not name.startswith("missing"):
        (tmp_path / name).write_bytes(b"" if name.startswith("empty") else os.urandom(64))
    with pytest.raises(BadInput, match=name):
        await take(ledger, tmp_path / name)
