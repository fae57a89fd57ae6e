"""A process of the tests that applies a run and stops at a named point of it, to be killed there.

``python -m tests.parts.dying_run URL NOW POINT`` prints ``at POINT`` and waits for a line on stdin. The directory is
``changed_directory()``; points are store calls of the apply transaction, and ``committed`` after it. The product knows
nothing of this: the calls are wrapped here.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from connector.reconcile import run
from connector.reconcile.apply import rows
from connector.reconcile.policy.policy import Policy
from connector.reconcile.state import gate
from ledger.store import audit, outbox, people, runs, seats
from ledger.store.engine import Ledger
from tests.parts import directories
from tests.parts.directories import HandSource, World, mapping, policy
from tests.parts.fences import ALONE

POINTS: dict[str, tuple[Any, str]] = {
    "first rows ended": (people, "end_identities"),
    "identities begun": (people, "begin_identities"),
    "memberships begun": (people, "begin_memberships"),
    "seats begun": (seats, "begin_seats"),
    "audit written": (audit, "append"),
    "outbox written": (outbox, "append"),
    "run recorded": (runs, "record"),
}


def two_teams() -> Policy:
    """Design and Site, one offering."""
    return policy(mapping("design", "Design", "CAD"), mapping("site", "Site", "CAD"))


def first_directory() -> HandSource:
    """Thirty people."""
    source = HandSource()
    source.put(*(f"p{n}" for n in range(20)), groups=["design"])
    source.put(*(f"q{n}" for n in range(10)), groups=["site"])
    return source


def changed_directory() -> HandSource:
    """Some disabled, some renamed, some new."""
    source = first_directory()
    for number in range(5):
        source.change(f"p{number}", disabled=True)
        source.change(f"q{number}", name=f"New Name {number}")
    source.put(*(f"n{number}" for number in range(5)), groups=["site"])
    return source


def _stop_after(point: str) -> None:
    module, name = POINTS[point]
    original: Callable[..., Awaitable[Any]] = getattr(module, name)

    async def stopping(*args: Any, **values: Any) -> Any:
        result = await original(*args, **values)
        pause(point)
        return result

    setattr(module, name, stopping)
    for table, pair in rows._TABLES.items():  # made at import, so wrapped here too
        rows._TABLES[table] = tuple(stopping if call is original else call for call in pair)  # type: ignore[assignment]


def pause(point: str) -> None:
    """Say where we are and wait to be killed (or told to go on)."""
    print(f"at {point}", flush=True)
    sys.stdin.readline()


async def main(url: str, now: datetime) -> None:
    """Apply, then stop once more when it is committed."""

    async def enabled(_reader: Any, _now: datetime) -> bool:
        return False

    gate.look = directories.stand_in_look
    gate.require_enabled = enabled
    ledger = Ledger.open(url)
    world = World(ledger, now, two_teams(), changed_directory())
    await run.apply(ledger, world.setup, fence=ALONE, now=now, actor="dying", auto=True)
    pause("committed")
    await ledger.close()


if __name__ == "__main__":
    if sys.argv[3] in POINTS:
        _stop_after(sys.argv[3])
    asyncio.run(main(sys.argv[1], datetime.fromisoformat(sys.argv[2])))
