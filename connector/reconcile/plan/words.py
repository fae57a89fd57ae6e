"""How numbers and times are said to people. Pure: strings out, no clock here."""

from __future__ import annotations

from datetime import datetime, timedelta

from ledger.counted import counted
from ledger.instant import to_text

_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"))


def people(number: int) -> str:
    """``1 person``, ``3 people``."""
    return counted(number, "person", "people")


def moment(at: datetime) -> str:
    """RFC 3339 to the second."""
    return to_text(at.replace(microsecond=0))


def span(length: timedelta) -> str:
    """``3 days``, ``15 minutes``, ``90 seconds``: the largest unit that says it whole."""
    seconds = int(length.total_seconds())
    for size, unit in (*_UNITS, (1, "second")):
        if seconds >= size and seconds % size == 0:
            return counted(seconds // size, unit)
    return "0 seconds"


def until(at: datetime, now: datetime) -> str:
    """``in 3 days``, ``in 47 hours``, ``in 5 minutes``, to the nearest; from two of a unit on, so never off by much.

    ``now`` when it is past.
    """
    left = int((at - now).total_seconds())
    for size, unit in _UNITS:
        if left >= 2 * size:
            return f"in {round(left / size)} {unit}s"
    return "in about a minute" if left > 0 else "now"


def ago(at: datetime, now: datetime) -> str:
    """``3 days ago``, ``47 hours ago``, ``just now``: as ``until``, of what is past."""
    past = int((now - at).total_seconds())
    for size, unit in _UNITS:
        if past >= 2 * size:
            return f"{round(past / size)} {unit}s ago"
    return "just now"


def expiry(at: datetime, now: datetime) -> str:
    """``expires in 3 days (2026-03-05T09:00:00Z)``, or ``expired (…)``."""
    return f"expires {until(at, now)} ({moment(at)})" if at > now else f"expired ({moment(at)})"


def some(names: list[str] | tuple[str, ...], limit: int) -> str:
    """The first names and how many more."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
