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
from connector.reconcile.evidence.edges import edges_of
from connector.reconcile.plan.changes import DOUBT, FROZEN, Absence, Problem
from connector.reconcile.plan.recorded import PEOPLE, IdentityRow, LinkRow
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
                    key = (source_id, anchor, PEOPLE)
                    if key in self.ground.recorded.absences:
                        self.seen_again.append(Absence(*key))
                elif link.identity_id not in accounted:
                    missing.setdefault(link.identity_id, []).append(link)
        return missing

    def judge(self, identity: IdentityRow, links: list[LinkRow]) -> None:
        """One of them."""
        ground = self.ground
        why = _cannot_tell(ground, identity, links)
        if why is not None:
            self._kept.setdefault(why, []).append(identity.mail_key)
            if identity.mail_key.rpartition("@")[2] in ground.domains.open:
                self.unsettled.update((link.source_id, link.anchor) for link in links)
            return
        if identity.state == _DISABLED:  # what was stated stays stated: absence does not stop its later stages (E1)
            self.gone.append(Gone(identity, "the entry was disabled, and none says the opposite"))
            return
        keys = [(link.source_id, link.anchor, PEOPLE) for link in links]
        firsts = [ground.recorded.absences.get(key) for key in keys]
        late = ground.now - ground.policy.offboarding.confirm_after
        tombstoned = all(link.anchor in ground.sources[link.source_id].tombstones for link in links)
        if tombstoned or all(first is not None and first <= late for first in firsts):
            cause = "a tombstone proves the entry was deleted" if tombstoned else "absent in two complete readings"
            self.gone.append(Gone(identity, cause))
            if None in firsts:  # the next reading has no tombstone: it notes the absence
                self.unsettled.update(key[:2] for key in keys)
            return
        self.absent.extend([Absence(*key) for key, first in zip(keys, firsts, strict=True) if first is None])
        self.unsettled.update(key[:2] for key in keys)
        self._unconfirmed.append(identity.mail_key)

    def problems(self) -> list[Problem]:
        """Who is kept for want of proof, and whose absence waits for a second reading."""
        found = [Problem(*why, tuple(sorted(who))) for why, who in self._kept.items()]
        if self._unconfirmed:
            text = "absent in a complete reading; counts only when another one confirms it"
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
    )


def _cannot_tell(ground: Ground, identity: IdentityRow, links: list[LinkRow]) -> tuple[str, str] | None:
    """Why this absence proves nothing, as the code and words of a problem; None when it does, or need not."""
    stated = identity.state == _DISABLED
    for link in links:
        source = ground.sources.get(link.source_id)
        if source is None:
            return FROZEN, f"directory {link.source_id} is not configured: who came through it keeps everything"
        if not source.proved_absent(link.anchor) and not (stated and source.complete):
            return FROZEN, source.doubt
    if why := guests.frozen(ground.domains, ground.policy, identity.mail_key):
        return FROZEN, why
    if stated or all(link.anchor in ground.sources[link.source_id].tombstones for link in links):
        return None  # what was stated, or is by a proved deletion: groups say nothing against it (E1, E4)
    causes = ground.recorded.causes.get(identity.id, {})
    for row in ground.recorded.memberships.get(identity.id, ()):
        rule = ground.policy.rule_of(row.provenance)
        source = ground.sources.get(rule.directory) if rule else None
        group = source.groups.get(rule.group) if rule and source else None
        if rule is None or group is None:
            continue
        if group.missing:
            return DOUBT, f"group {rule.group} is missing: nobody leaves for absence because of it"
        if not group.complete:
            return FROZEN, f"group {rule.group} was not read to its end"
        if value := edges_of(causes.get(row.provenance, "")).standing(group):
            text = f"the entry is hidden or gone, but group {rule.group} still lists {value}: remove that member value"
            return DOUBT, text
    return None
