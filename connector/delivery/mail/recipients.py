"""Who is written to: the holders of a role as the book has them when the mail goes out (L5).

Prohibition: never anybody of another organization; never an address that a message carries.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from access.principal import ROLE_SCOPES, Scope
from connector.delivery.mail.kinds import MailKind, Readers
from ledger.errors import NotFound
from ledger.identity import Email, IdentityState
from ledger.store import people, roster
from ledger.store.book import Reader
from ledger.store.deliveries import Told
from ledger.team import Role


@dataclass(frozen=True, slots=True)
class Recipient:
    """One address, and the name that the book has for it."""

    mail: str
    name: str


async def of_batch(reader: Reader, kind: MailKind, messages: Collection[Told], operator: str) -> list[Recipient]:
    """Everybody who is to read these messages of one kind, each address once, in order of the addresses.

    Where nobody holds the role, the Primary Admins, and where there are none, ``operator`` (``[mail] operator``).
    Raises ``NotFound`` when there is nobody at all.
    """
    if kind.readers is Readers.PERSON:
        found = await _people(reader, [told.subject for told in messages])
        if not found:
            raise NotFound("the person is no longer active", where=kind.name)
        return found
    holders = await people.open_roles(reader)
    chosen = {
        Readers.APPROVERS: _holding(holders, _approving()),
        Readers.SSO_ADMINS: _holding(holders, {Role.SSO_ADMIN}),
        Readers.TEAM_ADMIN: _holding(holders, {Role.PRIMARY_ADMIN}, await _teams(reader, messages)),
    }.get(kind.readers, [])
    operators = [Recipient(operator, "")] if operator else []
    if kind.readers is Readers.OPERATOR and operators:
        return operators
    found = await _people(reader, chosen) or await _people(reader, _holding(holders, {Role.PRIMARY_ADMIN}))
    if not found and not operators:
        raise NotFound(
            f"nobody is there to read it: no active person holds a role for {kind.readers.value}, and [mail] operator"
            " is not set",
            where=kind.name,
        )
    return found or operators


def _approving() -> frozenset[Role]:
    return frozenset(role for role in (Role.PRIMARY_ADMIN, Role.SECONDARY_ADMIN) if _may_approve(role))


def _may_approve(role: Role) -> bool:
    return Scope.RUNS_APPROVE in ROLE_SCOPES[role]


def _holding(holders: Iterable[tuple[str, ...]], roles: Collection[str], teams: Collection[str] = ()) -> list[str]:
    """Identities that hold one of the roles, over one of these Teams (empty: any) or the organization."""
    return [
        identity for _, identity, role, team in holders if role in roles and (not teams or not team or team in teams)
    ]


async def _teams(reader: Reader, messages: Iterable[Told]) -> set[str]:
    """The Teams that messages are about, by id or by the name that their payload has."""
    known = {team: name for team, name, _ in await people.open_teams(reader)}
    named = {told.payload.get("team", "") for told in messages} - {""}
    return {told.subject for told in messages if told.subject in known} | {
        team for team, name in known.items() if name in named
    }


async def _people(reader: Reader, identities: Iterable[str]) -> list[Recipient]:
    """Active people with an address, each address once."""
    found: dict[str, Recipient] = {}
    for identity in dict.fromkeys(identities):
        row = await roster.person(reader, identity)
        if row is not None and row.state == IdentityState.ACTIVE and row.mail:
            name = "" if row.display_name == row.mail else row.display_name
            found.setdefault(Email.parse(row.mail).key, Recipient(row.mail, name))
    return [found[key] for key in sorted(found)]
