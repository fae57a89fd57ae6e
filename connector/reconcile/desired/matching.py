"""Entries → identities: by link first, then by mail and employee number (D5, D9). Pure: no I/O here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from connector.reconcile.desired import guests
from connector.reconcile.desired.ground import Ground
from connector.reconcile.desired.seen import AsRecorded, Present
from connector.reconcile.desired.selection import Wants
from connector.reconcile.evidence.stated import Unsaid, unsaid
from connector.reconcile.plan.changes import Absence, PersonSeen, Problem
from connector.reconcile.plan.recorded import PEOPLE, IdentityRow, LinkRow
from connector.reconcile.policy.policy import Rule
from ledger.identity import IdentityState

_REMOVED, _DISABLED = IdentityState.REMOVED.value, IdentityState.DISABLED.value


class Matcher:
    """Entries → identities. One pass over people, then one over contested mail addresses."""

    def __init__(self, ground: Ground, wants: Wants) -> None:
        self.sources = ground.sources
        self.policy = ground.policy
        self.recorded = ground.recorded
        self.domains = ground.domains
        self.wants = wants
        self.present: list[Present] = []
        self.problems: list[Problem] = []
        self.seen_again: list[Absence] = []
        self.unsettled: set[tuple[str, str]] = set()
        self.seen_identities: set[str] = set()
        self._unsaid: dict[str, Unsaid] = {}
        self._by_mail: dict[str, IdentityRow] = {}
        self._by_number: dict[str, list[IdentityRow]] = {}
        self._links_of: dict[str, list[LinkRow]] = {}
        self._frozen: dict[str, list[str]] = {}
        for row in self.recorded.identities.values():
            if row.state != _REMOVED or row.mail_key not in self._by_mail:
                self._by_mail[row.mail_key] = row

    def people(self) -> None:
        """Match every entry. What a linked one states of its account comes first, whatever else is wrong with it (E1);
        one that cannot be mapped stands for its person as recorded (D8, E9)."""
        kept_off = self._unsaid = dict(self._not_said())
        collisions = self._collisions()
        unlinked: list[PersonSeen] = []
        leavers: list[tuple[LinkRow, PersonSeen]] = []
        for source in self.sources.values():
            links = self.recorded.links.get(source.source_id, {})
            for anchor, entry in source.unmappable.items():
                self.problems.append(Problem("unmappable", "; ".join(entry.reasons), (anchor,)))
                link = links.get(anchor)
                if link is None:
                    continue
                identity = self.recorded.identities[link.identity_id]
                recorded = AsRecorded(identity, link, entry)
                if not entry.enabled or link.row_id in kept_off:
                    leavers.append((link, recorded))
                elif self._first(recorded, link) and identity.state == IdentityState.ACTIVE:
                    self._unread(recorded, identity, link)
            for anchor, person in source.people.items():
                link = links.get(anchor)
                if link is not None and (not person.enabled or link.row_id in kept_off):
                    leavers.append((link, person))
                    continue
                if link is not None and not self._first(person, link):
                    continue
                if person.mail.key in collisions:
                    self.unsettled.add((person.source_id, anchor))
                    continue
                if self._stopped(person, person.mail.key):
                    continue
                if link is None:
                    unlinked.append(person)
                    continue
                rules, only = self._counting(person)
                self.present.append(Present(person, self.recorded.identities[link.identity_id], link, rules, (), only))
        for link, person in leavers:
            self._leaves(person, self.recorded.identities[link.identity_id], link)
        for person in sorted(unlinked, key=lambda p: p.mail.key):
            self._unlinked(person)
        self.problems.extend([Problem("frozen", why, tuple(sorted(who))) for why, who in self._frozen.items()])

    def _not_said(self) -> Iterator[tuple[str, Unsaid]]:
        """(row of the link, why) of every linked entry that does not say that its account is enabled again (E1)."""
        off = {row.id for row in self.recorded.identities.values() if row.state == _DISABLED}
        for source in self.sources.values() if off else ():
            for anchor, link in self.recorded.links.get(source.source_id, {}).items():
                entry = source.people.get(anchor) or source.unmappable.get(anchor)
                if link.identity_id not in off or entry is None or not entry.enabled:
                    continue
                if why := unsaid(entry.blank, source.signs, source.source_id):
                    yield link.row_id, why

    def _first(self, person: PersonSeen, link: LinkRow) -> bool:
        """Whether no other entry that is linked to the identity spoke for it before."""
        if link.identity_id in self.seen_identities:
            self.unsettled.add((person.source_id, person.anchor))
            return False
        self.seen_identities.add(link.identity_id)
        return True

    def _leaves(self, person: PersonSeen, identity: IdentityRow, link: LinkRow) -> None:
        """A linked entry says that its account is disabled: its holder is, unless another linked entry is enabled, or
        may be. The domain that counts is that of the identity (E1, E9)."""
        if not self._first(person, link):
            return
        for other in self._links(identity.id):
            source = self.sources.get(other.source_id)
            if other is not link and (source is None or not (source.shows(other.anchor) or source.complete)):
                why = f"directory {other.source_id} was not read to its end: another entry of theirs may be enabled"
                self._frozen.setdefault(why, []).append(identity.mail_key)
                self.unsettled.add((person.source_id, person.anchor))
                return
        kept_off, doubt = self._unsaid.get(link.row_id), ""
        if kept_off is not None:
            self._frozen.setdefault(kept_off.why, []).append(identity.mail_key)
            self.unsettled.add((person.source_id, person.anchor))
            if kept_off.ask:
                doubt = f"{identity.mail_key}: {kept_off.why}; if the account was enabled again, approve"
        if not self._stopped(person, identity.mail_key):
            rules, only = self._counting(person)
            said = kept_off is not None
            self.present.append(Present(person, identity, link, rules, (), only, doubt=doubt, unsaid=said))

    def _unread(self, person: PersonSeen, identity: IdentityRow, link: LinkRow) -> None:
        """An enabled entry that cannot be mapped: its person keeps everything but what its groups prove is over."""
        if self._stopped(person, identity.mail_key):
            return
        held = {row.provenance for row in self.recorded.memberships.get(identity.id, ())}
        meant = self.wants[person.source_id].get(person.anchor, ())
        rules = tuple(rule for rule in meant if rule.provenance in held)
        by_group = (rule.id for rule in self.policy.rules.values() if rule.group and not (rule.where or rule.exclude))
        self.present.append(Present(person, identity, link, rules, (), frozenset(by_group), unread=True))

    def _collisions(self) -> set[str]:
        """Mail keys that two entries claim (D9): reported, neither granted anything new, neither removed."""
        seen: set[str] = set()
        twice: set[str] = set()
        for source in self.sources.values():
            for person in source.people.values():
                key = person.mail.key
                if not self._claims(person):
                    continue  # it claims nothing; what it states is said of whom it is linked to
                if key in seen:
                    twice.add(key)
                seen.add(key)
        for key in sorted(twice):
            where = tuple(
                sorted(
                    p.dn
                    for source in self.sources.values()
                    for p in source.people.values()
                    if p.mail.key == key and self._claims(p)
                )
            )
            self.problems.append(
                Problem("collision", f"several entries have the address {key}: none is touched", where)
            )
        return twice

    def _claims(self, person: PersonSeen) -> bool:
        """Whether an entry claims its address: a disabled one does not."""
        link = self.recorded.links.get(person.source_id, {}).get(person.anchor)
        return person.enabled and not (link is not None and link.row_id in self._unsaid)

    def _stopped(self, person: PersonSeen, key: str) -> bool:
        """Whether the domain of the address ``key`` lets nothing be changed for this person."""
        if key.rpartition("@")[2] in self.domains.open:
            return False
        why = guests.frozen(self.domains, self.policy, key)
        if why:
            self._frozen.setdefault(why, []).append(key)
        return bool(why)

    def _counting(self, person: PersonSeen) -> tuple[tuple[Rule, ...], frozenset[str] | None]:
        """The mappings that mean this person and count, and which may: all (None), or those a guest is allowed."""
        rules = tuple(self.wants[person.source_id].get(person.anchor, ()))
        if person.mail.domain in self.domains.open:
            return rules, None
        only = guests.only(self.domains, self.policy, person.mail.key)
        return (rules, None) if only is None else (tuple(rule for rule in rules if rule.id in only), only)

    def _unlinked(self, person: PersonSeen) -> None:
        """Somebody new, a rehire, a person known without a directory link, or a recycled address (D9)."""
        rules, only = self._counting(person)
        holder = self._by_mail.get(person.mail.key)
        candidate = holder if holder is not None and self._correlates(person, holder) else self._rehire(person)
        if candidate is None and (holder is None or holder.state == _REMOVED or self._moved_away(holder)):
            if rules and person.enabled:
                self.present.append(Present(person, None, None, rules, (), only))
            return
        if candidate is None and holder is not None and person.enabled and self._may_be(person, holder):
            self._candidate(person, holder, rules, only)
            return
        if candidate is None:
            text = (
                f"{person.mail.key} belongs to somebody else who has left or cannot be seen; if it is the same"
                f" person: rosterd relink {person.mail.key} --to {person.source_id}:{person.anchor} --reason TEXT"
            )
            self.problems.append(Problem("recycled-mail", text, (person.dn,)))
            self.unsettled.add((person.source_id, person.anchor))
            return
        if candidate.id in self.seen_identities:
            self.unsettled.add((person.source_id, person.anchor))
            return
        old = tuple(self._links(candidate.id))
        if not person.enabled and (old or candidate is not holder):
            self.unsettled.add((person.source_id, person.anchor))
            return  # beside the entry they are known by: two readings decide whether that one is gone (D3)
        if any(not self._proved_gone(link) for link in old):
            text = "looks like a person whose old entry cannot be proved gone: nothing is relinked"
            self.problems.append(Problem("relink-waits", text, (person.mail.key,)))
            self.unsettled.add((person.source_id, person.anchor))
            self.seen_identities.add(candidate.id)
            return
        self.seen_identities.add(candidate.id)
        keys = ((link.source_id, link.anchor, PEOPLE) for link in old)
        self.seen_again.extend(Absence(*key) for key in keys if key in self.recorded.absences)
        self.present.append(Present(person, candidate, None, rules, old, only))

    def _may_be(self, person: PersonSeen, holder: IdentityRow) -> bool:
        """Whether an entry may be a new one of whoever holds its address: nobody else's entry is seen to be, and no two
        numbers say that they are two people (E6)."""
        two = bool(person.employee_number and holder.employee_number) and (
            person.employee_number != holder.employee_number
        )
        old = self._links(holder.id)
        return not two and holder.id not in self.seen_identities and all(self._proved_gone(link) for link in old)

    def _candidate(
        self, person: PersonSeen, holder: IdentityRow, rules: tuple[Rule, ...], only: frozenset[str] | None
    ) -> None:
        """The address alone is no proof: a person decides, and meanwhile nobody is absent (E6)."""
        self.seen_identities.add(holder.id)
        self.unsettled.add((person.source_id, person.anchor))
        old = tuple(self._links(holder.id))
        was = ", ".join(f"{link.source_id}:{link.anchor}" for link in old)
        doubt = (
            f"{holder.mail_key}: entry {was} is not there, and {person.dn} ({person.source_id}:{person.anchor}) has the"
            " address: if it is the same person, approve; if not, give one of the two another address"
        )
        self.present.append(Present(person, holder, None, rules, old, only, doubt=doubt))

    def _correlates(self, person: PersonSeen, holder: IdentityRow) -> bool:
        """Same address and: never linked to a directory, or the same employee number."""
        if holder.id in self.seen_identities:
            return False
        if not self._links(holder.id):
            return holder.state != _REMOVED
        number = person.employee_number
        return self.policy.correlate_by_employee_number and bool(number) and number == holder.employee_number

    def _rehire(self, person: PersonSeen) -> IdentityRow | None:
        """The one identity with the same employee number whose entries are all gone."""
        if not self.policy.correlate_by_employee_number or not person.employee_number:
            return None
        if not self._by_number:
            for row in self.recorded.identities.values():
                if row.employee_number:
                    self._by_number.setdefault(row.employee_number, []).append(row)
        numbered = self._by_number.get(person.employee_number, ())
        if numbered:  # whoever has this number now may lose their entry one day, and this one is theirs then
            self.unsettled.add((person.source_id, person.anchor))
        found = [row for row in numbered if row.id not in self.seen_identities]
        return found[0] if len(found) == 1 else None

    def _links(self, identity_id: str) -> list[LinkRow]:
        if not self._links_of:
            for by_anchor in self.recorded.links.values():
                for link in by_anchor.values():
                    self._links_of.setdefault(link.identity_id, []).append(link)
        return self._links_of.get(identity_id, [])

    def _proved_gone(self, link: LinkRow) -> bool:
        source = self.sources.get(link.source_id)
        if source is None:
            return False
        return not source.shows(link.anchor) and source.proved_absent(link.anchor)

    def _moved_away(self, holder: IdentityRow) -> bool:
        """Whether ``holder`` is here under another address now."""
        return any(p.identity is not None and p.identity.id == holder.id and p.person.mail.key != holder.mail_key
                   for p in self.present)  # fmt: skip

    def settle_mails(self) -> set[str]:
        """Stop whoever would take an address that somebody else keeps, until nobody does: who is stopped keeps an
        address too. Returns the identities so frozen."""
        blocked: set[str] = set()
        taken = True
        while taken:
            stays = {
                p.identity.id: p.identity.mail_key if p.leaves else p.person.mail.key
                for p in self.present
                if p.identity is not None
            }
            kept = [item for item in self.present if not self._takes(item, stays)]
            taken = len(kept) < len(self.present)
            for item in self.present if taken else ():
                if self._takes(item, stays):
                    blocked.update({item.identity.id} if item.identity is not None else ())
                    self._stop_taking(item)
            self.present = kept
        return blocked

    def _takes(self, item: Present, stays: Mapping[str, str]) -> bool:
        """Whether the person's address is new to them, and still somebody else's."""
        key, mine = item.person.mail.key, item.identity
        if mine is not None and (mine.mail_key == key or item.leaves):
            return False  # who leaves takes nothing
        other = self._by_mail.get(key)
        if other is None or other.state == _REMOVED or (mine is not None and other.id == mine.id):
            return False
        return stays.get(other.id, other.mail_key) == key

    def _stop_taking(self, item: Present) -> None:
        key = item.person.mail.key
        self.unsettled.add((item.person.source_id, item.person.anchor))
        if item.identity is None:
            text = f"{key} is still the address of somebody else: not invited"
            self.problems.append(Problem("mail-taken", text, (item.person.dn,)))
        else:
            text = f"{key} is still the address of somebody else: not renamed"
            self.problems.append(Problem("mail-taken", text, (item.identity.mail_key,)))
