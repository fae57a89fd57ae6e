"""A small published organization for reporting tests: Teams, tiers, switches, and rows in a real Iceberg warehouse.

Refuses to go through the connector: tests of the reporting side must not fail with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from ledger.instant import new_id
from ledger.publication import Freshness, Publication, PublishedTable
from ledger.published.datasets import DATASETS, OFFERINGS, SEATS, SUBSCRIPTIONS, TEAMS, USAGE_DAILY, USERS, arrow_table
from ledger.published.iceberg import Warehouse
from ledger.store import consent, publications, reporting
from ledger.store.engine import Ledger
from ledger.store.tables import people, seats
from ledger.usage import BasisKind, LegalBasis
from tests.parts.fences import ALONE

FIRST_DAY = date(2026, 2, 1)
DAYS = 10
OFFERING_NAMES = {"CAD": 'Cad, the "big" one', "RENDER": "=cmd|' /C calc'!A0"}


@dataclass(frozen=True)
class TeamOf:
    """A Team to be made. ``size`` people; ``tier`` of its subscription; what its admins switched on."""

    id: str
    name: str
    tier: str = "business"
    user_level: bool = True
    personal_data: bool = False
    size: int = 3


TEAM_LIST = (
    TeamOf("t-design", "Design"),
    TeamOf("t-open", "Öffentlich", personal_data=True),
    TeamOf("t-quiet", "Quiet", user_level=False),
    TeamOf("t-plain", "Plain", tier="standard"),
)


async def make_organization(
    ledger: Ledger, organization: str, now: datetime, teams: Sequence[TeamOf] = TEAM_LIST, *, basis: bool = True
) -> None:
    """The ledger's side: organization, Teams, a subscription for each, switches, the legal basis."""
    async with ledger.write(organization, ALONE, at=now - timedelta(days=60)) as book:
        await book.insert(people.organization, ("name", "report_zone", "created_at"), [(organization, "UTC", book.at)])
        await book.begin(people.team, ("id", "name", "name_key"), [(t.id, t.name, t.name.casefold()) for t in teams])
        columns = ("id", "team_id", "offering_code", "quantity", "tier", "starts_on", "ends_on", "renews")
        term = (date(2026, 1, 1), date(2027, 1, 1), "", "")
        rows = [(f"sub-{t.id}", t.id, "CAD", 10, t.tier, *term) for t in teams]
        await book.begin(seats.subscription, (*columns, "contract_number"), rows)
        for team in teams:
            await reporting.switch(
                book, team.id, user_level=team.user_level, personal_data=team.personal_data, actor="operator:root"
            )
        if basis:
            found = LegalBasis(
                BasisKind.NOTICE, ("report",), ("employees",), (), date(2026, 1, 1), "works council 7/2025"
            )
            await consent.record_basis(book, found, actor="operator:root")


async def write_tables(
    warehouse: Warehouse,
    organization: str,
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    before: Mapping[str, PublishedTable] | None = None,
) -> dict[str, PublishedTable]:
    """Write the datasets named in ``rows`` whole; what the last publication (``before``) had of others stays."""
    tables = dict(before or {})
    for name, found in rows.items():
        base = tables[name].snapshot if name in tables else None
        table = arrow_table(DATASETS[name], found)
        tables[name] = PublishedTable(await warehouse.write(organization, name, table, base=base), len(found), "")
    return tables


async def announce(
    ledger: Ledger, organization: str, now: datetime, tables: Mapping[str, PublishedTable]
) -> Publication:
    """Make tables visible."""
    async with ledger.read(organization) as reader:
        base = await publications.latest(reader)
    made = Publication(new_id(), base.number + 1 if base else 1, now, tables, FIRST_DAY + timedelta(days=DAYS - 3))
    last = FIRST_DAY + timedelta(days=DAYS - 1)
    async with ledger.write(organization, ALONE, at=now) as book:
        await publications.record(book, made, base=base)
        facts = [
            Freshness(name, now, now, last if name == "usage_daily" else None, last - timedelta(days=3))
            for name in tables
        ]
        await publications.set_freshness(book, facts)
    return made


