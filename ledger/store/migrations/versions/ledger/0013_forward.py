"""What holds when runs forward: rows that ended before they began are repaired, and the database refuses new ones."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

KEYS: Mapping[str, tuple[str, ...]] = {
    "admin_role": ("identity_id", "role", "team_id"),
    "directory_group": ("source_id", "anchor"),
    "edge": ("listed", "source_id", "name"),
    "group_membership": ("identity_id", "group_id"),
    "identity": ("id",),
    "identity_link": ("kind", "source_id", "anchor"),
    "legal_basis": (),
    "offering": ("code",),
    "seat": ("id",),
    "seat_grant": ("seat_id", "team_id", "provenance"),
    "sso_link": ("domain",),
    "subscription": ("id",),
    "team": ("id",),
    "team_membership": ("identity_id", "team_id", "provenance"),
    "team_reporting": ("team_id",),
    "team_restriction": ("team_id",),
    "usage_opt_out": ("identity_id",),
    "waiting": ("identity_id", "team_id", "offering_code", "provenance"),
}
"""Every interval table, and what has at most one open row."""
ATTRIBUTED = ("team_membership", "seat")
"""What days of usage are attributed by."""
Row = tuple[str, int, int | None]
"""(row id, valid_from, valid_to); row ids sort by when they were made."""

_log = logging.getLogger(__name__)


def upgrade() -> None:
    """Rows of one thing are taken in the order in which they were made; each begins no earlier than the one before
    ended, and ends no earlier than it began. Days of usage in between that can still be folded are folded again."""
    for name, key in KEYS.items():
        moved = _repair(name, key)
        if moved:
            _log.warning("%s: %d row(s) that ran backwards were repaired", name, len(moved))
        if name in ATTRIBUTED:
            _mark(moved)
        _forbid(name)


def forward(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """(row as it is, row as it must be) of those that change. ``rows``: of one thing, in the order they were made."""
    changed: list[tuple[Row, Row]] = []
    reached = 0
    for row in rows:
        row_id, begins, ends = row
        begun = max(begins, reached)
        ended = None if ends is None else max(ends, begun)
        reached = begun if ended is None else ended
        if (begun, ended) != (begins, ends):
            changed.append((row, (row_id, begun, ended)))
    return changed


def _repair(name: str, key: tuple[str, ...]) -> list[tuple[str, Row, Row]]:
    """(organization, before, after) of every row that was changed."""
    columns = ("organization_id", *key, "row_id", "valid_from", "valid_to")
    table = sa.table(name, *map(sa.column, columns))
    thing = [table.c[column] for column in ("organization_id", *key)]
    before = sa.func.lag(table.c.valid_to).over(partition_by=thing, order_by=table.c.row_id)
    spans = sa.select(*thing, table.c.valid_from, table.c.valid_to, before.label("reached")).subquery()
    wrong = (spans.c.valid_to < spans.c.valid_from) | (spans.c.reached > spans.c.valid_from)
    suspects = sa.select(*(spans.c[column.name] for column in thing)).where(wrong).distinct().subquery()
    same = sa.and_(*(column == suspects.c[column.name] for column in thing))
    rows = op.get_bind().execute(
        sa.select(*(table.c[column] for column in columns)).join(suspects, same).order_by(*thing, table.c.row_id)
    )
    width = 1 + len(key)
    moved = []
    for one, same_thing in groupby(rows, key=lambda row: tuple(row[:width])):
        moved += [(str(one[0]), *pair) for pair in forward([tuple(row[width:]) for row in same_thing])]
    for _, _, (row_id, begins, ends) in moved:
        change = sa.update(table).where(table.c.row_id == row_id).values(valid_from=begins, valid_to=ends)
        op.get_bind().execute(change)
    return moved


def _mark(moved: Iterable[tuple[str, Row, Row]]) -> None:
    """Fold again the days around what was moved; a day whose events are gone stays as it was published."""
    days: set[tuple[str, date]] = set()
    for organization, before, after in moved:
        instants = [at for at in (*before[1:], *after[1:]) if at is not None]
        first, last = (datetime.fromtimestamp(at / 1e6, UTC).date() for at in (min(instants), max(instants)))
        for day in range(-1, (last - first).days + 2):  # whatever the zone in which days are counted
            days.add((organization, first + timedelta(days=day)))
    state = sa.table("usage_day", sa.column("organization_id"), sa.column("day", sa.Date()), sa.column("sealed"))
    known = sa.select(state.c.organization_id, state.c.day).where(state.c.sealed.is_(sa.false()))
    marks = [
        {"organization_id": organization, "day": day, "batch_id": "repair 0013", "events": 0}
        for organization, day in op.get_bind().execute(known)
        if (organization, day) in days
    ]
    if marks:
        names = ("organization_id", "batch_id", "events")
        op.bulk_insert(sa.table("usage_touched", *map(sa.column, names), sa.column("day", sa.Date())), marks)
        _log.warning("%d day(s) of usage are folded again at the next publish", len(marks))


def _forbid(name: str) -> None:
    """A constraint; on SQLite, where one cannot be added to a table that stands, a trigger."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER ck_{name}_forward BEFORE UPDATE OF valid_to ON {name}"
            " WHEN NEW.valid_to < NEW.valid_from"
            f" BEGIN SELECT RAISE(ABORT, 'CHECK constraint failed: ck_{name}_forward'); END"
        )
    else:
        op.create_check_constraint(f"ck_{name}_forward", name, "valid_to >= valid_from")
