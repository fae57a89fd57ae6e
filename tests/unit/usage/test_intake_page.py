"""docs/guides/usage-intake.md is what the code does: its examples are sent, in every format that can hold them."""

from __future__ import annotations

import csv
import inspect
import io
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connector.usage import judge, rows
from connector.usage.files import KINDS
from connector.usage.formats import decoders
from connector.usage.formats.bodies import CSV, MAX_BYTES, MAX_EVENTS, NDJSON, PARQUET, read_body
from connector.usage.formats.text import ENCODINGS, SEPARATORS
from connector.usage.rows import FIELDS, LENGTHS, MAX_TOKENS, PAYLOAD_LENGTH, REQUIRED, BadRow, Row, cause_of
from tests.parts.usage_company import event

PAGE = (Path(__file__).parents[3] / "docs" / "guides" / "usage-intake.md").read_text(encoding="utf-8")
_EXAMPLE = re.compile(r"^\| `(\{.*\})` \| (.*) \|$", re.MULTILINE)
_TAKEN, _QUARANTINED = PAGE.split("### Quarantined")
GOOD = [json.loads(sent) for sent, _ in _EXAMPLE.findall(_TAKEN)]
BAD = [(json.loads(sent), cause) for sent, cause in _EXAMPLE.findall(_QUARANTINED)]


def in_json(sent: dict[str, Any]) -> Row:
    [row] = read_body(json.dumps({**event(1), **sent}).encode())
    return row


def in_table(sent: dict[str, Any]) -> list[Row]:
    """As CSV, where every value is a text, and as a Parquet file of its own types."""
    whole = {**event(1), **sent}
    out = io.StringIO()
    csv.writer(out).writerows([whole, ["" if value is None else value for value in whole.values()]])
    packed = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([whole]), packed)
    return [*read_body(out.getvalue().encode("utf-8", "surrogateescape"), CSV), *read_body(packed.getvalue(), PARQUET)]


def test_the_page_has_its_examples() -> None:
    assert (len(GOOD), len(BAD)) == (10, 24)


@pytest.mark.parametrize("sent", GOOD, ids=str)
def test_what_the_page_says_is_taken_is(sent: dict[str, Any]) -> None:
    for _, row in [in_json(sent), *in_table(sent)]:
        assert not isinstance(row, BadRow), row.reasons


@pytest.mark.parametrize(("sent", "cause"), BAD, ids=str)
def test_what_the_page_says_is_quarantined_is(sent: dict[str, Any], cause: str) -> None:
    found = [in_json(sent)]
    if all(isinstance(value, str) and value.isprintable() for value in sent.values()) and set(sent) <= set(FIELDS):
        found += in_table(sent)
    for _, row in found:
        assert isinstance(row, BadRow)
        assert [cause_of(reason) for reason in row.reasons] == [cause]


def test_every_cause_of_the_code_is_on_the_page() -> None:
    text = "".join(map(inspect.getsource, (rows, judge, decoders)))
    before = r'(?:_Fault\(|reasons\.append\(|BadRow\(clean[^"\n]*, \(|found = |return "", |return day, )\s*f?"([^"]+)"'
    found = set(re.findall(before, text))
    assert len(found) > 25
    for sentence in found:
        pattern = re.sub(r"\\\{.*?\\\}", ".+", re.escape(cause_of(sentence)))
        assert re.search(pattern, PAGE), sentence


def test_the_limits_of_the_page_are_those_of_the_code() -> None:
    assert f"{MAX_EVENTS:,} rows and {MAX_BYTES >> 20} MiB" in PAGE
    assert f"0 to {MAX_TOKENS}" in PAGE
    assert f"more than {PAYLOAD_LENGTH:,} characters" in PAGE
    table = dict(re.findall(r"^\| `(\w+)` \| (yes)? ?\|", PAGE, re.MULTILINE))
    assert tuple(table) == FIELDS
    assert tuple(name for name, needed in table.items() if needed) == REQUIRED
    for name, length in LENGTHS.items():
        assert re.search(rf"^\| `{name}` .*at most {length} characters", PAGE, re.MULTILINE), name
    for word in (*ENCODINGS, *SEPARATORS, *KINDS, NDJSON[0], CSV, PARQUET):
        assert word in PAGE
