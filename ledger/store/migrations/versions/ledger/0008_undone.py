"""What an undo took back, so that it does not come back by itself (E14)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Undos so far left no mark."""
    op.create_table(
        "undone",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("identity_id", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("mapping", TEXT, nullable=False),
        sa.Column("rule", TEXT, nullable=False),
        sa.Column("undone_at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "identity_id", "kind", "mapping"),
    )
