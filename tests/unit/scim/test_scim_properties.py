"""Whatever comes in: a value or a fault, never another error (S-R4, S-R48), and PATCH is repeatable (S-R32)."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from connector.scim import filtering, membership, patching, resources, shaping
from connector.scim.bending import Bending
from connector.scim.errors import Fault
from connector.scim.grammar import parse_filter, parse_path
from connector.scim.schemas import ENTERPRISE_URN, GROUP, KINDS, USER, USER_URN, Kind

NAMES = ["userName", "active", "emails", "name", "id", "meta", "groups", "members", "manager", "displayName", "schemas"]
NAMES += ["value", "type", "primary", "$ref", "givenName", "password", "externalId", ENTERPRISE_URN, USER_URN, "other"]
PATHS = [*NAMES, 'emails[type eq "work"]', 'emails[type eq "work"].value', "emails.value", "name.givenName", "a b", ""]
PATHS += [
    f"{ENTERPRISE_URN}:manager",
    f"{ENTERPRISE_URN}:manager.value",
    'emails[primary eq "True"].Value',
    "roles[",
    ".",
]
PATHS += ['members[value eq "x"]', 'emails[not (type eq "x")].value', "emails[value pr or type pr]", 'name[x eq "y"]']
TEXTS = st.sampled_from(["", "x", "True", "false", "work", "m1", "\u0130"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)
OPERATIONS = st.lists(
    st.fixed_dictionaries(
        {"op": st.sampled_from(["add", "Replace", "remove"])},
        optional={"path": st.sampled_from(PATHS), "value": VALUES},
    ),
    min_size=1,
    max_size=4,
)
WORDS = ["userName", "emails", "active", "meta.created", "members", "groups.value", "eq", "ne", "co", "gt", "pr", "and"]
WORDS += ["or", "not", "(", ")", "[", "]", '"x"', "true", "null", "7", ".value", ENTERPRISE_URN, "name", "type"]
VIEW: dict[str, Any] = {
    "id": "1",
    "userName": "eva",
    "active": True,
    "emails": [{"value": "e@x.pl", "type": "work", "primary": True}],
    "name": {"givenName": "Eva"},
    ENTERPRISE_URN: {"manager": {"value": "m1"}},
}
DOCUMENT = {key: value for key, value in VIEW.items() if key != "id"}


@given(st.dictionaries(st.sampled_from(NAMES), VALUES), st.booleans())
@settings(max_examples=500, deadline=None)
def test_s_r4_any_body_is_kept_or_named(body: dict[str, Any], strict: bool) -> None:
    with contextlib.suppress(Fault):
        found = resources.person_of(body, Bending(strict=strict))
        assert resources.key_of(found, USER)
        assert resources.person_of({"schemas": [USER_URN], **found}, Bending(strict=True)) == found
        assert shaping.difference(found, found) == {}
    with contextlib.suppress(Fault):
        group, _members = resources.group_of(body, Bending(strict=strict))
        assert resources.key_of(group, GROUP)


@given(OPERATIONS, st.booleans())
@settings(max_examples=800, deadline=None)
def test_s_r4_s_r29_any_patch_is_done_or_named(wanted: list[Any], strict: bool) -> None:
    with contextlib.suppress(Fault):
        bending = Bending(strict=strict)
        operations = patching.operations({"Operations": wanted}, Bending(strict=False))
        found = patching.patched(DOCUMENT, operations, USER, "1", bending)
        assert len([one for one in found.get("emails", []) if one.get("primary") is True]) <= 1
        assert resources.person_of(found, Bending(strict=False)) == found
        assert "active" in found
    with contextlib.suppress(Fault):
        bending = Bending(strict=strict)
        own, steps = membership.told_apart(patching.operations({"Operations": wanted}, Bending(strict=False)), bending)
        assert all(isinstance(one, str) for step in steps for one in step.ids)
        patching.patched({"displayName": "CAD"}, own, GROUP, "1", bending)


@given(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), st.sampled_from(KINDS), st.booleans())
@settings(max_examples=1500, deadline=None)
def test_s_r48_any_filter_is_answered_or_named(text: str, kind: Kind, strict: bool) -> None:
    with contextlib.suppress(Fault):
        tree = parse_filter(text, strict=strict)
        assert filtering.predicate(tree, kind, strict=strict)(VIEW) in (True, False)
        filtering.probes(tree, kind)
        filtering.ids_asked(tree, "members")
        filtering.implied(tree)


@given(st.text(max_size=60))
@settings(max_examples=500, deadline=None)
def test_s_r48_any_text_is_a_filter_or_a_path_or_named(text: str) -> None:
    for parse in (parse_filter, parse_path):
        with contextlib.suppress(Fault):
            assert parse(text)
