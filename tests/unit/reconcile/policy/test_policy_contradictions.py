"""Every contradiction of a policy is named at once, with place and suggestion; the hash covers all that decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from connector.reconcile.plan.settings import GuestSettings, LimitSettings, MappingSettings, SyncSettings, TeamSettings
from connector.reconcile.policy.policy import Policy
from ledger.errors import ManyErrors
from tests.parts.directories import mapping, policy

GUESTS = {"domains": ["partner.example"], "mappings": ["design"]}


def faults(
    *mappings: Mapping[str, Any],
    guests: Sequence[Mapping[str, Any]] = (),
    sync: Mapping[str, Any] | None = None,
    primary_admin: str = "",
) -> list[str]:
    """``where: what`` of everything wrong with these mappings over Team Design and directory corp."""
    usual = {"directory": "corp", "team": "Design", "group": "design"}
    try:
        Policy.build(
            teams=[TeamSettings(name="Design", primary_admin=primary_admin)],
            mappings=[
                MappingSettings.model_validate({**usual, **item, **({"group": ""} if "where" in item else {})})
                for item in mappings
            ],
            guests=[GuestSettings.model_validate(item) for item in guests],
            sync=SyncSettings.model_validate(sync or {}),
            directories={"corp": ["department", "country"]},
            domains=["acme.example"],
        )
    except ManyErrors as many:
        return [f"{fault.where}: {fault.what}" for fault in many.faults]
    return []


@pytest.mark.parametrize(
    ("item", "found"),
    [
        ({"where": {"departement": ["Design"]}},
         "mappings.a.where: unknown field 'departement': did you mean 'department'?"),
        ({"where": {"department": []}}, "mappings.a.where: department has no values: nobody can match"),
        ({"where": {"department": [" "]}}, "mappings.a.where: department: an empty value"),
        ({"where": {"department": ["ŁÓDŹ", "łódź"]}}, "mappings.a.where: department: 'łódź' is listed twice"),
        ({"where": {"mail": ["anna"]}}, "mappings.a.where: mail: 'anna' is not a mail address"),
        ({"where": {"mail_domain": ["acme example"]}}, "mappings.a.where: mail_domain: 'acme example' is not a domain"),
        ({"where": {"mail_domain": ["acmee.example"]}},
         "mappings.a.where: mail_domain 'acmee.example' is no domain of the organization: did you mean 'acme.ex"),
        ({"where": {"mail": ["A@acme.example"]}, "exclude": ["a@acme.example"]}, "mappings.a.exclude: everybody whom"),
        ({"group": ""}, "mappings.a: neither group nor where"),
        ({"exclude_groups": ["DESIGN"]}, "mappings.a.exclude_groups: the mapping's own group 'design' is excluded"),
        ({"exclude_groups": ["x", "X "]}, "mappings.a.exclude_groups: a group is listed twice"),
        ({"exclude_groups": [""]}, "mappings.a.exclude_groups: an empty group"),
        ({"exclude": ["a@acme.example", "A@acme.example"]}, "mappings.a.exclude: an address is listed twice"),
        ({"role": "sso_admin"}, "mappings.a.role: role = 'sso_admin' lets whoever edits the directory make admins: set"
         " [sync] allow_roles = true"),
        ({"release_after": "40d"}, "mappings.a: release_after is longer than remove_after"),
    ],
)  # fmt: skip
def test_one_contradiction_of_a_mapping(item: Mapping[str, Any], found: str) -> None:
    (fault,) = faults({"id": "a", **item})
    assert fault.startswith(found)


def test_group_and_where_together_are_refused() -> None:
    both = MappingSettings(id="a", directory="corp", group="design", where={"department": ("Design",)}, team="Design")
    with pytest.raises(ManyErrors, match="group and where: a mapping has one of them"):
        Policy.build(teams=[TeamSettings(name="Design")], mappings=[both])


def test_a_role_needs_a_team() -> None:
    with pytest.raises(ValidationError, match="team"):
        MappingSettings.model_validate({"id": "a", "directory": "corp", "group": "g", "role": "secondary_admin"})


def test_the_same_people_and_team_twice_are_refused_and_overlaps_are_fine() -> None:
    where = {"department": ["Design", "R&D"], "country": ["PL"]}
    again = {"country": ["pl"], "department": ["r&d", "DESIGN"]}
    assert faults({"id": "a", "where": where}, {"id": "b", "where": again}) == [
        "mappings.b: the same people and Team as mapping 'a': list all offerings in one of them"
    ]
    assert faults({"id": "a", "where": where}, {"id": "b", "where": {"country": ["PL"]}}, {"id": "c"}) == []


def test_equal_priorities_are_no_contradiction() -> None:
    assert faults({"id": "a", "priority": 1}, {"id": "b", "priority": 1, "group": "other"}) == []


def test_a_primary_admin_by_name_and_by_mapping_contradict() -> None:
    role = {"id": "a", "role": "primary_admin"}
    (fault,) = faults(role, sync={"allow_roles": True}, primary_admin="anna@acme.example")
    assert fault.startswith("mappings.a.role: Team 'Design' has the Primary Admin anna@acme.example already")
    assert faults(role, sync={"allow_roles": True}) == []


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ({"mappings": ["desing"]}, "guests[0].mappings: unknown mapping 'desing': did you mean 'design'?"),
        ({"mappings": ["owners"]}, "guests[0].mappings: mapping 'owners' grants a role"),
        ({"mappings": ["design", "design"]}, "guests[0].mappings: one of the mappings is listed twice"),
        ({"domains": ["ACME.example"]}, "guests[0].domains: acme.example is a domain of the organization"),
        (
            {"mails": ["bo@partnr.example"]},
            "guests[0].mails: bo@partnr.example is not of partner.example",
        ),
    ],
)
def test_d11_one_contradiction_of_a_guests_rule(rule: Mapping[str, Any], found: str) -> None:
    owners = {"id": "owners", "group": "owners", "role": "secondary_admin"}
    (fault,) = faults({"id": "design"}, owners, guests=[{**GUESTS, **rule}], sync={"allow_roles": True})
    assert fault.startswith(found)


def test_a_filter_by_a_guests_domain_is_no_contradiction() -> None:
    filtered = {"id": "design", "where": {"mail_domain": ["partner.example"]}}
    assert faults(filtered, guests=[GUESTS]) == []
    assert len(faults(filtered, guests=[{**GUESTS, "domains": ["other.example"]}])) == 1


def test_r3_everything_wrong_is_named_together() -> None:
    found = faults(
        {"id": "a", "where": {"departement": []}, "role": "sso_admin", "exclude_groups": ["x", "x"]},
        {"id": "b", "team": "Desing"},
        guests=[{"domains": ["acme.example"], "mappings": ["c"], "mails": ["x@y.example"]}],
    )
    assert len(found) == 8


def test_p1_the_hash_covers_every_key_and_only_what_is_used() -> None:
    plain = policy(mapping("design", "Design", "CAD"))
    spelled_out = policy(
        mapping("design", "Design", "CAD", where={}, group="design", exclude=[], exclude_groups=[], role="", limits={}),
        sync={"allow_roles": False},
    )
    assert spelled_out.hash == plain.hash
    different = [
        policy(mapping("design", "Design", "CAD", where={"department": ["Design"]})),
        policy(mapping("design", "Design", "CAD", where={"department": ["Design", "R&D"]})),
        policy(mapping("design", "Design", "CAD", exclude=["a@acme.example"])),
        policy(mapping("design", "Design", "CAD", exclude_groups=["interns"])),
        policy(mapping("design", "Design", "CAD"), sync={"allow_roles": True}),
        policy(mapping("design", "Design", "CAD", role="sso_admin"), sync={"allow_roles": True}),
        policy(mapping("design", "Design", "CAD", limits={"day_floor": 3})),
        policy(mapping("design", "Design", "CAD"), guests=[GUESTS]),
        policy(mapping("design", "Design", "CAD"), guests=[{**GUESTS, "mails": ["bo@partner.example"]}]),
    ]
    assert len({plain.hash, *(item.hash for item in different)}) == len(different) + 1
    other = policy(mapping("design", "Design", "CAD", where={"department": ["r&d", "DESIGN"]}))
    assert other.hash == different[1].hash, "case and order of values decide nothing"


def test_g1_limits_of_a_mapping_stand_before_those_of_the_file() -> None:
    chosen = policy(
        mapping("a", "A", limits={"day_percent": 5, "day_floor": 1}),
        mapping("b", "B", limits={"day_floor": 7}),
        mapping("c", "C"),
        limits={"team_day_percent": 30, "team_day_floor": 3, "day_ceiling": 50},
    )
    found = [(item.team_day_percent, item.team_day_floor) for item in map(chosen.limits_of, ("a", "b", "c", "gone"))]
    assert found == [(5, 1), (30, 7), (30, 3), (30, 3)]
    assert chosen.limits_of("a").day_ceiling == 50
    assert isinstance(chosen.limits_of("a"), LimitSettings)
