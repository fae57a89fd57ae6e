"""What one judgement stands on: what the directories showed, what is recorded, what is wanted, which domains, and when.

Pure: a value only; no I/O here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property

import msgspec

from connector.reconcile.desired.seen import Domains, SourceSeen
from connector.reconcile.evidence.edges import Paths
from connector.reconcile.plan.recorded import Recorded
from connector.reconcile.policy.policy import Policy


class Ground(msgspec.Struct, frozen=True, dict=True):
    """Everything a plan is decided from, and nothing else: the same ground gives the same plan.

    ``sources``: by source id. ``now`` decides only what is due and which terms run.
    """

    sources: Mapping[str, SourceSeen]
    recorded: Recorded
    policy: Policy
    domains: Domains
    now: datetime

    @cached_property
    def paths(self) -> Mapping[str, Paths]:
        """By source: what memberships rest on, as recorded and as read now (E3)."""
        return {
            source_id: Paths(source_id, source.listed(), self.recorded) for source_id, source in self.sources.items()
        }

    def with_recorded(self, recorded: Recorded) -> Ground:
        """The same ground with more (or less) of the recorded state on it."""
        return msgspec.structs.replace(self, recorded=recorded)
