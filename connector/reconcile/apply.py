"""Decides and commits one run inside one transaction (A1–A4, G1–G5).

The transaction holds the organization's lock; in it the lease's fencing token and the gate are checked, the recorded
state is loaded, the plan is made and guarded, and rows, history, audit, cursors, outbox, harm, the held set and the run
row are written. What the plan was made from is therefore what it changes. Prohibition: no reading of directories here.
"""

from __future__ import annotations

from datetime import datetime

from connector.reconcile import gatekeeping, heldsets
from connector.reconcile.calm import calm
from connector.reconcile.continuity import Continuity, continuity
from connector.reconcile.decide import decide
from connector.reconcile.diff import Draft
from connector.reconcile.guard import Guarded, guard
from connector.reconcile.limits import Permit, Windows, logged_scopes
from connector.reconcile.load import load, load_permit, load_windows
from connector.reconcile.orders import Observed, Order
from connector.reconcile.outcome import RunOutcome, RunState, problem_json, scope_json
from connector.reconcile.plan import Harm, Problem, witnessed
from connector.reconcile.policy import Policy
from connector.reconcile.recorded import Recorded
from connector.reconcile.render import outcome_lines, short
from connector.reconcile.sight import Domains
from connector.reconcile.teams import ensure_teams
from connector.reconcile.writing import Rows
from ledger.audit import AuditEvent
from ledger.errors import Stale
from ledger.instant import new_id
from ledger.store import audit, leases, outbox, people, runs
from ledger.store.book import Book, Reader
from ledger.store.engine import Ledger

_EVENTS = 10_000


class PlanChanged(Stale):
    """The digest somebody saw is no longer the plan's."""


async def commit(ledger: Ledger, organization: str, policy: Policy, observed: Observed, order: Order) -> RunOutcome:
    """The whole transaction. Raises ``Stale`` (digest, fencing token, rows), ``Busy``, ``BadInput``; then nothing is
    written. A gate that closed meanwhile ends as ``SUSPENDED``: recorded, and nothing else."""
    run_id = new_id()
    async with ledger.write(organization, at=order.now, run_id=run_id) as book:
        if order.lease is not None:
            await leases.check(book, order.lease)
        domains = await gatekeeping.look(book, order.now)
        if gatekeeping.shut(domains):
            return await record_suspended(book, order, domains)
        if await gatekeeping.require_enabled(book, order.now):
            await gatekeeping.resume(book)
        await ensure_teams(book, policy.teams)
        time = await went_on(book, await load(book, with_dns=observed.with_dns), observed, order.now)
        await people.clear_absences(book, time.forgotten)
        recorded = time.recorded
        draft = decide(observed.sources, policy, recorded, domains, order.now)
        with calm():
            guarded = await _guarded(book, order, draft, recorded, policy)
            outcome = await _write(book, order, draft, guarded, recorded, policy, observed)
        await _seen(book, draft, time)
        return outcome


async def went_on(reader: Reader, recorded: Recorded, observed: Observed, now: datetime) -> Continuity:
    """The recorded state as far as the clock lets it be believed (D3)."""
    rows = await runs.scopes(reader)
    return continuity(recorded, {(row[0], row[1]): row[5] for row in rows if row[5]}, observed.sources, now)


async def record_suspended(book: Book, order: Order, domains: Domains) -> RunOutcome:
    """The run record of a closed gate: all that may be written then (G5)."""
    await gatekeeping.suspend(book, domains)
    reasons = gatekeeping.shut(domains)
    outcome = RunOutcome(
        book.run_id, order.kind, RunState.SUSPENDED, 3, lines=(f"SUSPENDED {'; '.join(reasons)}. Nobody was removed.",)
    )
    await _record(book, order, outcome)
    return outcome


async def record_refused(book: Book, order: Order, why: str) -> None:
    """The run record of an apply that was refused: every outcome can be looked up (A4)."""
    outcome = RunOutcome(book.run_id, order.kind, RunState.REFUSED, 3, problems=(Problem("refused", why),))
    await _record(book, order, outcome)


async def _guarded(book: Book, order: Order, draft: Draft, recorded: Recorded, policy: Policy) -> Guarded:
    plan = draft.plan
    if order.kind == "approve":
        found = await heldsets.approved(book, order)
        permit = Permit(frozenset(heldsets.keys(found)), only=True)
    elif order.digest:
        if not plan.digest.startswith(order.digest) or len(order.digest) < 12:
            raise PlanChanged(
                f"the plan is now {short(plan.digest)}, not {short(order.digest)}: the directory, the ledger or the"
                " organization file changed since it was shown",
                next_step="nothing was written; look at rosterd plan again",
            )
        permit = Permit(everything=True)
    else:
        permit = await load_permit(book, order.now)
    measured = not permit.everything and any(bundle.harmful for bundle in plan.bundles)
    windows = await load_windows(book, order.now) if measured else Windows()
    return guard(plan, draft.allocation, recorded, policy, windows, permit)


async def _write(
    book: Book,
    order: Order,
    draft: Draft,
    guarded: Guarded,
    recorded: Recorded,
    policy: Policy,
    observed: Observed,
) -> RunOutcome:
    """Seven parameters: everything one transaction is made of, none of it state of the others."""
    plan = draft.plan
    rows = Rows(recorded, policy, order.now)
    rows.add(guarded.allowed)
    waiting = {bundle.identity for bundle in plan.bundles} - {bundle.identity for bundle in guarded.allowed}
    rows.refresh(plan.notes, waiting)
    await rows.write(book)
    await ensure_teams(book, policy.teams)
    await _cursors(book, observed)
    await _witness(book, order, guarded, rows, plan.digest)
    await outbox.append(book, rows.invited)
    held = await heldsets.keep(book, order, plan, guarded, policy)
    state, code = _ending(guarded, bool(plan.unknown))
    outcome = RunOutcome(
        run_id=book.run_id,
        kind=order.kind,
        state=state,
        exit_code=code,
        digest=plan.digest,
        counts=guarded.counts,
        held=held,
        held_counts=guarded.held_counts,
        lines=outcome_lines(plan, guarded),
        problems=plan.problems,
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


async def _seen(book: Book, draft: Draft, time: Continuity) -> None:
    """What the next run compares with: absences begun and lifted, and when each scope was read."""
    notes = draft.plan.notes
    if notes.seen_again:
        await people.clear_absences(book, [(item.source_id, item.anchor, item.scope) for item in notes.seen_again])
    if absent := time.notable(notes.absent):
        await people.note_absences(book, absent)
    lines = time.steady(draft.plan.scopes)
    await runs.put_scopes(book, [(s.source_id, s.scope, s.complete, s.reason, s.entries) for s in lines])


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
    row = runs.RunRow(
        id=outcome.run_id,
        kind=order.kind,
        state=outcome.state.value,
        actor=order.actor,
        reason=order.reason,
        started_at=order.now,
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
