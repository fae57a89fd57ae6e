"""Rows: strict shapes, and each reason of a bad one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.usage.rows import FIELDS, BadRow, EventRow, parse_line, parse_mapping
from tests.parts.usage_company import event


@pytest.mark.parametrize(
    ("fields", "reasons"),
    [
        ({"event_id": None}, ["event_id is missing"]),
        ({"event_id": ""}, ["event_id is empty"]),
        ({"event_id": 7}, ["event_id is not text"]),
        ({"event_id": "é"}, ["event_id is not ASCII"]),
        ({"event_id": "a\nb"}, ["event_id holds control characters"]),
        ({"event_id": "x" * 129}, ["event_id is longer than 128 characters"]),
        ({"occurred_at": "yesterday"}, ["occurred_at 'yesterday' is not an RFC 3339 instant"]),
        ({"occurred_at": 1772359200}, ["occurred_at 1772359200 is not an RFC 3339 instant"]),
        ({"mail": "a b@c", "version": 1}, ["mail is not a mail address", "version is not text"]),
        ({"version": "x\x1fy"}, ["version holds control characters"]),
        ({"source": "gift"}, ["source 'gift' is none of sus, flex"]),
        ({"source": "flex", "tokens": -1}, ["tokens is not between 0 and 1000000000"]),
        ({"source": "flex", "tokens": 1.5}, ["tokens is not a whole number"]),
        ({"source": "flex", "tokens": True}, ["tokens is not a whole number"]),
        ({"tokens": 3}, ["tokens are given, but source is not flex"]),
        (
            {"collection_state": "seen"},
            ["collection_state 'seen' is none of observed, offline, unsupported, opted_out"],
        ),
        ({"a": 1, "offering_code": ""}, ["unknown field 'a'", "offering_code is empty"]),
    ],
)
def test_each_fault_is_a_reason(fields: dict[str, Any], reasons: list[str]) -> None:
    sent = {name: value for name, value in event(1, **fields).items() if value is not None}
    for row in (parse_line(msgspec.json.encode(sent)), parse_mapping(sent)):
        assert isinstance(row, BadRow)
        assert list(row.reasons) == reasons


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
    given_row = {name: str(value) for name, value in fields.items()} if texts else fields
    row = parse_mapping(given_row, texts=texts)
    assert isinstance(row, EventRow) or row.reasons
    if isinstance(row, BadRow):
        row.payload.encode("utf-8")


def test_a_valid_row_reads_alike_from_json_text_and_table() -> None:
    sent = event(1, source="flex", tokens=12, mail="Łucja.Żółć@acme.example")
    from_json = parse_line(msgspec.json.encode(sent))
    from_text = parse_mapping({name: str(value) for name, value in sent.items()} | {"collection_state": ""}, texts=True)
    from_table = parse_mapping(sent | {"occurred_at": datetime.fromisoformat("2026-03-01T10:00:00+00:00")})
    assert isinstance(from_json, EventRow)
    assert from_json == from_text == from_table
    assert from_json.tokens == 12
