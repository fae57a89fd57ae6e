"""A year in the life of an organization, run by run, on our own clock: what happens, what is checked after each run.

Two directories in memory, four mappings, terms that end and renew short, joiners, movers, leavers, renames, rehires,
outages, readings that lie, lapses of single sign-on, approvals and refusals, undo, edits by hand. ``year_records``
keeps the evidence and the truth; every check compares the ledger with them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from connector.directory.base import Reading, ReadRequest
from connector.reconcile import run
from connector.reconcile.by_hand.sign_in import Arrival, claim
from connector.reconcile.plan.changes import Bundle, Kind
from connector.reconcile.policy.policy import Policy
from connector.reconcile.run import ConfiguredSource, Setup
from connector.reconcile.show.outcome import RunOutcome, RunState
from connector.reconcile.state.teams import ensure_organization
from connector.reconcile.state.windows import change_key
from connector.sso.saml.subject import SubjectKind
from ledger.errors import Stale
from ledger.identity import Email
from ledger.seat import Subscription, Tier
from ledger.store import audit, kept_groups, people, runs, seats
from ledger.store.engine import Ledger
from ledger.store.tables import audit as audit_tables
from ledger.store.tables.outbox import outbox
from tests.parts.directories import BASE, ORGANIZATION, RULES, HandSource, Somebody, mapping, open_gate, policy, sell
from tests.parts.fences import ALONE
from tests.parts.year_records import Evidence, Moments, Picture, broken_intervals

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DOMAINS = ("acme.example", "acme.eu")
GROUPS = {"corp": ("design", "site", "lab"), "eu": ("field",)}
LIMITS: Mapping[str, Any] = {"day_floor": 3, "day_percent": 10, "team_day_floor": 2, "team_day_percent": 20}
TERMS = (
    # Team, offering, quantity, from, to: renewed short, renewed long, not renewed at all
    ("Design", "CAD", 7, date(2026, 1, 1), date(2026, 7, 1)),
    ("Design", "CAD", 5, date(2026, 7, 1), date(2027, 7, 1)),
    ("Design", "RENDER", 4, date(2026, 1, 1), date(2026, 9, 1)),
    ("Site", "CAD", 5, date(2026, 1, 1), date(2026, 5, 1)),
    ("Site", "CAD", 8, date(2026, 5, 1), date(2027, 5, 1)),
)


class Broken(AssertionError):
    """An invariant does not hold; says in which run of which seed."""


@dataclass
class Told(HandSource):
    """Keeps the last reading it gave; ``hidden``: people left out of it although it claims to be complete."""

    hidden: set[str] = field(default_factory=set)
    given: Reading | None = None

    async def read(self, request: ReadRequest, *, now: datetime) -> Reading:
        shown = replace(self, people={uid: p for uid, p in self.people.items() if uid not in self.hidden})
        self.given = HandSource.reading(shown, request.groups, now)
        return self.given


def year_policy() -> Policy:
    """Shared Teams and offerings, different delays, limits that trip in a small organization."""
    return policy(
        mapping("design", "Design", "CAD", "RENDER", priority=10, keep_group=True),
        mapping("site", "Site", "CAD", priority=20, release_after="2d", remove_after="10d"),
        mapping("lab", "Design", "CAD", priority=5, release_after="0", keep_group=True),
        mapping("field", "Site", "CAD", directory="eu", priority=30, keep_group=True),
        limits=LIMITS,
    )


@dataclass
class Year:
    """``length`` runs spread over a year. ``happened`` counts what the table of the benchmark shows."""

    ledger: Ledger
    seed: int
    length: int
    now: datetime = START
    happened: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.policy = year_policy()
        self.sources = {name: Told(name) for name in GROUPS}
        rules = self.policy.rules.values()
        self.evidence = Evidence(
            {rule.id: (rule.directory, rule.group) for rule in rules},
            {rule.id: rule.release_after for rule in rules},
            {rule.id: rule.remove_after for rule in rules},
        )
        self.moments = Moments()
        self.gates = dict.fromkeys(DOMAINS, "open")
        self.names = 0
        self.invited = 0
        self.expected_runs = 0
        self.past: list[str] = []
        self.approved: dict[str, datetime] = {}
        self.by_hand: set[tuple[str, str, str]] = set()
        self.went: list[tuple[datetime, str]] = []
        self.trouble = 0

    @property
    def setup(self) -> Setup:
        """What the runs are given."""
        sources = tuple(ConfiguredSource(item, replace(RULES, source_id=item.id)) for item in self.sources.values())
        return Setup(ORGANIZATION, self.policy, sources)

    async def live(self) -> None:
        """The whole year; raises ``Broken``."""
        try:
            await self._found()
            for number in range(self.length):
                self._pass_time(number)
                await self._happen()
                await self._run()
            await self._look_back()
        except AssertionError as error:
            raise Broken(f"seed {self.seed}, {self.ledger.dialect}, {self.now}: {error}") from error

    # what happens

    async def _found(self) -> None:
        await ensure_organization(self.ledger, ORGANIZATION, self.policy.teams, now=self.now)
        await open_gate(self.ledger, self.now, *DOMAINS)
        for team, code, quantity, begins, ends in TERMS:
            await sell(self.ledger, self.now, team, code, quantity, starts_on=begins, ends_on=ends)
        for name, groups in GROUPS.items():
            self.sources[name].groups = {group: [] for group in groups}
        for _ in range(12):
            self._join("corp")
        for _ in range(4):
            self._join("eu")

    def _pass_time(self, number: int) -> None:
        """A little, or a share of what is left of the year; never so long that absences would be forgotten."""
        if self.chance.random() < 0.4:
            self.now += timedelta(minutes=self.chance.choice([5, 20, 60]))
            return
        left = START + timedelta(days=364) - self.now
        share = left / max(1, self.length - number) * self.chance.uniform(0.4, 3)
        self.now += max(timedelta(minutes=1), min(share, timedelta(days=25)))

    async def _happen(self) -> None:
        """Directories, outages, sign-on, hands; several of them or none. Now and then a group has a new name."""
        self.sources["corp"].named["design"] = f"design {self.names // 5}"
        for source in self.sources.values():
            if self.trouble <= 0:
                source.unknown.clear()
                source.hidden.clear()
        self.trouble -= 1
        for _ in range(self.chance.choice([0, 1, 1, 2, 3])):
            self.chance.choice(EVENTS)(self)
        if self.chance.random() < 0.04:  # a department closes: more at once than the limits let through
            for uid in [uid for uid in self.sources["corp"].people if self.chance.random() < 0.5]:
                self.sources["corp"].change(uid, disabled=True)
            self._count("department closed")
        if self.chance.random() < 0.2:
            self._break()
        if self.chance.random() < (0.05 if set(self.gates.values()) == {"open"} else 0.5):
            await self._sign_on()
        if self.chance.random() < 0.25:
            await self._by_hand()

    def _break(self) -> None:
        source = self.sources[self.chance.choice(["corp", "corp", "eu"])]
        self.trouble = self.chance.choice([1, 1, 2])
        what = self.chance.choice(["base", "group", "part", "lie"])
        if what in {"base", "part"}:
            source.unknown[BASE] = "cut off"
        elif what == "group":
            source.unknown[f"group:{self.chance.choice(GROUPS[source.id])}"] = "cut off"
        if what in {"part", "lie"}:
            source.hidden = {uid for uid in source.people if self.chance.random() < 0.5}
            self.trouble = 1
        self._count(
            {"base": "outage", "group": "group unreadable", "part": "partial reading", "lie": "lying reading"}[what]
        )

    async def _sign_on(self) -> None:
        closed = [name for name, state in self.gates.items() if state != "open"]
        domain = self.chance.choice(closed or DOMAINS)
        if closed and self.chance.random() < 0.2:
            domain = self.chance.choice(DOMAINS)
        self.gates[domain] = "closed" if self.gates[domain] == "open" else "open"
        self._count("sign-on lapsed" if self.gates[domain] == "closed" else "sign-on back")
        async with self.ledger.write(ORGANIZATION.id, ALONE, at=self.now) as book:
            await runs.put_cursor(book, "gate", self.gates)

    async def _by_hand(self) -> None:
        """A first sign-in, a membership given by hand, or a subscription that grows."""
        before = await self._picture()
        self.now += timedelta(minutes=1)
        active = sorted(who for who, (_, state) in before.people.items() if state == "active")
        what = self.chance.choice(["sign in", "sign in", "sign in", "member", "buy"])
        if what == "sign in" and active:
            mail = before.people[self.chance.choice(active)][0]
            arrival = Arrival(Email.parse(mail), "idp", f"{mail} {self.names}", SubjectKind.MAIL)
            if not await self._signed_in(mail):
                await claim(self.ledger, ORGANIZATION.id, arrival, now=self.now)
        elif what == "member" and active:
            async with self.ledger.write(ORGANIZATION.id, ALONE, at=self.now) as book:
                row = (self.chance.choice(active), self.chance.choice(await people.open_teams(book))[0], "manual")
                if row not in before.members:
                    await people.begin_memberships(book, [(*row, "", "by hand")])
                    self.by_hand.add(row)
                    self._count("given by hand")
        elif what == "buy":
            async with self.ledger.write(ORGANIZATION.id, ALONE, at=self.now) as book:
                item = self.chance.choice(await seats.open_subscriptions(book))
                more = Subscription(item.id, item.team_id, item.offering_code, item.quantity + 1, Tier.BUSINESS,
                                    item.starts_on, item.ends_on)  # fmt: skip
                await seats.put_subscription(book, more)
        self.moments.keep(self.now, await self._picture())

    async def _signed_in(self, mail: str) -> bool:
        async with self.ledger.read(ORGANIZATION.id) as reader:
            known = await people.signed_in(reader)
            return any(row[1] in known for row in await people.identities_by_mail(reader, mail))

    def _join(self, name: str = "") -> None:
        self.names += 1
        source = self.sources[name or self.chance.choice(["corp", "corp", "corp", "eu"])]
        domain = "acme.eu" if source.id == "eu" and self.chance.random() < 0.5 else "acme.example"
        uid = f"u{self.names}"
        groups = self.chance.sample(
            GROUPS[source.id], 1 if self.chance.random() < 0.8 else min(2, len(GROUPS[source.id]))
        )
        source.put(Somebody(uid, f"{uid}@{domain}", number=f"n{self.names}"), groups=groups)
        self._count("joined")

    def _someone(self) -> tuple[Told, str] | None:
        source = self.sources[self.chance.choice(["corp", "corp", "corp", "eu"])]
        return (source, self.chance.choice(sorted(source.people))) if source.people else None

    def _count(self, what: str) -> None:
        self.happened[what] += 1

    # the runs

    async def _run(self) -> None:
        before = await self._picture()
        choice = self.chance.random()
        if choice < 0.12:
            await self._seen_first(before)
        else:
            outcome = await self._checked(before, self._apply(auto=True))
            await self._follow(before, outcome)
        if choice > 0.95 and self.past:
            await self._undo(self.chance.choice(self.past[-12:]), None)

    async def _seen_first(self, before: Picture) -> None:
        """Somebody looks at the plan and applies what they saw; now and then the directory changed meanwhile."""
        shown = await run.plan(self.ledger, self.setup, now=self.now)
        assert await self._picture() == before, "P1: a plan writes nothing"
        moved = self.chance.random() < 0.3
        if moved:
            self.chance.choice(EVENTS)(self)
        self.now += timedelta(minutes=2)
        try:
            await self._checked(before, self._apply(digest=shown.digest), everything=True)
            self._count("seen and applied")
        except Stale:
            later = await run.plan(self.ledger, self.setup, now=self.now)  # two minutes may confirm an absence
            assert moved or shown.suspended or later.digest != shown.digest, "refused though nothing changed"
            assert await self._picture() == before, "a refused apply writes nothing"
            self.expected_runs += 1
            self._count("refused: the plan changed")

    async def _follow(self, before: Picture, outcome: RunOutcome) -> None:
        """What people do about a run: approve what is held, undo it, or nothing."""
        if self.chance.random() < 0.6:
            await self._settled(outcome)
        if outcome.held and self.chance.random() < 0.5:
            for _ in range(self.chance.choice([0, 0, 1, 2])):
                self.chance.choice(EVENTS)(self)
            self.now += timedelta(minutes=self.chance.choice([3, 30]))
            await self._approve(outcome.held)
        elif outcome.held:
            self._count("held and left")
        elif outcome.counts and self.chance.random() < 0.12:
            self.now += timedelta(minutes=1)
            await self._undo(outcome.run_id, before)

    async def _apply(self, **choice: Any) -> RunOutcome:
        return await run.apply(self.ledger, self.setup, fence=ALONE, now=self.now, actor="year", **choice)

    async def _approve(self, digest: str) -> None:
        before = await self._picture()
        async with self.ledger.read(ORGANIZATION.id) as reader:
            held = next(item for item in await runs.held_sets(reader, ("open", "superseded")) if item.digest == digest)
        self.approved |= {str(change["subject"]): held.expires_at for change in held.changes}
        granted = run.approve(self.ledger, self.setup, digest, reason="seen", actor="ada", fence=ALONE, now=self.now)
        outcome = await self._checked(before, granted)
        if outcome.state is RunState.SUSPENDED:
            return
        named = Counter(_named(change) for change in held.changes)
        did = Counter(
            tuple(change[:5]) for changes in (await self._witness(outcome.run_id)).values() for change in changes
        )
        assert not did - named, f"G3: not named by the approval: {did - named}"
        self._count("approved whole" if did == named else "approved in part" if did else "approved, nothing left")

    async def _checked(self, before: Picture, running: Any, *, everything: bool = False) -> RunOutcome:
        """One run and all that must hold after it."""
        outcome: RunOutcome = await running
        self.expected_runs += 1
        after = await self._picture()
        self._count(outcome.state.value)
        if outcome.state is RunState.SUSPENDED:
            assert after == before, "G5: suspended, and something changed"
            return outcome
        readings = [source.given for source in self.sources.values() if source.given is not None]
        self.evidence.read(readings, self.now)
        open_domains = {name for name, state in self.gates.items() if state == "open"}
        losses = self.evidence.losses(before, after, self.now, open_domains)
        assert not losses, f"lost without evidence: {losses}"
        self.evidence.remember(before, after, self.now)
        self._guarded(before, after, everything=everything)
        await self._holds(before, after)
        await self._counted(outcome)
        self.moments.keep(self.now, after)
        if outcome.counts:
            self.past.append(outcome.run_id)
        return outcome

    def _guarded(self, before: Picture, after: Picture, *, everything: bool) -> None:
        """G1 by our own count: unapproved leavers of a day, and no Team emptied."""
        self.approved = {subject: until for subject, until in self.approved.items() if until > self.now}
        went = [who for who, (mail, state) in before.people.items()
                if state == "active" and after.people[who][1] != "active" and mail not in self.approved]  # fmt: skip
        if everything:
            return
        self.went = [(at, who) for at, who in self.went if at > self.now - timedelta(days=1)]
        self.went += [(self.now, who) for who in went]
        most = max([sum(state == "active" for _, state in picture.people.values()) for at, picture in self.moments.kept
                    if at >= self.now - timedelta(days=26)], default=0)  # fmt: skip
        limit = max(LIMITS["day_floor"], most * LIMITS["day_percent"] // 100)
        assert len({who for _, who in self.went}) <= limit, f"G1: {len(self.went)} went in a day, {limit} may"
        if not self.approved:
            empty = [team for team, members in before.active().items() if members and not after.active().get(team)]
            assert not empty, f"G1: emptied {empty}"

    async def _holds(self, before: Picture, after: Picture) -> None:
        """P3, P4: whole seats, capacity, what was given by hand."""
        assert not after.faults(), after.faults()
        assert self.by_hand <= after.members, "P3: given by hand, and gone"
        allowed = await self._capacity()
        used, start = (Counter(row[1:3] for row in picture.seats.values()) for picture in (after, before))
        gained = {row[1:3] for seat, row in after.seats.items() if before.seats.get(seat, ("",) * 4)[1:3] != row[1:3]}
        over = [
            pool for pool in used if used[pool] > (allowed[pool] if pool in gained else max(allowed[pool], start[pool]))
        ]
        assert not over, f"P4: {over} of {allowed}"
        for pool in used:
            self.happened["shortage"] += used[pool] > allowed[pool]
        self.happened["waited"] += len(after.waiting - before.waiting)
        self.happened["promoted from the waitlist"] += sum(
            (row[0], row[2]) in before.waiting for seat, row in after.seats.items() if seat not in before.seats
        )
        for what, state in (("became a leaver", "absent"), ("became a leaver", "disabled"), ("removed", "removed")):
            self.happened[what] += sum(row[1] == state != before.people.get(who, ("", ""))[1]
                                       for who, row in after.people.items())  # fmt: skip
        moved = {row[0] for row in before.members - after.members} & {row[0] for row in after.members - before.members}
        self.happened["moved"] += len(moved)
        self.happened["joined a group"] += len(after.groups - before.groups)
        self.happened["left a group"] += len(before.groups - after.groups)

    async def _capacity(self) -> Counter[tuple[str, str]]:
        found: Counter[tuple[str, str]] = Counter()
        async with self.ledger.read(ORGANIZATION.id) as reader:
            for item in await seats.open_subscriptions(reader):
                if item.starts_on <= self.now.date() < item.ends_on:
                    found[item.team_id, item.offering_code] += item.quantity
        return found

    async def _counted(self, outcome: RunOutcome) -> None:
        """A4: the counts of a run are those of what it committed; one invite is mailed for each Invite."""
        witness = await self._witness(outcome.run_id)
        kinds = Counter(change[0] for changes in witness.values() for change in changes)
        async with self.ledger.read(ORGANIZATION.id) as reader:
            row = await runs.get(reader, outcome.run_id)
            mails = await reader.tuples(reader.select(outbox, "subject").where(
                outbox.c.run_id == outcome.run_id, outbox.c.kind == "invite.mail"))  # fmt: skip
        assert row is not None
        assert kinds == Counter(outcome.counts) == Counter(row.counts), f"A4: {kinds} {outcome.counts}"
        invited = sorted(who for who, changes in witness.items() if any(change[0] == "Invite" for change in changes))
        assert sorted(mail[0] for mail in mails) == invited, "the outbox matches the invites"
        self.happened["invited"] += len(invited)
        self.invited += len(invited)

    async def _settled(self, outcome: RunOutcome) -> None:
        again = await run.plan(self.ledger, self.setup, now=self.now)
        held = {change.key for bundle in again.guarded.held for change in bundle.changes}
        freed = await self._freed(outcome.run_id)
        left = [change.key for bundle in again.plan.bundles for change in bundle.changes
                if change.key not in held and not _takes(bundle, freed)]  # fmt: skip
        first = await self._held_by(outcome)
        if outcome.counts.get("Reinstate") and not first <= held:
            self._count("returns widened a limit")  # they are people of the organization again (G1)
            return
        # a seat dealt to somebody whose change is held goes to who waits for it by now, in the next run
        dealt = {key[2] for key in first if key[1] == Kind.ASSIGN_SEAT}
        left = [key for key in left if key[1] not in {Kind.ASSIGN_SEAT, Kind.WAIT} or key[2] not in dealt]
        assert not left, f"apply, then plan: {left}"

    async def _held_by(self, outcome: RunOutcome) -> set[Any]:
        """Keys of the changes that this run held."""
        async with self.ledger.read(ORGANIZATION.id) as reader:
            sets = [item for item in await runs.held_sets(reader, ("open",)) if item.digest == outcome.held]
        return {change_key(change) for item in sets for change in item.changes}

    async def _freed(self, run_id: str) -> set[str]:
        """Addresses of people whom this run removed: somebody else may be given one by the next run, not by the same,
        in which one address would be two people."""
        witness = await self._witness(run_id)
        removed = {who for who, changes in witness.items() if any(change[0] == "RemoveIdentity" for change in changes)}
        async with self.ledger.read(ORGANIZATION.id) as reader:
            return {row[3] for row in await people.open_identities(reader) if row[1] in removed}

    async def _undo(self, run_id: str, before: Picture | None) -> None:
        """``before`` given: nothing happened since, so all of it comes back. It takes nothing another run gave."""
        start, now = await self._picture(), self.now + timedelta(minutes=1)
        self.now = now
        if "open" not in self.gates.values():
            return
        request = {"actor": "ada", "reason": "wrong", "now": now, "fence": ALONE}
        shown = await run.undo(self.ledger, self.setup, run_id, dry_run=True, **request)  # type: ignore[arg-type]
        assert await self._picture() == start, "a dry run writes nothing"
        done = await run.undo(self.ledger, self.setup, run_id, dry_run=False, **request)  # type: ignore[arg-type]
        assert done.changes == shown.changes, "A3: it does what it showed"
        assert done.outcome is not None
        self.expected_runs += 1
        after = await self._picture()
        await self._holds(start, after)
        self.evidence.remember(start, after, now)
        self.moments.keep(now, after)
        self.went = []
        self._count("undone at once" if before else "undone later")
        async with self.ledger.read(ORGANIZATION.id) as reader:
            ended = {
                **await people.touched_by(reader, done.outcome.run_id),
                **await seats.touched_by(reader, done.outcome.run_id),
                **await kept_groups.touched_by(reader, done.outcome.run_id),
            }
        foreign = [
            (name, row.run_id)
            for name, rows in ended.items()
            for row in rows
            if row.ended_run == done.outcome.run_id and row.run_id != run_id and name != "waiting"
        ]  # a place in line ends with the seat that comes back
        assert not foreign, f"A3: ended what another run gave: {foreign}"
        if before is not None and not done.kept and not await self._over(before):
            known = {who: after.people[who] for who in before.people}
            assert known == before.people, "A3: people as they were"
            assert (after.members, after.seats, after.grants) == (before.members, before.seats, before.grants), "A3"
            assert after.groups == before.groups, "A3: kept groups"
            assert all(state == "removed" for who, (_, state) in after.people.items() if who not in before.people)
        elif before is not None:
            self._count("undone in part")

    async def _over(self, picture: Picture) -> bool:
        """Whether some pool held more than the day's terms allow: then capacity does not remain."""
        allowed = await self._capacity()
        used = Counter(row[1:3] for row in picture.seats.values())
        return any(used[pool] > allowed[pool] for pool in used)

    async def _look_back(self) -> None:
        """Once, at the end: history, audit chain, outbox, runs."""
        async with self.ledger.write(ORGANIZATION.id, ALONE, at=self.now) as book:
            await audit.seal(book)
        async with self.ledger.read(ORGANIZATION.id) as reader:
            verdict = await audit.verify(reader)
            assert verdict.ok, verdict
            assert not (broken := await broken_intervals(reader)), broken[:5]
            different = await self.moments.differences(reader, every=1 if len(self.moments.kept) < 100 else 3)
            assert not different, different[:5]
            mails = await reader.tuples(reader.select(outbox, "subject").where(outbox.c.kind == "invite.mail"))
            assert len(mails) == len(set(mails)) == self.invited, "nobody is invited twice"
            told = await reader.tuples(reader.select(outbox, "subject").where(outbox.c.kind == "plan.held"))
            known = ("open", "approved", "applied", "superseded", "expired")
            assert {row[0] for row in told} == {item.digest for item in await runs.held_sets(reader, known)}
            assert len(await runs.latest(reader, limit=100_000)) == self.expected_runs, "A4: every run is recorded"

    async def _picture(self) -> Picture:
        async with self.ledger.read(ORGANIZATION.id) as reader:
            return await Picture.of(reader)

    async def _witness(self, run_id: str) -> dict[str, list[list[str]]]:
        """Identity → changes, as the audit log keeps them for one run."""
        events, payloads = audit_tables.audit_event, audit_tables.audit_payload
        async with self.ledger.read(ORGANIZATION.id) as reader:
            rows = await reader.tuples(
                reader.select(events, "subject").add_columns(payloads.c.payload).where(
                    events.c.run_id == run_id, events.c.verb == "run.person", payloads.c.seq == events.c.seq,
                    payloads.c.organization_id == events.c.organization_id))  # fmt: skip
        return {row[0]: msgspec.json.decode(row[1])["changes"] for row in rows}