async def publish(
    ledger: Ledger,
    warehouse: Warehouse,
    organization: str,
    now: datetime,
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Publication:
    """``write_tables`` on top of the latest publication, then ``announce``."""
    async with ledger.read(organization) as reader:
        base = await publications.latest(reader)
    tables = await write_tables(warehouse, organization, rows, base.tables if base else None)
    return await announce(ledger, organization, now, tables)


def rows_of(
    organization: str, teams: Sequence[TeamOf] = TEAM_LIST, *, days: int = DAYS
) -> dict[str, list[dict[str, Any]]]:
    """Rows of every dataset; user keys carry the organization's name, so that a leak is seen at once."""
    return {
        USAGE_DAILY.name: [
            _usage(organization, team, person, FIRST_DAY + timedelta(days=day), offering)
            for team in teams
            for person in range(team.size)
            for day in range(days)
            for offering in OFFERING_NAMES
        ],
        SEATS.name: [_seat(organization, team, person) for team in teams for person in range(team.size)],
        SUBSCRIPTIONS.name: [_subscription(team) for team in teams],
        TEAMS.name: [
            {"team_id": t.id, "team_name": t.name, "tier": t.tier, "since": datetime(2026, 1, 1, tzinfo=UTC)}
            for t in teams
        ],
        OFFERINGS.name: [
            {"offering_code": code, "offering_name": name, "kind": "single_user", "eligible": True}
            for code, name in OFFERING_NAMES.items()
        ],
        USERS.name: [
            {
                "user_key": key_of(organization, team, person),
                "department": f"dep-{organization}",
                "cost_centre": "",
                "country": "PL",
                "directory_status": "active",
            }
            for team in teams
            for person in range(team.size)
        ],
    }


def key_of(organization: str, team: TeamOf, person: int) -> str:
    """A user key of the fixture."""
    return f"u1-{organization}-{team.id}-{person}"


def _usage(organization: str, team: TeamOf, person: int, day: date, offering: str) -> dict[str, Any]:
    return {
        "usage_date": day,
        "usage_at": datetime(day.year, day.month, day.day, tzinfo=UTC),
        "date_key": int(f"{day:%Y%m%d}"),
        "team_id": team.id,
        "user_key": key_of(organization, team, person),
        "offering_code": offering,
        "offering_name": OFFERING_NAMES[offering],
        "parent_offering_code": None,
        "version": "" if person else "2026.1",
        "source": "flex" if offering == "RENDER" else "sus",
        "is_active": True,
        "tokens": 2**53 + 1 if offering == "RENDER" else None,
        "collection_state": "observed",
        "status": "final",
        "definition_version": 1,
        "revision": 0,
        "snapshot_id": "s",
    }


def _seat(organization: str, team: TeamOf, person: int) -> dict[str, Any]:
    return {
        "seat_id": f"seat-{team.id}-{person}",
        "subscription_id": f"sub-{team.id}",
        "team_id": team.id,
        "user_key": key_of(organization, team, person),
        "offering_code": "CAD",
        "offering_name": OFFERING_NAMES["CAD"],
        "tier": team.tier,
        "state": "active",
        "assigned_at": datetime(2026, 1, 5, 8, 30, 0, 120, tzinfo=UTC),
        "unassigned_at": None,
        "assignment": "group",
        "days_used": DAYS,
        "days_inactive": None if person == 0 else person,
        "last_used_on": None if person == 0 else FIRST_DAY,
        "last_activity_state": "used",
        "monthly_average": 7.5,
        "reclaimable": False,
        "reason": "in_use",
    }


def _subscription(team: TeamOf) -> dict[str, Any]:
    return {
        "subscription_id": f"sub-{team.id}",
        "team_id": team.id,
        "contract_number": "",
        "offering_code": "CAD",
        "offering_name": OFFERING_NAMES["CAD"],
        "seat_quantity": 10,
        "term": "P12M",
        "start_date": date(2026, 1, 1),
        "end_date": date(2027, 1, 1),
        "autorenew_date": None,
        "status": "active",
        "tier": team.tier,
        "reseller_name": None,
        "renews": "",
    }
