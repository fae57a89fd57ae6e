"""The guard: splits a plan into what may be applied and what must wait for a named approval (G1, G2, G4, G7).

Pure: no I/O, no clock here. A limit that trips (``limits``) holds every unapproved change of that kind in that scope,
whole bundles at a time, and every seat that counts on a held one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import msgspec

from connector.reconcile.desired.ground import Ground
from connector.reconcile.diff.diff import Draft
from connector.reconcile.diff.roles import last_owners, protected_admins
from connector.reconcile.diff.seat_pools import Allocation, PoolKey
from connector.reconcile.guard import address_swaps
from connector.reconcile.guard.limits import (
    DOUBT,
    FREEZE,
    Permit,
    Trip,
    Windows,
    emptied,
    exceeded,
    scopes_of,
    trips_about,
)
from connector.reconcile.guard.part import need_others
from connector.reconcile.plan.changes import (
    PROTECTED,
    Bundle,
    Change,
    Harm,
    Kind,
    Plan,
    Problem,
    count_kinds,
    digest_of,
)
from connector.reconcile.plan.freeze import stands_still
from connector.reconcile.plan.settings import OnHeld

_FOLLOWS = frozenset({Harm.PAUSE, Harm.RELEASE, Harm.LEAVE, Harm.REMOVE})
_UNLIMITED_FOR_PROTECTED = frozenset({Harm.NONE, Harm.INVITE, Harm.RENAME})


class HeldPart(msgspec.Struct, frozen=True):
    """Changes that wait for one approval. ``digest``: SHA-256 that names exactly them."""

    bundles: tuple[Bundle, ...]
    digest: str

    @property
    def counts(self) -> Mapping[str, int]:
        """By kind."""
        return count_kinds(self.bundles)


@dataclass(frozen=True)
class Guarded:
    """What goes and what waits. ``approved``: subjects whose harm an approval let through. Of a part that is applied
    alone also ``needing``: subject → why they wait for others, and ``beside``: how many people are not in it."""

    policy_hash: str
    allowed: tuple[Bundle, ...]
    held: tuple[Bundle, ...]
    trips: tuple[Trip, ...] = ()
    approved: frozenset[str] = field(default_factory=frozenset)
    needing: Mapping[str, str] = field(default_factory=dict)
    beside: int = 0

    @cached_property
    def parts(self) -> tuple[HeldPart, ...]:
        """What waits, by what it waits for: limits or a freeze first, then what a person decides whatever they allow
        (E6, E14, E15): approving the one approves nothing of the other. A seat goes with whoever gives it back."""
        apart = [b for b in self.held if not b.doubt], [b for b in self.held if b.doubt]
        if apart[1] and not any(bundle.harmful for bundle in apart[0]):
            apart = [], list(self.held)
        return tuple(
            HeldPart(tuple(part), digest_of((c for b in part for c in b.changes), "held:" + self.policy_hash))
            for part in apart
            if part
        )

    @property
    def held_digest(self) -> str:
        """Of the first part; empty when nothing is held."""
        return self.parts[0].digest if self.held else ""

    def trips_of(self, part: HeldPart) -> list[Trip]:
        """Why this part waits."""
        decided = any(bundle.doubt for bundle in part.bundles)
        return [trip for trip in self.trips if trip.window == FREEZE or (trip.window == DOUBT) is decided]

    @cached_property
    def held_counts(self) -> Mapping[str, int]:
        """Held changes by kind."""
        return count_kinds(self.held)

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """Allowed changes by kind."""
        return count_kinds(self.allowed)


def protect(plan: Plan, ground: Ground) -> Plan:
    """The plan without what would harm protected principals (G4): skipped and reported, the rest goes on."""
    recorded, policy = ground.recorded, ground.policy
    protected = {row.id for row in recorded.identities.values() if row.mail_key in policy.protected}
    protected |= {next(iter(owners)) for owners in recorded.primary_admins.values() if len(owners) == 1}
    protected |= last_owners(plan, recorded)
    if policy.protect_admins:
        protected |= protected_admins(plan, recorded)
    kept: list[Bundle] = []
    spared: dict[str, str] = {}
    for bundle in plan.bundles:
        if bundle.identity in protected and any(c.harm not in _UNLIMITED_FOR_PROTECTED for c in bundle.changes):
            spared[bundle.identity] = bundle.subject
        else:
            kept.append(bundle)
    if not spared:
        return plan
    # with a new fingerprint the next run would take their entries for settled and no longer report them
    prints = tuple(row for row in plan.notes.fingerprints if row[1] not in spared)
    notes = msgspec.structs.replace(plan.notes, fingerprints=prints)
    problems = tuple(sorted((*plan.problems, Problem("protected", PROTECTED, tuple(spared.values())))))
    return Plan(plan.policy_hash, tuple(kept), problems, plan.scopes, notes)


def guard(draft: Draft, ground: Ground, windows: Windows, permit: Permit) -> Guarded:
    """Split the plan of ``draft``; deterministic, and independent of the order of its input."""
    plan, recorded, policy = draft.plan, ground.recorded, ground.policy
    if permit.only:
        plan = _only(plan, permit)
    still = _frozen(plan, windows, permit)
    harmful = [bundle for bundle in plan.bundles if bundle.harmful]
    barred = {b.subject for b in harmful if not (_permitted(b, permit) or _follows(b, windows))}
    # a newcomer may have the address that somebody else is leaving: then both bundles have one subject
    approved = {bundle.subject for bundle in harmful} - barred - still
    spared = approved | still
    counted = [b for b in harmful if b.subject not in spared and not b.doubt and not _asked_later(b, permit)]
    tripped, trips = exceeded(counted, recorded, policy, windows)
    held = {b.subject for b in counted if any((s, c.harm) in tripped for c in b.changes for s in scopes_of(b, c))}
    doubtful = [b for b in plan.bundles if b.doubt and b.subject not in approved and not _named(b, permit)]
    doubtful.sort(key=lambda bundle: (bundle.identity not in recorded.admins, bundle.subject))
    trips += [Trip(bundle.doubt, Harm.RELINK.value, DOUBT, 1, 0, 0, 0) for bundle in doubtful]
    held |= {bundle.subject for bundle in doubtful}
    held |= emptied(plan, counted, held | still, recorded, trips) | still
    if still:
        trips.insert(0, Trip(windows.frozen, "harm", FREEZE, len(still), 0, 0, 0))
    others = {bundle.subject for bundle in draft.plan.bundles} - {bundle.subject for bundle in plan.bundles}
    allowed, waiting = _split(plan, held, draft.allocation, others if permit.only else None)
    allowed, taking = address_swaps.apart(allowed, recorded)
    waiting = tuple(sorted((*waiting, *taking), key=lambda bundle: bundle.subject)) if taking else waiting
    if waiting and policy.limits.on_held is OnHeld.APPLY_NOTHING and not permit.only:
        allowed = tuple(bundle for bundle in allowed if bundle.subject in approved)
    whole = Guarded(plan.policy_hash, allowed, waiting, tuple(trips), frozenset(approved))
    return whole if permit.part is None else _part(whole, draft, ground, permit.part)


def _asked_later(bundle: Bundle, permit: Permit) -> bool:
    """Whether somebody outside a part would only be invited: nobody loses anything by it, and it is not done now."""
    outside = permit.part is not None and bundle.subject not in permit.part
    return outside and {change.harm for change in bundle.changes} <= {Harm.NONE, Harm.INVITE}


def _part(whole: Guarded, draft: Draft, ground: Ground, part: frozenset[str]) -> Guarded:
    """What of the ``whole`` goes where only these people's changes are applied."""
    needing = need_others(draft, whole.allowed, whole.approved, ground, part)
    going = tuple(b for b in whole.allowed if b.subject in part and b.subject not in needing)
    held = tuple(bundle for bundle in whole.held if bundle.subject in part)
    trips = trips_about(whole.trips, held, ground.recorded)
    beside = len({bundle.subject for bundle in draft.plan.bundles} - part)
    return Guarded(whole.policy_hash, going, held, trips, whole.approved, needing, beside)


