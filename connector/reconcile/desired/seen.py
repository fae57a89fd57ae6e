"""What the directories showed, after mapping, and what that proves: the values between reading and planning.

Pure: values only; no I/O here. Whatever cannot be proved ends frozen with its reason, never in an absence.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from connector.reconcile.plan.changes import Absence, PersonSeen, Problem, ScopeLine
from connector.reconcile.plan.recorded import IdentityRow, LinkRow
from connector.reconcile.policy.policy import Rule


class GroupSeen(msgspec.Struct, frozen=True):
    """One mapped group of one reading; ``members`` are anchors, ``unresolved`` DN-like values nobody stands for.

    ``anchor``, ``dn``: of the group itself; empty while it is not complete.
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


class SourceSeen(msgspec.Struct, frozen=True):
    """One reading after mapping. ``people`` and ``unmappable`` (reasons) are by anchor. ``complete``: whoever may
    be asked about and is not among them is not there, unless ``deletions_told``: then only ``tombstones`` prove it."""

    source_id: str
    complete: bool
    people: Mapping[str, PersonSeen] = {}
    unmappable: Mapping[str, tuple[str, ...]] = {}
    groups: Mapping[str, GroupSeen] = {}
    tombstones: Collection[str] = ()
    scopes: tuple[ScopeLine, ...] = ()
    deletions_told: bool = False

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
    mappings that count for a guest (D11), no others being given or taken; None: all."""

    person: PersonSeen
    identity: IdentityRow | None
    link: LinkRow | None
    rules: tuple[Rule, ...]
    replaces: tuple[LinkRow, ...] = ()
    only: frozenset[str] | None = None


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
