"""Runs, held sets, harm over sliding windows, source cursors, due dates."""

from __future__ import annotations

from sqlalchemy import Boolean, Integer

from ledger.store.tables.base import Column, Instant, Json, instant, plain, text

run = plain(
    "run",
    text("id"),
    text("kind"),  # full | incremental | apply | approve | undo | adopt
    text("state"),  # running | applied | nothing | held | refused | suspended | unknown | failed
    text("actor"),
    text("reason"),
    instant("started_at"),
    Column("finished_at", Instant, nullable=True),
    text("plan_digest"),
    Column("counts", Json, nullable=False),
    Column("evidence", Json, nullable=False),  # scopes of every reading
    Column("problems", Json, nullable=False),  # unmappable, unresolved, frozen: reason per person
    text("undoes"),  # run id, for kind = undo
    key=("id",),
    indexes=(("started_at",),),
)

held_set = plain(
    "held_set",
    text("digest"),
    text("run_id"),
    text("state"),  # open | approved | applied | superseded | expired
    text("why"),
    Column("changes", Json, nullable=False),
    instant("created_at"),
    instant("expires_at"),
    text("approved_by"),
    Column("approved_at", Instant, nullable=True),
    text("approval_reason"),
    Column("approvals", Json, nullable=False, server_default="[]"),  # who let it through, each once (G3)
    key=("digest",),
    indexes=(("state",),),
)

harm = plain(
    "harm",
    text("row_id"),
    instant("at"),
    text("run_id"),
    text("kind"),
    text("identity_id"),
    text("team_id"),
    text("mapping_id"),
    Column("approved", Boolean, nullable=False),
    key=("row_id",),
    indexes=(("at",),),
)
"""Every harmful change that was applied: what the guard's sliding windows count (G1; approved harm is not counted)."""

source_cursor = plain(
    "source_cursor",
    text("source_id"),
    Column("cursor", Json, nullable=False),
    text("run_id"),
    instant("at"),
    key=("source_id",),
)

source_scope = plain(
    "source_scope",
    text("source_id"),
    text("scope"),
    text("outcome"),  # complete | unknown
    text("reason"),
    instant("last_read_at"),
    Column("last_complete_at", Instant, nullable=True),
    Column("entries", Integer, nullable=False),
    key=("source_id", "scope"),
)

stand = plain(
    "stand",
    text("source_id"),
    Column("stand", Json, nullable=False),  # of the last reading that was believed
    Column("doubted", Json, nullable=True),  # of the first of those since then that were not
    Column("doubted_since", Instant, nullable=True),
    key=("source_id",),
)
"""How new what was read of each source was: what a witness of absence must not be behind (E2)."""

due = plain(
    "due",
    text("row_id"),
    instant("at"),
    text("kind"),  # seat_release | identity_removal | invite_expiry
    text("subject"),
    text("run_id"),
    key=("row_id",),
    indexes=(("at",), ("subject",)),
)
