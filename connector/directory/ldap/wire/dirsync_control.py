"""The controls of Active Directory that show what changed, encoded and decoded (MS-ADTS 3.1.1.3.4.1.3, 3.1.1.3.4.1.14).

Pure: bytes in, bytes out; no I/O here. Bytes from a server raise ``Malformed`` and nothing else.
"""

from __future__ import annotations

from connector.directory.ldap.wire import decode

DIRSYNC = b"1.2.840.113556.1.4.841"
OBJECT_SECURITY = 0x1
"""Shows only what the account may read anyway, and needs no right to replicate."""
INCREMENTAL_VALUES = 0x8000_0000
"""Of a group only the members that came or went, not all of them."""

_MOST_BYTES = 1 << 20


def _element(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    return bytes((tag, 0x84)) + size.to_bytes(4, "big") + content


def _integer(number: int) -> bytes:
    return _element(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))


def _critical(oid: bytes, value: bytes | None = None) -> bytes:
    return _element(0x30, _element(0x04, oid) + b"\x01\x01\xff" + (b"" if value is None else _element(0x04, value)))


SHOW_DELETED = _critical(b"1.2.840.113556.1.4.417")
"""Deleted objects are found like others."""


def request(cookie: bytes, flags: int) -> bytes:
    """The control that asks for what changed since ``cookie`` (empty: everything)."""
    signed = flags - (1 << 32) if flags & 0x8000_0000 else flags  # a 32-bit field, sent as INTEGER
    value = _element(0x30, _integer(signed) + _integer(_MOST_BYTES) + _element(0x04, cookie))
    return _critical(DIRSYNC, value)


def answer(result: bytes) -> tuple[bool, bytes] | None:
    """Whether there is more now, and the cookie to go on with, from the result of a search and the controls behind it.

    None when the server did not answer the control.
    """
    value = decode.control(result, 0, len(result), DIRSYNC)
    if value is None:
        return None
    tag, at, stop = decode.element(value, 0, len(value))
    kind, start, after = decode.element(value, at, stop)
    more = any(value[start:after])
    _, _, after = decode.element(value, after, stop)
    last, start, end = decode.element(value, after, stop)
    if (tag, kind, last) != (0x30, 0x02, 0x04):
        raise decode.Malformed("the answer to the DirSync control is not what it should be")
    return more, value[start:end]
