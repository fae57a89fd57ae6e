"""Which member values still mean somebody: every spelling of a DN, login names, groups on the way (E3)."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from connector.reconcile.evidence.edges import edges_of

FLAT = "uid=Anna,ou=People,dc=acme → design → mapping design"
NESTED = "cn=Anna Nowak,ou=People,dc=acme → design / bridges / tower → mapping design"


@dataclass
class Group:
    unresolved: set[str] = field(default_factory=set)


@pytest.mark.parametrize(
    ("cause", "value", "stands"),
    [
        (FLAT, "uid=anna,ou=people,dc=acme", True),
        (FLAT, "UID = anna , OU=People,DC=acme", True),
        (FLAT, "uid=\\61nna,ou=people,dc=acme", True),
        (FLAT, "uid=anna,ou=elsewhere,dc=acme", False),
        (FLAT, "uid=ann,ou=people,dc=acme", False),
        (FLAT, "memberUid=anna", True),
        (FLAT, "memberUid=ANNA", True),
        (FLAT, "memberUid=bo", False),
        (FLAT, "cn=design,ou=groups,dc=acme", False),
        (NESTED, "cn=Bridges,ou=groups,dc=acme", True),
        (NESTED, "cn=tower,ou=groups,dc=acme", True),
        (NESTED, "cn=design,ou=groups,dc=acme", False),
        (NESTED, "memberUid=anna nowak", False),
        ("", "uid=anna,ou=people,dc=acme", False),
        ("by hand", "uid=anna,ou=people,dc=acme", False),
        ("Users/7 → design → mapping design", "Users/7", False),
        (FLAT, "no name at all", False),
        (FLAT, "", False),
    ],
)
def test_e3_a_listed_value_stands_for_whom_it_meant(cause: str, value: str, stands: bool) -> None:
    assert edges_of(cause).standing(Group({value, "uid=somebody,ou=else"})) == (value if stands else "")


def test_e3_of_several_values_the_first_by_alphabet_is_told() -> None:
    listed = Group({"memberUid=anna", "UID=anna,ou=people,dc=acme"})
    assert edges_of(FLAT).standing(listed) == "UID=anna,ou=people,dc=acme"
