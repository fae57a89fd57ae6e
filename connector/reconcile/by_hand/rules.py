"""Edits by hand beside what directories grant: what is allowed, and why not (R6, P3, P4, D9).

Pure: no I/O, no clock here. Rows are open rows of the ledger, by attribute. A manual row is touched, a synced one
never: each refusal names who owns the row and what to change instead.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from connector.reconcile.diff.seat_pools import subscription_for
from connector.reconcile.policy.policy import MAPPING
from ledger.audit import given_reason
from ledger.errors import NotFound, Refused
from ledger.identity import MANUAL, IdentityState
from ledger.seat import SeatState, Subscription

PRIORITY = 100
"""Waitlist priority of a manual place: that of a mapping which names none."""

EDITABLE = ("mail", "given_name", "family_name", "display_name", "employee_number")
"""Fields of a person that may be edited while no directory owns them."""


class Exists(Refused):
    """There is already a person with this address: ``identity_id``."""

    def __init__(self, what: str, identity_id: str) -> None:
        super().__init__(what, where="mail", next_step=f"edit the person {identity_id} instead")
        self.identity_id = identity_id


@dataclass(frozen=True, slots=True)
class Act:
    """Who edits, when and why. ``teams``: the Teams the actor is bound to; empty: every Team."""

    actor: str
    now: datetime
    reason: str = ""
    teams: frozenset[str] = frozenset()

    def require_reason(self) -> None:
        """Raise ``BadInput``: what takes something away needs a reason."""
        given_reason(self.reason, "what takes something away needs a reason")


@dataclass(frozen=True, slots=True)
class Person:
    """Open rows about one person; ``links``: directory links and SAML bonds; ``roles``: (role, Team id)."""

    identity: Any
    links: Sequence[Any] = ()
    memberships: Sequence[Any] = ()
    seats: Sequence[Any] = ()
    grants: Sequence[Any] = ()
    waiting: Sequence[Any] = ()
    roles: Sequence[tuple[str, str]] = ()

    @property
    def mail(self) -> str:
        """The address as written."""
        return str(self.identity.mail)

    @property
    def directory_links(self) -> list[Any]:
        """Links to entries of directories."""
        return [row for row in self.links if row.kind == "directory"]

    @property
    def signed_in(self) -> bool:
        """Whether a SAML subject is bound: the invite was accepted."""
        return any(row.kind != "directory" for row in self.links)

    @property
    def team_ids(self) -> frozenset[str]:
        """Teams the person is in, holds a seat of, or waits for one of."""
        return frozenset(row.team_id for row in (*self.memberships, *self.seats, *self.waiting))

    def require_seen_by(self, act: Act) -> None:
        """Raise ``NotFound`` for an actor bound to Teams that the person has nothing to do with."""
        if act.teams and not act.teams & self.team_ids:
            raise NotFound(f"there is no person {self.identity.id}", where="id")

    def require_whole_by(self, act: Act) -> None:
        """Raise ``Refused`` for an actor bound to Teams when the person is also in others."""
        self.require_seen_by(act)
        if act.teams and not self.team_ids <= act.teams:
            raise Refused(
                f"{self.mail} is also in a Team that this credential is not bound to",
                next_step="ask an admin for a credential that is not bound to Teams",
            )

    def require_active(self) -> None:
        """Raise ``Refused`` for somebody who is leaving or has left."""
        if self.identity.state != IdentityState.ACTIVE:
            raise Refused(
                f"{self.mail} is {self.identity.state}: nothing is granted to them",
                next_step=f"rosterd explain {self.mail}",
            )


def require_unlinked(person: Person, what: str) -> None:
    """Raise ``Refused`` when a directory owns the person (P3); names source and anchor."""
    for link in person.directory_links:
        raise Refused(
            f"{what}: directory {link.source_id} owns {person.mail} (anchor {link.anchor})",
            where=link.source_id,
            next_step="the directory owns this: change it there; the next run brings it here",
        )


def owned(what: str, row: Any) -> Refused:
    """The refusal of an edit of a synced row (P3): who granted it, and what to change instead."""
    because = f" ({row.cause})" if row.cause else ""
    if row.provenance.startswith(MAPPING):
        mapping = row.provenance.removeprefix(MAPPING)
        return Refused(
            f"{what} is granted by mapping {mapping}{because}",
            where=row.provenance,
            next_step=f"take the person out of its group in the directory, or change mapping {mapping} in the"
            " organization file",
        )
    return Refused(
        f"{what} is granted by {row.provenance}{because}",
        where=row.provenance,
        next_step="change it where it comes from",
    )


def by_hand(person: Person) -> tuple[Person, Person]:
    """What the person has by hand alone, and the rest. A seat is the rest's while anything else grants it."""
    synced = {row.seat_id for row in person.grants if row.provenance != MANUAL}
    manual = {row.seat_id for row in person.grants if row.provenance == MANUAL} - synced

    def part(mine: bool) -> Person:
        def of(rows: Sequence[Any]) -> list[Any]:
            return [row for row in rows if (row.provenance == MANUAL) is mine]

        return replace(
            person,
            memberships=of(person.memberships),
            grants=of(person.grants),
            waiting=of(person.waiting),
            seats=[row for row in person.seats if (row.id in manual) is mine],
        )

    return part(True), part(False)


