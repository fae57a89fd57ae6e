"""Entries → identities: by link first, then by mail and employee number (D5, D9). Pure: no I/O here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from connector.reconcile.desired import guests
from connector.reconcile.desired.ground import Ground
from connector.reconcile.desired.relinking import By, Candidate, Candidates, two_people
from connector.reconcile.desired.seen import AsRecorded, Present, UnmappableSeen
from connector.reconcile.desired.selection import Wants
from connector.reconcile.evidence.stated import Unsaid, unsaid
from connector.reconcile.plan.changes import Absence, PersonSeen, Problem
from connector.reconcile.plan.recorded import OFF, PEOPLE, IdentityRow, LinkRow
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
        self.found = Candidates(ground)
        self.present: list[Present] = []
        self.beside: dict[str, Present] = {}
        self.problems: list[Problem] = []
        self.seen_again: list[Absence] = []
        self.unsettled: set[tuple[str, str]] = set()
        self.seen_identities: set[str] = set()
        self._stated: set[str] = set()
        self._relinked: set[str] = set()
        self._unsaid: dict[str, Unsaid] = {}
        self._frozen: dict[str, list[str]] = {}

    def people(self) -> None:
        """Match every entry. What a linked one states of its account comes first, whatever else is wrong with it (E1);
        one that cannot be mapped stands for its person as recorded (D8, E9)."""
        kept_off = self._unsaid = dict(self._not_said())
        collisions = self._collisions()
        unlinked: list[PersonSeen] = []
        barred: list[tuple[PersonSeen, str]] = []
        leavers: list[tuple[LinkRow, PersonSeen, str]] = []
        for source in self.sources.values():
            links = self.recorded.links.get(source.source_id, {})
            for anchor, entry in source.unmappable.items():
                told = f"{entry.dn}: {'; '.join(entry.reasons)}" if entry.dn else "; ".join(entry.reasons)
                self.problems.append(Problem("unmappable", told, (anchor,)))
                link = links.get(anchor)
                if link is None:
                    continue
                identity = self.recorded.identities[link.identity_id]
                recorded = AsRecorded(identity, link, entry)
                if not entry.enabled or link.row_id in kept_off:
                    leavers.append((link, recorded, ""))
                elif self._first(recorded, link) and identity.state == IdentityState.ACTIVE:
                    self._unread(recorded, identity, link)
            for anchor, person in source.people.items():
                link = links.get(anchor)
                if person.unusable:
                    text = f"{person.dn}: {'; '.join(person.unusable)}; {person.mail.text} counts instead"
                    self.problems.append(Problem("unusable-address", text, (anchor,)))
                if link is not None and (not person.enabled or link.row_id in kept_off):
                    leavers.append((link, person, ""))
                    continue
                if link is not None and not self._first(person, link):
                    continue
                why = "another entry has its address" if person.mail.key in collisions else ""
                if why:
                    self.unsettled.add((person.source_id, anchor))
                elif self._stopped(person, person.mail.key):
                    why = "people of its domain are kept as they are"
                if why:
                    barred += [(person, why)] if link is None else []
                    continue
                if link is None:
                    unlinked.append(person)
                    continue
                rules, only = self._counting(person)
                self.present.append(Present(person, self.recorded.identities[link.identity_id], link, rules, (), only))
            for anchor, found in source.outside.items():
                link = links.get(anchor)
                if link is not None and not found.enabled:
                    identity = self.recorded.identities[link.identity_id]
                    off = f"the entry is disabled ({found.sign}), beside the filter or outside the base: {found.dn}"
                    leavers.append((link, AsRecorded(identity, link, UnmappableSeen((), False, found.dn)), off))
        self.found.look([*((person, "") for person in unlinked), *barred], self.seen_identities)
        self.unsettled |= self.found.numbered
        for link, person, off in sorted(leavers, key=lambda leaver: bool(leaver[2])):  # what is shown speaks first
            self._leaves(person, self.recorded.identities[link.identity_id], link, off)
        taken = self._relinks()
        for person in sorted(unlinked, key=lambda p: p.mail.key):
            if (person.source_id, person.anchor) not in taken:
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

    def _leaves(self, person: PersonSeen, identity: IdentityRow, link: LinkRow, off: str = "") -> None:
        """A linked entry says that its account is disabled: its holder is, unless another linked entry is enabled, or
        may be, or a new one takes its place. The domain that counts is that of the identity (E1, E9)."""
        if not self._first(person, link):
            return
        self._stated.add(identity.id)
        for other in self.recorded.links_of(identity.id):
            source = self.sources.get(other.source_id)
            if other is not link and (source is None or not (source.shows(other.anchor) or source.complete)):
                why = f"directory {other.source_id} was not read to its end: another entry of theirs may be enabled"
                self._frozen.setdefault(why, []).append(identity.mail_key)
                self.unsettled.add((person.source_id, person.anchor))
                return
        new = self.found.by_itself(identity)
        if new is not None:  # a rehire beside the old account: only the relink is planned
            self._relink(new, identity)
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
            self.present.append(Present(person, identity, link, rules, (), only, doubt=doubt, off=off, unsaid=said))

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
            claim = [p for source in self.sources.values() for p in source.people.values()
                     if p.mail.key == key and self._claims(p)]  # fmt: skip
            entries = ", ".join(sorted(f"{p.source_id}:{p.anchor}" for p in claim))
            text = f"several entries have the address {key}: none is touched ({entries})"
            self.problems.append(Problem("collision", text, tuple(sorted(p.dn for p in claim))))
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

    def _relinks(self) -> set[tuple[str, str]]:
        """Whom new entries may be: relinked, or held until a person decides (E6). Returns the entries so answered for;
        the others are somebody new."""
        taken: set[tuple[str, str]] = set()
        people = (self.recorded.identities[identity_id] for identity_id in self.found.of)
        for identity in sorted(people, key=lambda row: (row.mail_key, row.id)):
            if self._candidates(identity):
                taken |= {candidate.key for candidate in self.found.of[identity.id]}
        return taken

    def _candidates(self, identity: IdentityRow) -> bool:
        """One person's candidates. Whoever is not off-boarded yet is not missing while one waits; what was stated or
        proved before goes on. False: nothing waits, they are somebody new."""
        if identity.id in self._relinked:
            return True
        found, old = self.found.of[identity.id], self.recorded.links_of(identity.id)
        stated, new = identity.id in self._stated, self.found.by_itself(identity)
        gone = all(self._proved_gone(link) for link in old)
        deleted = bool(old) and all(self._tombstone(link) for link in old) and found[0].by is not By.GUID
        if new is not None and gone and not stated and (deleted or not _may_be_another(new, identity)):
            self._relink(new, identity)
            return True
        if identity.state == _REMOVED:
            return False
        self.unsettled |= {candidate.key for candidate in found}
        if not old and all(candidate.barred for candidate in found):
            return True  # reported already
        goes_on = stated or deleted or identity.state in OFF
        if not goes_on:
            self.seen_identities.add(identity.id)
        how = "is disabled" if stated else "is not there" if gone else "cannot be seen"
        doubt = self.found.words(identity, how)
        if len(found) > 1 or found[0].barred or not (gone or self._all_disabled(old)):
            self.problems.append(Problem("relink-waits", doubt, (identity.mail_key, *(c.person.dn for c in found))))
            return True
        rules, only = self._counting(found[0].person)
        held = Present(found[0].person, identity, None, rules, tuple(old), only, doubt=doubt)
        if goes_on:
            self.beside[identity.id] = held
        else:
            self.present.append(held)
        return True

    def _relink(self, new: Candidate, identity: IdentityRow) -> None:
        """Bind the entry to the person without asking anybody."""
        self.seen_identities.add(identity.id)
        self._relinked.add(identity.id)
        old = tuple(self.recorded.links_of(identity.id))
        keys = ((link.source_id, link.anchor, PEOPLE) for link in old)
        self.seen_again.extend(Absence(*key) for key in keys if key in self.recorded.absences)
        rules, only = self._counting(new.person)
        self.present.append(Present(new.person, identity, None, rules, old, only))

    def _unlinked(self, person: PersonSeen) -> None:
        """Somebody new, a person known without a directory link, or an address that is somebody else's (D9)."""
        rules, only = self._counting(person)
        holder = self.found.holder(person.mail.key)
        if holder is None or holder.state == _REMOVED or self._moved_away(holder):
            if rules and person.enabled:
                self.present.append(Present(person, None, None, rules, (), only))
            return
        old = self.recorded.links_of(holder.id)
        here = holder.id in self.seen_identities
        if not person.enabled and not old and not here and not two_people(person, holder):
            self.seen_identities.add(holder.id)
            self.present.append(Present(person, holder, None, rules, (), only))
            return
        self.unsettled.add((person.source_id, person.anchor))
        if not person.enabled:
            return  # an old account: two readings decide whether the entry they are known by is gone (D3)
        why = "is here" if here else "has left or cannot be seen"
        why = "has another employee number" if two_people(person, holder) else why
        was = ", ".join(f"{link.source_id}:{link.anchor}" for link in old)
        text = (
            f"{person.mail.key} belongs to somebody else{f' ({was})' if was else ''} who {why}; if it is the same"
            f" person: rosterd relink {person.mail.key} --to {person.source_id}:{person.anchor}"
        )
        self.problems.append(Problem("recycled-mail", text, (person.dn,)))

    def _proved_gone(self, link: LinkRow) -> bool:
        source = self.sources.get(link.source_id)
        if source is None:
            return False
        return not source.shows(link.anchor) and source.proved_absent(link.anchor)

    def _tombstone(self, link: LinkRow) -> bool:
        source = self.sources.get(link.source_id)
        return source is not None and link.anchor in source.tombstones and not source.shows(link.anchor)

    def _all_disabled(self, old: Sequence[LinkRow]) -> bool:
        """Whether each entry is proved gone or shown disabled; an enabled one would have spoken for the person."""
        return all(self._proved_gone(link) or self._shown(link) for link in old)

    def _shown(self, link: LinkRow) -> bool:
        source = self.sources.get(link.source_id)
        return source is not None and source.shows(link.anchor)

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
        other = self.found.holder(key)
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


def _may_be_another(new: Candidate, identity: IdentityRow) -> bool:
    """Whether a number alone speaks for it, and against it that somebody active is merely not shown and had another
    address: numbers are given out again, and placeholders are equal."""
    mails = {mail.key for mail in (new.person.mail, *new.person.other_mails)}
    active = identity.state == IdentityState.ACTIVE
    return new.by is By.NUMBER and active and identity.mail_key not in mails
