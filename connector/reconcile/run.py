"""One run, from directory to ledger: read → map → desired → diff → guard → apply. THE FILE TO READ FIRST.

The gate comes first: when no domain is open the run is suspended and nothing is read (R5, G5). Reading happens outside
any transaction; deciding and writing happen inside one, on the state that transaction sees (A1).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from connector.directory.base import Source
from connector.directory.mapping import AttributeRules
from connector.reconcile.apply.commit import (
    PlanChanged,
    commit,
    record_one_approval,
    record_refused,
    record_suspended,
)
from connector.reconcile.apply.held_sets import find, standing, waiting_of
from connector.reconcile.diff.diff import Draft
from connector.reconcile.explain import explain as explaining
from connector.reconcile.explain.answer import Explanation
from connector.reconcile.explain.ask import ConfiguredFinder
from connector.reconcile.guard.guard import Guarded
from connector.reconcile.guard.limits import Permit
from connector.reconcile.guard.part import part_of
from connector.reconcile.outlook.outlook import foresee
from connector.reconcile.plan.changes import Plan
from connector.reconcile.plan.order import Order
from connector.reconcile.policy.policy import Policy
from connector.reconcile.reading import how
from connector.reconcile.reading.ground import BaseMoved, grounded, judged
from connector.reconcile.reading.how import observe
from connector.reconcile.reading.memory import linked, recall
from connector.reconcile.reading.replay import recollect
from connector.reconcile.reading.whole import Progress
from connector.reconcile.show.outcome import Planned, RunOutcome, Undone
from connector.reconcile.state import gate
from connector.reconcile.state.teams import role_notes
from connector.reconcile.state.windows import load_part_permit, load_permit
from connector.reconcile.undo import undo as undoing
from ledger.collector import without_collector
from ledger.errors import BadInput
from ledger.instant import new_id, to_text
from ledger.jobs import Fence
from ledger.store import seats
from ledger.store.engine import Ledger
from ledger.team import Organization


@dataclass(frozen=True, slots=True)
class ConfiguredSource:
    """A directory and how its attributes become ours."""

    source: Source
    rules: AttributeRules


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything a run of one organization needs."""

    organization: Organization
    policy: Policy
    sources: tuple[ConfiguredSource, ...]
    whole_every: timedelta = timedelta(hours=24)
    """How often everything is read and everybody planned; in between only what differs is (D13, D14)."""


async def plan(
    ledger: Ledger,
    setup: Setup,
    *,
    now: datetime,
    progress: Progress | None = None,
    against_last: bool = False,
    as_if_open: Collection[str] = (),
    only: Sequence[str] = (),
) -> Planned:
    """Read and decide; write nothing to anybody (P1). ``against_last``: no directory is asked, what they last showed
    counts (P6). ``as_if_open``: domains whose gate is taken for open, to say beforehand what a plan will be. ``only``:
    the part about these addresses, Teams, mappings and groups, as it would be applied alone. Raises ``BadInput`` for a
    policy that contradicts the ledger."""
    policy, organization = setup.policy, setup.organization.id
    async with ledger.read(organization) as reader:
        domains = gate.as_if_open(await gate.look(reader, now), as_if_open)
        reasons = gate.shut(domains)
        links = [] if reasons or against_last else await linked(reader, policy, domains)
    if reasons:
        return Planned(Plan(policy.hash, ()), Guarded(policy.hash, (), ()), reasons)
    if against_last:
        async with ledger.read(organization) as reader:
            observed = await recollect(reader, setup.sources, policy, now)
    else:
        observed = await observe(setup.sources, policy, now, progress, linked=links)
    async with ledger.read(organization) as reader:
        domains = gate.as_if_open(await gate.look(reader, now), as_if_open)
        base = await grounded(reader, policy, observed, domains, now)

        async def permit(draft: Draft) -> Permit:
            if not only:
                return await load_permit(reader, now)
            return await load_part_permit(reader, part_of(draft.plan, only, base.ground), policy, now)

        judgement = await judged(reader, base, permit)
        shown = part_of(judgement.plan, only, base.ground) if only else judgement.plan
        offerings = await seats.open_offerings(reader)
        with without_collector():
            outlook = foresee(shown, judgement.ground.recorded, offerings, policy, now.date())
        kept = await standing(reader, judgement.guarded, now)
        arriving = {bundle.subject for bundle in shown.bundles}
        roles = await role_notes(reader, policy.teams, arriving) if not only else ()
    expires = to_text(now + policy.limits.approval_expires)
    awaiting = waiting_of(kept, judgement.guarded, policy)
    return Planned(
        shown, judgement.guarded, expires_at=expires, outlook=outlook, awaiting=awaiting, at=now, roles=roles
    )


