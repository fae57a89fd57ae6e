"""What the caller of a run asks for.

Pure: values only; no I/O here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from ledger.jobs import Fence


@dataclass(frozen=True, slots=True)
class Order:
    """What the caller asks for, and by what right (``fence``, A2).

    ``kind``: apply, approve or adopt. ``digest``: of the plan that was seen, or of its part about ``only``, or of the
    held set. ``reason`` is the approver's. ``despite_freeze``: what it approves goes through a freeze window too (G3).
    """

    kind: str
    actor: str
    now: datetime
    fence: Fence
    digest: str = ""
    reason: str = ""
    despite_freeze: bool = False
    began: datetime | None = None
    only: tuple[str, ...] = ()

    def inside(self, at: datetime) -> Order:
        """The same at the instant of a transaction; when it was given stays known."""
        return replace(self, now=at, began=self.began or self.now)
