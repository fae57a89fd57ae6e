"""What was last read of each directory, and what the next run may build on; an index of release dates."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the three tables and the index."""
    op.create_table(
        "last_reading",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("source_id", TEXT, nullable=False),
        sa.Column("rules", TEXT, nullable=False),
        sa.Column("buckets", sa.Integer(), nullable=False),
        sa.Column("read_at", sa.BigInteger(), nullable=False),
        sa.Column("whole_at", sa.BigInteger(), nullable=False),
        sa.Column("header", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "source_id"),
    )
    op.create_table(
        "last_reading_part",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("source_id", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("bucket", TEXT, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "source_id", "kind", "bucket"),
    )
    op.create_table(
        "reconcile_base",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("whole_at", sa.BigInteger(), nullable=False),
        sa.Column("policy_hash", TEXT, nullable=False),
        sa.Column("domains", sa.Text(), nullable=False),
        sa.Column("pending", sa.LargeBinary(), nullable=False),
        sa.Column("standing", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id"),
    )
    op.create_index(
        "ix_seat_open_2",
        "seat",
        ["organization_id", "release_due_at"],
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
