"""What a bond is made of, and subjects that wait to be bound in another's place (N3, N4)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Bonds so far do not say what they are made of: a sign-in finds out, and gives them their new key."""
    op.add_column("identity_link", sa.Column("subject_kind", TEXT, server_default="", nullable=False))
    op.create_table(
        "sso_relink",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("identity_id", TEXT, nullable=False),
        sa.Column("entity_id", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("was_subject", TEXT, nullable=False),
        sa.Column("was_kind", TEXT, nullable=False),
        sa.Column("bonded_at", sa.BigInteger(), nullable=False),
        sa.Column("mail_since", sa.BigInteger(), nullable=False),
        sa.Column("signer", TEXT, nullable=False),
        sa.Column("held_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("refused_at", sa.BigInteger(), nullable=True),
        sa.Column("refused_by", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id"),
    )
    op.create_index("ix_sso_relink_0", "sso_relink", ["organization_id", "identity_id"])
    op.create_index("ix_sso_relink_1", "sso_relink", ["organization_id", "expires_at"])
