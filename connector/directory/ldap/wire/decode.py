"""A lean BER decoder for what a search returns (RFC 4511 §4.5.2): walks by index, keeps raw bytes, trusts no length.

Pure: no I/O and no client library here. The general decoders cost eight times ``ldapsearch``; this one is written out
in line on purpose: a call per element would double its time.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_MESSAGE = 128 * 1024 * 1024
"""Longest message accepted, in bytes: a group of two million members fits."""

ENTRY, DONE, REFERENCE, EXTENDED, INTERMEDIATE = 0x64, 0x65, 0x73, 0x78, 0x79
_KNOWN_OPERATIONS = frozenset({ENTRY, DONE, REFERENCE, EXTENDED, INTERMEDIATE})
_PAGED_RESULTS = b"1.2.840.113556.1.4.319"
_CONTROLS, _REFERRAL = 0xA0, 0xA3
_MAX_NAMES = 4096


class Malformed(ValueError):
    """The bytes are not the LDAP they claim to be; the connection is of no more use."""


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a search or of one page. ``cookie`` is None when the server sent no paging control."""

    code: int
    diagnostic: str
    referrals: tuple[str, ...]
    cookie: bytes | None


Attributes = dict[str, tuple[bytes, ...]]


class Names(dict[bytes, str]):
    """Attribute descriptions as sent → lower-case text, each made once.

    The key is the whole header of an attribute (tag, length and name, then the tag of the set of values), so that one
    look-up checks all of it.
    """

    def learn(self, raw: bytes) -> str:
        """The text of an attribute description; a hostile server's endless new names are not kept."""
        text = raw.decode("utf-8", "backslashreplace").lower()
        if len(raw) < 128 and len(self) < _MAX_NAMES:
            text = self.setdefault(bytes((0x04, len(raw))) + raw + b"\x31", text)
        return text


def message(buffer: bytes | bytearray, at: int) -> tuple[int, int, int, int]:
    """Frame the message at ``at``: (message id, operation tag, where the operation starts, where the message ends).

    The end is -1 while the message is incomplete (the rest of the tuple means nothing then). ``Malformed`` for anything
    that cannot become an LDAP message.
    """
    size = len(buffer)
    if size - at < 2:
        return 0, 0, 0, -1
    if buffer[at] != 0x30:
        raise Malformed("a message does not begin with a sequence")
    length = buffer[at + 1]
    at += 2
    if length > 127:
        octets = length & 0x7F
        if not 1 <= octets <= 5:
            raise Malformed("a message has an impossible length")
        if size - at < octets:
            return 0, 0, 0, -1
        length = int.from_bytes(buffer[at : at + octets], "big")
        at += octets
        if length > MAX_MESSAGE:
            raise Malformed(f"a message of {length} bytes is refused")
    end = at + length
    if end > size:
        return 0, 0, 0, -1
    if length < 5 or buffer[at] != 0x02 or not 1 <= buffer[at + 1] <= 4:
        raise Malformed("a message has no message id")
    start = at + 2 + buffer[at + 1]
    if start >= end or buffer[start] not in _KNOWN_OPERATIONS:
        raise Malformed("a message holds an operation that no search returns")
    return int.from_bytes(buffer[at + 2 : start], "big"), buffer[start], start, end


def entry(data: bytes, at: int, stop: int, names: Names) -> tuple[str, Attributes]:
    """Decode the SearchResultEntry at ``at`` in a message that ends at ``stop``: (DN, attributes).

    Attribute names are lower case, values raw and in the server's order; tuples, because the garbage collector lets go
    of them. ``Malformed`` when any inner length does not add up with the one around it.
    """
    # One walk, written out: see the top of the file.
    try:
        size = data[at + 1]
        at += 2
        if size > 127:
            size, at = _long(data, at, size)
        end = at + size
        if end > stop or data[at] != 0x04:
            raise Malformed("an entry is longer than its message")
        size = data[at + 1]
        at += 2
        if size > 127:
            size, at = _long(data, at, size)
        name = data[at : at + size]
        at += size
        if data[at] != 0x30:
            raise Malformed("an entry has no attribute list")
        size = data[at + 1]
        at += 2
        if size > 127:
            size, at = _long(data, at, size)
        if at + size != end:
            raise Malformed("an attribute list does not fill its entry")
        attributes: Attributes = {}
        known = names.get
        while at < end:
            name_size = data[at + 3]
            start = at + name_size + 5
            kind = known(data[at + 2 : start])
            size = data[start]
            if (
                kind is not None
                and data[at] == 0x30
                and data[at + 1] == name_size + size + 4 < 128
                and data[start + 1] == 0x04
                and data[start + 2] == size - 2
                and kind not in attributes
            ):
                at = start + size + 1
                attributes[kind] = (data[start + 3 : at],)
            else:
                at = _attribute(data, at, end, names, attributes)
        if at != end:
            raise Malformed("an attribute is longer than its entry")
    except IndexError:
        raise Malformed("an entry ends too early") from None
    return name.decode("utf-8", "backslashreplace"), attributes


