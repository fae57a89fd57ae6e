"""Planning and guarding as pure functions: who is who, what is harm, what is held. Names cite directory-sync.md."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest

from connector.directory.mapping import Person
from connector.reconcile.desired.ground import Ground
from connector.reconcile.desired.seen import Domains, SourceSeen
from connector.reconcile.diff.diff import Draft
from connector.reconcile.evidence.stated import Signs
from connector.reconcile.guard.guard import Guarded, guard
from connector.reconcile.guard.limits import ORGANIZATION, PastHarm, Permit, Windows, day_limit
from connector.reconcile.pipeline import decide
from connector.reconcile.plan.changes import Kind
from connector.reconcile.plan.recorded import (
    GrantRow,
    IdentityRow,
    LinkRow,
    MembershipRow,
    Recorded,
    SeatRow,
    TeamRow,
    WaitRow,
)
from connector.reconcile.plan.settings import LimitSettings, MappingSettings, TeamSettings
from connector.reconcile.policy.policy import Policy
from connector.reconcile.reading.whole import see
from connector.reconcile.show.outcome import Planned
from ledger.errors import ManyErrors
from ledger.seat import Subscription, Tier
from tests.parts.directories import BASE, RULES, HandSource, Somebody, mapping, policy

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
OPEN = Domains(frozenset({"acme.example"}))
CONFIRMED = NOW - timedelta(hours=1)
NONE = {"day_floor": 0, "day_percent": 0, "month_percent": 0, "team_day_floor": 0, "team_day_percent": 0}


def seen(source: HandSource, chosen: Policy) -> SourceSeen:
    references = chosen.groups_of(source.id)
    return see(source.reading(references, NOW), references, replace(RULES, source_id=source.id), NOW)


def plan_for(
    source: HandSource,
    chosen: Policy,
    recorded: Recorded,
    *others: HandSource,
    domains: Domains = OPEN,
    once: tuple[str, ...] = (),
) -> Draft:
    """``once``: signs of disabled accounts that the first directory showed before."""
    everything = {item.id: seen(item, chosen) for item in (source, *others)}
    first = everything[source.id]
    everything[source.id] = msgspec.structs.replace(first, signs=first.signs.after(Signs(once)))
    return decide(Ground(everything, recorded, chosen, domains, NOW))


def ground(recorded: Recorded, chosen: Policy) -> Ground:
    """What the guard needs to stand on: no directory."""
    return Ground({}, recorded, chosen, OPEN, NOW)


def guarded(draft: Draft, chosen: Policy, recorded: Recorded, **values: Any) -> Guarded:
    windows = Windows(values.get("day", {}), values.get("month", 0), values.get("past", ()))
    return guard(draft, ground(recorded, chosen), windows, values.get("permit", Permit()))


def holding(chosen: Policy, source: HandSource, seats: int = 100, **changes: Any) -> Recorded:
    """The ledger after everything in ``source`` was applied: ids are made from uids."""
    teams = {rule.team_key: TeamRow(rule.team_key, rule.team) for rule in chosen.rules.values()}
    identities: dict[str, IdentityRow] = {}
    links: dict[str, dict[str, LinkRow]] = {}
    memberships: dict[str, list[MembershipRow]] = {}
    held: dict[str, list[SeatRow]] = {}
    grants: dict[str, list[GrantRow]] = {}
    view = seen(source, chosen)
    for anchor, person in view.people.items():
        assert isinstance(person, Person)
        uid = person.dn.partition(",")[0].removeprefix("uid=")
        attributes = msgspec.json.encode(person.attributes, order="deterministic").decode()
        identities[uid] = IdentityRow(f"row-{uid}", uid, person.mail.text, person.mail.key, person.given_name,
                                      person.family_name, person.display_name, "active", person.employee_number,
                                      attributes)  # fmt: skip
        links.setdefault(source.id, {})[anchor] = LinkRow(f"link-{uid}", uid, source.id, anchor, person.fingerprint)
    for rule in chosen.rules.values():
        for uid in source.groups.get(rule.group, ()):
            memberships.setdefault(uid, []).append(MembershipRow(f"m-{uid}-{rule.id}", rule.team_key, rule.provenance))
            for code in rule.offerings:
                seat = f"s-{uid}-{code}"
                if all(row.id != seat for row in held.get(uid, ())):
                    held.setdefault(uid, []).append(
                        SeatRow(f"r-{seat}", seat, f"sub-{rule.team_key}", rule.team_key, code, uid, "active", "")
                    )
                grants.setdefault(seat, []).append(
                    GrantRow(f"g-{seat}-{rule.id}", seat, rule.team_key, rule.provenance)
                )
    codes = {code for rule in chosen.rules.values() for code in rule.offerings}
    sold = tuple(
        Subscription(f"sub-{team}", team, code, seats, Tier.BUSINESS, date(2026, 1, 1), date(2027, 1, 1))
        for team in teams
        for code in sorted(codes)
    )
    values: dict[str, Any] = {
        "identities": identities,
        "links": links,
        "memberships": memberships,
        "seats": held,
        "grants": grants,
        "teams": teams,
        "offerings": frozenset(codes),
        "subscriptions": sold,
    }
    return Recorded(**{**values, **changes})


@pytest.fixture
def chosen() -> Policy:
    return policy(mapping("design", "Design", "CAD", priority=10), mapping("site", "Site", "CAD", priority=20))


@pytest.fixture
def source() -> HandSource:
    directory = HandSource()
    directory.put(*(Somebody(uid, number=f"n{uid}") for uid in ("anna", "bo", "cy", "dan")), groups=["design"])
    directory.put(*(Somebody(uid, number=f"n{uid}") for uid in ("eve", "fay")), groups=["site"])
    return directory


def absent(*uids: str, scope: str = "people", when: datetime = CONFIRMED) -> dict[tuple[str, str, str], datetime]:
    return {("corp", f"anchor-{uid}", scope): when for uid in uids}


def codes(draft: Draft) -> set[str]:
    return {problem.code for problem in draft.plan.problems}


def test_a_settled_ledger_plans_nothing(source: HandSource, chosen: Policy) -> None:
    draft = plan_for(source, chosen, holding(chosen, source))
    assert draft.plan.empty
    assert draft.plan.counts == {}


def test_p1_the_plan_ignores_input_order_and_source_details(source: HandSource, chosen: Policy) -> None:
    first = plan_for(source, chosen, holding(chosen, HandSource(), seats=3)).plan
    shuffled = HandSource("other")
    everybody = list(source.people.values())
    random.Random(1).shuffle(everybody)
    shuffled.people = {person.uid: replace(person, anchor=f"elsewhere-{person.uid}") for person in everybody}
    shuffled.groups = {name: members[::-1] for name, members in source.groups.items()}
    elsewhere = policy(
        mapping("site", "Site", "CAD", priority=20, directory="other"),
        mapping("design", "Design", "CAD", priority=10, directory="other"),
    )
    second = plan_for(shuffled, elsewhere, holding(chosen, HandSource(), seats=3)).plan
    assert second.digest == first.digest
    assert [bundle.subject for bundle in second.bundles] == [bundle.subject for bundle in first.bundles]


def test_p1_the_digest_names_every_part_of_a_change(source: HandSource, chosen: Policy) -> None:
    empty = holding(chosen, HandSource())
    first = plan_for(source, chosen, empty).plan.digest
    source.change("anna", name="Anna Other")
    assert plan_for(source, chosen, empty).plan.digest != first


def test_d2_a_missing_group_freezes_its_mapping_alone(source: HandSource, chosen: Policy) -> None:
    recorded = holding(chosen, source, absences=absent("bo", scope="group:design") | absent("eve", scope="group:site"))
    source.groups["site"].remove("eve")
    source.missing.add("design")
    draft = plan_for(source, chosen, recorded)
    assert draft.plan.counts == {"LeaveTeam": 1, "ReleaseSeat": 1}
    assert draft.plan.bundles[0].subject == "eve@acme.example"
    assert "group-missing" in codes(draft)


@pytest.mark.parametrize("scope", [BASE, "group:design"])
def test_d1_an_unknown_scope_takes_nothing(scope: str, source: HandSource, chosen: Policy) -> None:
    recorded = holding(chosen, source, absences=absent("anna") | absent("bo", scope="group:design"))
    source.unknown[scope] = "page 3: result 4 sizeLimitExceeded"
    source.drop("anna")
    if scope != BASE:
        source.put(Somebody("anna", number="nanna"))
    source.groups["design"] = []
    if scope == BASE:
        source.groups["design"] = ["bo", "cy", "dan"]
    draft = plan_for(source, chosen, recorded)
    assert draft.plan.empty
    nothing = guarded(draft, chosen, recorded)
    first = Planned(draft.plan, nothing).lines[0]
    assert first.startswith("UNKNOWN")
    assert "sizeLimitExceeded" in first
    assert first.endswith("Nobody leaves for absence because of it.")
    assert Planned(draft.plan, nothing).exit_code == 4


@pytest.mark.parametrize(
    ("since", "counts"),
    [
        (None, {}),
        (NOW - timedelta(minutes=14, seconds=59), {}),
        (NOW - timedelta(minutes=15), {"PauseSeat": 1, "DisableIdentity": 1}),
    ],
)
def test_d3_absence_needs_two_readings_apart(
    since: datetime | None, counts: dict[str, int], source: HandSource, chosen: Policy
) -> None:
    recorded = holding(chosen, source, absences=absent("bo", when=since) if since else {})
    source.drop("bo")
    draft = plan_for(source, chosen, recorded)
    assert draft.plan.counts == counts
    assert ("unconfirmed" in codes(draft)) is (not counts)


def test_d3_a_missing_sentinel_confirms_nothing(source: HandSource, chosen: Policy) -> None:
    recorded = holding(chosen, source, absences=absent("bo"))
    source.drop("bo")
    source.hidden_sentinels.add("uid=canary")
    draft = plan_for(source, chosen, recorded)
    assert draft.plan.empty
    assert any("sentinel" in scope.scope for scope in draft.plan.unknown)


def test_d3_a_tombstone_is_positive_evidence(source: HandSource, chosen: Policy) -> None:
    recorded = holding(chosen, source)
    source.drop("bo")
    source.tombstones.add("anchor-bo")
    assert plan_for(source, chosen, recorded).plan.counts == {"PauseSeat": 1, "DisableIdentity": 1}


def test_d3_seen_again_forgets_the_absence(source: HandSource, chosen: Policy) -> None:
    recorded = holding(chosen, source, absences=absent("bo") | absent("cy", scope="group:design"))
    notes = plan_for(source, chosen, recorded).plan.notes
    assert {(item.anchor, item.scope) for item in notes.seen_again} == {
        ("anchor-bo", "people"),
        ("anchor-cy", "group:design"),
    }


def test_d6_a_hidden_entry_that_its_group_still_lists_keeps_everything(source: HandSource, chosen: Policy) -> None:
    causes = {"bo": {"mapping:design": "uid=bo,ou=People → design → mapping design"}}
    recorded = holding(chosen, source, absences=absent("bo"), causes=causes)
    source.drop("bo")
    source.unresolved["design"] = {"UID=bo,ou=People"}
    draft = plan_for(source, chosen, recorded)
    assert draft.plan.empty
    assert {"doubt", "unresolved"} <= codes(draft)


def test_d8_unmappable_people_keep_what_they_have(source: HandSource, chosen: Policy) -> None:
    recorded = holding(chosen, source)
    source.change("bo", broken=True)
    draft = plan_for(source, chosen, recorded)
    assert draft.plan.empty
    assert "unmappable" in codes(draft)


def test_d9_two_entries_with_one_address_are_left_alone(source: HandSource, chosen: Policy) -> None:
    recorded = holding(chosen, source)
    source.put(Somebody("twin", mail="BO@acme.example"), Somebody("x1", mail="x@acme.example"), groups=["design"])
    source.put(Somebody("x2", mail="X@acme.example"), groups=["design"])
    draft = plan_for(source, chosen, recorded)
    assert draft.plan.empty
    assert sum(problem.code == "collision" for problem in draft.plan.problems) == 2


def test_d9_relink_by_employee_number_and_never_by_address_alone(source: HandSource, chosen: Policy) -> None:
    recorded = holding(chosen, source)
    source.drop("bo")
    source.put(Somebody("bo2", mail="new.bo@acme.example", number="nbo"), groups=["design"])
    assert plan_for(source, chosen, recorded).plan.counts == {"UpdateIdentity": 1, "RelinkAnchor": 1}
    source.change("bo2", mail="bo@acme.example", number="")
    draft = plan_for(source, chosen, recorded)
    made = guarded(draft, chosen, recorded)
    assert not made.allowed, "E6: a person decides, whatever the limits allow"
    assert made.held_counts["RelinkAnchor"] == 1
    assert all(
        said in made.trips[0].text for said in ("corp:anchor-bo ", "corp:anchor-bo2", "if it is the same person")
    )
    source.change("bo2", number="another")
    assert "recycled-mail" in codes(plan_for(source, chosen, recorded)), "two numbers: two people"


def test_d9_nothing_is_relinked_while_the_old_entry_may_exist(source: HandSource, chosen: Policy) -> None:
    recorded = holding(chosen, source)
    source.drop("bo")
    source.unknown[BASE] = "timeout"
    source.put(Somebody("bo2", mail="bo@acme.example", number="nbo"), groups=["design"])
    assert plan_for(source, chosen, recorded).plan.empty


def test_d10_one_unknown_source_never_removes_what_it_granted(source: HandSource, chosen: Policy) -> None:
    both = policy(mapping("design", "Design", "CAD"), mapping("lab", "Lab", directory="lab"))
    lab = HandSource("lab")
    lab.put(*(Somebody(f"l{n}") for n in range(3)), groups=["lab"])
    one, two = holding(both, source), holding(both, lab)
    recorded = holding(
        both,
        source,
        identities={**one.identities, **two.identities},
        links={**one.links, **two.links},
        memberships={**one.memberships, **two.memberships},
        absences={("lab", "anchor-l0", "people"): CONFIRMED, **absent("bo")},
    )
    lab.drop("l0")
    lab.unknown[BASE] = "bind failed"
    source.drop("bo")
    draft = plan_for(source, both, recorded, lab)
    assert [bundle.subject for bundle in draft.plan.bundles] == ["bo@acme.example"]


def test_d11_people_of_a_domain_that_is_not_open_are_frozen_each_with_the_reason(
    source: HandSource, chosen: Policy
) -> None:
    recorded = holding(chosen, source, absences=absent("bo"))
    source.drop("bo")
    source.change("anna", disabled=True)
    source.put(Somebody("guest", mail="guest@elsewhere.example"), groups=["design"])
    shut = Domains(frozenset({"other.example"}), {"acme.example": "domain acme.example is closed: sso_off"})
    draft = plan_for(source, chosen, recorded, domains=shut)
    assert draft.plan.empty
    frozen = {subject: problem.what for problem in draft.plan.problems for subject in problem.subjects}
    assert frozen["bo@acme.example"] == "domain acme.example is closed: sso_off"
    assert frozen["anna@acme.example"] == "domain acme.example is closed: sso_off"
    assert frozen["guest@elsewhere.example"] == "domain elsewhere.example is not registered"


def test_p3_manual_rows_are_never_touched(source: HandSource, chosen: Policy) -> None:
    recorded = holding(chosen, source, absences=absent("bo"), removal_due={"cy": NOW})
    recorded.memberships["bo"].append(MembershipRow("manual", "site", "manual"))
    recorded.grants["s-bo-CAD"].append(GrantRow("manual-grant", "s-bo-CAD", "site", "manual"))
    source.drop("bo")
    draft = plan_for(source, chosen, recorded)
    assert draft.plan.counts == {"DisableIdentity": 1}, "the seat has a manual grant: it is not paused"


def test_p3_a_second_reason_keeps_team_and_seat() -> None:
    both = policy(mapping("design", "Design", "CAD"), mapping("leads", "Design", "CAD"))
    source = HandSource()
    source.put("anna", "bo", "cy", groups=["design", "leads"])
    recorded = holding(both, source, absences=absent("bo", scope="group:leads"))
    source.groups["leads"].remove("bo")
    draft = plan_for(source, both, recorded)
    assert draft.plan.counts == {"EndGrant": 2}
    assert not draft.plan.bundles[0].harmful


def test_p4_waitlist_is_served_by_priority_then_first_come_and_nobody_is_evicted(
    source: HandSource, chosen: Policy
) -> None:
    recorded = holding(chosen, source, seats=5)
    source.put("late", groups=["design"])
    source.put("first", groups=["design"])
    view = holding(chosen, source, seats=5)
    del view.seats["late"], view.seats["first"]
    waits = {
        "first": [WaitRow("w1", "design", "CAD", "mapping:design", 10, NOW - timedelta(days=2))],
        "late": [WaitRow("w2", "design", "CAD", "mapping:design", 10, NOW - timedelta(days=1))],
    }
    recorded = Recorded(**{name: getattr(view, name) for name in view.__struct_fields__} | {"waiting": waits})
    source.put("new", groups=["design"])
    draft = plan_for(source, chosen, recorded)
    got = [change.subject for b in draft.plan.bundles for change in b.changes if change.kind is Kind.ASSIGN_SEAT]
    assert got == ["first@acme.example"]
    assert draft.plan.counts == {"Invite": 1, "JoinTeam": 1, "AssignSeat": 1, "Wait": 1}


def test_p4_terms_decide_capacity(source: HandSource, chosen: Policy) -> None:
    ended = Subscription("old", "design", "CAD", 9, Tier.BUSINESS, date(2025, 1, 1), date(2026, 3, 2))
    future = Subscription("new", "design", "CAD", 9, Tier.BUSINESS, date(2026, 3, 3), date(2027, 1, 1))
    empty = holding(chosen, HandSource(), subscriptions=(ended, future))
    assert plan_for(source, chosen, empty).plan.counts["Wait"] == 6
    renewal = Subscription("next", "design", "CAD", 4, Tier.BUSINESS, date(2026, 3, 2), date(2027, 1, 1), "old")
    held = holding(chosen, source, subscriptions=(ended, renewal))
    assert plan_for(source, chosen, held).plan.empty, "nobody loses a seat at midnight"


def test_a_mapping_that_left_the_file_ends_by_decision_not_by_absence(source: HandSource, chosen: Policy) -> None:
    recorded = holding(chosen, source)
    only = policy(mapping("design", "Design", "CAD"))
    draft = plan_for(source, only, recorded)
    assert draft.plan.counts == {"LeaveTeam": 2, "ReleaseSeat": 2}
    held = guarded(draft, only, recorded)
    assert not held.allowed
    assert any("without anybody" in trip.text for trip in held.trips)


def test_g1_limits_hold_only_the_kind_and_scope_that_trips(source: HandSource) -> None:
    chosen = policy(
        mapping("design", "Design", "CAD"),
        mapping("site", "Site", "CAD"),
        limits={"team_day_floor": 1, "team_day_percent": 0, "day_floor": 100},
    )
    recorded = holding(chosen, source)
    for uid in ("anna", "bo", "eve"):
        source.change(uid, disabled=True)
    source.put("new", groups=["design"])
    result = guarded(plan_for(source, chosen, recorded), chosen, recorded)
    assert [bundle.subject for bundle in result.held] == ["anna@acme.example", "bo@acme.example"]
    assert [bundle.subject for bundle in result.allowed] == ["eve@acme.example", "new@acme.example"]
    assert {trip.scope for trip in result.trips} == {"Team Design", "mapping design"}


@pytest.mark.parametrize(("population", "limit"), [(0, 5), (49, 5), (60, 6), (1000, 100), (100_000, 200)])
def test_g1_organization_day_limit(population: int, limit: int) -> None:
    assert day_limit(LimitSettings(), (ORGANIZATION, ""), population) == limit


def test_g1_small_runs_do_not_leak_past_the_window(source: HandSource, chosen: Policy) -> None:
    narrow = policy(mapping("design", "Design", "CAD"), limits={"day_floor": 2, "day_percent": 0, "team_day_floor": 99})
    recorded = holding(narrow, source)
    source.change("anna", disabled=True)
    past = tuple(PastHarm("disable", who, "design", "design", True) for who in ("x", "y"))
    draft = plan_for(source, narrow, recorded)
    assert guarded(draft, narrow, recorded, past=past).held
    assert not guarded(draft, narrow, recorded, past=past[:1]).held
    old = tuple(PastHarm("disable", who, "design", "design", False) for who in ("x", "y"))
    assert guarded(draft, narrow, recorded, past=old, month=4).held, "30 days, 25 %: the floor is 2"


def test_g1_nothing_goes_to_zero(source: HandSource, chosen: Policy) -> None:
    recorded = holding(chosen, source)
    source.change("eve", disabled=True)
    source.change("fay", disabled=True)
    result = guarded(plan_for(source, chosen, recorded), chosen, recorded)
    assert [bundle.subject for bundle in result.held] == ["eve@acme.example", "fay@acme.example"]
    source.put("new", groups=["site"])
    result = guarded(plan_for(source, chosen, recorded), chosen, recorded)
    assert not result.held, "somebody joins in the same plan"


def test_g2_what_counts_on_a_held_seat_waits_too(source: HandSource) -> None:
    chosen = policy(mapping("design", "Design", "CAD"), limits={"day_floor": 0, "day_percent": 0, "team_day_floor": 99})
    recorded = holding(chosen, source, seats=4, absences=absent("bo", scope="group:design"))
    source.groups["design"].remove("bo")
    source.put("anna2")
    source.groups["design"].append("eve")
    draft = plan_for(source, chosen, recorded)
    assert draft.plan.counts == {"JoinTeam": 1, "LeaveTeam": 1, "AssignSeat": 1, "ReleaseSeat": 1}
    result = guarded(draft, chosen, recorded)
    assert result.counts == {"JoinTeam": 1}
    assert result.held_counts == {"LeaveTeam": 1, "AssignSeat": 1, "ReleaseSeat": 1}


def test_g3_a_permit_names_exact_changes(source: HandSource) -> None:
    chosen = policy(mapping("design", "Design", "CAD"), limits={"day_floor": 0, "day_percent": 0, "team_day_floor": 99})
    recorded = holding(chosen, source)
    source.change("anna", disabled=True)
    first = guarded(plan_for(source, chosen, recorded), chosen, recorded)
    keys = frozenset(change.key for bundle in first.held for change in bundle.changes)
    source.change("bo", disabled=True)
    second = guarded(plan_for(source, chosen, recorded), chosen, recorded, permit=Permit(keys))
    assert [bundle.subject for bundle in second.allowed] == ["anna@acme.example"]
    assert [bundle.subject for bundle in second.held] == ["bo@acme.example"]


def test_g4_protected_people_are_skipped_and_the_rest_goes_on(source: HandSource) -> None:
    chosen = policy(
        mapping("design", "Design", "CAD"),
        sync={"protected": ["CY@acme.example"], "protect_admins": False},
        admins={"Design": "anna@acme.example"},
    )
    recorded = holding(chosen, source, primary_admins={"design": frozenset({"dan"})}, admins=frozenset({"dan", "fay"}))
    for uid in ("anna", "bo", "cy", "dan"):
        source.change(uid, disabled=True)
    draft = plan_for(source, chosen, recorded)
    assert [bundle.subject for bundle in draft.plan.bundles] == ["bo@acme.example"]
    assert next(p for p in draft.plan.problems if p.code == "protected").subjects == (
        "anna@acme.example",
        "cy@acme.example",
        "dan@acme.example",
    )


def test_g2_apply_nothing_holds_the_additions_too(source: HandSource) -> None:
    limits = {"day_floor": 0, "day_percent": 0, "on_held": "apply-nothing"}
    chosen = policy(mapping("design", "Design", "CAD"), limits=limits)
    recorded = holding(chosen, source)
    source.change("anna", disabled=True)
    source.put("eve", groups=["design"])
    assert not guarded(plan_for(source, chosen, recorded), chosen, recorded).allowed


def test_g7_delays_of_the_mapping_win(source: HandSource) -> None:
    chosen = policy(mapping("design", "Design", "CAD", release_after="0"))
    recorded = holding(chosen, source)
    source.change("anna", disabled=True)
    assert plan_for(source, chosen, recorded).plan.counts == {"ReleaseSeat": 1, "DisableIdentity": 1}


def test_r3_every_contradiction_of_a_policy_is_named_at_once() -> None:
    with pytest.raises(ManyErrors) as caught:
        Policy.build(
            teams=[TeamSettings(name="Design"), TeamSettings(name="DESIGN")],
            mappings=[
                MappingSettings(id="a", directory="crop", group="g", team="Desing", offerings=("CAD", "CADD")),
                MappingSettings(id="a", directory="corp", group="g", team="Design", release_after="40d"),  # type: ignore[arg-type]
            ],
            directories=["corp"],
            offerings=["CAD"],
        )
    text = str(caught.value)
    for part in ("'Desing': did you mean 'DESIGN'?", "'crop': did you mean 'corp'?", "'CADD': did you mean 'CAD'?",
                 "two mappings have the id 'a'", "release_after is longer", "'DESIGN' is also called"):  # fmt: skip
        assert part in text


def test_an_unknown_offering_stops_the_plan_with_a_suggestion(source: HandSource) -> None:
    chosen = policy(mapping("design", "Design", "CADD"))
    recorded = holding(chosen, HandSource(), offerings=frozenset({"CAD"}))
    with pytest.raises(ManyErrors, match="did you mean 'CAD'"):
        plan_for(source, chosen, recorded)


def test_markdown_and_json_show_every_change(source: HandSource, chosen: Policy) -> None:
    recorded = holding(chosen, HandSource())
    draft = plan_for(source, chosen, recorded)
    shown = Planned(draft.plan, guarded(draft, chosen, recorded))
    document = shown.to_json()
    assert len(document["changes"]) == sum(draft.plan.counts.values())
    assert shown.markdown.count("@acme.example | Invite |") == 6
    assert document["digest"] == draft.plan.digest


def test_p4_one_movers_old_seat_is_the_next_ones_new_seat() -> None:
    chosen = policy(mapping("a", "A", "CAD"), mapping("b", "B", "CAD"))
    source = HandSource()
    source.put("anna", "stays-a", groups=["a"])
    source.put("bo", "stays-b", groups=["b"])
    recorded = holding(chosen, source, absences=absent("anna", scope="group:a") | absent("bo", scope="group:b"))
    full = tuple(
        Subscription(f"sub-{team}", team, "CAD", quantity, Tier.BUSINESS, date(2026, 1, 1), date(2027, 1, 1))
        for team, quantity in (("a", 3), ("b", 2))
    )
    recorded = msgspec.structs.replace(recorded, subscriptions=full)
    source.move("anna", "a", "b")
    source.move("bo", "b", "a")
    moved = [c.subject for b in plan_for(source, chosen, recorded).plan.bundles for c in b.changes
             if c.kind is Kind.MOVE_SEAT]  # fmt: skip
    assert moved == ["anna@acme.example", "bo@acme.example"], "anna, though first, fits only after bo has moved"


def test_d9_whoever_is_not_renamed_keeps_their_address_from_the_next() -> None:
    """a wants b's address, b wants c's, and c keeps it: nobody is renamed, or two would share one."""
    source = HandSource()
    source.put("a", "b", "c", groups=["design"])
    chosen = policy(mapping("design", "Design"))
    recorded = holding(chosen, source)
    source.change("a", mail="b@acme.example")
    source.change("b", mail="c@acme.example")
    source.people.pop("c")
    plan = plan_for(source, chosen, recorded).plan
    assert [change for bundle in plan.bundles for change in bundle.changes if change.kind is Kind.UPDATE_IDENTITY] == []
    assert {problem.subjects for problem in plan.problems if problem.code == "mail-taken"} == {
        ("a@acme.example",), ("b@acme.example",),
    }  # fmt: skip


def test_g3_an_approval_of_a_move_leaves_no_seat_without_a_reason_when_the_person_moved_on() -> None:
    rules = policy(
        mapping("design", "Design", "CAD"), mapping("site", "Site", "CAD"), mapping("lab", "Lab", "CAD"), limits=NONE
    )
    source = HandSource()
    source.put("anna", "bo", groups=["design"])
    source.groups |= {"site": [], "lab": []}
    recorded = holding(rules, source, absences={("corp", "anchor-bo", "group:design"): CONFIRMED})
    sold = tuple(replace(item, quantity=0 if item.team_id != "design" else 5) for item in recorded.subscriptions)
    recorded = msgspec.structs.replace(recorded, subscriptions=sold)
    source.move("bo", "design", "site")
    held = guarded(plan_for(source, rules, recorded), rules, recorded).held
    named = frozenset(change.key for bundle in held for change in bundle.changes)
    assert {key[1] for key in named} == {"LeaveTeam", "JoinTeam", "AddGrant", "EndGrant"}, "Site has no seat to move to"
    source.move("bo", "site", "lab")
    draft = plan_for(source, rules, recorded)
    approved = guarded(draft, rules, recorded, permit=Permit(named, only=True))
    assert approved.allowed == (), "the reason that would take the old one's place was not named"


def test_d3_a_disabled_second_entry_is_no_evidence_while_the_first_was_missed_once(chosen: Policy) -> None:
    source = HandSource()
    source.put(Somebody("anna", number="7"), "bo", groups=["design"])
    source.groups["site"] = []
    recorded = holding(chosen, source)
    source.drop("anna")
    source.put(Somebody("anna.old", number="7", disabled=True))
    draft = plan_for(source, chosen, recorded)
    assert draft.plan.empty, "an old account with the same employee number"
    assert [absence.anchor for absence in draft.plan.notes.absent] == ["anchor-anna"]


def test_d9_who_takes_an_address_waits_for_who_gives_it_up(chosen: Policy) -> None:
    source = HandSource()
    source.put("anna", "bo", groups=["design"])
    source.groups["site"] = []
    recorded = holding(chosen, source)
    source.change("anna", mail="a.nowak@acme.example")
    source.put(Somebody("new", mail="anna@acme.example"), groups=["design"])
    source.change("bo", mail="bo.k@acme.example")
    draft = plan_for(source, chosen, recorded)
    invite = [c.key for b in draft.plan.bundles if not b.identity for c in b.changes]
    rename = [c.key for b in draft.plan.bundles if b.identity == "anna" for c in b.changes]
    assert len(invite) > 1
    assert len(rename) == 1
    only = guarded(draft, chosen, recorded, permit=Permit(frozenset(invite), only=True))
    assert only.allowed == (), "two people would have one address"
    both = guarded(draft, chosen, recorded, permit=Permit(frozenset((*invite, *rename)), only=True))
    assert {bundle.identity for bundle in both.allowed} == {"", "anna"}


def test_g3_an_approved_invite_lets_nothing_of_a_namesake_through() -> None:
    rules = policy(mapping("design", "Design", "CAD"), limits=NONE)
    source = HandSource()
    source.put("anna", "bo", groups=["design"])
    recorded = holding(rules, source)
    source.change("anna", mail="a.nowak@acme.example")
    source.put(Somebody("new", mail="anna@acme.example"), groups=["design"])
    draft = plan_for(source, rules, recorded)
    invite = frozenset(c.key for b in draft.plan.bundles if not b.identity for c in b.changes)
    scheduled = guarded(draft, rules, recorded, permit=Permit(invite))
    assert scheduled.allowed == ()


def test_p3_a_removed_leaver_who_keeps_a_seat_by_hand_keeps_it_for_that_reason_alone(chosen: Policy) -> None:
    source = HandSource()
    source.put("anna", "bo", groups=["design"])
    source.groups["site"] = []
    recorded = holding(chosen, source, removal_due={"bo": NOW})
    recorded.identities["bo"] = msgspec.structs.replace(recorded.identities["bo"], state="disabled")
    recorded.grants["s-bo-CAD"].append(GrantRow("hand", "s-bo-CAD", "design", "manual"))
    source.change("bo", disabled=True)
    (bundle,) = plan_for(source, chosen, recorded).plan.bundles
    assert [change.kind for change in bundle.changes] == [Kind.LEAVE_TEAM, Kind.END_GRANT]
    assert bundle.changes[1].ref == "g-s-bo-CAD-design"


def test_p2_nothing_ends_for_a_mapping_that_only_waits(source: HandSource) -> None:
    """Bo changes the mapping that keeps the Team and the seat, and a third membership lacks its second reading."""
    chosen = policy(mapping("site", "Site"), mapping("leads", "Design", "CAD"), mapping("heads", "Design", "CAD"))
    source.groups = {"site": ["bo"], "leads": ["bo"], "heads": []}
    recorded = holding(chosen, source)
    source.groups = {"site": [], "leads": [], "heads": ["bo"]}
    left = msgspec.structs.replace(recorded, absences=absent("bo", scope="group:leads"))
    assert plan_for(source, chosen, left).plan.empty, "not even a reason ends before the next one holds"
    both = {**absent("bo", scope="group:leads"), **absent("bo", scope="group:site")}
    moved = plan_for(source, chosen, msgspec.structs.replace(recorded, absences=both))
    assert moved.plan.counts == {"JoinTeam": 1, "LeaveTeam": 1, "EndGrant": 2, "AddGrant": 1}
