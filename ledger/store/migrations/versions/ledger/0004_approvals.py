"""A held set keeps every approval it was given (G3)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; sets approved before keep who approved them in ``approved_by``."""
    op.add_column("held_set", sa.Column("approvals", sa.Text(), server_default="[]", nullable=False))
