"""Who was taken out of which group, by the pushes recorded so far."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table, and fill it with what each push is known to have removed and none added again."""
    names = ("organization_id", "connection_id", "group_id", "member_id")
    table = op.create_table(
        "inbox_left",
        *(sa.Column(name, TEXT, nullable=False) for name in names),
        sa.Column("left_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(*names),
    )
    writes = sa.table("inbox_write", *map(sa.column, (*names[:2], "kind", "resource_id", "at", "id", "change")))
    asked = sa.select(*(writes.c[name] for name in (*names[:2], "resource_id", "at", "change")))
    left: dict[tuple[str, str, str, str], int] = {}
    rows = op.get_bind().execute(asked.where(writes.c.kind == "Group").order_by(writes.c.at, writes.c.id))
    for organization, connection, group, at, change in rows:
        members = json.loads(change).get("members", {})
        left.update(((organization, connection, group, one), at) for one in members.get("removed", ()))
        for one in members.get("added", ()):
            left.pop((organization, connection, group, one), None)
    if left:
        op.bulk_insert(table, [dict(zip((*names, "left_at"), (*key, at), strict=True)) for key, at in left.items()])