def done(data: bytes, at: int, stop: int) -> Done:
    """Decode the SearchResultDone at ``at`` and the paging control behind it (RFC 2696)."""
    _, inside, end = element(data, at, stop)
    tag, start, after = element(data, inside, end)
    if tag != 0x0A or after - start not in (1, 2):
        raise Malformed("a result has no code")
    code = int.from_bytes(data[start:after], "big")
    _, _, after = element(data, after, end)
    _, start, after = element(data, after, end)
    diagnostic = data[start:after].decode("utf-8", "replace")
    referrals: tuple[str, ...] = ()
    if after < end:
        tag, start, after = element(data, after, end)
        if tag == _REFERRAL:
            referrals = _strings(data, start, after)
    cookie = None
    if end < stop:
        tag, start, after = element(data, end, stop)
        if tag == _CONTROLS:
            cookie = _cookie(data, start, after)
    return Done(code, diagnostic, referrals, cookie)


def reference(data: bytes, at: int, stop: int) -> tuple[str, ...]:
    """The URLs of a SearchResultReference; they are only reported, never followed (D12)."""
    _, start, end = element(data, at, stop)
    return _strings(data, start, end)


def control(data: bytes, at: int, stop: int, kind: bytes) -> bytes | None:
    """Value of the control ``kind`` (an OID) behind the operation at ``at``; None when there is no such control."""
    _, _, end = element(data, at, stop)
    if end >= stop:
        return None
    tag, at, end = element(data, end, stop)
    while tag == _CONTROLS and at < end:
        _, start, at = element(data, at, end)
        _, name_at, inner = element(data, start, at)
        if data[name_at:inner] != kind:
            continue
        value = b""
        while inner < at:
            found, value_at, inner = element(data, inner, at)
            value = data[value_at:inner] if found == 0x04 else value
        return value
    return None


def _long(data: bytes, at: int, first: int) -> tuple[int, int]:
    """A length in the long form whose first octet was ``first``: (length, where the content starts)."""
    octets = first & 0x7F
    if not 1 <= octets <= 5 or at + octets > len(data):
        raise Malformed("a length is impossible")
    length = int.from_bytes(data[at : at + octets], "big")
    at += octets
    if at + length > len(data):
        raise Malformed("a length points behind the end")
    return length, at


def _attribute(data: bytes, at: int, end: int, names: Names, attributes: Attributes) -> int:
    """Decode any attribute, the long way; returns where the next one starts."""
    tag, inside, after = element(data, at, end)
    if tag != 0x30:
        raise Malformed("an attribute is not a sequence")
    tag, start, stop = element(data, inside, after)
    if tag != 0x04:
        raise Malformed("an attribute has no name")
    kind = names.learn(data[start:stop])
    tag, start, stop = element(data, stop, after)
    if tag != 0x31 or stop != after:
        raise Malformed("the values do not fill their attribute")
    attributes[kind] = attributes.get(kind, ()) + _values(data, start, after)
    return after


def _values(data: bytes, at: int, after: int) -> tuple[bytes, ...]:
    values: list[bytes] = []
    append = values.append
    while at < after:
        if data[at] != 0x04:
            raise Malformed("a value is not a string of octets")
        size = data[at + 1]
        at += 2
        if size > 127:
            size, at = _long(data, at, size)
        append(data[at : at + size])
        at += size
    if at != after:
        raise Malformed("a value is longer than its attribute")
    return tuple(values)


def element(data: bytes, at: int, stop: int) -> tuple[int, int, int]:
    """(tag, start, end) of the element at ``at``, which must end at or before ``stop``; else ``Malformed``."""
    if at + 2 > stop:
        raise Malformed("an element is missing")
    tag, size = data[at], data[at + 1]
    at += 2
    if size > 127:
        size, at = _long(data, at, size)
    if at + size > stop:
        raise Malformed("an element is longer than what holds it")
    return tag, at, at + size


def _strings(data: bytes, at: int, stop: int) -> tuple[str, ...]:
    found = []
    while at < stop:
        _, start, at = element(data, at, stop)
        found.append(data[start:at].decode("utf-8", "backslashreplace"))
    return tuple(found)


def _cookie(data: bytes, at: int, stop: int) -> bytes | None:
    while at < stop:
        _, start, at = element(data, at, stop)
        _, name_at, inner = element(data, start, at)
        if data[name_at:inner] != _PAGED_RESULTS:
            continue
        while inner < at:
            tag, value_at, inner = element(data, inner, at)
            if tag == 0x04:
                _, sequence_at, sequence_end = element(data, value_at, inner)
                _, _, after = element(data, sequence_at, sequence_end)
                _, cookie_at, cookie_end = element(data, after, sequence_end)
                return data[cookie_at:cookie_end]
    return None
