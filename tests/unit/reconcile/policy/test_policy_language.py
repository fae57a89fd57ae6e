"""Who a mapping means and who it lets go: attribute filters, exclusions, several mappings, guests (D2, D3, D11, R3)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from connector.reconcile.desired.clock_jumps import continuity
from connector.reconcile.desired.seen import Domains
from connector.reconcile.diff.diff import Draft
from connector.reconcile.plan.changes import Kind
from connector.reconcile.plan.recorded import Recorded
from connector.reconcile.policy.policy import Policy
from tests.parts.directories import BASE, HandSource, Somebody, mapping, policy
from tests.unit.reconcile.test_pipeline import CONFIRMED, NOW, absent, codes, holding, plan_for, seen

DEPARTMENT = "where:design/department"
COUNTRY = "where:design/country"


@pytest.fixture
def chosen() -> Policy:
    return policy(mapping("design", "Design", "CAD", where={"department": ["Design", "R&D"], "country": ["PL"]}))


@pytest.fixture
def source() -> HandSource:
    directory = HandSource()
    directory.put(
        *(Somebody(uid, department="design", country="pl") for uid in ("anna", "bo", "cy")),
        Somebody("dan", department="Sales", country="PL"),
        Somebody("eve", department="R&D", country="DE"),
        Somebody("fay", department="Design"),
    )
    return directory


def holding_where(chosen: Policy, source: HandSource, *uids: str, **changes: Any) -> Recorded:
    """The ledger in which these people hold what mapping ``design`` gives."""
    named = HandSource(people={uid: source.people[uid] for uid in uids}, groups={"": list(uids)})
    return holding(chosen, named, **changes)


def subjects(draft: Draft, kind: Kind) -> list[str]:
    return [c.subject.partition("@")[0] for b in draft.plan.bundles for c in b.changes if c.kind is kind]


def cause(draft: Draft, kind: Kind) -> str:
    return next(c.cause for b in draft.plan.bundles for c in b.changes if c.kind is kind)


def test_r3_everybody_with_one_of_the_values_of_every_field_is_meant(source: HandSource, chosen: Policy) -> None:
    draft = plan_for(source, chosen, holding_where(chosen, source))
    assert subjects(draft, Kind.JOIN_TEAM) == ["anna", "bo", "cy"]
    assert cause(draft, Kind.JOIN_TEAM) == ("uid=anna,ou=People → country = pl, department = design → mapping design")
    assert plan_for(source, chosen, holding_where(chosen, source, "anna", "bo", "cy")).plan.empty


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({"mail": ["ŁUCJA@acme.example"]}, ["łucja"]),
        ({"mail_domain": ["ACME.example"]}, ["x", "łucja"]),
        ({"employee_number": ["N7"]}, ["x"]),
        ({"display_name": ["ŁUCJA ŻAK"]}, ["łucja"]),
    ],
)
def test_r3_fields_compare_without_case(where: dict[str, list[str]], found: list[str]) -> None:
    source = HandSource()
    source.put(Somebody("lucja", mail="Łucja@acme.example", name="Łucja  Żak"), Somebody("x", number="n7"))
    chosen = policy(mapping("design", "Design", where=where))
    assert subjects(plan_for(source, chosen, holding(chosen, HandSource())), Kind.JOIN_TEAM) == found


def test_d3_another_value_is_positive_evidence_and_acts_at_once(source: HandSource, chosen: Policy) -> None:
    recorded = holding_where(chosen, source, "anna", "bo", "cy")
    source.change("bo", department="Sales", country="")
    draft = plan_for(source, chosen, recorded)
    assert draft.plan.counts == {"UpdateIdentity": 1, "LeaveTeam": 1, "ReleaseSeat": 1}
    assert cause(draft, Kind.LEAVE_TEAM) == "department is 'Sales', which mapping design does not name"
    assert draft.plan.notes.absent == ()


def test_d3_a_value_that_is_no_longer_shown_counts_in_two_complete_readings(source: HandSource, chosen: Policy) -> None:
    recorded = holding_where(chosen, source, "anna", "bo", "cy")
    source.change("bo", department="")
    first = plan_for(source, chosen, recorded)
    assert subjects(first, Kind.LEAVE_TEAM) == []
    assert [(item.anchor, item.scope) for item in first.plan.notes.absent] == [("anchor-bo", DEPARTMENT)]
    unconfirmed = next(problem for problem in first.plan.problems if problem.code == "unconfirmed")
    assert unconfirmed.subjects == ("bo@acme.example in Design: no value of department",)
    soon = msgspec.structs.replace(recorded, absences=absent("bo", scope=DEPARTMENT, when=NOW - timedelta(minutes=14)))
    assert subjects(plan_for(source, chosen, soon), Kind.LEAVE_TEAM) == []
    later = msgspec.structs.replace(recorded, absences=absent("bo", scope=DEPARTMENT))
    second = plan_for(source, chosen, later)
    assert subjects(second, Kind.LEAVE_TEAM) == ["bo"]
    assert cause(second, Kind.LEAVE_TEAM) == "no value of department in two complete readings"


def test_d3_an_absence_of_one_field_does_not_confirm_that_of_another(source: HandSource, chosen: Policy) -> None:
    recorded = holding_where(chosen, source, "anna", "bo", "cy", absences=absent("bo", scope=DEPARTMENT))
    source.change("bo", country="")
    draft = plan_for(source, chosen, recorded)
    assert subjects(draft, Kind.LEAVE_TEAM) == []
    assert [item.scope for item in draft.plan.notes.absent] == [COUNTRY]
    assert [item.scope for item in draft.plan.notes.seen_again] == [DEPARTMENT]


def test_d3_a_value_seen_again_forgets_the_absence(source: HandSource, chosen: Policy) -> None:
    recorded = holding_where(chosen, source, "anna", "bo", "cy", absences=absent("bo", scope=DEPARTMENT))
    draft = plan_for(source, chosen, recorded)
    assert draft.plan.empty
    assert [item.scope for item in draft.plan.notes.seen_again] == [DEPARTMENT]


def test_d1_people_not_read_to_the_end_take_nothing_from_a_filter_and_may_add(
    source: HandSource, chosen: Policy
) -> None:
    recorded = holding_where(chosen, source, "anna", "bo", absences=absent("bo", scope=DEPARTMENT))
    source.change("anna", department="Sales")
    source.change("bo", department="")
    source.unknown[BASE] = "page 3: result 4 sizeLimitExceeded"
    draft = plan_for(source, chosen, recorded)
    assert draft.plan.counts == {"Invite": 1, "UpdateIdentity": 2, "JoinTeam": 1, "AssignSeat": 1}
    assert subjects(draft, Kind.JOIN_TEAM) == ["cy"]


def test_d3_a_clock_that_jumped_forgets_absent_values_with_the_people(source: HandSource, chosen: Policy) -> None:
    recorded = holding_where(chosen, source, "bo", absences=absent("bo", scope=DEPARTMENT))
    long_ago = {("corp", BASE): NOW - timedelta(days=40)}
    found = continuity(recorded, long_ago, {"corp": seen(source, chosen)}, NOW)
    assert found.forgotten == (("corp", "anchor-bo", DEPARTMENT),)
    behind = {("corp", BASE): NOW + timedelta(days=1)}
    source.change("bo", department="")
    noted = plan_for(source, chosen, msgspec.structs.replace(recorded, absences={})).plan.notes.absent
    assert continuity(recorded, behind, {"corp": seen(source, chosen)}, NOW).notable(noted) == []


def test_d9_who_cannot_be_mapped_keeps_what_a_filter_gave(source: HandSource, chosen: Policy) -> None:
    recorded = holding_where(chosen, source, "anna", "bo", "cy")
    source.change("bo", broken=True, department="")
    assert plan_for(source, chosen, recorded).plan.empty


def test_r3_who_is_excluded_is_not_given_it(source: HandSource) -> None:
    chosen = policy(
        mapping("design", "Design", "CAD", where={"department": ["Design"]}, exclude=["BO@acme.example"]),
        mapping("site", "Site", exclude_groups=["interns"]),
    )
    source.groups = {"site": ["anna", "bo", "dan"], "interns": ["dan"]}
    draft = plan_for(source, chosen, holding(chosen, HandSource()))
    joined = {(c.subject.partition("@")[0], c.mapping) for b in draft.plan.bundles for c in b.changes
              if c.kind is Kind.JOIN_TEAM}  # fmt: skip
    assert joined == {("anna", "design"), ("cy", "design"), ("fay", "design"), ("anna", "site"), ("bo", "site")}


@pytest.mark.parametrize("by", ["group", "mail"])
def test_r3_an_exclusion_is_positive_evidence(by: str) -> None:
    plain = policy(mapping("site", "Site", "CAD", exclude_groups=["interns"]))
    source = HandSource()
    source.put("anna", "bo", "cy", groups=["site"])
    source.groups["interns"] = []
    recorded = holding(plain, source)
    if by == "group":
        source.groups["interns"] = ["bo"]
    else:
        plain = policy(mapping("site", "Site", "CAD", exclude_groups=["interns"], exclude=["bo@acme.example"]))
    draft = plan_for(source, plain, recorded)
    assert draft.plan.counts == {"LeaveTeam": 1, "ReleaseSeat": 1}
    assert (
        cause(draft, Kind.LEAVE_TEAM) == f"mapping site excludes {'group interns' if by == 'group' else 'the address'}"
    )


@pytest.mark.parametrize("fault", ["unknown", "missing"])
def test_d2_an_exclude_group_that_is_not_read_freezes_its_mapping_alone(fault: str, source: HandSource) -> None:
    chosen = policy(
        mapping("site", "Site", "CAD", exclude_groups=["interns"], exclude=["bo@acme.example"]),
        mapping("design", "Design", where={"department": ["Design"]}, exclude_groups=["interns"]),
        mapping("lab", "Lab"),
    )
    source.groups = {"site": ["anna", "bo"], "interns": [], "lab": ["cy"]}
    recorded = holding(chosen, HandSource(people=source.people, groups={"site": ["anna", "bo"], "lab": []}))
    if fault == "missing":
        source.missing.add("interns")
    else:
        source.unknown["group:interns"] = "timeout"
    source.groups["site"] = ["dan"]
    draft = plan_for(source, chosen, recorded)
    assert subjects(draft, Kind.JOIN_TEAM) == ["cy"]
    assert draft.plan.counts == {"JoinTeam": 1}
    assert ("group-missing" in codes(draft)) is (fault == "missing")


def test_d3_who_is_gone_is_not_kept_by_an_exclude_group_that_was_not_read(source: HandSource) -> None:
    chosen = policy(mapping("site", "Site", exclude_groups=["interns"]))
    source.groups = {"site": ["anna", "bo"], "interns": []}
    recorded = holding(chosen, source, absences=absent("bo"))
    source.drop("bo")
    source.unknown["group:interns"] = "timeout"
    assert plan_for(source, chosen, recorded).plan.counts == {"DisableIdentity": 1}


def test_p4_the_same_offering_through_two_teams_is_one_seat_of_the_better_priority() -> None:
    chosen = policy(
        mapping("site", "Site", "CAD", priority=10),
        mapping("rnd", "Design", "CAD", where={"department": ["R&D"]}, priority=20),
    )
    source = HandSource()
    source.put(Somebody("anna", department="R&D"), Somebody("bo", department="R&D"), groups=["site"])
    draft = plan_for(source, chosen, holding(chosen, HandSource(), seats=1))
    assert draft.plan.counts == {"Invite": 2, "JoinTeam": 4, "AssignSeat": 2, "AddGrant": 2}
    seats = [(c.subject.partition("@")[0], c.object) for b in draft.plan.bundles for c in b.changes
             if c.kind is Kind.ASSIGN_SEAT]  # fmt: skip
    assert seats == [("anna", "CAD @ Site"), ("bo", "CAD @ Design")], "priority, then the next Team with a free seat"


def test_p3_group_and_filter_to_one_team_are_two_reasons() -> None:
    chosen = policy(mapping("site", "Site", "CAD"), mapping("rnd", "Site", "CAD", where={"department": ["R&D"]}))
    source = HandSource()
    source.put(Somebody("anna", department="R&D"), groups=["site"])
    both = HandSource(people=source.people, groups={"site": ["anna"], "": ["anna"]})
    recorded = holding(chosen, both)
    source.change("anna", department="Sales")
    draft = plan_for(source, chosen, recorded)
    assert draft.plan.counts == {"UpdateIdentity": 1, "EndGrant": 2}
    assert not draft.plan.bundles[0].harmful


def test_p3_one_group_to_several_teams() -> None:
    chosen = policy(mapping("a", "A", group="site"), mapping("b", "B", group="site"))
    source = HandSource()
    source.put("anna", groups=["site"])
    assert plan_for(source, chosen, holding(chosen, HandSource())).plan.counts == {"Invite": 1, "JoinTeam": 2}


GUESTS = {"domains": ["partner.example"], "mappings": ["design"]}
OPEN = Domains(frozenset({"acme.example"}), {"closed.example": "domain closed.example is closed: sso_off"})


def with_guests(*rules: dict[str, Any]) -> Policy:
    return policy(mapping("design", "Design", "CAD"), mapping("site", "Site"), guests=rules)


def partners() -> HandSource:
    source = HandSource()
    source.put("anna", groups=["design", "site"])
    source.put(Somebody("gus", mail="gus@partner.example"), groups=["design", "site"])
    source.put(Somebody("hal", mail="hal@else.example"), Somebody("ida", mail="ida@closed.example"), groups=["design"])
    return source


def test_d11_guests_are_granted_exactly_the_named_mappings() -> None:
    source, chosen = partners(), with_guests(GUESTS)
    draft = plan_for(source, chosen, holding(chosen, HandSource()), domains=OPEN)
    joined = [(c.subject, c.mapping) for b in draft.plan.bundles for c in b.changes if c.kind is Kind.JOIN_TEAM]
    assert joined == [("anna@acme.example", "design"), ("anna@acme.example", "site"), ("gus@partner.example", "design")]
    frozen = {subject: problem.what for problem in draft.plan.problems for subject in problem.subjects}
    assert frozen["hal@else.example"] == "domain else.example is not registered"
    assert frozen["ida@closed.example"] == "domain closed.example is closed: sso_off"
    recorded = holding(chosen, HandSource(people=source.people, groups={"design": ["anna", "gus"], "site": ["anna"]}))
    assert plan_for(source, chosen, recorded, domains=OPEN).plan.empty


def test_d11_a_guests_rule_may_name_addresses() -> None:
    source, chosen = partners(), with_guests({**GUESTS, "mails": ["GUS@partner.example"]})
    source.put(Somebody("jan", mail="jan@partner.example"), groups=["design"])
    draft = plan_for(source, chosen, holding(chosen, HandSource()), domains=OPEN)
    assert [bundle.subject for bundle in draft.plan.bundles] == ["anna@acme.example", "gus@partner.example"]
    frozen = {subject: problem.what for problem in draft.plan.problems for subject in problem.subjects}
    assert frozen["jan@partner.example"] == (
        "domain partner.example is not registered, and its guests rule does not name this address"
    )


@pytest.mark.parametrize(
    "domains",
    [
        Domains(frozenset(), {"acme.example": "domain acme.example is closed: sso_off"}),
        Domains(frozenset({"acme.example"}), {"partner.example": "domain partner.example is closed: sso_off"}),
    ],
    ids=["no domain is open", "the guests' domain is registered and closed"],
)
def test_d11_no_rule_admits_guests_past_the_gate(domains: Domains) -> None:
    source, chosen = partners(), with_guests(GUESTS)
    recorded = holding(chosen, HandSource(people=source.people, groups={"design": ["gus"], "site": []}))
    source.change("gus", disabled=True)
    draft = plan_for(source, chosen, recorded, domains=domains)
    assert all(bundle.subject != "gus@partner.example" for bundle in draft.plan.bundles)
    assert any("gus@partner.example" in problem.subjects for problem in draft.plan.problems)


def test_d11_guests_leave_like_everybody() -> None:
    source, chosen = partners(), with_guests(GUESTS)
    recorded = holding(chosen, HandSource(people=source.people, groups={"design": ["anna", "gus"], "site": ["anna"]}))
    source.drop("gus")
    gone = msgspec.structs.replace(recorded, absences=absent("gus"))
    assert plan_for(source, chosen, gone, domains=OPEN).plan.counts == {"PauseSeat": 1, "DisableIdentity": 1}
    again = partners()
    again.groups["design"].remove("gus")
    left = msgspec.structs.replace(recorded, absences=absent("gus", scope="group:design"))
    assert plan_for(again, chosen, left, domains=OPEN).plan.counts == {"LeaveTeam": 1, "ReleaseSeat": 1}


def test_d11_what_a_guests_rule_does_not_name_is_neither_given_nor_taken() -> None:
    source = partners()
    before = with_guests(GUESTS)
    recorded = holding(before, HandSource(people=source.people, groups={"design": ["gus"], "site": ["gus"]}),
                       absences=absent("gus", scope="group:site", when=CONFIRMED))  # fmt: skip
    source.groups["site"].remove("gus")
    draft = plan_for(source, before, recorded, domains=OPEN)
    assert all(bundle.subject != "gus@partner.example" for bundle in draft.plan.bundles)
    nobody = plan_for(source, with_guests(), recorded, domains=OPEN)
    assert all(bundle.subject != "gus@partner.example" for bundle in nobody.plan.bundles)
    assert "frozen" in codes(nobody)
