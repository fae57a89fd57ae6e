"""A part of a plan that is applied alone, before the rest (a pilot): whom it means, and who of them needs the others.

Pure: no I/O, no clock here. The whole plan is decided and guarded first; a part only takes away from what may go, so
that nobody in it gets anything, or loses anything, that the whole would not give or take now (decision 0033).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec

from connector.reconcile.desired.ground import Ground
from connector.reconcile.diff.diff import Draft
from connector.reconcile.guard import address_swaps
from connector.reconcile.guard.limits import emptied
from connector.reconcile.plan.changes import READING_DOUBTED, Bundle, Change, Kind, Plan
from connector.reconcile.policy.policy import Rule
from ledger.identity import fold

SEAT = "the seat they would get stands for somebody before them, or is given back by somebody outside this part"
LINE = "somebody outside this part stands before them in the line for a seat"
ZERO = "without those outside this part a Team, mapping or group would be left without anybody"
ADDRESS = "somebody outside this part still has the address"


def part_of(plan: Plan, only: Collection[str], ground: Ground) -> Plan:
    """The part of ``plan`` about whom ``only`` names: an address, a Team, or a mapping by its id or its group. A person
    is in it with everything the plan has for them."""
    names = {fold(name) for name in only}
    teams = {row.id for key, row in ground.recorded.teams.items() if key in names}
    mappings = {rule.id for rule in ground.policy.rules.values() if names & {fold(rule.id), fold(rule.group)}}
    chosen = {bundle.subject for bundle in plan.bundles if _concerns(bundle, names, teams, mappings)}
    bundles = tuple(bundle for bundle in plan.bundles if bundle.subject in chosen)
    problems = tuple(
        problem for problem in plan.problems
        if problem.code == READING_DOUBTED or not chosen.isdisjoint(problem.subjects)
    )  # fmt: skip
    return msgspec.structs.replace(plan, bundles=bundles, problems=problems, only=tuple(only))


def _concerns(bundle: Bundle, names: set[str], teams: set[str], mappings: set[str]) -> bool:
    addresses = {bundle.subject, bundle.person.mail.key if bundle.person is not None else bundle.subject}
    there = {team for team, _ in bundle.teams} | {change.team for change in bundle.changes}
    by = {mapping for _, mapping in bundle.teams} | {change.mapping for change in bundle.changes}
    return bool(addresses & names or there & teams or by & mappings)


def need_others(
    draft: Draft, allowed: Sequence[Bundle], approved: Collection[str], ground: Ground, part: Collection[str]
) -> dict[str, str]:
    """Subject → why, of the people of ``part`` who may go with the whole and not alone. ``allowed``: what may go of the
    whole; ``approved``: whose harm was approved. Whoever waits may be needed by others: grows to a fixed point."""
    found: dict[str, str] = {}
    while True:
        going = [bundle for bundle in allowed if bundle.subject in part and bundle.subject not in found]
        _, taking = address_swaps.apart(going, ground.recorded)
        more = {
            **dict.fromkeys(_emptying(draft.plan, going, approved, ground), ZERO),
            **dict.fromkeys((bundle.subject for bundle in taking), ADDRESS),
            **dict.fromkeys(_out_of_line(allowed, going, ground), LINE),
            **dict.fromkeys(_unserved(draft, allowed, going), SEAT),
        }
        if not more:
            return found
        found |= more


def _unserved(draft: Draft, allowed: Sequence[Bundle], going: Sequence[Bundle]) -> set[str]:
    """Whose seat is not free yet. Seats are dealt in the order of the whole plan: whoever is outside and comes before
    keeps theirs free, and what they would give back is not there yet (P4)."""
    free = dict(draft.allocation.free)
    for bundle in going:
        for change in bundle.changes:
            if change.kind is Kind.RELEASE_SEAT and (change.team, change.offering) in free:
                free[change.team, change.offering] += 1
    takes = {(bundle.subject, change.team, change.offering) for bundle in allowed for change in bundle.changes
             if change.kind in {Kind.ASSIGN_SEAT, Kind.MOVE_SEAT}}  # fmt: skip
    here = {bundle.subject for bundle in going}
    unserved: set[str] = set()
    for served in draft.allocation.served:
        if (served.subject, *served.pool) not in takes:
            continue  # nobody takes it, in the whole plan either
        room = free.get(served.pool, 0) > 0
        if room:
            free[served.pool] -= 1
        if served.subject in here:
            if not room:
                unserved.add(served.subject)
            elif served.frees in free:
                free[served.frees] += 1
    return unserved


class _Place(NamedTuple):
    """A newcomer in line for ``offering``; ``teams``: whose seats they may get."""

    subject: str
    offering: str
    priority: int
    teams: frozenset[str]


def _out_of_line(allowed: Sequence[Bundle], going: Sequence[Bundle], ground: Ground) -> set[str]:
    """Who would take a new place in line before somebody outside who comes first: of equal priority the earlier place
    is served first, and in the whole plan both would be of one instant."""
    new = [place for bundle in going for place in _places(bundle, ground, served=False)]
    if not new:
        return set()
    here = {bundle.subject for bundle in going}
    others = [
        place for bundle in allowed if bundle.subject not in here for place in _places(bundle, ground, served=True)
    ]
    return {
        mine.subject
        for mine in new
        if any(
            other.subject < mine.subject
            and (other.offering, other.priority) == (mine.offering, mine.priority)
            and other.teams & mine.teams
            for other in others
        )
    }


def _places(bundle: Bundle, ground: Ground, *, served: bool) -> list[_Place]:
    """New places in line that a bundle takes; ``served``: also of whom the plan serves at once."""
    waits = {row.offering_code for row in ground.recorded.waiting.get(bundle.identity, ())}
    codes = {change.offering for change in bundle.changes if _in_line(change, served=served)} - waits
    if not codes:
        return []
    names = {change.mapping for change in bundle.changes} | {mapping for _, mapping in bundle.teams}
    rules = [ground.policy.rules[name] for name in sorted(names) if name in ground.policy.rules]
    return [
        _Place(bundle.subject, code, min(rule.priority for rule in asking), frozenset(rule.team_key for rule in asking))
        for code in sorted(codes)
        if (asking := _asking(rules, code))
    ]


def _in_line(change: Change, *, served: bool) -> bool:
    return (change.kind is Kind.WAIT and not change.before) or (served and change.kind is Kind.ASSIGN_SEAT)


def _asking(rules: Sequence[Rule], code: str) -> list[Rule]:
    return [rule for rule in rules if code in rule.offerings]


def _emptying(plan: Plan, going: Sequence[Bundle], approved: Collection[str], ground: Ground) -> set[str]:
    """Who would leave a Team, mapping or group to nobody, as whoever joins it is outside (G1)."""
    here = {bundle.subject for bundle in going}
    outside = {bundle.subject for bundle in plan.bundles} - here
    counted = [bundle for bundle in going if bundle.harmful and bundle.subject not in approved]
    return emptied(plan, counted, outside, ground.recorded, [])
