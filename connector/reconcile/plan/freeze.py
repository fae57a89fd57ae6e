"""Freeze windows: between two configured instants no harm is applied (G3, decision 0016).

Pure: no I/O, no clock here. An invite is no such harm: a freeze stops taking away, never letting in.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from connector.reconcile.plan.changes import Bundle, Harm
from connector.reconcile.plan.settings import FreezeSettings
from connector.reconcile.plan.words import moment

GOES_ON = frozenset({Harm.NONE, Harm.INVITE})
"""What a freeze does not stop."""


def frozen(windows: Sequence[FreezeSettings], now: datetime) -> str:
    """Why no harm is applied at ``now``, of the window that lasts longest; empty outside every window.

    A window is ``[from, until)``.
    """
    open_now = [window for window in windows if window.starts_at <= now < window.until]
    if not open_now:
        return ""
    longest = max(open_now, key=lambda window: window.until)
    return f"no harm is applied before {moment(longest.until)}: {longest.reason}"


def stands_still(bundle: Bundle) -> bool:
    """Whether a freeze window holds this bundle."""
    return any(change.harm not in GOES_ON for change in bundle.changes)
