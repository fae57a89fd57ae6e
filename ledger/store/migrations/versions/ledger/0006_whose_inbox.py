"""Which directory's inbox a token pushes to (S-R2): a token is good for one connection."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Tokens so far push nowhere."""
    op.add_column("api_token", sa.Column("directory", TEXT, server_default="", nullable=False))
