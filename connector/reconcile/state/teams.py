"""Brings the organization file's Teams and their admins into the ledger (R6, R8).

Prohibition: removes no Team, and ends a role only to hand a Team over to the Primary Admin the file names.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from connector.reconcile.plan.recorded import Recorded, TeamRow
from connector.reconcile.plan.settings import TeamSettings
from connector.reconcile.policy.policy import Policy
from ledger.identity import Email, IdentityState, fold
from ledger.instant import new_ids
from ledger.jobs import Unleased
from ledger.store import people
from ledger.store.book import Book, Reader
from ledger.store.engine import Ledger
from ledger.team import Organization, Role


def with_teams(recorded: Recorded, policy: Policy) -> Recorded:
    """As if the policy's Teams were there already: a plan may come before anybody made them."""
    new = {fold(team.name): TeamRow(f"new:{fold(team.name)}", team.name) for team in policy.teams}
    return msgspec.structs.replace(recorded, teams={**new, **recorded.teams})


async def ensure_organization(
    ledger: Ledger, organization: Organization, teams: Sequence[TeamSettings], *, now: datetime
) -> tuple[str, ...]:
    """Make the organization row, its Teams by name, and the admin roles of people who are known already.

    Returns the addresses of admins not known yet; their role begins when sync (or a person) brings them in.
    """
    async with ledger.read(organization.id) as reader:
        named = await people.organization_name(reader) == (organization.name, organization.report_zone)
        missing = await _missing_teams(reader, teams)
        begun, ended, pending = await _roles(reader, teams)
    if named and not missing and not begun and not ended:
        return pending
    async with ledger.write(organization.id, Unleased.BY_HAND, at=now) as book:
        await people.put_organization(book, organization.name, organization.report_zone)
        return await ensure_teams(book, teams)


async def ensure_teams(book: Book, teams: Sequence[TeamSettings]) -> tuple[str, ...]:
    """The same for Teams and roles, inside a transaction that is already open. Returns who is still pending."""
    missing = await _missing_teams(book, teams)
    if missing:
        ids = new_ids(len(missing))
        await people.begin_teams(book, [(i, name, fold(name)) for i, name in zip(ids, missing, strict=True)])
    begun, ended, pending = await _roles(book, teams)
    if ended:
        await people.end_roles(book, ended)
    if begun:
        await people.begin_roles(book, begun)
    return pending


async def _missing_teams(reader: Reader, teams: Sequence[TeamSettings]) -> list[str]:
    known = {row[2] for row in await people.open_teams(reader)}
    return [team.name for team in teams if fold(team.name) not in known]


async def _roles(
    reader: Reader, teams: Sequence[TeamSettings]
) -> tuple[list[tuple[str, str, str]], list[str], tuple[str, ...]]:
    """Roles to begin, row ids to end (a Team handed over), addresses nobody known has."""
    ids = {row[2]: row[0] for row in await people.open_teams(reader)}
    held = {(row[1], row[2], row[3]): row[0] for row in await people.open_roles(reader)}
    begun: list[tuple[str, str, str]] = []
    ended: list[str] = []
    pending: list[str] = []
    for team in teams:
        team_id = ids.get(fold(team.name), "")
        wanted = [(team.primary_admin, Role.PRIMARY_ADMIN)] if team.primary_admin else []
        wanted += [(mail, Role.SECONDARY_ADMIN) for mail in team.secondary_admins]
        for mail, role in wanted:
            identity = await _known(reader, mail)
            if not identity:
                pending.append(mail)
                continue
            row = (identity, role.value, team_id)
            if team_id and row not in held and row not in begun:
                begun.append(row)
            if role is Role.PRIMARY_ADMIN:
                others = (key for key in held if key[1:] == row[1:] and key[0] != identity)
                ended += [held[key] for key in others]
    return begun, ended, tuple(dict.fromkeys(pending))


async def _known(reader: Reader, mail: str) -> str:
    rows = await people.identities_by_mail(reader, Email.parse(mail).key)
    return next((str(row[1]) for row in rows if row[7] != IdentityState.REMOVED), "")
