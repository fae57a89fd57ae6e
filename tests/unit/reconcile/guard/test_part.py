"""A part of a plan that is applied alone (decision 0033): whom it means, and that it slips past nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from connector.reconcile.desired.ground import Ground
from connector.reconcile.diff.diff import Draft
from connector.reconcile.guard.guard import Guarded, guard
from connector.reconcile.guard.limits import Permit, Windows
from connector.reconcile.guard.part import ADDRESS, LINE, SEAT, ZERO, part_of
from connector.reconcile.plan.changes import Harm, Kind
from tests.parts.directories import HandSource, Somebody, mapping, policy
from tests.parts.effort import examples
from tests.parts.plan_outcomes import Standing
from tests.parts.random_organization import Organization, organizations
from tests.unit.reconcile.test_pipeline import NONE, absent, ground, holding, plan_for
from tests.unit.reconcile.test_pipeline_properties import check_result, planned
from tests.unit.reconcile.test_pipeline_properties import ground as ground_of


def people(*uids: str) -> HandSource:
    source = HandSource()
    source.put(*(Somebody(uid, number=f"n{uid}") for uid in uids), groups=["design"])
    return source


def part(draft: Draft, stands: Ground, *subjects: str, windows: Windows | None = None, **permit: Any) -> Guarded:
    chosen = frozenset(f"{uid}@acme.example" for uid in subjects)
    return guard(draft, stands, windows or Windows(), Permit(part=chosen, **permit))


def going(result: Guarded) -> list[str]:
    return [bundle.subject.partition("@")[0] for bundle in result.allowed]


def invites(draft: Draft) -> frozenset[Any]:
    return frozenset(c.key for b in draft.plan.bundles for c in b.changes if c.harm is Harm.INVITE)


@pytest.fixture
def moved() -> tuple[Draft, Ground]:
    """Ann leaves for another Team, bo is renamed, cy disabled, dan and eve are new; fay changes nothing."""
    chosen = policy(mapping("design", "Design", "CAD", group="cn=design,dc=acme"), mapping("site", "Site", "CAD"))
    source = HandSource()
    source.put("ann", "bo", "cy", "fay", groups=["cn=design,dc=acme"])
    source.put("gus", groups=["site"])
    recorded = holding(chosen, source, absences=absent("ann", scope="group:cn=design,dc=acme"))
    source.move("ann", "cn=design,dc=acme", "site")
    source.change("bo", mail="bob@acme.example")
    source.change("cy", disabled=True)
    source.put("dan", groups=["cn=design,dc=acme"])
    source.put("eve", groups=["site"])
    return plan_for(source, chosen, recorded), ground(recorded, chosen)


@pytest.mark.parametrize(
    ("only", "meant"),
    [
        (["dan@acme.example"], "dan"),
        (["DAN@acme.example"], "dan"),
        (["bo@acme.example"], "bo"),
        (["bob@acme.example"], "bo"),
        (["Design"], "ann bo cy dan"),
        (["design"], "ann bo cy dan"),
        (["CN=design,dc=acme"], "ann bo cy dan"),
        (["site"], "ann eve"),
        (["eve@acme.example", "cy@acme.example"], "cy eve"),
        (["site", "Design"], "ann bo cy dan eve"),
        (["fay@acme.example"], ""),
        (["Nowhere"], ""),
    ],
)
def test_a_part_is_named_by_addresses_teams_mappings_and_groups(
    moved: tuple[Draft, Ground], only: list[str], meant: str
) -> None:
    draft, stands = moved
    found = part_of(draft.plan, only, stands)
    assert [bundle.subject.partition("@")[0] for bundle in found.bundles] == meant.split()
    whole = {bundle.subject: bundle for bundle in draft.plan.bundles}
    assert all(bundle == whole[bundle.subject] for bundle in found.bundles), "a person with everything of theirs"
    assert found.digest != draft.plan.digest, "also where it is everybody"
    assert found.digest == part_of(draft.plan, only[::-1], stands).digest


def test_p4_a_part_leaves_the_seats_of_who_comes_first_and_counts_on_nobody_outside() -> None:
    chosen = policy(mapping("leads", "Design", "CAD", priority=5), mapping("design", "Design", "CAD", priority=10))
    source = people("ann", "ben")
    recorded = holding(chosen, source, seats=4, absences=absent("ben"))
    source.drop("ben")
    source.put(*(Somebody(uid) for uid in ("cy", "dan")), groups=["leads"])
    source.put(*(Somebody(uid) for uid in ("eve", "fay")), groups=["design"])
    draft, stands = plan_for(source, chosen, recorded), ground(recorded, chosen)
    assert draft.plan.counts["AssignSeat"] == 2, "of four seats two are held; a pause gives none back"
    assert going(part(draft, stands, "cy", "dan")) == ["cy", "dan"]
    assert going(part(draft, stands, "dan")) == ["dan"], "the second seat of two"
    alone = part(draft, stands, "fay")
    assert (going(alone), dict(alone.needing)) == ([], {"fay@acme.example": LINE}), "eve stands before her"
    assert going(part(draft, stands, "eve")) == ["eve"]
    assert going(part(draft, stands, "eve", "fay")) == ["eve", "fay"]


def test_p4_neither_an_approval_nor_a_part_takes_a_seat_that_stands_for_who_comes_first() -> None:
    chosen = policy(mapping("leads", "Design", "CAD", priority=5), mapping("design", "Design", "CAD", priority=10))
    source = people("cy", "dan", "eve")
    recorded = holding(chosen, source, seats=4, absences=absent("cy", scope="group:design"))
    source.groups["design"].remove("cy")
    source.put("ann", groups=["design"])
    source.put("ben", groups=["leads"])
    draft, stands = plan_for(source, chosen, recorded), ground(recorded, chosen)
    keys = {uid: {c.key for b in draft.plan.bundles for c in b.changes if c.subject.startswith(uid)}
            for uid in ("ann", "ben", "cy")}  # fmt: skip

    def seats(*uids: str) -> list[str]:
        named = frozenset[Any]().union(*(keys[uid] for uid in uids))
        result = guard(draft, stands, Windows(), Permit(named, only=True))
        return [c.subject for b in result.allowed for c in b.changes if c.kind is Kind.ASSIGN_SEAT]

    assert seats("ann") == [], "the one free seat stands for ben, and cy has not given hers back"
    assert seats("ben") == ["ben@acme.example"]
    assert seats("ann", "cy") == ["ann@acme.example"]
    assert seats("ann", "ben", "cy") == ["ann@acme.example", "ben@acme.example"]
    alone = part(draft, stands, "ann")
    assert (going(alone), dict(alone.needing)) == ([], {"ann@acme.example": SEAT}), "the same of a part"
    assert going(part(draft, stands, "ben")) == ["ben"]
    assert going(part(draft, stands, "ann", "cy")) == ["ann", "cy"]
    assert going(part(draft, stands, "ann", "ben")) == ["ben"], "cy's is not there yet"


def test_p4_a_seat_that_somebody_outside_gives_back_is_not_there_yet() -> None:
    chosen = policy(mapping("design", "Design", "CAD"))
    source = people("ann", "ben", "cy")
    recorded = holding(chosen, source, seats=3, absences=absent("ann", scope="group:design"))
    source.groups["design"].remove("ann")
    source.put(Somebody("new"), groups=["design"])
    draft, stands = plan_for(source, chosen, recorded), ground(recorded, chosen)
    assert {c.kind for b in draft.plan.bundles for c in b.changes} >= {Kind.RELEASE_SEAT, Kind.ASSIGN_SEAT}
    alone = part(draft, stands, "new")
    assert (going(alone), dict(alone.needing)) == ([], {"new@acme.example": SEAT}), "all of one person or nothing"
    assert going(part(draft, stands, "ann", "new")) == ["ann", "new"]
    assert going(part(draft, stands, "ann")) == ["ann"]


def test_r8_a_part_leaves_no_team_to_nobody_though_the_whole_brings_somebody() -> None:
    chosen = policy(mapping("design", "Design", "CAD"), mapping("site", "Site", "CAD"))
    source = people("ann")
    source.put("eve", groups=["site"])
    recorded = holding(chosen, source, absences=absent("ann", scope="group:design"))
    source.groups["design"].remove("ann")
    source.put("new", groups=["design"])
    draft, stands = plan_for(source, chosen, recorded), ground(recorded, chosen)
    assert "ann" in going(part(draft, stands, "ann", "new"))
    alone = part(draft, stands, "ann")
    assert (going(alone), dict(alone.needing)) == ([], {"ann@acme.example": ZERO})
    assert not alone.held, "there is nothing to approve: it waits for the whole"


def test_d9_whoever_takes_an_address_waits_for_who_is_outside_and_has_it() -> None:
    chosen = policy(mapping("design", "Design", "CAD"))
    source = people("ann", "ben", "cy")
    recorded = holding(chosen, source)
    source.change("ann", mail="ann.new@acme.example")
    source.change("ben", mail="ann@acme.example")
    draft, stands = plan_for(source, chosen, recorded), ground(recorded, chosen)
    alone = part(draft, stands, "ben")
    assert (going(alone), dict(alone.needing)) == ([], {"ben@acme.example": ADDRESS})
    assert going(part(draft, stands, "ann", "ben")) == ["ann", "ben"]


def leavers() -> tuple[Draft, Ground, list[str]]:
    chosen = policy(mapping("design", "Design", "CAD"), limits={"day_floor": 3, "day_percent": 0, "team_day_floor": 3})
    source = people(*(f"p{number:02}" for number in range(20)))
    recorded = holding(chosen, source)
    gone = [f"p{number:02}" for number in range(10)]
    for uid in gone:
        source.change(uid, disabled=True)
    return plan_for(source, chosen, recorded), ground(recorded, chosen), gone


def test_g1_what_is_too_much_as_a_whole_is_too_much_in_every_part() -> None:
    draft, stands, gone = leavers()
    for size in (1, 2, 3, 10):
        for start in range(0, 10, size):
            some = gone[start : start + size]
            result = part(draft, stands, *some)
            assert (going(result), len(result.held)) == ([], len(some))
            assert any("disable and pause of 10 people" in reason or "of 10 people" in reason
                       for reason in (trip.text for trip in result.trips))  # fmt: skip
    assert not part(draft, stands).trips, "nothing is said of who is not in it"


def test_g1_invites_are_counted_where_they_are_sent_and_the_digest_approves_no_more() -> None:
    chosen = policy(mapping("design", "Design", "CAD"), limits=NONE | {"day_floor": 2})
    source = people(*(f"p{number}" for number in range(9)))
    recorded = holding(chosen, HandSource(), seats=99)
    draft, stands = plan_for(source, chosen, recorded), ground(recorded, chosen)
    assert going(part(draft, stands, "p1", "p2")) == ["p1", "p2"], "two of nine are asked now"
    assert len(part(draft, stands, "p1", "p2", "p3").held) == 3
    assert going(part(draft, stands, "p1", "p2", "p3", keys=invites(draft))) == ["p1", "p2", "p3"]
    assert not part(draft, stands, "p1", "p2", "p3", keys=invites(draft)).held


def drawn(organization: Organization, data: st.DataObject) -> tuple[Draft, Ground, Guarded, frozenset[str]]:
    draft, stands = planned(organization), ground_of(organization)
    windows = Windows({("organization", ""): len(organization.recorded.identities)})
    subjects = sorted({bundle.subject for bundle in draft.plan.bundles})
    chosen = frozenset(data.draw(st.lists(st.sampled_from(subjects), unique=True)) if subjects else [])
    permit = Permit(invites(draft), part=chosen)
    return draft, stands, guard(draft, stands, windows, permit), chosen


@examples(150)
@given(organizations(), st.data())
def test_a_part_is_of_the_whole_and_of_nobody_else(organization: Organization, data: st.DataObject) -> None:
    draft, stands, result, chosen = drawn(organization, data)
    windows = Windows({("organization", ""): len(organization.recorded.identities)})
    whole = guard(draft, stands, windows, Permit(invites(draft)))
    assert {bundle.subject for bundle in (*result.allowed, *result.held)} | result.needing.keys() <= chosen
    assert list(result.allowed) == [
        bundle for bundle in whole.allowed if bundle.subject in chosen and bundle.subject not in result.needing
    ], "what the whole would do now, and each person whole"
    assert list(result.held) == [bundle for bundle in whole.held if bundle.subject in chosen]
    everybody = frozenset(bundle.subject for bundle in draft.plan.bundles)
    same = guard(draft, stands, windows, Permit(invites(draft), part=everybody))
    assert (same.allowed, same.held, same.needing, same.trips) == (whole.allowed, whole.held, {}, whole.trips)
    event(f"waits for others: {sorted(set(result.needing.values()))}")


@examples(150)
@given(organizations(), st.data())
def test_what_holds_after_any_plan_holds_after_any_part(organization: Organization, data: st.DataObject) -> None:
    draft, _, result, _ = drawn(organization, data)
    end = check_result(organization, result.allowed)
    start = Standing.of(organization.recorded)
    before = start.members()
    assert [team for team, who in before.items() if who and not end.members().get(team)] == []
    free = dict(draft.allocation.free)
    for bundle in result.allowed:
        for change in bundle.changes:
            if change.kind is Kind.RELEASE_SEAT and (change.team, change.offering) in free:
                free[change.team, change.offering] += 1
    here = {(b.subject, c.team, c.offering) for b in result.allowed for c in b.changes
            if c.kind in {Kind.ASSIGN_SEAT, Kind.MOVE_SEAT}}  # fmt: skip
    for served in draft.allocation.served:
        if (served.subject, *served.pool) in here and served.frees in free:
            free[served.frees] += 1
    for pool, room in free.items():
        line = [served.subject for served in draft.allocation.served if served.pool == pool]
        for place, subject in enumerate(line):
            if (subject, *pool) in here:
                ahead = [other for other in line[:place] if other in going_whole(draft, organization)]
                assert len(ahead) < room, "P4: a seat that stands for somebody before them"


def going_whole(draft: Draft, organization: Organization) -> set[str]:
    """Who gets a seat now when the whole is applied."""
    windows = Windows({("organization", ""): len(organization.recorded.identities)})
    whole = guard(draft, ground_of(organization), windows, Permit(invites(draft)))
    return {b.subject for b in whole.allowed for c in b.changes if c.kind in {Kind.ASSIGN_SEAT, Kind.MOVE_SEAT}}
