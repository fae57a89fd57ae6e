"""Reads the body of a request: its kind is refused first, then so many bytes are taken, and no more, and not for ever.

The one place where a face reads bytes; every face gives its own limit. Prohibition: parses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from aiohttp import web

from ledger.errors import BadInput

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
_PACKINGS = ("", "identity", "gzip", "deflate")
_SECONDS, _BYTES_A_SECOND = 10.0, 64 * 1024


class UnreadBody(BadInput):
    """The body is of a kind that is not read (HTTP 415)."""


class TooLarge(BadInput):
    """The body is larger than is read (HTTP 413)."""


class TooSlow(BadInput):
    """The body did not come within its time (HTTP 408)."""


class Garbled(BadInput):
    """The body cannot be unpacked (HTTP 400)."""


STATUS: dict[type[BadInput], int] = {UnreadBody: 415, TooLarge: 413, TooSlow: 408, Garbled: 400}
"""What HTTP calls each."""


async def read_body(
    request: web.Request, *, most: int, kinds: Collection[str], bare: bool = False, packed: bool = True
) -> bytes:
    """The unpacked body, ``most`` bytes at most, as one of the media types ``kinds`` in UTF-8.

    ``bare``: also without a ``Content-Type``, or none at all; ``packed``: also with a ``Content-Encoding``. Ten
    seconds, and one more for each 64 KiB of ``most``, are time enough. Raises what ``STATUS`` lists, ``UnreadBody`` and
    an announced ``TooLarge`` before a byte is read.
    """
    if bare and not request.can_read_body:
        return b""
    _require_kind(request, kinds, bare, _PACKINGS if packed else _PACKINGS[:2])
    too_large = TooLarge(f"a body has at most {most} bytes", next_step="send less at a time")
    if (request.content_length or 0) > most:
        raise too_large
    found = bytearray()
    try:
        async with asyncio.timeout(_SECONDS + most / _BYTES_A_SECOND):
            async for part in request.content.iter_any():
                found += part
                if len(found) > most:  # also what a small packed body unpacks to
                    raise too_large
    except TimeoutError as error:
        raise TooSlow("the body did not come in time", next_step="send it without pauses") from error
    except web.RequestPayloadError as error:
        raise Garbled("the body cannot be unpacked, or ends too early") from error
    return bytes(found)


def _require_kind(request: web.Request, kinds: Collection[str], bare: bool, packings: Collection[str]) -> None:
    expected = f"send {next(iter(kinds))}"
    if request.content_type not in kinds and not (bare and "Content-Type" not in request.headers):
        raise UnreadBody(f"content type {request.content_type[:80]!r} is not read", next_step=expected)
    if (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
        raise UnreadBody("bodies are UTF-8", next_step=expected)
    if request.headers.get("Content-Encoding", "").strip().lower() not in packings:
        raise UnreadBody("the body is packed in a way that is not read", next_step=f"{expected} without it")
