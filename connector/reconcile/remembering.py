"""What a run keeps for the next one: the last readings, and whom that run has to look at again (D13, D14).

Prohibition: decides nothing about anybody. Whatever is not known for sure is forgotten, and the next run then looks at
everybody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from connector.reconcile import last_reading as parts
from connector.reconcile.decide import anchors_of
from connector.reconcile.diff import Draft
from connector.reconcile.guard import Guarded
from connector.reconcile.last_reading import Gathered
from connector.reconcile.observed import Memory, Observed
from connector.reconcile.plan import Problem
from connector.reconcile.policy import Policy
from connector.reconcile.recorded import Recorded
from connector.reconcile.sight import Domains
from ledger.store import last_readings, runs
from ledger.store.book import Book, Reader
from ledger.store.engine import Ledger
from ledger.store.last_readings import Base, LastReading

MOST_PENDING = 20_000
"""With more people unsettled than this, looking at everybody is as quick."""
_STANDING = frozenset({"frozen", "unmappable", "invite-expired"})
"""Problems that stay true until an entry, a domain or the policy changes, so that they are not looked at again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run decided, on which recorded state."""

    draft: Draft
    guarded: Guarded
    recorded: Recorded


async def recall(
    ledger: Ledger, reader: Reader, policy: Policy, domains: Domains, now: datetime, whole_every: timedelta
) -> Memory:
    """What is remembered; with a base only while policy and open domains are the same and everybody was planned not
    longer than ``whole_every`` ago."""
    base = await last_readings.base(reader)
    if base is not None:
        same = base.policy_hash == policy.hash and frozenset(base.domains) == domains.open
        fresh = timedelta(0) <= now - base.whole_at < whole_every and base.at <= now
        base = base if same and fresh else None
    readings = await last_readings.readings(reader)
    cursors = {source_id: found for source_id in readings if (found := await runs.cursor(reader, source_id))}
    return Memory(ledger, reader.organization, readings, base, cursors, whole_every)


async def remember(book: Book, policy: Policy, domains: Domains, observed: Observed, outcome: Outcome) -> None:
    """Keep the last readings and the base, or forget the base when not everything was read."""
    draft, memory = outcome.draft, observed.memory
    known = {*observed.overlays, *observed.gathered}
    if memory is None or draft.plan.unknown or not known.issuperset(observed.sources):
        await last_readings.forget_base(book)
        return
    for overlay in observed.overlays.values():
        await overlay.save(book)
    for source_id, gathered in observed.gathered.items():
        await _save(book, source_id, gathered, observed.rules[source_id])
    if not observed.near:
        await last_readings.forget(book, known)
    went = {bundle.subject: len(bundle.changes) for bundle in outcome.guarded.allowed}
    waits = [bundle for bundle in draft.plan.bundles if went.get(bundle.subject) != len(bundle.changes)]
    pending = sorted(draft.unsettled | anchors_of(waits, outcome.recorded))
    if len(pending) > MOST_PENDING:
        await last_readings.forget_base(book)
        return
    standing = [{"code": problem.code, "what": problem.what, "subjects": list(problem.subjects)}
                for problem in draft.plan.problems if problem.code in _STANDING]  # fmt: skip
    whole_at = memory.base.whole_at if observed.near and memory.base is not None else book.at
    base = Base(book.run_id, book.at, whole_at, policy.hash, sorted(domains.open), parts.pack(pending), standing)
    await last_readings.put_base(book, base)


async def _save(book: Book, source_id: str, gathered: Gathered, rules: str) -> None:
    await last_readings.drop_parts(book, source_id)
    header = parts.pack(gathered.header())
    await last_readings.put_parts(book, source_id, gathered.parts())
    await last_readings.put_reading(book, LastReading(source_id, rules, gathered.buckets, book.at, book.at, header))


def merged(
    problems: Iterable[Problem], before: Sequence[Mapping[str, Any]], evaluated: Collection[str]
) -> tuple[Problem, ...]:
    """The problems of a run that looked at some people, and those of everybody else that still stand."""
    frozen: dict[str, set[str]] = {}
    plain: set[Problem] = set()
    for row in before:
        left = set(row["subjects"]).difference(evaluated)
        if row["code"] == "frozen" and left:
            frozen.setdefault(row["what"], set()).update(left)
        elif len(left) == len(row["subjects"]):
            plain.add(Problem(row["code"], row["what"], tuple(row["subjects"])))
    for problem in problems:
        if problem.code == "frozen":
            frozen.setdefault(problem.what, set()).update(problem.subjects)
        else:
            plain.add(problem)
    plain |= {Problem("frozen", what, tuple(sorted(who))) for what, who in frozen.items()}
    return tuple(sorted(plain))
