"""What is remembered of earlier readings, what was read now, and what a run keeps for the next one (D13, D14).

Prohibition: decides nothing about anybody. Whatever is not known for sure is forgotten, and the next run then looks at
everybody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from connector.directory.mapping import AttributeRules
from connector.directory.stand import Stand
from connector.reconcile.desired import guests
from connector.reconcile.desired.seen import Domains, SourceSeen
from connector.reconcile.evidence.stated import Signs
from connector.reconcile.pipeline import Judgement, anchors_of
from connector.reconcile.plan.changes import DOUBT, FROZEN, Problem, ScopeLine
from connector.reconcile.policy.policy import Policy
from connector.reconcile.reading import last_reading as parts
from connector.reconcile.reading.last_reading import Gathered
from connector.reconcile.reading.overlay import Overlay
from ledger.store import last_readings, people, runs
from ledger.store.book import Book, Reader
from ledger.store.engine import Ledger
from ledger.store.last_readings import Base, LastReading

MOST_PENDING = 20_000
"""With more people unsettled than this, looking at everybody is as quick."""
_STANDING = frozenset({FROZEN, DOUBT, "unmappable", "unusable-address", "invite-expired"})
"""Problems that stay true until an entry, a domain or the policy changes, so that they are not looked at again."""
_SHARED = frozenset({FROZEN, DOUBT})
"""Those of them that many people may share, of whom some are looked at."""
Linked = tuple[str, str, str]
"""(identity, source id, anchor) of somebody active who may be changed."""
_pending = msgspec.msgpack.Decoder(list[tuple[str, str]]).decode


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of an organization. ``base`` is None when the next run has to look at everybody."""

    ledger: Ledger
    organization: str
    readings: Mapping[str, LastReading]
    base: Base | None = None
    cursors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    whole_every: timedelta = timedelta(hours=24)
    domains: Domains = field(default=Domains(frozenset()))

    @property
    def pending(self) -> list[tuple[str, str]]:
        """(source id, anchor) of whom every run looks at again."""
        return _pending(self.base.pending) if self.base is not None else []

    def comparable(self, source_id: str, rules: AttributeRules, policy: Policy) -> LastReading | None:
        """The last reading of a source if it was mapped by the same rules and holds the same groups."""
        last = self.readings.get(source_id)
        if last is None or last.rules != rules.mark.hex() + parts.FORMAT:
            return None
        kept = {group.reference for group in parts.decode_header(last.header).groups}
        return last if kept == set(policy.groups_of(source_id)) else None

    def signs(self, source_id: str) -> Signs:
        """The signs of disabled accounts that a source has shown so far (E1)."""
        last = self.readings.get(source_id)
        return Signs() if last is None else parts.decode_header(last.header).signs

    def followable(self, last: LastReading | None, now: datetime) -> bool:
        """Whether a source's changes are enough: it was read whole not longer than ``whole_every`` ago."""
        return last is not None and timedelta(0) <= now - last.whole_at < self.whole_every

    async def linked(self, policy: Policy) -> list[Linked]:
        """As the function of this name."""
        async with self.ledger.read(self.organization) as reader:
            return await linked(reader, policy, self.domains)

    async def marks(self, source_id: str) -> dict[str, bytes]:
        """anchor → mark of everybody in the last reading."""
        async with self.ledger.read(self.organization) as reader:
            return parts.marks_of(await last_readings.parts(reader, source_id, parts.PRINT))


@dataclass(frozen=True, slots=True)
class Observed:
    """What was read. ``near``: only what differs from the last readings, when that is enough; ``sources`` is empty
    then. Otherwise ``sources`` has everybody; ``overlays`` and ``gathered`` are what to remember of each whole reading,
    as a difference or anew, ``rules`` those by which each was mapped. ``scopes``: the evidence of a near reading.
    ``followed``: sources of which only the changes were read; ``notes``: what is to be said of how they were read.
    ``ended``: when the last of the readings was over; None where none was made. ``stands``: how new each reading is, of
    the sources that say from which server they were read."""

    sources: Mapping[str, SourceSeen]
    cursors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    near: bool = False
    scopes: tuple[ScopeLine, ...] = ()
    overlays: Mapping[str, Overlay] = field(default_factory=dict)
    gathered: Mapping[str, Gathered] = field(default_factory=dict)
    rules: Mapping[str, AttributeRules] = field(default_factory=dict)
    memory: Memory | None = None
    followed: frozenset[str] = frozenset()
    notes: tuple[Problem, ...] = ()
    ended: datetime | None = None
    stands: Mapping[str, Stand] = field(default_factory=dict)


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
    return Memory(ledger, reader.organization, readings, base, cursors, whole_every, domains)


async def linked(reader: Reader, policy: Policy, domains: Domains) -> list[Linked]:
    """The directory links of everybody active, without people who are kept as they are by the gate (D11)."""
    rows = await people.active_links(reader)
    return [(row[0], row[1], row[2]) for row in rows if not guests.frozen(domains, policy, row[3])]


async def remember(book: Book, observed: Observed, judgement: Judgement) -> None:
    """Keep the last readings and the base, or forget the base when not everything was read."""
    draft, ground, memory = judgement.draft, judgement.ground, observed.memory
    known = {*observed.overlays, *observed.gathered}
    if memory is None or draft.plan.unknown or not known.issuperset(observed.sources):
        await last_readings.forget_base(book)
        return
    for overlay in observed.overlays.values():
        await overlay.save(book)
    for source_id, gathered in observed.gathered.items():
        await _save(book, source_id, gathered, observed.rules[source_id].mark.hex() + parts.FORMAT)
    if not observed.near:
        await last_readings.forget(book, known)
    # one who comes may have the address that another is leaving: the subject alone does not name a bundle
    went = {(bundle.subject, bundle.identity): len(bundle.changes) for bundle in judgement.guarded.allowed}
    waits = [b for b in draft.plan.bundles if went.get((b.subject, b.identity)) != len(b.changes)]
    pending = sorted(draft.unsettled | anchors_of(waits, ground.recorded))
    if len(pending) > MOST_PENDING:
        await last_readings.forget_base(book)
        return
    standing = [{"code": problem.code, "what": problem.what, "subjects": list(problem.subjects)}
                for problem in draft.plan.problems if problem.code in _STANDING]  # fmt: skip
    whole_at = memory.base.whole_at if observed.near and memory.base is not None else book.at
    base = Base(
        book.run_id, book.at, whole_at, ground.policy.hash, sorted(ground.domains.open), parts.pack(pending), standing
    )
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
    kept: dict[tuple[str, str], set[str]] = {}
    plain: set[Problem] = set()
    for row in before:
        left = set(row["subjects"]).difference(evaluated)
        if row["code"] in _SHARED and left:
            kept.setdefault((row["code"], row["what"]), set()).update(left)
        elif len(left) == len(row["subjects"]):
            plain.add(Problem(row["code"], row["what"], tuple(row["subjects"])))
    for problem in problems:
        if problem.code in _SHARED:
            kept.setdefault((problem.code, problem.what), set()).update(problem.subjects)
        else:
            plain.add(problem)
    plain |= {Problem(*why, tuple(sorted(who))) for why, who in kept.items()}
    return tuple(sorted(plain))
