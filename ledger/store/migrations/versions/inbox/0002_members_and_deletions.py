"""Members of groups as rows, what was deleted, and what each push changed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the three tables; nothing was ever pushed before."""
    op.create_table(
        "inbox_member",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("connection_id", TEXT, nullable=False),
        sa.Column("group_id", TEXT, nullable=False),
        sa.Column("member_id", TEXT, nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "connection_id", "group_id", "member_id"),
    )
    op.create_index("ix_inbox_member_0", "inbox_member", ["organization_id", "connection_id", "member_id"])
    op.create_table(
        "inbox_deleted",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("connection_id", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "connection_id", "kind", "id"),
    )
    op.create_table(
        "inbox_write",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("connection_id", TEXT, nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("request_id", TEXT, nullable=False),
        sa.Column("verb", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("resource_id", TEXT, nullable=False),
        sa.Column("change", sa.Text(), nullable=False),
        sa.Column("bent", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id"),
    )
    op.create_index("ix_inbox_write_0", "inbox_write", ["organization_id", "connection_id", "kind", "resource_id"])
