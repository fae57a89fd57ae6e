"""Who granted a membership of a kept group, and why; an index of a group's members (P2, P3)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """No row was ever written before."""
    op.add_column("group_membership", sa.Column("provenance", TEXT, server_default="manual", nullable=False))
    op.add_column("group_membership", sa.Column("cause", TEXT, server_default="", nullable=False))
    op.create_index(
        "ix_group_membership_open_0",
        "group_membership",
        ["organization_id", "group_id"],
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
