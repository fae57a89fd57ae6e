"""What the directories showed, after mapping, and what that proves: the values between reading and planning.

Pure: values only; no I/O here. Whatever cannot be proved ends frozen with its reason, never in an absence.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from connector.reconcile.evidence.stated import Signs
from connector.reconcile.plan.changes import Absence, PersonSeen, Problem, ScopeLine
from connector.reconcile.plan.recorded import IdentityRow, LinkRow
from connector.reconcile.policy.policy import Rule
from ledger.identity import Email


class GroupSeen(msgspec.Struct, frozen=True):
    """One mapped group of one reading; ``members`` are anchors, ``unresolved`` DN-like values nobody stands for.

    ``anchor``, ``dn``: of the group itself; empty while it is not complete. ``left``, ``left_inside``: as in
    ``GroupView``.
    """

    reference: str
    complete: bool
    name: str = ""
    reason: str = ""
    missing: bool = False
    members: Collection[str] = ()
    paths: Mapping[str, tuple[str, ...]] = {}
    unresolved: Collection[str] = ()
    anchor: str = ""
    dn: str = ""
    left: Collection[str] | None = None
    left_inside: Collection[str] = ()


class UnmappableSeen(msgspec.Struct, frozen=True):
    """An entry that cannot be a person as it is, with every reason why; ``enabled``: what its account says all the same
    (E1), as far as it is not ``blank``."""

    reasons: tuple[str, ...]
    enabled: bool = True
    dn: str = ""
    blank: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AsRecorded:
    """Somebody whose entry cannot be mapped, as recorded: a ``PersonSeen`` of whom nothing is new but whether the
    account is enabled."""

    identity: IdentityRow
    link: LinkRow
    entry: UnmappableSeen
    employee_number: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    other_mails: tuple[Email, ...] = ()

    def with_mail(self, _mail: Email) -> AsRecorded:
        """It has one address only."""
        return self

    @property
    def anchor(self) -> str:
        """The entry's."""
        return self.link.anchor

    @property
    def source_id(self) -> str:
        """The entry's."""
        return self.link.source_id

    @property
    def dn(self) -> str:
        """The entry's."""
        return self.entry.dn

    @property
    def enabled(self) -> bool:
        """The entry's."""
        return self.entry.enabled

    @property
    def blank(self) -> Sequence[str]:
        """The entry's."""
        return self.entry.blank

    @property
    def fingerprint(self) -> str:
        """The last one that could be mapped."""
        return self.link.fingerprint

    @property
    def mail(self) -> Email:
        """As recorded."""
        return Email.parse(self.identity.mail)

    @property
    def given_name(self) -> str:
        """As recorded."""
        return self.identity.given_name

    @property
    def family_name(self) -> str:
        """As recorded."""
        return self.identity.family_name

    @property
    def display_name(self) -> str:
        """As recorded."""
        return self.identity.display_name


class SourceSeen(msgspec.Struct, frozen=True):
    """One reading after mapping. ``people`` and ``unmappable`` are by anchor. ``complete``: whoever may
    be asked about and is not among them is not there, unless ``deletions_told``: then only ``tombstones`` prove it."""

    source_id: str
    complete: bool
    people: Mapping[str, PersonSeen] = {}
    unmappable: Mapping[str, UnmappableSeen] = {}
    groups: Mapping[str, GroupSeen] = {}
    tombstones: Collection[str] = ()
    scopes: tuple[ScopeLine, ...] = ()
    deletions_told: bool = False
    signs: Signs = Signs()

    def shows(self, anchor: str) -> bool:
        """Whether an entry is there, mapped or not."""
        return anchor in self.people or anchor in self.unmappable

    def proved_absent(self, anchor: str) -> bool:
        """Whether an anchor that is not among the people is proved not to be there."""
        return (self.complete and not self.deletions_told) or anchor in self.tombstones

    @property
    def doubt(self) -> str:
        """Why not being among the people proves nothing here."""
        if self.complete and self.deletions_told:
            return f"directory {self.source_id} has lost the entry: it is neither there nor was it deleted"
        return f"directory {self.source_id} was not read to its end"


class Domains(msgspec.Struct, frozen=True):
    """Open domains, and why the others are not, in words (D11, G5). ``lapsed``: the evidence of closed ones."""

    open: frozenset[str]
    closed: Mapping[str, str] = {}
    lapsed: tuple[str, ...] = ()

    def reason(self, domain: str) -> str:
        """Why people of ``domain`` are frozen."""
        return self.closed.get(domain, f"domain {domain} is not registered")


class Present(msgspec.Struct, frozen=True):
    """A person who is here. ``identity`` None: somebody new. ``replaces``: links a relink ends (D9). ``only``: the
    mappings that count for a guest (D11), no others being given or taken; None: all. ``unread``: the entry could not be
    mapped, so that ``person`` is as recorded: nothing new is given, and only what its groups prove ends (E9).
    ``doubt``: why a person has to say first whether the entry is theirs (E6). ``unsaid``: the entry does not say
    any more that its account is disabled, and not the opposite either (E1); with a ``doubt``, a person has to."""

    person: PersonSeen
    identity: IdentityRow | None
    link: LinkRow | None
    rules: tuple[Rule, ...]
    replaces: tuple[LinkRow, ...] = ()
    only: frozenset[str] | None = None
    unread: bool = False
    doubt: str = ""
    unsaid: bool = False

    @property
    def leaves(self) -> bool:
        """Whether the account is disabled, or was and does not say the opposite."""
        return not self.person.enabled or self.unsaid


class Gone(msgspec.Struct, frozen=True):
    """Somebody whose absence is confirmed, or proved by a tombstone; ``cause`` in words."""

    identity: IdentityRow
    cause: str


class Desired(msgspec.Struct, frozen=True):
    """What the directories want, as far as it is proved.

    ``frozen_rules``: mapping id → why its group proves nothing in this reading. ``unsettled``: (source id, anchor) of
    whoever every run has to look at again, though their entry may never change (D14).
    """

    present: tuple[Present, ...] = ()
    gone: tuple[Gone, ...] = ()
    frozen_rules: Mapping[str, str] = {}
    problems: tuple[Problem, ...] = ()
    absent: tuple[Absence, ...] = ()
    seen_again: tuple[Absence, ...] = ()
    unsettled: frozenset[tuple[str, str]] = frozenset()
