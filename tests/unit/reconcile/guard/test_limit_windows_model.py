"""G1: a model of both sliding windows. Whatever small runs, approvals, returns, growth and undos happen in between, no
stretch of 24 hours or 30 days sees more unapproved harm of one kind than its limit; counted here by brute force over
the whole log, without the guard's own arithmetic."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from connector.reconcile.desired.ground import Ground
from connector.reconcile.desired.seen import Domains
from connector.reconcile.diff.diff import Draft
from connector.reconcile.diff.seat_pools import Allocation
from connector.reconcile.guard.guard import guard
from connector.reconcile.guard.limits import ORGANIZATION, PastHarm, Permit, ScopeKey, Windows, logged_scopes, scopes_of
from connector.reconcile.plan.changes import Bundle, Change, Harm, Kind, Plan
from connector.reconcile.plan.recorded import IdentityRow, MembershipRow, Recorded, TeamRow
from tests.parts.directories import mapping, policy

DAY, MONTH = timedelta(days=1), timedelta(days=30)
TICK = timedelta(microseconds=1)
TEAMS = ("design", "site")
LIMITS = {
    "day_percent": 20,
    "day_floor": 2,
    "day_ceiling": 6,
    "month_percent": 40,
    "team_day_percent": 30,
    "team_day_floor": 1,
}
RULES = policy(mapping("design", "Design"), mapping("site", "Site"), limits=LIMITS)
PAUSES = st.sampled_from(
    [TICK, timedelta(hours=1), DAY - TICK, DAY, DAY + TICK, timedelta(days=7), MONTH - TICK, MONTH]
)
SOME = st.integers(0, 4)


@dataclass(frozen=True)
class Logged:
    """One harm that was applied, as the ledger keeps it."""

    at: datetime
    run: int
    kind: Harm
    who: str
    scopes: frozenset[ScopeKey]
    pairs: tuple[tuple[str, str], ...]
    approved: bool


def allowed(scope: ScopeKey, population: int) -> int:
    """The day limit, written down once more."""
    if scope[0] == ORGANIZATION:
        return min(max(2, population * 20 // 100), 6)
    return max(1, population * 30 // 100)


class SlidingWindows(RuleBasedStateMachine):
    """People in two Teams; runs take a few at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 3, 2, 9, tzinfo=UTC)
        self.people: dict[str, tuple[bool, frozenset[str]]] = {}
        self.history: list[tuple[datetime, dict[str, tuple[bool, frozenset[str]]]]] = []
        self.log: list[Logged] = []
        self.undone: dict[int, dict[str, tuple[bool, frozenset[str]]]] = {}
        self.runs = 0
        self.hired = 0
        self.first: datetime | None = None

    @initialize(people=st.sampled_from([2, 5, 12, 30, 40]))
    def found(self, people: int) -> None:
        """The first sync, applied by digest."""
        self._run(self._hire(people), approved=True)

    def _hire(self, count: int) -> list[Bundle]:
        found = []
        for _ in range(count):
            self.hired += 1
            name, team = f"p{self.hired}", TEAMS[self.hired % 2]
            join = Change(Kind.JOIN_TEAM, name, team, "", "member", team, team=team)
            found.append(Bundle(name, "", (Change(Kind.INVITE, name, harm=Harm.INVITE), join)))
        return found

    def _of(self, name: str, *changes: Change) -> Bundle:
        return Bundle(name, name, changes, teams=tuple((team, team) for team in sorted(self.people[name][1])))

    def _chosen(self, count: int, *, active: bool, offset: int = 0) -> list[str]:
        names = [name for name, (here, _) in sorted(self.people.items()) if here is active]
        return names[offset : offset + count]

    def _plan(self, disabled: int, leaving: int, renamed: int, back: int) -> list[Bundle]:
        """Some are disabled (two harms at once), some leave a Team, some are renamed or relinked, some come back."""
        bundles = []
        for name in self._chosen(disabled, active=True):
            pause = [Change(Kind.PAUSE_SEAT, name, harm=Harm.PAUSE, team=team) for team in sorted(self.people[name][1])]
            bundles.append(self._of(name, *pause, Change(Kind.DISABLE_IDENTITY, name, harm=Harm.DISABLE)))
        for name in self._chosen(leaving, active=True, offset=disabled):
            bundles.append(
                self._of(
                    name,
                    *(Change(Kind.LEAVE_TEAM, name, team, "member", "", team, Harm.LEAVE, team=team)
                      for team in sorted(self.people[name][1])),
                    *(Change(Kind.UPDATE_IDENTITY, name, "mail", harm=Harm.RENAME) for _ in range(renamed % 2)),
                )
            )  # fmt: skip
        for name in self._chosen(renamed, active=True, offset=disabled + leaving):
            kind, harm = (Kind.RELINK_ANCHOR, Harm.RELINK) if renamed > 2 else (Kind.UPDATE_IDENTITY, Harm.RENAME)
            bundles.append(self._of(name, Change(kind, name, harm=harm)))
        bundles += [self._of(name, Change(Kind.REINSTATE, name)) for name in self._chosen(back, active=False)]
        for name in self._chosen(back, active=True, offset=disabled + leaving + renamed):
            if not self.people[name][1]:
                bundles.append(
                    self._of(name, Change(Kind.JOIN_TEAM, name, TEAMS[0], "", "member", TEAMS[0], team=TEAMS[0]))
                )
        return [bundle for bundle in bundles if bundle.changes]

    @rule(pause=PAUSES, disabled=SOME, leaving=SOME, renamed=SOME, back=SOME, hired=SOME, approved=st.booleans())
    def run_some(self, pause: timedelta, approved: bool, hired: int, **counts: int) -> None:
        """One run, by the schedule or by an approval."""
        self.now += pause
        self._run([*self._plan(**counts), *self._hire(hired)], approved=approved)

    @rule(pause=PAUSES, percent=st.integers(50, 100))
    def everybody_leaves(self, pause: timedelta, percent: int) -> None:
        """The mass removal itself, unasked."""
        self.now += pause
        self._run(self._plan(len(self.people) * percent // 100, 0, 0, 0), approved=False)

    @rule(pause=PAUSES, percent=st.integers(50, 95))
    def a_site_closes(self, pause: timedelta, percent: int) -> None:
        """A mass removal that somebody approved."""
        self.now += pause
        self._run(self._plan(len(self.people) * percent // 100, 0, 0, 0), approved=True)

    @rule(which=st.integers(0, 5))
    def undo(self, which: int) -> None:
        """People of an earlier run are as they were, and its harm is forgotten (A3)."""
        run = self.runs - which
        if run not in self.undone:
            return
        self.now += TICK
        before = self.undone.pop(run)
        self.people.update(before)
        self.log = [item for item in self.log if item.run != run or item.who not in before]
        self.history.append((self.now, dict(self.people)))

    def _recorded(self) -> Recorded:
        rows = {
            name: IdentityRow("", name, name, name, "", "", "", "active" if here else "absent", "", "{}")
            for name, (here, _) in self.people.items()
        }
        members = {
            name: [MembershipRow(f"{name}-{team}", team, f"mapping:{team}") for team in sorted(teams)]
            for name, (_, teams) in self.people.items()
            if teams
        }
        teams = {team: TeamRow(team, team.title()) for team in TEAMS}
        return Recorded(identities=rows, memberships=members, teams=teams)

    def _population(self, scope: ScopeKey, at: datetime) -> int:
        state: dict[str, tuple[bool, frozenset[str]]] = {}
        for when, then in self.history:
            if when <= at:
                state = then
        return len(self._there(state, scope))

    def _there(self, state: dict[str, tuple[bool, frozenset[str]]], scope: ScopeKey) -> set[str]:
        return {
            name for name, (here, teams) in state.items() if here and (scope[0] == ORGANIZATION or scope[1] in teams)
        }

    def _windows(self) -> Windows:
        """What the store answers: harm after the window's start, populations at it."""
        if self.first is None:
            return Windows()
        scopes = [(ORGANIZATION, ""), *((kind, team) for kind in ("team", "mapping") for team in TEAMS)]
        day, month = max(self.now - DAY, self.first), max(self.now - MONTH, self.first)
        past = tuple(
            PastHarm(item.kind.value, item.who, team, name, item.at > self.now - DAY)
            for item in self.log
            if item.at > self.now - MONTH and not item.approved
            for team, name in item.pairs
        )
        counted = {scope: self._population(scope, day) for scope in scopes}
        return Windows(counted, self._population((ORGANIZATION, ""), month), past)

    def _run(self, bundles: list[Bundle], *, approved: bool) -> None:
        self.runs += 1
        bundles.sort(key=lambda bundle: bundle.subject)
        permit = Permit(everything=True) if approved else Permit()
        windows = Windows() if approved else self._windows()
        draft = Draft(Plan("", tuple(bundles)), Allocation(bundles=len(bundles)))
        made = guard(draft, Ground({}, self._recorded(), RULES, Domains(frozenset()), self.now), windows, permit)
        before = dict(self.people)
        for bundle in made.allowed:
            self._apply(bundle, approved=bundle.subject in made.approved)
        if made.allowed:
            self.first = self.first or self.now
            touched = {bundle.subject for bundle in made.allowed}
            self.undone[self.runs] = {name: before[name] for name in touched & before.keys()}
        self.history.append((self.now, dict(self.people)))
        if not approved:
            self._nobody_is_left_alone(before)

    def _apply(self, bundle: Bundle, *, approved: bool) -> None:
        name = bundle.subject
        here, teams = self.people.get(name, (True, frozenset()))
        for change in bundle.changes:
            here = (here or change.kind is Kind.REINSTATE) and change.kind is not Kind.DISABLE_IDENTITY
            if change.kind is Kind.JOIN_TEAM:
                teams |= {change.team}
            elif change.kind is Kind.LEAVE_TEAM:
                teams -= {change.team}
            if change.harm and not (approved and change.harm is Harm.INVITE):
                pairs = tuple(logged_scopes(bundle, change))
                scopes = frozenset(scopes_of(bundle, change))
                self.log.append(Logged(self.now, self.runs, change.harm, name, scopes, pairs, approved))
        self.people[name] = (here, teams)

    def _nobody_is_left_alone(self, before: dict[str, tuple[bool, frozenset[str]]]) -> None:
        for team in TEAMS:
            if self._there(before, ("team", team)):
                assert self._there(self.people, ("team", team)), f"{team} went to zero unapproved"

    def _live(self, since: datetime, until: datetime) -> Iterable[tuple[ScopeKey, Harm, set[str]]]:
        """(scope, kind, people) of unapproved harm in [since, until]."""
        found: dict[tuple[ScopeKey, Harm], set[str]] = {}
        for item in self.log:
            if since <= item.at <= until and not item.approved:
                for scope in item.scopes:
                    found.setdefault((scope, item.kind), set()).add(item.who)
        for (scope, kind), who in found.items():
            yield scope, kind, who

    @invariant()
    def no_day_sees_more_than_its_limit(self) -> None:
        """Every stretch of 24 hours that ends with a harm, its earliest instant excluded."""
        if self.first is None:
            return
        for until in {item.at for item in self.log}:
            start = until - DAY
            for scope, kind, who in self._live(start + TICK, until):
                population = self._population(scope, max(start, self.first))
                assert len(who) <= allowed(scope, population), (scope, kind, sorted(who), population)

    @invariant()
    def no_month_sees_more_than_its_limit(self) -> None:
        """The same for 30 days and the organization."""
        if self.first is None:
            return
        for until in {item.at for item in self.log}:
            start = until - MONTH
            for scope, kind, who in self._live(start + TICK, until):
                if scope[0] == ORGANIZATION and kind is not Harm.INVITE:
                    population = self._population(scope, max(start, self.first))
                    assert len(who) <= max(2, population * 40 // 100), (kind, sorted(who), population)


def test_g1_small_runs_leak_nothing_past_either_window() -> None:
    chosen = settings(max_examples=80, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(SlidingWindows, settings=chosen)
