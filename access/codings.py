"""The content codings of bodies that are read (RFC 9110 §8.4.1), by name.

Pure: no I/O here.
"""

from __future__ import annotations

import zlib
from typing import Any

_WINDOWS = {"gzip": 31, "deflate": 15, "x-gzip": 31}
PACKED = tuple(_WINDOWS)
"""The codings that pack."""
CODINGS = ("", "identity", *PACKED)
"""What a ``Content-Encoding`` may say, in lower case."""


def decompressor(coding: str, begins: bytes) -> Any:
    """A fresh ``zlib`` object for a body of one of ``PACKED`` whose first bytes these are."""
    # what is called deflate is zlib's format, and by mistake often bare
    bare = coding == "deflate" and begins[:1] and begins[0] & 0xF != 8
    return zlib.decompressobj(-15 if bare else _WINDOWS[coding])
