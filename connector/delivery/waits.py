"""How long to wait: between tries of one message, while a target is shut, between two parcels. Pure: no clock here."""

from __future__ import annotations

import random
from datetime import timedelta

_FIRST, _LONGEST = timedelta(minutes=1), timedelta(hours=4)
_FEWEST = 5
_SHUT_FIRST, _SHUT_LONGEST = 5.0, 600.0
_JITTER = 0.2


def backoff(attempts: int, chance: float) -> timedelta:
    """Before the next try after ``attempts`` of them: a minute, doubling, at most four hours; give or take a fifth by
    ``chance`` (0 to 1), so that what failed together does not come again together."""
    wait = min(_LONGEST, _FIRST * (1 << min(max(attempts, 1) - 1, 20)))
    return wait * (1 - _JITTER + 2 * _JITTER * chance)


def tries_within(length: timedelta) -> int:
    """After how many tries a message may be given up that has been tried for so long: as many as its waits leave room
    for, five at most. An outage in which nothing was tried uses up none of them."""
    tries, passed = 1, backoff(1, 0.5)
    while tries < _FEWEST and passed < length:
        tries, passed = tries + 1, passed + backoff(tries + 1, 0.5)
    return tries


class Breaker:
    """Keeps everything away from a target that takes nothing at present; afterwards one parcel tries it alone.

    Instants are seconds of any steady clock.
    """

    def __init__(self) -> None:
        self._wait = 0.0
        self._until = 0.0
        self.why = ""

    @property
    def tripped(self) -> bool:
        """Whether its last answer was that it takes nothing."""
        return bool(self._wait)

    def left(self, at: float) -> float:
        """Seconds until somebody may try again; 0: now."""
        return max(0.0, self._until - at)

    def trip(self, at: float, why: str, after: timedelta | None, chance: float | None = None) -> float:
        """It takes nothing; returns for how long nobody is to ask: five seconds, doubling, at most ten minutes, or
        what it asked for if that is longer."""
        self._wait = min(_SHUT_LONGEST, 2 * self._wait or _SHUT_FIRST)
        chance = random.random() if chance is None else chance  # noqa: S311 (spreads waits)
        wait = max(self._wait * (1 - _JITTER + 2 * _JITTER * chance), after.total_seconds() if after else 0.0)
        self._until, self.why = at + min(wait, 6 * _SHUT_LONGEST), why
        return self.left(at)

    def mend(self) -> None:
        """It took something."""
        self._wait = self._until = 0.0
        self.why = ""


class Turns:
    """Spaces parcels evenly: one after another, ``per_minute`` of them, without saving up what was not used."""

    def __init__(self, per_minute: int) -> None:
        self._apart = 60.0 / per_minute
        self._next = 0.0

    def take(self, at: float) -> float:
        """Seconds to wait for the turn that is taken now."""
        turn = max(at, self._next)
        self._next = turn + self._apart
        return turn - at
