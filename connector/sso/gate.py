"""The gate: one pure decision per domain, from evidence rows (sso.md §1; R5 holds continuously).

Pure: no I/O, no clock here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class GateState(StrEnum):
    """open: people of the domain may be granted things · closed: evidence of lapse · unknown: cannot be read."""

    OPEN = "open"
    CLOSED = "closed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Gate:
    """The decision for one A-label ``domain``; ``reasons`` are sso.md's codes (``sso_off``, ``domain_lost`` …), in order.

    ``warnings`` leave it open. ``version`` is the gate row's counter that the apply transaction compares.
    """

    domain: str
    state: GateState
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    version: int = 0
