"""What operations mean for the members of a group (S-R36 to S-R38)."""

from __future__ import annotations

from typing import Any

import pytest

from connector.scim import membership, patching
from connector.scim.bending import Bending
from connector.scim.errors import Fault
from connector.scim.membership import Deed, Step

NOBODY = Step(Deed.REPLACE, ())


def told(*wanted: Any, strict: bool = False) -> list[Step]:
    """The steps on members."""
    bending = Bending(strict=strict)
    return membership.told_apart(patching.operations({"Operations": list(wanted)}, Bending(strict=False)), bending)[1]


def removing(*ids: str, typed: tuple[tuple[str, str], ...] = ()) -> Step:
    return Step(Deed.REMOVE, ids, typed)


@pytest.mark.parametrize(
    ("operation", "steps"),
    [
        ({"op": "remove", "path": "members", "value": None}, [NOBODY]),
        ({"op": "remove", "path": "members", "value": []}, [removing()]),
        ({"op": "replace", "path": "members", "value": None}, [NOBODY]),
        ({"op": "replace", "value": {"members": None}}, [NOBODY]),
        ({"op": "replace", "value": [{"members": [{"value": "a"}]}]}, [Step(Deed.REPLACE, ("a",))]),
        ({"op": "replace", "path": "members", "value": {"members": []}}, []),
        ({"op": "replace", "path": "members", "value": {"value": None}}, []),
        ({"op": "add", "path": "members", "value": None}, [Step(Deed.ADD, ())]),
        ({"op": "add", "value": {"members": None}}, [Step(Deed.ADD, ())]),
        ({"op": "add", "path": "members", "value": {"members": ["a"]}}, [Step(Deed.ADD, ("a",))]),
        ({"op": "remove", "path": "members", "value": {"members": [{"value": "a"}]}}, [removing("a")]),  # Salesforce
        ({"op": "remove", "path": 'members[value eq "a" and type eq "User"]'}, [removing(typed=(("a", "user"),))]),
        ({"op": "remove", "path": 'members[value eq "a" and display eq "A"]'}, [removing("a")]),
        (
            {"op": "remove", "path": 'members[value eq "a" or type eq "Group" and value eq "b" or value eq "c"]'},
            [removing("a", "c", typed=(("b", "group"),))],
        ),
    ],
)
def test_s_r37_s_r38_steps_on_members(operation: Any, steps: list[Step]) -> None:
    assert told(operation) == steps


def test_s_r43_what_is_removed_in_a_row_is_removed_at_once() -> None:
    each = [{"op": "remove", "path": f'members[value eq "{one}"]'} for one in "abca"]
    again = {"op": "add", "path": "members", "value": ["a"]}
    assert told(*each, again, each[0]) == [removing("a", "b", "c"), Step(Deed.ADD, ("a",)), removing("a")]


@pytest.mark.parametrize(
    "inside",
    ['type eq "User"', 'value ne "a"', 'value eq "a" and value eq "b"', 'not (value eq "a")', "value pr",
     'value eq "a" or type eq "User"', '(value eq "a" or value eq "b") and type eq "User"'],
)  # fmt: skip
def test_s_r37_who_is_not_named_is_not_removed(inside: str) -> None:
    with pytest.raises(Fault) as caught:
        told({"op": "remove", "path": f"members[{inside}]"})
    assert caught.value.scim_type == "invalidFilter"


def test_s_r37_strict_takes_what_the_standard_has() -> None:
    assert told({"op": "remove", "path": "members", "value": None}, strict=True) == [NOBODY]
    assert told({"op": "remove", "path": 'members[value eq "a" and type eq "User"]'}, strict=True)
    for inside in ('members[value eq "a" and display eq "A"]', "members"):
        with pytest.raises(Fault):
            told({"op": "remove", "path": inside, "value": {"members": ["a"]}}, strict=True)
