"""Changes in people's words, and how many there are by Team and kind (P1). Pure: strings out, no I/O here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from connector.reconcile.plan.changes import ORDER, REMOVALS, Bundle, Change, Harm, Kind
from connector.reconcile.plan.words import people, some

_NO_TEAM = "(no Team)"
_CAUSES = 2


@dataclass(frozen=True, slots=True)
class Group:
    """How many people one kind of change concerns in one Team; ``held``: how many of them wait."""

    team: str
    kind: str
    offering: str
    people: int
    held: int

    @property
    def what(self) -> str:
        """``AssignSeat CAD``."""
        return f"{self.kind} {self.offering}".rstrip()


def team_of(change: Change) -> str:
    """The Team a change happens in, by name; empty for what concerns the whole person."""
    if change.kind is Kind.MOVE_SEAT:
        return change.after
    if change.offering:
        return change.object.partition(" @ ")[2]
    return change.object if change.team else ""


def grouped(bundles: Iterable[Bundle], held: Iterable[Bundle]) -> list[Group]:
    """By Team (whole-person changes last), then by kind in the order of ``Kind``, then by offering."""
    found: dict[tuple[str, Kind, str], set[str]] = {}
    for bundle in bundles:
        for change in bundle.changes:
            found.setdefault((team_of(change), change.kind, change.offering), set()).add(bundle.subject)
    waiting: dict[tuple[str, Kind, str], set[str]] = {}
    for bundle in held:
        for change in bundle.changes:
            waiting.setdefault((team_of(change), change.kind, change.offering), set()).add(bundle.subject)
    keys = sorted(found, key=lambda key: (not key[0], key[0], ORDER[key[1]], key[2]))
    return [
        Group(team or _NO_TEAM, kind.value, offering, len(found[key]), len(waiting.get(key, ())))
        for key in keys
        for team, kind, offering in (key,)
    ]


def in_words(change: Change) -> str:
    """What one change does to its person: ``gives back CAD @ Site``."""
    if change.kind is Kind.REINSTATE:
        return f"has {change.object} back" if change.object else "is active again"
    if change.kind is Kind.UPDATE_IDENTITY:
        return f"{change.object}: {change.before or '·'} → {change.after or '·'}"
    if change.kind is Kind.MOVE_SEAT:
        return f"{change.object} moves from Team {change.before} to Team {change.after}"
    if change.kind is Kind.WAIT:
        return f"no longer waits for {change.object}" if change.before else f"waits for {change.object}"
    return _WORDS[change.kind].format(object=change.object, after=change.after.replace("_", " "))


_WORDS = {
    Kind.INVITE: "is invited",
    Kind.RELINK_ANCHOR: "is recognised under another entry",
    Kind.ADOPT_GRANT: "{object} is adopted",
    Kind.JOIN_TEAM: "joins Team {object}",
    Kind.LEAVE_TEAM: "leaves Team {object}",
    Kind.ASSIGN_SEAT: "gets a seat of {object}",
    Kind.ADD_GRANT: "has one more reason for {object}",
    Kind.END_GRANT: "has one reason less for {object}",
    Kind.PAUSE_SEAT: "seat of {object} pauses",
    Kind.RELEASE_SEAT: "gives back {object}",
    Kind.DISABLE_IDENTITY: "becomes {after}",
    Kind.REMOVE_IDENTITY: "is removed",
    Kind.JOIN_GROUP: "joins group {object}",
    Kind.LEAVE_GROUP: "leaves group {object}",
    Kind.GRANT_ROLE: "becomes {after} of {object}",
    Kind.END_ROLE: "is no longer an admin of {object}",
}


def person_line(bundle: Bundle, *, held: bool) -> str:
    """One person: what happens, and why."""
    what = ", ".join(in_words(change) for change in bundle.changes)
    causes = list(dict.fromkeys(change.cause for change in bundle.changes if change.cause))
    why = f" (because: {some(causes, _CAUSES)})" if causes else ""
    return f"{'held  ' if held else '      '}{bundle.subject}: {what}{why}"


def headline(bundles: Iterable[Bundle]) -> str:
    """How many people what happens to, each person once, the worst first: ``37 people lose something, …``."""
    found: dict[str, int] = {}
    for bundle in bundles:
        word = _fate(bundle)
        found[word] = found.get(word, 0) + 1
    said = [f"{people(found[word])} {one if found[word] == 1 else many}" for word, one, many in _FATES if word in found]
    return ", ".join(said)


_FATES = (
    ("lose", "loses something", "lose something"),
    ("invite", "is invited", "are invited"),
    ("rename", "gets a new mail address", "get a new mail address"),
    ("relink", "is recognised under another entry", "are recognised under another entry"),
    ("gain", "gains something", "gain something"),
    ("wait", "waits for a seat", "wait for a seat"),
    ("change", "changes without gain or loss", "change without gain or loss"),
)
_GAINS = frozenset({Kind.REINSTATE, Kind.JOIN_TEAM, Kind.ASSIGN_SEAT, Kind.JOIN_GROUP, Kind.GRANT_ROLE})


def _fate(bundle: Bundle) -> str:
    harms = {change.harm for change in bundle.changes}
    if harms & REMOVALS:
        return "lose"
    for harm in (Harm.INVITE, Harm.RENAME, Harm.RELINK):
        if harm in harms:
            return harm.value
    if any(change.kind in _GAINS for change in bundle.changes):
        return "gain"
    return "wait" if any(change.kind is Kind.WAIT and not change.before for change in bundle.changes) else "change"
