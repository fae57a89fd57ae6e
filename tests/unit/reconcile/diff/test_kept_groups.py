"""Kept groups: joined and left on the evidence of Team memberships, the same whatever they are called (P2, D5, G1)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from connector.reconcile.diff.diff import Draft
from connector.reconcile.diff.kept_groups import KeptGroups, left
from connector.reconcile.plan.changes import Harm, Kind
from connector.reconcile.plan.recorded import GroupMemberRow, GroupRow, Recorded
from connector.reconcile.policy.policy import Policy
from ledger.errors import ManyErrors
from tests.parts.directories import HandSource, mapping, policy
from tests.unit.reconcile.test_pipeline import NOW, absent, codes, ground, guarded, holding, plan_for

CHOSEN = policy(mapping("design", "Design", "CAD", keep_group=True), mapping("site", "Site"))
EVERYBODY = ("anna", "bo", "cy", "dan")


@pytest.fixture
def source() -> HandSource:
    directory = HandSource()
    directory.put(*EVERYBODY, groups=["design"])
    directory.groups["site"] = []
    return directory


def with_groups(recorded: Recorded, *rows: tuple[str, str, str], name: str = "") -> Recorded:
    """The same with (identity, group, mapping) held."""
    members = {who: list(held) for who, held in recorded.group_members.items()}
    groups = dict(recorded.groups)
    for who, group, by in rows:
        provenance = by if by == "manual" else f"mapping:{by}"
        members.setdefault(who, []).append(GroupMemberRow(f"in-{who}-{group}", f"id-{group}", provenance))
        called = name or group
        groups["corp", f"anchor-{group}"] = GroupRow(
            f"g-{group}", f"id-{group}", "corp", f"anchor-{group}", called, called
        )
    return msgspec.structs.replace(recorded, groups=groups, group_members=members)


def settled(source: HandSource, chosen: Policy = CHOSEN, group: str = "design") -> Recorded:
    """Everybody in the group, through the mapping of its name."""
    return with_groups(holding(chosen, source), *((who, group, group) for who in source.groups[group]))


def groups_of(draft: Draft) -> list[tuple[str, str, str, str]]:
    """(who, kind, group, mapping) of every change of a group."""
    return [
        (c.subject.partition("@")[0], c.kind.value, c.object, c.mapping)
        for bundle in draft.plan.bundles
        for c in bundle.changes
        if c.kind in {Kind.JOIN_GROUP, Kind.LEAVE_GROUP}
    ]


def ended(recorded: Recorded, *uids: str, scope: str = "group:design") -> Recorded:
    """A first complete reading, long enough ago, did not list them."""
    return msgspec.structs.replace(recorded, absences={**recorded.absences, **absent(*uids, scope=scope)})


def test_p2_who_joins_the_team_joins_the_group_for_the_same_cause(source: HandSource) -> None:
    draft = plan_for(source, CHOSEN, holding(CHOSEN, HandSource()))
    assert draft.plan.counts["JoinGroup"] == draft.plan.counts["JoinTeam"] == 4
    joined, team = (next(c for c in draft.plan.bundles[0].changes if c.kind is kind)
                    for kind in (Kind.JOIN_GROUP, Kind.JOIN_TEAM))  # fmt: skip
    assert joined.cause == team.cause == "uid=anna,ou=People → design → mapping design"
    assert (joined.object, joined.before, joined.after, joined.mapping) == ("design", "", "member", "design")
    assert (joined.harm, joined.team) == (Harm.NONE, "")
    assert plan_for(source, CHOSEN, settled(source)).plan.empty
    some = with_groups(holding(CHOSEN, source), *((who, "design", "design") for who in EVERYBODY[1:]))
    assert groups_of(plan_for(source, CHOSEN, some)) == [("anna", "JoinGroup", "design", "design")]


def test_p2_no_group_is_kept_that_nobody_asked_for(source: HandSource) -> None:
    plain = policy(mapping("design", "Design", "CAD"), mapping("site", "Site"))
    assert not groups_of(plan_for(source, plain, holding(plain, HandSource())))
    assert plan_for(source, plain, holding(plain, source)).plan.empty
    assert not KeptGroups(ground(Recorded(), plain)).used, "no look at anybody"
    assert "group-not-kept" not in codes(plan_for(source, CHOSEN, holding(CHOSEN, HandSource())))


def test_d5_a_group_without_an_anchor_is_not_kept_and_reported(source: HandSource) -> None:
    recorded = settled(source)
    source.meant["design"] = ""
    draft = plan_for(source, CHOSEN, holding(CHOSEN, HandSource()))
    assert draft.plan.counts == {"Invite": 4, "JoinTeam": 4, "AssignSeat": 4}
    assert "group-not-kept" in codes(draft)
    source.groups["design"].remove("bo")
    ends = plan_for(source, CHOSEN, ended(recorded, "bo"))
    assert groups_of(ends) == [("bo", "LeaveGroup", "design", "design")], "only whose Team membership ended"


def test_d3_a_group_is_left_with_the_team_and_on_the_same_evidence(source: HandSource) -> None:
    recorded = settled(source)
    source.groups["design"].remove("bo")
    assert plan_for(source, CHOSEN, recorded).plan.empty, "one reading takes nobody out of a group"
    draft = plan_for(source, CHOSEN, ended(recorded, "bo"))
    assert draft.plan.counts == {"LeaveTeam": 1, "ReleaseSeat": 1, "LeaveGroup": 1}
    change = draft.plan.bundles[0].changes[-1]
    assert (change.kind, change.object, change.before, change.after) == (Kind.LEAVE_GROUP, "design", "member", "")
    assert (change.harm, change.mapping, change.ref) == (Harm.LEAVE, "design", "in-bo-design")
    assert change.cause == draft.plan.bundles[0].changes[0].cause == "not in group design in two complete readings"
    assert left(draft.plan.bundles, recorded) == {"in-bo-design": "id-design"}


@pytest.mark.parametrize("trouble", ["unknown", "missing", "unresolved"])
def test_d2_a_group_that_proves_nothing_loses_nobody(source: HandSource, trouble: str) -> None:
    recorded = ended(settled(source), "bo")
    source.groups["design"].remove("bo")
    if trouble == "unknown":
        source.unknown["group:design"] = "timeout"
    elif trouble == "missing":
        source.missing.add("design")
    else:
        source.unresolved["design"] = {"uid=bo,ou=People"}
        recorded = msgspec.structs.replace(
            recorded, causes={"bo": {"mapping:design": "uid=bo,ou=People → design → mapping design"}}
        )
        source.people.pop("bo")
        recorded = msgspec.structs.replace(recorded, absences=absent("bo"))
    assert not groups_of(plan_for(source, CHOSEN, recorded))


def test_d2_while_one_kept_group_is_unread_nothing_of_its_source_ends(source: HandSource) -> None:
    chosen = policy(mapping("design", "Design", keep_group=True), mapping("alias", "Site", keep_group=True))
    source.groups["alias"] = ["bo"]
    source.meant["alias"] = "anchor-design"
    recorded = with_groups(holding(chosen, source), *((who, "design", "design") for who in EVERYBODY))
    assert plan_for(source, chosen, recorded).plan.empty
    source.groups["design"].remove("bo")
    source.unknown["group:alias"] = "timeout"
    draft = plan_for(source, chosen, ended(recorded, "bo"))
    assert draft.plan.counts == {"LeaveTeam": 1}, "the other mapping may keep the same group"
    source.unknown.clear()
    assert plan_for(source, chosen, ended(recorded, "bo")).plan.counts == {"LeaveTeam": 1}


def test_p3_a_membership_lasts_as_long_as_one_mapping_keeps_the_group(source: HandSource) -> None:
    chosen = policy(
        mapping("design", "Design", keep_group=True),
        mapping("render", "Studio", group="design", keep_group=True, exclude=["dan@acme.example"]),
    )
    recorded = holding(chosen, source)
    recorded = msgspec.structs.replace(
        recorded,
        memberships={**{who: [r for r in rows if r.provenance == "mapping:design" or who != "dan"]
                        for who, rows in recorded.memberships.items()}},
    )  # fmt: skip
    recorded = with_groups(recorded, *((who, "design", "design") for who in EVERYBODY))
    assert plan_for(source, chosen, recorded).plan.empty
    without = policy(mapping("render", "Studio", group="design", keep_group=True, exclude=["dan@acme.example"]))
    draft = plan_for(source, without, recorded)
    assert draft.plan.counts == {"LeaveTeam": 4, "LeaveGroup": 1}
    assert groups_of(draft) == [("dan", "LeaveGroup", "design", "design")]
    change = draft.plan.bundles[-1].changes[-1]
    assert change.cause == "mapping design is no longer in the organization file"


def test_p3_what_no_mapping_granted_is_never_ended(source: HandSource) -> None:
    recorded = with_groups(holding(CHOSEN, source), *((who, "design", "manual") for who in EVERYBODY))
    assert plan_for(source, CHOSEN, recorded).plan.empty
    source.groups["design"].remove("bo")
    assert plan_for(source, CHOSEN, ended(recorded, "bo")).plan.counts == {"LeaveTeam": 1, "ReleaseSeat": 1}


def test_d5_a_renamed_group_is_the_same_group(source: HandSource) -> None:
    recorded = settled(source)
    source.named["design"] = "Design & Build"
    assert plan_for(source, CHOSEN, recorded).plan.empty
    source.groups["design"].remove("bo")
    draft = plan_for(source, CHOSEN, ended(recorded, "bo"))
    assert groups_of(draft) == [("bo", "LeaveGroup", "Design & Build", "design")], "the name it has now"
    source.named["design"] = ""
    assert groups_of(plan_for(source, CHOSEN, ended(recorded, "bo")))[0][2] == "design", "its reference without a name"


def test_d5_a_reference_that_means_another_group_moves_its_people(source: HandSource) -> None:
    recorded = settled(source)
    source.meant["design"] = "anchor-other"
    draft = plan_for(source, CHOSEN, recorded)
    assert draft.plan.counts == {"JoinGroup": 4, "LeaveGroup": 4}
    source.groups["design"].remove("bo")
    waits = plan_for(source, CHOSEN, recorded)
    assert ("bo", "LeaveGroup", "design", "design") not in groups_of(waits), "not listed there, and not confirmed"


def test_p1_the_digest_holds_no_anchor_and_no_id(source: HandSource) -> None:
    recorded = settled(source)
    plain = policy(mapping("design", "Design", "CAD"), mapping("site", "Site"))
    first = plan_for(source, plain, recorded)
    other = msgspec.structs.replace(
        recorded,
        groups={("corp", "elsewhere"): GroupRow("g", "id-2", "corp", "elsewhere", "cn=design", "design")},
        group_members={who: [GroupMemberRow(f"row-{who}", "id-2", "mapping:design")] for who in EVERYBODY},
    )
    assert first.plan.digest == plan_for(source, plain, other).plan.digest
    assert not first.plan.empty


def test_p2_switching_it_off_ends_the_memberships_under_the_guards(source: HandSource) -> None:
    plain = policy(mapping("design", "Design", "CAD"), mapping("site", "Site"))
    recorded = settled(source)
    draft = plan_for(source, plain, recorded)
    assert draft.plan.counts == {"LeaveGroup": 4}
    assert draft.plan.bundles[0].changes[0].cause == "mapping design no longer keeps its group"
    held = guarded(draft, plain, recorded)
    assert held.held_counts == {"LeaveGroup": 4}
    assert [trip.text for trip in held.trips] == ["group design would be left without anybody"]


def test_g1_leaving_groups_counts_as_leaving(source: HandSource) -> None:
    narrow = {"team_day_floor": 1, "team_day_percent": 0, "day_floor": 100}
    both = policy(mapping("design", "Design", keep_group=True), mapping("site", "Site"), limits=narrow)
    recorded = settled(source, both)
    recorded = with_groups(recorded, ("eve", "design", "manual"))
    plain = replace(both, rules={**both.rules, "design": replace(both.rules["design"], keep_group=False)})
    result = guarded(plan_for(source, plain, recorded), plain, recorded)
    assert result.held_counts == {"LeaveGroup": 4}
    assert {trip.scope for trip in result.trips} >= {"mapping design"}


def test_g1_no_group_goes_to_zero_unapproved(source: HandSource) -> None:
    """Nobody leaves the Team, for another mapping leads there; the group would still be empty."""
    chosen = policy(mapping("design", "Design", keep_group=True), mapping("staff", "Design"))
    source.groups["staff"] = list(EVERYBODY)
    recorded = settled(source, chosen)
    source.groups["design"] = []
    draft = plan_for(source, chosen, ended(recorded, *EVERYBODY))
    assert draft.plan.counts == {"EndGrant": 4, "LeaveGroup": 4}
    result = guarded(draft, chosen, recorded)
    assert (result.held_counts, result.counts) == ({"EndGrant": 4, "LeaveGroup": 4}, {})
    source.groups["design"] = ["anna"]
    one_stays = guarded(plan_for(source, chosen, ended(recorded, *EVERYBODY[1:])), chosen, recorded)
    assert one_stays.counts == {"EndGrant": 3, "LeaveGroup": 3}


def test_g1_a_mapping_going_to_zero_holds_its_group(source: HandSource) -> None:
    recorded = settled(source)
    source.groups["design"] = []
    result = guarded(plan_for(source, CHOSEN, ended(recorded, *EVERYBODY)), CHOSEN, recorded)
    assert result.held_counts == {"LeaveTeam": 4, "ReleaseSeat": 4, "LeaveGroup": 4}
    assert {trip.scope for trip in result.trips} == {"Team Design", "mapping design", "group design"}


def test_p2_a_mover_waits_whole(source: HandSource) -> None:
    chosen = policy(mapping("design", "Design", keep_group=True), mapping("site", "Site", keep_group=True),
                    limits={"team_day_floor": 0, "team_day_percent": 0})  # fmt: skip
    recorded = settled(source, chosen)
    source.move("bo", "design", "site")
    assert plan_for(source, chosen, recorded).plan.empty, "an unconfirmed leave holds the whole move"
    confirmed = ended(recorded, "bo")
    draft = plan_for(source, chosen, confirmed)
    assert draft.plan.counts == {"JoinTeam": 1, "LeaveTeam": 1, "JoinGroup": 1, "LeaveGroup": 1}
    result = guarded(draft, chosen, confirmed)
    assert result.held_counts == draft.plan.counts
    assert result.counts == {}


def test_p2_a_group_is_not_left_for_a_mapping_that_only_waits(source: HandSource) -> None:
    chosen = policy(mapping("site", "Site"), mapping("studio", "Studio", group="design", keep_group=True))
    before = policy(mapping("design", "Design", keep_group=True), mapping("site", "Site"))
    source.groups["site"] = ["bo"]
    recorded = with_groups(holding(before, source), *((who, "design", "design") for who in EVERYBODY))
    source.groups["site"] = []  # not confirmed: bo joins Studio later
    draft = plan_for(source, chosen, recorded)
    assert not [row for row in groups_of(draft) if row[0] == "bo"]


def test_g7_a_leaver_keeps_their_groups_until_they_are_removed(source: HandSource) -> None:
    recorded = settled(source)
    source.change("bo", disabled=True)
    off = plan_for(source, CHOSEN, recorded)
    assert off.plan.counts == {"PauseSeat": 1, "DisableIdentity": 1}
    leaver = msgspec.structs.replace(recorded.identities["bo"], state="disabled")
    waiting = msgspec.structs.replace(
        recorded,
        identities={**recorded.identities, "bo": leaver},
        seats={**recorded.seats, "bo": []},
        removal_due={"bo": NOW + timedelta(days=1)},
    )
    assert plan_for(source, CHOSEN, waiting).plan.empty
    due = msgspec.structs.replace(waiting, removal_due={"bo": NOW})
    assert plan_for(source, CHOSEN, due).plan.counts == {"LeaveTeam": 1, "RemoveIdentity": 1, "LeaveGroup": 1}
    source.change("bo", disabled=False)
    assert "JoinGroup" not in plan_for(source, CHOSEN, waiting).plan.counts, "a return finds the group as it was"


def test_g4_a_protected_person_keeps_their_group(source: HandSource) -> None:
    chosen = policy(
        mapping("design", "Design", "CAD"), mapping("site", "Site"), sync={"protected": ["bo@acme.example"]}
    )
    draft = plan_for(source, chosen, settled(source))
    assert "bo" not in [row[0] for row in groups_of(draft)]
    assert "protected" in codes(draft)


def test_p1_only_a_kept_group_changes_the_policy_hash() -> None:
    one, other, plain = (policy(mapping("design", "Design", **values))
                         for values in ({"keep_group": True}, {"keep_group": False}, {}))  # fmt: skip
    assert other.hash == plain.hash != one.hash


def test_a_filter_names_no_group_to_keep() -> None:
    with pytest.raises(ManyErrors) as caught:
        policy(mapping("design", "Design", where={"department": ["Design"]}, keep_group=True))
    assert [fault.where for fault in caught.value.faults] == ["mappings.design.keep_group"]


def test_p1_who_keeps_the_group_does_not_depend_on_the_order_of_the_file(source: HandSource) -> None:
    rules: list[Any] = [mapping(name, team, group="design", keep_group=True)
                        for name, team in (("one", "Design"), ("two", "Site"))]  # fmt: skip
    drafts = [plan_for(source, policy(*order), Recorded()) for order in (rules, rules[::-1])]
    assert drafts[0].plan.digest == drafts[1].plan.digest
    assert {row[3] for row in groups_of(drafts[0])} == {"one"}
