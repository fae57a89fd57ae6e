"""Limits on harm: over two sliding windows, per organization, Team and mapping; and nothing goes to zero (G1, R8).

Pure: no I/O, no clock here. People are counted, one kind of harm at a time; harm that somebody approved is not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import msgspec

from connector.reconcile.diff.kept_groups import left
from connector.reconcile.plan.changes import Bundle, Change, Harm, Kind, Plan
from connector.reconcile.plan.recorded import Recorded
from connector.reconcile.plan.settings import LimitSettings
from connector.reconcile.policy.policy import MAPPING, Policy
from ledger.counted import counted
from ledger.identity import IdentityState

ORGANIZATION = "organization"
FREEZE = "freeze"
DOUBT = "doubt"
_SPOKEN = 20
_IDENTITY_LEVEL = frozenset({Harm.DISABLE, Harm.REMOVE})
_ORGANIZATION_ONLY = frozenset({Harm.INVITE, Harm.RENAME, Harm.RELINK})
ENDS_USE = frozenset({Harm.DISABLE, Harm.REMOVE, Harm.LEAVE})

ScopeKey = tuple[str, str]
"""("organization", "") · ("team", Team id) · ("mapping", mapping id) · ("group", kept group's id): only for zero."""


class PastHarm(msgspec.Struct, frozen=True, gc=False):
    """One unapproved harm applied within the last 30 days; ``recent``: within 24 hours."""

    harm: str
    identity: str
    team: str
    mapping: str
    recent: bool


class Windows(msgspec.Struct, frozen=True):
    """What limits are measured against: populations at the start of both windows, and harm since then (G1).

    ``day``: scope → people 24 h ago; ``month``: the organization's people 30 days ago. In an organization younger than
    a window, its people after its first applied run. ``leavers``: identities whose off-boarding was approved; what
    follows from it at its due dates is not new harm (G7). ``frozen``: why no harm at all is applied now, or empty (G3).
    """

    day: Mapping[ScopeKey, int] = {}
    month: int = 0
    past: tuple[PastHarm, ...] = ()
    leavers: frozenset[str] = frozenset()
    frozen: str = ""


class Permit(msgspec.Struct, frozen=True):
    """What approvals let through: change keys; ``everything`` for ``apply --digest`` (the whole plan was seen, G3);
    ``only``: apply nothing but the permitted changes (``approve``). ``despite_freeze``: the keys that go through a
    freeze window too. ``part``: the subjects of a part that is applied alone; None: everybody."""

    keys: frozenset[tuple[str, str, str, str, str, str]] = frozenset()
    everything: bool = False
    only: bool = False
    despite_freeze: frozenset[tuple[str, str, str, str, str, str]] = frozenset()
    part: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Trip:
    """One limit that was exceeded: in ``scope`` (by name) ``harm`` would touch ``people`` of ``population``, and
    touched ``before`` others earlier in ``window``; ``limit`` people are allowed. Window ``zero``: nobody would be
    left. Window ``freeze``: ``scope`` says why no harm is applied now. Window ``doubt``: it says what a person has to
    decide."""

    scope: str
    harm: str
    window: str
    people: int
    before: int
    limit: int
    population: int

    @property
    def text(self) -> str:
        """In words."""
        if self.window == "zero":
            return f"{self.scope} would be left without anybody"
        if self.window == DOUBT:
            return self.scope
        if self.window == FREEZE:
            return f"{self.scope}; {counted(self.people, 'person waits', 'people wait')}"
        earlier = f" after {self.before} earlier" if self.before else ""
        allowed = f"the limit is {self.limit} in {self.window} ({self.population} people there)"
        return f"{self.scope}: {self.harm} of {self.people} people{earlier}; {allowed}"


def reasons(trips: Iterable[Trip]) -> list[str]:
    """Each reason once, in words: kinds of harm that trip one limit alike share it. Of people about whom somebody has
    to decide, the first ones speak for the rest."""
    found: dict[Trip, list[str]] = {}
    for trip in trips:
        found.setdefault(replace(trip, harm=""), []).append(trip.harm)
    unspoken = set([trip for trip in found if trip.window == DOUBT][_SPOKEN:])
    lines = [replace(trip, harm=" and ".join(harms)).text for trip, harms in found.items() if trip not in unspoken]
    return lines + ([f"… and {len(unspoken)} more people like these"] if unspoken else [])


def trips_about(trips: Iterable[Trip], bundles: Collection[Bundle], recorded: Recorded) -> tuple[Trip, ...]:
    """Those of ``trips`` that hold one of ``bundles``."""
    if not bundles:
        return ()
    names, groups = recorded.names(), left(bundles, recorded)
    hurt = {(scope_name(scope, names), change.harm.value) for bundle in bundles for change in bundle.changes
            for scope in scopes_of(bundle, change)}  # fmt: skip
    lost = {scope_name(scope, names) for bundle in bundles for change in bundle.changes
            for scope in _lost(bundle, change, groups)}  # fmt: skip
    named = {"zero": lost, DOUBT: {bundle.doubt for bundle in bundles}}
    return tuple(
        trip for trip in trips
        if trip.window == FREEZE or trip.scope in named.get(trip.window, ()) or (trip.scope, trip.harm) in hurt
    )  # fmt: skip


def scopes_of(bundle: Bundle, change: Change) -> Iterable[ScopeKey]:
    """The scopes in which one change counts."""
    yield (ORGANIZATION, "")
    if change.harm in _ORGANIZATION_ONLY:
        return
    if change.harm in _IDENTITY_LEVEL:
        for team, mapping in bundle.teams:
            yield ("team", team)
            yield ("mapping", mapping)
        return
    if change.team:
        yield ("team", change.team)
    if change.mapping:
        yield ("mapping", change.mapping)


def logged_scopes(bundle: Bundle, change: Change) -> list[tuple[str, str]]:
    """(Team id, mapping id) pairs under which an applied harm is logged; always at least one."""
    if change.harm in _IDENTITY_LEVEL:
        return list(bundle.teams) or [("", "")]
    return [(change.team, change.mapping)]


def day_limit(limits: LimitSettings, scope: ScopeKey, population: int) -> int:
    """People that one kind of harm may touch in 24 hours."""
    if scope[0] == ORGANIZATION:
        return min(max(limits.day_floor, population * limits.day_percent // 100), limits.day_ceiling)
    return max(limits.team_day_floor, population * limits.team_day_percent // 100)


def scope_name(scope: ScopeKey, names: Mapping[str, str]) -> str:
    """``organization``, ``Team Design``, ``mapping design``, ``group design``; ``names``: by Team or group id."""
    kind, key = scope
    if kind == ORGANIZATION:
        return ORGANIZATION
    return f"mapping {key}" if kind == "mapping" else f"{kind.replace('team', 'Team')} {names.get(key, key)}"


def exceeded(
    counted: list[Bundle], recorded: Recorded, policy: Policy, windows: Windows
) -> tuple[set[tuple[ScopeKey, Harm]], list[Trip]]:
    """Which scope and kind of harm is over a limit (G1), and each limit that was tripped, for the message."""
    planned: dict[tuple[ScopeKey, Harm], set[str]] = {}
    for bundle in counted:
        who = bundle.identity or bundle.subject
        for change in bundle.changes:
            if change.harm:
                for scope in scopes_of(bundle, change):
                    planned.setdefault((scope, change.harm), set()).add(who)
    names = recorded.team_names()
    base = _Populations(recorded, windows, {scope for scope, _ in planned})
    tripped: set[tuple[ScopeKey, Harm]] = set()
    trips: list[Trip] = []
    for (scope, harm), people in sorted(planned.items()):
        title = scope_name(scope, names)
        limits = policy.limits_of(scope[1]) if scope[0] == "mapping" else policy.limits
        start = base.of(scope, windows.day.get(scope, 0), recent=True)
        checks = [("24 hours", day_limit(limits, scope, start), start, True)]
        if scope[0] == ORGANIZATION and harm is not Harm.INVITE:
            start = base.of(scope, windows.month, recent=False)
            month = max(limits.day_floor, start * limits.month_percent // 100)
            checks.append(("30 days", month, start, False))
        for window, limit, population, recent in checks:
            before = _past(windows.past, scope, harm, recent) - people
            if len(people) + len(before) > limit:
                tripped.add((scope, harm))
                trips.append(Trip(title, harm.value, window, len(people), len(before), limit, population))
    return tripped, trips


class _Populations:
    """Denominators: the people at a window's start, without those an approval has taken out since. Otherwise approved
    harm, itself not counted, would leave a limit as wide as the organization once was for the few who are left."""

    def __init__(self, recorded: Recorded, windows: Windows, scopes: set[ScopeKey]) -> None:
        self._past = windows.past
        self._elsewhere = recorded.elsewhere.active
        self._active = _active(recorded, scopes)
        if (ORGANIZATION, "") in scopes:
            everybody = recorded.identities.values()
            self._active[ORGANIZATION, ""] = {row.id for row in everybody if row.state == IdentityState.ACTIVE}

    def of(self, scope: ScopeKey, start: int, *, recent: bool) -> int:
        disabled, left, removed = (
            _past(self._past, place, harm, recent)
            for place, harm in ((scope, Harm.DISABLE), (scope, Harm.LEAVE), ((ORGANIZATION, ""), Harm.REMOVE))
        )
        left = disabled | (left - removed)  # who is removed was disabled first: before the window, they were not there
        return min(start, len(self._active[scope] | left) + self._elsewhere.get(scope, 0))


def _past(past: Collection[PastHarm], scope: ScopeKey, harm: Harm, recent: bool) -> set[str]:
    matches: dict[str, Callable[[PastHarm], bool]] = {
        ORGANIZATION: lambda item: True,
        "team": lambda item: item.team == scope[1],
        "mapping": lambda item: item.mapping == scope[1],
    }
    fits = matches[scope[0]]
    return {item.identity for item in past if item.harm == harm and (item.recent or not recent) and fits(item)}


def emptied(plan: Plan, counted: list[Bundle], held: set[str], recorded: Recorded, trips: list[Trip]) -> set[str]:
    """Subjects held because a Team, mapping or kept group would be left with nobody active (G1, R8); grows to a fixed
    point."""
    groups = left(plan.bundles, recorded)
    touched = {
        scope
        for bundle in counted
        for change in bundle.changes
        for scope in _lost(bundle, change, groups)
        if scope[0] != ORGANIZATION
    }
    if not touched:
        return set()
    before = _active(recorded, touched)
    names = recorded.names()
    extra: set[str] = set()
    reported: set[ScopeKey] = set()
    while True:
        stays = _after(plan, held | extra, groups, before)
        empty = {scope for scope in touched if before[scope] and not stays[scope]} - reported
        empty -= {scope for scope in empty if recorded.elsewhere.active.get(scope)}
        if not empty:
            return extra
        for scope in sorted(empty):
            title = scope_name(scope, names)
            trips.append(Trip(title, "leave", "zero", len(before[scope]), 0, 0, len(before[scope])))
        reported |= empty
        for bundle in counted:
            if any(scope in empty for change in bundle.changes for scope in _lost(bundle, change, groups)):
                extra.add(bundle.subject)


def ends_use(change: Change) -> bool:
    """Whether somebody no longer uses a Team; who only loses a role there, or leaves a group, still does."""
    return change.harm in ENDS_USE and change.kind not in {Kind.END_ROLE, Kind.LEAVE_GROUP}


def _lost(bundle: Bundle, change: Change, groups: Mapping[str, str]) -> Iterable[ScopeKey]:
    """The scopes whose use one change ends; ``groups``: row id → group id of the memberships that end."""
    if change.kind is Kind.LEAVE_GROUP:
        return [("group", groups[change.ref])]
    return scopes_of(bundle, change) if ends_use(change) else ()


def _active(recorded: Recorded, touched: set[ScopeKey]) -> dict[ScopeKey, set[str]]:
    """Who uses each touched scope now: active identities with a membership there."""
    found: dict[ScopeKey, set[str]] = {scope: set() for scope in touched}
    for identity_id, rows in recorded.memberships.items():
        identity = recorded.identities.get(identity_id)
        if identity is None or identity.state != IdentityState.ACTIVE:
            continue
        for row in rows:
            mapping = row.provenance[len(MAPPING) :] if row.provenance.startswith(MAPPING) else ""
            for scope in (("team", row.team_id), ("mapping", mapping)):
                if scope in found:
                    found[scope].add(identity_id)
    for identity_id, members in recorded.group_members.items() if any(kind == "group" for kind, _ in touched) else ():
        identity = recorded.identities.get(identity_id)
        if identity is not None and identity.state == IdentityState.ACTIVE:
            for member in members:
                found.get(("group", member.group_id), set()).add(identity_id)
    return found


def _after(
    plan: Plan, held: set[str], groups: Mapping[str, str], before: Mapping[ScopeKey, set[str]]
) -> dict[ScopeKey, set[str]]:
    stays = {scope: set(people) for scope, people in before.items()}
    for bundle in plan.bundles:
        if bundle.subject in held:
            continue
        who = bundle.identity or bundle.subject
        for change in bundle.changes:
            for scope in _lost(bundle, change, groups):
                stays.get(scope, set()).discard(who)
            if change.kind is Kind.END_GRANT:
                stays.get(("mapping", change.mapping), set()).discard(who)
            elif change.kind is Kind.JOIN_GROUP:
                stays.get(("group", change.ref), set()).add(who)
            elif change.kind is Kind.JOIN_TEAM:
                for scope in (("team", change.team), ("mapping", change.mapping)):
                    stays.get(scope, set()).add(who)
            elif change.kind is Kind.REINSTATE and not change.object:
                for scope in (
                    pair for team, mapping in bundle.teams for pair in (("team", team), ("mapping", mapping))
                ):
                    stays.get(scope, set()).add(who)
    return stays
