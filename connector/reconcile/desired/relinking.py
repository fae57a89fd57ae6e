"""Which entry that nobody is linked to may be whose, and what of it needs no person (E6, D9). Pure: no I/O here.

Somebody's candidate is an enabled entry with their address, employee number or objectGUID, while no entry of theirs is
enabled. By itself a run relinks the only one, by a number that nobody else has, and only when that entry was in no
reading in which the linked one was enabled: else it is a second account, and a person decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from connector.reconcile.desired.ground import Ground
from connector.reconcile.plan.changes import PersonSeen
from connector.reconcile.plan.recorded import SECOND, IdentityRow, LinkRow
from ledger.identity import IdentityState

_REMOVED = IdentityState.REMOVED.value
_GUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class By(StrEnum):
    """What an entry and a person have in common, in words."""

    ADDRESS = "address"
    NUMBER = "employee number"
    GUID = "objectGUID"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry that may be somebody's. ``alone``: nobody else has the number; ``barred``: why no run may bind it."""

    person: PersonSeen
    by: By
    alone: bool = False
    barred: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """(source id, anchor)."""
        return (self.person.source_id, self.person.anchor)

    def command(self, mail: str) -> str:
        """The command that binds it to whoever has the address ``mail``."""
        return f"`rosterd relink {mail} --to {self.person.source_id}:{self.person.anchor}`"


class Candidates:
    """``of``: identity id → its candidates, after ``look``. ``met``: (identity id, ``SOURCE:ANCHOR``) of entries that
    were seen beside an enabled one of their number's holder; ``numbered``: (source id, anchor) of whoever shares a
    number with somebody, and may be theirs one day."""

    def __init__(self, ground: Ground) -> None:
        self._recorded = ground.recorded
        self._policy = ground.policy
        self.of: dict[str, list[Candidate]] = {}
        self.met: set[tuple[str, str]] = set()
        self.numbered: set[tuple[str, str]] = set()
        self._by_mail: dict[str, IdentityRow] = {}
        self._by_number: dict[str, list[IdentityRow]] = {}
        for row in self._recorded.identities.values():
            if row.state != _REMOVED or row.mail_key not in self._by_mail:
                self._by_mail[row.mail_key] = row
            if row.employee_number and self._policy.correlate_by_employee_number:
                self._by_number.setdefault(row.employee_number, []).append(row)

    def holder(self, mail_key: str) -> IdentityRow | None:
        """Who has the address; somebody removed only when nobody else does."""
        return self._by_mail.get(mail_key)

    def look(self, people: Iterable[tuple[PersonSeen, str]], seen: Iterable[str]) -> None:
        """Find whose these entries may be, none of which is linked. The text beside each is why no run may bind it;
        ``seen``: identities of whom an enabled entry is there."""
        here = frozenset(seen)
        for person, barred in people:
            whose = self._whose(person, here)
            if not person.enabled:
                continue
            if len(whose) > 1:
                barred = barred or f"{len(whose)} people have that number"
            for identity, by, alone in whose:
                self.of.setdefault(identity.id, []).append(Candidate(person, by, alone, barred))

    def _whose(self, person: PersonSeen, here: frozenset[str]) -> list[tuple[IdentityRow, By, bool]]:
        """(who, by what, whether nobody else has the number); the strongest sign alone counts."""
        numbered, alone = self._numbered(person, here)
        for source_id, links in self._recorded.links.items():
            link = links.get(person.anchor) if source_id != person.source_id else None
            if link is not None and link.identity_id not in here and _GUID.fullmatch(person.anchor):
                row = self._recorded.identities[link.identity_id]
                return [(row, By.GUID, alone and row in numbered)]
        holder = self.holder(person.mail.key)
        if holder is not None and (holder.state == _REMOVED or holder.id in here or two_people(person, holder)):
            holder = None
        if holder is not None and not self._recorded.links_of(holder.id):
            return [(holder, By.ADDRESS, False)]
        if numbered:
            return [(row, By.NUMBER, alone) for row in numbered]
        return [(holder, By.ADDRESS, False)] if holder is not None else []

    def _numbered(self, person: PersonSeen, here: frozenset[str]) -> tuple[list[IdentityRow], bool]:
        """Whoever has the entry's number and is not here; whether that is one person of all who have it. Somebody
        removed counts only when nobody else has the number."""
        rows = self._by_number.get(person.employee_number)
        if not rows:
            return [], False
        self.numbered.add((person.source_id, person.anchor))
        alive = [row for row in rows if row.state != _REMOVED]
        self.met.update((row.id, _named(person)) for row in alive if row.id in here)
        found = [row for row in alive if row.id not in here]
        if not alive and len(rows) == 1:
            found = rows
        return found, len(alive or rows) == 1

    def by_itself(self, identity: IdentityRow) -> Candidate | None:
        """The one that is relinked without a person; None: there is none, or a person decides."""
        found = self.of.get(identity.id, ())
        if len(found) != 1 or found[0].barred:
            return None
        if not self._recorded.links_of(identity.id) and found[0].by is By.ADDRESS:
            return found[0]  # known by hand, and found in a directory for the first time
        return found[0] if found[0].alone and not self.second(identity, found[0]) else None

    def second(self, identity: IdentityRow, candidate: Candidate) -> bool:
        """Whether the entry was in a reading in which the linked one was enabled. A moved one is the same object."""
        if candidate.by is By.GUID:
            return False
        if (SECOND, _named(candidate.person)) in self._recorded.undone.get(identity.id, {}):
            return True
        earlier = self._recorded.earlier
        were = [earlier.get((link.source_id, link.anchor)) for link in self._recorded.links_of(identity.id)]
        if candidate.key not in earlier or not any(old is not None and old.enabled for old in were):
            return False
        self.met.add((identity.id, _named(candidate.person)))
        return True

    def words(self, identity: IdentityRow, how: str) -> str:
        """What a person has to decide, with both entries and the exact command. ``how``: the linked entry now."""
        mail, found = identity.mail_key, self.of[identity.id]
        was = f"{mail}: entry {self._entries(self._recorded.links_of(identity.id))} {how}"
        if len(found) > 1:
            every = "; ".join(f"{_entry(item.person)}, {item.command(mail)}" for item in sorted(found, key=_key))
            return f"{was}, and {len(found)} entries may be theirs, so that none is relinked: {every}"
        (item,) = found
        beside = " and was there while that one was enabled" if self.second(identity, item) else ""
        why = f" ({item.barred})" if item.barred else ""
        other = "nothing happens" if item.by is By.GUID else f"give one of the two another {item.by}"
        return (
            f"{was}, and {_entry(item.person)} has the {item.by}{beside}{why}: if it is the same person, approve or"
            f" run {item.command(mail)}; if not, {other}"
        )

    def _entries(self, links: Sequence[LinkRow]) -> str:
        known = self._recorded.earlier
        names = ((f"{link.source_id}:{link.anchor}", known.get((link.source_id, link.anchor))) for link in links)
        return ", ".join(f"{name} ({old.dn})" if old is not None and old.dn else name for name, old in names)


def two_people(person: PersonSeen, identity: IdentityRow) -> bool:
    """Whether two numbers say that they are two people."""
    mine, theirs = person.employee_number, identity.employee_number
    return bool(mine and theirs) and mine != theirs


def _named(person: PersonSeen) -> str:
    return f"{person.source_id}:{person.anchor}"


def _entry(person: PersonSeen) -> str:
    return f"{person.dn} ({_named(person)})"


def _key(candidate: Candidate) -> tuple[str, str]:
    return candidate.key
