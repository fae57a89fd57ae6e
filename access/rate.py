"""How much somebody may still ask: one bucket per token, address or organization, filled evenly over a minute.

In memory, so counted per process: several daemons together allow as many times more. Reads no clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

_KEPT = 10_000


@dataclass(slots=True)
class _Bucket:
    left: float
    at: datetime


class Buckets:
    """``per_minute`` of them a minute and key, all of them at once if nothing was asked for a minute."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._buckets: dict[str, _Bucket] = {}

    def take(self, key: str, now: datetime) -> int:
        """Take one; returns 0, or the seconds to wait when none is left (then none is taken)."""
        bucket = self._bucket(key, now)
        if bucket.left < 1:
            return max(1, math.ceil((1 - bucket.left) * 60 / self.per_minute))
        bucket.left -= 1
        return 0

    def give_back(self, key: str) -> None:
        """The query cost nothing after all."""
        bucket = self._buckets.get(key)
        if bucket is not None:
            bucket.left = min(self.per_minute, bucket.left + 1)

    def left(self, key: str, now: datetime) -> int:
        """Whole queries left."""
        return math.floor(self._bucket(key, now).left)

    def _bucket(self, key: str, now: datetime) -> _Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= _KEPT:
                self._forget(now)
            bucket = self._buckets[key] = _Bucket(float(self.per_minute), now)
        passed = max(0.0, (now - bucket.at).total_seconds())
        bucket.left = min(float(self.per_minute), bucket.left + passed * self.per_minute / 60)
        bucket.at = max(now, bucket.at)
        return bucket

    def _forget(self, now: datetime) -> None:
        """Drop buckets that are full again: they would be made anew just like that."""
        full = [name for name, bucket in self._buckets.items() if (now - bucket.at).total_seconds() >= 60]
        for name in full:
            del self._buckets[name]
        while len(self._buckets) >= _KEPT:  # very many at once: who came first may ask anew
            del self._buckets[next(iter(self._buckets))]
