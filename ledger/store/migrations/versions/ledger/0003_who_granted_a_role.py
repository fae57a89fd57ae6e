"""Who granted an admin role, and why: a mapping may, and then a mapping may take it back (P3)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """What stands was granted by the file or by hand."""
    op.add_column("admin_role", sa.Column("provenance", TEXT, server_default="manual", nullable=False))
    op.add_column("admin_role", sa.Column("cause", TEXT, server_default="", nullable=False))
