"""A body as it was sent becomes rows, whole or not at all: nothing is stored of one that is cut off.

Runs on a thread: it is CPU work, bounded in bytes and rows. Prohibition: knows no HTTP but the values of two headers.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from email.message import Message
from itertools import islice

import pyarrow as pa

from access.codings import CODINGS, PACKED, decompressor
from connector.usage.formats.decoders import ndjson, opened, parquet, separated
from connector.usage.formats.text import HEAD, OtherForm, encoding_of, require_form, separator_of
from connector.usage.rows import FIELDS, Row
from ledger.errors import BadInput

MAX_EVENTS = 10_000
"""Rows of a batch."""
MAX_BYTES = 8 * 1024 * 1024
"""Bytes of a body, as sent and as decoded."""
NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"
CONTENT_TYPES = (*NDJSON, CSV, PARQUET)


class BatchTooLarge(BadInput):
    """More than ``MAX_EVENTS`` rows or ``MAX_BYTES`` bytes; nothing was stored (HTTP 413)."""

    def __init__(self, what: str = f"a batch holds at most {MAX_BYTES} bytes") -> None:
        super().__init__(what, next_step="send smaller batches")


class UnsupportedBody(BadInput):
    """The body is of a kind, encoding or coding that is not read; nothing was stored (HTTP 415)."""


def read_body(body: bytes, content_type: str = NDJSON[0], content_encoding: str = "") -> list[Row]:
    """All rows of ``body``, with their places, from the values of ``Content-Type`` and ``Content-Encoding``.

    ``text/csv`` takes ``charset`` and ``separator`` (``semicolon``, ``tab``). Raises ``UnsupportedBody``,
    ``BatchTooLarge``, and ``BadInput`` for a body that is cut off, damaged or not what it is declared to be.
    """
    kind = _declared(content_type)
    data = unpacked(body, content_encoding)
    rows = list(islice(_rows(data, kind), MAX_EVENTS + 1))
    if len(rows) > MAX_EVENTS:
        raise _too_many()
    return rows


def unpacked(body: bytes, content_encoding: str) -> bytes:
    """``body`` without its content coding; raises as ``read_body`` does."""
    if len(body) > MAX_BYTES:
        raise BatchTooLarge
    coding = content_encoding.strip().lower()
    if coding not in CODINGS:
        raise UnsupportedBody(
            f"the content coding {content_encoding[:40]!r} is not read", next_step=f"send {', '.join(PACKED)} or none"
        )
    if coding not in PACKED:
        return body
    out, rest = bytearray(), body
    while True:
        stream = decompressor(coding, body)
        try:
            out += stream.decompress(rest, MAX_BYTES + 1 - len(out))
        except zlib.error as error:
            raise _damaged(coding, str(error).rpartition(": ")[2]) from error
        if len(out) > MAX_BYTES:
            raise BatchTooLarge
        if not stream.eof:
            raise _damaged(coding, "it is cut off")
        rest = stream.unused_data.lstrip(b"\0")
        if not rest:
            return bytes(out)


def _declared(content_type: str) -> Message:
    kind = Message()
    kind["Content-Type"] = content_type if content_type.isascii() and content_type.isprintable() else "?"
    if kind.get_content_type() not in CONTENT_TYPES:
        raise UnsupportedBody(
            f"content type {kind.get_content_type()!r} is not read", next_step=f"send {NDJSON[0]}, one event a line"
        )
    return kind


def _rows(data: bytes, kind: Message) -> Iterator[Row]:
    name = kind.get_content_type()
    if name == PARQUET:
        return _parquet(data)
    try:
        encoding = encoding_of(str(kind.get_param("charset") or ""))
        separator = separator_of(str(kind.get_param("separator") or ""))
    except BadInput as error:
        raise UnsupportedBody(error.what, next_step=error.next_step) from error
    if name in NDJSON and encoding != "utf-8":
        raise UnsupportedBody("JSON is UTF-8 (RFC 8259 §8.1)", next_step=f"send {NDJSON[0]} in UTF-8")
    return _text(data, name, encoding, separator)


def _text(data: bytes, name: str, encoding: str, separator: str) -> Iterator[Row]:
    try:
        require_form(data[:HEAD], encoding, FIELDS)
        yield from ndjson((data,)) if name in NDJSON else separated((data,), encoding, separator)
    except OtherForm as other:
        charset = f"; charset={other.encoding}" if other.encoding else ""
        means = f"{CSV}{charset}" + (f"; separator={other.separator}" if other.separator else "")
        way = "send it in UTF-8" if name in NDJSON else f"send it as {means}"
        raise BadInput(other.what, next_step=way) from other


def _parquet(data: bytes) -> Iterator[Row]:
    try:
        with opened(data) as file:
            groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
            if file.metadata.num_rows > MAX_EVENTS:
                raise _too_many()
            if sum(group.total_byte_size for group in groups) > MAX_BYTES:
                raise BatchTooLarge
        yield from parquet(data)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"the body is no Parquet file: {error}", next_step="send the whole file") from error


def _too_many() -> BatchTooLarge:
    return BatchTooLarge(f"a batch holds at most {MAX_EVENTS} events")


def _damaged(coding: str, why: str) -> BadInput:
    return BadInput(f"the {coding} body is damaged: {why}", next_step="nothing was stored; send the whole body again")
