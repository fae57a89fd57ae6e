"""The plan: frozen changes, bundled per person, with a digest that names exactly them (P1, P2).

Pure: no I/O, no clock here. Only what two directories holding the same people agree on enters the digest: subjects are
mail keys, Teams and offerings are named by their natural keys; anchors, DNs, source ids and row ids never count.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from itertools import islice
from typing import Any, Protocol

import msgspec

from ledger.identity import Email

_ENCODE_LINES = msgspec.json.Encoder().encode_lines


class Kind(StrEnum):
    """What a change does (P2). AddGrant, EndGrant and MoveSeat change a reason or an owner, never whether one has
    access."""

    INVITE = "Invite"
    REINSTATE = "Reinstate"
    UPDATE_IDENTITY = "UpdateIdentity"
    RELINK_ANCHOR = "RelinkAnchor"
    ADOPT_GRANT = "AdoptGrant"
    JOIN_TEAM = "JoinTeam"
    LEAVE_TEAM = "LeaveTeam"
    ASSIGN_SEAT = "AssignSeat"
    MOVE_SEAT = "MoveSeat"
    ADD_GRANT = "AddGrant"
    END_GRANT = "EndGrant"
    PAUSE_SEAT = "PauseSeat"
    RELEASE_SEAT = "ReleaseSeat"
    DISABLE_IDENTITY = "DisableIdentity"
    REMOVE_IDENTITY = "RemoveIdentity"
    JOIN_GROUP = "JoinGroup"
    LEAVE_GROUP = "LeaveGroup"
    WAIT = "Wait"
    GRANT_ROLE = "GrantRole"
    END_ROLE = "EndRole"


class Harm(StrEnum):
    """The families that limits count, each on its own (G1); an invite hurts too: it mails people."""

    NONE = ""
    PAUSE = "pause"
    RELEASE = "release"
    LEAVE = "leave"
    DISABLE = "disable"
    REMOVE = "remove"
    RENAME = "rename"
    RELINK = "relink"
    INVITE = "invite"


REMOVALS = frozenset({Harm.PAUSE, Harm.RELEASE, Harm.LEAVE, Harm.DISABLE, Harm.REMOVE})
"""Harm that takes access away: what messages call a removal."""

ORDER = {kind: position for position, kind in enumerate(Kind)}


class Change(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One change of one person.

    ``subject``: mail key. ``object``: what it is about (Team name; ``OFFERING @ Team``; changed fields). ``before`` →
    ``after``: the two values. ``mapping``: id of the causing mapping, or empty. These six are the change's identity.
    ``cause`` says why in words. ``harm`` is the family limits count. ``team``, ``offering``, ``ref`` (row or seat ids)
    are for apply, valid only for the recorded state the plan was made from.
    """

    kind: Kind
    subject: str
    object: str = ""
    before: str = ""
    after: str = ""
    mapping: str = ""
    harm: Harm = Harm.NONE
    cause: str = ""
    team: str = ""
    offering: str = ""
    ref: str = ""

    @property
    def key(self) -> tuple[str, str, str, str, str, str]:
        """What the digest and an approval name."""
        return (self.subject, self.kind, self.object, self.before, self.after, self.mapping)


class PersonSeen(Protocol):
    """One mapped entry of a directory (``connector.directory.mapping.Person`` is one)."""

    @property
    def anchor(self) -> str:
        """The stable key in its source."""

    @property
    def source_id(self) -> str:
        """Its source."""

    @property
    def mail(self) -> Email:
        """The address by which the person is invited and signs in."""

    @property
    def other_mails(self) -> Sequence[Email]:
        """Further addresses of the entry, any of which may be the one that counts (E7)."""

    @property
    def unusable(self) -> Sequence[str]:
        """Values of the entry that are no addresses, and why (E7)."""

    def with_mail(self, mail: Email) -> PersonSeen:
        """The same entry with another of its addresses as the one that counts."""

    @property
    def given_name(self) -> str:
        """Given name."""

    @property
    def family_name(self) -> str:
        """Family name."""

    @property
    def display_name(self) -> str:
        """Display name."""

    @property
    def enabled(self) -> bool:
        """False is positive evidence (D7)."""

    @property
    def blank(self) -> Sequence[str]:
        """The attributes that could say that the account is disabled, and have no value (E1)."""

    @property
    def employee_number(self) -> str:
        """Correlates a new anchor with somebody who is gone (D9); may be empty."""

    @property
    def attributes(self) -> Mapping[str, str]:
        """What else the mapping was asked to keep."""

    @property
    def fingerprint(self) -> str:
        """Of all mapped attributes (D14)."""

    @property
    def dn(self) -> str:
        """For people to read; never compared."""


class Bundle(msgspec.Struct, frozen=True):
    """All changes of one person: they wait or go together (P2). ``identity`` is empty for somebody new.

    ``teams``: (Team id, mapping id) of every synced membership, the scopes in which identity-level harm counts.
    ``doubt``: what a person has to decide before any of it goes, whatever the limits allow (E6); mostly empty.
    """

    subject: str
    identity: str
    changes: tuple[Change, ...]
    person: PersonSeen | None = None
    teams: tuple[tuple[str, str], ...] = ()
    doubt: str = ""

    @property
    def harmful(self) -> bool:
        """Whether any change hurts."""
        return any(change.harm for change in self.changes)


