"""Which listed names a membership may have rested on, by its cause: every spelling, login names, groups inside (E3)."""

from __future__ import annotations

import pytest

from connector.directory.names import dn_key
from connector.reconcile.evidence.causes import named_in

FLAT = "uid=Anna,ou=People,dc=acme → design → mapping design"
NESTED = "cn=Anna Nowak,ou=People,dc=acme → design / bridges / tower → mapping design"


@pytest.mark.parametrize(
    ("cause", "value", "named"),
    [
        (FLAT, "uid=anna,ou=people,dc=acme", True),
        (FLAT, "UID = anna , OU=People,DC=acme", True),
        (FLAT, "uid=\\61nna,ou=people,dc=acme", True),
        (FLAT, "uid=anna,ou=elsewhere,dc=acme", False),
        (FLAT, "uid=ann,ou=people,dc=acme", False),
        (FLAT, "cn=design,ou=groups,dc=acme", False),
        (NESTED, "cn=Bridges,ou=groups,dc=acme", True),
        (NESTED, "cn=tower,ou=groups,dc=acme", True),
        (NESTED, "cn=design,ou=groups,dc=acme", False),
        ("Users/7 → design → mapping design", "Users/7", True),
        ("Users/7 → design → mapping design", "Users/8", False),
        (FLAT, "no name at all", False),
        (FLAT, "", False),
        ("", "uid=anna,ou=people,dc=acme", True),
        ("by hand", "uid=anna,ou=people,dc=acme", True),
    ],
)
def test_e3_a_name_that_the_cause_names_may_be_what_it_rested_on(cause: str, value: str, named: bool) -> None:
    assert named_in(cause, dn_key(value)) is named


@pytest.mark.parametrize(("login", "named"), [("anna", True), ("bo", False), ("anna nowak", False)])
def test_e3_login_names_are_those_of_the_dn(login: str, named: bool) -> None:
    assert named_in(FLAT, f"memberUid={login}") is named
