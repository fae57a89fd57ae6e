"""Decides and commits one run inside one transaction (A1–A4, G1–G5).

The transaction holds the organization's lock; in it the lease's fencing token and the gate are checked, the recorded
state is loaded, the plan is made and guarded, and rows, history, audit, cursors, outbox, harm, the held set and the run
row are written. What the plan was made from is therefore what it changes. Prohibition: no reading of directories here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec import to_builtins

from connector.reconcile.apply import held_sets, notices
from connector.reconcile.apply.kept_groups import end_idle_groups, ensure_groups
from connector.reconcile.apply.learn import learn
from connector.reconcile.apply.rows import Rows
from connector.reconcile.by_hand import invites
from connector.reconcile.desired.clock_jumps import Continuity
from connector.reconcile.desired.ground import Ground
from connector.reconcile.desired.seen import Domains
from connector.reconcile.diff.membership_ends import answered
from connector.reconcile.evidence.undone import marks_of
from connector.reconcile.evidence.witness import Verdict
from connector.reconcile.guard.guard import Guarded
from connector.reconcile.guard.limits import Permit, logged_scopes
from connector.reconcile.guard.part import part_of
from connector.reconcile.pipeline import Judgement
from connector.reconcile.plan.changes import Harm, Kind, Plan, Problem, witnessed
from connector.reconcile.plan.order import Order
from connector.reconcile.plan.recorded import DOUBTED, SECOND
from connector.reconcile.plan.words import expiry
from connector.reconcile.policy.policy import Policy
from connector.reconcile.reading.first_names import keep_first_names
from connector.reconcile.reading.ground import grounded, judged, kept_stands
from connector.reconcile.reading.memory import Observed, remember
from connector.reconcile.show.awaiting import approve_command
from connector.reconcile.show.outcome import RunOutcome, RunState, problem_json, scope_json
from connector.reconcile.show.text import outcome_lines, part_problems, plan_command, short
from connector.reconcile.state import gate
from connector.reconcile.state.teams import ensure_teams
from connector.reconcile.state.windows import load_part_permit, load_permit
from ledger.audit import AuditEvent
from ledger.collector import without_collector
from ledger.errors import Stale
from ledger.instant import new_id
from ledger.store import audit, fencing, outbox, people, runs
from ledger.store.book import Book
from ledger.store.engine import Ledger

_EVENTS = 10_000


class PlanChanged(Stale):
    """The digest somebody saw is no longer the plan's."""


async def commit(ledger: Ledger, organization: str, policy: Policy, observed: Observed, order: Order) -> RunOutcome:
    """The whole transaction. Raises ``Stale`` (digest, fencing token, rows), ``Busy``, ``BadInput``; then nothing is
    written. A gate that closed meanwhile ends as ``SUSPENDED``: recorded, and nothing else."""
    run_id = new_id()
    async with ledger.write(organization, order.fence, at=order.now, run_id=run_id) as book:
        order = order.inside(book.at)
        domains = await gate.look(book, order.now)
        if gate.shut(domains):
            return await record_suspended(book, order, domains)
        if await gate.require_enabled(book, order.now):
            await gate.resume(book)
        await ensure_teams(book, policy.teams)
        await ensure_groups(book, policy, observed)
        await keep_first_names(book)
        with without_collector():  # once: each time it starts again it walks everything that was made
            base = await grounded(book, policy, observed, domains, order.now)
            await people.clear_absences(book, base.time.forgotten)
            judgement = await judged(book, base, lambda draft: _permit(book, order, draft.plan, base.ground))
            outcome = await _write(book, order, judgement, base.observed)
            await _seen(book, judgement.plan, base.time, observed.ended or order.now)
            await _stands(book, base.verdicts)
            await _answered(book, judgement)
            await end_idle_groups(book, judgement.ground)
            await remember(book, observed, judgement)
        return outcome


async def record_suspended(book: Book, order: Order, domains: Domains) -> RunOutcome:
    """The run record of a closed gate: all that may be written then (G5)."""
    await gate.suspend(book, domains)
    reasons = gate.shut(domains)
    outcome = RunOutcome(
        book.run_id, order.kind, RunState.SUSPENDED, 3, lines=(f"SUSPENDED {'; '.join(reasons)}. Nobody was removed.",)
    )
    await _record(book, order, outcome)
    return outcome


