"""Who is written to: the holders of a role as the book has them when the mail goes out (L5).

What concerns a Team is told to who holds a role over that Team; what concerns the whole organization to who holds one
over all of it, then to the operator, and to the Primary Admins of its Teams only where nobody else is there to hear of
it: an organization whose held sets and suspensions reach nobody is worse off. Prohibition: never anybody of another
organization; never an address that a message carries.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from access.principal import ROLE_SCOPES, Scope
from connector.delivery.mail.kinds import KINDS, READ_BY, MailKind, Readers
from ledger.errors import NotFound
from ledger.identity import Email, IdentityState
from ledger.store import deliveries, people, roster
from ledger.store.book import Reader
from ledger.store.deliveries import Delivery, Told
from ledger.team import Role


@dataclass(frozen=True, slots=True)
class Recipient:
    """One address, and the name that the book has for it."""

    mail: str
    name: str


async def of_batch(reader: Reader, kind: MailKind, messages: Collection[Told], operator: str) -> list[Recipient]:
    """Everybody who is to read these messages of one kind, each address once, in order of the addresses.

    Where nobody holds the role, the Primary Admins of the whole organization, and where there are none, ``operator``
    (``[mail] operator``); last, for what concerns the whole organization, the Primary Admins of its Teams. Raises
    ``NotFound`` when there is nobody at all.
    """
    if kind.readers is Readers.PERSON:
        found = await _people(reader, [told.subject for told in messages])
        if not found:
            raise NotFound("the person is no longer active", where=kind.name)
        return found
    holders = await people.open_roles(reader)
    teams = {team: name for team, name, _ in await people.open_teams(reader)}
    chosen = {
        Readers.APPROVERS: _holding(holders, _approving(), teams.keys()),
        Readers.SSO_ADMINS: _holding(holders, {Role.SSO_ADMIN}, teams.keys()),
        Readers.TEAM_ADMIN: _holding(holders, {Role.PRIMARY_ADMIN}, _teams(messages, teams)),
    }.get(kind.readers, [])
    operators = [Recipient(operator, "")] if operator else []
    if kind.readers is Readers.OPERATOR and operators:
        return operators
    over_all = _holding(holders, {Role.PRIMARY_ADMIN}, teams.keys())
    found = await _people(reader, chosen) or await _people(reader, over_all) or operators
    if not found and kind.readers is not Readers.TEAM_ADMIN:
        found = await _people(reader, [identity for _, identity, role, _ in holders if role == Role.PRIMARY_ADMIN])
    if not found:
        raise NotFound(
            f"nobody is there to read it: neither {READ_BY[kind.readers]} nor a Primary Admin over all that it is about"
            " is an active person, and [mail] operator is not set",
            where=kind.name,
        )
    return found


async def in_words(reader: Reader, found: Sequence[Delivery], operator: str = "") -> dict[str, str]:
    """Message → to whom it went, or goes as far as that is known before: the person's address, the role, the Team."""
    kinds = {item.message_id: KINDS[item.kind].readers for item in found if item.kind in KINDS}
    persons = {item.subject for item in found if kinds.get(item.message_id) is Readers.PERSON}
    mails = {row.id: str(row.mail) for row in (await people.open_of(reader, sorted(persons)))["identity"]}
    of_teams = [message for message, readers in kinds.items() if readers is Readers.TEAM_ADMIN]
    payloads = await deliveries.payloads(reader, of_teams)
    teams = {team: name for team, name, _ in await people.open_teams(reader)} if of_teams else {}

    def to(item: Delivery) -> str:
        if item.settled_at and item.done:
            return ", ".join(receipt.receiver for receipt in item.done)
        readers = kinds.get(item.message_id)
        if readers is Readers.PERSON:
            return mails.get(item.subject) or "somebody who is no longer known"
        if readers is Readers.TEAM_ADMIN:
            told = Told(item.message_id, item.subject, payloads.get(item.message_id, {}), item.created_at)
            return f"the Primary Admin of Team {teams.get(_team(told, teams)) or told.payload.get('team', '')}".strip()
        return (operator if readers is Readers.OPERATOR else "") or (READ_BY[readers] if readers else item.target)

    return {item.message_id: to(item) for item in found}


def _approving() -> frozenset[Role]:
    return frozenset(role for role in (Role.PRIMARY_ADMIN, Role.SECONDARY_ADMIN) if _may_approve(role))


def _may_approve(role: Role) -> bool:
    return Scope.RUNS_APPROVE in ROLE_SCOPES[role]


def _holding(holders: Iterable[tuple[str, ...]], roles: Collection[str], teams: AbstractSet[str]) -> list[str]:
    """Identities that hold such roles over the organization, or over each of these Teams; of no Team, only the former:
    what is about a Team that nobody knows is not told to the admins of another."""
    over: dict[str, set[str]] = defaultdict(set)
    for _, identity, role, team in holders:
        if role in roles:
            over[identity].add(team)
    return [identity for identity, held in over.items() if "" in held or (teams and teams <= held)]


def _teams(messages: Iterable[Told], known: Mapping[str, str]) -> frozenset[str]:
    """The Teams that the messages are about; none at all where one of them is about a Team that is not ``known``."""
    found = [_team(told, known) for told in messages]
    return frozenset() if "" in found else frozenset(found)


def _team(told: Told, known: Mapping[str, str]) -> str:
    """Id of the Team that one message is about, or nothing; by its name only in a message that has no id of it."""
    wanted = told.payload.get("team_id") or told.subject
    if wanted in known or "team_id" in told.payload:
        return wanted if wanted in known else ""
    return next((team for team, name in known.items() if name == told.payload.get("team")), "")


async def _people(reader: Reader, identities: Iterable[str]) -> list[Recipient]:
    """Active people with an address, each address once."""
    found: dict[str, Recipient] = {}
    for identity in dict.fromkeys(identities):
        row = await roster.person(reader, identity)
        if row is not None and row.state == IdentityState.ACTIVE and row.mail:
            name = "" if row.display_name == row.mail else row.display_name
            found.setdefault(Email.parse(row.mail).key, Recipient(row.mail, name))
    return [found[key] for key in sorted(found)]
