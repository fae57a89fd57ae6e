"""People and Team memberships edited by hand: each edit one transaction, audited, by a named actor (R6, P3).

Prohibition: never touches a synced row (``rules`` says so), asks no gate (R6 is not directory sync), reads no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connector.reconcile.by_hand import invites, rules
from connector.reconcile.by_hand.rules import Act, Exists, Person
from connector.reconcile.plan.words import some
from connector.reconcile.policy.invites import InviteSettings, parse_mail, require_domain, require_unclaimed
from ledger.audit import AuditEvent
from ledger.errors import BadInput, NotFound, Refused
from ledger.identity import MANUAL, Email, IdentityState, fold
from ledger.instant import new_id
from ledger.jobs import Unleased
from ledger.seat import Tier
from ledger.store import audit, last_readings, people, roster, seats, sso
from ledger.store.book import Book, Reader
from ledger.store.engine import Ledger

_LONGEST = 200
_NAMED = 12  # Teams that a message names


@dataclass(frozen=True, slots=True)
class Edited:
    """What an edit did to one person; ``changed`` False: it was so already. ``notes``: what an admin should know."""

    identity_id: str
    changed: bool
    what: str
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """Plain text."""
        return (self.what, *(f"note: {note}" for note in self.notes))

    def to_json(self) -> dict[str, Any]:
        """One JSON document."""
        return {"id": self.identity_id, "changed": self.changed, "what": self.what, "notes": list(self.notes)}


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Somebody to invite by hand; ``team_ids``: Teams to join at once."""

    mail: str
    given_name: str = ""
    family_name: str = ""
    display_name: str = ""
    employee_number: str = ""
    team_ids: tuple[str, ...] = ()


async def load(reader: Reader, identity_id: str) -> Person:
    """Open rows about one person; raises ``NotFound``."""
    row = await roster.person(reader, identity_id)
    if row is None:
        raise NotFound(f"there is no person {identity_id}", where="id", next_step="GET /admin/v1/people lists them")
    mine = await people.open_of(reader, [identity_id])
    held = await seats.open_of(reader, [identity_id])
    roles = await roster.roles_of(reader, identity_id)
    return Person(row, mine["links"], mine["memberships"], held["seats"], held["grants"], held["waiting"], roles)


async def find(reader: Reader, mail: str) -> str:
    """The identity with this address: the one who is not removed, else the last one who was. Raises ``NotFound``."""
    rows = await people.identities_by_mail(reader, parse_mail(mail).key)
    if not rows:
        raise NotFound(f"nobody has the address {mail}", where="mail", next_step="check its spelling")
    return str(min(rows, key=lambda row: row[7] == IdentityState.REMOVED)[1])


async def team_named(reader: Reader, name: str, act: Act) -> tuple[str, str]:
    """(id, name) of a Team given by id or name; raises ``NotFound``, also for a Team outside the actor's."""
    teams = [team for team in await people.open_teams(reader) if not act.teams or team[0] in act.teams]
    for team_id, text, key in teams:
        if name == team_id or fold(name) == key:
            return team_id, text
    known = sorted(text for _, text, _ in teams)
    there = f"there are: {some(known, _NAMED)}" if known else "[[teams]] of its file names none"
    raise NotFound(f"there is no Team {name!r} ({there})", where="team", next_step="give one of them, by name or id")


async def invite(ledger: Ledger, organization: str, newcomer: Newcomer, settings: InviteSettings, act: Act) -> Edited:
    """Make a person and invite them (R4, R6); provenance ``manual``.

    Raises ``BadInput`` (address, names), ``Refused`` (domain not registered), ``Exists`` (address taken), ``NotFound``.
    """
    mail = parse_mail(newcomer.mail)
    names = _checked({name: getattr(newcomer, name) for name in rules.EDITABLE if name != "mail"})
    names["display_name"] = (
        names["display_name"] or f"{names['given_name']} {names['family_name']}".strip() or mail.text
    )
    if act.teams and not newcomer.team_ids:
        raise BadInput("a credential bound to Teams invites into one of them", where="teams")
    async with ledger.write(organization, Unleased.BY_HAND, at=act.now) as book:
        require_domain(mail, await _registered(book), settings)
        await require_free(book, mail, "")
        teams = dict([await team_named(book, name, act) for name in newcomer.team_ids])
        identity = new_id()
        row = (identity, mail.text, mail.key, names["given_name"], names["family_name"], names["display_name"])
        await people.begin_identities(book, [(*row, IdentityState.ACTIVE.value, names["employee_number"], {})])
        await people.begin_memberships(book, [(identity, team, MANUAL, "", _cause(act)) for team in teams])
        await invites.announce(book, [invites.message(identity, mail.text, names["display_name"])], settings)
        after = {"mail": mail.text, **names, "teams": sorted(teams.values())}
        await _witness(book, act, "person.invited", identity, after=after)
    told = "" if settings.send else " in silence ([invites] send = false)"
    return Edited(identity, True, f"{mail.text} is invited{told}")


