"""Adopting as a pure function: who comes under a mapping's care, who is only named, and what rows that takes (P3)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from connector.reconcile.adopt.swaps import Adoption, adopt
from connector.reconcile.desired.ground import Ground
from connector.reconcile.desired.seen import Domains
from connector.reconcile.plan.changes import Harm, Kind
from connector.reconcile.plan.recorded import GrantRow, LinkRow, MembershipRow, Recorded
from connector.reconcile.policy.policy import Policy
from tests.parts.directories import HandSource, mapping, policy
from tests.unit.reconcile.test_pipeline import OPEN, holding, plan_for, seen

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture
def chosen() -> Policy:
    return policy(mapping("design", "Design", "CAD", priority=10), mapping("site", "Site", "CAD", priority=20))


@pytest.fixture
def source() -> HandSource:
    directory = HandSource()
    directory.put("anna", "bo", "cy", groups=["design"])
    directory.put("eve", groups=["site"])
    return directory


def brownfield(chosen: Policy, source: HandSource, *uids: str, linked: bool = True) -> Recorded:
    """As applied, but these people hold everything in Design by hand; with ``linked`` False no directory knows them."""
    found = holding(chosen, source)
    memberships = {uid: [*rows] for uid, rows in found.memberships.items()}
    grants = dict(found.grants)
    links = {anchor: row for anchor, row in found.links["corp"].items() if linked or row.identity_id not in uids}
    for uid in uids:
        memberships[uid] = [MembershipRow(f"manual-{uid}", "design", "manual")]
        for seat in found.seats.get(uid, ()):
            grants[seat.id] = [GrantRow(f"by-hand-{seat.id}", seat.id, "design", "manual")]
    return msgspec.structs.replace(found, memberships=memberships, grants=grants, links={"corp": links})


def adoption(
    source: HandSource, chosen: Policy, recorded: Recorded, name: str = "design", domains: Domains = OPEN
) -> Adoption:
    return adopt(chosen.rules[name], Ground({"corp": seen(source, chosen)}, recorded, chosen, domains, NOW))


def codes(found: Adoption) -> dict[str, tuple[str, ...]]:
    return {problem.code: problem.subjects for problem in found.plan.problems}


def test_p3_a_manual_membership_and_seat_come_under_the_mappings_care(source: HandSource, chosen: Policy) -> None:
    recorded = brownfield(chosen, source, "anna")
    found = adoption(source, chosen, recorded)
    assert [
        (c.kind, c.subject, c.object, c.before, c.after, c.mapping, c.harm) for c in found.plan.bundles[0].changes
    ] == [
        (Kind.ADOPT_GRANT, "anna@acme.example", "CAD @ Design", "manual", "mapping:design", "design", Harm.NONE),
        (Kind.ADOPT_GRANT, "anna@acme.example", "Design", "manual", "mapping:design", "design", Harm.NONE),
    ]
    assert found.plan.bundles[0].changes[0].cause == "uid=anna,ou=People → design → mapping design"
    assert found.memberships.end == ["manual-anna"]
    assert [row[:3] for row in found.memberships.begin] == [("anna", "design", "mapping:design")]
    assert found.grants.end == ["by-hand-s-anna-CAD"]
    assert [row[:4] for row in found.grants.begin] == [("s-anna-CAD", "anna", "design", "mapping:design")]
    assert found.links.begin == []
    assert found.exit_code == 0
    assert found.lines[-1] == f"apply with `rosterd adopt design --digest {found.digest[:12]}`"


def test_p3_what_the_mapping_grants_already_is_only_taken_from_the_hand(source: HandSource, chosen: Policy) -> None:
    recorded = brownfield(chosen, source, "anna")
    recorded.memberships["anna"].append(MembershipRow("m", "design", "mapping:design"))
    recorded.grants["s-anna-CAD"].append(GrantRow("g", "s-anna-CAD", "design", "mapping:design"))
    found = adoption(source, chosen, recorded)
    assert found.plan.counts == {"AdoptGrant": 2}
    assert (found.memberships.begin, found.grants.begin) == ([], [])
    assert (found.memberships.end, found.grants.end) == (["manual-anna"], ["by-hand-s-anna-CAD"])


def test_p3_who_is_not_in_the_group_is_named_and_never_touched(source: HandSource, chosen: Policy) -> None:
    recorded = brownfield(chosen, source, "anna", "eve")
    found = adoption(source, chosen, recorded)
    assert [bundle.subject for bundle in found.plan.bundles] == ["anna@acme.example"]
    assert codes(found) == {"not-in-group": ("eve@acme.example",)}
    assert "manual-eve" not in found.memberships.end


def test_p3_who_left_every_directory_is_named_too(source: HandSource, chosen: Policy) -> None:
    recorded = brownfield(chosen, source, "anna", "bo", linked=False)
    source.drop("bo")
    assert codes(adoption(source, chosen, recorded)) == {"not-in-group": ("bo@acme.example",)}


def test_p3_a_person_without_a_link_is_linked_by_mail_in_the_same_bundle(source: HandSource, chosen: Policy) -> None:
    recorded = brownfield(chosen, source, "anna", linked=False)
    found = adoption(source, chosen, recorded)
    assert found.plan.counts == {"RelinkAnchor": 1, "AdoptGrant": 2}
    assert found.links.begin == [("anna", "corp", "anchor-anna", "")]


def test_p3_a_rehire_is_relinked_by_a_run_first(source: HandSource, chosen: Policy) -> None:
    source.change("anna", number="7")
    recorded = brownfield(chosen, source, "anna")
    source.change("anna", anchor="second-hire")
    found = adoption(source, chosen, recorded)
    assert found.plan.empty
    assert codes(found) == {"relink-first": ("anna@acme.example",)}


def test_p3_a_link_to_somebody_else_with_the_same_address_adopts_nothing(source: HandSource, chosen: Policy) -> None:
    recorded = brownfield(chosen, source, "anna")
    recorded.links["corp"] = {"old": LinkRow("l", "anna", "corp", "old", "f"), **recorded.links["corp"]}
    del recorded.links["corp"]["anchor-anna"]
    source.change("anna", number="99")
    found = adoption(source, chosen, recorded)
    assert found.plan.empty
    assert codes(found) == {"relink-first": ("anna@acme.example",)}


@pytest.mark.parametrize("how", ["entry disabled", "identity leaving"])
def test_p3_leavers_are_not_adopted(how: str, source: HandSource, chosen: Policy) -> None:
    recorded = brownfield(chosen, source, "anna")
    if how == "entry disabled":
        source.change("anna", disabled=True)
    else:
        recorded.identities["anna"] = msgspec.structs.replace(recorded.identities["anna"], state="disabled")
    found = adoption(source, chosen, recorded)
    assert found.plan.empty
    assert codes(found) == {"leaving": ("anna@acme.example",)}


def test_p3_people_of_a_domain_that_is_not_open_are_frozen(source: HandSource, chosen: Policy) -> None:
    shut = Domains(frozenset({"other.example"}), {"acme.example": "domain acme.example is closed: lapsed"})
    found = adoption(source, chosen, brownfield(chosen, source, "anna"), domains=shut)
    assert found.plan.empty
    assert "anna@acme.example" in codes(found)["frozen"]


@pytest.mark.parametrize("missing", [False, True])
def test_p3_a_group_that_proves_nothing_adopts_nobody(missing: bool, source: HandSource, chosen: Policy) -> None:
    if missing:
        source.missing.add("design")
    else:
        source.unknown["group:design"] = "page 2: result 4"
    found = adoption(source, chosen, brownfield(chosen, source, "anna"))
    assert (found.plan.empty, found.exit_code) == (True, 4)
    assert found.unread
    assert found.lines[0].startswith("UNKNOWN group:design")


def test_p3_a_seat_by_hand_without_membership_is_left_alone(source: HandSource, chosen: Policy) -> None:
    recorded = brownfield(chosen, source, "anna")
    recorded.memberships["anna"] = []
    found = adoption(source, chosen, recorded)
    assert found.plan.empty
    assert codes(found) == {"no-membership": ("anna@acme.example",)}


def test_p3_a_grant_of_another_team_or_offering_stays_manual(source: HandSource, chosen: Policy) -> None:
    recorded = brownfield(chosen, source, "anna")
    recorded.grants["s-anna-CAD"] = [GrantRow("elsewhere", "s-anna-CAD", "site", "manual")]
    found = adoption(source, chosen, recorded)
    assert found.plan.counts == {"AdoptGrant": 1}
    assert (found.grants.begin, found.grants.end) == ([], [])


def test_p3_a_seat_whose_reason_was_never_recorded_gets_one(source: HandSource, chosen: Policy) -> None:
    recorded = brownfield(chosen, source, "anna")
    recorded.grants["s-anna-CAD"] = []
    found = adoption(source, chosen, recorded)
    assert found.plan.counts == {"AdoptGrant": 2}
    assert found.grants.end == []
    assert [row[0] for row in found.grants.begin] == ["s-anna-CAD"]


def test_g4_a_protected_person_is_not_linked_by_an_adoption(source: HandSource) -> None:
    careful = policy(mapping("design", "Design", "CAD"), sync={"protected": ["anna@acme.example"]})
    source.put("dan", groups=["design"])
    recorded = brownfield(careful, source, "anna", "bo", linked=False)
    found = adoption(source, careful, recorded)
    assert [bundle.subject for bundle in found.plan.bundles] == ["bo@acme.example"]
    assert "protected" in codes(found)
    everything: list[Any] = [*found.memberships.begin, *found.links.begin, *found.grants.begin]
    assert not any("anna" in row[:2] for row in everything)
    assert found.memberships.end == ["manual-bo"]


def test_p3_the_digest_names_who_is_adopted_and_no_source_detail(source: HandSource, chosen: Policy) -> None:
    recorded = brownfield(chosen, source, "anna", "bo")
    first = adoption(source, chosen, recorded).digest
    again = replace(source, people=dict(reversed(source.people.items())))
    assert adoption(again, chosen, recorded).digest == first
    source.groups["design"].remove("bo")
    assert adoption(source, chosen, recorded).digest != first


def test_p3_after_an_adoption_nothing_is_left_to_plan_and_a_leaver_leaves(source: HandSource, chosen: Policy) -> None:
    recorded = brownfield(chosen, source, "anna")
    adopted = holding(chosen, source)  # what the rows of the adoption make of it
    assert plan_for(source, chosen, adopted).plan.empty
    source.groups["design"].remove("anna")
    key = ("corp", "anchor-anna", "group:design")
    late = {key: NOW - timedelta(hours=1)}
    kept = plan_for(source, chosen, msgspec.structs.replace(recorded, absences=late)).plan
    gone = plan_for(source, chosen, msgspec.structs.replace(adopted, absences=late)).plan
    assert kept.empty, "by hand: never touched"
    assert gone.counts == {"LeaveTeam": 1, "ReleaseSeat": 1}
