"""How a held set stands: who approved it, how long it can be approved, and the exact command. Pure: no clock here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connector.reconcile.plan.words import expiry
from ledger.instant import to_text


@dataclass(frozen=True, slots=True)
class Awaiting:
    """``expires_at`` is None while only a plan shows what would be held: a run keeps it, and only then it can be
    approved. ``approvers``: how many principals it takes; ``approved_by``: who did. ``frozen``: the freeze window that
    holds all harm now, or empty."""

    digest: str = ""
    expires_at: datetime | None = None
    approved_by: tuple[str, ...] = ()
    approvers: int = 1
    frozen: str = ""

    @property
    def kept(self) -> bool:
        """Whether a run kept it, so that it can be approved by name."""
        return self.expires_at is not None

    @property
    def command(self) -> str:
        """What approves it."""
        return approve_command(self.digest, despite_freeze=bool(self.frozen))

    def standing(self, now: datetime) -> str:
        """``expires in 3 days (…); approved by ada, one more approval by another principal is needed``."""
        parts = [f"it {expiry(self.expires_at, now)}"] if self.expires_at else []
        if self.approved_by:
            parts.append(f"approved by {', '.join(self.approved_by)}: one more approval by another principal is needed")
        elif self.approvers > 1:
            parts.append(f"it takes the approval of {self.approvers} principals")
        return "; ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "kept": self.kept,
            "expires_at": to_text(self.expires_at) if self.expires_at else None,
            "approvers": self.approvers,
            "approved_by": list(self.approved_by),
            "frozen": self.frozen,
        }


def approve_command(digest: str, *, despite_freeze: bool = False) -> str:
    """The exact command that approves a held set; on a terminal it asks for the reason."""
    return f"rosterd approve {digest[:12]}{' --despite-freeze' if despite_freeze else ''}"
