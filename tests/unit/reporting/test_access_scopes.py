"""Scopes: exactly one way of reading reports per credential, and nobody gives what they could not have."""

from __future__ import annotations

import pytest

from access.errors import Forbidden
from access.principal import REPORT_SCOPES, ROLE_SCOPES, Principal, Scope, check_grant, check_scopes, operator
from ledger.errors import BadInput
from ledger.team import Role


def _principal(*roles: Role, team_ids: frozenset[str] = frozenset()) -> Principal:
    scopes = frozenset[Scope]().union(*(ROLE_SCOPES[role] for role in roles))
    return Principal("token:abc", "acme", frozenset(roles), scopes, team_ids)


@pytest.mark.parametrize("role", list(Role))
def test_every_role_is_in_the_table(role: Role) -> None:
    assert ROLE_SCOPES[role]


def test_a_reader_without_scopes_gets_pseudonyms() -> None:
    assert check_scopes([Role.REPORT_READER], []) == {Scope.REPORTS_PSEUDONYM, Scope.SEATS_READ}


@pytest.mark.parametrize(
    ("roles", "scopes", "told"),
    [
        ([], [Scope.SEATS_READ], "at least one role"),
        ([Role.AUDITOR], [], "at least one scope"),
        ([Role.AUDITOR], [Scope.REPORTS_NAMED], "beyond the role auditor"),
        ([Role.REPORT_READER], [Scope.REPORTS_NAMED, Scope.REPORTS_AGGREGATE], "exactly one"),
        ([Role.REPORT_READER], [Scope.SEATS_READ], "exactly one"),
        ([Role.SERVICE], [Scope.EXPORTS_WRITE, Scope.USAGE_WRITE], "exactly one"),
    ],
)
def test_wrong_scopes_are_refused(roles: list[Role], scopes: list[Scope], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        check_scopes(roles, scopes)


def test_a_product_that_only_sends_usage_reads_no_reports() -> None:
    scopes = check_scopes([Role.SERVICE], [Scope.USAGE_WRITE])
    assert not scopes & REPORT_SCOPES


@pytest.mark.parametrize(
    ("giver", "roles", "scopes", "team_ids", "told"),
    [
        (_principal(Role.REPORT_READER), [Role.REPORT_READER], [Scope.REPORTS_AGGREGATE], [], "tokens:write"),
        (_principal(Role.SECONDARY_ADMIN), [Role.PRIMARY_ADMIN], [Scope.PEOPLE_WRITE], [], "tokens:write"),
        (_principal(Role.PRIMARY_ADMIN), [Role.OPERATOR], [Scope.PEOPLE_WRITE], [], "operator"),
        (
            _principal(Role.PRIMARY_ADMIN, team_ids=frozenset({"t1"})),
            [Role.REPORT_READER],
            [Scope.REPORTS_PSEUDONYM],
            ["t1", "t2"],
            "bound to Teams",
        ),
        (
            _principal(Role.PRIMARY_ADMIN, team_ids=frozenset({"t1"})),
            [Role.REPORT_READER],
            [Scope.REPORTS_PSEUDONYM],
            [],
            "bound to Teams",
        ),
    ],
)
def test_nobody_gives_more_than_they_could_have(
    giver: Principal, roles: list[Role], scopes: list[Scope], team_ids: list[str], told: str
) -> None:
    with pytest.raises(Forbidden, match=told):
        check_grant(giver, roles, scopes, team_ids)


def test_admins_and_operators_may_set_a_machine_up() -> None:
    for giver in (_principal(Role.PRIMARY_ADMIN), operator("acme", "root")):
        check_grant(giver, [Role.SERVICE], [Scope.USAGE_WRITE], [])