def _takes(bundle: Bundle, freed: Collection[str]) -> bool:
    """Whether somebody is given one of these addresses."""
    return any(change.after in freed for change in bundle.changes) or (not bundle.identity and bundle.subject in freed)


def _named(change: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(change[name]) for name in ("kind", "object", "before", "after", "mapping"))


def _about_someone(what: str, act: Callable[[Year, Told, str], bool | None]) -> Callable[[Year], None]:
    def happen(year: Year) -> None:
        found = year._someone()
        if found is not None and act(year, *found) is not False:
            year._count(what)

    return happen


def _leave(year: Year, source: Told, uid: str) -> None:
    source.drop(uid)


def _bury(year: Year, source: Told, uid: str) -> None:
    source.tombstones.add(source.people[uid].key)
    source.drop(uid)


def _linger(year: Year, source: Told, uid: str) -> bool:
    """The entry goes, and its groups are not told."""
    groups = _groups_of(source, uid)
    for name in groups:
        source.unresolved.setdefault(name, set()).add(source.people[uid].entry().dn)
    source.drop(uid)
    return bool(groups)


def _untold(year: Year, source: Told, uid: str) -> bool:
    """Another name for the same entry, and its groups are not told."""
    groups = _groups_of(source, uid)
    for name in groups:
        source.unresolved.setdefault(name, set()).add(source.people[uid].entry().dn)
    _called(year, source, uid, ())
    return bool(groups)


