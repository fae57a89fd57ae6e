"""Fractions of tokens, conflicts, and the causes for which rows of usage are set aside."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Tokens are millionths from now on. Rows in quarantine have no causes until a replay finds them."""
    op.execute("UPDATE usage_event SET tokens = tokens * 1000000 WHERE tokens IS NOT NULL")
    op.add_column("usage_batch", sa.Column("conflicts", sa.Integer(), server_default="0", nullable=False))
    op.add_column("usage_quarantine", sa.Column("causes", TEXT, server_default="", nullable=False))
