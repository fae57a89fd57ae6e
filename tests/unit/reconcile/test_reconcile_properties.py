"""Properties over random organizations, readings and recorded states (directory-sync.md; the promise of design.md)."""

from __future__ import annotations

import copy
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.reconcile.decide import decide
from connector.reconcile.diff import Draft
from connector.reconcile.guard import Guarded, guard
from connector.reconcile.limits import Permit, Windows
from connector.reconcile.plan import REMOVALS, Kind
from connector.reconcile.policy import Policy
from connector.reconcile.recorded import GrantRow, MembershipRow, Recorded
from connector.reconcile.seeing import see
from connector.reconcile.sight import Domains
from tests.parts.directories import BASE, RULES, HandSource, Somebody, mapping, policy
from tests.unit.reconcile.test_reconcile_planning import holding

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
OPEN = Domains(frozenset({"acme.example"}))
PEOPLE = [f"p{number}" for number in range(8)]
GROUPS = ("design", "site", "lab")
RUNS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def rules(limits: dict[str, Any] | None = None) -> Policy:
    return policy(
        mapping("design", "Design", "CAD", "RENDER", priority=10),
        mapping("site", "Site", "CAD", priority=20),
        mapping("lab", "Design", "CAD", priority=5),
        limits=limits,
    )


memberships = st.fixed_dictionaries({group: st.sets(st.sampled_from(PEOPLE)) for group in GROUPS})


@st.composite
def worlds(draw: st.DrawFn) -> tuple[HandSource, HandSource, int, dict[tuple[str, str, str], datetime]]:
    """(what was applied, what is seen now, seats per pool, recorded absences)."""
    before, after = HandSource(), HandSource()
    everybody = [Somebody(uid, number=f"n{uid}") for uid in PEOPLE]
    before.put(*everybody)
    before.groups = {group: sorted(members) for group, members in draw(memberships).items()}
    granted = {uid for members in before.groups.values() for uid in members}
    before.people = {uid: person for uid, person in before.people.items() if uid in granted}
    for person in everybody:
        fate = draw(st.sampled_from(["here", "here", "here", "gone", "disabled", "renamed", "broken"]))
        if fate == "gone":
            continue
        changes: dict[str, Any] = {
            "disabled": {"disabled": True}, "renamed": {"mail": f"new.{person.uid}@acme.example"},
            "broken": {"broken": True},
        }.get(fate, {})  # fmt: skip
        after.put(replace(person, **changes))
    after.groups = {group: sorted(members) for group, members in draw(memberships).items()}
    for scope in draw(st.sets(st.sampled_from([BASE, *(f"group:{group}" for group in GROUPS)]), max_size=2)):
        after.unknown[scope] = "cut off"
    when = st.sampled_from([NOW - timedelta(minutes=5), NOW - timedelta(hours=2)])
    scopes = st.sampled_from(["people", *(f"group:{group}" for group in GROUPS)])
    absences = draw(
        st.dictionaries(st.tuples(st.just("corp"), st.sampled_from([f"anchor-{u}" for u in PEOPLE]), scopes), when)
    )
    return before, after, draw(st.integers(0, 6)), absences


def planned(source: HandSource, chosen: Policy, recorded: Recorded) -> Draft:
    references = chosen.groups_of("corp")
    view = see(source.reading(references, NOW), references, RULES, NOW)
    return decide({"corp": view}, chosen, recorded, OPEN, NOW)


def recorded_of(
    chosen: Policy, before: HandSource, seats: int, absences: dict[tuple[str, str, str], datetime]
) -> Recorded:
    return holding(chosen, before, seats=seats, absences=absences)


def passed(draft: Draft, chosen: Policy, recorded: Recorded) -> Guarded:
    return guard(draft.plan, draft.allocation, recorded, chosen, Windows(), Permit())