def _only(plan: Plan, permit: Permit) -> Plan:
    bundles = []
    for bundle in plan.bundles:
        changes = tuple(change for change in bundle.changes if change.key in permit.keys)
        whole = all(change.key in permit.keys for change in _inseparable(bundle))
        if changes and whole:
            bundles.append(msgspec.structs.replace(bundle, changes=changes))
    return Plan(plan.policy_hash, tuple(bundles), plan.problems, plan.scopes, plan.notes)


def _frozen(plan: Plan, windows: Windows, permit: Permit) -> set[str]:
    """Whom a freeze window holds: approved or not, unless the approval says so by name (G3)."""
    if not windows.frozen:
        return set()
    return {
        bundle.subject
        for bundle in plan.bundles
        if stands_still(bundle)
        and not all(change.key in permit.despite_freeze for change in bundle.changes if change.harm)
    }


def _follows(bundle: Bundle, windows: Windows) -> bool:
    """Whether all harm only follows, at its due dates, from an off-boarding that was approved (G7): counted then."""
    harms = {change.harm for change in bundle.changes if change.harm}
    return bundle.identity in windows.leavers and harms <= _FOLLOWS


def _inseparable(bundle: Bundle) -> list[Change]:
    """What must be named for any of the bundle to go: all that hurts, and where reasons for a seat end, those that take
    their place, lest a seat be left with no reason, or with one whose membership ended (P3)."""
    swaps = any(change.kind is Kind.END_GRANT for change in bundle.changes)
    return [c for c in bundle.changes if c.harm or (swaps and c.kind in {Kind.END_GRANT, Kind.ADD_GRANT})]


