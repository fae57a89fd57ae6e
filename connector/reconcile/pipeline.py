"""Ground → desired → diff → protect → guard: the one judgement, made once, returned as a value. Pure: no I/O here.

What the guard measures against depends on the draft and stands in the ledger, so the caller hands in the function that
reads it; what is decided is decided here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from connector.reconcile.desired.addressing import addressed, kept_addresses
from connector.reconcile.desired.desired import desired
from connector.reconcile.desired.ground import Ground
from connector.reconcile.desired.seen import Desired
from connector.reconcile.diff.diff import Draft, diff
from connector.reconcile.guard.guard import Guarded, guard, protect
from connector.reconcile.guard.limits import Permit, Windows
from connector.reconcile.plan.changes import Bundle, Plan, Problem
from connector.reconcile.plan.recorded import Recorded
from ledger.collector import without_collector


class Measured(msgspec.Struct, frozen=True):
    """What the guard holds a draft against. ``recorded``: with what it needs of people who are not planned."""

    windows: Windows
    permit: Permit
    recorded: Recorded


class Judgement(msgspec.Struct, frozen=True):
    """What was decided (``draft``), what of it may go (``guarded``), and on which ``ground``."""

    ground: Ground
    draft: Draft
    guarded: Guarded

    @property
    def plan(self) -> Plan:
        """The whole plan, before the guard."""
        return self.draft.plan


Problems = tuple[Problem, ...]


async def judge(
    ground: Ground,
    measure: Callable[[Draft], Awaitable[Measured]],
    report: Callable[[Problems], Problems] | None = None,
) -> Judgement:
    """Decide, measure, guard. ``report``: the plan's problems → what is reported in their place. Raises what ``decide``
    and ``measure`` raise."""
    draft = decide(ground)
    if report is not None:
        plan = msgspec.structs.replace(draft.plan, problems=report(draft.plan.problems))
        draft = msgspec.structs.replace(draft, plan=plan)
    measured = await measure(draft)
    ground = ground.with_recorded(measured.recorded)
    with without_collector():
        return Judgement(ground, draft, guard(draft, ground, measured.windows, measured.permit))


def decide(ground: Ground, differ: Callable[[Desired, Ground], Draft] = diff) -> Draft:
    """desired → diff → protected principals out. ``differ``: another way from what is wanted to changes (adoption).

    Raises ``ManyErrors`` for a mapping whose offering does not exist.
    """
    ground.policy.require_offerings(ground.recorded.offerings)
    with without_collector():
        told = kept_addresses(ground)
        ground = addressed(ground)
        draft = differ(desired(ground), ground)
        if told:
            found = tuple(sorted((*draft.plan.problems, *told)))
            draft = msgspec.structs.replace(draft, plan=msgspec.structs.replace(draft.plan, problems=found))
        plan = protect(draft.plan, ground)
        spared = draft.plan.bundles if len(plan.bundles) < len(draft.plan.bundles) else ()
        kept = {bundle.subject for bundle in plan.bundles}
        waits = anchors_of([bundle for bundle in spared if bundle.subject not in kept], ground.recorded)
        return Draft(plan, draft.allocation, draft.unsettled | waits)


def anchors_of(bundles: Sequence[Bundle], recorded: Recorded) -> frozenset[tuple[str, str]]:
    """(source id, anchor) of everybody these bundles are about."""
    found = {(bundle.person.source_id, bundle.person.anchor) for bundle in bundles if bundle.person is not None}
    ids = {bundle.identity for bundle in bundles if bundle.person is None}
    found |= {(link.source_id, link.anchor) for identity in ids for link in recorded.links_of(identity)}
    return frozenset(found)