def _told(year: Year, source: Told, uid: str) -> None:
    """Another name for the same entry, and its groups follow."""
    _called(year, source, uid, _groups_of(source, uid))


def _called(year: Year, source: Told, uid: str, groups: Sequence[str]) -> None:
    person = source.people[uid]
    year.names += 1
    source.drop(uid)
    source.put(replace(person, uid=f"u{year.names}", anchor=person.key, mail=person.mail or f"{uid}@acme.example"),
               groups=groups)  # fmt: skip


def _clean(year: Year) -> None:
    """An administrator takes a stale value out of a group."""
    stale = [(source, name) for source in year.sources.values() for name, values in source.unresolved.items() if values]
    if stale:
        source, name = year.chance.choice(stale)
        source.unresolved[name].remove(year.chance.choice(sorted(source.unresolved[name])))
        year._count("stale value removed")


def _groups_of(source: Told, uid: str) -> list[str]:
    return [name for name, members in source.groups.items() if uid in members]


def _switch(year: Year, source: Told, uid: str) -> None:
    source.change(uid, disabled=not source.people[uid].disabled)


def _move(year: Year, source: Told, uid: str) -> bool:
    old = _groups_of(source, uid)
    new = [name for name in source.groups if name not in old]
    if not new:
        return False
    for name in old:
        source.groups[name].remove(uid)
    source.groups[year.chance.choice(new)].append(uid)
    return True


