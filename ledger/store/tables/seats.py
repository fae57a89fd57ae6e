"""Offerings, subscriptions, seats, grants, the waitlist; the rows R7–R9 and R13–R16 look back on."""

from __future__ import annotations

from sqlalchemy import Boolean, Date, Integer

from ledger.store.tables.base import Column, Instant, interval, text

offering = interval(
    "offering", text("code"), text("name"), text("kind"), Column("eligible", Boolean, nullable=False), key=("code",)
)

subscription = interval(
    "subscription",
    text("id"),
    text("team_id"),
    text("offering_code"),
    Column("quantity", Integer, nullable=False),
    text("tier"),
    Column("starts_on", Date, nullable=False),
    Column("ends_on", Date, nullable=False),
    text("renews"),  # id of the predecessor, or empty
    text("contract_number"),
    key=("id",),
    indexes=(("team_id",),),
)

seat = interval(
    "seat",
    text("id"),
    text("subscription_id"),
    text("team_id"),
    text("offering_code"),
    text("identity_id"),
    text("state"),
    text("paused_from"),  # the state to return to after a pause, or empty
    Column("release_due_at", Instant, nullable=True),
    key=("id",),
    indexes=(("identity_id", "offering_code"), ("subscription_id",), ("release_due_at",)),
)
"""A released seat has no open row: release ends the interval."""

seat_grant = interval(
    "seat_grant",
    text("seat_id"),
    text("identity_id"),
    text("team_id"),
    text("provenance"),
    text("cause"),
    key=("seat_id", "provenance", "team_id"),
    indexes=(("identity_id",),),
)

waiting = interval(
    "waiting",
    text("identity_id"),
    text("team_id"),
    text("offering_code"),
    text("provenance"),
    Column("priority", Integer, nullable=False),
    key=("identity_id", "team_id", "offering_code", "provenance"),
    indexes=(("team_id", "offering_code", "priority"),),
)
"""The waitlist: mapping priority first, then ``valid_from``, then identity id."""
