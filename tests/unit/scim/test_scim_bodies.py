"""Whole bodies as identity providers post and put them (S-R13 to S-R16, S-R19, S-R22, S-R23, S-R42)."""

from __future__ import annotations

from typing import Any

import pytest

from connector.scim import resources
from connector.scim.bending import Bending
from connector.scim.errors import Fault
from connector.scim.schemas import ENTERPRISE_URN, GROUP_URN, USER_URN

OKTA = {
    "schemas": [USER_URN],
    "userName": "eva@x.pl",
    "name": {"givenName": "Eva", "familyName": "Nowak"},
    "emails": [{"primary": True, "value": "eva@x.pl", "type": "work"}],
    "displayName": "Eva Nowak",
    "locale": "en-US",
    "externalId": "00ujl29u0le5T6Aj10h7",
    "groups": [],
    "password": "1mz050nq",
    "active": True,
}
JUMPCLOUD = {
    "active": True,
    "schemas": [ENTERPRISE_URN, USER_URN],
    "id": "x",
    "userName": "eva@x.pl",
    "emails": None,
    "photos": [{"type": "photo", "value": None}],
    "phoneNumbers": [{"type": "work", "value": "tel:+48-22-123"}],
    "addresses": [{"type": "work", "streetAddress": None}],
    ENTERPRISE_URN: {"employeeNumber": 7, "manager": ""},
}
VALIDATOR = {
    "schemas": [USER_URN],
    "userName": "eva@x.pl",
    "active": "True",
    "roles": [{"primary": "True", "value": "r"}],
    "meta": {"resourceType": "User"},
}
ONELOGIN = {"schemas": [USER_URN], "userName": "eva@x.pl", "emails": {"value": "e@x.pl", "primary": "true"}}
PING = {"schemas": [USER_URN], "USERNAME": "eva@x.pl", "Name": {"GivenName": "Eva"}, "Emails": [{"Value": "e@x.pl"}]}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (OKTA, {key: value for key, value in OKTA.items() if key not in ("schemas", "groups", "password")}),
        (
            JUMPCLOUD,
            {
                "active": True,
                "userName": "eva@x.pl",
                "photos": [{"type": "photo"}],
                "phoneNumbers": [{"type": "work", "value": "tel:+48-22-123"}],
                "addresses": [{"type": "work"}],
                ENTERPRISE_URN: {"employeeNumber": "7"},
            },
        ),
        (VALIDATOR, {"userName": "eva@x.pl", "active": True, "roles": [{"primary": True, "value": "r"}]}),
        (ONELOGIN, {"userName": "eva@x.pl", "emails": [{"value": "e@x.pl", "primary": True}]}),
        (PING, {"userName": "eva@x.pl", "name": {"givenName": "Eva"}, "emails": [{"value": "e@x.pl"}]}),
    ],
    ids=["okta", "jumpcloud", "entra-validator", "onelogin", "ping"],
)
def test_s_r13_s_r14_s_r23_bodies_of_each_provider(body: dict[str, Any], expected: Any) -> None:
    assert resources.person_of(body, Bending(strict=False)) == expected


