"""Ninety days of usage of the demo's people, as products would send it: weekday work, from a seed.

Pure: the same people, days and seed give the same events. No clock here.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

VERSIONS = ("2025.2", "2026.0", "2026.1")


def events(holders: Sequence[tuple[str, str]], day: date, *, seed: int = 2026) -> Iterator[dict[str, Any]]:
    """Events of one day; ``holders``: (mail address, offering code) of every seat."""
    if day.weekday() >= 5:
        return
    chance = random.Random(f"{seed}:{day.isoformat()}")
    for mail, offering in holders:
        if chance.random() < 0.35:
            continue
        at = datetime.combine(day, time(7, 0), UTC) + timedelta(seconds=chance.randrange(9 * 3600))
        yield {
            "event_id": f"{offering}-{day.isoformat()}-{mail}",
            "occurred_at": at.isoformat(),
            "mail": mail,
            "offering_code": offering,
            "version": VERSIONS[chance.randrange(len(VERSIONS))],
        }
