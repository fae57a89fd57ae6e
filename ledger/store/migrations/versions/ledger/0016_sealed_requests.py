"""Sign-in requests are kept by the browsers that began them; rows are left for tickets and for answered requests."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Whoever is at an identity provider, or holds a test link, during the upgrade begins again: ten minutes' worth."""
    op.drop_table("sso_request")
    op.create_table(
        "sso_spent",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("told", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id"),
    )
    op.create_index("ix_sso_spent_0", "sso_spent", ["organization_id", "until"], unique=False)
    op.create_index("ix_sso_spent_1", "sso_spent", ["organization_id", "told", "until"], unique=False)
    op.create_table(
        "sso_ticket",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("ticket_hash", TEXT, nullable=False),
        sa.Column("domain", TEXT, nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "ticket_hash"),
    )
    op.create_index("ix_sso_ticket_0", "sso_ticket", ["organization_id", "expires_at"], unique=False)
