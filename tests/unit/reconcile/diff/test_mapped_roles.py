"""Admin roles by mapping: granted, ended on the evidence of a membership, never the last Primary Admin (G4, P3)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from connector.reconcile.diff.diff import Draft
from connector.reconcile.plan.changes import Harm, Kind
from connector.reconcile.plan.recorded import Recorded, RoleRow
from connector.reconcile.policy.policy import Policy
from tests.parts.directories import HandSource, mapping, policy
from tests.unit.reconcile.test_pipeline import absent, codes, guarded, holding, plan_for

ALLOWED = {"allow_roles": True}


def roles_policy(role: str = "secondary_admin", **values: Any) -> Policy:
    return policy(
        mapping("design", "Design", "CAD"), mapping("leads", "Design", role=role), **{"sync": ALLOWED, **values}
    )


@pytest.fixture
def source() -> HandSource:
    directory = HandSource()
    directory.put("anna", "bo", "cy", "dan", groups=["design"])
    directory.groups["leads"] = ["anna", "bo"]
    return directory


def with_roles(recorded: Recorded, *rows: tuple[str, str, str], provenance: str = "mapping:leads") -> Recorded:
    """The same with (identity, role, Team id) held."""
    roles = {who: list(held) for who, held in recorded.roles.items()}
    primary = {team: set(owners) for team, owners in recorded.primary_admins.items()}
    for who, role, team in rows:
        roles.setdefault(who, []).append(RoleRow(f"role-{who}-{role}", role, team, provenance))
        if role == "primary_admin":
            primary.setdefault(team, set()).add(who)
    owners = {team: frozenset(found) for team, found in primary.items()}
    return msgspec.structs.replace(recorded, roles=roles, admins=frozenset(roles), primary_admins=owners)


def roles_of(draft: Draft) -> list[tuple[str, str, str, str]]:
    """(who, kind, object, role) of every change of a role."""
    return [
        (c.subject.partition("@")[0], c.kind.value, c.object, c.before or c.after)
        for bundle in draft.plan.bundles
        for c in bundle.changes
        if c.kind in {Kind.GRANT_ROLE, Kind.END_ROLE}
    ]


def test_r6_a_mapping_grants_its_role_and_is_then_settled(source: HandSource) -> None:
    chosen = roles_policy()
    empty = plan_for(source, chosen, holding(chosen, HandSource()))
    assert roles_of(empty) == [
        ("anna", "GrantRole", "Design", "secondary_admin"),
        ("bo", "GrantRole", "Design", "secondary_admin"),
    ]
    granted = next(c for c in empty.plan.bundles[0].changes if c.kind is Kind.GRANT_ROLE)
    assert granted.cause == "uid=anna,ou=People → leads → mapping leads"
    assert (granted.harm, granted.team, granted.mapping) == (Harm.NONE, "design", "leads")
    recorded = with_roles(holding(chosen, source), *((who, "secondary_admin", "design") for who in ("anna", "bo")))
    assert plan_for(source, chosen, recorded).plan.empty
    missing = with_roles(holding(chosen, source), ("anna", "secondary_admin", "design"))
    assert roles_of(plan_for(source, chosen, missing)) == [("bo", "GrantRole", "Design", "secondary_admin")]


def test_r6_an_sso_admin_is_one_of_the_organization(source: HandSource) -> None:
    chosen = roles_policy("sso_admin")
    draft = plan_for(source, chosen, holding(chosen, source))
    assert roles_of(draft)[0] == ("anna", "GrantRole", "organization", "sso_admin")
    assert {c.team for b in draft.plan.bundles for c in b.changes} == {""}
    recorded = with_roles(holding(chosen, source), ("anna", "sso_admin", ""), ("bo", "sso_admin", ""))
    assert plan_for(source, chosen, recorded).plan.empty


def test_d3_a_role_ends_with_its_membership_and_on_the_same_evidence(source: HandSource) -> None:
    chosen = roles_policy()
    recorded = with_roles(holding(chosen, source), *((who, "secondary_admin", "design") for who in ("anna", "bo")))
    source.groups["leads"].remove("bo")
    assert plan_for(source, chosen, recorded).plan.empty, "one reading takes no role"
    confirmed = msgspec.structs.replace(recorded, absences=absent("bo", scope="group:leads"))
    draft = plan_for(source, chosen, confirmed)
    assert draft.plan.counts == {"EndGrant": 1, "EndRole": 1}
    ended = draft.plan.bundles[0].changes[-1]
    assert (ended.harm, ended.team, ended.ref) == (Harm.LEAVE, "design", "role-bo-secondary_admin")
    source.unknown["group:leads"] = "timeout"
    assert plan_for(source, chosen, confirmed).plan.empty, "an unread group takes no role"


def test_g4_protection_of_admins_lets_their_role_end(source: HandSource) -> None:
    chosen = roles_policy()
    recorded = with_roles(holding(chosen, source), *((who, "secondary_admin", "design") for who in ("anna", "bo")))
    source.change("bo", disabled=True)
    draft = plan_for(source, chosen, recorded)
    assert draft.plan.counts == {"PauseSeat": 1, "DisableIdentity": 1, "EndRole": 1}
    assert "protected" not in codes(draft)


def test_g4_an_admin_whom_the_plan_leaves_a_role_stays_protected(source: HandSource) -> None:
    chosen = roles_policy()
    recorded = with_roles(holding(chosen, source), ("bo", "secondary_admin", "design"))
    recorded = with_roles(recorded, ("bo", "sso_admin", ""), provenance="manual")
    source.change("bo", disabled=True)
    draft = plan_for(source, chosen, recorded)
    assert [bundle.subject for bundle in draft.plan.bundles] == ["anna@acme.example"]
    assert "protected" in codes(draft)
    left = policy(mapping("design", "Design", "CAD"), mapping("leads", "Design", role="secondary_admin"), sync=ALLOWED)
    source.change("bo", disabled=False)
    source.groups["design"].remove("bo")
    still = with_roles(holding(chosen, source), ("bo", "secondary_admin", "design"))
    outside = msgspec.structs.replace(still, absences=absent("bo", scope="group:design"))
    assert all(bundle.subject != "bo@acme.example" for bundle in plan_for(source, left, outside).plan.bundles)


def test_p3_a_role_that_no_mapping_granted_is_never_ended(source: HandSource) -> None:
    chosen = roles_policy(sync={**ALLOWED, "protect_admins": False})
    by_hand = with_roles(holding(chosen, source), ("cy", "secondary_admin", "design"), provenance="manual")
    by_hand = with_roles(by_hand, ("anna", "secondary_admin", "design"), ("bo", "secondary_admin", "design"))
    source.change("cy", disabled=True)
    assert plan_for(source, chosen, by_hand).plan.counts == {"PauseSeat": 1, "DisableIdentity": 1}
    held = with_roles(holding(chosen, source), ("anna", "secondary_admin", "design"), provenance="manual")
    held = with_roles(held, ("bo", "secondary_admin", "design"))
    source.change("cy", disabled=False)
    source.groups["leads"].remove("anna")
    gone = msgspec.structs.replace(held, absences=absent("anna", scope="group:leads"))
    assert plan_for(source, chosen, gone).plan.counts == {"EndGrant": 1}


def test_p3_a_role_lasts_as_long_as_one_mapping_grants_it(source: HandSource) -> None:
    chosen = policy(
        mapping("design", "Design", "CAD"),
        mapping("leads", "Design", role="secondary_admin"),
        mapping("heads", "Design", role="secondary_admin"),
        sync=ALLOWED,
    )
    source.groups["heads"] = ["bo"]
    recorded = with_roles(holding(chosen, source), *((who, "secondary_admin", "design") for who in ("anna", "bo")))
    source.groups["leads"].remove("bo")
    one = msgspec.structs.replace(recorded, absences=absent("bo", scope="group:leads"))
    assert plan_for(source, chosen, one).plan.counts == {"EndGrant": 1}
    both = HandSource(people=source.people, groups={**source.groups, "heads": []})
    two = msgspec.structs.replace(
        recorded, absences={**absent("bo", scope="group:leads"), **absent("bo", scope="group:heads")}
    )
    assert plan_for(both, chosen, two).plan.counts == {"EndGrant": 2, "EndRole": 1}


def test_r6_a_mapping_that_grants_no_role_any_more_ends_it_by_decision(source: HandSource) -> None:
    chosen = roles_policy()
    recorded = with_roles(holding(chosen, source), *((who, "secondary_admin", "design") for who in ("anna", "bo")))
    plain = policy(mapping("design", "Design", "CAD"), mapping("leads", "Design"))
    draft = plan_for(source, plain, recorded)
    assert draft.plan.counts == {"EndRole": 2}
    assert not guarded(draft, plain, recorded).held, "nobody leaves the Team, so it is not left empty"


def test_g1_ends_of_roles_count_as_leaving(source: HandSource) -> None:
    narrow = {"team_day_floor": 1, "team_day_percent": 0, "day_floor": 100}
    plain = policy(mapping("design", "Design", "CAD"), mapping("leads", "Design"), limits=narrow)
    chosen = roles_policy()
    recorded = with_roles(holding(chosen, source), *((who, "secondary_admin", "design") for who in ("anna", "bo")))
    result = guarded(plan_for(source, plain, recorded), plain, recorded)
    assert result.held_counts == {"EndRole": 2}


def owners(source: HandSource, *who: str, **changes: Any) -> tuple[Policy, Recorded]:
    source.groups["leads"] = list(who)
    chosen = roles_policy("primary_admin", **changes)
    return chosen, with_roles(holding(chosen, source), *((one, "primary_admin", "design") for one in who))


def test_g4_the_last_primary_admin_of_a_team_is_never_ended(source: HandSource) -> None:
    chosen, recorded = owners(source, "anna", sync={**ALLOWED, "protect_admins": False})
    source.groups["leads"] = []
    gone = msgspec.structs.replace(recorded, absences=absent("anna", scope="group:leads"))
    draft = plan_for(source, chosen, gone)
    assert draft.plan.empty
    assert "protected" in codes(draft)


def test_g4_several_who_would_leave_a_team_without_any_all_stay(source: HandSource) -> None:
    chosen, recorded = owners(source, "anna", "bo", sync={**ALLOWED, "protect_admins": False})
    source.groups["leads"] = []
    gone = msgspec.structs.replace(recorded, absences=absent("anna", "bo", scope="group:leads"))
    draft = plan_for(source, chosen, gone)
    assert draft.plan.empty
    assert next(p.subjects for p in draft.plan.problems if p.code == "protected") == (
        "anna@acme.example",
        "bo@acme.example",
    )


def test_g4_a_primary_admin_who_is_not_active_does_not_count(source: HandSource) -> None:
    chosen, recorded = owners(source, "anna", "bo")
    bo = msgspec.structs.replace(recorded.identities["bo"], state="disabled")
    source.change("bo", disabled=True)
    source.groups["leads"] = ["bo"]
    gone = msgspec.structs.replace(
        recorded,
        identities={**recorded.identities, "bo": bo},
        roles={"anna": recorded.roles["anna"]},
        absences=absent("anna", scope="group:leads"),
    )
    assert all(bundle.subject != "anna@acme.example" for bundle in plan_for(source, chosen, gone).plan.bundles)


def test_g4_a_team_is_handed_over_in_two_runs(source: HandSource) -> None:
    chosen, recorded = owners(source, "anna")
    source.groups["leads"] = ["bo"]
    gone = msgspec.structs.replace(recorded, absences=absent("anna", scope="group:leads"))
    draft = plan_for(source, chosen, gone)
    assert roles_of(draft) == [("bo", "GrantRole", "Design", "primary_admin")]
    after = with_roles(gone, ("bo", "primary_admin", "design"))
    assert ("anna", "EndRole", "Design", "primary_admin") in roles_of(plan_for(source, chosen, after))


def test_g4_whom_the_file_names_keeps_a_role_that_a_mapping_granted_first(source: HandSource) -> None:
    _, recorded = owners(source, "anna", "bo")
    named = policy(mapping("design", "Design", "CAD"), admins={"Design": "anna@acme.example"})
    draft = plan_for(source, named, recorded)
    assert roles_of(draft) == [("bo", "EndRole", "Design", "primary_admin")]
    assert "protected" not in codes(draft) or "anna@acme.example" not in str(draft.plan.problems)


def test_p2_a_mover_whose_leave_waits_gets_no_role_yet(source: HandSource) -> None:
    chosen = policy(mapping("site", "Site"), mapping("leads", "Design", role="secondary_admin"), sync=ALLOWED)
    source.groups = {"site": ["anna", "bo"], "leads": []}
    recorded = holding(chosen, source)
    source.groups = {"site": ["anna"], "leads": ["bo"]}
    assert plan_for(source, chosen, recorded).plan.empty
    confirmed = msgspec.structs.replace(recorded, absences=absent("bo", scope="group:site"))
    assert plan_for(source, chosen, confirmed).plan.counts == {"JoinTeam": 1, "LeaveTeam": 1, "GrantRole": 1}


def test_p1_the_mapping_that_grants_a_role_does_not_depend_on_the_order_of_the_file(source: HandSource) -> None:
    one = mapping("leads", "Design", role="secondary_admin", priority=20)
    other = mapping("heads", "Design", role="secondary_admin", priority=10)
    source.groups["heads"] = ["anna"]
    digests, granting = set(), set()
    for order in ((one, other), (other, one)):
        chosen = policy(mapping("design", "Design"), *order, sync=ALLOWED)
        draft = plan_for(source, chosen, holding(chosen, HandSource()))
        digests.add(draft.plan.digest)
        granting |= {c.mapping for c in draft.plan.bundles[0].changes if c.kind is Kind.GRANT_ROLE}
    assert len(digests) == 1
    assert granting == {"heads"}, "the better priority"


def test_p2_a_role_is_not_ended_for_a_mapping_that_only_waits(source: HandSource) -> None:
    """Bo moves from one mapping with the role to another one, and a third membership still lacks its second reading."""
    chosen = policy(
        mapping("site", "Site"),
        mapping("leads", "Design", role="secondary_admin"),
        mapping("heads", "Design", role="secondary_admin"),
        sync=ALLOWED,
    )
    source.groups = {"site": ["bo"], "leads": ["bo"], "heads": []}
    recorded = with_roles(holding(chosen, source), ("bo", "secondary_admin", "design"))
    source.groups = {"site": [], "leads": [], "heads": ["bo"]}
    left = msgspec.structs.replace(recorded, absences=absent("bo", scope="group:leads"))
    assert plan_for(source, chosen, left).plan.empty
