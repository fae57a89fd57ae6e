"""How far each target has got with each message: the outbox keeps what is told, and nothing of its delivery."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
WAITING = sa.text("state = 'waiting'")


def upgrade() -> None:
    """No message was ever delivered before this revision: none has a state to be taken over."""
    op.drop_index("ix_outbox_due", table_name="outbox")
    for column in ("state", "attempts", "next_at", "last_error"):
        op.drop_column("outbox", column)
    op.create_index("ix_outbox_0", "outbox", ["organization_id", "kind", "subject"])
    op.create_table(
        "delivery_target",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("target", TEXT, nullable=False),
        sa.Column("kinds", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "target"),
    )
    op.create_table(
        "delivery",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("message_id", TEXT, nullable=False),
        sa.Column("target", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("claims", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("begun_at", sa.BigInteger(), nullable=True),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.Column("batch", TEXT, server_default="", nullable=False),
        sa.Column("done", sa.Text(), nullable=False),
        sa.Column("note", TEXT, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "message_id", "target"),
    )
    op.create_index("ix_delivery_due", "delivery", ["next_at"], sqlite_where=WAITING, postgresql_where=WAITING)
    order = ["organization_id", "target", "subject", "created_at"]
    op.create_index("ix_delivery_order", "delivery", order, sqlite_where=WAITING, postgresql_where=WAITING)
    state = ["organization_id", "target", "state", "kind", "settled_at"]
    op.create_index("ix_delivery_state", "delivery", state)
