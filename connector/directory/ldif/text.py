"""The LDIF format (RFC 2849): text to raw entries, with every fault and its line.

Pure: no I/O here. Content records only; change records and values by reference (``:<``) are refused.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

Attributes = dict[str, list[bytes]]

_COUNT = re.compile(rb"#\s*(?:num)?entries:\s*(\d+)\s*", re.IGNORECASE)
_EXPORTED = re.compile(rb"#\s*exported:\s*(\S+)\s*", re.IGNORECASE)
_NAME = re.compile(rb"(?:[A-Za-z][A-Za-z0-9-]*|\d+(?:\.\d+)+)(?:;[A-Za-z0-9-=]+)*")


@dataclass(slots=True)
class Contents:
    """What a file holds: (DN, attributes) in order, the declared number of entries if any, and every fault.

    ``declared_last``: the declaration stands after the entries, so that nothing can be cut off before it.
    ``exported``: when the export began, as the file declares it.
    """

    entries: list[tuple[str, Attributes]] = field(default_factory=list)
    declared: int | None = None
    declared_last: bool = False
    exported: datetime | None = None
    faults: list[str] = field(default_factory=list)


class _Fault(Exception):
    """One record cannot be used; carries the words."""


def parse(content: bytes) -> Contents:
    """Parse a file. Never raises: faults are listed, and a record with a fault is not among the entries."""
    contents = Contents()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        contents.faults.append("the file is UTF-16: export it as UTF-8 (ldifde without -u, not by PowerShell)")
        return contents
    content = content.removeprefix(codecs.BOM_UTF8)
    if not content.strip():
        contents.faults.append("the file is empty")
        return contents
    cut = not content.endswith(b"\n")
    last_is_whole = False
    for number, record in _records(content, contents):
        last_is_whole = False
        try:
            entry = _record(number, record, contents)
        except _Fault as fault:
            contents.faults.append(str(fault))
            continue
        if entry is not None:
            contents.entries.append(entry)
            last_is_whole = True
    if cut:
        contents.faults.insert(0, "the file does not end with a line end: it is cut off")
        if last_is_whole:
            contents.entries.pop()  # its last value may be half a value
    elif contents.declared is not None:
        if contents.declared != len(contents.entries):
            contents.faults.insert(0, f"{contents.declared} entries are declared, {len(contents.entries)} are there")
        elif not contents.declared_last and not re.search(rb"\n\r?\n$", content):
            contents.faults.insert(0, "the last record is not ended by an empty line: it may be cut off")
    return contents


def _records(content: bytes, contents: Contents) -> Iterator[tuple[int, list[bytes]]]:
    """Unfolded, comment-free records with the number of their first line."""
    record: list[bytes] = []
    start, comment = 0, False
    for number, raw in enumerate(content.split(b"\n"), 1):
        line = raw[:-1] if raw.endswith(b"\r") else raw
        if line.startswith(b" "):
            if comment:
                continue
            if record:
                record[-1] += line[1:]
            else:
                contents.faults.append(f"line {number}: a continuation of nothing")
            continue
        comment = line.startswith(b"#")
        if comment:
            if match := _COUNT.fullmatch(line):
                contents.declared = int(match[1])
                contents.declared_last = bool(contents.entries or record)
            elif match := _EXPORTED.fullmatch(line):
                contents.exported = _instant(number, match[1], contents)
        elif line:
            start = start or number
            record.append(line)
        elif record:
            yield start, record
            record, start = [], 0
    if record:
        yield start, record


def _instant(number: int, text: bytes, contents: Contents) -> datetime | None:
    try:
        found = datetime.fromisoformat(text.decode("ascii"))
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        shown = text[:40].decode("utf-8", "replace")
        contents.faults.append(f"line {number}: {shown!r} is no time with its zone, such as 2026-11-29T10:00:00Z")
        return None
    return found.astimezone(UTC)


def _record(number: int, lines: list[bytes], contents: Contents) -> tuple[str, Attributes] | None:
    if number and lines[0].lower().startswith(b"version:"):
        if lines[0][8:].strip() != b"1":
            raise _Fault(f"line {number}: only LDIF version 1 is known")
        lines = lines[1:]
        if not lines:
            return None
    if lines[0].lower().startswith((b"search:", b"result:")):
        _trailer(lines, contents)
        return None
    name, value = _line(number, lines[0])
    if name != "dn":
        raise _Fault(f"line {number}: a record begins with dn:, not with {name}:")
    try:
        entry_dn = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _Fault(f"line {number}: the DN is not UTF-8") from error
    attributes: Attributes = {}
    for line in lines[1:]:
        name, value = _line(number, line)
        if name in {"changetype", "control"}:
            raise _Fault(f"line {number}: {entry_dn} is a change record; export entries, not changes")
        attributes.setdefault(name, []).append(value)
    if not attributes:
        raise _Fault(f"line {number}: {entry_dn} has no attributes")
    return entry_dn, attributes


def _trailer(lines: list[bytes], contents: Contents) -> None:
    """ldapsearch's last block: its result code says whether the export itself was complete."""
    for line in lines:
        name, _, value = line.partition(b":")
        if name.lower() == b"result" and value.split()[:1] != [b"0"]:
            words = value.strip().decode("utf-8", "replace")
            contents.faults.append(f"the export itself ended with result {words}")


def _line(number: int, line: bytes) -> tuple[str, bytes]:
    raw_name, colon, rest = line.partition(b":")
    if not colon or not _NAME.fullmatch(raw_name):
        shown = raw_name[:40].decode("utf-8", "replace")
        raise _Fault(f"record at line {number}: {shown!r} is not an attribute and a colon")
    name = raw_name.decode("ascii").lower()
    if rest.startswith(b"<"):
        raise _Fault(f"record at line {number}: {name}:< (a value by reference) is refused")
    if not rest.startswith(b":"):
        return name, rest.lstrip(b" ")
    try:
        return name, base64.b64decode(rest[1:].strip(), validate=True)
    except binascii.Error as error:
        raise _Fault(f"record at line {number}: {name}:: is not base64 (cut off?)") from error
