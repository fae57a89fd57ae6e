"""What reports may show of each Team: its tier today and what its admins have switched on (R10, R11, R13c).

Prohibition: decides nothing; who may read what is ``reporting_api.auth``'s business.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from ledger.audit import AuditEvent
from ledger.errors import NotFound
from ledger.reporting import TeamReporting
from ledger.seat import Tier
from ledger.store import audit
from ledger.store.book import Book, Reader
from ledger.store.tables.access import team_reporting
from ledger.store.tables.people import team
from ledger.store.tables.seats import subscription


async def teams(reader: Reader, today: date) -> tuple[TeamReporting, ...]:
    """Every Team of the organization, by name and id. ``today``: in its report zone; a Team is Business while a
    Business subscription of its own runs (R10)."""
    table = subscription
    running = reader.open(table, "team_id").where(
        table.c.tier == str(Tier.BUSINESS), table.c.starts_on <= today, table.c.ends_on > today
    )
    business = {row.team_id for row in await reader.all(running.distinct())}
    rows: Sequence[Any] = await reader.all(reader.open(team_reporting))
    switched = {row.team_id: row for row in rows}
    named: Sequence[Any] = await reader.all(reader.open(team, "id", "name").order_by(team.c.name_key, team.c.id))
    found = []
    for team_id, name in named:
        tier = Tier.BUSINESS if team_id in business else Tier.STANDARD
        row = switched.get(team_id)
        if row is None:
            found.append(TeamReporting(team_id, name, tier))
        else:
            found.append(TeamReporting(team_id, name, tier, row.user_level, row.personal_data, row.min_group_size))
    return tuple(found)


async def switch(
    book: Book,
    team_id: str,
    *,
    user_level: bool,
    personal_data: bool = False,
    min_group_size: int | None = None,
    actor: str,
) -> None:
    """Set what reports show of a Team (R11: an admin switches user-level usage on). History keeps what held before.

    Raises ``NotFound`` for a Team the organization does not have, ``ValueError`` for named data without user level.
    """
    if personal_data and not user_level:
        raise ValueError("personal data is shown in user-level reports only: switch user level on as well")
    if await book.first(book.open(team, "id").where(team.c.id == team_id)) is None:
        raise NotFound(f"there is no Team {team_id!r}", where="team_id")
    values = (team_id, user_level, personal_data, min_group_size)
    columns = ("team_id", "user_level", "personal_data", "min_group_size")
    before = await book.first(book.open(team_reporting, "row_id", *columns).where(team_reporting.c.team_id == team_id))
    if before is not None:
        if tuple(before)[1:] == values:
            return
        await book.end(team_reporting, [before.row_id])
    await book.begin(team_reporting, (*columns, "recorded_by"), [(*values, actor)])
    was = dict(zip(columns, tuple(before)[1:], strict=True)) if before is not None else None
    now = dict(zip(columns, values, strict=True))
    await audit.append(book, [AuditEvent(actor, "reporting.switched", team_id, before=was, after=now)])
