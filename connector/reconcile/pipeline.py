"""The pure middle of a run: what was seen × policy × recorded → a plan with its seats dealt out. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from connector.reconcile.desired.desired import desired
from connector.reconcile.desired.seen import Domains, SourceSeen
from connector.reconcile.diff.diff import Draft, diff
from connector.reconcile.guard.guard import protect
from connector.reconcile.plan.calm import calm
from connector.reconcile.plan.changes import Bundle
from connector.reconcile.plan.recorded import Recorded
from connector.reconcile.policy.policy import Policy


def decide(
    sources: Mapping[str, SourceSeen], policy: Policy, recorded: Recorded, domains: Domains, now: datetime
) -> Draft:
    """desired → diff → protected principals out. Raises ``ManyErrors`` for a mapping whose offering does not exist."""
    policy.require_offerings(recorded.offerings)
    with calm():
        wanted = desired(sources, policy, recorded, domains, now)
        draft = diff(wanted, recorded, policy, sources, now)
        plan = protect(draft.plan, recorded, policy)
        spared = draft.plan.bundles if len(plan.bundles) < len(draft.plan.bundles) else ()
        kept = {bundle.subject for bundle in plan.bundles}
        waits = anchors_of([bundle for bundle in spared if bundle.subject not in kept], recorded)
        return Draft(plan, draft.allocation, draft.unsettled | waits)


def anchors_of(bundles: Sequence[Bundle], recorded: Recorded) -> frozenset[tuple[str, str]]:
    """(source id, anchor) of everybody these bundles are about."""
    found = {(bundle.person.source_id, bundle.person.anchor) for bundle in bundles if bundle.person is not None}
    ids = {bundle.identity for bundle in bundles if bundle.person is None}
    if ids:
        links = (link for by_anchor in recorded.links.values() for link in by_anchor.values())
        found |= {(link.source_id, link.anchor) for link in links if link.identity_id in ids}
    return frozenset(found)
