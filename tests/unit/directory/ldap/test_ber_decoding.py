"""The decoder of search answers: right on what ldap3 encodes, unmoved by what nobody should send (D8, D12)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.directory.ldap.wire import decode


def tlv(tag: int, content: bytes, *, octets: int = 0) -> bytes:
    """One element; ``octets`` forces a long form of that many octets."""
    if not octets and len(content) < 128:
        return bytes([tag, len(content)]) + content
    size = octets or (len(content).bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + len(content).to_bytes(size, "big") + content


def attribute(name: bytes, *values: bytes, octets: int = 0) -> bytes:
    inner = tlv(0x04, name) + tlv(0x31, b"".join(tlv(0x04, value) for value in values), octets=octets)
    return tlv(0x30, inner, octets=octets)


def entry(name: bytes, *attributes: bytes, octets: int = 0, number: int = 7) -> bytes:
    body = tlv(0x64, tlv(0x04, name, octets=octets) + tlv(0x30, b"".join(attributes), octets=octets), octets=octets)
    return tlv(0x30, tlv(0x02, bytes([number])) + body, octets=octets)


def decoded(message: bytes) -> tuple[str, dict[str, tuple[bytes, ...]]]:
    number, operation, start, end = decode.message(message, 0)
    assert (number, operation, end) == (7, decode.ENTRY, len(message))
    return decode.entry(message, start, end, decode.Names())


@pytest.mark.parametrize("octets", [0, 3, 4])
def test_an_entry_in_every_form_of_length(octets: int) -> None:
    message = entry(
        "uid=Łoś,dc=x".encode(),
        attribute(b"mail", b"a@x", b"b@x", octets=octets),
        attribute(b"MAIL;lang-PL", b"c@x"),
        attribute(b"empty"),
        attribute(b"blank", b""),
        attribute(b"photo", b"\x00" * 70_000),
        attribute(b"mail", b"again@x"),
        octets=octets,
    )
    name, attributes = decoded(message)
    assert name == "uid=Łoś,dc=x"
    assert attributes == {
        "mail": (b"a@x", b"b@x", b"again@x"),
        "mail;lang-pl": (b"c@x",),
        "empty": (),
        "blank": (b"",),
        "photo": (b"\x00" * 70_000,),
    }


@pytest.mark.parametrize("size", [120, 124, 125, 126, 127, 128, 129, 130, 253, 254, 255, 256, 65535])
def test_single_values_around_the_borders_of_lengths(size: int) -> None:
    assert decoded(entry(b"cn=x", attribute(b"cn", b"v" * size)))[1] == {"cn": (b"v" * size,)}


def test_a_message_is_incomplete_until_its_last_byte() -> None:
    message = entry(b"cn=x", attribute(b"cn", b"v" * 300))
    for end in range(len(message)):
        assert decode.message(message[:end], 0)[3] == -1


@pytest.mark.parametrize(
    "message",
    [
        b"\x31\x05\x02\x01\x07\x64\x00",
        b"\x30\x80\x02\x01\x07\x64\x00",
        b"\x30\x86\x00\x00\x00\x00\x00\x05\x02\x01\x07",
        b"\x30\x84\x7f\xff\xff\xff\x02\x01\x07\x64",
        b"\x30\x85\xff\xff\xff\xff\xff\x02\x01",
        b"\x30\x05\x04\x01\x07\x64\x00",
        b"\x30\x05\x02\x01\x07\x42\x00",
        b"\x30\x06\x02\x09\x07\x64\x00\x00",
    ],
)
def test_d12_messages_that_cannot_be_are_refused(message: bytes) -> None:
    with pytest.raises(decode.Malformed):
        decode.message(message, 0)


def test_d12_no_inner_length_may_leave_its_place() -> None:
    whole = entry(b"cn=x", attribute(b"cn", b"value"), attribute(b"sn", b"a", b"b"))
    for position in range(7, len(whole)):
        for value in (0, 1, 0x7F, 0x80, 0x84, 0xFF):
            broken = bytearray(whole)
            broken[position] = value
            try:
                name, attributes = decode.entry(bytes(broken), 5, len(broken), decode.Names())
            except decode.Malformed:
                continue
            assert len(name) + sum(len(v) for values in attributes.values() for v in values) < len(whole)


@given(st.binary(max_size=200))
def test_d12_no_bytes_raise_anything_else(content: bytes) -> None:
    for act in (
        lambda: decode.message(content, 0),
        lambda: decode.entry(b"\x64" + content, 0, len(content) + 1, decode.Names()),
        lambda: decode.done(content, 0, len(content)),
        lambda: decode.reference(content, 0, len(content)),
    ):
        with contextlib.suppress(decode.Malformed):
            act()


def test_d1_the_end_of_a_page_with_its_cookie() -> None:
    value = tlv(0x30, tlv(0x02, b"\x00") + tlv(0x04, b"cookie"))
    control = tlv(0x30, tlv(0x04, b"1.2.840.113556.1.4.319") + tlv(0x01, b"\xff") + tlv(0x04, value))
    other = tlv(0x30, tlv(0x04, b"1.2.3"))
    result = tlv(0x65, tlv(0x0A, b"\x00") + tlv(0x04, b"") + tlv(0x04, b"fine"))
    data = result + tlv(0xA0, other + control)
    assert decode.done(data, 0, len(data)) == decode.Done(0, "fine", (), b"cookie")
    assert decode.done(result, 0, len(result)).cookie is None


def test_d12_a_referral_result_names_its_servers() -> None:
    urls = tlv(0xA3, tlv(0x04, b"ldap://a/") + tlv(0x04, b"ldap://b/"))
    data = tlv(0x65, tlv(0x0A, b"\x0a") + tlv(0x04, b"") + tlv(0x04, b"") + urls)
    assert decode.done(data, 0, len(data)) == decode.Done(10, "", ("ldap://a/", "ldap://b/"), None)


def test_names_are_made_once_and_a_flood_of_them_is_not_kept() -> None:
    names = decode.Names()
    assert names.learn(b"Mail") == "mail"
    assert names[b"\x04\x04Mail\x31"] == "mail"
    for number in range(10_000):
        assert names.learn(b"x%d" % number) == f"x{number}"
    assert len(names) < 5000
