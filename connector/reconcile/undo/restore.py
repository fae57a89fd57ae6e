"""What an undo restores, from the rows a run began and ended and the rows that are open now (A3). Pure: no I/O here.

A row the run began and that is still open is ended; a row the run ended comes back, unless somebody changed the same
thing since: that is kept and named. A seat comes back only where its pool still has room; otherwise its holder waits,
first in line. Which reasons for a seat outlive the undo is said by ``Reasons``: a seat that somebody signed in to, or
that a later run or a hand gave a reason for, stays with its membership; a seat that was released comes back only where
a reason for it holds again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from connector.reconcile.diff.roles import EVERYWHERE
from connector.reconcile.diff.seat_pools import PoolKey
from connector.reconcile.evidence.judge import removal, ruled
from connector.reconcile.plan.changes import PROTECTED, Change, Harm, Kind, Problem
from connector.reconcile.policy.policy import MAPPING
from ledger.identity import MANUAL, IdentityState
from ledger.seat import SeatState

FIRST_IN_LINE = -1
"""Waitlist priority of somebody whose seat could not be restored."""

KEYS: dict[str, Callable[[Any], tuple[str, ...]]] = {
    "identity": lambda row: (row.id,),
    "links": lambda row: (row.kind, row.source_id, row.anchor),
    "memberships": lambda row: (row.identity_id, row.team_id, row.provenance),
    "seats": lambda row: (row.id,),
    "grants": lambda row: (row.seat_id, row.provenance, row.team_id),
    "waiting": lambda row: (row.identity_id, row.team_id, row.offering_code, row.provenance),
    "roles": lambda row: (row.identity_id, row.role, row.team_id),
    "groups": lambda row: (row.identity_id, row.group_id),
}
"""What makes two rows of a table the same thing at different times."""


@dataclass(frozen=True, slots=True)
class Touched:
    """Rows by table: what the run began or ended (``rows``), and what is open now about the same people (``open``)."""

    run_id: str
    rows: Mapping[str, Sequence[Any]]
    open: Mapping[str, Sequence[Any]]
    team_names: Mapping[str, str]
    free: Mapping[PoolKey, int]
    frozen: Callable[[str], str]
    """Why the person with a mail key may not be changed now; empty when they may."""
    group_names: Mapping[str, str] = field(default_factory=dict)
    """Kept groups by id."""
    protected: Collection[str] = ()
    """Mail keys of whom ``[sync] protected`` names."""


@dataclass(slots=True)
class Restoration:
    """What to end (row ids) and begin (old rows with replaced values) by table, in words, and what is kept."""

    end: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in KEYS})
    begin: dict[str, list[tuple[Any, dict[str, Any]]]] = field(default_factory=lambda: {name: [] for name in KEYS})
    changes: list[tuple[str, Change]] = field(default_factory=list)
    kept: list[Problem] = field(default_factory=list)
    waiting: list[tuple[str, str, str]] = field(default_factory=list)
    """(identity, Team id, offering) of people whose seat cannot come back."""

    @property
    def people(self) -> list[str]:
        """Identities it changes, each once."""
        return sorted({identity for identity, _ in self.changes})


def bundled(changes: Iterable[tuple[str, Change]]) -> dict[str, list[Change]]:
    """Changes by identity."""
    found: dict[str, list[Change]] = {}
    for identity, change in changes:
        found.setdefault(identity, []).append(change)
    return found


_REMOVED = IdentityState.REMOVED.value

Member = tuple[str, str]
"""(identity, provenance) of a membership."""


@dataclass(frozen=True, slots=True)
class Reasons:
    """Grant rows around the undo of ``run_id``: ``touched`` by it, ``open`` now. ``kept_seats``: changed since, so
    they stay as they are. ``assigned``: seats the run assigned, which go with it."""

    run_id: str
    touched: Sequence[Any]
    open: Sequence[Any]
    kept_seats: Collection[str]
    assigned: Collection[str]

    def last(self, grant: Any) -> bool:
        """Whether an open reason stays: not the run's, or of a seat that stays and has no other reason by now."""
        if grant.run_id != self.run_id or grant.seat_id in self.kept_seats:
            return True
        if grant.seat_id in self.assigned:
            return False
        others = [row for row in self.open if row.seat_id == grant.seat_id and row.run_id != self.run_id]
        others += [row for row in self.touched if row.seat_id == grant.seat_id and row.ended_run == self.run_id]
        return not others

    def others(self, seat_id: str) -> bool:
        """Whether something the run did not give holds a seat it assigned."""
        return any(row.seat_id == seat_id and self.last(row) for row in self.open)

    def hold_through(self, membership: Any) -> bool:
        """Whether a seat that stays is held through this membership."""
        whose = (membership.identity_id, membership.provenance)
        return any((row.identity_id, row.provenance) == whose and self.last(row) for row in self.open)

    def again(self, seat_id: str, members: Collection[Member]) -> bool:
        """Whether a reason for a seat the run released holds again: who left since does not get it back."""
        ended = (row for row in self.touched if row.ended_run == self.run_id and row.seat_id == seat_id)
        return any(stands(row, members) for row in ended)


