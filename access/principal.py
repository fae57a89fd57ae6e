"""Who is asking and what they may do: scopes, the role → scope table, the frozen ``Principal``.

Knows nothing of either program. Pure: no I/O, no clock here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from access.errors import Forbidden
from ledger.errors import BadInput
from ledger.team import Role


class Scope(StrEnum):
    """One right. A credential holds at most one of the three ``reports:*`` (they exclude each other)."""

    REPORTS_AGGREGATE = "reports:aggregate"
    REPORTS_PSEUDONYM = "reports:pseudonym"
    REPORTS_NAMED = "reports:named"
    SEATS_READ = "seats:read"
    EXPORTS_WRITE = "exports:write"
    SETTINGS_WRITE = "settings:write"
    USAGE_WRITE = "usage:write"
    SCIM = "scim"
    AUDIT_READ = "audit:read"
    PEOPLE_READ = "people:read"
    PEOPLE_WRITE = "people:write"
    TEAMS_RESTRICT = "teams:restrict"
    RUNS_APPROVE = "runs:approve"
    SSO_WRITE = "sso:write"
    SYNC_ENABLE = "sync:enable"
    ROLES_GRANT = "roles:grant"
    TOKENS_WRITE = "tokens:write"


REPORT_SCOPES = frozenset({Scope.REPORTS_AGGREGATE, Scope.REPORTS_PSEUDONYM, Scope.REPORTS_NAMED})
"""Privacy modes of reporting: exactly one for a credential that reads reports."""

_READING = REPORT_SCOPES | {Scope.SEATS_READ, Scope.EXPORTS_WRITE}
_SSO = frozenset({Scope.SSO_WRITE, Scope.SYNC_ENABLE})

ROLE_SCOPES: Mapping[Role, frozenset[Scope]] = {
    Role.PRIMARY_ADMIN: frozenset(Scope) - {Scope.SCIM, Scope.USAGE_WRITE},
    Role.SECONDARY_ADMIN: _READING | {Scope.PEOPLE_READ, Scope.PEOPLE_WRITE, Scope.RUNS_APPROVE},
    Role.SSO_ADMIN: _SSO,
    Role.REPORT_READER: _READING,
    Role.AUDITOR: frozenset({Scope.AUDIT_READ}),
    Role.SERVICE: _READING | {Scope.SCIM, Scope.USAGE_WRITE},
    Role.OPERATOR: frozenset(Scope),
}
"""What a role may at most hold (R6, sso.md §2). A credential is given scopes out of its roles', never beyond."""


class Purpose(StrEnum):
    """The purposes R11 and R12 allow, and no other; every read is logged with one."""

    REPORT = "report"  # producing the report
    OFFERING = "offering"  # operating, improving or delivering the offering
    RENEWAL = "renewal"  # estimating renewals and true-ups, preparing quotes


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated asker, bound to one organization.

    ``actor`` is how audit names it (``token:<id>``, ``operator:<system user>``). ``team_ids`` empty = every Team;
    ``directory``: whose inbox it pushes to, where it holds ``scim``.
    """

    actor: str
    organization: str
    roles: frozenset[Role]
    scopes: frozenset[Scope]
    team_ids: frozenset[str] = frozenset()
    purpose: Purpose = Purpose.REPORT
    token_id: str = ""
    directory: str = ""

    def holds(self, scope: Scope) -> bool:
        """Whether the right was given."""
        return scope in self.scopes

    def require(self, scope: Scope) -> None:
        """Raise ``Forbidden`` naming the missing right."""
        if scope not in self.scopes:
            raise Forbidden(
                f"this credential does not hold {scope}",
                where=scope,
                next_step="ask an admin for a credential that does",
            )

    def require_every_team(self) -> None:
        """Raise ``Forbidden`` for a credential that is bound to Teams: what it asked for concerns everybody."""
        if self.team_ids:
            raise Forbidden(
                "this credential is bound to Teams, and this concerns the whole organization",
                where="team_ids",
                next_step="ask an admin for a credential that is not bound to Teams",
            )

    @property
    def reports(self) -> Scope | None:
        """The one report scope held, or None."""
        return next(iter(self.scopes & REPORT_SCOPES), None)


def operator(organization: str, system_user: str) -> Principal:
    """Whoever works on the host itself, bound to one organization."""
    scopes = frozenset(Scope) - REPORT_SCOPES
    return Principal(f"operator:{system_user}", organization, frozenset({Role.OPERATOR}), scopes)


def check_scopes(roles: Collection[Role], scopes: Collection[Scope]) -> frozenset[Scope]:
    """The scopes of a new credential; ``report_reader`` without a report scope gets the pseudonymous one.

    Raises ``BadInput`` for no role, for a scope outside the roles' table, and for more (or, where reports are read,
    fewer) than exactly one report scope.
    """
    if not roles:
        raise BadInput("a credential needs at least one role", where="roles")
    allowed = frozenset[Scope]().union(*(ROLE_SCOPES[role] for role in roles))
    given = frozenset(scopes)
    if not given and Role.REPORT_READER in roles:
        given = frozenset({Scope.REPORTS_PSEUDONYM, Scope.SEATS_READ})
    if not given:
        raise BadInput(
            "a credential needs at least one scope", where="scopes", next_step=f"choose from {_show(allowed)}"
        )
    beyond = given - allowed
    if beyond:
        raise BadInput(
            f"{_show(beyond)} is beyond the role {', '.join(sorted(roles))}",
            where="scopes",
            next_step=f"choose from {_show(allowed)}",
        )
    reports = given & REPORT_SCOPES
    if len(reports) > 1 or (not reports and given & _READING):
        raise BadInput(
            f"exactly one of {_show(REPORT_SCOPES)} goes into a credential that reads reports, not {len(reports)}",
            where="scopes",
        )
    return given


def check_grant(
    giver: Principal, roles: Collection[Role], scopes: Collection[Scope], team_ids: Collection[str]
) -> None:
    """Raise ``Forbidden`` unless ``giver`` may make such a credential: nobody gives what they could not have."""
    giver.require(Scope.TOKENS_WRITE)
    own = frozenset[Scope]().union(*(ROLE_SCOPES[role] for role in giver.roles))
    beyond = frozenset(scopes) - own
    if Role.OPERATOR in giver.roles:
        beyond = frozenset()
    # machine scopes are held by no person, yet somebody must be able to set a machine up
    elif Role.PRIMARY_ADMIN in giver.roles:
        beyond -= {Scope.SCIM, Scope.USAGE_WRITE}
    if beyond:
        raise Forbidden(f"nobody grants what they do not hold: {_show(beyond)}", where="scopes")
    if Role.OPERATOR in roles:
        raise Forbidden("no credential carries the operator's role", where="roles")
    if giver.team_ids and (not team_ids or not set(team_ids) <= giver.team_ids):
        raise Forbidden("a credential bound to Teams grants those Teams only", where="team_ids")


def _show(scopes: Collection[Scope]) -> str:
    return ", ".join(sorted(scopes))
