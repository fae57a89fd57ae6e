"""What a browser keeps for us: a sealed text in a cookie, and no row here (N10). A sign-in request, by the browser that
began it; and how one ended.

Whoever may not have the key can read what was sealed but cannot make or change it. Pure: no I/O, no clock here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ledger.instant import from_micros, to_micros

TEST, LOGIN = "test", "login"
"""Purposes: of an admin who tries a connection, of anybody who signs in."""
MAX_SEALED = 3000
"""Characters of one sealed request, which come nowhere near what browsers keep."""
MAX_COOKIE = 3500
"""Characters of whatever is sealed; browsers keep cookies up to 4096 with their name."""

_LABEL = b"rosterd sso: requests in cookies, 2"
"""Another label, another key: what one release sealed in a form that the next does not read is refused by it."""


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A request that went out and has not been answered. ``invite``: the person whose invite was followed; empty: none
    was. Instants are of the clock of the host that sent it."""

    id: str
    organization: str
    purpose: str
    connection_id: str
    version: int
    domain: str
    relay_state: str
    actor: str
    invite: str
    begun_at: datetime
    expires_at: datetime


class Seal:
    """Seals values of one kind and opens what was sealed."""

    def __init__(self, secret: bytes, label: bytes) -> None:
        """``secret``: a secret of the installation; the key is derived from it (HKDF) by the ``label`` of the kind and
        used for nothing else."""
        self._key = HKDF(algorithm=SHA256(), length=32, salt=None, info=label).derive(secret)

    def sealed(self, values: list[Any]) -> str:
        """The text of a cookie: letters, digits, ``-``, ``_`` and one dot."""
        body = _base64(json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode())
        return f"{body}.{self._mark(body)}"

    def opened(self, text: str) -> list[Any] | None:
        """What was sealed; None for whatever else, changed or cut."""
        if len(text) > MAX_COOKIE or not text.isascii():
            return None
        body, _, mark = text.partition(".")
        if not hmac.compare_digest(mark, self._mark(body)):
            return None
        found: list[Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return found

    def _mark(self, body: str) -> str:
        return _base64(hmac.digest(self._key, body.encode(), hashlib.sha256))


class RequestSeal:
    """Seals requests and opens what was sealed, for every organization of an installation."""

    def __init__(self, secret: bytes) -> None:
        self._seal = Seal(secret, _LABEL)

    def seal(self, request: OpenRequest) -> str:
        """The text of a cookie."""
        fields = [getattr(request, name) for name in OpenRequest.__slots__]
        fields[-2:] = to_micros(request.begun_at), to_micros(request.expires_at)
        return self._seal.sealed(fields)

    def opened(self, text: str, organization: str) -> OpenRequest | None:
        """The request that was sealed for this organization; None for whatever else, changed or cut."""
        fields = self._seal.opened(text) if len(text) <= MAX_SEALED else None
        if fields is None:
            return None
        fields[-2:] = from_micros(fields[-2]), from_micros(fields[-1])
        request = OpenRequest(*fields)
        return request if request.organization == organization else None


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
