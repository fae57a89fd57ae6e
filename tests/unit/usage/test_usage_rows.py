"""Rows: strict shapes, and each reason of a bad one."""

from __future__ import annotations

import io
import json
import time
from contextlib import suppress
from datetime import datetime
from random import Random
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.usage.formats.bodies import CONTENT_TYPES, PARQUET, read_body
from connector.usage.formats.text import ENCODINGS, lines
from connector.usage.rows import FIELDS, BadRow, EventRow, cause_of, parse_line, parse_mapping
from ledger.errors import BadInput
from ledger.usage import CollectionState
from tests.parts.usage_company import event


@pytest.mark.parametrize(
    ("fields", "reasons"),
    [
        ({"event_id": None}, ["event_id is missing"]),
        ({"event_id": " "}, ["event_id is missing"]),
        ({"event_id": ["7"]}, ["event_id is not text: ['7']"]),
        ({"event_id": "a\nb"}, ["event_id holds invisible characters: 'a\\nb'"]),
        ({"event_id": "x" * 129}, ["event_id is too long: 129 characters, 128 are read"]),
        (
            {"event_id": "1.5E+12"},
            ["event_id is a rounded number: '1.5E+12'; tell the spreadsheet that the column is text"],
        ),
        ({"occurred_at": "yesterday"}, ["occurred_at is not an RFC 3339 instant: 'yesterday'"]),
        ({"occurred_at": 1772359200}, ["occurred_at is a number: 1772359200; write it like 2026-03-01T10:00:00Z"]),
        ({"occurred_at": "46355,4271"}, ["occurred_at is a number: '46355,4271'; write it like 2026-03-01T10:00:00Z"]),
        ({"occurred_at": "2026-03-01"}, ["occurred_at is a day without a time: 2026-03-01"]),
        (
            {"mail": "a b@c", "version": 1.5},
            ["mail is not a mail address", "version is a number with a fraction: 1.5; write it as text"],
        ),
        ({"version": "x\x1fy"}, ["version holds invisible characters: 'x\\x1fy'"]),
        ({"version": "x\ufffdy"}, ["version has lost characters: 'x\ufffdy' holds U+FFFD; export it again"]),
        ({"source": "gift"}, ["source is none of sus, flex: 'gift'"]),
        ({"source": "flex", "tokens": -1}, ["tokens is out of range: -1; 0 to 1000000000 are read"]),
        ({"source": "flex", "tokens": 0.0000015}, ["tokens has more than 6 decimal places: 0.0000015"]),
        ({"source": "flex", "tokens": True}, ["tokens is not a number: True"]),
        ({"source": "flex", "tokens": "1,5"}, ["tokens is not a number: '1,5'; write a point for the comma"]),
        ({"tokens": 3}, ["tokens are given, but source is not flex"]),
        (
            {"collection_state": "seen"},
            ["collection_state is none of observed, offline, unsupported, opted_out: 'seen'"],
        ),
        ({"a": 1, "offering_code": ""}, ["a field is not known: 'a'", "offering_code is missing"]),
    ],
)
def test_each_fault_is_a_reason(fields: dict[str, Any], reasons: list[str]) -> None:
    sent = event(1, **fields)
    for row in (parse_line(msgspec.json.encode(sent)), parse_mapping(sent)):
        assert isinstance(row, BadRow)
        assert [reason.replace("0.0000015", "1.5e-06") for reason in row.reasons] == [
            reason.replace("0.0000015", "1.5e-06") for reason in reasons
        ]


@pytest.mark.parametrize(
    "line", [b"", b"7", b"[]", b"null", b"{", b'{"event_id":"a"} x', b"\xff", b"[" * 100_000, b"\x00"]
)
def test_what_is_no_object_says_so(line: bytes) -> None:
    row = parse_line(line)
    assert isinstance(row, BadRow)
    assert row.reasons
    assert len(row.payload) <= 4_000


@given(st.binary(max_size=200))
def test_no_bytes_whatever_break_the_parser(line: bytes) -> None:
    row = parse_line(line)
    assert isinstance(row, EventRow) or row.reasons


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.datetimes()


@given(st.dictionaries(st.sampled_from([*FIELDS, "x"]), VALUES), st.booleans())
def test_no_table_row_whatever_breaks_the_parser(fields: dict[str, Any], texts: bool) -> None:
    row = parse_mapping({name: str(value) for name, value in fields.items()} if texts else fields)
    assert isinstance(row, EventRow) or row.reasons
    if isinstance(row, BadRow):
        row.payload.encode("utf-8")


def test_a_valid_row_reads_alike_from_json_text_and_table() -> None:
    sent = event(1, source="flex", tokens=12, mail="Łucja.Żółć@acme.example")
    from_json = parse_line(msgspec.json.encode(sent))
    from_text = parse_mapping({name: str(value) for name, value in sent.items()} | {"collection_state": ""})
    from_table = parse_mapping(sent | {"occurred_at": datetime.fromisoformat("2026-03-01T10:00:00+00:00")})
    assert isinstance(from_json, EventRow)
    assert from_json == from_text == from_table
    assert from_json.tokens == 12


