"""Small parts of following changes: filters for anchors, dates, and whether a server went back (D13)."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ldap3.operation.search import search_operation

from connector.directory.ldap.follow import by_date, lookups, server_state
from connector.directory.ldap.wire import decode
from connector.directory.mapping import anchor_text

CSN = "20260301120000.000001Z#000000#00{}#000000"


def sent(filter_: str) -> bytes:
    """The assertion value that ldap3 makes of an equality filter."""
    request = search_operation("dc=x", filter_, "BASE", 0, [], 0, 0, False, auto_escape=True, auto_encode=False)
    return bytes(request["filter"]["equalityMatch"]["assertionValue"])


@given(st.binary(min_size=1, max_size=40))
def test_d13_any_bytes_survive_the_filter(value: bytes) -> None:
    assert sent(f"(x={lookups.escaped(value)})") == value


@given(st.uuids())
def test_d13_an_anchor_finds_the_entry_it_was_made_of(found: uuid.UUID) -> None:
    assert sent(lookups.anchor_filter("objectGUID", anchor_text("objectGUID", found.bytes_le))) == found.bytes_le
    text = str(found).encode()
    assert sent(lookups.anchor_filter("entryUUID", anchor_text("entryUUID", text))) == text


@pytest.mark.parametrize("attribute", ["entryUUID", "objectGUID", "nsUniqueId"])
@pytest.mark.parametrize("anchor", ["", "*", "x)(uid=*", "urn:uuid:0e2a1f4c-90c1-4a6e-8a55-2d3c0b6e1f00"])
def test_d13_what_is_no_anchor_is_refused_or_escaped(attribute: str, anchor: str) -> None:
    if attribute == "nsUniqueId" and anchor:
        assert sent(lookups.anchor_filter(attribute, anchor)) == anchor.encode()
        return
    with pytest.raises(ValueError, match=r"UUID|empty"):
        lookups.anchor_filter(attribute, anchor)


def test_d13_the_newest_date_less_what_the_reading_took() -> None:
    newest = by_date.Newest()
    assert newest.before(1) == ""
    for stamp in (b"20260301120000Z", b"20260301115900Z"):
        attributes = {"modifytimestamp": (stamp,), "mail": (b"a@x",)}
        newest.see(attributes)
        assert attributes == {"mail": (b"a@x",)}
    assert newest.before(59) == "20260301115900Z"
    newest.see({"mail": (b"a@x",)})
    assert newest.before(59) == ""


def database(*csns: str) -> dict[str, server_state.Database]:
    return {"people:dc=x": server_state.Database("dc=x", csns)}


def test_d13_a_server_goes_on_goes_back_or_gains_a_master() -> None:
    one, two = CSN.format(1), CSN.format(2)
    later = one.replace("T12", "T13").replace("20260301", "20260302")
    assert server_state.gone_back(database(one), database(one)) == ""
    assert server_state.gone_back(database(one), database(later)) == ""
    assert "went back" in server_state.gone_back(database(later), database(one))
    assert "went back" in server_state.gone_back(database(one, two), database(one))
    assert "did not name before" in server_state.gone_back(database(one), database(one, two))


def test_d13_dates_ahead_of_our_clock_are_not_believed() -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert server_state.too_far_ahead("", now) == ""
    assert server_state.too_far_ahead("20260301120500.999999Z", now) == ""
    assert "ahead of our clock" in server_state.too_far_ahead("20260301120501Z", now)
    with pytest.raises(decode.Malformed):
        server_state.too_far_ahead("yesterday", now)
