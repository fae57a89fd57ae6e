"""The DirSync control on the wire, and what a filter's matches depend on (D13)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ldap3.protocol.microsoft import DirSyncControlRequestValue
from pyasn1.codec.ber import decoder, encoder

from connector.directory.ldap.active_directory import domain, touched
from connector.directory.ldap.wire import decode, dirsync_control

DONE = b"\x65\x07\x0a\x01\x00\x04\x00\x04\x00"


def answered(value: bytes) -> bytes:
    """A result with the control that carries this value."""
    sent = b"\x04" + bytes([len(dirsync_control.DIRSYNC)]) + dirsync_control.DIRSYNC
    inner = sent + b"\x01\x01\xff" + b"\x04" + bytes([len(value)]) + value
    return DONE + b"\xa0" + bytes([len(inner) + 2]) + b"\x30" + bytes([len(inner)]) + inner


def value(flags: int, cookie: bytes) -> bytes:
    found = DirSyncControlRequestValue()
    for name, part in (("Flags", flags), ("MaxBytes", 0), ("Cookie", cookie)):
        found.setComponentByName(name, part)
    return bytes(encoder.encode(found))


@pytest.mark.parametrize("size", [0, 1, 127, 128, 300, 70_000])
def test_what_is_asked_is_what_others_decode(size: int) -> None:
    flags = dirsync_control.OBJECT_SECURITY | dirsync_control.INCREMENTAL_VALUES
    control = decoder.decode(dirsync_control.request(b"c" * size, flags))[0]
    assert bytes(control[0]) == dirsync_control.DIRSYNC
    assert bool(control[1])
    asked = decoder.decode(bytes(control[2]), asn1Spec=DirSyncControlRequestValue())[0]
    assert int(asked["Flags"]) & 0xFFFF_FFFF == flags
    assert int(asked["MaxBytes"]) == 1 << 20
    assert bytes(asked["Cookie"]) == b"c" * size


@pytest.mark.parametrize(("flags", "more"), [(0, False), (1, True), (256, True)])
def test_what_others_encode_is_understood(flags: int, more: bool) -> None:
    assert dirsync_control.answer(answered(value(flags, b"where"))) == (more, b"where")
    other = dirsync_control.SHOW_DELETED
    assert dirsync_control.answer(DONE + b"\xa0" + bytes([len(other)]) + other) is None
    assert dirsync_control.answer(DONE) is None


@given(st.binary(max_size=60))
def test_no_bytes_of_a_server_raise_anything_else(data: bytes) -> None:
    for result in (data, DONE + data, answered(data), answered(value(0, b"where"))[: len(data)]):
        with contextlib.suppress(decode.Malformed):
            dirsync_control.answer(result)


@pytest.mark.parametrize(
    ("filter_", "names"),
    [
        ("(objectClass=*)", {"objectclass"}),
        ("(&(objectCategory=person)(!(title=a*b))(|(mail>=x)(sn~=y)))", {"objectcategory", "title", "mail", "sn"}),
        ("(cn;lang-pl=x=y)", {"cn"}),
        ("( cn=x)", {"cn"}),
        ("(userAccountControl:1.2.840.113556.1.4.803:=2)", {"useraccountcontrol"}),
        ("(memberOf:1.2.840.113556.1.4.1941:=cn=x)", {"memberof", "1.2.840.113556.1.4.1941"}),
        ("(ou:dn:=Staff)", {"ou", "dn"}),
        ("(:dn:2.5.13.5:=Staff)", {"dn"}),
        (r"(cn=\28mail=x\29)", {"cn"}),
    ],
)
def test_d13_what_a_filter_asserts(filter_: str, names: set[str]) -> None:
    assert domain.asserted(filter_) == names


def test_d13_a_position_is_read_as_it_was_written() -> None:
    for position in (touched.Position("ab", 7), touched.Position("ab", 7, "Y29v")):
        assert touched.position(position.as_cursor()) == position
    for wrong in ({}, {"method": "DirSync"}, {"method": "DirSync", "invocation": "ab", "usn": 7}):
        assert touched.position(wrong) is None