NEAR = {
    "event_id": st.sampled_from(["e", " e", "1.5E+3", "a\u00a0b", "ł", "\ufffd", "x" * 129]) | st.text(max_size=4),
    "occurred_at": st.sampled_from(
        ["2026-03-01T10:00:00Z", "2026-03-01 10:00+01:00", "2026-02-28T23:59:60Z", "1969-12-31T23:59:59Z", "20260301"]
    )
    | st.datetimes(timezones=st.timezones()).map(datetime.isoformat),
    "mail": st.sampled_from(["a@acme.example", "Ł@acme.example ", "a", "anna"]),
    "offering_code": st.sampled_from(["CAD", "", " CAD", "x" * 65]),
    "version": st.none() | st.sampled_from(["", "1", "\t1"]) | st.integers() | st.text(max_size=3),
    "source": st.none() | st.sampled_from(["sus", "flex", "SUS", ""]),
    "tokens": st.none() | st.integers(-1, 2 * 10**9) | st.floats() | st.decimals().map(str),
    "collection_state": st.none() | st.sampled_from([*CollectionState, "seen"]),
}


@settings(max_examples=400)
@given(st.fixed_dictionaries({}, optional=NEAR))
def test_what_json_decodes_at_once_is_what_the_rules_say(fields: dict[str, Any]) -> None:
    row, same = parse_line(json.dumps(fields).encode("utf-8", "surrogatepass")), parse_mapping(fields)
    assert type(row) is type(same)
    if isinstance(row, BadRow):
        assert isinstance(same, BadRow)
        assert [cause_of(reason) for reason in row.reasons] == [cause_of(reason) for reason in same.reasons]
    else:
        assert row == same


@given(st.lists(st.binary(max_size=40)), st.sampled_from(ENCODINGS), st.integers(1, 9))
def test_lines_are_the_same_however_they_come(parts: list[bytes], encoding: str, size: int) -> None:
    whole = b"".join(parts)
    cut = [whole[start : start + size] for start in range(0, len(whole), size)]
    mark = b"\xff\xfe" if encoding == "utf-16" else b""
    assert read_of([mark, *cut], encoding) == read_of([mark + whole], encoding)


def read_of(blocks: list[bytes], encoding: str) -> list[tuple[int, bytes]] | str:
    """Lines, or why there are none."""
    try:
        return list(lines(blocks, encoding))
    except BadInput as error:
        return error.what


def test_utf16_without_its_mark_is_told() -> None:
    with pytest.raises(BadInput, match="the mark of UTF-16"):
        read_body(b"event_id,mail\n", "text/csv; charset=utf-16")


@given(st.binary(max_size=300), st.sampled_from(CONTENT_TYPES), st.sampled_from(["", "gzip", "deflate", "br"]))
def test_no_body_whatever_raises_anything_else(body: bytes, kind: str, coding: str) -> None:
    with suppress(BadInput):
        assert all(isinstance(row, EventRow) or row.reasons for _, row in read_body(body, kind, coding))


def test_a_line_without_end_is_one_row_and_the_next_is_read() -> None:
    blocks = [b"x" * (1 << 18)] * 9 + [b"\r", b"\nlast"]
    assert [(number, len(line)) for number, line in lines(blocks)] == [(1, 200), (2, 4)]


def test_a_text_that_is_cut_off_inside_a_character_is_no_text() -> None:
    whole = "\ufeffevent_id,occurred_at,mail,offering_code\n1,2026-03-01T10:00:00Z,a@acme.example,CAD".encode(
        "utf-16-le"
    )
    assert len(read_body(whole, "text/csv; charset=utf-16")) == 1
    with pytest.raises(BadInput, match="cut off in the middle"):
        read_body(whole[:-1], "text/csv; charset=utf-16")


@pytest.mark.parametrize("line", ['b",x', 'a"b,x', ' "a",x', '"a"b,x', '"a,x', '"a"",x'])
def test_a_quote_inside_a_cell_makes_no_event_of_half_a_row(line: str) -> None:
    body = f"event_id,occurred_at,mail,offering_code\n{line},2026-03-01T10:00:00Z,a@acme.example,CAD\n"
    [(_, row)] = read_body(body.encode(), "text/csv")
    assert isinstance(row, BadRow)
    assert row.reasons == ("the quotes are broken: a quoted cell ends on its line",)


def test_the_second_line_of_a_cell_is_no_event() -> None:
    rest = ",2026-03-01T10:00:00Z,a@acme.example,CAD\n"
    body = f'event_id,occurred_at,mail,offering_code\n"a\nb"{rest}"c""d"{rest}'.encode()
    assert [row.event_id for _, row in read_body(body, "text/csv")] == ["", "", 'c"d']


def parquet_of(columns: dict[str, pa.Array]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="zstd", store_schema=False)
    return sink.getvalue()


def test_one_long_text_named_ten_thousand_times_is_looked_at_once_each() -> None:
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), pa.array(["y" * 1_000_000]))
    body = parquet_of(dict.fromkeys(("event_id", "occurred_at", "mail", "offering_code"), text))
    assert len(body) < 10_000
    began = time.process_time()
    rows = read_body(body, PARQUET)
    assert time.process_time() - began < 20  # gone through by every rule, it takes minutes
    assert {row.reasons[0] for _, row in rows if isinstance(row, BadRow)} == {
        "event_id is too long: 1000000 characters, 128 are read"
    }


def test_parquet_that_is_damaged_anywhere_is_refused_or_read() -> None:
    names = ("event_id", "occurred_at", "mail", "offering_code")
    whole = parquet_of({name: pa.array([f"{name}{number % 3}" for number in range(50)]) for name in names})
    chance = Random(7)
    for _ in range(400):
        body = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        with suppress(BadInput):
            read_body(bytes(body), PARQUET)
