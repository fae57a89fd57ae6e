"""What the caller of a run asks for.

Pure: values only; no I/O here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ledger.fence import Fence


@dataclass(frozen=True, slots=True)
class Order:
    """What the caller asks for, and by what right (``fence``, A2).

    ``kind``: apply, approve or adopt. ``digest``: of the plan that was seen or of the held set. ``reason`` is the
    approver's. ``despite_freeze``: what it approves goes through a freeze window too (G3).
    """

    kind: str
    actor: str
    now: datetime
    fence: Fence
    digest: str = ""
    reason: str = ""
    despite_freeze: bool = False