async def apply(
    ledger: Ledger,
    setup: Setup,
    *,
    now: datetime,
    actor: str,
    fence: Fence,
    digest: str | None = None,
    auto: bool = False,
    only: Sequence[str] = (),
    progress: Progress | None = None,
) -> RunOutcome:
    """Read, decide and commit. Exactly one of ``digest`` (a plan somebody saw: recomputed, must match, approves what it
    shows, G3) and ``auto`` (what the guard lets through). ``only``: the digest is of this part of the plan; nothing
    else is applied, and it approves no more than the invites in it. Raises ``Stale``, ``Refused``, ``Busy``.

    Nine parameters: the caller's identity, instant and right are not the setup's.
    """
    if bool(digest) == auto or (auto and only):
        raise BadInput("give either the digest of a plan or auto", next_step="rosterd plan shows the digest")
    order = Order("apply", actor, now, fence, digest or "", only=tuple(only))
    return await _run(ledger, setup, order, progress)


async def approve(
    ledger: Ledger,
    setup: Setup,
    digest: str,
    *,
    reason: str,
    actor: str,
    now: datetime,
    fence: Fence,
    despite_freeze: bool = False,
) -> RunOutcome:
    """Let the held set named by ``digest`` (or a unique prefix of ≥ 8 digits) through, or the part still true (G3).

    Exactly its changes and no others. Where ``[limits] approvers`` asks for two, the first approval is recorded and the
    outcome is ``HELD``. Raises ``NotFound``, ``BadInput`` and ``Refused``: a set that expired, a principal's second
    approval, a freeze window without ``despite_freeze``. Eight parameters: who, why, when and by what right are the
    caller's.
    """
    if not reason.strip():
        raise BadInput("an approval needs a reason", next_step=f"rosterd approve {digest}")
    async with ledger.read(setup.organization.id) as reader:
        held = await find(reader, digest)
    order = Order("approve", actor, now, fence, held.digest, reason, despite_freeze)
    if setup.policy.limits.approvers > 1:
        async with ledger.write(setup.organization.id, fence, at=now, run_id=new_id()) as book:
            outcome = await record_one_approval(book, order.inside(book.at), setup.policy)
        if outcome is not None:
            return outcome
    return await _run(ledger, setup, order, None)


async def _run(ledger: Ledger, setup: Setup, order: Order, progress: Progress | None) -> RunOutcome:
    """Gate → read → map → decide, guard and commit in one transaction."""
    organization = setup.organization.id
    async with ledger.read(organization) as reader:
        await gate.require_enabled(reader, order.now)
        domains = await gate.look(reader, order.now)
        memory = await recall(ledger, reader, setup.policy, domains, order.now, setup.whole_every)
    if gate.shut(domains):
        async with ledger.write(organization, order.fence, at=order.now, run_id=new_id()) as book:
            return await record_suspended(book, order.inside(book.at), domains)
    if order.kind != "apply" or order.digest:
        memory = replace(memory, base=None)  # what somebody saw or approves was made of everybody
    async with ledger.write(organization, order.fence, at=order.now) as book:
        order = replace(order, now=book.at)  # what anybody writes from here on came after the reading began (E2)
    began = how.elapsed()
    observed = await observe(setup.sources, setup.policy, order.now, progress, memory)
    try:
        try:
            return await commit(ledger, organization, setup.policy, observed, order)
        except BaseMoved:
            everybody = replace(memory, base=None)
            observed = await observe(setup.sources, setup.policy, order.now, progress, everybody, began=began)
            return await commit(ledger, organization, setup.policy, observed, order)
    except PlanChanged as error:
        async with ledger.write(organization, order.fence, at=order.now, run_id=new_id()) as book:
            await record_refused(book, order.inside(book.at), error.what)
        raise


async def undo(
    ledger: Ledger,
    setup: Setup,
    run_id: str,
    *,
    actor: str,
    reason: str,
    now: datetime,
    fence: Fence,
    dry_run: bool,
) -> Undone:
    """Restore what run ``run_id`` changed, as a new audited run; what was edited since is kept and named (A3).

    Eight parameters: who, why, when and by what right are the caller's. Raises ``NotFound``, ``Stale`` and,
    while the gate is not open, ``Refused``.
    """
    request = undoing.Request(actor, reason, now, fence, dry_run)
    return await undoing.undo(ledger, setup.organization.id, setup.policy, run_id, request)


async def explain(
    ledger: Ledger, setup: Setup, mail: str, *, now: datetime, finders: Sequence[ConfiguredFinder] = ()
) -> Explanation:
    """Why the person with this address has, waits for, or lost each thing, beside what ``finders`` say (P6). Raises
    ``NotFound``."""
    return await explaining.explain(ledger, setup.organization.id, setup.policy, mail, now, finders)
