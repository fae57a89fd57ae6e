"""Who is who, who is here, and what each mapping gives them: readings × policy × recorded links → ``Desired`` (D2, D3,
D6, D9–D11). Seats are not dealt out here (``seating``).

Pure: no I/O, no clock here. Whatever cannot be proved ends in ``frozen`` with its reason, never in an absence.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from connector.reconcile.matching import Matcher
from connector.reconcile.plan import Absence, Problem
from connector.reconcile.policy import Policy, Rule
from connector.reconcile.recorded import PEOPLE, IdentityRow, LinkRow, Recorded
from connector.reconcile.sight import Desired, Domains, Gone, SourceSeen
from ledger.identity import IdentityState, fold

_REMOVED = IdentityState.REMOVED.value


def desired(
    sources: Mapping[str, SourceSeen], policy: Policy, recorded: Recorded, domains: Domains, now: datetime
) -> Desired:
    """Match every entry and every recorded link; nothing is decided twice and nobody is in two lists."""
    frozen_rules, wants, problems = _wants(sources, policy)
    out = Desired([], [], frozen_rules, problems, [], [])
    matcher = Matcher(sources, policy, recorded, domains, wants, out)
    matcher.people()
    blocked = matcher.settle_mails()
    _gone(sources, policy, recorded, domains, now, out, matcher.seen_identities | blocked)
    return out


def _wants(
    sources: Mapping[str, SourceSeen], policy: Policy
) -> tuple[dict[str, str], dict[str, dict[str, list[Rule]]], list[Problem]]:
    """Frozen mappings (D2), and for every source: anchor → the mappings whose group lists it."""
    frozen: dict[str, str] = {}
    problems: list[Problem] = []
    wants: dict[str, dict[str, list[Rule]]] = {source_id: {} for source_id in sources}
    for rule in policy.rules.values():
        source = sources.get(rule.directory)
        group = source.groups.get(rule.group) if source else None
        if group is None or not group.complete:
            reason = (
                "its directory was not read" if group is None else group.reason or "the group was not read to its end"
            )
            frozen[rule.id] = reason
            if group is not None and group.missing:
                text = (
                    f"group {rule.group} does not exist: mapping {rule.id} is frozen, correct the mapping or the group"
                )
                problems.append(Problem("group-missing", text, (rule.id,)))
            continue
        if group.unresolved:
            text = f"{len(group.unresolved)} member value(s) of group {rule.group} name nobody that was read"
            problems.append(Problem("unresolved", text, tuple(sorted(group.unresolved)[:20])))
        mine = wants[rule.directory]
        for anchor in group.members:
            mine.setdefault(anchor, []).append(rule)
    return frozen, wants, problems


def _gone(
    sources: Mapping[str, SourceSeen],
    policy: Policy,
    recorded: Recorded,
    domains: Domains,
    now: datetime,
    out: Desired,
    accounted: set[str],
) -> None:
    """Links no entry answered: unknown, absent once (noted), or confirmed gone (D3)."""
    missing: dict[str, list[LinkRow]] = {}
    for source_id, by_anchor in recorded.links.items():
        source = sources.get(source_id)
        for anchor, link in by_anchor.items():
            if source is not None and (anchor in source.people or anchor in source.unmappable):
                key = (source_id, anchor, PEOPLE)
                if key in recorded.absences:
                    out.seen_again.append(Absence(*key))
            elif link.identity_id not in accounted:
                missing.setdefault(link.identity_id, []).append(link)
    frozen: dict[str, list[str]] = {}
    unconfirmed: list[str] = []
    for identity_id, links in missing.items():
        identity = recorded.identities.get(identity_id)
        if identity is None or identity.state == _REMOVED:
            continue
        why = _cannot_tell(identity, links, sources, policy, recorded, domains, out.frozen_rules)
        if why:
            frozen.setdefault(why, []).append(identity.mail_key)
            continue
        keys = [(link.source_id, link.anchor, PEOPLE) for link in links]
        firsts = [recorded.absences.get(key) for key in keys]
        tombstoned = all(link.anchor in sources[link.source_id].tombstones for link in links)
        if tombstoned or all(first is not None and now - first >= policy.offboarding.confirm_after for first in firsts):
            cause = "a tombstone proves the entry was deleted" if tombstoned else "absent in two complete readings"
            out.gone.append(Gone(identity, cause))
            continue
        out.absent.extend([Absence(*key) for key, first in zip(keys, firsts, strict=True) if first is None])
        unconfirmed.append(identity.mail_key)
    out.problems.extend([Problem("frozen", why, tuple(sorted(who))) for why, who in frozen.items()])
    if unconfirmed:
        text = "absent in a complete reading; counts only when another one confirms it"
        out.problems.append(Problem("unconfirmed", text, tuple(sorted(unconfirmed))))


def _cannot_tell(
    identity: IdentityRow,
    links: list[LinkRow],
    sources: Mapping[str, SourceSeen],
    policy: Policy,
    recorded: Recorded,
    domains: Domains,
    frozen_rules: Mapping[str, str],
) -> str:
    """Why this absence proves nothing; empty when it does."""
    for link in links:
        source = sources.get(link.source_id)
        if source is None:
            return f"directory {link.source_id} is not configured: who came through it keeps everything"
        if not source.complete and link.anchor not in source.tombstones:
            return f"directory {link.source_id} was not read to its end"
    domain = identity.mail_key.rpartition("@")[2]
    if domain not in domains.open:
        return domains.reason(domain)
    dns = recorded.dns.get(identity.id, frozenset())
    for row in recorded.memberships.get(identity.id, ()):
        rule = policy.rule_of(row.provenance)
        group = sources[rule.directory].groups.get(rule.group) if rule and rule.directory in sources else None
        if rule is None or group is None:
            continue
        if rule.id in frozen_rules and not group.missing:
            return f"group {rule.group} was not read to its end"
        if dns and any(fold(value) in dns for value in group.unresolved):
            return f"the entry is hidden or gone, but group {rule.group} still lists it: remove that member value"
    return ""