def stands(grant: Any, members: Collection[Member]) -> bool:
    """Whether a reason is given by hand, or its membership holds."""
    return not grant.provenance.startswith(MAPPING) or (grant.identity_id, grant.provenance) in members


def restore(touched: Touched) -> Restoration:
    """The whole restoration; empty when nothing of the run is left to undo."""
    return _Work(touched).run()


class _Work:
    def __init__(self, touched: Touched) -> None:
        self.touched = touched
        self.out = Restoration()
        self.free = dict(touched.free)
        rows = [*touched.open["identity"], *touched.rows["identity"]]
        self.mails = {row.id: row.mail_key for row in reversed(rows)}
        self.skip = {identity for identity in self.mails if self._frozen(identity)}
        self.open_now = {name: {KEYS[name](row): row for row in touched.open[name]} for name in KEYS}
        self.gone_seats: set[str] = set()
        self.removed: set[str] = set()
        begun, ended = self._mine("identity")
        self.invited = {key[0] for key in begun.keys() - ended.keys()}
        self.skip |= {identity for identity in sorted(self.invited - self.skip) if self._protected(identity)}
        self.members = {(row.identity_id, row.team_id) for row in touched.open["memberships"]}
        given = (row for row in touched.rows["memberships"] if row.ended_run == touched.run_id)
        self.adopted = {(row.identity_id, row.team_id) for row in given if row.provenance == MANUAL}
        changed, now = self._mine("seats")[0], self.open_now["seats"]
        kept = frozenset(row.id for key, row in changed.items() if key in now and now[key].row_id != row.row_id)
        assigned = frozenset(row.id for key, row in changed.items() if key not in self._mine("seats")[1])
        self.reasons = Reasons(touched.run_id, touched.rows["grants"], touched.open["grants"], kept, assigned)

    def _frozen(self, identity: str) -> bool:
        why = self.touched.frozen(self.mails[identity])
        if why:
            self.out.kept.append(Problem("frozen", why, (self.mails[identity],)))
        return bool(why)

    def _protected(self, identity: str) -> bool:
        """Whether the undo would remove whom no plan may harm (G4): listed, or an admin by more than this run."""
        roles = (row for row in self.touched.open["roles"] if row.run_id != self.touched.run_id)
        found = self.mails[identity] in self.touched.protected or identity in {row.identity_id for row in roles}
        if found:
            self.out.kept.append(Problem("protected", PROTECTED, (self.mails[identity],)))
        return found

    def run(self) -> Restoration:
        for name in ("identity", "links", "memberships", "waiting", "seats", "grants", "roles", "groups"):
            begun, ended = self._mine(name)
            keys = sorted(begun.keys() | ended.keys())
            found = [(begun.get(key), ended.get(key)) for key in keys if self._free_to_change(name, key, begun, ended)]
            found = [pair for pair in found if not self._of_the_removed(name, *pair)]
            if name == "seats":
                self._seats(found)
                continue
            for before, after in found:
                _RESTORE[name](self, _person_of(name, before or after), before, after)
            if name == "identity":
                self._leave_the_removed()
        self._nobody_waits_for_what_they_have()
        return self.out

    def _mine(self, name: str) -> tuple[dict[tuple[str, ...], Any], dict[tuple[str, ...], Any]]:
        """By key: the last row the run began (and did not end itself), the row it ended that was there before."""
        run_id, key = self.touched.run_id, KEYS[name]
        begun = {key(row): row for row in self.touched.rows[name] if row.run_id == run_id and row.ended_run != run_id}
        ended = {key(row): row for row in self.touched.rows[name] if row.ended_run == run_id and row.run_id != run_id}
        return begun, ended

    def _free_to_change(
        self, name: str, key: tuple[str, ...], begun: Mapping[Any, Any], ended: Mapping[Any, Any]
    ) -> bool:
        """Whether nobody changed this thing since, and its person is not frozen."""
        mine = begun.get(key)
        row = mine or ended[key]
        identity = _person_of(name, row)
        if identity in self.skip:
            return False
        now = self.open_now[name].get(key)
        if (mine is None or mine.valid_to is None) and (
            now is None or (mine is not None and now.row_id == mine.row_id)
        ):
            return True
        if name in {"identity", "memberships", "seats"}:
            self._keep(name, identity, row)
        return False

    def _leave_the_removed(self) -> None:
        """Whoever was removed since the run, and is not brought back here, gets nothing back either."""
        back = {row.id for row, values in self.out.begin["identity"] if values.get("state", row.state) != _REMOVED}
        self.removed = {row.id for row in self.touched.open["identity"] if row.state == _REMOVED} - back

    def _of_the_removed(self, name: str, begun: Any, ended: Any) -> bool:
        if begun is not None or _person_of(name, ended) not in self.removed:
            return False
        if name in {"memberships", "seats"}:
            self._keep(name, ended.identity_id, ended)
        return True

    def _keep(self, name: str, identity: str, row: Any) -> None:
        what = {"identity": "person", "memberships": "membership", "seats": "seat"}[name]
        text = f"{what} was changed after the run: kept"
        problem = Problem("edited-since", text, (self._named(name, identity, row),))
        if problem not in self.out.kept:
            self.out.kept.append(problem)

    def _named(self, name: str, identity: str, row: Any) -> str:
        mail = self.mails.get(identity, identity)
        team = self.touched.team_names.get(getattr(row, "team_id", ""), "")
        return f"{mail} in {team}" if name != "identity" and team else str(mail)

    def _swap(self, name: str, begun: Any, ended: Any, **values: Any) -> None:
        if begun is not None:
            self.out.end[name].append(begun.row_id)
        if ended is not None:
            self.out.begin[name].append((ended, values))

    def _say(self, identity: str, kind: Kind, harm: Harm = Harm.NONE, **parts: Any) -> None:
        by_hand = ruled(f"undo of run {self.touched.run_id}")
        change = removal(by_hand, kind, self.mails.get(identity, identity), harm, **parts)
        self.out.changes.append((identity, change))

    def _identity(self, identity: str, begun: Any, ended: Any) -> None:
        would_go = ended is None or ended.state == IdentityState.REMOVED
        if would_go and begun is not None and self._held_otherwise(identity):
            self._keep("identity", identity, begun)
            return
        if ended is None:
            self.out.end["identity"].append(begun.row_id)
            self.out.begin["identity"].append((begun, {"state": IdentityState.REMOVED.value}))
            self._say(
                identity, Kind.REMOVE_IDENTITY, Harm.REMOVE, before=begun.state, after=IdentityState.REMOVED.value
            )
            return
        self._swap("identity", begun, ended)
        before = begun.state if begun is not None else ""
        if before == ended.state:
            self._say(identity, Kind.UPDATE_IDENTITY, before=begun.mail, after=ended.mail)
        elif ended.state == IdentityState.ACTIVE:
            self._say(identity, Kind.REINSTATE, before=before, after=ended.state)
        else:
            self._say(identity, Kind.DISABLE_IDENTITY, Harm.DISABLE, before=before, after=ended.state)

    def _held_otherwise(self, identity: str) -> bool:
        """Whether something the run did not give holds a person it invited or brought back."""
        rows = [*self.touched.open["memberships"], *self.touched.open["seats"]]
        return any(row.identity_id == identity and row.run_id != self.touched.run_id for row in rows)

    def _link(self, identity: str, begun: Any, ended: Any) -> None:
        if ended is None and identity not in self.invited:
            self._swap("links", begun, None)
            replaced = any(row.identity_id == identity for row in self.touched.rows["links"] if row is not begun)
            self._say(identity, Kind.RELINK_ANCHOR, before="relinked", after="linked" if replaced else "unlinked")
        elif ended is not None:
            self._swap("links", begun, ended)

    def _membership(self, identity: str, begun: Any, ended: Any) -> None:
        if ended is None and self.reasons.hold_through(begun):
            self._keep("memberships", identity, begun)
            return
        row = begun or ended
        name = self.touched.team_names.get(row.team_id, row.team_id)
        if begun is None and ended.provenance == MANUAL:  # only adopting ends what was given by hand (P3)
            if (identity, row.team_id) in self.members:
                self._swap("memberships", None, ended)
                self._say(identity, Kind.ADOPT_GRANT, object=name, team=row.team_id, before="adopted", after=MANUAL)
            else:
                self._keep("memberships", identity, ended)
            return
        self._swap("memberships", begun, ended)
        parts = {"object": name, "team": row.team_id, "mapping": row.provenance.removeprefix(MAPPING)}
        if ended is None and (identity, row.team_id) in self.adopted:
            return
        if ended is None:
            self._say(identity, Kind.LEAVE_TEAM, Harm.LEAVE, before="member", **parts)
        elif begun is None:
            self._say(identity, Kind.JOIN_TEAM, after="member", **parts)

    def _seats(self, found: list[tuple[Any, Any]]) -> None:
        """Units come back before they are handed out: undoing reclaims before it assigns, like a plan."""
        for begun, ended in found:
            if begun is not None and ended is None and self.reasons.others(begun.id):
                self._keep("seats", begun.identity_id, begun)
            elif begun is not None:
                pool = (begun.team_id, begun.offering_code)
                if pool in self.free:  # else its terms have ended: what comes back there is nobody's
                    self.free[pool] += 1
                if ended is None:
                    self.gone_seats.add(begun.id)
                    self._swap("seats", begun, None)
                    self._say(
                        begun.identity_id, Kind.RELEASE_SEAT, Harm.RELEASE, before=begun.state, **self._about(begun)
                    )
        for begun, ended in sorted((pair for pair in found if pair[1] is not None), key=lambda pair: pair[0] is None):
            self._seat_back(begun, ended)

    def _seat_back(self, begun: Any, ended: Any) -> None:
        """A seat the run changed (``begun``) or released (None) returns where its pool has room."""
        identity, pool = ended.identity_id, (ended.team_id, ended.offering_code)
        stays_put = begun is not None and begun.team_id == ended.team_id
        if begun is None and (
            self._has_another(identity, ended.offering_code) or not self.reasons.again(ended.id, self._members())
        ):
            self.gone_seats.add(ended.id)
            self._keep("seats", identity, ended)
        elif stays_put or self.free.get(pool, 0) > 0:
            self.free[pool] = self.free.get(pool, 0) - 1
            self._swap("seats", begun, ended)
            if begun is None:
                self._say(identity, Kind.ASSIGN_SEAT, after=ended.state, **self._about(ended))
            else:
                self._changed_seat(identity, begun, ended, self._about(ended))
        elif begun is not None:
            taken = (begun.team_id, begun.offering_code)
            self.free[taken] = self.free.get(taken, 0) - 1
            self._keep("seats", identity, begun)
        else:
            self.gone_seats.add(ended.id)
            self.out.waiting.append((identity, *pool))
            self._say(identity, Kind.WAIT, after="waiting", **self._about(ended))

    def _about(self, row: Any) -> dict[str, Any]:
        team = self.touched.team_names.get(row.team_id, row.team_id)
        return {"object": f"{row.offering_code} @ {team}", "team": row.team_id, "offering": row.offering_code}

    def _changed_seat(self, identity: str, begun: Any, ended: Any, parts: dict[str, Any]) -> None:
        if begun.team_id != ended.team_id:
            names = self.touched.team_names
            self._say(identity, Kind.MOVE_SEAT, **{**parts, "before": names.get(begun.team_id, ""),
                                                   "after": names.get(ended.team_id, "")})  # fmt: skip
        elif ended.state == SeatState.PAUSED:
            self._say(identity, Kind.PAUSE_SEAT, Harm.PAUSE, before=begun.state, after=ended.state, **parts)
        else:
            self._say(identity, Kind.REINSTATE, before=begun.state, after=ended.state, **parts)

    def _has_another(self, identity: str, offering: str) -> bool:
        ended = set(self.out.end["seats"])
        mine = (row for row in self.touched.open["seats"] if row.row_id not in ended)
        return any(row.identity_id == identity and row.offering_code == offering for row in mine)

    def _members(self) -> set[tuple[str, str]]:
        """(identity, provenance) of the memberships that hold when this undo is done."""
        gone = set(self.out.end["memberships"])
        rows = [row for row in self.touched.open["memberships"] if row.row_id not in gone]
        rows += [row for row, _ in self.out.begin["memberships"]]
        return {(row.identity_id, row.provenance) for row in rows}

    def _grant(self, identity: str, begun: Any, ended: Any) -> None:
        row = begun or ended
        if ended is None and self.reasons.last(row):
            return
        seat = None if row.seat_id in self.gone_seats else self.standing_seats.get(row.seat_id)
        back = ended is not None and seat is not None and stands(ended, self._members())
        self._swap("grants", begun, ended if back else None)
        if back and begun is None and ended.provenance == MANUAL:
            self._say(identity, Kind.ADOPT_GRANT, before="adopted", after=MANUAL, **self._about(seat))

    @cached_property
    def standing_seats(self) -> dict[str, Any]:
        """Seats that are open or come back in this undo (asked after the seats): a grant alone holds nothing."""
        return {row.id: row for row in (*(row for row, _ in self.out.begin["seats"]), *self.touched.open["seats"])}

    def _wait(self, _identity: str, begun: Any, ended: Any) -> None:
        self._swap("waiting", begun, ended)

    def _nobody_waits_for_what_they_have(self) -> None:
        """A place on the waitlist ends, or does not come back, where its person holds the seat when this is done."""
        gone = set(self.out.end["seats"])
        rows = [row for row in self.touched.open["seats"] if row.row_id not in gone]
        rows += [row for row, _ in self.out.begin["seats"]]
        held = {(row.identity_id, row.offering_code) for row in rows}
        ended, open_now = self.out.end["waiting"], self.touched.open["waiting"]
        ended += [w.row_id for w in open_now if (w.identity_id, w.offering_code) in held and w.row_id not in ended]
        back = self.out.begin["waiting"]
        back[:] = [item for item in back if (item[0].identity_id, item[0].offering_code) not in held]

    def _role(self, identity: str, begun: Any, ended: Any) -> None:
        self._swap("roles", begun, ended)
        row = begun or ended
        parts = {"object": self.touched.team_names.get(row.team_id, EVERYWHERE), "team": row.team_id,
                 "mapping": row.provenance.removeprefix(MAPPING)}  # fmt: skip
        if ended is None:
            self._say(identity, Kind.END_ROLE, Harm.LEAVE, before=row.role, **parts)
        elif begun is None:
            self._say(identity, Kind.GRANT_ROLE, after=row.role, **parts)

    def _group(self, identity: str, begun: Any, ended: Any) -> None:
        """A membership of a kept group goes and comes back like those of Teams: one that the run gave stays with the
        Team membership it came with, when that stays."""
        row = begun or ended
        gone = set(self.out.end["memberships"])
        with_it = (item for item in self.touched.open["memberships"] if item.run_id == self.touched.run_id)
        kept = {(item.identity_id, item.provenance) for item in with_it if item.row_id not in gone}
        if ended is None and (identity, row.provenance) in kept:
            return
        self._swap("groups", begun, ended)
        name, mapping = self.touched.group_names.get(row.group_id, row.group_id), row.provenance.removeprefix(MAPPING)
        if ended is None:
            self._say(identity, Kind.LEAVE_GROUP, Harm.LEAVE, object=name, before="member", mapping=mapping)
        elif begun is None:
            self._say(identity, Kind.JOIN_GROUP, object=name, after="member", mapping=mapping)


_RESTORE: dict[str, Callable[[_Work, str, Any, Any], None]] = {
    "identity": _Work._identity,
    "links": _Work._link,
    "memberships": _Work._membership,
    "grants": _Work._grant,
    "waiting": _Work._wait,
    "roles": _Work._role,
    "groups": _Work._group,
}


def _person_of(name: str, row: Any) -> str:
    return str(row.id if name == "identity" else row.identity_id)
