"""What was read, and what is remembered of earlier readings: the values between reading and committing.

Prohibition: decides nothing; ``Memory`` reads only the marks of the last readings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from connector.directory.mapping import AttributeRules
from connector.reconcile import last_reading as parts
from connector.reconcile.last_reading import Gathered
from connector.reconcile.overlay import Overlay
from connector.reconcile.plan import Problem, ScopeLine
from connector.reconcile.policy import Policy
from connector.reconcile.sight import SourceSeen
from ledger.store import last_readings
from ledger.store.engine import Ledger
from ledger.store.last_readings import Base, LastReading

_pending = msgspec.msgpack.Decoder(list[tuple[str, str]]).decode


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of an organization. ``base`` is None when the next run has to look at everybody."""

    ledger: Ledger
    organization: str
    readings: Mapping[str, LastReading]
    base: Base | None = None
    cursors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    whole_every: timedelta = timedelta(hours=24)

    @property
    def pending(self) -> list[tuple[str, str]]:
        """(source id, anchor) of whom every run looks at again."""
        return _pending(self.base.pending) if self.base is not None else []

    def comparable(self, source_id: str, rules: AttributeRules, policy: Policy) -> LastReading | None:
        """The last reading of a source if it was mapped by the same rules and holds the same groups."""
        last = self.readings.get(source_id)
        if last is None or last.rules != rules.mark.hex():
            return None
        kept = {group.reference for group in parts.decode_header(last.header).groups}
        return last if kept == set(policy.groups_of(source_id)) else None

    def followable(self, last: LastReading | None, now: datetime) -> bool:
        """Whether a source's changes are enough: it was read whole not longer than ``whole_every`` ago."""
        return last is not None and timedelta(0) <= now - last.whole_at < self.whole_every

    async def marks(self, source_id: str) -> dict[str, bytes]:
        """anchor → mark of everybody in the last reading."""
        async with self.ledger.read(self.organization) as reader:
            return parts.marks_of(await last_readings.parts(reader, source_id, parts.PRINT))


@dataclass(frozen=True, slots=True)
class Observed:
    """What was read. ``near``: only what differs from the last readings, when that is enough; ``sources`` is empty
    then. Otherwise ``sources`` has everybody; ``overlays`` and ``gathered`` are what to remember of each whole reading,
    as a difference or anew, ``rules`` the mark of the rules by which each was mapped. ``with_dns``: some group has
    unresolved members, so recorded DNs are needed (D6). ``scopes``: the evidence of a near reading. ``followed``:
    sources of which only the changes were read; ``notes``: what is to be said of how sources were read."""

    sources: Mapping[str, SourceSeen]
    cursors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    with_dns: bool = False
    near: bool = False
    scopes: tuple[ScopeLine, ...] = ()
    overlays: Mapping[str, Overlay] = field(default_factory=dict)
    gathered: Mapping[str, Gathered] = field(default_factory=dict)
    rules: Mapping[str, str] = field(default_factory=dict)
    memory: Memory | None = None
    followed: frozenset[str] = frozenset()
    notes: tuple[Problem, ...] = ()
