"""What the guard measures a plan against, read from the ledger: windows, approved leavers, freeze (G1, G3, G7).

Reads only, and only what this plan needs: nothing at all for one that hurts nobody.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from connector.reconcile.freezing import frozen
from connector.reconcile.limits import Permit, Windows
from connector.reconcile.load import load_windows
from connector.reconcile.plan import Plan
from connector.reconcile.policy import Policy
from connector.reconcile.recorded import OFF, Recorded
from ledger.store import runs
from ledger.store.book import Reader

_LATE = timedelta(days=31)
"""How long after its due date a release or a removal still follows from its off-boarding: a held one waits, a daemon
may have been down."""


async def measure(
    reader: Reader, plan: Plan, recorded: Recorded, policy: Policy, permit: Permit, now: datetime
) -> Windows:
    """The windows for ``plan``; what ``permit`` lets through as a whole is not measured, but a freeze still counts."""
    hurts = any(bundle.harmful for bundle in plan.bundles)
    windows = await load_windows(reader, now) if hurts and not permit.everything else Windows()
    return msgspec.structs.replace(
        windows,
        frozen=frozen(policy.limits.freeze, now),
        leavers=await _leavers(reader, plan, recorded, policy, now) if hurts else frozenset(),
    )


async def _leavers(reader: Reader, plan: Plan, recorded: Recorded, policy: Policy, now: datetime) -> frozenset[str]:
    """People of this plan who are off-boarding because somebody approved it, within the longest delay there is."""
    identities = recorded.identities
    off = {
        bundle.identity
        for bundle in plan.bundles
        if bundle.harmful and bundle.identity in identities and identities[bundle.identity].state in OFF
    }
    if not off:
        return frozenset()
    delays = [policy.offboarding.remove_after, *(rule.remove_after for rule in policy.rules.values())]
    approved = await runs.leavers_since(reader, now - max(delays) - _LATE)
    return frozenset(identity for identity in off if approved.get(identity))
