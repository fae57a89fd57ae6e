"""What a request asks otherwise than the standard says: taken and remembered, or refused when the connection is strict.

Pure: no I/O here. A reason names attributes, never values.
"""

from __future__ import annotations

from connector.scim.errors import Fault

_LONGEST = 160
_MOST = 50


class Bending:
    """Collects the reasons of one request. ``strict``: the first reason is an error instead."""

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self._reasons: list[str] = []

    def bend(self, reason: str, scim_type: str = "invalidSyntax", *, where: str = "") -> None:
        """Note ``reason``; raises ``Fault`` when strict."""
        if self.strict:
            raise Fault(reason, scim_type, where=where)
        self.note(f"{where}: {reason}" if where else reason)

    def note(self, reason: str) -> None:
        """Note what also a strict connection is allowed."""
        short = reason[:_LONGEST]
        if short not in self._reasons and len(self._reasons) < _MOST:
            self._reasons.append(short)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Each once, in the order they came, at most fifty."""
        return tuple(self._reasons)
