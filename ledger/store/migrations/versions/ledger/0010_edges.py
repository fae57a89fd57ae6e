"""By which names groups list people (E3), instead of the starts of runs as first absences (E2)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Edges are learnt from the next reading; until then the cause of a membership says what it rests on. What was
    noted or read before counts no longer: one more reading, and the next one is whole."""
    op.create_table(
        "edge",
        sa.Column("row_id", TEXT, primary_key=True),
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("source_id", TEXT, nullable=False),
        sa.Column("listed", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("groups", TEXT, nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", TEXT, nullable=False, server_default=""),
        sa.Column("ended_run", TEXT, nullable=False, server_default=""),
    )
    is_open = sa.text("valid_to IS NULL")
    op.create_index("uq_edge_open", "edge", ["organization_id", "listed", "source_id", "name"], unique=True,
                    sqlite_where=is_open, postgresql_where=is_open)  # fmt: skip
    op.create_table(
        "edge_groups",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("anchors", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id"),
    )
    for table in ("absence", "reconcile_base"):
        op.execute(sa.delete(sa.table(table)))
