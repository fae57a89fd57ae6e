"""Who is who, who is here, and what each mapping gives them: readings × policy × recorded links → ``Desired`` (D2, D3,
D6, D9–D11). Seats are not dealt out here (``diff``).

Pure: no I/O, no clock here. Whatever cannot be proved ends in ``frozen`` with its reason, never in an absence.
"""

from __future__ import annotations

from connector.reconcile.desired import guests
from connector.reconcile.desired.ground import Ground
from connector.reconcile.desired.matching import Matcher
from connector.reconcile.desired.seen import Desired, Gone
from connector.reconcile.desired.selection import choose
from connector.reconcile.evidence.edges import Person, Weak, names_of
from connector.reconcile.evidence.judge import absent, deleted, doubted, stated, still_listed
from connector.reconcile.plan.changes import DOUBT, FROZEN, Absence, Problem
from connector.reconcile.plan.recorded import DOUBTED, PEOPLE, IdentityRow, LinkRow
from connector.reconcile.plan.words import span
from ledger.identity import IdentityState

_REMOVED, _DISABLED = IdentityState.REMOVED.value, IdentityState.DISABLED.value


class _Missing:
    """Judges everybody no entry answered for: unknown, absent once (noted), or confirmed gone (D3)."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.gone: list[Gone] = []
        self.absent: list[Absence] = []
        self.seen_again: list[Absence] = []
        self.unsettled: set[tuple[str, str]] = set()
        self._kept: dict[tuple[str, str], list[str]] = {}
        self._unconfirmed: list[str] = []

    def links(self, accounted: set[str]) -> dict[str, list[LinkRow]]:
        """Identity → its links, for everybody who is missing; absences of who is seen again are lifted."""
        missing: dict[str, list[LinkRow]] = {}
        for source_id, by_anchor in self.ground.recorded.links.items():
            source = self.ground.sources.get(source_id)
            for anchor, link in by_anchor.items():
                if source is not None and source.shows(anchor):
                    self._lift((source_id, anchor, PEOPLE), (source_id, anchor, DOUBTED))
                elif link.identity_id not in accounted:
                    missing.setdefault(link.identity_id, []).append(link)
        return missing

    def judge(self, identity: IdentityRow, links: list[LinkRow]) -> None:
        """One of them."""
        ground = self.ground
        why = _cannot_tell(ground, identity, links)
        if why:
            self._keep(FROZEN, why, identity, links)
            return
        if identity.state == _DISABLED:  # what was stated stays stated: absence does not stop its later stages (E1)
            self.gone.append(Gone(identity, stated("the entry was disabled, and none says the opposite")))
            return
        tombstoned = all(link.anchor in ground.sources[link.source_id].tombstones for link in links)
        kept_by, weak = ("", None) if tombstoned else self._doubt(identity, links)
        if kept_by:
            self._doubtful(identity, links, kept_by, weak)
            return
        self._lift(*((link.source_id, link.anchor, DOUBTED) for link in links))
        keys = [(link.source_id, link.anchor, PEOPLE) for link in links]
        firsts = [ground.recorded.absences.get(key) for key in keys]
        evidence = deleted() if tombstoned else absent(firsts, ground.now - ground.policy.offboarding.confirm_after)
        if evidence is not None:
            self.gone.append(Gone(identity, evidence))
            if None in firsts:  # the next reading has no tombstone: it notes the absence
                self.unsettled.update(key[:2] for key in keys)
            return
        self.absent.extend([Absence(*key) for key, first in zip(keys, firsts, strict=True) if first is None])
        self.unsettled.update(key[:2] for key in keys)
        self._unconfirmed.append(identity.mail_key)

    def _doubt(self, identity: IdentityRow, links: list[LinkRow]) -> tuple[str, Weak | None]:
        """What keeps somebody absent: a group that still lists them, or that is missing (E3, E4); empty: nothing."""
        ground = self.ground
        causes = ground.recorded.causes.get(identity.id, {})
        held = {row.provenance for row in ground.recorded.memberships.get(identity.id, ())}
        for rule in ground.policy.rules.values():
            source, member = ground.sources.get(rule.directory), rule.provenance in held
            group = source.groups.get(rule.group) if source else None
            mine = [link for link in links if link.source_id == rule.directory]
            if source is None or group is None or not (member or (mine and group.complete)):
                continue
            if not group.complete:
                return f"group {rule.group} {'is missing' if group.missing else 'was not read to its end'}", None
            found = [source.outside[link.anchor] for link in mine if link.anchor in source.outside]
            elsewhere = frozenset[str]().union(*(names_of(entry.dn, entry.logins) for entry in found))
            person = Person(identity.id, frozenset(link.anchor for link in mine), elsewhere)
            cause = causes.get(rule.provenance, "") if member else None
            weak = ground.paths[source.source_id].holding(person, group.anchor, cause)
            if weak is not None:
                return still_listed(weak, group.dn, rule.group), None if weak.instead else weak
        return "", None

    def _doubtful(self, identity: IdentityRow, links: list[LinkRow], kept_by: str, weak: Weak | None) -> None:
        """Kept, and counted; after long enough a person decides (E15)."""
        keys = [(link.source_id, link.anchor, DOUBTED) for link in links]
        firsts = [self.ground.recorded.absences.get(key) for key in keys]
        self.absent.extend([Absence(*key) for key, first in zip(keys, firsts, strict=True) if first is None])
        first = None if None in firsts else max(filter(None, firsts))
        late = self.ground.now - self.ground.policy.doubt_after
        evidence = doubted(first, late, identity.mail_key, kept_by, weak)
        if evidence is None:
            mend = ". If they have left, remove that member value" if weak else ""
            why = f"not shown, but {kept_by}: nobody leaves for absence because of it{mend}"
            self._keep(DOUBT, why, identity, links)
            return
        self.gone.append(Gone(identity, evidence))
        self.unsettled.update(key[:2] for key in keys)

    def _keep(self, code: str, why: str, identity: IdentityRow, links: list[LinkRow]) -> None:
        self._kept.setdefault((code, why), []).append(identity.mail_key)
        if identity.mail_key.rpartition("@")[2] in self.ground.domains.open:
            self.unsettled.update((link.source_id, link.anchor) for link in links)

    def _lift(self, *keys: tuple[str, str, str]) -> None:
        self.seen_again += [Absence(*key) for key in keys if key in self.ground.recorded.absences]

    def problems(self) -> list[Problem]:
        """Who is kept for want of proof, and whose absence waits for a second reading."""
        found = [Problem(*why, tuple(sorted(who))) for why, who in self._kept.items()]
        if self._unconfirmed:
            later = span(self.ground.policy.offboarding.confirm_after)
            text = f"absent in a complete reading; counts when another one, at least {later} later, confirms it"
            found.append(Problem("unconfirmed", text, tuple(sorted(self._unconfirmed))))
        return found


def desired(ground: Ground) -> Desired:
    """Match every entry and every recorded link; nothing is decided twice and nobody is in two lists."""
    frozen_rules, wants, problems = choose(ground.sources, ground.policy)
    matcher = Matcher(ground, wants)
    matcher.people()
    blocked = matcher.settle_mails()
    missing = _Missing(ground)
    for identity_id, links in missing.links(matcher.seen_identities | blocked).items():
        identity = ground.recorded.identities.get(identity_id)
        if identity is not None and identity.state != _REMOVED:
            missing.judge(identity, links)
    return Desired(
        present=tuple(matcher.present),
        gone=tuple(missing.gone),
        frozen_rules=frozen_rules,
        problems=(*problems, *matcher.problems, *missing.problems()),
        absent=tuple(missing.absent),
        seen_again=(*matcher.seen_again, *missing.seen_again),
        unsettled=frozenset(matcher.unsettled | missing.unsettled),
        beside=matcher.beside,
        met=frozenset(matcher.found.met),
    )


def _cannot_tell(ground: Ground, identity: IdentityRow, links: list[LinkRow]) -> str:
    """Why nothing is known of this absence, in words; empty when its directories were read and its domain is open.
    Whoever was stated to have left needs no proof that the entry is not there, only that it was looked for (E1)."""
    stated = identity.state == _DISABLED
    for link in links:
        source = ground.sources.get(link.source_id)
        if source is None:
            return f"directory {link.source_id} is not configured: who came through it keeps everything"
        if not source.proved_absent(link.anchor) and not (stated and source.complete):
            return source.doubt
    return guests.frozen(ground.domains, ground.policy, identity.mail_key)
