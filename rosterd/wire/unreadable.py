"""Answers requests that no route sees, in the shape of SCIM where they were for ``/scim/v2``: their method, their head
or the packing of their body cannot be read.

Prohibition: nothing of such a request is logged or answered but its kind: its bytes may hold a token.
"""

from __future__ import annotations

import re

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod, ContentEncodingError, LineTooLong

from connector.scim import routes as scim

_LINE = re.compile(rb"[^\s:]{1,40} (?:https?://[^/\s]*)?(/[^\s?]{0,200})")
_FOR_SCIM = re.compile(re.escape(scim.PREFIX.encode()) + rb"(/.*)?")
_KINDS = (
    (ContentEncodingError, 415, "the body is packed in a way that is not read"),
    (LineTooLong, 414, "the address is too long"),
    (BadHttpMethod, 501, "there is no such method"),
)


def begins(data: bytes) -> bool:
    """Whether these bytes begin a request."""
    return _LINE.match(data) is not None


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
