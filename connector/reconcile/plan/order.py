"""What the caller of a run asks for.

Pure: values only; no I/O here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ledger.jobs import Lease


@dataclass(frozen=True, slots=True)
class Order:
    """What the caller asks for. ``kind``: apply or approve. ``digest``: of the plan that was seen (``apply``) or of the
    held set (``approve``). ``reason`` is the approver's. ``despite_freeze``: what it approves goes through a
    freeze window too (G3)."""

    kind: str
    actor: str
    now: datetime
    digest: str = ""
    reason: str = ""
    lease: Lease | None = None
    despite_freeze: bool = False
