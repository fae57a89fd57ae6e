"""The book's own time: the instant of a transaction is taken inside it, after the lock, and only grows (decision 0025).

A host's clock may be wrong. One that is behind what the book has, or far ahead of what its host's steady clock or the
database says, is refused: what it would write could not be told apart from the future or the past. Pure: no I/O here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.errors import Retryable
from ledger.instant import to_text

BEHIND = timedelta(minutes=5)
"""How far the clock may be behind the last transaction of the organization; meanwhile the book's time stands."""
AHEAD = timedelta(hours=1)
"""How far the clock may have run ahead of the host's steady one since that transaction, or of the database's."""
STEP = timedelta(microseconds=1)
_ACCEPT = "correct the clock of this host; where it is right, rosterd clock accept"


class WrongClock(Retryable):
    """The clock of this host is not believed: nothing is written until it is corrected, or accepted."""


@dataclass(frozen=True, slots=True)
class HostTime:
    """What a host's clocks show. ``steady``: seconds since its boot, asleep too, which no step moves; ``boot`` names
    that boot; empty where there is no such clock."""

    wall: datetime
    steady: float = 0.0
    boot: str = ""


HostClock = Callable[[], HostTime]


@dataclass(frozen=True, slots=True)
class LastWrite:
    """What the last transaction of an organization left. ``at``: its instant; ``host``: the clocks of who wrote it.
    ``behind``, ``ahead``: how far a clock was accepted to be behind ``at``, and ahead of the database."""

    at: datetime
    host: HostTime
    behind: timedelta = timedelta(0)
    ahead: timedelta = timedelta(0)


def instant(last: LastWrite | None, host: HostTime, database: datetime | None = None) -> datetime:
    """The instant of a transaction that holds the lock: the host's time, or just after the last one where that is
    later. ``database``: what the database's clock shows, where it is another host's. Raises ``WrongClock``."""
    ahead = host.wall - database - (last.ahead if last else timedelta(0)) if database else timedelta(0)
    if ahead > AHEAD:
        raise _refused(f"the clock of this host shows {to_text(host.wall)}, {_length(ahead)} ahead of the database's")
    if last is None:
        return host.wall
    if last.at - host.wall - last.behind > BEHIND:
        raise _refused(
            f"the clock of this host shows {to_text(host.wall)}, {_length(last.at - host.wall)} behind what was written"
            f" last, at {to_text(last.at)}"
        )
    if database is None and host.boot and host.boot == last.host.boot:  # a database that agrees knows better
        jumped = host.wall - last.host.wall - timedelta(seconds=host.steady - last.host.steady)
        if jumped > AHEAD:
            raise _refused(
                f"the clock of this host shows {to_text(host.wall)}: it jumped {_length(jumped)} ahead since"
                f" {to_text(last.host.wall)}"
            )
    return max(host.wall, last.at + STEP)


def following(last: LastWrite | None, at: datetime, host: HostTime, database: datetime | None = None) -> LastWrite:
    """What a transaction at ``at`` leaves: what was accepted of a clock only ever shrinks, and ends when it has caught
    up."""
    if last is None:
        return LastWrite(at, host)
    behind = min(last.behind, max(at - host.wall, timedelta(0)))
    ahead = min(last.ahead, max(host.wall - database, timedelta(0))) if database else last.ahead
    return LastWrite(at, host, behind, ahead)


def accepted(last: LastWrite | None, host: HostTime, database: datetime | None = None) -> LastWrite:
    """What is kept when somebody says that the host's clock is right: from here on it is compared with itself. The
    book's time goes on from where it was, and stands until the clock has caught up with it."""
    at = max(host.wall, last.at + STEP) if last else host.wall
    ahead = host.wall - (database or host.wall)
    return LastWrite(at, host, at - host.wall, max(ahead, timedelta(0)))


def _refused(what: str) -> WrongClock:
    return WrongClock(f"{what}: nothing is written", where="clock", next_step=_ACCEPT, after=timedelta(minutes=1))


def _length(span: timedelta) -> str:
    hours, rest = divmod(round(span.total_seconds()), 3600)
    days, hours = divmod(hours, 24)
    minutes, seconds = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    return " ".join(f"{count} {unit}" for count, unit in [part for part in parts if part[0]][:2]) or "0 s"
