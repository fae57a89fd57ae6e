"""The real clocks. Everything else is handed the time."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from ledger.book_time import HostClock, HostTime

Clock = Callable[[], datetime]
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def utc_now() -> datetime:
    """This instant."""
    return datetime.now(UTC)


def host_time() -> HostTime:
    """Both clocks of this host; where it has none that no step moves, only the wall clock."""
    boot = _boot()
    return HostTime(utc_now(), time.clock_gettime(time.CLOCK_BOOTTIME) if boot else 0.0, boot)


def host_clock(clock: Clock) -> HostClock:
    """What a store reads inside its transactions where ``clock`` tells the time."""
    return host_time if clock is utc_now else lambda: HostTime(clock())


@cache
def _boot() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip() if hasattr(time, "CLOCK_BOOTTIME") else ""
    except OSError:
        return ""
