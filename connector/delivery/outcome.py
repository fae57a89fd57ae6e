"""How one attempt to tell something ended: the words between the engine and every target. Pure: no I/O here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

IN_DOUBT = "in doubt"
"""How the reason of a try begins after which nobody knows whether it was taken."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The receiver took it over. ``note``: its answer, as far as it may be kept (a reply line, never a body)."""

    note: str = ""


@dataclass(frozen=True, slots=True)
class Later:
    """Not now: something about this message, or for the moment. It never stops others. ``after``: what the receiver
    asked to wait; None: the engine's backoff."""

    why: str
    after: timedelta | None = None

    @property
    def in_doubt(self) -> bool:
        """Whether the receiver may have it all the same."""
        return self.why.startswith(IN_DOUBT)


@dataclass(frozen=True, slots=True)
class Shut:
    """The receiver takes nothing at all at present, whatever the message: it opens the target's breaker and is no
    attempt at the message."""

    why: str
    after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Never:
    """It will not be taken, however often it is tried: a dead letter."""

    why: str


Outcome = Sent | Later | Shut | Never