async def change(
    ledger: Ledger, organization: str, identity_id: str, fields: Mapping[str, str], settings: InviteSettings, act: Act
) -> Edited:
    """Edit fields of a person no directory owns (P3). Raises as ``invite``, and ``Refused`` for linked people."""
    wanted = dict(fields)
    mail = parse_mail(wanted["mail"]) if "mail" in wanted else None
    if mail is not None:
        wanted["mail"] = mail.text
    _checked({name: value for name, value in wanted.items() if name != "mail"})
    async with ledger.write(organization, Unleased.BY_HAND, at=act.now) as book:
        person = await load(book, identity_id)
        person.require_whole_by(act)
        changed = rules.changed_fields(person, wanted)
        if not changed:
            return Edited(identity_id, False, f"{person.mail} is already so")
        _require_present(person)
        if mail is not None and mail.key != person.identity.mail_key:
            require_domain(mail, await _registered(book), settings)
            await require_free(book, mail, identity_id)
        await replace_identity(book, person, {name: pair[1] for name, pair in changed.items()}, mail)
        before, after = ({name: pair[side] for name, pair in changed.items()} for side in (0, 1))
        await _witness(book, act, "person.changed", identity_id, before=before, after=after)
    return Edited(identity_id, True, f"{person.mail}: changed {', '.join(changed)}")


async def remove(ledger: Ledger, organization: str, identity_id: str, act: Act) -> Edited:
    """Remove a person no directory owns, with everything manual they have (R6). Needs a reason.

    Raises ``Refused`` for linked people, people with synced rows, and holders of an admin role (G4, R8).
    """
    act.require_reason()
    async with ledger.write(organization, Unleased.BY_HAND, at=act.now) as book:
        person = await load(book, identity_id)
        person.require_whole_by(act)
        if person.identity.state == IdentityState.REMOVED:
            return Edited(identity_id, False, f"{person.mail} is removed already")
        rules.require_unlinked(person, "cannot be removed here")
        for row in (*person.memberships, *person.grants):
            if row.provenance != MANUAL:
                raise rules.owned(f"something {person.mail} has", row)
        notes = await _removed(book, person)
        await _witness(book, act, "person.removed", identity_id, before=_had(person))
    return Edited(identity_id, True, f"{person.mail} is removed", tuple(notes))


async def cancel(ledger: Ledger, organization: str, identity_id: str, act: Act) -> Edited:
    """Take back an invite that was not accepted (R6): what was given by hand ends, and with it the person, unless a
    directory owns them or a mapping gives them something; that stays, and is noted. Mail that waits is not sent once
    nothing is left. Needs a reason.

    Raises ``Refused`` for who has signed in or is not active, has nothing by hand, or holds an admin role.
    """
    act.require_reason()
    async with ledger.write(organization, Unleased.BY_HAND, at=act.now) as book:
        person = await load(book, identity_id)
        person.require_whole_by(act)
        require_unclaimed(person.mail, person.identity.state, person.signed_in)
        mine, rest = rules.by_hand(person)
        if not person.directory_links and not (rest.memberships or rest.seats or rest.waiting):
            notes = await _removed(book, person)
        elif not (mine.memberships or mine.grants or mine.waiting):
            raise rules.nothing_by_hand(rest)
        else:
            await _end(book, mine)
            if not (rest.memberships or rest.seats or rest.waiting):
                await invites.claimed(book, identity_id)
            notes = [*await _duties(book, mine), *await _stays(book, rest)]
        await _witness(book, act, "invite.cancelled", identity_id, before=_had(mine))
    return Edited(identity_id, True, f"the invite of {person.mail} is taken back", tuple(notes))


async def _removed(book: Book, person: Person) -> list[str]:
    """End the person with everything they have; returns what an admin should know. Raises ``Refused`` for who holds an
    admin role."""
    if person.roles:
        roles = ", ".join(sorted({role for role, _ in person.roles}))
        raise Refused(f"{person.mail} is {roles}", where="id", next_step="hand the Team over in its file first")
    await _end(book, person)
    await replace_identity(book, person, {"state": IdentityState.REMOVED.value}, None)
    await invites.claimed(book, person.identity.id)
    return await _duties(book, person)


async def _end(book: Book, person: Person) -> None:
    """End the memberships, grants, seats and places in line that ``person`` has."""
    await people.end_memberships(book, [row.row_id for row in person.memberships])
    await seats.end_grants(book, [row.row_id for row in person.grants])
    await seats.end_seats(book, [row.row_id for row in person.seats])
    await seats.end_waiting(book, [row.row_id for row in person.waiting])


async def _duties(book: Book, person: Person) -> list[str]:
    return [note for team in {row.team_id for row in person.memberships} for note in await _duty(book, team)]


