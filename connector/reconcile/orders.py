"""What one transaction of a run is given: what was read, and what the caller asks for.

Pure: values only; no I/O here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from connector.reconcile.sight import SourceSeen
from ledger.jobs import Lease


@dataclass(frozen=True, slots=True)
class Observed:
    """What was read: every source after mapping, and where each was read to. ``with_dns``: some group has unresolved
    members, so recorded DNs are needed (D6)."""

    sources: Mapping[str, SourceSeen]
    cursors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    with_dns: bool = False


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