def _more(year: Year, source: Told, uid: str) -> bool:
    name = year.chance.choice(GROUPS[source.id])
    if uid in source.groups[name]:
        return False
    source.groups[name].append(uid)
    return True


def _rename(year: Year, source: Told, uid: str) -> None:
    source.change(uid, name=f"{uid} {year.names} {year.chance.randint(0, 9)}")


def _readdress(year: Year, source: Told, uid: str) -> None:
    """A new address; now and then somebody else's old one (a collision, or a recycled address)."""
    year.names += 1
    other = year._someone()
    taken = other is not None and year.chance.random() < 0.15
    mail = other[0].people[other[1]].mail if other is not None and taken else f"{uid}.{year.names}@acme.example"
    source.change(uid, mail=mail)


def _rehire(year: Year, source: Told, uid: str) -> None:
    year.names += 1
    source.change(uid, anchor=f"again-{uid}-{year.names}")


def _garble(year: Year, source: Told, uid: str) -> None:
    source.change(uid, broken=not source.people[uid].broken)


EVENTS: tuple[Callable[[Year], None], ...] = (
    *(Year._join, Year._join, Year._join, Year._join),
    *(_about_someone("moved in the directory", _move), _about_someone("moved in the directory", _move)),
    *(_about_someone("left", _leave), _about_someone("left", _leave), _about_someone("tombstone", _bury)),
    *(_about_someone("disabled or enabled", _switch), _about_someone("disabled or enabled", _switch)),
    *(_about_someone("one more group", _more), _about_someone("renamed", _rename)),
    *(_about_someone("new address", _readdress), _about_someone("rehired", _rehire)),
    _about_someone("unmappable or mended", _garble),
    *(_about_someone("left, groups not told", _linger), _about_someone("renamed, groups not told", _untold), _clean),
    _about_someone("renamed, groups told", _told),
)
