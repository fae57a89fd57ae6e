"""PATCH on a document, in the exact words of the identity providers (S-R14, S-R15, S-R23 to S-R33)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from connector.scim import patching
from connector.scim.bending import Bending
from connector.scim.errors import Fault
from connector.scim.patching import PATCH_URN
from connector.scim.resources import Document
from connector.scim.schemas import ENTERPRISE_URN, USER, USER_URN

WORK = {"type": "work", "value": "w@x.pl", "primary": True}
HOME = {"type": "home", "value": "h@x.pl"}
EVA: Document = {
    "userName": "eva",
    "active": True,
    "title": "CTO",
    "name": {"givenName": "Eva", "familyName": "Nowak"},
    "emails": [WORK, HOME],
    ENTERPRISE_URN: {"department": "CAD", "manager": {"value": "m1", "$ref": "../Users/m1"}},
}


def patch(*wanted: Any, document: Document = EVA, strict: bool = False) -> Document:
    """What the document becomes."""
    bending = Bending(strict=strict)
    body = {"schemas": [PATCH_URN], "Operations": list(wanted)}
    before = copy.deepcopy(document)
    found = patching.patched(document, patching.operations(body, bending), USER, "id1", bending)
    assert document == before
    return found


def changed(found: Document) -> dict[str, Any]:
    """What differs from Eva; None: gone."""
    return {key: found.get(key) for key in EVA | found if EVA.get(key) != found.get(key)}


def one(op: str, path: str | None = None, *value: Any) -> dict[str, Any]:
    """One operation, with a value or without."""
    found: dict[str, Any] = {"op": op}
    if path is not None:
        found["path"] = path
    return {**found, "value": value[0]} if value else found


URN_DEPARTMENT = f"{ENTERPRISE_URN}:department"
URN_MANAGER = f"{ENTERPRISE_URN}:manager"

ENTRA = [
    (one("Replace", "active", "False"), {"active": False}),
    (one("Add", "nickName", "Babs"), {"nickName": "Babs"}),
    (one("Replace", 'emails[type eq "work"].value', "x"), {"emails": [{**WORK, "value": "x"}, HOME]}),
    (
        one("Replace", 'emails[type eq "other"].Value', "x"),
        {"emails": [WORK, HOME, {"type": "other", "value": "x"}]},
    ),
    (one("Add", 'addresses[type eq "other"].Formatted', "X 1"), {"addresses": [{"type": "other", "formatted": "X 1"}]}),
    (one("Add", 'roles[primary eq "True"].value', "admin"), {"roles": [{"primary": True, "value": "admin"}]}),
    (one("Add", 'phoneNumbers[type eq "mobile"].value', "+1"), {"phoneNumbers": [{"type": "mobile", "value": "+1"}]}),
    (one("Add", URN_MANAGER, "m2"), {ENTERPRISE_URN: {"department": "CAD", "manager": {"value": "m2"}}}),
    (
        one("Add", URN_MANAGER, {"$ref": None, "value": "m2"}),
        {ENTERPRISE_URN: {"department": "CAD", "manager": {"value": "m2"}}},
    ),
    (
        one("Add", URN_MANAGER, [{"value": "m2"}]),
        {ENTERPRISE_URN: {"department": "CAD", "manager": {"value": "m2"}}},
    ),
    (one("Replace", URN_MANAGER, ""), {ENTERPRISE_URN: {"department": "CAD"}}),
    (one("Replace", URN_MANAGER, {"value": ""}), {ENTERPRISE_URN: {"department": "CAD"}}),
    (one("Remove", URN_MANAGER), {ENTERPRISE_URN: {"department": "CAD"}}),
    (
        one(
            "replace",
            None,
            {"displayName": "B", "name.givenName": "K", f"{ENTERPRISE_URN}:employeeNumber": "A", "active": "True"},
        ),
        {
            "displayName": "B",
            "name": {"givenName": "K", "familyName": "Nowak"},
            ENTERPRISE_URN: {**EVA[ENTERPRISE_URN], "employeeNumber": "A"},
        },
    ),
    (
        one("replace", None, {'emails[type eq "work"].value': "x"}),
        {"emails": [{**WORK, "value": "x"}, HOME]},
    ),
]
OTHERS = [
    (one("replace", None, {"active": False}), {"active": False}),  # Okta
    (one("replace", None, {"id": "id1", "title": "CEO", "schemas": [USER_URN], "groups": []}), {"title": "CEO"}),
    (one("replace", "emails", {"value": "o@x.pl", "type": "work"}), {"emails": [{"value": "o@x.pl", "type": "work"}]}),
    (one("replace", "emails", None), {"emails": None}),  # JumpCloud
    (one("replace", "title", None), {"title": None}),
    (one("add", "externalId", 701984), {"externalId": "701984"}),
    (one("replace", "displayName", [{"value": "Eva"}]), {"displayName": "Eva"}),  # c09
    (one("Replace", "active", [{"$ref": None, "value": "False"}]), {"active": False}),
    (one("replace", 'emails[type eq "work"].value', [{"value": "x"}]), {"emails": [{**WORK, "value": "x"}, HOME]}),
    (
        one("replace", 'emails[type eq "home"]', [{"value": "z", "type": "home"}]),
        {"emails": [WORK, {"value": "z", "type": "home"}]},
    ),  # c08
    (one("add", 'emails[type eq "home"]', [{"display": "Z"}]), {"emails": [WORK, {**HOME, "display": "Z"}]}),
    (
        one("add", 'emails[type eq "other"]', [{"value": "n"}]),
        {"emails": [WORK, HOME, {"type": "other", "value": "n"}]},
    ),
    (one("replace", None, [{"title": "CEO"}]), {"title": "CEO"}),
    (
        one("replace", ENTERPRISE_URN, [{"department": "CAM"}]),
        {ENTERPRISE_URN: {**EVA[ENTERPRISE_URN], "department": "CAM"}},
    ),
    (one("add", ENTERPRISE_URN, []), {}),
    (one("replace", "mailNickname", "x"), {}),
    (one("replace", None, {"mailNickname": "x", "not a name": 1, "urn:custom:2.0:User:a": 2}), {}),
]
STANDARD = [
    (one("add", "emails", [{"value": "n@x.pl"}]), {"emails": [WORK, HOME, {"value": "n@x.pl"}]}),
    (one("add", "emails", [HOME]), {}),
    (one("replace", "emails", [HOME]), {"emails": [HOME]}),
    (one("replace", "emails", []), {"emails": None}),
    (one("remove", "emails"), {"emails": None}),
    (one("remove", "emails", None), {"emails": None}),  # null and absent are the same (RFC 7643 §2.5)
    (one("replace", 'emails[type eq "home"]', None), {"emails": [WORK]}),
    (one("add", "emails", None), {}),
    (one("add", 'emails[type eq "home"]', None), {}),  # nothing is added, nothing is taken
    (one("add", 'emails[type eq "home"]', {}), {}),
    (one("add", 'emails[type eq "fax"]', None), {}),
    (one("replace", 'emails[type eq "fax"].value', None), {}),
    (one("replace", 'emails[type eq "home"].value', None), {"emails": [WORK]}),
    (one("add", ENTERPRISE_URN, None), {}),
    (one("add", "name", None), {}),
    (one("add", None, {"name": None, ENTERPRISE_URN: None}), {}),
    (one("remove", "emails", []), {}),
    (one("remove", "emails", [{"value": "h@x.pl"}]), {"emails": [WORK]}),
    (one("remove", 'emails[type eq "home"]'), {"emails": [WORK]}),
    (one("remove", 'emails[type eq "fax"]'), {}),
    (one("remove", 'emails[type eq "home"].value'), {"emails": [WORK]}),
    (
        one("replace", 'emails[type eq "home"]', {"value": "z@x.pl"}),
        {"emails": [WORK, {"type": "home", "value": "z@x.pl"}]},
    ),
    (one("add", 'emails[type eq "home"]', {"display": "Z"}), {"emails": [WORK, {**HOME, "display": "Z"}]}),
    (one("replace", "emails.display", "D"), {"emails": [{**WORK, "display": "D"}, {**HOME, "display": "D"}]}),
    (one("replace", "name", {"givenName": "K"}), {"name": {"givenName": "K", "familyName": "Nowak"}}),
    (one("remove", "name.givenName"), {"name": {"familyName": "Nowak"}}),
    (one("remove", "nickName"), {}),
    (one("remove", "name.middleName"), {}),
    (one("replace", f"{USER_URN}:title", "CEO"), {"title": "CEO"}),
    (one("replace", f"{USER_URN}:name.givenName", "K"), {"name": {"givenName": "K", "familyName": "Nowak"}}),
    (one("replace", URN_DEPARTMENT, "CAM"), {ENTERPRISE_URN: {**EVA[ENTERPRISE_URN], "department": "CAM"}}),
    (
        one("replace", f"{URN_MANAGER}.value", "m2"),
        {ENTERPRISE_URN: {"department": "CAD", "manager": {"value": "m2"}}},
    ),
    (
        one("replace", ENTERPRISE_URN, {"department": "CAM"}),
        {ENTERPRISE_URN: {**EVA[ENTERPRISE_URN], "department": "CAM"}},
    ),
    (
        one("add", None, {ENTERPRISE_URN: {"costCenter": "7"}}),
        {ENTERPRISE_URN: {**EVA[ENTERPRISE_URN], "costCenter": "7"}},
    ),
    (one("remove", ENTERPRISE_URN), {ENTERPRISE_URN: None}),
    (one("replace", "id", "id1"), {}),
    (one("replace", "userName", "EVA"), {"userName": "EVA"}),
    (one("remove", "active"), {}),
    (one("replace", "active", None), {}),
]


@pytest.mark.parametrize(("operation", "expected"), ENTRA)
def test_s_r15_s_r24_to_s_r28_what_entra_sends(operation: Any, expected: Any) -> None:
    assert changed(patch(operation)) == expected


@pytest.mark.parametrize(("operation", "expected"), OTHERS)
def test_s_r13_s_r16_s_r23_what_okta_onelogin_and_others_send(operation: Any, expected: Any) -> None:
    assert changed(patch(operation)) == expected


@pytest.mark.parametrize(("operation", "expected"), STANDARD)
def test_s_r25_s_r26_s_r32_every_form_of_a_path(operation: Any, expected: Any) -> None:
    assert changed(patch(operation)) == expected


@pytest.mark.parametrize(
    ("operation", "word"),
    [
        (one("remove"), "noTarget"),
        (one("remove", None, {"title": "x"}), "noTarget"),
        (one("move", "title", "x"), "invalidSyntax"),
        (one("replace", "title"), "invalidValue"),
        (one("replace", "", "x"), "invalidValue"),
        (one("replace", "active", "maybe"), "invalidValue"),
        (one("replace", "active", 1), "invalidValue"),
        (one("replace", "title", {"a": 1}), "invalidValue"),
        (one("replace", "title", True), "invalidValue"),
        (one("replace", "name", "Eva"), "invalidValue"),
        (one("replace", "emails", [7.5]), "invalidValue"),
        (one("replace", ENTERPRISE_URN, "x"), "invalidValue"),
        (one("replace", 'emails[type eq "work"', "x"), "invalidPath"),
        (one("replace", 'emails[type eq "work"]value', "x"), "invalidPath"),
        (one("replace", 'title[value eq "x"]', "x"), "invalidPath"),
        (one("replace", "a b", "x"), "invalidPath"),
        (one("replace", 'emails[type ne "work" and value pr].display', "x"), None),
        (one("replace", 'emails[type sw "z"].value', "x"), "noTarget"),
        (one("replace", "id", "other"), "mutability"),
        (one("remove", "id"), "mutability"),
        (one("replace", None, {"id": "other"}), "mutability"),
        (one("replace", "groups", []), "mutability"),
        (one("replace", "meta", {}), "mutability"),
        (one("replace", "meta.version", "x"), "mutability"),
        (one("remove", "userName"), "mutability"),
        (one("replace", "userName", ""), "mutability"),
        (one("replace", "userName", None), "mutability"),
        (one("replace", None, {"userName": " "}), "mutability"),
    ],
)
def test_s_r30_s_r31_what_cannot_be_is_named(operation: Any, word: str | None) -> None:
    if word is None:
        assert changed(patch(operation)) == {"emails": [WORK, {**HOME, "display": "x"}]}
        return
    with pytest.raises(Fault) as caught:
        patch(one("replace", "title", "never"), operation)
    assert caught.value.scim_type == word


@pytest.mark.parametrize(
    ("operation", "word"),
    [
        (one("replace", 'emails[type eq "other"].value', "x"), "noTarget"),
        (one("replace", "mailNickname", "x"), "invalidPath"),
        (one("replace", "active", "False"), "invalidValue"),
        (one("replace", "emails", {"value": "x"}), "invalidValue"),
        (one("replace", URN_MANAGER, "m2"), "invalidValue"),
        (one("replace", None, {"name.givenName": "K"}), "invalidPath"),
        (one("remove", "active"), "mutability"),
    ],
)
def test_s_r27_strict_refuses_what_others_bend(operation: Any, word: str) -> None:
    with pytest.raises(Fault) as caught:
        patch(operation, strict=True)
    assert caught.value.scim_type == word


def test_strict_takes_the_standard() -> None:
    found = patch(one("add", "title", "CEO"), one("replace", None, {"active": False}), strict=True)
    assert changed(found) == {"title": "CEO", "active": False}


@pytest.mark.parametrize(
    ("operation", "primary"),
    [
        (one("add", "emails", [{"value": "n", "primary": True}]), ["n"]),
        (one("add", "emails", [{"value": "n", "primary": "True"}]), ["n"]),
        (one("replace", 'emails[type eq "home"].primary', "True"), ["h@x.pl"]),
        (one("replace", "emails", [{"value": "a", "primary": True}, {"value": "b", "primary": True}]), ["a"]),
        (one("replace", "emails.primary", True), ["h@x.pl"]),
        (one("replace", 'emails[type eq "home"]', {"value": "z", "primary": True}), ["z"]),
        (one("remove", 'emails[primary eq "True"]'), []),
    ],
)
def test_s_r29_at_most_one_is_primary(operation: Any, primary: list[str]) -> None:
    found = patch(operation)
    assert [item["value"] for item in found["emails"] if item.get("primary")] == primary


def test_s_r33_operations_happen_in_order() -> None:
    found = patch(one("replace", "title", "a"), one("remove", "title"), one("Add", "title", "c"))
    assert changed(found) == {"title": "c"}
    found = patch(one("remove", "userName"), one("add", "userName", "eve"))
    assert found["userName"] == "eve"


def test_a_version_2011_of_keys_and_missing_schemas_is_bent_and_noted() -> None:
    bending = Bending(strict=False)
    [operation] = patching.operations({"OPERATIONS": [{"Op": "REPLACE", "PATH": "title", "VALUE": 1}]}, bending)
    assert (operation.verb, operation.path, operation.value) == ("replace", "title", 1)
    assert bending.reasons == (f"schemas: does not name {PATCH_URN}",)


@pytest.mark.parametrize("body", [{}, {"Operations": []}, {"Operations": {}}, {"Operations": ["x"]}, {"schemas": 5}])
def test_s_r24_no_operations_is_a_fault(body: Any) -> None:
    with pytest.raises(Fault) as caught:
        patching.operations(body, Bending(strict=False))
    assert caught.value.scim_type == "invalidSyntax"
