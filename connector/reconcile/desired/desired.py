"""Who is who, who is here, and what each mapping gives them: readings × policy × recorded links → ``Desired`` (D2, D3,
D6, D9–D11). Seats are not dealt out here (``diff``).

Pure: no I/O, no clock here. Whatever cannot be proved ends in ``frozen`` with its reason, never in an absence.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from connector.reconcile.desired import guests
from connector.reconcile.desired.matching import Matcher
from connector.reconcile.desired.seen import Desired, Domains, Gone, SourceSeen
from connector.reconcile.desired.selection import choose
from connector.reconcile.plan.changes import Absence, Problem
from connector.reconcile.plan.recorded import PEOPLE, IdentityRow, LinkRow, Recorded
from connector.reconcile.policy.policy import Policy
from ledger.identity import IdentityState, fold

_REMOVED = IdentityState.REMOVED.value


class _Given(msgspec.Struct, frozen=True):
    """What everything here is decided from."""

    sources: Mapping[str, SourceSeen]
    policy: Policy
    recorded: Recorded
    domains: Domains
    now: datetime


def desired(
    sources: Mapping[str, SourceSeen], policy: Policy, recorded: Recorded, domains: Domains, now: datetime
) -> Desired:
    """Match every entry and every recorded link; nothing is decided twice and nobody is in two lists."""
    frozen_rules, wants, problems = choose(sources, policy)
    out = Desired([], [], frozen_rules, problems, [], [])
    matcher = Matcher(sources, policy, recorded, domains, wants, out)
    matcher.people()
    blocked = matcher.settle_mails()
    given = _Given(sources, policy, recorded, domains, now)
    missing = _missing(given, out, matcher.seen_identities | blocked)
    _judge(given, out, missing)
    return out


def _missing(given: _Given, out: Desired, accounted: set[str]) -> dict[str, list[LinkRow]]:
    """Identity → its links, for everybody no entry answered for; absences of who is seen again are lifted."""
    missing: dict[str, list[LinkRow]] = {}
    for source_id, by_anchor in given.recorded.links.items():
        source = given.sources.get(source_id)
        for anchor, link in by_anchor.items():
            if source is not None and (anchor in source.people or anchor in source.unmappable):
                key = (source_id, anchor, PEOPLE)
                if key in given.recorded.absences:
                    out.seen_again.append(Absence(*key))
            elif link.identity_id not in accounted:
                missing.setdefault(link.identity_id, []).append(link)
    return missing


def _judge(given: _Given, out: Desired, missing: Mapping[str, list[LinkRow]]) -> None:
    """Each of them: unknown, absent once (noted), or confirmed gone (D3)."""
    frozen: dict[str, list[str]] = {}
    unconfirmed: list[str] = []
    for identity_id, links in missing.items():
        identity = given.recorded.identities.get(identity_id)
        if identity is None or identity.state == _REMOVED:
            continue
        why = _cannot_tell(given, identity, links)
        if why:
            frozen.setdefault(why, []).append(identity.mail_key)
            if identity.mail_key.rpartition("@")[2] in given.domains.open:
                out.unsettled.update((link.source_id, link.anchor) for link in links)
            continue
        keys = [(link.source_id, link.anchor, PEOPLE) for link in links]
        firsts = [given.recorded.absences.get(key) for key in keys]
        late = given.now - given.policy.offboarding.confirm_after
        tombstoned = all(link.anchor in given.sources[link.source_id].tombstones for link in links)
        if tombstoned or all(first is not None and first <= late for first in firsts):
            cause = "a tombstone proves the entry was deleted" if tombstoned else "absent in two complete readings"
            out.gone.append(Gone(identity, cause))
            if None in firsts:  # the next reading has no tombstone: it notes the absence
                out.unsettled.update(key[:2] for key in keys)
            continue
        out.absent.extend([Absence(*key) for key, first in zip(keys, firsts, strict=True) if first is None])
        out.unsettled.update(key[:2] for key in keys)
        unconfirmed.append(identity.mail_key)
    out.problems.extend([Problem("frozen", why, tuple(sorted(who))) for why, who in frozen.items()])
    if unconfirmed:
        text = "absent in a complete reading; counts only when another one confirms it"
        out.problems.append(Problem("unconfirmed", text, tuple(sorted(unconfirmed))))


def _cannot_tell(given: _Given, identity: IdentityRow, links: list[LinkRow]) -> str:
    """Why this absence proves nothing; empty when it does."""
    for link in links:
        source = given.sources.get(link.source_id)
        if source is None:
            return f"directory {link.source_id} is not configured: who came through it keeps everything"
        if not source.proved_absent(link.anchor):
            return source.doubt
    if why := guests.frozen(given.domains, given.policy, identity.mail_key):
        return why
    dns = given.recorded.dns.get(identity.id, frozenset())
    for row in given.recorded.memberships.get(identity.id, ()):
        rule = given.policy.rule_of(row.provenance)
        group = (
            given.sources[rule.directory].groups.get(rule.group) if rule and rule.directory in given.sources else None
        )
        if rule is None or group is None:
            continue
        if not group.complete and not group.missing:
            return f"group {rule.group} was not read to its end"
        if dns and any(fold(value) in dns for value in group.unresolved):
            return f"the entry is hidden or gone, but group {rule.group} still lists it: remove that member value"
    return ""
