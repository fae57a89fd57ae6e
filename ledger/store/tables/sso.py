"""Domains, connections, evidence, sign-in requests, the gate rows (sso.md §1).

Prohibition: no column says whether single sign-on is in order. That is decided from ``sso_evidence`` each time.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Index, Integer

from ledger.store.tables.base import Column, Instant, Json, instant, interval, plain, text

sso_domain = plain(
    "sso_domain",
    text("domain"),  # A-label
    text("raw"),  # as the admin wrote it
    instant("added_at"),
    text("added_by"),
    Column("attempt", Integer, nullable=False),  # counts on over releases: an old token never proves again
    Column("grace_seconds", Integer, nullable=False),
    Column("released_at", Instant, nullable=True),
    key=("domain",),
)

sso_token = plain(
    "sso_token",
    text("domain"),
    Column("attempt", Integer, nullable=False),
    text("token_hash"),  # SHA-256; the token itself is shown once
    instant("issued_at"),
    instant("expires_at"),
    key=("domain", "attempt"),
)

sso_claim = plain(
    "sso_claim",
    text("kind"),  # domain | entity
    text("name"),  # A-label | SAML entityID
    instant("since"),
    Column("until", Instant, nullable=True),  # end of the hold after release; empty: held
    key=("kind", "name"),
)
"""What only one organization may hold at a time: proved domains (with parents and children) and entityIDs in use."""

Index("ix_sso_claim_name", sso_claim.c.kind, sso_claim.c.name)

sso_connection = plain(
    "sso_connection",
    text("id"),
    text("name"),
    instant("created_at"),
    text("created_by"),
    key=("id",),
)

sso_version = plain(
    "sso_version",
    text("connection_id"),
    Column("version", Integer, nullable=False),
    text("protocol"),  # saml
    text("entity_id"),
    text("fingerprint"),
    text("metadata"),  # the XML as it came
    text("metadata_sha256"),
    Column("facts", Json, nullable=False),  # what was read from it, and the want_* flags: connector.sso.saml.metadata
    instant("created_at"),
    text("created_by"),
    key=("connection_id", "version"),
)
"""A connection is a list of immutable versions; which one is live is evidence."""

sso_link = interval("sso_link", text("domain"), text("connection_id"), key=("domain",), indexes=(("connection_id",),))
"""Domain × connection: at most one connection per domain."""

sso_fetch = plain(
    "sso_fetch",
    text("connection_id"),
    text("source"),  # the https address
    instant("at"),
    Column("read_at", Instant, nullable=True),
    Column("failing_since", Instant, nullable=True),
    Column("failures", Integer, nullable=False),  # one after another
    text("why"),
    key=("connection_id",),
)
"""The last fetch of a connection's metadata, over and over the same row: an unreachable address only warns."""

sso_evidence = plain(
    "sso_evidence",
    Column("seq", BigInteger, nullable=False),
    instant("at"),
    text("kind"),  # domain.added, domain.token, domain.checked … connection.on: connector.sso.gate.evidence lists them
    text("subject"),  # domain or connection id
    text("actor"),
    Column("facts", Json, nullable=False),
    text("digest"),  # SHA-256(previous digest + this row): append-only, and it shows
    key=("seq",),
    indexes=(("kind", "subject"),),
)

sso_ticket = plain(
    "sso_ticket",
    text("ticket_hash"),  # SHA-256; the ticket itself is in the link that the admin was given
    text("domain"),
    text("actor"),
    instant("expires_at"),
    key=("ticket_hash",),
    indexes=(("expires_at",),),
)
"""Lets one browser begin one test sign-in: taken with DELETE … RETURNING. Requests are not here: browsers keep them,
sealed (N10)."""

sso_spent = plain(
    "sso_spent",
    text(
        "id"
    ),  # ID of an AuthnRequest that was answered; where told, KIND:REFERENCE of a refusal that the audit tells of
    instant("until"),  # how long it has to be remembered
    Column("told", Boolean, nullable=False),
    key=("id",),
    indexes=(("until",), ("told", "until")),
)
"""A request is good for one response: whoever inserts its id first is judged. Refusals are counted beside them."""

sso_replay = plain(
    "sso_replay",
    text("entity_id"),
    text("assertion_id"),
    instant("until"),
    key=("entity_id", "assertion_id"),
    indexes=(("until",),),
)

sso_gate = plain("sso_gate", text("domain"), Column("version", BigInteger, nullable=False), key=("domain",))
"""Counts changes of evidence per domain; apply compares it inside its transaction (fencing)."""

sso_sync = plain(
    "sso_sync",
    Column("enabled", Boolean, nullable=False),
    Column("reasons", Json, nullable=False),  # why it is suspended; empty: it is not
    instant("since"),
    text("actor"),
    key=(),
)
"""Directory sync of the organization: switched on by an admin, suspended by evidence (R5)."""

sso_relink = plain(
    "sso_relink",
    text("id"),  # of person and new subject: the same again is the same row
    text("identity_id"),
    text("entity_id"),
    text("subject"),  # that asks
    text("kind"),  # attribute | persistent | mail | other
    text("was_subject"),  # that is bound (last)
    text("was_kind"),
    instant("bonded_at"),  # since when
    instant("mail_since"),  # since when the person has the address that was asserted
    text("signer"),  # SPKI of the key that signed; empty: not known
    instant("held_at"),
    instant("expires_at"),
    Column("refused_at", Instant, nullable=True),
    text("refused_by"),
    key=("id",),
    indexes=(("identity_id",), ("expires_at",)),
)
"""Another subject than the bound one came with a person's address: it waits for an administrator (N4)."""
