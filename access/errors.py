"""Leaves of the error tree for asking: who are you, and may you. Pure: no I/O here."""

from __future__ import annotations

from ledger.errors import Refused


class Unauthenticated(Refused):
    """No valid credential: missing, garbled, unknown, expired, revoked or from a foreign network (HTTP 401).

    The message never says which of them it was to the asker; ``cause`` does, for the log.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(
            "this request carries no valid token",
            next_step="send Authorization: Bearer rpt_…; make one with rosterd token create",
        )
        self.cause = cause


class Forbidden(Refused):
    """A valid credential without the right it would need (HTTP 403)."""