@pytest.mark.parametrize(
    ("manager", "expected"),
    [
        ("m1", {"value": "m1"}),
        ({"value": "m1"}, {"value": "m1"}),
        ({"value": "m1", "$ref": None, "displayName": "M"}, {"value": "m1", "displayName": "M"}),
        ([{"value": "m1"}], {"value": "m1"}),
        ([], None),
        ("", None),
        ({"value": ""}, None),
        ({}, None),
        (None, None),
    ],
)
def test_s_r15_a_manager_in_every_shape(manager: Any, expected: Any) -> None:
    body = {"userName": "eva", ENTERPRISE_URN: {"manager": manager}}
    found = resources.person_of(body, Bending(strict=False))
    assert found.get(ENTERPRISE_URN, {}).get("manager") == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"title": ["CTO"]}, {"title": "CTO"}),
        ({"title": [{"value": "CTO"}]}, {"title": "CTO"}),
        ({"title": {"Value": "CTO", "$ref": None}}, {"title": "CTO"}),
        ({"title": [{"value": None}]}, {}),
        ({"title": []}, {}),
        ({"active": [{"$ref": None, "value": "False"}]}, {"active": False}),
        ({"externalId": [{"value": 7}]}, {"externalId": "7"}),
        ({"name": [{"givenName": ["Eva"]}]}, {"name": {"givenName": "Eva"}}),
        ({"emails": [{"value": [{"value": "e"}], "primary": ["true"]}]}, {"emails": [{"value": "e", "primary": True}]}),
        ({ENTERPRISE_URN: [{"department": [{"value": "CAD"}]}]}, {ENTERPRISE_URN: {"department": "CAD"}}),
        ({ENTERPRISE_URN: []}, {}),  # what PHP makes of an empty object
    ],
)
def test_s_r13_a_list_of_one_means_that_one(more: dict[str, Any], expected: dict[str, Any]) -> None:
    """c09; strict refuses it by the attribute's name."""
    body = {"schemas": [USER_URN], "userName": "eva", **more}
    assert resources.person_of(body, Bending(strict=False)) == {"userName": "eva", **expected}
    with pytest.raises(Fault, match="belongs"):
        resources.person_of(body, Bending(strict=True))


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "invalidValue"),
        ({"userName": ""}, "invalidValue"),
        ({"userName": " "}, "invalidValue"),
        ({"userName": None}, "invalidValue"),
        ({"userName": "a\tb"}, "invalidValue"),
        ({"userName": "a" * 1025}, "invalidValue"),
        ({"userName": ["a", "b"]}, "invalidValue"),
        ({"userName": "a", "active": "yes"}, "invalidValue"),
        ({"userName": "a", "emails": [["x"]]}, "invalidValue"),
        ({"userName": "a", ENTERPRISE_URN: ["x"]}, "invalidValue"),
        ({"userName": "a", ENTERPRISE_URN: [{}, {}]}, "invalidValue"),
        ({"userName": "a", "title": [{"value": [{"value": "x"}]}]}, "invalidValue"),
        ({"userName": "a", "title": [{"value": "x", "other": 1}]}, "invalidValue"),
    ],
)
def test_s_r11_a_body_that_cannot_be_kept(body: dict[str, Any], word: str) -> None:
    with pytest.raises(Fault) as caught:
        resources.person_of({"schemas": [USER_URN], **body}, Bending(strict=False))
    assert caught.value.scim_type == word


@pytest.mark.parametrize(
    "more",
    [
        {"nick": "x"},
        {"active": "True"},
        {"emails": {"value": "x"}},
        {"title": 7},
        {"emails": [{"value": "x", "kind": "y"}]},
        {"schemas": []},
        {"schemas": [USER_URN, "urn:custom"]},
        {"emails": [{"value": "x", "primary": True}, {"value": "y", "primary": True}]},
    ],
)
def test_s_r16_strict_refuses_and_tolerant_says_what_it_bent(more: dict[str, Any]) -> None:
    body = {"schemas": [USER_URN], "userName": "eva", **more}
    tolerant = Bending(strict=False)
    resources.person_of(body, tolerant)
    assert len(tolerant.reasons) == 1
    with pytest.raises(Fault):
        resources.person_of(body, Bending(strict=True))
    assert resources.person_of({"schemas": [USER_URN], "userName": "eva"}, Bending(strict=True)) == {"userName": "eva"}


@pytest.mark.parametrize(
    ("raw", "ids"),
    [
        ([{"value": "a"}, {"value": "b"}, {"value": "a"}], ("a", "b")),
        ([{"Value": "a", "$ref": None, "display": "A"}], ("a",)),
        (["a", "b"], ("a", "b")),
        ({"value": "a"}, ("a",)),
        ("a", ("a",)),
        ([7], ("7",)),
        ([], ()),
        ([{"value": None}, {}, None, "", {"display": "x"}, True, [1]], ()),
    ],
)
def test_s_r42_members_in_every_shape(raw: Any, ids: tuple[str, ...]) -> None:
    assert resources.member_ids(raw, Bending(strict=False)) == ids


@pytest.mark.parametrize(
    ("more", "members"), [({}, None), ({"members": None}, ()), ({"members": [{"x": 1}]}, None), ({"members": []}, ())]
)
def test_s_r38_no_word_of_members_is_no_list(more: dict[str, Any], members: Any) -> None:
    body = {"schemas": [GROUP_URN], "displayName": "CAD", "externalId": "g", **more}
    found = resources.group_of(body, Bending(strict=False))
    assert found == ({"displayName": "CAD", "externalId": "g"}, members)


def test_reasons_are_few_short_and_each_once() -> None:
    bending = Bending(strict=False)
    for number in range(200):
        bending.note(f"{number % 100} " + "x" * 1000)
    assert len(bending.reasons) == 50
    assert max(len(reason) for reason in bending.reasons) == 160
