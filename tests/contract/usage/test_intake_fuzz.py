"""Every field × every value × every format, over HTTP and as a file: never an error, and no row vanishes.

What a row is answered depends on its values alone: not on its format, not on the way it came.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connector.usage.quarantine import Replayed, replay_page
from connector.usage.rows import FIELDS
from connector.usage.settings import ReportingSettings
from ledger.store import usage, usage_quarantine
from ledger.store.engine import Ledger
from ledger.store.usage_quarantine import Chosen
from tests.parts.sent_usage import Outcome, Wire, by_file, by_wire, wire
from tests.parts.usage_company import NOW, ORG, event, found

TEXTS = [
    "", " ", "x", " anna.kowalska@acme.example ", "5", "5.0", "5.10", "-0", "-1", "1e3", "1e400", "1e-7", "1,5", "NaN",
    "Infinity", "0x5", "٥", "true", "null", "sus", "flex", "SUS", "offline", "2026-03-01T10:00:00Z",
    "2026-03-01 10:00:00+0000", "2026-03-01T10:00:00.123456789+01:00", "2026-03-01 10:00 UTC", "2026-02-28T23:59:60Z",
    "2026-03-01T24:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-03-01T10:00:00+99:99",
    "2026-03-01", "01/03/2026", "20260301", "46355.4271", "1772359200", "1788253200000", "2026-13-41T99:99:99Z",
    "a\u00a0b", "a\u200bb", "a\u2028b", "a\ufeffb", "a\ufffdb", "a\x00b", "a\x1fb", "a\tb", "zdarzenie-ł", "🙂",
    "é" * 200, "x" * 5_000, "1,23E+15", "=cmd|' /C calc'!A0", "'; DROP TABLE usage_event; --", "a@b", "a@b@c", "@",
    "a\"b", "a,b", "a;b", "CAD", "cad", "x" * 64, "x" * 65, "user@xn--a", "łucja.żółć@ACME.example", "..@acme.example",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 5, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, 10**5_000, 0.0, -0.0, 5.0, 5.25, 0.1 + 0.2,
    1e-7, 1e308, 2026.1, [], {}, ["x"], {"a": {"b": [1]}}, 1788253200000, 1772359200,
]  # fmt: skip
BYTES = [b"\xff", b"\xb3ucja@acme.example", b"\xc5", b"\xed\xa0\x80", "ł".encode(), b"a\x00b", b"x" * 70]


def rows_of(field: str, values: Iterable[Any]) -> list[dict[str, Any]]:
    """One row per value; ``tokens`` is given to a row of ``flex``."""
    more = {"source": "flex"} if field == "tokens" else {}
    return [{**event(f"{field}-{n}", **more), field: value} for n, value in enumerate(values)]


def as_json(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, FIELDS)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def as_parquet(rows: list[dict[str, Any]], **columns: pa.Array) -> bytes:
    arrays = {name: pa.array([row.get(name) for row in rows], pa.string()) for name in FIELDS if name not in columns}
    out = io.BytesIO()
    pq.write_table(pa.table({**arrays, **columns}), out)
    return out.getvalue()


async def both(ledger: Ledger, client: Wire, body: bytes, kind: str, folder: Path) -> Outcome:
    """Over HTTP, then the same as a file: equal, but that what was accepted is known."""
    path = folder / f"sent.{kind}"
    path.write_bytes(body)
    first = await by_wire(client, body, kind)
    again = await by_file(ledger, path, NOW)
    if first.refused or again.refused:
        assert bool(first.refused) == bool(again.refused), (first, again)
    else:
        assert again.rows == first.rows
        assert (again.accepted, again.known) == (0, first.accepted + first.known)
        assert (again.conflicts, again.causes, again.places) == (first.conflicts, first.causes, first.places)
    return first


@pytest.fixture
async def small(sqlite_url: str) -> Any:
    """One database is enough for what is decided before it."""
    ledger = Ledger.open(sqlite_url)
    await found(ledger)
    async with wire(ledger, NOW) as client:
        yield ledger, client
    await ledger.close()


async def test_a_text_is_the_same_in_every_format(small: Any, tmp_path: Path) -> None:
    ledger, client = small
    for field in FIELDS:
        sent = rows_of(field, TEXTS)
        outcomes = {
            "ndjson": await both(ledger, client, as_json(sent), "ndjson", tmp_path),
            "csv": await both(ledger, client, as_csv(sent), "csv", tmp_path),
            "parquet": await both(ledger, client, as_parquet(sent), "parquet", tmp_path),
        }
        told = {kind: dict(zip_places(one)) for kind, one in outcomes.items()}
        assert {one.rows for one in outcomes.values()} == {len(TEXTS)}
        assert told["ndjson"] == told["parquet"], field
        assert told["ndjson"] == {place - 1: why for place, why in told["csv"].items()}, field


def zip_places(one: Outcome) -> Iterable[tuple[int, tuple[str, ...]]]:
    """Number of the row → its reasons."""
    return [(int(place.split()[1]), reasons) for place, reasons in one.places]


async def test_whatever_json_holds_is_answered(small: Any, tmp_path: Path) -> None:
    ledger, client = small
    for field in FIELDS:
        sent = rows_of(field, VALUES)
        lines = [json.dumps(row) for row in sent if row[field] != 10**5_000]
        plain = json.dumps({**event(f"{field}-raw"), field: "@"})
        raw = ["9" * 5_000, "1e400", "NaN", "-Infinity", "1e999999999999999999", '"\\ud800"', '"\\udcff"', "[" * 50_000,
               '"open', "", "nul", "1.", "5.000000", "0.1"]  # fmt: skip
        lines += [plain.replace('"@"', text) for text in raw]
        body = "\n".join(lines).encode()
        body += b"\n" + b"\n".join(plain.encode().replace(b"@", text) for text in BYTES)
        seen = await both(ledger, client, body, "ndjson", tmp_path)
        assert seen.rows == len(lines) + len(BYTES), field


def _arrays() -> Mapping[str, pa.Array]:
    far = [0, 1, -1, 2**62, -(2**62), 1772359200, 1772359200123456789, None]
    text = ["2026-03-01T10:00:00Z", None, "x"]
    kinds = [pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "Europe/Warsaw")]
    found = {str(kind): pa.array(far, kind) for kind in kinds}
    found |= {f"int {kind}": pa.array([0, 1, 5, None], kind) for kind in (pa.int8(), pa.uint64(), pa.int64())}
    found |= {
        f"float {kind}": pa.array([0.1, 5.0, 2.5, float("nan"), float("inf"), None], pa.float64()).cast(kind)
        for kind in (pa.float16(), pa.float32(), pa.float64())
    }
    found["decimal"] = pa.array([Decimal("5.00"), Decimal("0.000001"), Decimal("-1"), None], pa.decimal128(20, 8))
    found["wide"] = pa.array([Decimal(10) ** 60, None], pa.decimal256(70, 2))
    found["bool"] = pa.array([True, False, None])
    found["binary"] = pa.array([*BYTES, None], pa.binary())
    found["broken text"] = pa.array([*BYTES, None], pa.binary()).view(pa.string())
    found["large"] = pa.array(text, pa.large_string())
    found["view"] = pa.array(text, pa.string_view())
    found["dictionary"] = pa.array(text).dictionary_encode()
    found["null"] = pa.nulls(3)
    found["day"] = pa.array([date(2026, 3, 1), None])
    found["day64"] = pa.array([0, 2**60, None], pa.date64())
    found["time"] = pa.array([0, 1, None], pa.time64("us"))
    found["duration"] = pa.array([timedelta(1), None])
    found["list"] = pa.array([["x"], [], None])
    found["struct"] = pa.array([{"a": 1}, None])
    return found


async def test_whatever_parquet_holds_is_answered(small: Any, tmp_path: Path) -> None:
    ledger, client = small
    for name, array in _arrays().items():
        for field in FIELDS:
            sent = [event(f"{name}-{field}-{n}", source="flex") for n in range(len(array))]
            try:
                body = as_parquet(sent, **{field: array})
            except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
                continue  # Parquet has no such type
            seen = await both(ledger, client, body, "parquet", tmp_path)
            assert (name, field, seen.refused, seen.rows) == (name, field, "", len(array))


async def test_exact_values_of_parquet_are_taken(small: Any) -> None:
    ledger, client = small
    sent = [event(n, source="flex") for n in range(3)]
    tenth = pa.array([0.1, 5.0, None], pa.float32())
    assert (await by_wire(client, as_parquet(sent, tokens=tenth), "parquet")).accepted == 3
    nanos = pa.array([1772359200123456789] * 2, pa.timestamp("ns", "UTC"))
    made = [event(f"ns-{n}", version="ns") for n in range(2)]
    assert (await by_wire(client, as_parquet(made, occurred_at=nanos), "parquet")).accepted == 2
    async with ledger.read(ORG) as reader:
        days = await usage.folded(reader, [mark.day for mark in await usage.touched(reader)])
    assert {(day.version, day.tokens) for day in days} == {("2026.1", Decimal("5.1")), ("ns", None)}


async def test_damaged_bytes_are_answered_and_counted(small: Any, tmp_path: Path) -> None:
    ledger, client = small
    chance = random.Random(13)
    good = [event(n, source="flex", tokens=n) for n in range(12)]
    texts = [{name: "" if value is None else str(value) for name, value in row.items()} for row in good]
    whole = {"ndjson": as_json(good), "csv": as_csv(texts), "parquet": as_parquet(texts)}
    for turn in range(120):
        kind = chance.choice(sorted(whole))
        body = bytearray(whole[kind])
        for _ in range(chance.choice((1, 1, 2, 8))):
            place = chance.randrange(len(body) or 1)
            body = body or bytearray(b" ")
            act = chance.randrange(4)
            if act == 0:
                body[place] = chance.randrange(256)
            elif act == 1:
                body[place:place] = chance.choice((b'"', b"\n", b"\r", b",", b"\x00", b"\xff", b"{", b"\xef\xbb\xbf"))
            elif act == 2:
                del body[place : place + chance.randrange(1, 30)]
            else:
                body = body[: max(place, 1)]
        sent = bytes(body)
        if turn % 3:
            await both(ledger, client, sent, kind, tmp_path)
            continue
        packed = bytearray(gzip.compress(sent))
        packed[chance.randrange(len(packed))] ^= 1 << chance.randrange(8)
        await by_wire(client, bytes(packed), kind, Content_Encoding="gzip")


async def test_what_is_in_quarantine_is_judged_alike_again(ledger: Ledger) -> None:
    await found(ledger)
    rows = [row for field in FIELDS for row in rows_of(field, [*TEXTS, *VALUES[:-3]])]
    rows = [row for row in rows if 10**5_000 not in [value for value in row.values() if isinstance(value, int)]]
    async with wire(ledger, NOW) as client:
        seen = await by_wire(client, as_json(rows), "ndjson")
    assert seen.rows == len(rows)
    async with ledger.read(ORG) as reader:
        before = await usage_quarantine.page(reader, Chosen(), None, 10_000)
        total, causes = await usage_quarantine.sums(reader, Chosen())
    assert total == len(before) == seen.quarantined + seen.conflicts
    assert causes == dict(sorted(seen.causes.items(), key=lambda item: (-item[1], item[0])))
    done, following = await replay_page(
        ledger, ORG, Chosen(), None, now=NOW, actor="operator:test", settings=ReportingSettings()
    )
    assert (done, following) == (
        Replayed(total, conflicts=seen.conflicts, quarantined=seen.quarantined),
        None,
    )
    async with ledger.read(ORG) as reader:
        after = await usage_quarantine.page(reader, Chosen(), None, 10_000)
    assert {row.digest: (row.payload, row.causes) for row in after} == {
        row.digest: (row.payload, row.causes) for row in before
    }
