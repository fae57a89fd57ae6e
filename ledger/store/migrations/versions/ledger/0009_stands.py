"""How new what was read of each source was, so that a server that went back or lags witnesses no absence (E2)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """The next reading of each source is the first one that is kept."""
    op.create_table(
        "stand",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("source_id", TEXT, nullable=False),
        sa.Column("stand", sa.Text(), nullable=False),
        sa.Column("doubted", sa.Text(), nullable=True),
        sa.Column("doubted_since", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "source_id"),
    )
