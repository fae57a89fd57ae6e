"""The first schema of ledger. Generated from ``ledger.store.tables`` (hence its length); do not edit."""

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
        "absence",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("source_id", TEXT, nullable=False),
        sa.Column("anchor", TEXT, nullable=False),
        sa.Column("scope", TEXT, nullable=False),
        sa.Column("first_absent_at", sa.BigInteger(), nullable=False),
        sa.Column("last_absent_at", sa.BigInteger(), nullable=False),
        sa.Column("first_run", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "source_id", "anchor", "scope"),
    )
    op.create_table(
        "access_log",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("token_id", TEXT, nullable=False),
        sa.Column("purpose", TEXT, nullable=False),
        sa.Column("privacy", TEXT, nullable=False),
        sa.Column("resource", TEXT, nullable=False),
        sa.Column("columns", sa.Text(), nullable=False),
        sa.Column("team_ids", sa.Text(), nullable=False),
        sa.Column("query", TEXT, nullable=False),
        sa.Column("snapshot", TEXT, nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("remote", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id"),
    )
    op.create_index("ix_access_log_0", "access_log", ["organization_id", "at"], unique=False)
    op.create_index("ix_access_log_1", "access_log", ["organization_id", "token_id", "at"], unique=False)
    op.create_table(
        "admin_role",
        sa.Column("row_id", TEXT, nullable=False),
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("identity_id", TEXT, nullable=False),
        sa.Column("role", TEXT, nullable=False),
        sa.Column("team_id", TEXT, nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", TEXT, server_default="", nullable=False),
        sa.Column("ended_run", TEXT, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("row_id"),
    )
    op.create_index(
        "uq_admin_role_open",
        "admin_role",
        ["organization_id", "identity_id", "role", "team_id"],
        unique=True,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_table(
        "api_token",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("team_ids", sa.Text(), nullable=False),
        sa.Column("networks", sa.Text(), nullable=False),
        sa.Column("purpose", TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", TEXT, nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_by", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id"),
    )
    op.create_index("uq_api_token_id", "api_token", ["id"], unique=True)
    op.create_table(
        "audit_event",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("verb", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("plan_digest", TEXT, nullable=False),
        sa.Column("payload_digest", TEXT, nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "seq"),
    )
    op.create_index("ix_audit_event_0", "audit_event", ["organization_id", "subject"], unique=False)
    op.create_index("ix_audit_event_1", "audit_event", ["organization_id", "run_id"], unique=False)
    op.create_table(
        "audit_payload",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("salt", TEXT, nullable=False),
        sa.Column("payload", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "seq"),
    )
    op.create_table(
        "audit_seal",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("from_seq", sa.BigInteger(), nullable=False),
        sa.Column("to_seq", sa.BigInteger(), nullable=False),
        sa.Column("previous_head", TEXT, nullable=False),
        sa.Column("head", TEXT, nullable=False),
        sa.Column("sealed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "to_seq"),
    )
    op.create_table(
        "directory_group",
        sa.Column("row_id", TEXT, nullable=False),
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("source_id", TEXT, nullable=False),
        sa.Column("anchor", TEXT, nullable=False),
        sa.Column("dn", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", TEXT, server_default="", nullable=False),
        sa.Column("ended_run", TEXT, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("row_id"),
    )
    op.create_index(
        "uq_directory_group_open",
        "directory_group",
        ["organization_id", "source_id", "anchor"],
        unique=True,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_table(
        "due",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("row_id", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("run_id", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "row_id"),
    )
    op.create_index("ix_due_0", "due", ["organization_id", "at"], unique=False)
    op.create_index("ix_due_1", "due", ["organization_id", "subject"], unique=False)
    op.create_table(
        "group_membership",
        sa.Column("row_id", TEXT, nullable=False),
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("identity_id", TEXT, nullable=False),
        sa.Column("group_id", TEXT, nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", TEXT, server_default="", nullable=False),
        sa.Column("ended_run", TEXT, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("row_id"),
    )
    op.create_index(
        "uq_group_membership_open",
        "group_membership",
        ["organization_id", "identity_id", "group_id"],
        unique=True,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_table(
        "harm",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("row_id", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("identity_id", TEXT, nullable=False),
        sa.Column("team_id", TEXT, nullable=False),
        sa.Column("mapping_id", TEXT, nullable=False),
        sa.Column("approved", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "row_id"),
    )
    op.create_index("ix_harm_0", "harm", ["organization_id", "at"], unique=False)
    op.create_table(
        "held_set",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("why", TEXT, nullable=False),
        sa.Column("changes", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("approved_by", TEXT, nullable=False),
        sa.Column("approved_at", sa.BigInteger(), nullable=True),
        sa.Column("approval_reason", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "digest"),
    )
    op.create_index("ix_held_set_0", "held_set", ["organization_id", "state"], unique=False)
    op.create_table(
        "identity",
        sa.Column("row_id", TEXT, nullable=False),
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("mail", TEXT, nullable=False),
        sa.Column("mail_key", TEXT, nullable=False),
        sa.Column("given_name", TEXT, nullable=False),
        sa.Column("family_name", TEXT, nullable=False),
        sa.Column("display_name", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("employee_number", TEXT, nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", TEXT, server_default="", nullable=False),
        sa.Column("ended_run", TEXT, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("row_id"),
    )
    op.create_index(
        "ix_identity_open_0",
        "identity",
        ["organization_id", "mail_key"],
        unique=False,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_index(
        "uq_identity_open",
        "identity",
        ["organization_id", "id"],
        unique=True,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_table(
        "identity_link",
        sa.Column("row_id", TEXT, nullable=False),
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("identity_id", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("source_id", TEXT, nullable=False),
        sa.Column("anchor", TEXT, nullable=False),
        sa.Column("fingerprint", TEXT, nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", TEXT, server_default="", nullable=False),
        sa.Column("ended_run", TEXT, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("row_id"),
    )
    op.create_index(
        "ix_identity_link_open_0",
        "identity_link",
        ["organization_id", "identity_id"],
        unique=False,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_index(
        "uq_identity_link_open",
        "identity_link",
        ["organization_id", "kind", "source_id", "anchor"],
        unique=True,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_table(
        "job",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("dedupe_key", TEXT, server_default="", nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("run_after", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("heartbeat_at", sa.BigInteger(), nullable=True),
        sa.Column("deadline_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("holder", TEXT, server_default="", nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_job_organization", "job", ["organization_id", "created_at"], unique=False)
    op.create_index("ix_job_ready", "job", ["state", "run_after"], unique=False)
    op.create_index(
        "uq_job_dedupe",
        "job",
        ["organization_id", "dedupe_key"],
        unique=True,
        sqlite_where=sa.text("state = 'waiting' AND dedupe_key != ''"),
        postgresql_where=sa.text("state = 'waiting' AND dedupe_key != ''"),
    )
    op.create_table(
        "lease",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("holder", TEXT, nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "legal_basis",
        sa.Column("row_id", TEXT, nullable=False),
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("purposes", sa.Text(), nullable=False),
        sa.Column("person_categories", sa.Text(), nullable=False),
        sa.Column("transfers", sa.Text(), nullable=False),
        sa.Column("effective_on", sa.Date(), nullable=False),
        sa.Column("evidence", TEXT, nullable=False),
        sa.Column("recorded_by", TEXT, nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", TEXT, server_default="", nullable=False),
        sa.Column("ended_run", TEXT, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("row_id"),
    )
    op.create_index(
        "uq_legal_basis_open",
        "legal_basis",
        ["organization_id"],
        unique=True,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_table(
        "offering",
        sa.Column("row_id", TEXT, nullable=False),
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("code", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("eligible", sa.Boolean(), nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", TEXT, server_default="", nullable=False),
        sa.Column("ended_run", TEXT, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("row_id"),
    )
    op.create_index(
        "uq_offering_open",
        "offering",
        ["organization_id", "code"],
        unique=True,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_table(
        "organization",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("report_zone", TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id"),
    )
    op.create_table(
        "outbox",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("last_error", TEXT, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id"),
    )
    op.create_index(
        "ix_outbox_due",
        "outbox",
        ["next_at"],
        unique=False,
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_table(
        "publication",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("tables", sa.Text(), nullable=False),
        sa.Column("provisional_from", sa.Date(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "id"),
    )
    op.create_index("ix_publication_0", "publication", ["organization_id", "number"], unique=False)
    op.create_table(
        "publication_freshness",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("dataset", TEXT, nullable=False),
        sa.Column("last_processed_at", sa.BigInteger(), nullable=False),
        sa.Column("last_received_at", sa.BigInteger(), nullable=True),
        sa.Column("complete_through", sa.Date(), nullable=True),
        sa.Column("final_through", sa.Date(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "dataset"),
    )
    op.create_table(
        "publication_pin",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("publication_id", TEXT, nullable=False),
        sa.Column("holder", TEXT, nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "publication_id", "holder"),
    )
    op.create_table(
        "run",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("plan_digest", TEXT, nullable=False),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("problems", sa.Text(), nullable=False),
        sa.Column("undoes", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id"),
    )
    op.create_index("ix_run_0", "run", ["organization_id", "started_at"], unique=False)
    op.create_table(
        "seat",
        sa.Column("row_id", TEXT, nullable=False),
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("subscription_id", TEXT, nullable=False),
        sa.Column("team_id", TEXT, nullable=False),
        sa.Column("offering_code", TEXT, nullable=False),
        sa.Column("identity_id", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("paused_from", TEXT, nullable=False),
        sa.Column("release_due_at", sa.BigInteger(), nullable=True),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", TEXT, server_default="", nullable=False),
        sa.Column("ended_run", TEXT, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("row_id"),
    )
    op.create_index(
        "ix_seat_open_0",
        "seat",
        ["organization_id", "identity_id", "offering_code"],
        unique=False,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_index(
        "ix_seat_open_1",
        "seat",
        ["organization_id", "subscription_id"],
        unique=False,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_index(
        "uq_seat_open",
        "seat",
        ["organization_id", "id"],
        unique=True,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_table(
        "seat_grant",
        sa.Column("row_id", TEXT, nullable=False),
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("seat_id", TEXT, nullable=False),
        sa.Column("identity_id", TEXT, nullable=False),
        sa.Column("team_id", TEXT, nullable=False),
        sa.Column("provenance", TEXT, nullable=False),
        sa.Column("cause", TEXT, nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", TEXT, server_default="", nullable=False),
        sa.Column("ended_run", TEXT, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("row_id"),
    )
    op.create_index(
        "ix_seat_grant_open_0",
        "seat_grant",
        ["organization_id", "identity_id"],
        unique=False,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_index(
        "uq_seat_grant_open",
        "seat_grant",
        ["organization_id", "seat_id", "provenance", "team_id"],
        unique=True,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_table(
        "source_cursor",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("source_id", TEXT, nullable=False),
        sa.Column("cursor", sa.Text(), nullable=False),
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "source_id"),
    )
    op.create_table(
        "source_scope",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("source_id", TEXT, nullable=False),
        sa.Column("scope", TEXT, nullable=False),
        sa.Column("outcome", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("last_read_at", sa.BigInteger(), nullable=False),
        sa.Column("last_complete_at", sa.BigInteger(), nullable=True),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "source_id", "scope"),
    )
    op.create_table(
        "sso_claim",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "kind", "name"),
    )
    op.create_index("ix_sso_claim_name", "sso_claim", ["kind", "name"], unique=False)
    op.create_table(
        "sso_connection",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id"),
    )
    op.create_table(
        "sso_domain",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("domain", TEXT, nullable=False),
        sa.Column("raw", TEXT, nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.Column("added_by", TEXT, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("grace_seconds", sa.Integer(), nullable=False),
        sa.Column("released_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "domain"),
    )
    op.create_table(
        "sso_evidence",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "seq"),
    )
    op.create_index("ix_sso_evidence_0", "sso_evidence", ["organization_id", "kind", "subject"], unique=False)
    op.create_table(
        "sso_gate",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("domain", TEXT, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "domain"),
    )
    op.create_table(
        "sso_link",
        sa.Column("row_id", TEXT, nullable=False),
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("domain", TEXT, nullable=False),
        sa.Column("connection_id", TEXT, nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", TEXT, server_default="", nullable=False),
        sa.Column("ended_run", TEXT, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("row_id"),
    )
    op.create_index(
        "ix_sso_link_open_0",
        "sso_link",
        ["organization_id", "connection_id"],
        unique=False,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_index(
        "uq_sso_link_open",
        "sso_link",
        ["organization_id", "domain"],
        unique=True,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_table(
        "sso_replay",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("entity_id", TEXT, nullable=False),
        sa.Column("assertion_id", TEXT, nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "entity_id", "assertion_id"),
    )
    op.create_index("ix_sso_replay_0", "sso_replay", ["organization_id", "until"], unique=False)
    op.create_table(
        "sso_request",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("purpose", TEXT, nullable=False),
        sa.Column("connection_id", TEXT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("domain", TEXT, nullable=False),
        sa.Column("cookie_hash", TEXT, nullable=False),
        sa.Column("relay_state", TEXT, nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id"),
    )
    op.create_index("ix_sso_request_0", "sso_request", ["organization_id", "expires_at"], unique=False)
    op.create_table(
        "sso_sync",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("organization_id"),
    )
    op.create_table(
        "sso_token",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("domain", TEXT, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("token_hash", TEXT, nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "domain", "attempt"),
    )
    op.create_table(
        "sso_version",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("connection_id", TEXT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("protocol", TEXT, nullable=False),
        sa.Column("entity_id", TEXT, nullable=False),
        sa.Column("fingerprint", TEXT, nullable=False),
        sa.Column("metadata", TEXT, nullable=False),
        sa.Column("metadata_sha256", TEXT, nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "connection_id", "version"),
    )
    op.create_table(
        "subscription",
        sa.Column("row_id", TEXT, nullable=False),
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("team_id", TEXT, nullable=False),
        sa.Column("offering_code", TEXT, nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("tier", TEXT, nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=False),
        sa.Column("renews", TEXT, nullable=False),
        sa.Column("contract_number", TEXT, nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", TEXT, server_default="", nullable=False),
        sa.Column("ended_run", TEXT, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("row_id"),
    )
    op.create_index(
        "ix_subscription_open_0",
        "subscription",
        ["organization_id", "team_id"],
        unique=False,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_index(
        "uq_subscription_open",
        "subscription",
        ["organization_id", "id"],
        unique=True,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_table(
        "team",
        sa.Column("row_id", TEXT, nullable=False),
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("name_key", TEXT, nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", TEXT, server_default="", nullable=False),
        sa.Column("ended_run", TEXT, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("row_id"),
    )
    op.create_index(
        "ix_team_open_0",
        "team",
        ["organization_id", "name_key"],
        unique=False,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_index(
        "uq_team_open",
        "team",
        ["organization_id", "id"],
        unique=True,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_table(
        "team_membership",
        sa.Column("row_id", TEXT, nullable=False),
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("identity_id", TEXT, nullable=False),
        sa.Column("team_id", TEXT, nullable=False),
        sa.Column("provenance", TEXT, nullable=False),
        sa.Column("source_id", TEXT, nullable=False),
        sa.Column("cause", TEXT, nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", TEXT, server_default="", nullable=False),
        sa.Column("ended_run", TEXT, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("row_id"),
    )
    op.create_index(
        "ix_team_membership_open_0",
        "team_membership",
        ["organization_id", "team_id"],
        unique=False,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_index(
        "uq_team_membership_open",
        "team_membership",
        ["organization_id", "identity_id", "team_id", "provenance"],
        unique=True,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_table(
        "team_reporting",
        sa.Column("row_id", TEXT, nullable=False),
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("team_id", TEXT, nullable=False),
        sa.Column("user_level", sa.Boolean(), nullable=False),
        sa.Column("personal_data", sa.Boolean(), nullable=False),
        sa.Column("min_group_size", sa.Integer(), nullable=True),
        sa.Column("recorded_by", TEXT, nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", TEXT, server_default="", nullable=False),
        sa.Column("ended_run", TEXT, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("row_id"),
    )
    op.create_index(
        "uq_team_reporting_open",
        "team_reporting",
        ["organization_id", "team_id"],
        unique=True,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_table(
        "usage_activity",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("identity_id", TEXT, nullable=False),
        sa.Column("offering_code", TEXT, nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("unobserved", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "month", "identity_id", "offering_code"),
    )
    op.create_index("ix_usage_activity_0", "usage_activity", ["organization_id", "identity_id"], unique=False)
    op.create_table(
        "usage_batch",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("accepted", sa.Integer(), nullable=False),
        sa.Column("duplicates", sa.Integer(), nullable=False),
        sa.Column("quarantined", sa.Integer(), nullable=False),
        sa.Column("dropped", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id"),
    )
    op.create_index("ix_usage_batch_0", "usage_batch", ["organization_id", "received_at"], unique=False)
    op.create_table(
        "usage_day",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("publication_id", TEXT, nullable=False),
        sa.Column("folded_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "day"),
    )
    op.create_table(
        "usage_event",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("event_id", TEXT, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("identity_id", TEXT, nullable=False),
        sa.Column("offering_code", TEXT, nullable=False),
        sa.Column("version", TEXT, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=True),
        sa.Column("collection_state", TEXT, nullable=False),
        sa.Column("batch_id", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "event_id"),
    )
    op.create_index("ix_usage_event_0", "usage_event", ["organization_id", "day"], unique=False)
    op.create_table(
        "usage_opt_out",
        sa.Column("row_id", TEXT, nullable=False),
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("identity_id", TEXT, nullable=False),
        sa.Column("cause", TEXT, nullable=False),
        sa.Column("recorded_by", TEXT, nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", TEXT, server_default="", nullable=False),
        sa.Column("ended_run", TEXT, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("row_id"),
    )
    op.create_index(
        "uq_usage_opt_out_open",
        "usage_opt_out",
        ["organization_id", "identity_id"],
        unique=True,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_table(
        "usage_quarantine",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("event_id", TEXT, nullable=False),
        sa.Column("batch_id", TEXT, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("place", TEXT, nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("payload", TEXT, nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "digest"),
    )
    op.create_index("ix_usage_quarantine_0", "usage_quarantine", ["organization_id", "event_id"], unique=False)
    op.create_index("ix_usage_quarantine_1", "usage_quarantine", ["organization_id", "received_at"], unique=False)
    op.create_table(
        "usage_revision",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("publication_id", TEXT, nullable=False),
        sa.Column("previous_publication_id", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("late_events", sa.Integer(), nullable=False),
        sa.Column("rows_before", sa.Integer(), nullable=False),
        sa.Column("rows_after", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "day", "revision"),
    )
    op.create_table(
        "usage_touched",
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("batch_id", TEXT, nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "day", "batch_id"),
    )
    op.create_table(
        "waiting",
        sa.Column("row_id", TEXT, nullable=False),
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("identity_id", TEXT, nullable=False),
        sa.Column("team_id", TEXT, nullable=False),
        sa.Column("offering_code", TEXT, nullable=False),
        sa.Column("provenance", TEXT, nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", TEXT, server_default="", nullable=False),
        sa.Column("ended_run", TEXT, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("row_id"),
    )
    op.create_index(
        "ix_waiting_open_0",
        "waiting",
        ["organization_id", "team_id", "offering_code", "priority"],
        unique=False,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
    op.create_index(
        "uq_waiting_open",
        "waiting",
        ["organization_id", "identity_id", "team_id", "offering_code", "provenance"],
        unique=True,
        sqlite_where=sa.text("valid_to IS NULL"),
        postgresql_where=sa.text("valid_to IS NULL"),
    )
