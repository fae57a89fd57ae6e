"""When so many are kept only by doubt that the reading itself is what is doubted (E13). Pure: no I/O, no clock here.

Somebody absent of whom a group still shows a name, or whose group is missing, is kept by doubt. A few such people have
been renamed or deleted without their groups being told; many at once mean that the directory showed a part of its
people.
"""

from __future__ import annotations

from collections.abc import Iterable

from connector.reconcile.plan.changes import DOUBT, READING_DOUBTED, Problem
from connector.reconcile.policy.policy import Policy

_SINGLE = frozenset({DOUBT, "unresolved"})
"""Notes about single names, which would be taken for the reason."""


def folded(problems: Iterable[Problem], population: int, policy: Policy) -> tuple[Problem, ...]:
    """The problems of a run; where the reading is doubted, one that says so in place of the single doubts.

    ``population``: people who have access now.
    """
    found = tuple(sorted(problems))
    who = {subject for problem in found if problem.code == DOUBT for subject in problem.subjects}
    if len(who) <= max(policy.doubt_floor, population * policy.doubt_percent // 100):
        return found
    text = (
        f"{len(who)} of {population} people are not shown, while groups still list them or are missing: the reading is"
        " doubted, not these people; nobody leaves for absence because of it. See what the directory shows with"
        " `rosterd check --live`"
    )
    rest = [problem for problem in found if problem.code not in _SINGLE]
    return tuple(sorted([*rest, Problem(READING_DOUBTED, text)]))
