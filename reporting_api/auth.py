"""From a token to capabilities: a ``Reader`` of one organization, and from it a ``Readable`` dataset.

A query can only be made through ``Readable.query``, and a ``Readable`` only through ``Reader.open``: code without the
right never holds the method. Prohibition: no other file makes a ``Scope``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from access.errors import Forbidden
from access.principal import REPORT_SCOPES, Principal, Scope
from ledger.published.datasets import SEATS, SUBSCRIPTIONS, Dataset
from ledger.reporting import TeamReporting
from ledger.store import consent, reporting
from ledger.store.engine import Ledger
from ledger.store.usage import report_zone
from ledger.usage import Calendar
from reporting_api import privacy
from reporting_api.errors import Problem
from reporting_api.privacy import MODES, Mode
from reporting_api.query.model import Order, Query, completed
from reporting_api.query.model import Scope as QueryScope

_SEAT_DATASETS = frozenset({SEATS.name, SUBSCRIPTIONS.name})


@dataclass(frozen=True, slots=True)
class Readable:
    """One dataset as one credential may read it: which Teams, which columns, and what was left out and why.

    ``excluded``: Teams of the credential left out → type of problem; ``withheld``: the same of columns.
    """

    dataset: Dataset
    scope: QueryScope
    withheld: Mapping[str, str]
    excluded: Mapping[str, str]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that may be named, in declared order."""
        return tuple(name for name in self.dataset.names if name in self.scope.columns)

    def query(self, snapshot: str, select: Sequence[str], order: Sequence[Order], limit: int, **rest: Any) -> Query:
        """A question within this capability; ``rest``: where, since, until, after. Empty ``select`` = every column.

        Raises ``Problem`` (403) for a column that is withheld.
        """
        chosen = tuple(select) or self.columns
        query = Query(
            self.dataset.name, self.scope, snapshot, chosen, completed(tuple(order), self.dataset), limit, **rest
        )
        for name in sorted(query.touched() - self.scope.columns):
            self._refuse(name)
        return query

    def _refuse(self, column: str) -> None:
        kind = self.withheld[column]
        told = {
            "role-required": f"the column {column} is not shown under {self.scope.privacy}",
            "named-not-enabled": f"the column {column} is shown only for Teams whose personal data is switched on",
            "collection-disabled": f"the column {column} is user-level usage, not switched on for all the Teams (R11)",
        }
        steps = {"role-required": "ask with a credential that holds the scope", "": "narrow team_id"}
        raise Problem(kind, told[kind], column=column, next_step=steps.get(kind, steps[""]))


