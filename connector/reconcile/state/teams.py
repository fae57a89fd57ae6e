"""Brings the organization file's Teams and their admins into the ledger (R6, R8).

Prohibition: removes no Team, and ends a role only to hand a Team over to the Primary Admin the file names.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from connector.reconcile.plan.recorded import Recorded, TeamRow
from connector.reconcile.plan.settings import TeamSettings
from connector.reconcile.policy.policy import Policy
from ledger.identity import Email, IdentityState, fold
from ledger.instant import new_ids
from ledger.jobs import Unleased
from ledger.store import people, roster
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
        admins = await _named(reader, teams)
    if named and not missing and not any(one.begins or one.instead for one in admins):
        return _pending(admins)
    async with ledger.write(organization.id, Unleased.BY_HAND, at=now) as book:
        await people.put_organization(book, organization.name, organization.report_zone)
        return await ensure_teams(book, teams)


async def ensure_teams(book: Book, teams: Sequence[TeamSettings]) -> tuple[str, ...]:
    """The same for Teams and roles, inside a transaction that is already open. Returns who is still pending."""
    missing = await _missing_teams(book, teams)
    if missing:
        ids = new_ids(len(missing))
        await people.begin_teams(book, [(i, name, fold(name)) for i, name in zip(ids, missing, strict=True)])
    named = await _named(book, teams)
    if ended := [row for one in named for row in one.instead]:
        await people.end_roles(book, ended)
    if begun := list(dict.fromkeys(one.row for one in named if one.begins)):
        await people.begin_roles(book, begun)
    return _pending(named)


async def role_notes(reader: Reader, teams: Sequence[TeamSettings], arriving: Collection[str]) -> tuple[str, ...]:
    """What the file's Primary and Secondary Admins change as soon as it is applied, in words: a role is no change of a
    plan. ``arriving``: mail keys of people who come by the plan itself, whose roles begin after them."""
    lines = []
    for one in await _named(reader, teams):
        role = "Primary Admin" if one.role is Role.PRIMARY_ADMIN else "Secondary Admin"
        office = f"{role} of Team {one.team}"
        mails = sorted([await _mail_of(reader, identity) for identity in one.others.values()])
        instead = f", in place of {' and '.join(mails)}" if mails else ""
        if one.instead or one.begins:
            lines.append(f"{one.mail} becomes {office}{instead}")
        elif not one.identity and Email.parse(one.mail).key not in arriving:
            lines.append(f"nobody has the address {one.mail}, {office} in the file")
        elif not one.identity and mails:
            lines.append(f"{one.mail}, who comes by this plan, becomes {office} in the next run{instead}")
    return tuple(dict.fromkeys(lines))


async def _missing_teams(reader: Reader, teams: Sequence[TeamSettings]) -> list[str]:
    known = {row[2] for row in await people.open_teams(reader)}
    return [team.name for team in teams if fold(team.name) not in known]


@dataclass(frozen=True, slots=True)
class _Named:
    """One admin of one Team in the file. ``identity``: empty where nobody known has the address; ``begins``: the role
    is not there yet; ``others``: of a Primary Admin, row id of the role → identity of whoever else has the Team."""

    team: str
    team_id: str
    mail: str
    role: Role
    identity: str
    begins: bool
    others: Mapping[str, str]

    @property
    def instead(self) -> tuple[str, ...]:
        """Row ids of the roles that end: somebody known takes over."""
        return tuple(self.others) if self.identity else ()

    @property
    def row(self) -> tuple[str, str, str]:
        """The role as the ledger has it."""
        return self.identity, self.role.value, self.team_id


async def _named(reader: Reader, teams: Sequence[TeamSettings]) -> list[_Named]:
    ids = {row[2]: row[0] for row in await people.open_teams(reader)}
    held = {(row[1], row[2], row[3]): row[0] for row in await people.open_roles(reader)}
    found = []
    for team in teams:
        team_id = ids.get(fold(team.name), "")
        wanted = [(team.primary_admin, Role.PRIMARY_ADMIN)] if team.primary_admin else []
        wanted += [(mail, Role.SECONDARY_ADMIN) for mail in team.secondary_admins]
        for mail, role in wanted:
            identity = await _known(reader, mail)
            row = (identity, role.value, team_id)
            sole = role is Role.PRIMARY_ADMIN
            others = {held[key]: key[0] for key in held if sole and key[1:] == row[1:] and key[0] != identity}
            begins = bool(identity and team_id and row not in held)
            found.append(_Named(team.name, team_id, mail, role, identity, begins, others))
    return found


def _pending(named: Sequence[_Named]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.mail for one in named if not one.identity))


async def _mail_of(reader: Reader, identity: str) -> str:
    row = await roster.person(reader, identity)
    return str(row.mail) if row is not None else identity


async def _known(reader: Reader, mail: str) -> str:
    rows = await people.identities_by_mail(reader, Email.parse(mail).key)
    return next((str(row[1]) for row in rows if row[7] != IdentityState.REMOVED), "")
