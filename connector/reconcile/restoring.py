"""What an undo restores, from the rows a run began and ended and the rows that are open now (A3). Pure: no I/O here.

A row the run began and that is still open is ended; a row the run ended comes back, unless somebody changed the same
thing since: that is kept and named. A seat comes back only where its pool still has room; otherwise its holder waits,
first in line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connector.reconcile.plan import Change, Harm, Kind, Problem
from connector.reconcile.policy import MAPPING
from connector.reconcile.seating import PoolKey
from ledger.identity import IdentityState
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
    """Why people of a mail domain may not be changed now; empty when they may."""


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
        self.kept_seats = self._changed_since()

    def _frozen(self, identity: str) -> bool:
        why = self.touched.frozen(self.mails[identity].rpartition("@")[2])
        if why:
            self.out.kept.append(Problem("frozen", why, (self.mails[identity],)))
        return bool(why)

    def run(self) -> Restoration:
        for name in ("identity", "links", "memberships", "waiting", "seats", "grants"):
            begun, ended = self._mine(name)
            keys = sorted(begun.keys() | ended.keys())
            found = [(begun.get(key), ended.get(key)) for key in keys if self._free_to_change(name, key, begun, ended)]
            if name == "seats":
                self._seats(found)
                continue
            for before, after in found:
                _RESTORE[name](self, _person_of(name, before or after), before, after)
        return self.out

    def _mine(self, name: str) -> tuple[dict[tuple[str, ...], Any], dict[tuple[str, ...], Any]]:
        """By key: the last row the run began (and did not end itself), the row it ended that was there before."""
        run_id, key = self.touched.run_id, KEYS[name]
        begun = {key(row): row for row in self.touched.rows[name] if row.run_id == run_id and row.ended_run != run_id}
        ended = {key(row): row for row in self.touched.rows[name] if row.ended_run == run_id and row.run_id != run_id}
        return begun, ended

    def _changed_since(self) -> set[str]:
        """Seats that stay as they are now: what the run did to them was changed since."""
        begun, _ = self._mine("seats")
        now = self.open_now["seats"]
        return {row.id for key, row in begun.items() if key in now and now[key].row_id != row.row_id}

    def _lasting(self, grant: Any) -> bool:
        """Whether an open reason outlives this undo: another run or somebody gave it, or its seat is kept."""
        return grant.run_id != self.touched.run_id or grant.seat_id in self.kept_seats

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

    def _keep(self, name: str, identity: str, row: Any) -> None:
        what = {"identity": "person", "memberships": "membership", "seats": "seat"}[name]
        self.out.kept.append(
            Problem("edited-since", f"{what} was changed after the run: kept", (self._named(name, identity, row),))
        )

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
        change = Change(
            kind, self.mails.get(identity, identity), harm=harm, cause=f"undo of run {self.touched.run_id}", **parts
        )
        self.out.changes.append((identity, change))

    def _identity(self, identity: str, begun: Any, ended: Any) -> None:
        if ended is None:
            if self._held_otherwise(identity):
                self._keep("identity", identity, begun)
                return
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
        """Whether something the run did not give holds a person it invited."""
        rows = [*self.touched.open["memberships"], *self.touched.open["seats"]]
        return any(row.identity_id == identity and row.run_id != self.touched.run_id for row in rows)

    def _link(self, identity: str, begun: Any, ended: Any) -> None:
        if ended is None and any(row.identity_id == identity for row in self.touched.rows["links"] if row is not begun):
            self._swap("links", begun, None)
            self._say(identity, Kind.RELINK_ANCHOR, before="relinked", after="linked")
        elif ended is not None:
            self._swap("links", begun, ended)

    def _membership(self, identity: str, begun: Any, ended: Any) -> None:
        if ended is None and self._holds_a_seat(begun):
            self._keep("memberships", identity, begun)
            return
        self._swap("memberships", begun, ended)
        row = begun or ended
        parts = {"object": self.touched.team_names.get(row.team_id, row.team_id), "team": row.team_id,
                 "mapping": row.provenance.removeprefix(MAPPING)}  # fmt: skip
        if ended is None:
            self._say(identity, Kind.LEAVE_TEAM, Harm.LEAVE, before="member", **parts)
        elif begun is None:
            self._say(identity, Kind.JOIN_TEAM, after="member", **parts)

    def _seats(self, found: list[tuple[Any, Any]]) -> None:
        """Units come back before they are handed out: undoing reclaims before it assigns, like a plan."""
        for begun, ended in found:
            if begun is not None and ended is None and self._other_reason(begun.id):
                self._keep("seats", begun.identity_id, begun)
            elif begun is not None:
                pool = (begun.team_id, begun.offering_code)
                self.free[pool] = self.free.get(pool, 0) + 1
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
        if begun is None and (self._has_another(identity, ended.offering_code) or not self._still_asked(ended.id)):
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
            self.free[begun.team_id, begun.offering_code] -= 1
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

    def _other_reason(self, seat_id: str) -> bool:
        """Whether something the run did not give holds a seat it assigned."""
        return any(row.seat_id == seat_id and self._lasting(row) for row in self.touched.open["grants"])

    def _holds_a_seat(self, membership: Any) -> bool:
        """Whether a seat that stays is held through this membership."""
        whose = (membership.identity_id, membership.provenance)
        mine = (row for row in self.touched.open["grants"] if (row.identity_id, row.provenance) == whose)
        return any(self._lasting(row) for row in mine)

    def _still_asked(self, seat_id: str) -> bool:
        """Whether a reason for a seat the run released holds again: who left its Team since does not get it back."""
        ended = (row for row in self.touched.rows["grants"] if row.ended_run == self.touched.run_id)
        return any(row.seat_id == seat_id and self._stands(row) for row in ended)

    def _stands(self, grant: Any) -> bool:
        """Whether a reason is given by hand, or its membership holds when this undo is done."""
        whose = (grant.identity_id, grant.provenance)
        gone = set(self.out.end["memberships"])
        rows = [row for row in self.touched.open["memberships"] if row.row_id not in gone]
        rows += [row for row, _ in self.out.begin["memberships"]]
        manual = not grant.provenance.startswith(MAPPING)
        return manual or any((row.identity_id, row.provenance) == whose for row in rows)

    def _grant(self, _identity: str, begun: Any, ended: Any) -> None:
        row = begun or ended
        if ended is None and row.seat_id in self.kept_seats:
            return
        back = ended is not None and row.seat_id not in self.gone_seats and self._stands(ended)
        self._swap("grants", begun, ended if back else None)

    def _wait(self, _identity: str, begun: Any, ended: Any) -> None:
        self._swap("waiting", begun, ended)


_RESTORE: dict[str, Callable[[_Work, str, Any, Any], None]] = {
    "identity": _Work._identity,
    "links": _Work._link,
    "memberships": _Work._membership,
    "grants": _Work._grant,
    "waiting": _Work._wait,
}


def _person_of(name: str, row: Any) -> str:
    return str(row.id if name == "identity" else row.identity_id)


def bundled(changes: Iterable[tuple[str, Change]]) -> dict[str, list[Change]]:
    """Changes by identity."""
    found: dict[str, list[Change]] = {}
    for identity, change in changes:
        found.setdefault(identity, []).append(change)
    return found