@RUNS
@given(worlds())
def test_d3_nobody_outside_a_complete_scope_loses_anything(world: Any) -> None:
    before, after, seats, absences = world
    chosen = rules()
    plan = planned(after, chosen, recorded_of(chosen, before, seats, absences)).plan
    for bundle in plan.bundles:
        if not any(change.harm in REMOVALS for change in bundle.changes):
            continue
        person = after.people.get(bundle.identity)
        if person is None:
            assert BASE not in after.unknown, "absent from a base that was not read to its end"
        elif not person.disabled:
            for change in bundle.changes:
                if change.kind is Kind.LEAVE_TEAM:
                    assert f"group:{change.mapping}" not in after.unknown


@RUNS
@given(worlds())
def test_d3_no_harm_on_one_reading_without_positive_evidence(world: Any) -> None:
    before, after, seats, absences = world
    chosen = rules()
    plan = planned(after, chosen, recorded_of(chosen, before, seats, absences)).plan
    late = NOW - chosen.offboarding.confirm_after
    for bundle in plan.bundles:
        person = after.people.get(bundle.identity)
        if person is not None and person.disabled:
            continue
        for change in bundle.changes:
            if change.harm not in REMOVALS:
                continue
            scopes = ["people"] if person is None else [f"group:{group}" for group in GROUPS]
            firsts = [absences.get(("corp", f"anchor-{bundle.identity}", scope)) for scope in scopes]
            assert any(first is not None and first <= late for first in firsts)


@RUNS
@given(worlds())
def test_p4_seats_never_exceed_capacity_and_nobody_is_evicted(world: Any) -> None:
    before, after, seats, absences = world
    chosen = rules()
    recorded = recorded_of(chosen, before, seats, absences)
    result = passed(planned(after, chosen, recorded), chosen, recorded)
    used = Counter((seat.team_id, seat.offering_code) for rows in recorded.seats.values() for seat in rows)
    start = dict(used)
    old = {seat.id: (seat.team_id, seat.offering_code) for rows in recorded.seats.values() for seat in rows}
    for bundle in result.allowed:
        for change in bundle.changes:
            if change.kind is Kind.RELEASE_SEAT:
                used[old[change.ref]] -= 1
            elif change.kind is Kind.MOVE_SEAT:
                used[old[change.ref]] -= 1
                used[change.team, change.offering] += 1
            elif change.kind is Kind.ASSIGN_SEAT:
                used[change.team, change.offering] += 1
    for pool, count in used.items():
        assert count <= max(seats, start.get(pool, 0))


@RUNS
@given(worlds(), st.randoms(use_true_random=False))
def test_p1_the_plan_is_independent_of_input_order(world: Any, chance: random.Random) -> None:
    before, after, seats, absences = world
    chosen = rules()
    recorded = recorded_of(chosen, before, seats, absences)
    first = planned(after, chosen, recorded).plan
    shuffled = copy.deepcopy(after)
    people = list(shuffled.people.items())
    chance.shuffle(people)
    shuffled.people = dict(people)
    for members in shuffled.groups.values():
        chance.shuffle(members)
    mixed = {
        name: dict(chance.sample(list(value.items()), len(value))) if isinstance(value, dict) else value
        for name in recorded.__struct_fields__
        for value in [getattr(recorded, name)]
    }
    second = planned(shuffled, chosen, Recorded(**mixed)).plan
    assert second.digest == first.digest
    assert second.problems == first.problems


@RUNS
@given(worlds(), st.sampled_from(PEOPLE))
def test_p3_unowned_rows_never_change(world: Any, lucky: str) -> None:
    before, after, seats, absences = world
    chosen = rules()
    recorded = recorded_of(chosen, before, seats, absences)
    recorded.memberships.setdefault(lucky, []).append(MembershipRow("by-hand", "site", "manual"))
    for seat in recorded.seats.get(lucky, ()):
        recorded.grants[seat.id].append(GrantRow(f"hand-{seat.id}", seat.id, "site", "manual"))
    plan = planned(after, chosen, recorded).plan
    mine = {seat.id for seat in recorded.seats.get(lucky, ())}
    for bundle in plan.bundles:
        for change in bundle.changes:
            assert not change.ref.startswith(("by-hand", "hand-"))
            if change.ref in mine:
                assert change.kind is Kind.ADD_GRANT