FROZEN = "frozen"
"""Code of a problem: these people are kept as they are, for a reason that is not theirs."""
DOUBT = "doubt"
"""Code of a problem: these people are kept only because their absence is not proved (E3, E4)."""
READING_DOUBTED = "reading-doubted"
"""Code of a problem: so many are, that the reading is what is doubted (E13)."""


A_PERSON_DECIDES = "a person decides whether the entry is theirs"
"""Cause of a relink that waits for a person whatever the limits allow (E6)."""


PROTECTED = "protected (an admin, or listed under [sync] protected): nothing is changed; decide by hand"
"""What is reported where somebody would be harmed whom nothing may harm (G4)."""


class Problem(msgspec.Struct, frozen=True, gc=False, order=True):
    """Something reported instead of done: ``code`` (frozen, collision, unmappable, protected, unconfirmed, unknown …),
    ``what`` in words, ``subjects`` whom it concerns (mail keys, DNs, mapping ids)."""

    code: str
    what: str
    subjects: tuple[str, ...] = ()


class ScopeLine(msgspec.Struct, frozen=True):
    """The evidence of one scope of one reading."""

    source_id: str
    scope: str
    complete: bool
    reason: str = ""
    entries: int = 0
    missing: bool = False


class Absence(msgspec.Struct, frozen=True, gc=False):
    """A complete reading of ``scope`` did not show ``anchor`` (D3)."""

    source_id: str
    anchor: str
    scope: str


class Notes(msgspec.Struct, frozen=True):
    """What apply records beside the changes: absences begun and lifted, links whose fingerprint is to be refreshed
    (link row id, identity, source, anchor, fingerprint). ``lifted``: (identity, kind, mapping) of what an undo took
    back and the directory now shows the opposite of (E14). ``met``: (identity, ``SOURCE:ANCHOR``) of second accounts
    seen for the first time (E6)."""

    absent: tuple[Absence, ...] = ()
    seen_again: tuple[Absence, ...] = ()
    fingerprints: tuple[tuple[str, str, str, str, str], ...] = ()
    lifted: tuple[tuple[str, str, str], ...] = ()
    met: tuple[tuple[str, str], ...] = ()


class Plan(msgspec.Struct, frozen=True, dict=True):
    """A whole plan: sorted bundles, evidence, problems. Equal people give equal plans whatever the input order.
    ``only``: what names the people of a part that is applied alone; its digest is never a whole plan's."""

    policy_hash: str
    bundles: tuple[Bundle, ...]
    problems: tuple[Problem, ...] = ()
    scopes: tuple[ScopeLine, ...] = ()
    notes: Notes = Notes()
    only: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the canonical changes and the policy hash (P1); 64 hexadecimal digits."""
        of = f"part:{self.policy_hash}" if self.only else self.policy_hash
        return digest_of((change for bundle in self.bundles for change in bundle.changes), of)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Changes by kind, in the order of ``Kind``."""
        return count_kinds(self.bundles)

    @property
    def unknown(self) -> tuple[ScopeLine, ...]:
        """Scopes that prove nothing in this reading."""
        return tuple(scope for scope in self.scopes if not scope.complete)

    @property
    def doubted(self) -> str:
        """Why this reading as a whole is not believed (E13); mostly empty."""
        return "; ".join(problem.what for problem in self.problems if problem.code == READING_DOUBTED)

    @property
    def empty(self) -> bool:
        """Whether nothing is to be changed."""
        return not self.bundles


def count_kinds(bundles: Iterable[Bundle]) -> dict[str, int]:
    """Changes by kind, in the order of ``Kind``."""
    found = Counter(change.kind for bundle in bundles for change in bundle.changes)
    return {kind.value: found[kind] for kind in Kind if found[kind]}


def sort_changes(changes: Iterable[Change]) -> tuple[Change, ...]:
    """The canonical order inside a bundle: by kind, object, before, after, mapping."""
    return tuple(sorted(changes, key=lambda c: (ORDER[c.kind], c.object, c.before, c.after, c.mapping)))


def digest_of(changes: Iterable[Change], policy_hash: str) -> str:
    """SHA-256 over the canonical form of ``changes`` (in the order given) and ``policy_hash``."""
    total = hashlib.sha256(policy_hash.encode())
    rows = ((c.subject, c.kind, c.object, c.before, c.after, c.mapping) for c in changes)
    while some := tuple(islice(rows, 10_000)):
        total.update(b"\n")
        total.update(_ENCODE_LINES(some)[:-1])
    return total.hexdigest()


def change_to_json(change: Change) -> dict[str, Any]:
    """The change as shown and stored: its six naming parts, harm and cause; no row ids."""
    return {
        "kind": change.kind.value,
        "subject": change.subject,
        "object": change.object,
        "before": change.before,
        "after": change.after,
        "mapping": change.mapping,
        "harm": change.harm.value,
        "cause": change.cause,
    }


def witnessed(change: Change) -> tuple[str, ...]:
    """The change as the audit log keeps it: kind, object, before, after, mapping, cause. The cause of an addition is on
    the row it made, so only what takes something away repeats it."""
    if change.harm and change.harm in REMOVALS:
        return (change.kind, change.object, change.before, change.after, change.mapping, change.cause)
    return (change.kind, change.object, change.before, change.after, change.mapping)