async def record_refused(book: Book, order: Order, why: str) -> None:
    """The run record of an apply that was refused: every outcome can be looked up (A4)."""
    outcome = RunOutcome(book.run_id, order.kind, RunState.REFUSED, 3, problems=(Problem("refused", why),))
    await _keep(book, order, outcome)


async def record_one_approval(book: Book, order: Order, policy: Policy) -> RunOutcome | None:
    """An approval that needs another one, recorded; None when it is the last one needed: then nothing is written (G3).

    Raises as ``held_sets.approved``.
    """
    if await held_sets.completes(book, order, policy):
        return None
    held = await held_sets.approved(book, order, policy)
    next_step = approve_command(held.digest, despite_freeze=order.despite_freeze)
    lines = (
        f"held set {short(held.digest)} is approved by {order.actor}; one more approval by another principal is needed",
        f"nothing was changed; another principal runs `{next_step}`; the held set {expiry(held.expires_at, order.now)}",
    )
    payload = {"digest": held.digest, "approved_by": order.actor, "next": next_step}
    await outbox.append(book, [outbox.Message("plan.approval_needed", held.digest, payload)])
    outcome = RunOutcome(book.run_id, order.kind, RunState.HELD, 3, held=held.digest, lines=lines)
    await _record(book, order, outcome)
    return outcome


async def _permit(book: Book, order: Order, plan: Plan, ground: Ground) -> Permit:
    """What this order lets through: one held set and nothing else, the plan somebody saw or a part of it, or earlier
    approvals."""
    policy = ground.policy
    if order.kind == "approve":
        found = await held_sets.approved(book, order, policy)
        if held_sets.missing(found, policy):
            raise Stale(f"held set {short(found.digest)} needs another approval", next_step="approve it again")
        keys = frozenset(held_sets.keys(found))
        return Permit(keys, only=True, despite_freeze=keys if found.despite_freeze else frozenset())
    if order.digest:
        plan = part_of(plan, order.only, ground) if order.only else plan
        if not plan.digest.startswith(order.digest) or len(order.digest) < 12:
            raise PlanChanged(
                f"the plan is now {short(plan.digest)}, not {short(order.digest)}: the directory, the ledger or the"
                " organization file changed since it was shown",
                next_step=f"nothing was written; look at {plan_command(order.only)} again",
            )
        if order.only:
            return await load_part_permit(book, plan, policy, order.now)
        if policy.limits.approvers == 1:  # one principal alone approves nothing where two are asked for (G3)
            return Permit(everything=True)
    return await load_permit(book, order.now)


async def _write(book: Book, order: Order, judgement: Judgement, observed: Observed) -> RunOutcome:
    plan, guarded, policy = judgement.plan, judgement.guarded, judgement.ground.policy
    rows = Rows(judgement.ground)
    rows.add(guarded.allowed)
    waiting = {bundle.identity for bundle in plan.bundles} - {bundle.identity for bundle in guarded.allowed}
    rows.refresh(plan.notes, waiting)
    await rows.write(book)
    if observed.memory is not None:
        await learn(book, judgement, rows.identities)
    await ensure_teams(book, policy.teams)
    if not guarded.held and not order.only:  # a held plan keeps the old cursor, and so does a part (D13)
        await _cursors(book, observed)
    shown = part_of(plan, order.only, judgement.ground) if order.only else plan
    await _witness(book, order, guarded, rows, shown.digest)
    await invites.announce(book, rows.invited, policy.invites)
    held = await held_sets.keep(book, order, plan, guarded, policy)
    await notices.tell(book, judgement)
    state, code = _ending(guarded, bool(plan.unknown or plan.doubted))
    outcome = RunOutcome(
        run_id=book.run_id,
        kind=order.kind,
        state=state,
        exit_code=code,
        digest=shown.digest,
        counts=guarded.counts,
        held=guarded.held_digest if held else "",
        held_counts=guarded.held_counts,
        lines=outcome_lines(shown, guarded, held_sets.waiting_of(held, guarded, policy), order.now),
        problems=(*part_problems(shown, guarded), *shown.problems),
        scopes=plan.scopes,
    )
    await _record(book, order, outcome)
    return outcome


def _ending(guarded: Guarded, unknown: bool) -> tuple[RunState, int]:
    """State and exit code: 3 something is held, 4 something was unknown, else 0."""
    if guarded.held:
        return RunState.HELD, 3
    if guarded.allowed:
        return RunState.APPLIED, 4 if unknown else 0
    return (RunState.UNKNOWN, 4) if unknown else (RunState.NOTHING, 0)


