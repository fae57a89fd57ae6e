"""What the directories showed, after mapping, and what that proves: the values between reading and planning.

Pure: values only; no I/O here. Whatever cannot be proved ends frozen with its reason, never in an absence.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from connector.reconcile.evidence.edges import Listing
from connector.reconcile.evidence.judge import Evidence
from connector.reconcile.evidence.stated import Signs
from connector.reconcile.plan.changes import Absence, PersonSeen, Problem, ScopeLine
from connector.reconcile.plan.recorded import IdentityRow, LinkRow
from connector.reconcile.policy.policy import Rule
from ledger.identity import Email


class GroupSeen(msgspec.Struct, frozen=True):
    """One mapped group of one reading; ``members`` are anchors, ``unresolved`` DN-like values nobody stands for.

    ``anchor``, ``dn``: of the group itself; empty while it is not complete. ``doubt``: why not being among its members
    proves nothing though it was read to its end (E2). ``listings``: what it and each group inside it list themselves,
    its own first (E3).
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
    doubt: str = ""
    listings: Sequence[Listing] = ()


class Outside(msgspec.Struct, frozen=True):
    """A linked entry that the reading does not show and that is there: it left the filter or the base (E1).

    ``logins``: the login names by which groups may list it. ``sign``: what says that it is disabled, in words.
    """

    dn: str
    enabled: bool
    sign: str = ""
    logins: tuple[str, ...] = ()


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
    unusable: tuple[str, ...] = ()

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
        return Email(self.identity.mail, self.identity.mail_key)

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
    """One reading after mapping. ``people``, ``unmappable`` and ``outside`` are by anchor. ``complete``: whoever may
    be asked about and is not among them is not there, unless ``deletions_told``: then only ``tombstones`` prove it.
    ``doubted``: why the reading is not believed though it came to its end (E13); it is not ``complete`` then.
    ``behind``: whether it may be older than what was read before (E2). ``listings``: of groups that no mapped one
    reaches now."""

    source_id: str
    complete: bool
    people: Mapping[str, PersonSeen] = {}
    unmappable: Mapping[str, UnmappableSeen] = {}
    groups: Mapping[str, GroupSeen] = {}
    tombstones: Collection[str] = ()
    scopes: tuple[ScopeLine, ...] = ()
    deletions_told: bool = False
    signs: Signs = Signs()
    outside: Mapping[str, Outside] = {}
    listings: Sequence[Listing] = ()
    doubted: str = ""
    behind: bool = False

    def as_behind(self, why: str, unheard: Collection[str]) -> SourceSeen:
        """The same reading where it may be older than what was read before: it shows people and members, and what it
        does not show proves nothing. ``unheard``: anchors of whom not even what it shows counts."""
        lines = tuple(
            msgspec.structs.replace(line, complete=False, reason=why) if line.complete else line for line in self.scopes
        )
        people = {anchor: person for anchor, person in self.people.items() if anchor not in unheard}
        groups = {reference: msgspec.structs.replace(group, doubt=why) for reference, group in self.groups.items()}
        return msgspec.structs.replace(self, complete=False, behind=True, scopes=lines, people=people, groups=groups)

    def shows(self, anchor: str) -> bool:
        """Whether an entry is there, mapped or not."""
        return anchor in self.people or anchor in self.unmappable

    def proved_absent(self, anchor: str) -> bool:
        """Whether an anchor that is not among the people is proved not to be there."""
        return (self.complete and not self.deletions_told) or anchor in self.tombstones

    def listed(self) -> dict[str, Listing]:
        """What every group that was read lists itself, by anchor."""
        mapped = (listing for group in self.groups.values() if group.complete for listing in group.listings)
        return {listing.anchor: listing for listing in (*self.listings, *mapped)}

    @property
    def doubt(self) -> str:
        """Why not being among the people proves nothing here."""
        if self.behind:
            return f"directory {self.source_id} may be behind what was read before"
        if self.complete and self.deletions_told:
            return f"directory {self.source_id} has lost the entry: it is neither there nor was it deleted"
        return self.doubted or f"directory {self.source_id} was not read to its end"


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
    ``doubt``: why a person has to say first whether the entry is theirs (E6). ``off``: where a disabled entry was
    found, if not in the reading (E1). ``unsaid``: the entry does not say any more that its account is disabled, and not
    the opposite either (E1); with a ``doubt``, a person has to."""

    person: PersonSeen
    identity: IdentityRow | None
    link: LinkRow | None
    rules: tuple[Rule, ...]
    replaces: tuple[LinkRow, ...] = ()
    only: frozenset[str] | None = None
    unread: bool = False
    doubt: str = ""
    off: str = ""
    unsaid: bool = False

    @property
    def leaves(self) -> bool:
        """Whether the account is disabled, or was and does not say the opposite."""
        return not self.person.enabled or self.unsaid


class Gone(msgspec.Struct, frozen=True):
    """Somebody who has left, on what evidence."""

    identity: IdentityRow
    evidence: Evidence


class Desired(msgspec.Struct, frozen=True):
    """What the directories want, as far as it is proved.

    ``beside``: identity → a relink that waits for a person while what was stated of theirs goes on (E6). ``met``:
    (identity, ``SOURCE:ANCHOR``) of second accounts. ``frozen_rules``: mapping id → why its group proves nothing in
    this reading. ``unsettled``: (source id, anchor) of
    whoever every run has to look at again, though their entry may never change (D14).
    """

    present: tuple[Present, ...] = ()
    gone: tuple[Gone, ...] = ()
    frozen_rules: Mapping[str, str] = {}
    problems: tuple[Problem, ...] = ()
    absent: tuple[Absence, ...] = ()
    seen_again: tuple[Absence, ...] = ()
    unsettled: frozenset[tuple[str, str]] = frozenset()
    beside: Mapping[str, Present] = {}
    met: frozenset[tuple[str, str]] = frozenset()
