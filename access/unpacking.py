"""Unpacks the body of a request as it comes, a bounded part at a time: gzip and deflate, to the end or not at all.

The server hands bodies on as they were sent (``auto_decompress=False``): aiohttp does not notice one that is cut off.
Prohibition: parses nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from access.codings import PACKED, decompressor
from ledger.errors import BadInput

_PART = 64 * 1024


class Damaged(BadInput):
    """The body cannot be unpacked, or ends too early (HTTP 400)."""


class Unpacking:
    """The body of one request; ``parts`` may be left and gone on with. Its coding is one of ``codings.CODINGS``."""

    def __init__(self, request: web.Request) -> None:
        self._content = request.content
        self._coding = request.headers.get("Content-Encoding", "").strip().lower()
        self._stream: Any = None
        self._left = b""

    async def parts(self) -> AsyncIterator[bytes]:
        """Raises ``Damaged``."""
        while True:
            for part in self._unpacked():
                yield part
            try:
                self._left = await self._content.readany()
            except (HttpProcessingError, web.RequestPayloadError) as error:
                raise Damaged("the body breaks off") from error
            if not self._left:
                break
        if self._stream is not None and not self._stream.eof:
            raise Damaged(f"the {self._coding} body is cut off")

    def _unpacked(self) -> Iterator[bytes]:
        if self._coding not in PACKED:
            part, self._left = self._left, b""
            if part:
                yield part
            return
        while self._left:
            if self._stream is None:
                self._stream = decompressor(self._coding, self._left)
            if self._stream.eof:
                if not self._left.strip(b"\0"):
                    self._left = b""
                    return
                raise Damaged(f"something follows the {self._coding} body")
            try:
                part = self._stream.decompress(self._left, _PART)
            except zlib.error as error:
                raise Damaged(f"the body is no {self._coding}") from error
            self._left = self._stream.unconsumed_tail or self._stream.unused_data
            if part:
                yield part
