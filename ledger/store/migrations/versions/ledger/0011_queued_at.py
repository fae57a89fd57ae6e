"""Since when a job waits, so that a clock that was set back keeps none waiting."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Jobs that wait now go on as before: their ``run_after`` alone counts."""
    op.add_column("job", sa.Column("queued_at", sa.BigInteger(), nullable=True))