def _permitted(bundle: Bundle, permit: Permit) -> bool:
    return permit.everything or all(change.key in permit.keys for change in bundle.changes if change.harm)


def _named(bundle: Bundle, permit: Permit) -> bool:
    """Whether a bundle that hurts nobody (somebody is let in again) is approved, every change by name."""
    named = permit.everything or all(change.key in permit.keys for change in bundle.changes)
    return named and not bundle.harmful


def _split(
    plan: Plan, held: set[str], allocation: Allocation, others: set[str] | None
) -> tuple[tuple[Bundle, ...], tuple[Bundle, ...]]:
    """Whole bundles wait; of the others, only the seats that count on a seat which is still held (P2). ``others``: whom
    an approval does not name; whoever of them comes before keeps their seat."""
    if not held and len(plan.bundles) == allocation.bundles and others is None:
        return plan.bundles, ()
    free = dict(allocation.free)
    for bundle in plan.bundles:
        if bundle.subject not in held:
            for change in bundle.changes:
                if change.kind is Kind.RELEASE_SEAT and (change.team, change.offering) in free:
                    free[change.team, change.offering] += 1
    unserved: set[tuple[str, PoolKey]] = set()
    present = {(b.subject, c.team, c.offering) for b in plan.bundles for c in b.changes
               if c.kind in {Kind.ASSIGN_SEAT, Kind.MOVE_SEAT}}  # fmt: skip
    for served in allocation.served:
        named = served.subject not in held and (served.subject, *served.pool) in present
        if not named and served.subject not in (others or ()):
            continue
        if free.get(served.pool, 0) > 0:
            free[served.pool] -= 1
            if named and served.frees in free:
                free[served.frees] += 1
        elif named:
            unserved.add((served.subject, served.pool))
    return _waiting_apart(plan, held, unserved)


def _waiting_apart(
    plan: Plan, held: set[str], unserved: set[tuple[str, PoolKey]]
) -> tuple[tuple[Bundle, ...], tuple[Bundle, ...]]:
    codes: dict[str, set[str]] = {}
    for subject, (_, code) in unserved:
        codes.setdefault(subject, set()).add(code)
    allowed: list[Bundle] = []
    waiting: list[Bundle] = []
    for bundle in plan.bundles:
        if bundle.subject in held:
            waiting.append(bundle)
        elif bundle.subject not in codes:
            allowed.append(bundle)
        else:
            later = tuple(c for c in bundle.changes if _seat_change(c) and c.offering in codes[bundle.subject])
            now = tuple(c for c in bundle.changes if c not in later)
            if now:
                allowed.append(msgspec.structs.replace(bundle, changes=now))
            waiting.append(msgspec.structs.replace(bundle, changes=later))
    return tuple(allowed), tuple(waiting)


def _seat_change(change: Change) -> bool:
    return change.kind in {Kind.ASSIGN_SEAT, Kind.MOVE_SEAT} or (change.kind is Kind.ADD_GRANT and not change.ref)
