"""What the ledger holds that planning needs, in lean rows and dicts (``ledger/store`` fills it in a few queries).

Pure: values only; no I/O here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property

import msgspec

from ledger.identity import IdentityState
from ledger.seat import Subscription

GROUP_NODE = "group:"
"""Marks the anchor of a group among those whom groups list."""
UNREAD = GROUP_NODE + "?"
"""Stands among them for whatever nobody who was read answers to."""

Edges = Mapping[tuple[str, str], Mapping[str, frozenset[str]]]
"""(source id, identity, ``group:<anchor>`` or ``UNREAD``) → name by which it is listed → anchors of the groups (E3)."""

PEOPLE = "people"
"""Name of the absence scope that stands for all people bases of a source; groups are ``group:<reference>``."""
DOUBTED = "doubt"
"""Name of the absence scope of whoever is absent and kept only by doubt (E15)."""

UNDO = "undo"
"""Provenance of a place on the waitlist that an undo gave: first in line (A3)."""


SECOND = "second"
"""Kind of a mark beside those of E14: this entry (``SOURCE:ANCHOR``) was seen while the person's own was enabled."""


class Earlier(msgspec.Struct, frozen=True, gc=False):
    """What is known of an entry from before this reading: its DN, and whether the last reading showed it enabled."""

    dn: str
    enabled: bool = False


class IdentityRow(msgspec.Struct, frozen=True, gc=False):
    """An open row of ``identity``; ``attributes`` is canonical JSON text."""

    row_id: str
    id: str
    mail: str
    mail_key: str
    given_name: str
    family_name: str
    display_name: str
    state: str
    employee_number: str
    attributes: str


class LinkRow(msgspec.Struct, frozen=True, gc=False):
    """An open directory link: anchor of a source → identity."""

    row_id: str
    identity_id: str
    source_id: str
    anchor: str
    fingerprint: str


class MembershipRow(msgspec.Struct, frozen=True, gc=False):
    """An open Team membership of one provenance."""

    row_id: str
    team_id: str
    provenance: str


class SeatRow(msgspec.Struct, frozen=True, gc=False):
    """An open seat. ``release_due_at`` is set while off-boarding paused it."""

    row_id: str
    id: str
    subscription_id: str
    team_id: str
    offering_code: str
    identity_id: str
    state: str
    paused_from: str
    release_due_at: datetime | None = None


class GrantRow(msgspec.Struct, frozen=True, gc=False):
    """An open reason why a seat is held."""

    row_id: str
    seat_id: str
    team_id: str
    provenance: str


class WaitRow(msgspec.Struct, frozen=True, gc=False):
    """An open place on the waitlist, since ``since``."""

    row_id: str
    team_id: str
    offering_code: str
    provenance: str
    priority: int
    since: datetime


class RoleRow(msgspec.Struct, frozen=True, gc=False):
    """An open admin role, over a Team or (``team_id`` empty) the organization."""

    row_id: str
    role: str
    team_id: str
    provenance: str


class GroupRow(msgspec.Struct, frozen=True, gc=False):
    """An open row of a kept directory group: what the directory calls it now, and where it is."""

    row_id: str
    id: str
    source_id: str
    anchor: str
    dn: str
    name: str


class GroupMemberRow(msgspec.Struct, frozen=True, gc=False):
    """An open membership of a kept group; ``provenance``: the mapping that granted it first."""

    row_id: str
    group_id: str
    provenance: str


class TeamRow(msgspec.Struct, frozen=True, gc=False):
    """A Team that exists."""

    id: str
    name: str


class Elsewhere(msgspec.Struct, frozen=True):
    """What counts of people who are not loaded, when only a part of the organization is planned (D14).

    ``seats``: open seats by (Team id, offering code); ``used``: by subscription id; ``active``: active people by scope
    of limits (("team", id), ("mapping", id), ("group", id)).
    """

    seats: dict[tuple[str, str], int] = {}
    used: dict[str, int] = {}
    active: dict[tuple[str, str], int] = {}


class Recorded(msgspec.Struct, frozen=True, dict=True):
    """The recorded state of one organization, or of some people in it (then ``elsewhere`` counts the others), as of one
    snapshot.

    ``links``: source id → anchor → row. ``memberships``, ``seats``, ``waiting``, ``roles``: by identity id.
    ``grants``: by seat id. ``teams``: by caseless name. ``primary_admins``: Team id → identities; ``admins``:
    everybody with a role. ``absences``: (source, anchor, scope) → first complete reading that did not show it.
    ``removal_due``: identity → when. ``signed_in``: identities bound to a SAML subject. ``edges``: what memberships
    through groups rest on, and ``causes``: identity → provenance → why it was granted; filled only when some value
    names nobody, edges also where what was read is to be learnt (E3).
    ``undone``: identity → (kind, mapping) → mark of the rule, of what an undo took back (E14), and of second accounts
    (``SECOND``, E6). ``earlier``: (source, anchor) → as last read, of candidates for a relink and of the entries they
    may replace; a candidate that is not in it is new. ``restricted``: Team ids
    (R16). ``invite_due``: identity → when an invite nobody accepted expires. ``groups``: kept groups by (source,
    anchor); ``group_members``: by identity id.
    """

    identities: dict[str, IdentityRow] = {}
    links: dict[str, dict[str, LinkRow]] = {}
    memberships: dict[str, list[MembershipRow]] = {}
    seats: dict[str, list[SeatRow]] = {}
    grants: dict[str, list[GrantRow]] = {}
    waiting: dict[str, list[WaitRow]] = {}
    teams: dict[str, TeamRow] = {}
    offerings: frozenset[str] = frozenset()
    subscriptions: tuple[Subscription, ...] = ()
    admins: frozenset[str] = frozenset()
    primary_admins: dict[str, frozenset[str]] = {}
    absences: dict[tuple[str, str, str], datetime] = {}
    removal_due: dict[str, datetime] = {}
    signed_in: frozenset[str] = frozenset()
    causes: dict[str, dict[str, str]] = {}
    edges: Edges = {}
    undone: dict[str, dict[tuple[str, str], str]] = {}
    earlier: dict[tuple[str, str], Earlier] = {}
    elsewhere: Elsewhere = Elsewhere()
    roles: dict[str, list[RoleRow]] = {}
    restricted: frozenset[str] = frozenset()
    invite_due: dict[str, datetime] = {}
    groups: dict[tuple[str, str], GroupRow] = {}
    group_members: dict[str, list[GroupMemberRow]] = {}

    @cached_property
    def _links_of(self) -> dict[str, list[LinkRow]]:
        found: dict[str, list[LinkRow]] = {}
        for by_anchor in self.links.values():
            for link in by_anchor.values():
                found.setdefault(link.identity_id, []).append(link)
        return found

    def links_of(self, identity_id: str) -> Sequence[LinkRow]:
        """Every directory link of somebody."""
        return self._links_of.get(identity_id, ())

    def team_names(self) -> dict[str, str]:
        """Team id → name."""
        return {team.id: team.name for team in self.teams.values()}

    def names(self) -> dict[str, str]:
        """Id of a Team or a kept group → name."""
        return self.team_names() | {row.id: row.name for row in self.groups.values()}

    def manual_seat(self, seat: SeatRow) -> bool:
        """Whether something this product's mappings did not grant holds the seat (P3): then nothing takes it."""
        grants = self.grants.get(seat.id, ())
        return not grants or any(not grant.provenance.startswith("mapping:") for grant in grants)


OFF = frozenset({IdentityState.DISABLED.value, IdentityState.ABSENT.value})
"""States of somebody who is leaving."""