def nothing_by_hand(person: Person) -> Refused:
    """The refusal to take back an invite that nobody gave by hand: who did, and what to change instead."""
    for row in (*person.memberships, *person.grants, *person.waiting):
        return owned(f"the invite of {person.mail}", row)
    return Refused(f"nobody invited {person.mail} by hand", where="invite", next_step=f"rosterd explain {person.mail}")


def require_moved_not_removed(person: Person, link: Any) -> None:
    """A directory link never ends by hand (P3, D9): always raises ``Refused``."""
    raise Refused(
        f"the link of {person.mail} to entry {link.anchor} is owned by directory {link.source_id}",
        where=link.source_id,
        next_step=f"remove the entry there, or bind another one: rosterd relink {person.mail} --to SOURCE:ANCHOR",
    )


def changed_fields(person: Person, wanted: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Field → (before, after) of what really changes; raises ``Refused`` for people a directory owns."""
    found = {name: (str(getattr(person.identity, name)), value) for name, value in wanted.items()}
    found = {name: pair for name, pair in found.items() if pair[0] != pair[1]}
    if found:
        require_unlinked(person, f"{', '.join(found)} cannot be edited here")
    return found


def leave(person: Person, team_id: str, team: str) -> Any | None:
    """The manual membership to end, or None when the person is not in the Team at all.

    Raises ``Refused`` for a membership that only mappings grant (P3), and while something else manual rests on it.
    """
    mine = [row for row in person.memberships if row.team_id == team_id]
    manual = [row for row in mine if row.provenance == MANUAL]
    if not mine:
        return None
    if not manual:
        raise owned(f"the membership of {person.mail} in Team {team}", mine[0])
    by_seat = {seat.id: seat.offering_code for seat in person.seats}
    resting = [
        by_seat.get(row.seat_id, "") for row in person.grants if (row.team_id, row.provenance) == (team_id, MANUAL)
    ]
    resting += [row.offering_code for row in person.waiting if (row.team_id, row.provenance) == (team_id, MANUAL)]
    if resting and len(mine) == len(manual):
        raise Refused(
            f"{person.mail} holds or waits for {', '.join(sorted(resting))} by hand through Team {team}",
            where="team",
            next_step="release that seat first: nobody loses one as a side effect",
        )
    return manual[0]


@dataclass(frozen=True, slots=True)
class Pool:
    """One offering of one Team on one day. ``running``: its subscriptions; ``used``: subscription id → open seats of
    the pool, those bought under an earlier term too."""

    team_id: str
    team: str
    offering: str
    running: Sequence[Subscription]
    used: Mapping[str, int]
    waiting: int = 0
    restricted: str = ""

    @property
    def quantity(self) -> int:
        """Seats the running subscriptions allow."""
        return sum(item.quantity for item in self.running)

    @property
    def held(self) -> int:
        """Open seats."""
        return sum(self.used.values())

    @property
    def free(self) -> int:
        """Seats left; negative where more are held than the day's subscriptions allow."""
        return self.quantity - self.held


@dataclass(frozen=True, slots=True)
class SeatEdit:
    """What granting or releasing does. ``kind``: none · grant (one more reason) · assign · wait · end-grant ·
    release · stop-waiting. ``rows``: grants or places on the waitlist that end with it."""

    kind: str
    seat: Any = None
    subscription: str = ""
    state: str = ""
    rows: Sequence[Any] = ()


def grant(person: Person, pool: Pool, *, wait: bool) -> SeatEdit:
    """One manual reason for one seat (P4). Raises ``Refused``: not active, not in the Team, restricted, none free."""
    person.require_active()
    if not any(row.team_id == pool.team_id for row in person.memberships):
        raise Refused(
            f"{person.mail} is not in Team {pool.team}",
            where="team",
            next_step=f"rosterd team join {shlex.quote(pool.team)} {person.mail}",
        )
    waits = [row for row in person.waiting if row.offering_code == pool.offering]
    mine = [row for row in waits if (row.team_id, row.provenance) == (pool.team_id, MANUAL)]
    seat = next((row for row in person.seats if row.offering_code == pool.offering), None)
    if seat is not None:
        reasons = [row for row in person.grants if row.seat_id == seat.id]
        if any((row.provenance, row.team_id) == (MANUAL, pool.team_id) for row in reasons):
            return SeatEdit("none", seat)
        return SeatEdit("grant", seat)
    if pool.restricted:
        raise Refused(
            f"Team {pool.team} is restricted (R16: {pool.restricted}): no new seat of it is assigned",
            where="team",
            next_step="rosterd lift TEAM, when what it waits for is settled",
        )
    if not pool.running:
        raise Refused(f"Team {pool.team} has no running subscription of {pool.offering}", where="offering",
                      next_step="rosterd import subscriptions FILE brings them in")  # fmt: skip
    if pool.free > 0:
        state = SeatState.ACTIVE if person.signed_in else SeatState.INVITED
        return SeatEdit("assign", None, subscription_for(pool.running, pool.used), state.value, waits)
    if not wait:
        raise Refused(
            f"no free seat of {pool.offering} in Team {pool.team}: {pool.held} of {pool.quantity} are held and"
            f" {pool.waiting} wait on the waitlist; nobody is evicted",
            where="offering",
            next_step="release a seat, or ask with wait=true for a place on the waitlist",
        )
    return SeatEdit("none", None, state="waiting") if mine else SeatEdit("wait", None, state="waiting")


def release(person: Person, team_id: str, team: str, offering: str) -> SeatEdit:
    """End the manual reason, and the seat when it was the last one (P3). Raises ``Refused`` for a synced seat."""
    waits = [row for row in person.waiting if (row.team_id, row.offering_code) == (team_id, offering)]
    manual = [row for row in waits if row.provenance == MANUAL]
    seat = next((row for row in person.seats if row.offering_code == offering), None)
    reasons = [row for row in person.grants if seat is not None and row.seat_id == seat.id]
    mine = [row for row in reasons if (row.provenance, row.team_id) == (MANUAL, team_id)]
    what = f"the seat of {offering} that {person.mail} has in Team {team}"
    if mine:
        return SeatEdit("release" if len(reasons) == len(mine) else "end-grant", seat, rows=mine)
    if manual:
        return SeatEdit("stop-waiting", rows=manual)
    synced = [row for row in reasons if row.team_id == team_id]
    if synced:
        raise owned(what, synced[0])
    if seat is not None and seat.team_id == team_id:
        if not reasons:
            return SeatEdit("release", seat)
        raise owned(what, reasons[0])
    for row in waits:
        mapping = row.provenance.removeprefix(MAPPING)
        raise Refused(
            f"{person.mail} waits for {offering} because of {row.provenance}",
            where=row.provenance,
            next_step=f"take the person out of its group in the directory, or change mapping {mapping}",
        )
    return SeatEdit("none")


def relink(person: Person, source: str, anchor: str, holder: Any | None) -> list[Any]:
    """Directory links that end when the entry ``source``:``anchor`` is bound to the person (D9); empty and nothing to
    do when it is bound already. Raises ``Refused`` when the entry is somebody else's."""
    if holder is not None and holder.identity_id != person.identity.id:
        raise Refused(
            f"entry {anchor} of directory {source} is bound to somebody else: {holder.mail or holder.identity_id}",
            where=f"{source}:{anchor}",
            next_step=f"rosterd explain {holder.mail or 'MAIL'}; an entry is one person's",
        )
    return [row for row in person.directory_links if (row.source_id, row.anchor) != (source, anchor)]


def duty_note(team: str, left: int, business: bool) -> tuple[str, ...]:
    """What R8 says about a Team that an edit leaves without anybody; empty when there is nothing to say."""
    if left or not business:
        return ()
    return (f"Team {team} has Business subscriptions and no Authorized User any more (R8: no refund)",)
