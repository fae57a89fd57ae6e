"""People edited by hand, for tests: a registered domain, an act, and what somebody has in natural names."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from connector.reconcile.by_hand import people as by_hand
from connector.reconcile.by_hand.people import Newcomer
from connector.reconcile.by_hand.rules import Act
from connector.reconcile.policy.invites import InviteSettings
from connector.sso import steps
from ledger.store import people, seats
from ledger.store.engine import Ledger
from ledger.store.tables import audit, outbox, runs
from tests.parts.directories import ORGANIZATION, World

DIRECTORIES = {"corp": "ldap", "hr": "scim"}


def act(now: datetime, reason: str = "because", **values: Any) -> Act:
    """An edit by Ada."""
    return Act("ada", now, reason, **values)


async def register(world: World, domain: str = "acme.example") -> None:
    """Add the domain; nothing is proved, so no real gate opens."""
    await steps.add_domain(world.ledger, ORGANIZATION.id, domain, actor="ada", now=world.now)


async def invite(world: World, name: str, *teams: str, settings: InviteSettings | None = None) -> str:
    """Somebody invited by hand; returns the identity."""
    newcomer = Newcomer(f"{name}@acme.example", given_name=name.title(), family_name="Test", team_ids=teams)
    made = await by_hand.invite(
        world.ledger, ORGANIZATION.id, newcomer, settings or InviteSettings(), act(world.now, "")
    )
    return made.identity_id


async def identity(world: World, name: str) -> str:
    """The identity with this address."""
    async with world.ledger.read(ORGANIZATION.id) as reader:
        return await by_hand.find(reader, f"{name}@acme.example")


async def holdings(ledger: Ledger, name: str) -> dict[str, list[tuple[str, ...]]]:
    """Teams (name, provenance), seats (offering, Team, state), grants (offering, Team, provenance), places waited for
    (offering, Team, provenance) of one person."""
    async with ledger.read(ORGANIZATION.id) as reader:
        who = await by_hand.find(reader, f"{name}@acme.example")
        teams = {row[0]: row[1] for row in await people.open_teams(reader)}
        mine, held = await people.open_of(reader, [who]), await seats.open_of(reader, [who])
        offering = {row.id: row.offering_code for row in held["seats"]}
        return {
            "teams": sorted((teams[row.team_id], row.provenance) for row in mine["memberships"]),
            "seats": sorted((row.offering_code, teams[row.team_id], row.state) for row in held["seats"]),
            "grants": sorted((offering[row.seat_id], teams[row.team_id], row.provenance) for row in held["grants"]),
            "waiting": sorted((row.offering_code, teams[row.team_id], row.provenance) for row in held["waiting"]),
        }


async def mailed(ledger: Ledger, kind: str = "invite.mail") -> list[str]:
    """Subjects of the outbox messages of one kind, oldest first."""
    async with ledger.read(ORGANIZATION.id) as reader:
        statement = reader.select(outbox.outbox, "subject").where(outbox.outbox.c.kind == kind)
        return [row.subject for row in await reader.all(statement.order_by(outbox.outbox.c.id))]


async def due(ledger: Ledger, kind: str = "invite_expiry") -> dict[str, datetime]:
    """Subject → when."""
    async with ledger.read(ORGANIZATION.id) as reader:
        statement = reader.select(runs.due, "subject", "at").where(runs.due.c.kind == kind)
        return {row.subject: row.at for row in await reader.all(statement)}


async def verbs(ledger: Ledger, subject: str) -> list[str]:
    """What the audit says about a subject, oldest first."""
    async with ledger.read(ORGANIZATION.id) as reader:
        statement = reader.select(audit.audit_event, "verb").where(audit.audit_event.c.subject == subject)
        return [row.verb for row in await reader.all(statement.order_by(audit.audit_event.c.seq))]
