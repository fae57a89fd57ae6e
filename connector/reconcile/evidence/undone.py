"""What an undo took back does not come back by itself (E14). Pure: no I/O, no clock here.

A mark names a person and what was taken back: that they were off-boarded, or the end of a mapping's membership. It
counts until the same is approved, the directory shows the opposite once, or the rule that did it is another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b

from connector.reconcile.plan.changes import Change, Kind
from connector.reconcile.policy.policy import Policy

OFF, LEAVE = "off", "leave"

Mark = tuple[str, str]
"""(kind, mapping id)."""


def marks_of(changes: Iterable[Change]) -> set[Mark]:
    """The marks that stand against these changes of one person."""
    found = {(LEAVE, change.mapping) for change in changes if change.kind is Kind.LEAVE_TEAM}
    return found | {(OFF, "") for change in changes if change.kind is Kind.DISABLE_IDENTITY}


def taken_back(changes: Iterable[Change], policy: Policy) -> dict[Mark, str]:
    """The marks that an undo leaves, with the rule that did it; ``changes``: what the undo restores of one person."""
    found = {(LEAVE, c.mapping) for c in changes if c.kind is Kind.JOIN_TEAM and c.mapping in policy.rules}
    found |= {(OFF, "") for c in changes if c.kind is Kind.REINSTATE and not c.object}
    return {mark: rule_mark(policy, mark) for mark in found}


def rule_mark(policy: Policy, mark: Mark) -> str:
    """Changes with the rule that would do it again."""
    rule: object = policy.offboarding if mark[0] == OFF else policy.rules.get(mark[1])
    return blake2b(repr(rule).encode(), digest_size=8).hexdigest()


def standing(held: Mapping[Mark, str], changes: Iterable[Change], policy: Policy) -> bool:
    """Whether any of these changes was taken back before, by the rule that makes it now."""
    return any(held.get(mark) == rule_mark(policy, mark) for mark in marks_of(changes))
