"""The verb adopt: reads, shows an adoption, or commits the one that was seen, in one transaction (P3, A1).

What is decided: ``swaps``. Prohibition: moves no cursor and settles no absence or held set; those belong to runs.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from datetime import datetime

from connector.reconcile.adopt import swaps
from connector.reconcile.adopt.swaps import Adoption
from connector.reconcile.apply.commit import PlanChanged, record_refused
from connector.reconcile.desired.seen import Domains
from connector.reconcile.plan.changes import witnessed
from connector.reconcile.plan.order import Order
from connector.reconcile.policy.policy import Policy, Rule
from connector.reconcile.reading.ground import grounded
from connector.reconcile.reading.how import observe
from connector.reconcile.reading.memory import Observed
from connector.reconcile.reading.whole import Progress
from connector.reconcile.run import Setup
from connector.reconcile.show.outcome import RunOutcome, RunState, problem_json, scope_json
from connector.reconcile.show.text import counts_text, problem_lines, short
from connector.reconcile.state import gate
from ledger.audit import AuditEvent
from ledger.errors import NotFound, Refused, Unavailable
from ledger.instant import new_id
from ledger.jobs import Unleased
from ledger.store import audit, last_readings, people, runs, seats
from ledger.store.book import Book, Reader
from ledger.store.engine import Ledger

KIND = "adopt"
_PREFIX = 12


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is adopted under which policy, by whom."""

    rule: Rule
    policy: Policy
    order: Order


async def preview(
    ledger: Ledger, setup: Setup, mapping: str, *, now: datetime, progress: Progress | None = None
) -> Adoption:
    """Read and show; nothing is written. Raises ``NotFound`` for a mapping that is not in the organization file."""
    rule, organization = _rule(setup.policy, mapping), setup.organization.id
    async with ledger.read(organization) as reader:
        reasons = gate.shut(await gate.look(reader, now))
    if reasons:
        return swaps.suspended(rule, setup.policy, reasons)
    observed = await observe(setup.sources, setup.policy, now, progress)
    async with ledger.read(organization) as reader:
        domains = await gate.look(reader, now)
        return await _decide(
            reader, _Wish(rule, setup.policy, Order(KIND, "", now, Unleased.BY_HAND)), observed, domains
        )


async def adopt(
    ledger: Ledger, setup: Setup, mapping: str, order: Order, progress: Progress | None = None
) -> RunOutcome:
    """Commit exactly the adoption whose digest is ``order.digest`` (at least 12 digits), as an audited run.

    Raises ``NotFound``, ``Stale`` for another digest or a lost lease, ``Refused`` while the gate is not open,
    ``Unavailable`` when the group cannot be read.
    """
    wish, organization = _Wish(_rule(setup.policy, mapping), setup.policy, order), setup.organization.id
    async with ledger.read(organization) as reader:
        await gate.require_enabled(reader, order.now)
        _require_open(await gate.look(reader, order.now))
    observed = await observe(setup.sources, setup.policy, order.now, progress)
    try:
        async with ledger.write(organization, order.fence, at=order.now, run_id=new_id()) as book:
            return await _commit(book, replace(wish, order=order.inside(book.at)), observed)
    except PlanChanged as error:
        async with ledger.write(organization, order.fence, at=order.now, run_id=new_id()) as book:
            await record_refused(book, order.inside(book.at), error.what)
        raise


def _rule(policy: Policy, mapping: str) -> Rule:
    rule = policy.rules.get(mapping)
    if rule is None:
        close = difflib.get_close_matches(mapping, policy.rules, n=1)
        said = f": did you mean {close[0]!r}?" if close else ""
        known = ", ".join(policy.rules) or "none"
        raise NotFound(f"no mapping has the id {mapping!r}{said}", next_step=f"known mappings: {known}")
    return rule


def _require_open(domains: Domains) -> None:
    reasons = gate.shut(domains)
    if reasons:
        said = f"sync is suspended: {'; '.join(reasons)}"
        raise Refused(said, next_step="nothing was written; rosterd sso status names what is missing")


async def _decide(reader: Reader, wish: _Wish, observed: Observed, domains: Domains) -> Adoption:
    base = await grounded(reader, wish.policy, observed, domains, wish.order.now)
    return swaps.adopt(wish.rule, base.ground)


async def _commit(book: Book, wish: _Wish, observed: Observed) -> RunOutcome:
    order = wish.order
    domains = await gate.look(book, order.now)
    _require_open(domains)
    found = await _decide(book, wish, observed, domains)
    again = f"nothing was written; look at rosterd adopt {wish.rule.id} again"
    if found.unread:
        raise Unavailable(f"group {wish.rule.group} was not read: {found.unread}", next_step=again)
    if len(order.digest) < _PREFIX or not found.digest.startswith(order.digest):
        raise PlanChanged(
            f"the adoption is now {short(found.digest)}, not {short(order.digest)}: the directory, the ledger or the"
            " organization file changed since it was shown",
            next_step=again,
        )
    await _write(book, found)
    return await _record(book, order, found)


async def _write(book: Book, found: Adoption) -> None:
    """Ends before begins, so that no open key is ever held twice; a row that changed meanwhile raises ``Stale``."""
    await people.end_memberships(book, found.memberships.end)
    await seats.end_grants(book, found.grants.end)
    await people.begin_links(book, found.links.begin)
    await people.begin_memberships(book, found.memberships.begin)
    await seats.begin_grants(book, found.grants.begin)
    await last_readings.forget_base(book)


async def _record(book: Book, order: Order, found: Adoption) -> RunOutcome:
    plan = found.plan
    events = [
        AuditEvent(order.actor, "run.person", bundle.identity, order.reason,
                   changes=[witnessed(change) for change in bundle.changes], plan_digest=plan.digest)
        for bundle in plan.bundles
    ]  # fmt: skip
    hurt = [(change.harm.value, bundle.identity, "", "", True)
            for bundle in plan.bundles for change in bundle.changes if change.harm]  # fmt: skip
    if hurt:
        await runs.log_harm(book, hurt)
    state = RunState.NOTHING if plan.empty else RunState.APPLIED
    said = f"adopted by mapping {found.rule.id}: {counts_text(plan.counts)}"
    lines = ("nothing to adopt" if plan.empty else said, *problem_lines(plan.problems))
    outcome = RunOutcome(
        book.run_id, KIND, state, 0, plan.digest, plan.counts, lines=lines, problems=plan.problems, scopes=plan.scopes
    )
    row = runs.RunRow(
        book.run_id, KIND, state.value, order.actor, order.reason, order.began or order.now, book.at, plan.digest,
        plan.counts,
        [scope_json(scope) for scope in plan.scopes], [problem_json(problem) for problem in plan.problems],
    )  # fmt: skip
    await runs.record(book, row)
    after = {"mapping": found.rule.id, "state": state.value, "counts": dict(plan.counts)}
    events.append(AuditEvent(order.actor, "run.adopt", book.run_id, order.reason, after=after, plan_digest=plan.digest))
    await audit.append(book, events)
    return outcome
