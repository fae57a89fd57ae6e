"""Every file that once failed has its right value, over HTTP and as a file, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from ledger.store import usage
from ledger.store.engine import Ledger
from tests.parts.sent_usage import Outcome, by_file, by_wire, wire
from tests.parts.usage_company import ORG, found

CASES = Path(__file__).parents[2] / "cases"
NOW = datetime(2026, 11, 30, tzinfo=UTC)
PEOPLE = {name: f"{name}@acme.example" for name in ("a", "p11", *(f"user0{n}" for n in range(12, 17)))}
PEOPLE["lucja"] = "łucja@acme.example"
ONE, FIVE = Outcome(1), Outcome(5)


NUMBER, ZONE, INSTANT = (
    "occurred_at is a number",
    "occurred_at has no time zone",
    "occurred_at is not an RFC 3339 instant",
)
RIGHT: dict[str, Outcome] = {
    "reporting/bom.ndjson": ONE,
    "reporting/cp1250.csv": Outcome(quarantined=1, causes={"mail is not UTF-8": 1}),
    "reporting/cr-only.csv": ONE,
    "reporting/dict.parquet": ONE,
    "reporting/epoch-ms.ndjson": Outcome(quarantined=1, causes={NUMBER: 1}),
    "reporting/extra-field.ndjson": Outcome(quarantined=1, causes={"a field is not known": 1}),
    "reporting/float-tokens.ndjson": ONE,
    "reporting/leap-second.ndjson": ONE,
    "reporting/nan.parquet": Outcome(quarantined=1, causes={"tokens is not a number": 1}),
    "reporting/nanoseconds.ndjson": ONE,
    "reporting/nbsp-version.ndjson": ONE,
    "reporting/null-fields.ndjson": ONE,
    "reporting/pandas-time-nocolon.csv": ONE,
    "reporting/space-time.csv": ONE,
    "reporting/t24.ndjson": Outcome(quarantined=1, causes={INSTANT: 1}),
    "reporting/tokens-decimal.parquet": ONE,
    "reporting/tokens-double.parquet": ONE,
    "reporting/ts-naive.parquet": Outcome(quarantined=1, causes={ZONE: 1}),
    "reporting/ts-ns.parquet": ONE,
    "reporting/ts-utc-us.parquet": ONE,
    "reporting/unicode-id.ndjson": ONE,
    "reporting/year1.ndjson": Outcome(2, quarantined=1, causes={"occurred_at is out of range": 1}),
    "imports/bad.csv": Outcome(1, quarantined=18, dropped=1),
    "imports/dups.csv": Outcome(1, 1, 1, causes={"event_id is known with other content": 1}),
    "imports/excel.csv": Outcome(
        1,
        quarantined=7,
        causes={INSTANT: 3, NUMBER: 1, ZONE: 1, "occurred_at is a day without a time": 1,
                "event_id is a rounded number": 1},
    ),
    "imports/one.csv": Outcome(quarantined=3, causes={NUMBER: 3}),
    "imports/latin1.csv": Outcome(quarantined=1, causes={"mail is not UTF-8": 1}),
}  # fmt: skip
OTHER_FORM: dict[str, tuple[dict[str, str], Outcome]] = {
    "reporting/excel-semicolon.csv": ({"separator": "semicolon"}, ONE),
    "reporting/excel-utf16.csv": ({"encoding": "utf-16"}, ONE),
    "imports/semi.csv": ({"separator": "semicolon"}, FIVE),
    "imports/utf16.csv": ({"encoding": "utf-16"}, FIVE),
}
ELSEWHERE = {"truncated.ndjson.gz", "obsfold-token-in-log.txt", "s_bad.csv", "s_dup.csv", "s_epoch.csv", "s_l1.csv",
             "s_semi.csv"}  # fmt: skip


def settled(seen: Outcome, right: Outcome) -> Outcome:
    """bad.csv has its counters only: each row has reasons of its own."""
    return seen if right.causes or not right.quarantined else Outcome(
        seen.accepted, seen.known, seen.conflicts, seen.quarantined, seen.dropped
    )  # fmt: skip


async def staged(ledger: Ledger) -> dict[tuple[date, str, str, str], Any]:
    async with ledger.read(ORG) as reader:
        days = await usage.folded(reader, [mark.day for mark in await usage.touched(reader)])
    return {(day.day, day.identity_id, day.version, day.source): day.tokens for day in days}


def test_every_case_has_its_right_value_in_a_test() -> None:
    names = {str(path.relative_to(CASES)) for room in ("reporting", "imports") for path in (CASES / room).iterdir()}
    told = {name for name in names if Path(name).name in ELSEWHERE}
    assert names - told == {*RIGHT, *OTHER_FORM}
    assert {Path(name).name for name in told} == ELSEWHERE


async def test_as_files(ledger: Ledger) -> None:
    await found(ledger, mails=PEOPLE)
    for name, right in RIGHT.items():
        seen = await by_file(ledger, CASES / name, NOW, lateness_days=120)
        assert (name, settled(seen, right)) == (name, right)
    for name, (options, right) in OTHER_FORM.items():
        wrong = {"separator": "pipe"} if "separator" in options else {"encoding": "cp1250"}
        refused = await by_file(ledger, CASES / name, NOW, lateness_days=120, **wrong)
        way = " ".join(f"--{option} {value}" for option, value in options.items())
        assert f"rosterd import usage {CASES / name} {way}" in refused.refused
        assert (name, await by_file(ledger, CASES / name, NOW, lateness_days=120)) == (name, right)
        again = await by_file(ledger, CASES / name, NOW, lateness_days=120, **options)
        assert (name, again) == (name, replace(right, accepted=0, known=right.accepted))
    assert await by_file(ledger, CASES / "reporting/cp1250.csv", NOW, "windows-1250", lateness_days=120) == ONE
    damaged = await by_file(ledger, CASES / "reporting/truncated.ndjson.gz", NOW, lateness_days=120)
    assert damaged.refused.endswith("nothing was stored")
    days = await staged(ledger)
    assert {who for _, who, *_ in days} == {"a", "p11", *(f"user0{n}" for n in range(12, 17)), "lucja"}
    assert (date(2026, 8, 31), "a", "", "sus") in days  # the leap second's own day
    assert (date(2026, 9, 1), "a", "2026 Update 1", "sus") in days
    assert sum(tokens for tokens in days.values() if tokens is not None) == 9 * 5  # nine good rows say five each


async def test_over_http(ledger: Ledger) -> None:
    await found(ledger, mails=PEOPLE)
    async with wire(ledger, NOW, lateness_days=120) as client:

        async def send(name: str, **headers: str) -> Outcome:
            return await by_wire(client, (CASES / name).read_bytes(), name.rpartition(".")[2], **headers)

        for name, right in RIGHT.items():
            assert (name, settled(await send(name), right)) == (name, right)
        for name, (options, right) in OTHER_FORM.items():
            words = {"encoding": "charset", "separator": "separator"}
            kind = "text/csv; " + "; ".join(f"{words[option]}={value}" for option, value in options.items())
            assert f"send it as {kind}" in (await send(name)).refused
            assert (name, await send(name, Content_Type=kind)) == (name, right)
        assert await send("reporting/cp1250.csv", Content_Type="text/csv; charset=cp1250") == ONE
        packed = (CASES / "reporting/truncated.ndjson.gz").read_bytes()
        before = await staged(ledger)
        answer = await by_wire(client, packed, "ndjson", Content_Encoding="gzip")
    assert "the gzip body is damaged: it is cut off → nothing was stored" in answer.refused
    assert await staged(ledger) == before
