"""Undo: shows or commits the restoration of one run as a new audited run (A3). What to restore: ``restore``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from connector.reconcile.desired import guests
from connector.reconcile.desired.seen import Domains
from connector.reconcile.diff.seat_pools import Pools
from connector.reconcile.evidence.undone import taken_back
from connector.reconcile.plan.changes import Kind, witnessed
from connector.reconcile.plan.recorded import UNDO
from connector.reconcile.policy.policy import Policy
from connector.reconcile.show.outcome import RunOutcome, RunState, Undone, problem_json
from connector.reconcile.state import gate
from connector.reconcile.state.load import REMOVAL, load
from connector.reconcile.undo.restore import FIRST_IN_LINE, Restoration, Touched, bundled, restore
from ledger.audit import AuditEvent
from ledger.counted import counted
from ledger.errors import NotFound, Refused
from ledger.identity import IdentityState
from ledger.instant import new_id
from ledger.jobs import Fence
from ledger.store import audit, fencing, kept_groups, last_readings, people, runs, seats
from ledger.store.book import Book, Reader
from ledger.store.engine import Ledger


@dataclass(frozen=True, slots=True)
class Request:
    """Who undoes, why, when and by what right (A2); ``dry_run`` only shows."""

    actor: str
    reason: str
    now: datetime
    fence: Fence
    dry_run: bool


async def undo(ledger: Ledger, organization: str, policy: Policy, run_id: str, request: Request) -> Undone:
    """Raises ``NotFound`` for an unknown run, ``Refused`` when the gate is not open (G5)."""
    if request.dry_run:
        async with ledger.read(organization) as reader:
            _, found = await _restoration(reader, policy, run_id, request.now)
            return _undone(run_id, policy, found, earlier=await _earlier(reader, run_id, found))
    async with ledger.write(organization, request.fence, at=request.now, run_id=new_id()) as book:
        domains, found = await _restoration(book, policy, run_id, book.at)
        reasons = gate.shut(domains)
        if reasons:
            raise Refused(
                f"sync is suspended: {'; '.join(reasons)}", next_step="nothing was written; repair sign-on first"
            )
        earlier = await _earlier(book, run_id, found)
        outcome = await _commit(book, policy, run_id, found, request)
        undone = _undone(run_id, policy, found, outcome, earlier)
        await fencing.settle(book, request.fence, undone.for_job())
        return undone


def _undone(
    run_id: str, policy: Policy, found: Restoration, outcome: RunOutcome | None = None, earlier: str = ""
) -> Undone:
    marked = sum(bool(taken_back(changes, policy)) for changes in bundled(found.changes).values())
    return Undone(run_id, tuple(change for _, change in found.changes), tuple(found.kept), outcome, marked, earlier)


async def _earlier(reader: Reader, run_id: str, found: Restoration) -> str:
    """The run that undid it already, where nothing of it is left to restore."""
    return "" if found.changes else await runs.undone_by(reader, run_id)


async def _restoration(reader: Reader, policy: Policy, run_id: str, now: datetime) -> tuple[Domains, Restoration]:
    if await runs.get(reader, run_id) is None:
        raise NotFound(f"no run {run_id}", next_step="rosterd report runs shows them")
    domains = await gate.look(reader, now)
    rows = {
        **await people.touched_by(reader, run_id),
        **await seats.touched_by(reader, run_id),
        **await kept_groups.touched_by(reader, run_id),
    }
    who = {row.id for row in rows["identity"]}
    who |= {row.identity_id for name, found in rows.items() if name != "identity" for row in found}
    now_open = {
        **await people.open_of(reader, sorted(who)),
        **await seats.open_of(reader, sorted(who)),
        **await kept_groups.open_of(reader, sorted(who)),
    }
    recorded = await load(reader)
    touched = Touched(
        run_id=run_id,
        rows=rows,
        open=now_open,
        team_names=recorded.team_names(),
        free=Pools(recorded, now.date()).free(),
        frozen=lambda mail_key: guests.frozen(domains, policy, mail_key),
        protected=policy.protected,
        group_names=await kept_groups.names(reader, {row.group_id for row in rows["groups"]}),
    )
    return domains, restore(touched)


async def _commit(book: Book, policy: Policy, run_id: str, found: Restoration, request: Request) -> RunOutcome:
    await _write_rows(book, policy, found)
    await _due_dates(book, policy, found)
    await people.clear_absences_of(book, found.people)
    await last_readings.forget_base(book)
    await runs.forget_harm(book, run_id, found.people)
    marks = {who: taken_back(changes, policy) for who, changes in bundled(found.changes).items()}
    await people.mark_undone(book, [(who, *mark, rule) for who, held in marks.items() for mark, rule in held.items()])
    events = [
        AuditEvent(request.actor, "run.person", identity, request.reason,
                   changes=[witnessed(change) for change in changes])
        for identity, changes in bundled(found.changes).items()
    ]  # fmt: skip
    counts: dict[str, int] = {}
    for _, change in found.changes:
        counts[change.kind.value] = counts.get(change.kind.value, 0) + 1
    state = RunState.APPLIED if found.changes else RunState.NOTHING
    lines = (f"undid run {run_id}: {counted(sum(counts.values()), 'change')}, {len(found.kept)} kept",)
    row = runs.RunRow(book.run_id, UNDO, state.value, request.actor, request.reason, request.now, book.at, "", counts,
                      [], [problem_json(problem) for problem in found.kept], run_id)  # fmt: skip
    await runs.record(book, row)
    events.append(AuditEvent(request.actor, "run.undo", book.run_id, request.reason, after={"undoes": run_id}))
    await audit.append(book, events)
    return RunOutcome(book.run_id, UNDO, state, 0, counts=counts, lines=lines, problems=tuple(found.kept))


async def _write_rows(book: Book, policy: Policy, found: Restoration) -> None:
    def seat_row(row: Any, _values: Mapping[str, Any]) -> tuple[Any, ...]:
        """A release that is overdue by now is due after the full delay: else the next run would undo the undo."""
        due = row.release_due_at
        if due is not None and due <= book.at:
            due = book.at + policy.offboarding.release_after
        return (row.id, row.subscription_id, row.team_id, row.offering_code, row.identity_id, row.state,
                row.paused_from, due)  # fmt: skip

    writers = {
        "identity": (people.end_identities, people.begin_identities, _identity_row),
        "links": (people.end_links, people.begin_links, _link_row),
        "memberships": (people.end_memberships, people.begin_memberships, _membership_row),
        "seats": (seats.end_seats, seats.begin_seats, seat_row),
        "grants": (seats.end_grants, seats.begin_grants, _grant_row),
        "waiting": (seats.end_waiting, seats.begin_waiting, _waiting_row),
        "roles": (people.end_roles, people.begin_mapped_roles, _role_row),
        "groups": (kept_groups.end_members, kept_groups.begin_members, _group_row),
    }
    for name, (end, _, _) in writers.items():
        await end(book, found.end[name])
    for name, (_, begin, make) in writers.items():
        rows: list[Any] = [make(row, values) for row, values in found.begin[name]]
        if name == "waiting":
            rows += [(identity, team, code, UNDO, FIRST_IN_LINE) for identity, team, code in found.waiting]
        await begin(book, rows)
    await kept_groups.reopen_groups(book, {row.group_id for row, _ in found.begin["groups"]})


async def _due_dates(book: Book, policy: Policy, found: Restoration) -> None:
    """Whoever is active again is not removed later; whoever is a leaver again is, after the full delay."""
    back = [identity for identity, change in found.changes if change.kind is Kind.REINSTATE and not change.object]
    await runs.clear_due(book, REMOVAL, back)
    off = [identity for identity, change in found.changes
           if change.kind is Kind.DISABLE_IDENTITY and change.after != IdentityState.REMOVED]  # fmt: skip
    delay: timedelta = policy.offboarding.remove_after
    await runs.clear_due(book, REMOVAL, off)
    await runs.add_due(book, [(book.at + delay, REMOVAL, identity) for identity in off])


def _identity_row(row: Any, values: Mapping[str, Any]) -> tuple[Any, ...]:
    state = values.get("state", row.state)
    return (row.id, row.mail, row.mail_key, row.given_name, row.family_name, row.display_name, state,
            row.employee_number, row.attributes)  # fmt: skip


def _link_row(row: Any, _values: Mapping[str, Any]) -> tuple[Any, ...]:
    return (row.identity_id, row.source_id, row.anchor, row.fingerprint)


def _membership_row(row: Any, _values: Mapping[str, Any]) -> tuple[Any, ...]:
    return (row.identity_id, row.team_id, row.provenance, row.source_id, row.cause)


def _grant_row(row: Any, _values: Mapping[str, Any]) -> tuple[Any, ...]:
    return (row.seat_id, row.identity_id, row.team_id, row.provenance, row.cause)


def _waiting_row(row: Any, _values: Mapping[str, Any]) -> tuple[Any, ...]:
    return (row.identity_id, row.team_id, row.offering_code, row.provenance, row.priority)


def _role_row(row: Any, _values: Mapping[str, Any]) -> tuple[Any, ...]:
    return (row.identity_id, row.role, row.team_id, row.provenance, row.cause)


def _group_row(row: Any, _values: Mapping[str, Any]) -> tuple[Any, ...]:
    return (row.identity_id, row.group_id, row.provenance, row.cause)
