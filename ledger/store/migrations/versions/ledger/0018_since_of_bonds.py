"""Since when a subject is bound, where its row is younger (N3, N4)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bonds so far are as old as their row."""
    op.add_column("identity_link", sa.Column("bonded_at", sa.BigInteger(), nullable=True))