@RUNS
@given(worlds())
def test_p2_no_mover_stands_in_two_teams(world: Any) -> None:
    before, after, seats, absences = world
    chosen = rules({"day_floor": 0, "day_percent": 0, "team_day_floor": 0, "team_day_percent": 0})
    recorded = recorded_of(chosen, before, seats, absences)
    result = passed(planned(after, chosen, recorded), chosen, recorded)
    left = {bundle.subject for bundle in result.held if any(c.kind is Kind.LEAVE_TEAM for c in bundle.changes)}
    for bundle in result.allowed:
        assert bundle.subject not in left or not any(change.kind is Kind.JOIN_TEAM for change in bundle.changes)


@RUNS
@given(worlds())
def test_g1_no_team_goes_to_zero_unapproved(world: Any) -> None:
    before, after, seats, absences = world
    chosen = rules()
    recorded = recorded_of(chosen, before, seats, absences)
    result = passed(planned(after, chosen, recorded), chosen, recorded)
    members: dict[str, set[str]] = {}
    for identity, rows in recorded.memberships.items():
        for row in rows:
            members.setdefault(row.team_id, set()).add(identity)
    left = copy.deepcopy(members)
    for bundle in result.allowed:
        for change in bundle.changes:
            who = bundle.identity or bundle.subject
            if change.kind in {Kind.DISABLE_IDENTITY, Kind.REMOVE_IDENTITY}:
                for people in left.values():
                    people.discard(who)
            elif change.kind is Kind.LEAVE_TEAM:
                left[change.team].discard(who)
            elif change.kind is Kind.JOIN_TEAM:
                left.setdefault(change.team, set()).add(who)
    for team, people in members.items():
        assert not people or left[team]


VALUES = ("", "Design", "Sales")


@RUNS
@given(
    st.fixed_dictionaries(
        {uid: st.tuples(st.sampled_from(VALUES), st.sampled_from(["", "PL", "DE"])) for uid in PEOPLE}
    ),
    st.sets(st.sampled_from(PEOPLE)),
    st.sets(st.sampled_from(PEOPLE)),
    st.dictionaries(
        st.tuples(st.sampled_from(PEOPLE), st.sampled_from(["department", "country"])),
        st.sampled_from([NOW - timedelta(minutes=5), NOW - timedelta(hours=2)]),
    ),
    st.booleans(),
)
def test_d3_a_filter_takes_nothing_on_one_reading_without_another_value(
    shown: Any, held: set[str], interns: set[str], notes: Any, cut: bool
) -> None:
    where = {"department": ["Design"], "country": ["PL"]}
    chosen = policy(mapping("design", "Design", "CAD", where=where, exclude_groups=["interns"]))
    source = HandSource()
    source.put(*(Somebody(uid, department=shown[uid][0], country=shown[uid][1]) for uid in PEOPLE))
    source.groups["interns"] = sorted(interns)
    if cut:
        source.unknown[BASE] = "cut off"
    recorded = holding(chosen, HandSource(people=source.people, groups={"": sorted(held)}), absences={
        ("corp", f"anchor-{uid}", f"where:design/{name}"): when for (uid, name), when in notes.items()
    })  # fmt: skip
    plan = planned(source, chosen, recorded).plan
    left = {b.identity for b in plan.bundles if any(c.harm in REMOVALS for c in b.changes)}
    late = NOW - chosen.offboarding.confirm_after
    for uid in held:
        other = shown[uid][0] == "Sales" or shown[uid][1] == "DE" or uid in interns
        hidden = [name for name, value in zip(("department", "country"), shown[uid], strict=True) if not value]
        confirmed = any(notes.get((uid, name), NOW) <= late for name in hidden)
        assert (uid in left) == (not cut and (other or confirmed))
    joined = {c.subject.partition("@")[0] for b in plan.bundles for c in b.changes if c.kind is Kind.JOIN_TEAM}
    assert joined == {uid for uid in PEOPLE if shown[uid] == ("Design", "PL")} - interns - held
