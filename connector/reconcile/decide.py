"""The pure middle of a run: what was seen × policy × recorded → a plan with its seats dealt out. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from connector.reconcile.calm import calm
from connector.reconcile.desired import desired
from connector.reconcile.diff import Draft, diff
from connector.reconcile.guard import protect
from connector.reconcile.policy import Policy
from connector.reconcile.recorded import Recorded
from connector.reconcile.sight import Domains, SourceSeen


def decide(
    sources: Mapping[str, SourceSeen], policy: Policy, recorded: Recorded, domains: Domains, now: datetime
) -> Draft:
    """desired → diff → protected principals out. Raises ``ManyErrors`` for a mapping whose offering does not exist."""
    policy.require_offerings(recorded.offerings)
    with calm():
        wanted = desired(sources, policy, recorded, domains, now)
        draft = diff(wanted, recorded, policy, sources, now)
        return Draft(protect(draft.plan, recorded, policy), draft.allocation)
