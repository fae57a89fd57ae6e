"""The first schema of inbox. Generated from ``ledger.store.tables`` (hence its length); do not edit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create every table and index."""
    op.create_table(
        "inbox_resource",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("connection_id", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("external_id", TEXT, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("modified_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "connection_id", "kind", "id"),
    )
    op.create_index(
        "ix_inbox_resource_0", "inbox_resource", ["organization_id", "connection_id", "kind", "key"], unique=False
    )
    op.create_index(
        "ix_inbox_resource_1",
        "inbox_resource",
        ["organization_id", "connection_id", "kind", "external_id"],
        unique=False,
    )
