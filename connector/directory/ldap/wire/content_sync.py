"""The bytes of the content synchronization operation (RFC 4533): the control we send and what comes back.

Pure: no I/O and no client library here. Trusts no length; whatever is not what it claims to be is ``Malformed``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from connector.directory.ldap.wire.decode import Malformed, control, element

REQUEST = b"1.3.6.1.4.1.4203.1.9.1.1"
"""The Sync Request Control; a server that can do it lists it in ``supportedControl``."""
_STATE = b"1.3.6.1.4.1.4203.1.9.1.2"
_DONE = b"1.3.6.1.4.1.4203.1.9.1.3"
_INFO = b"1.3.6.1.4.1.4203.1.9.1.4"

REFRESH_REQUIRED = 4096
"""e-syncRefreshRequired (RFC 4533 §2.6): the cookie is of no more use."""

PRESENT, ADD, MODIFY, DELETE = range(4)
_NEW_COOKIE, _REFRESH_DELETE, _REFRESH_PRESENT, _ID_SET = 0x80, 0xA1, 0xA2, 0xA3
_OCTETS, _BOOLEAN, _ENUMERATED, _SEQUENCE, _SET = 0x04, 0x01, 0x0A, 0x30, 0x31


class State(NamedTuple):
    """What an entry's Sync State Control says: ``PRESENT`` … ``DELETE``, and the entryUUID as text."""

    state: int
    anchor: str


class Note(NamedTuple):
    """A Sync Info message: the anchors it calls deleted or present, and whether it ends or is part of a present phase
    (RFC 4533 §3.3.2)."""

    deleted: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    present_phase: bool = False


class Ended(NamedTuple):
    """The Sync Done Control. ``deletes``: what was deleted was said; otherwise what is not listed is gone."""

    cookie: bytes | None
    deletes: bool


def request(cookie: bytes) -> bytes:
    """An encoded control (critical) that asks for what changed since ``cookie``; an empty one asks for everything."""
    value = _tagged(_ENUMERATED, b"\x01") + (_tagged(_OCTETS, cookie) if cookie else b"")
    parts = _tagged(_OCTETS, REQUEST) + _tagged(_BOOLEAN, b"\xff") + _tagged(_OCTETS, _tagged(_SEQUENCE, value))
    return _tagged(_SEQUENCE, parts)


def state(data: bytes, at: int, stop: int) -> State | None:
    """The state of the entry at ``at`` in a message that ends at ``stop``; None when the server did not say it."""
    value = control(data, at, stop, _STATE)
    if value is None:
        return None
    parts = _parts(value, _SEQUENCE)
    tag, found = next(parts, (0, b""))
    if tag != _ENUMERATED or len(found) != 1 or found[0] > DELETE:
        raise Malformed("an entry has no state that a server may send")
    tag, octets = next(parts, (0, b""))
    if tag != _OCTETS:
        raise Malformed("an entry's state names no entry")
    return State(found[0], _anchor(octets))


def note(data: bytes, at: int, stop: int) -> Note | None:
    """What the intermediate response at ``at`` says; None when it is about something else."""
    tag, at, end = element(data, at, stop)
    name = value = b""
    while at < end:
        tag, start, at = element(data, at, end)
        name, value = (data[start:at], value) if tag == 0x80 else (name, data[start:at] if tag == 0x81 else value)
    if name != _INFO:
        return None
    tag, start, end = element(value, 0, len(value))
    if end != len(value):
        raise Malformed("a sync message is longer than it says")
    if tag == _REFRESH_PRESENT:
        return Note(present_phase=True)
    if tag in (_NEW_COOKIE, _REFRESH_DELETE):
        return Note()
    if tag != _ID_SET:
        raise Malformed("a sync message of an unknown kind")
    return _id_set(value[start:end])


def ended(data: bytes, at: int, stop: int) -> Ended | None:
    """The control behind the result at ``at``; None when there is none."""
    value = control(data, at, stop, _DONE)
    if value is None:
        return None
    cookie, deletes = None, False
    for tag, found in _parts(value, _SEQUENCE):
        if tag == _OCTETS:
            cookie = found
        elif tag == _BOOLEAN:
            deletes = _truth(found)
    return Ended(cookie, deletes)


def _id_set(content: bytes) -> Note:
    deletes, anchors = False, None
    at = 0
    while at < len(content):
        tag, start, at = element(content, at, len(content))
        if tag == _BOOLEAN:
            deletes = _truth(content[start:at])
        elif tag == _SET:
            anchors = tuple(_anchors(content, start, at))
    if anchors is None:
        raise Malformed("a set of entries holds no entries")
    return Note(deleted=anchors) if deletes else Note(present=anchors, present_phase=True)


def _anchors(data: bytes, at: int, stop: int) -> Iterator[str]:
    while at < stop:
        tag, start, at = element(data, at, stop)
        if tag != _OCTETS:
            raise Malformed("an entry's name is not a string of octets")
        yield _anchor(data[start:at])


def _anchor(octets: bytes) -> str:
    """An entryUUID as its attribute shows it; written out because a present list has one for everybody."""
    if len(octets) != 16:
        raise Malformed(f"an entryUUID of {len(octets)} bytes")
    digits = octets.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _truth(content: bytes) -> bool:
    if len(content) != 1:
        raise Malformed("a truth value is not one byte long")
    return content != b"\x00"


def _parts(value: bytes, wanted: int) -> Iterator[tuple[int, bytes]]:
    """(tag, content) of the elements of one constructed value that is all there is."""
    tag, at, end = element(value, 0, len(value))
    if tag != wanted or end != len(value):
        raise Malformed("a control's value is not what it has to be")
    while at < end:
        tag, start, at = element(value, at, end)
        yield tag, value[start:at]


def _tagged(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 128:
        return bytes((tag, length)) + content
    return bytes((tag, 0x84)) + length.to_bytes(4, "big") + content
