"""Reads the body of a request: its kind is refused first, then so many bytes are taken, and no more, and not for ever.

The one place where a face reads bytes; every face gives its own limit. Prohibition: parses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Collection
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from access.codings import CODINGS
from access.unpacking import Damaged, Unpacking
from ledger.errors import BadInput

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
_SECONDS, _BYTES_A_SECOND = 10.0, 64 * 1024


class UnreadBody(BadInput):
    """The body is of a kind that is not read (HTTP 415)."""


class Unsized(BadInput):
    """The body does not say how long it is (HTTP 411)."""


class TooLarge(BadInput):
    """The body is larger than is read (HTTP 413)."""


class TooSlow(BadInput):
    """The body did not come within its time (HTTP 408)."""


STATUS: dict[type[BadInput], int] = {UnreadBody: 415, Unsized: 411, TooLarge: 413, TooSlow: 408, Damaged: 400}
"""What HTTP calls each."""


async def read_body(
    request: web.Request,
    *,
    most: int,
    kinds: Collection[str],
    bare: bool = False,
    packed: bool = True,
    sized: bool = False,
) -> bytes:
    """The unpacked body, ``most`` bytes at most, as one of the media types ``kinds`` in UTF-8.

    ``bare``: also without a ``Content-Type``, or none at all; ``packed``: also with a ``Content-Encoding``; ``sized``:
    only with a ``Content-Length``, since a chunk may be one byte and costs as much as a thousand. Ten
    seconds, and one more for each 64 KiB of ``most``, are time enough. Raises what ``STATUS`` lists, ``UnreadBody`` and
    an announced ``TooLarge`` before a byte is read.
    """
    if bare and not request.can_read_body:
        return b""
    require_kind(request, kinds, bare=bare, packed=packed)
    if sized and request.content_length is None:
        raise Unsized("the body does not say how long it is", next_step="send Content-Length")
    async with within(most):
        return await _taken(request, Unpacking(request).parts(), most)


async def read_raw(request: web.Request, *, most: int) -> bytes:
    """The body as it was sent, packed or not, of any kind; raises ``TooLarge``, ``TooSlow`` and ``Damaged``."""
    async with within(most):
        return await _taken(request, request.content.iter_any(), most)


@asynccontextmanager
async def within(most: int) -> AsyncIterator[None]:
    """The time that a body of ``most`` bytes may take to come; raises ``TooSlow``, and ``Damaged`` where it breaks
    off."""
    try:
        async with asyncio.timeout(_SECONDS + most / _BYTES_A_SECOND):
            yield
    except TimeoutError as error:
        raise TooSlow("the body did not come in time", next_step="send it without pauses") from error
    except (HttpProcessingError, web.RequestPayloadError) as error:
        raise Damaged("the body breaks off") from error


async def _taken(request: web.Request, parts: AsyncIterable[bytes], most: int) -> bytes:
    too_large = TooLarge(f"a body has at most {most} bytes", next_step="send less at a time")
    if (request.content_length or 0) > most:
        raise too_large
    found = bytearray()
    async for part in parts:
        found += part
        if len(found) > most:  # also what a small packed body unpacks to
            raise too_large
    return bytes(found)


def require_kind(request: web.Request, kinds: Collection[str], *, bare: bool = False, packed: bool = True) -> None:
    """Raises ``UnreadBody``, before a byte is read."""
    packings = CODINGS if packed else CODINGS[:2]
    expected = f"send {next(iter(kinds))}"
    if request.content_type not in kinds and not (bare and "Content-Type" not in request.headers):
        raise UnreadBody(f"content type {request.content_type[:80]!r} is not read", next_step=expected)
    if (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
        raise UnreadBody("bodies are UTF-8", next_step=expected)
    if request.headers.get("Content-Encoding", "").strip().lower() not in packings:
        raise UnreadBody("the body is packed in a way that is not read", next_step=f"{expected} without it")
