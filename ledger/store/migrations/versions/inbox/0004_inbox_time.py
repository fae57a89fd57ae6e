"""When the last transaction of each organization was: from here on instants only grow."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table, and begin with the newest instant that stands in the book. By which clocks it was written is
    not known: the next transaction is compared with that instant alone."""
    table = op.create_table(
        "inbox_time",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("wall", sa.BigInteger(), nullable=False),
        sa.Column("boot", TEXT, nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("steady", "behind", "ahead")),
        sa.PrimaryKeyConstraint("organization_id"),
    )
    written = sa.table("inbox_write", sa.column("organization_id"), sa.column("at"))
    newest = sa.select(written.c.organization_id, sa.func.max(written.c["at"])).group_by(written.c.organization_id)
    rows = [
        {"organization_id": name, "at": at, "wall": at, "boot": "", "steady": 0, "behind": 0, "ahead": 0}
        for name, at in op.get_bind().execute(newest)
    ]
    if rows:
        op.bulk_insert(table, rows)