async def _stays(reader: Reader, rest: Person) -> list[str]:
    """What is left to somebody whose invite by hand was taken back, and through what."""
    names = {row[0]: row[1] for row in await people.open_teams(reader)}
    teams = [f"in Team {names.get(row.team_id, row.team_id)} through {row.provenance}" for row in rest.memberships]
    held = [f"a seat of {row.offering_code}" for row in rest.seats]
    line = [f"a place in line for {row.offering_code} through {row.provenance}" for row in rest.waiting]
    owners = [f"directory {row.source_id} owns the person" for row in rest.directory_links]
    return [f"stays: {what}" for what in (*teams, *held, *line, *owners)]


def _had(person: Person) -> dict[str, Any]:
    """For the audit."""
    return {"seats": sorted(row.offering_code for row in person.seats), "teams": len(person.memberships)}


async def join(ledger: Ledger, organization: str, team: str, identity_id: str, act: Act) -> Edited:
    """A manual membership, beside synced ones where there are any (P3). Idempotent; ``Refused`` for a leaver."""
    async with ledger.write(organization, Unleased.BY_HAND, at=act.now) as book:
        team_id, name = await team_named(book, team, act)
        person = await load(book, identity_id)
        person.require_active()
        if any((row.team_id, row.provenance) == (team_id, MANUAL) for row in person.memberships):
            return Edited(identity_id, False, f"{person.mail} is in Team {name} already")
        await people.begin_memberships(book, [(identity_id, team_id, MANUAL, "", _cause(act))])
        await _witness(book, act, "membership.added", identity_id, after={"team": name})
    return Edited(identity_id, True, f"{person.mail} is in Team {name}")


async def leave(ledger: Ledger, organization: str, team: str, identity_id: str, act: Act) -> Edited:
    """End a manual membership. Needs a reason. ``Refused`` for a synced one, naming its mapping (P3)."""
    act.require_reason()
    async with ledger.write(organization, Unleased.BY_HAND, at=act.now) as book:
        team_id, name = await team_named(book, team, act)
        person = await load(book, identity_id)
        person.require_seen_by(act)
        row = rules.leave(person, team_id, name)
        if row is None:
            return Edited(identity_id, False, f"{person.mail} is not in Team {name}")
        await people.end_memberships(book, [row.row_id])
        await _witness(book, act, "membership.ended", identity_id, before={"team": name})
        others = [item for item in person.memberships if item.team_id == team_id and item is not row]
        notes = [f"still in Team {name} through {item.provenance}" for item in others] or await _duty(book, team_id)
    return Edited(identity_id, True, f"{person.mail} left Team {name}" if not others else
                  f"the manual membership of {person.mail} in Team {name} ended", tuple(notes))  # fmt: skip


async def _registered(reader: Reader) -> frozenset[str]:
    return frozenset(row.domain for row in await sso.domains(reader))


async def require_free(reader: Reader, mail: Email, identity_id: str) -> None:
    """Raise ``Exists`` when the address is somebody else's than ``identity_id``'s."""
    for row in await people.identities_by_mail(reader, mail.key):
        if row[7] != IdentityState.REMOVED and row[1] != identity_id:
            raise Exists(f"{mail.text} is somebody's address already", str(row[1]))


def _require_present(person: Person) -> None:
    if person.identity.state == IdentityState.REMOVED:
        raise Refused(f"{person.mail} is removed", where="id", next_step="invite the person anew")


def _checked(fields: Mapping[str, str]) -> dict[str, str]:
    """Names without outer spaces; raises ``BadInput`` for one that is too long or cannot be printed."""
    for name, value in fields.items():
        if len(value) > _LONGEST or not value.isprintable():
            raise BadInput(f"longer than {_LONGEST} characters, or with control characters", where=name)
    return {name: value.strip() for name, value in fields.items()}


async def replace_identity(book: Book, person: Person, values: Mapping[str, str], mail: Email | None) -> None:
    """A newer row of the identity."""
    old = person.identity
    found = {name: getattr(old, name) for name in (*rules.EDITABLE, "mail_key", "state")} | dict(values)
    if mail is not None:
        found["mail_key"] = mail.key
    names = ("mail", "mail_key", "given_name", "family_name", "display_name", "state", "employee_number")
    await people.end_identities(book, [old.row_id])
    await people.begin_identities(book, [(old.id, *(found[name] for name in names), old.attributes)])


async def _duty(reader: Reader, team_id: str) -> list[str]:
    """R8 of a Team somebody left."""
    left = (await roster.member_counts(reader)).get(team_id, 0)
    name = {row[0]: row[1] for row in await people.open_teams(reader)}.get(team_id, team_id)
    business = any(item.team_id == team_id and item.tier is Tier.BUSINESS
                   for item in await seats.open_subscriptions(reader))  # fmt: skip
    return list(rules.duty_note(name, left, business))


async def _witness(book: Book, act: Act, verb: str, identity_id: str, *, before: Any = None, after: Any = None) -> None:
    await audit.append(book, [AuditEvent(act.actor, verb, identity_id, act.reason, before=before, after=after)])
    await last_readings.forget_base(book)


def _cause(act: Act) -> str:
    return f"by hand: {act.actor}" + (f", {act.reason}" if act.reason else "")
