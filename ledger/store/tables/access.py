"""API tokens (never the token itself), what a Team has switched on for reports, and who read what for which purpose."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Index, Integer

from ledger.store.tables.base import Column, Instant, Json, Text, instant, interval, plain, text

api_token = plain(
    "api_token",
    text("id"),  # the eight public characters of rpt_<id>_…
    text("name"),
    text("digest"),  # HMAC-SHA256 of the whole token under the pepper, hexadecimal
    Column("roles", Json, nullable=False),
    Column("scopes", Json, nullable=False),
    Column("team_ids", Json, nullable=False),  # empty = every Team of the organization
    Column("networks", Json, nullable=False),  # CIDR allow-list; empty = from anywhere
    text("purpose"),  # report | offering | renewal (R12)
    instant("created_at"),
    text("created_by"),
    instant("expires_at"),
    Column("last_used_at", Instant, nullable=True),
    Column("revoked_at", Instant, nullable=True),
    text("revoked_by"),
    # a later revision added it, with a default: it stands last, as in the database
    Column("directory", Text, nullable=False, server_default=""),  # whose inbox it may push to (scope scim)
    key=("id",),
)
Index("uq_api_token_id", api_token.c.id, unique=True)

team_reporting = interval(
    "team_reporting",
    text("team_id"),
    Column("user_level", Boolean, nullable=False),  # R11: an admin has switched user-level usage reports on
    Column("personal_data", Boolean, nullable=False),  # named columns may be read by reports:named
    Column("min_group_size", Integer, nullable=True),  # null = the installation's default
    text("recorded_by"),
    key=("team_id",),
)
"""R11, R13c: what the admins of a Team have switched on. No open row = everything is off."""

access_log = plain(
    "access_log",
    text("id"),
    instant("at"),
    text("token_id"),
    text("purpose"),  # R12: every read carries its purpose
    text("privacy"),  # aggregate | pseudonym | named
    text("resource"),  # dataset or path
    Column("columns", Json, nullable=False),
    Column("team_ids", Json, nullable=False),
    text("query"),  # canonical, without cursor
    text("snapshot"),
    Column("rows", BigInteger, nullable=False),
    Column("status", Integer, nullable=False),  # HTTP
    text("remote"),
    key=("id",),
    indexes=(("at",), ("token_id", "at")),
)