async def _seen(book: Book, plan: Plan, time: Continuity, ended: datetime) -> None:
    """What the next run compares with: absences begun (when their reading ``ended``, E2) and lifted, and when each
    scope was read."""
    notes = plan.notes
    if notes.seen_again:
        await people.clear_absences(book, [(item.source_id, item.anchor, item.scope) for item in notes.seen_again])
    if notes.lifted:
        await people.clear_undone(book, notes.lifted)
    await people.mark_undone(book, [(identity, SECOND, entry, "") for identity, entry in notes.met])
    # whoever is kept by doubt while the reading itself is doubted is not on the way to a decision yet (E13, E15)
    noted = (item for item in notes.absent if not (plan.doubted and item.scope == DOUBTED))
    if absent := time.notable(noted):
        await people.note_absences(book, absent, at=max(ended, book.at))
    lines = time.steady(plan.scopes)
    await runs.put_scopes(book, [(s.source_id, s.scope, s.complete, s.reason, s.entries) for s in lines])


async def _stands(book: Book, verdicts: Mapping[str, Verdict]) -> None:
    """How new what was read is: what the next reading of each source must not be behind (E2)."""
    known = await kept_stands(book) if verdicts else {}
    for source_id, verdict in verdicts.items():
        kept = verdict.kept
        if known.get(source_id) != kept:
            await runs.put_stand(book, source_id, to_builtins(kept.stand), to_builtins(kept.doubted), kept.since)


async def _answered(book: Book, judgement: Judgement) -> None:
    """Forget the absences whose consequences are drawn to the end, and the undos of what was approved after all."""
    allowed, ground = judgement.guarded.allowed, judgement.ground
    if ground.recorded.undone:
        done = [(bundle.identity, *mark) for bundle in allowed for mark in marks_of(bundle.changes)]
        await people.clear_undone(book, done)
    if Kind.REMOVE_IDENTITY.value in judgement.guarded.counts:
        removed = [bundle.identity for bundle in allowed
                   if any(change.kind is Kind.REMOVE_IDENTITY for change in bundle.changes)]  # fmt: skip
        await people.clear_absences_of(book, removed)
    await people.clear_absences(book, answered(allowed, ground.policy, ground.recorded))


async def _cursors(book: Book, observed: Observed) -> None:
    for source_id, cursor in observed.cursors.items():
        await runs.put_cursor(book, source_id, cursor)


async def _witness(book: Book, order: Order, guarded: Guarded, rows: Rows, digest: str) -> None:
    """One audit event per person, and the harm that later limits count."""
    events: list[AuditEvent] = []
    harm: list[tuple[str, str, str, str, bool]] = []
    for bundle in guarded.allowed:
        identity = bundle.identity or rows.identities[bundle.subject]
        changes = [witnessed(change) for change in bundle.changes]
        events.append(
            AuditEvent(order.actor, "run.person", identity, order.reason, changes=changes, plan_digest=digest)
        )
        approved = bundle.subject in guarded.approved
        for change in bundle.changes:
            if change.harm and not (approved and change.harm is Harm.INVITE):
                for team, mapping in logged_scopes(bundle, change):
                    harm.append((change.harm.value, identity, team, mapping, approved))
        if len(events) == _EVENTS:
            await audit.append(book, events)
            events.clear()
    await audit.append(book, events)
    if harm:
        await runs.log_harm(book, harm)


async def _record(book: Book, order: Order, outcome: RunOutcome) -> None:
    """The run record, and the end of the job that the run is (A4)."""
    await _keep(book, order, outcome)
    await fencing.settle(book, order.fence, outcome.for_job())


async def _keep(book: Book, order: Order, outcome: RunOutcome) -> None:
    row = runs.RunRow(
        id=outcome.run_id,
        kind=order.kind,
        state=outcome.state.value,
        actor=order.actor,
        reason=order.reason,
        started_at=order.began or order.now,
        finished_at=book.at,
        plan_digest=outcome.digest,
        counts=dict(outcome.counts),
        evidence=[scope_json(scope) for scope in outcome.scopes],
        problems=[problem_json(problem) for problem in outcome.problems],
    )
    await runs.record(book, row)
    payload = {"state": outcome.state.value, "counts": dict(outcome.counts), "held": outcome.held}
    event = AuditEvent(order.actor, f"run.{order.kind}", outcome.run_id, order.reason, after=payload,
                       plan_digest=outcome.digest)  # fmt: skip
    await audit.append(book, [event])
