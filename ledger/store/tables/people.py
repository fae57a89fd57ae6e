"""Organizations, identities, links, Teams, roles, memberships: who is who, since when."""

from __future__ import annotations

from ledger.store.tables import base
from ledger.store.tables.base import Column, Instant, Json, Text, instant, interval, plain, text

organization = plain("organization", text("name"), text("report_zone"), instant("created_at"), key=())

identity = interval(
    "identity",
    text("id"),
    text("mail"),
    text("mail_key"),
    text("given_name"),
    text("family_name"),
    text("display_name"),
    text("state"),
    text("employee_number"),
    Column("attributes", Json, nullable=False),
    key=("id",),
    indexes=(("mail_key",),),
)
"""One open row per identity that was ever known; ``state='removed'`` rows stay open and may share a ``mail_key``
with a later identity (a recycled address is a different person, D9)."""

identity_link = interval(
    "identity_link",
    text("identity_id"),
    text("kind"),  # directory | saml
    text("source_id"),  # directory source id, or SAML IdP entityID
    text("anchor"),  # entryUUID, objectGUID, SCIM id; or SAML subject hash
    text("fingerprint"),  # of the entry's mapped attributes (D14); empty for saml
    key=("kind", "source_id", "anchor"),
    indexes=(("identity_id",),),
    later=(
        Column("subject_kind", Text, nullable=False, server_default=""),
        Column("bonded_at", Instant, nullable=True),
    ),
)
"""``subject_kind`` of a bond: what the subject is made of (attribute, persistent, mail, other); empty: a directory
link, or a bond of before 0015, whose anchor is the hash of the raw NameID (N3). ``bonded_at``: since when the subject
is bound, where the row is younger because the subject only got another key; else it is ``valid_from``."""

absence = plain(
    "absence",
    text("source_id"),
    text("anchor"),
    text("scope"),  # the scope whose complete reading did not show it
    instant("first_absent_at"),
    instant("last_absent_at"),
    text("first_run"),
    key=("source_id", "anchor", "scope"),
)
"""D3: the first complete reading that did not show an anchor; deleted when it is seen again."""

edge = interval(
    "edge",
    text("source_id"),
    text("listed"),  # an identity, or group:<anchor>
    text("name"),  # by which groups list it: a DN's key, or memberUid=<login name>
    text("groups"),  # of edge_groups: which groups do
    key=("listed", "source_id", "name"),
)
"""E3: what memberships through groups rest on, by every path."""

edge_groups = plain("edge_groups", text("id"), Column("anchors", Json, nullable=False), key=("id",))
"""Sets of groups by their hash: very many people are listed by the same groups."""

undone = plain(
    "undone",
    text("identity_id"),
    text("kind"),  # off | leave | second
    text("mapping"),  # of the membership that was ended; empty for off; SOURCE:ANCHOR of a second account
    text("rule"),  # mark of the mapping or off-boarding rule that did it: another rule is another reason
    instant("undone_at"),
    text("run_id"),  # the undo
    key=("identity_id", "kind", "mapping"),
)
"""E14: what an undo took back. Deleted by an approval of the same again, or when the directory shows the opposite.
``second`` (E6): an entry with the person's number was seen while theirs was enabled; it stays."""

team = interval("team", text("id"), text("name"), text("name_key"), key=("id",), indexes=(("name_key",),))

team_restriction = interval("team_restriction", text("team_id"), text("actor"), text("reason"), key=("team_id",))
"""R16: an open row is a restricted Team; ended rows say when it was, by whom and why."""

admin_role = interval(
    "admin_role",
    text("identity_id"),
    text("role"),
    text("team_id"),
    key=("identity_id", "role", "team_id"),
    later=(
        Column("provenance", Text, nullable=False, server_default="manual"),  # manual (file or person) | mapping:<id>
        Column("cause", Text, nullable=False, server_default=""),  # human-readable chain of a mapped role
    ),
)
"""Team → Primary Admin history (R13, R14); ``team_id`` empty = organization-wide."""

team_membership = interval(
    "team_membership",
    text("identity_id"),
    text("team_id"),
    text("provenance"),  # manual | mapping:<id> | scim:<connection>
    text("source_id"),
    text("cause"),  # human-readable chain: group path → mapping
    key=("identity_id", "team_id", "provenance"),
    indexes=(("team_id",),),
)

directory_group = interval(
    "directory_group",
    text("id"),
    text("source_id"),
    text("anchor"),
    text("dn"),
    text("name"),
    key=("source_id", "anchor"),
)

"""A directory group that a mapping keeps; a rename or a moved DN is a new row of the same ``id`` (D5)."""

group_membership = interval(
    "group_membership",
    text("identity_id"),
    text("group_id"),
    key=("identity_id", "group_id"),
    indexes=(("group_id",),),
    later=(
        Column("provenance", Text, nullable=False, server_default="manual"),  # mapping:<id> that granted it first
        Column("cause", Text, nullable=False, server_default=""),  # human-readable chain: group path → mapping
    ),
)

book_time = base.book_time("book_time", base.metadata)
