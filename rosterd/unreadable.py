"""Answers requests that no route sees, in the shape of SCIM where they were for ``/scim/v2``: their method, their head
or the packing of their body cannot be read.

Prohibition: nothing of such a request is logged or answered but its kind: its bytes may hold a token.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod, ContentEncodingError, LineTooLong

from connector.scim import routes as scim
from rosterd.logs import event

_LINE = re.compile(rb"[^\s:]{1,40} (?:https?://[^/\s]*)?(/[^\s?]{0,200})")
_FOR_SCIM = re.compile(re.escape(scim.PREFIX.encode()) + rb"(/.*)?")
_KINDS = (
    (ContentEncodingError, 415, "the body is packed in a way that is not read"),
    (LineTooLong, 414, "the address is too long"),
    (BadHttpMethod, 501, "there is no such method"),
)
_log = logging.getLogger(__name__)


def answer(head: bytes, error: BaseException | None) -> web.Response | None:
    """What SCIM says; None where it was not for SCIM. ``head``: how the request begins; ``error``: what the parser
    raised."""
    line = _LINE.match(head)
    if line is None or not _FOR_SCIM.fullmatch(line[1]):
        return None
    found = next(((status, what) for kind, status, what in _KINDS if isinstance(error, kind)), None)
    status, what = found or (400, "this is no HTTP request")
    if status == 414 and b"\r\n" in head:
        status, what = 431, "a header is too long"
    return scim.fault(status, what)


class Runner(web.AppRunner):
    """As aiohttp's, with these answers; bodies are handed on as they were sent (``access.unpacking``)."""

    def __init__(self, app: web.Application, **more: Any) -> None:
        super().__init__(app, auto_decompress=False, **more)

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        made.__class__ = _Server  # aiohttp takes no class for its connections
        return made


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    """One connection; remembers how the last request began."""

    _head = b""

    def data_received(self, data: bytes) -> None:
        if _LINE.match(data):
            self._head = data[:8190]
        super().data_received(data)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        found = answer(self._head, exc) if status < 500 and not request.writer.output_size else None
        if found is None:
            return super().handle_error(request, status, exc, message)
        event(_log, "request.unreadable", remote=request.remote, why=type(exc).__name__)
        found.force_close()
        return found
