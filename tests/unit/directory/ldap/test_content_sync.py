"""The bytes of sync searches (RFC 4533): right on what servers send, unmoved by what nobody should send (D13)."""

from __future__ import annotations

import contextlib
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.directory.ldap.wire import content_sync, decode
from tests.unit.directory.ldap.test_ber_decoding import entry, tlv

SOMEBODY = uuid.UUID("0e2a1f4c-90c1-4a6e-8a55-2d3c0b6e1f00")
ANOTHER = uuid.UUID("f0000000-0000-4000-8000-000000000001")


def controls(kind: bytes, value: bytes | None, *, critical: bool = False) -> bytes:
    parts = tlv(0x04, kind) + (tlv(0x01, b"\xff") if critical else b"") + (b"" if value is None else tlv(0x04, value))
    return tlv(0xA0, tlv(0x30, tlv(0x04, b"1.2.3")) + tlv(0x30, parts))


def sync_info(value: bytes, kind: bytes = b"1.3.6.1.4.1.4203.1.9.1.4") -> bytes:
    return tlv(0x79, tlv(0x80, kind) + tlv(0x81, value))


def result(value: bytes | None) -> bytes:
    done = tlv(0x65, tlv(0x0A, b"\x00") + tlv(0x04, b"") + tlv(0x04, b""))
    return done if value is None else done + controls(b"1.3.6.1.4.1.4203.1.9.1.3", value)


def state_of(value: bytes | None) -> content_sync.State | None:
    inner = tlv(0x64, tlv(0x04, b"cn=x") + tlv(0x30, b""))
    data = inner + (b"" if value is None else controls(b"1.3.6.1.4.1.4203.1.9.1.2", value))
    return content_sync.state(data, 0, len(data))


def test_d13_the_control_that_asks_is_read_back_by_an_own_decoder() -> None:
    asked = content_sync.request(b"rid=001,csn=" + b"x" * 200)
    data = entry(b"cn=x")[5:] + tlv(0xA0, asked)
    value = decode.control(data, 0, len(data), content_sync.REQUEST)
    assert value is not None
    assert value.endswith(b"rid=001,csn=" + b"x" * 200)
    assert content_sync.request(b"").endswith(b"\x30\x03\x0a\x01\x01")


@pytest.mark.parametrize(("state", "cookie"), [(0, b""), (1, b""), (2, tlv(0x04, b"c")), (3, b"")])
def test_d13_the_state_of_an_entry(state: int, cookie: bytes) -> None:
    value = tlv(0x30, tlv(0x0A, bytes([state])) + tlv(0x04, SOMEBODY.bytes) + cookie)
    assert state_of(value) == content_sync.State(state, str(SOMEBODY))
    assert state_of(None) is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        tlv(0x30, b""),
        tlv(0x30, tlv(0x0A, b"\x04") + tlv(0x04, SOMEBODY.bytes)),
        tlv(0x30, tlv(0x0A, b"\x01")),
        tlv(0x30, tlv(0x0A, b"\x01") + tlv(0x04, SOMEBODY.bytes[:15])),
        tlv(0x30, tlv(0x0A, b"\x01") + tlv(0x04, SOMEBODY.bytes)) + b"\x00",
    ],
)
def test_d13_a_state_that_cannot_be_is_refused(value: bytes) -> None:
    with pytest.raises(decode.Malformed):
        state_of(value)


def test_d13_notes_of_deletions_presence_and_phases() -> None:
    both = tlv(0x31, tlv(0x04, SOMEBODY.bytes) + tlv(0x04, ANOTHER.bytes))
    names = (str(SOMEBODY), str(ANOTHER))

    def note(value: bytes, *kind: bytes) -> content_sync.Note | None:
        data = sync_info(value, *kind)
        return content_sync.note(data, 0, len(data))

    assert note(tlv(0xA3, tlv(0x04, b"cookie") + tlv(0x01, b"\xff") + both)) == content_sync.Note(deleted=names)
    present = content_sync.Note(present=names, present_phase=True)
    assert note(tlv(0xA3, both)) == note(tlv(0xA3, tlv(0x01, b"\x00") + both)) == present
    assert note(tlv(0xA2, tlv(0x04, b"cookie"))) == content_sync.Note(present_phase=True)
    assert note(tlv(0xA1, b"")) == note(tlv(0x80, b"cookie")) == content_sync.Note()
    assert note(b"whatever", b"1.2.3") is None
    for bad in (b"", tlv(0xA3, b""), tlv(0xA4, b""), tlv(0xA1, b"") + b"\x00", tlv(0xA3, tlv(0x01, b"") + both)):
        with pytest.raises(decode.Malformed):
            note(bad)


def test_d13_the_end_of_a_sync_search() -> None:
    def ended(value: bytes | None) -> content_sync.Ended | None:
        data = result(value)
        return content_sync.ended(data, 0, len(data))

    assert ended(None) is None
    assert ended(tlv(0x30, b"")) == content_sync.Ended(None, False)
    assert ended(tlv(0x30, tlv(0x04, b"c") + tlv(0x01, b"\xff"))) == content_sync.Ended(b"c", True)
    with pytest.raises(decode.Malformed):
        ended(b"\x04\x00")


@given(st.binary(max_size=200), st.sampled_from([b"2", b"3", b"4"]))
def test_d13_no_bytes_raise_anything_else(content: bytes, last: bytes) -> None:
    kind = b"1.3.6.1.4.1.4203.1.9.1." + last
    behind = tlv(0x64, b"") + controls(kind, content)
    for data in (content, b"\x79" + content, sync_info(content), behind, tlv(0x65, b"") + content):
        for act in (content_sync.state, content_sync.note, content_sync.ended):
            with contextlib.suppress(decode.Malformed):
                act(data, 0, len(data))


@given(st.data())
def test_d13_no_changed_byte_raises_anything_else(data: st.DataObject) -> None:
    both = tlv(0x31, tlv(0x04, SOMEBODY.bytes) + tlv(0x04, ANOTHER.bytes))
    whole = data.draw(
        st.sampled_from(
            [
                sync_info(tlv(0xA3, tlv(0x01, b"\xff") + both)),
                result(tlv(0x30, tlv(0x04, b"c") + tlv(0x01, b"\xff"))),
                tlv(0x64, b"")
                + controls(content_sync._STATE, tlv(0x30, tlv(0x0A, b"\x01") + tlv(0x04, SOMEBODY.bytes))),
            ]
        )
    )
    broken = bytearray(whole)
    broken[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    for act in (content_sync.state, content_sync.note, content_sync.ended):
        with contextlib.suppress(decode.Malformed):
            act(bytes(broken), 0, len(broken))
