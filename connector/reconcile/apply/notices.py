"""What a run tells people beside its changes: seats run short, a directory cannot be read any more (P4, A4).

Writes outbox rows in the run's transaction, each with the exact next command. Prohibition: sends nothing, decides
nothing. A held plan is told where it is kept (``held_sets``), a suspension where it happens
(``connector.sso.gate.sync``).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from connector.reconcile.guard.guard import Guarded
from connector.reconcile.outlook.seat_forecast import forecast
from connector.reconcile.pipeline import Judgement
from connector.reconcile.plan.changes import Kind, Plan, ScopeLine
from connector.reconcile.plan.recorded import Recorded
from connector.reconcile.plan.words import moment, some
from connector.reconcile.policy.policy import Policy
from ledger.counted import counted
from ledger.instant import to_text
from ledger.store import outbox, runs
from ledger.store.book import Book

SEATS_SHORT = "seats.short"
"""More people wait for a seat of this Team and offering than before the run."""
SOURCE_STALE = "source.stale"
"""A directory was not read whole for longer than ``[sync] fresh_within``; once per lapse."""
SOURCE_FRESH = "source.fresh"
"""… and is again."""

_DUE, _TOLD = "source_stale", "source_told"
"""Kinds of due dates: when a directory that is unknown becomes stale · since when everybody knows that it is."""
_SCOPES = 3


async def tell(book: Book, judgement: Judgement) -> None:
    """Everything there is to tell about this run; called once, before its scopes are recorded."""
    plan, policy = judgement.plan, judgement.ground.policy
    messages = [*_short(plan, judgement.guarded, judgement.ground.recorded, book.at)]
    for source in sorted({scope.source_id for scope in plan.scopes}):
        unknown = [scope for scope in plan.unknown if scope.source_id == source]
        messages += await _unread(book, source, unknown, policy) if unknown else await _read_again(book, source)
    await outbox.append(book, messages)


def _short(plan: Plan, guarded: Guarded, recorded: Recorded, now: datetime) -> Iterable[outbox.Message]:
    """One message per Team and offering whose waitlist this run makes longer."""
    if Kind.WAIT.value not in guarded.counts:
        return
    applied = Plan(plan.policy_hash, guarded.allowed)
    for pool in forecast(recorded, applied, now.date()):
        if pool.waiting_after > pool.waiting:
            yield outbox.Message(
                SEATS_SHORT,
                pool.name,
                {
                    "team": pool.team,
                    "team_id": pool.team_id,
                    "offering": pool.offering,
                    "waiting": pool.waiting_after,
                    "waiting_before": pool.waiting,
                    "capacity": pool.capacity,
                    "why": pool.lines[0],
                    "next": f"buy {counted(pool.waiting_after, 'more seat')} of {pool.offering} for Team {pool.team}, "
                    "then rosterd import subscriptions FILE",
                },
            )


async def _unread(book: Book, source: str, unknown: list[ScopeLine], policy: Policy) -> list[outbox.Message]:
    """A directory with unknown scopes: note when that becomes too long; told once, when it has."""
    if not policy.fresh_within:
        return []
    due = (await runs.due_dates(book, _DUE)).get(source)
    if source in await runs.due_dates(book, _TOLD):
        return []
    last = {row[1]: row[5] for row in await runs.scopes(book) if row[0] == source}
    lapses = [at + policy.fresh_within for scope in unknown if (at := last.get(scope.scope))]
    # a scope that was never complete counts from the first run that saw it unknown
    never = any(not last.get(scope.scope) for scope in unknown)
    lapses += [due or book.at + policy.fresh_within] if never or not lapses else []
    stale_at = min(lapses)
    if stale_at > book.at:
        if due is None:
            await runs.add_due(book, [(stale_at, _DUE, source)])
        return []
    await runs.clear_due(book, _DUE, [source])
    await runs.add_due(book, [(book.at, _TOLD, source)])
    reasons = list(dict.fromkeys(f"{scope.scope}: {scope.reason or 'not read to its end'}" for scope in unknown))
    whole = [at for at in (last.get(scope.scope) for scope in unknown) if at]
    since = f"since {moment(min(whole))}" if whole else "ever"
    payload = {
        "source": source,
        "scopes": [scope.scope for scope in unknown],
        "last_complete_at": to_text(min(whole)) if whole else None,
        "why": f"directory {source} was not read whole {since}: {some(reasons, _SCOPES)}",
        "effect": "nobody loses anything because of it; leavers who are only absent keep their seats meanwhile",
        "next": "rosterd check --live",
    }
    return [outbox.Message(SOURCE_STALE, source, payload)]


async def _read_again(book: Book, source: str) -> list[outbox.Message]:
    """A directory read whole: whatever was noted is over, and told when the lapse was."""
    due, told = await runs.due_dates(book, _DUE), await runs.due_dates(book, _TOLD)
    if source in due:
        await runs.clear_due(book, _DUE, [source])
    if source not in told:
        return []
    await runs.clear_due(book, _TOLD, [source])
    why = f"directory {source} is read whole again; it was told to be stale at {moment(told[source])}"
    return [outbox.Message(SOURCE_FRESH, source, {"source": source, "why": why, "next": "rosterd report runs"})]
