"""Long lists are read in parts exactly as they would be in one (S-R43)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connector.scim import long_lists

TEXTS = st.sampled_from(["", "x", "},", "},{", "]", "[{", '"', "\\", "ł"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=30,
)


def outcome(read: Any, raw: bytes) -> Any:
    """What comes of it: (value,), or None where it is no JSON."""
    try:
        return (read(raw),)
    except ValueError:
        return None


@given(VALUES, st.integers(0, 400), st.sampled_from([b"", b",", b"]", b"}", b'"', b" ", b"\x07", b"\xff"]))
@example([{"a": 1}, {"a": 2}, {"b": [{"c": 3}, {"d": "},"}]}], 399, b"")
def test_s_r43_parts_say_what_the_whole_says(value: Any, place: int, put_in: bytes) -> None:
    raw = msgspec.json.encode(value)
    place %= len(raw)
    raw = raw[:place] + put_in + raw[place:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_lists, "_PART", 3)
        assert outcome(long_lists.decoded, raw) == outcome(msgspec.json.decode, raw)


def test_s_r43_nothing_behind_a_comma_is_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_lists, "_PART", 3)
    for raw in (b'[{"a":1},]', b'[{"a":1}, ]', b'[{"a":1},{"b":2},]', b'[{"a":1},,{"b":2}]', b'[{"a":1},'):
        with pytest.raises(ValueError, match=r"JSON|truncated"):
            long_lists.decoded(raw)


@given(st.lists(VALUES, max_size=9))
def test_s_r43_a_list_is_written_as_in_one(items: list[Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_lists, "_ITEMS", 2)
        assert msgspec.json.encode({"members": long_lists.encoded(items)}) == msgspec.json.encode({"members": items})


@given(VALUES)
def test_s_r43_no_more_values_than_are_told(value: Any) -> None:
    def count(one: Any) -> int:
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        return 1 + sum(map(count, inner))

    assert count(value) <= long_lists.values_at_most(msgspec.json.encode(value))
