"""The link of an invite: it says whose invite it is, and gives no right to anything (N7).

It chooses the organization and its identity provider, and lets the page say what became of the invite. Who claims is
decided by the provider's assertion. The same person's link is always the same, so nothing of it is kept. Pure.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_LABEL = b"rosterd sso: links of invites, 1"
_MARK = 16  # bytes
_LONGEST = 400  # characters


class InviteLinks:
    """Makes and reads the links of an installation."""

    def __init__(self, secret: bytes, public_url: str) -> None:
        """``secret``: a secret of the installation; the key is derived from it and used for nothing else."""
        self._key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_LABEL).derive(secret)
        self._public_url = public_url

    def address(self, organization: str, identity: str) -> str:
        """The page of one person's invite."""
        sealed = self._mark(organization, identity) + identity.encode()
        text = base64.urlsafe_b64encode(sealed).decode().rstrip("=")
        return f"{self._public_url}/sso/{organization}/invite?i={text}"

    def identity(self, organization: str, text: str) -> str:
        """Whose invite it is; empty for what is no link of this organization."""
        if not text.isascii() or len(text) > _LONGEST:
            return ""
        try:
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            identity = sealed[_MARK:].decode()
        except (binascii.Error, UnicodeDecodeError):
            return ""
        return identity if hmac.compare_digest(sealed[:_MARK], self._mark(organization, identity)) else ""

    def _mark(self, organization: str, identity: str) -> bytes:
        return hmac.digest(self._key, f"{organization} {identity}".encode(), hashlib.sha256)[:_MARK]
