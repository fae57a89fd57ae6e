"""What the guard measures a plan against, read from the ledger: windows, permits, leavers, freeze (G1, G3, G7).

Reads only, and only what this plan needs: nothing at all for one that hurts nobody.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from connector.reconcile.desired.ground import Ground
from connector.reconcile.guard.limits import ORGANIZATION, PastHarm, Permit, Windows
from connector.reconcile.plan.changes import Harm, Plan
from connector.reconcile.plan.freeze import frozen
from connector.reconcile.plan.recorded import OFF
from connector.reconcile.policy.policy import MAPPING, Policy
from connector.reconcile.state.load import MONTH
from ledger.store import people, runs
from ledger.store.book import Reader

_DAY = timedelta(days=1)
_LATE = timedelta(days=31)
"""How long after its due date a release or a removal still follows from its off-boarding: a held one waits, a daemon
may have been down."""


async def measure(reader: Reader, plan: Plan, ground: Ground, permit: Permit) -> Windows:
    """The windows for ``plan``; what ``permit`` lets through as a whole is not measured, but a freeze still counts."""
    hurts = any(bundle.harmful for bundle in plan.bundles)
    windows = await load_windows(reader, ground.now) if hurts and not permit.everything else Windows()
    return msgspec.structs.replace(
        windows,
        frozen=frozen(ground.policy.limits.freeze, ground.now),
        leavers=await _leavers(reader, plan, ground) if hurts else frozenset(),
    )


async def _leavers(reader: Reader, plan: Plan, ground: Ground) -> frozenset[str]:
    """People of this plan who are off-boarding because somebody approved it, within the longest delay there is."""
    identities, policy = ground.recorded.identities, ground.policy
    off = {
        bundle.identity
        for bundle in plan.bundles
        if bundle.harmful and bundle.identity in identities and identities[bundle.identity].state in OFF
    }
    if not off:
        return frozenset()
    delays = [policy.offboarding.remove_after, *(rule.remove_after for rule in policy.rules.values())]
    approved = await runs.leavers_since(reader, ground.now - max(delays) - _LATE)
    return frozenset(identity for identity in off if approved.get(identity))


async def load_windows(reader: Reader, now: datetime) -> Windows:
    """Populations at the start of both windows and the unapproved harm since (G1)."""
    first = await runs.first_applied_at(reader)
    if first is None:
        return Windows()
    total, teams, provenances = await people.populations(reader, max(now - _DAY, first))
    month, _, _ = await people.populations(reader, max(now - MONTH, first))
    day = {(ORGANIZATION, ""): total, **{("team", team): count for team, count in teams.items()}}
    day |= {("mapping", name.removeprefix(MAPPING)): count for name, count in provenances.items()}
    past = tuple(
        PastHarm(kind, identity, team, mapping, at > now - _DAY)
        for kind, identity, team, mapping, at in await runs.harm_since(reader, now - MONTH)
    )
    return Windows(day, month, past)


async def load_permit(reader: Reader, now: datetime) -> Permit:
    """What approvals that have not expired let through (G3)."""
    keys: set[tuple[str, str, str, str, str, str]] = set()
    through: set[tuple[str, str, str, str, str, str]] = set()
    for held in await runs.held_sets(reader, ("approved",)):
        if held.expires_at > now:
            named = {change_key(change) for change in held.changes}
            keys |= named
            through |= named if held.despite_freeze else set()
    return Permit(frozenset(keys), despite_freeze=frozenset(through))


async def load_part_permit(reader: Reader, part: Plan, policy: Policy, now: datetime) -> Permit:
    """The same for a part of a plan that somebody saw. Its digest approves the invites in it, where one principal is
    enough, and nothing that takes anything away: by parts one could approve what nobody would as a whole."""
    permit = await load_permit(reader, now)
    invites = {change.key for bundle in part.bundles for change in bundle.changes if change.harm is Harm.INVITE}
    keys = permit.keys | invites if policy.limits.approvers == 1 else permit.keys
    people = frozenset(bundle.subject for bundle in part.bundles)
    return msgspec.structs.replace(permit, keys=keys, part=people)


def change_key(change: Any) -> tuple[str, str, str, str, str, str]:
    """The naming parts of a stored change."""
    return (
        str(change["subject"]),
        str(change["kind"]),
        str(change["object"]),
        str(change["before"]),
        str(change["after"]),
        str(change["mapping"]),
    )