@dataclass(frozen=True, slots=True)
class Reader:
    """What a credential may read: one organization, one privacy mode, the Teams it is bound to (of any tier)."""

    principal: Principal
    mode: Mode
    teams: tuple[TeamReporting, ...]
    zone: Calendar
    has_basis: bool
    default_k: int

    @property
    def organization(self) -> str:
        """The organization it is bound to."""
        return self.principal.organization

    def open(self, dataset: Dataset, team_ids: Sequence[str] = ()) -> Readable:
        """The dataset for ``team_ids``, or for every Team it may be read for.

        Raises ``Problem``: 404 for a Team that is not the credential's, 403 for the tier (R10), for a missing right,
        for user-level usage that is not switched on (R11) or has no legal basis (R13c).
        """
        self._require(dataset)
        asked = self._asked(team_ids)
        excluded = {team.id: reason for team in asked if (reason := privacy.barred(dataset, team))}
        chosen = [team for team in asked if team.id not in excluded]
        if excluded and (team_ids or not chosen):
            # of Teams nobody named, those that lack a switch tell more than those that lack the tier
            switchable = [team for team in asked if excluded.get(team.id) == "collection-disabled"]
            out = [team for team in asked if team.id in excluded]
            self._refuse(out if team_ids else switchable or out, excluded)
        if not chosen:
            raise Problem("tier-required", "this credential reads no Business Team (R10)", rule="R10", teams=[])
        hidden = privacy.withheld(dataset, self.mode, chosen)
        columns = frozenset(dataset.names) - hidden.keys()
        ids = tuple(sorted(team.id for team in chosen))
        return Readable(dataset, QueryScope(self.organization, ids, columns, self.mode), hidden, excluded)

    def k(self, team_ids: Sequence[str]) -> int:
        """The smallest group that may be shown for these Teams together."""
        chosen = [team for team in self.teams if team.id in set(team_ids)]
        return max((team.min_group_size or self.default_k for team in chosen), default=self.default_k)

    def today(self, now: datetime) -> date:
        """The day of the organization's report zone."""
        return self.zone.day_of(now)

    def _require(self, dataset: Dataset) -> None:
        if dataset.name in _SEAT_DATASETS:
            self.principal.require(Scope.SEATS_READ)
        if not privacy.listable(dataset, self.mode):
            raise Problem(
                "role-required",
                f"{dataset.name} has a row per person, and {Scope.REPORTS_AGGREGATE} never reads those",
                scope=Scope.REPORTS_PSEUDONYM,
                next_step="ask with a credential that holds reports:pseudonym",
            )

    def _asked(self, team_ids: Sequence[str]) -> tuple[TeamReporting, ...]:
        if not team_ids:
            return self.teams
        own = {team.id: team for team in self.teams}
        for team_id in team_ids:
            if team_id not in own:
                raise Problem(
                    "not-found",
                    f"there is no Team {team_id!r} for this credential",
                    at="team_id",
                    next_step="GET /v1/teams",
                )
        return tuple(own[team_id] for team_id in dict.fromkeys(team_ids))

    def _refuse(self, teams: Sequence[TeamReporting], reasons: Mapping[str, str]) -> None:
        standard = [team for team in teams if reasons[team.id] == "tier-required"]
        named = [{"team_id": team.id, "name": team.name} for team in standard or teams]
        names = ", ".join(team.name for team in standard or teams)
        if standard:
            raise Problem(
                "tier-required",
                f"{names}: the reporting API answers for Teams with a running Business subscription (R10)",
                rule="R10",
                teams=named,
                next_step="buy Business for the Team, or ask for a Team that has it: GET /v1/teams",
            )
        if not self.has_basis:
            detail = "no legal basis for user-level usage is recorded for this organization (R13c)"
            raise Problem("collection-disabled", detail, rule="R13c", teams=named, next_step="an admin records one")
        detail = f"{names}: no admin has switched user-level usage reports on (R11)"
        raise Problem(
            "collection-disabled",
            detail,
            rule="R11",
            teams=named,
            next_step="an admin switches them on: rosterd usage user-level TEAM --on",
        )


async def reader_of(ledger: Ledger, principal: Principal, *, now: datetime, default_k: int) -> Reader:
    """The reader behind a credential, from the ledger as it is now: a lapsed tier ends reading at once (R7, R10).

    Raises ``Forbidden`` for a credential without a report scope, ``NotFound`` for an organization that is gone.
    """
    scope = principal.reports
    if scope is None:
        raise Forbidden(
            "this credential reads no reports",
            where=Scope.REPORTS_PSEUDONYM,
            next_step=f"ask for one that holds exactly one of {', '.join(sorted(REPORT_SCOPES))}",
        )
    async with ledger.read(principal.organization) as reader:
        zone = Calendar.of(await report_zone(reader), 0)
        basis = await consent.legal_basis(reader)
        rows = await reporting.teams(reader, zone.day_of(now))
    bound = [row for row in rows if not principal.team_ids or row.id in principal.team_ids]
    if basis is None:
        bound = [replace(row, user_level=False, personal_data=False) for row in bound]  # R13c
    return Reader(principal, MODES[scope], tuple(bound), zone, basis is not None, default_k)
