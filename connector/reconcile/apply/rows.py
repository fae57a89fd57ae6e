"""Changes → rows, in bulk by kind: what ``apply`` writes for the bundles that may go (A1).

One short method per kind of change, hence its length. Prohibition: decides nothing and opens no transaction. Ends
come before begins, so that no open key is ever held twice; an end that finds its row changed raises ``Stale`` and the
whole run is undone by the transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import msgspec

from connector.reconcile.by_hand.invites import message
from connector.reconcile.desired.ground import Ground
from connector.reconcile.diff.offboarding import release_delay, removal_delay
from connector.reconcile.diff.seat_pools import running_by_pool, subscription_for
from connector.reconcile.plan.changes import Bundle, Change, Kind, Notes, PersonSeen
from connector.reconcile.plan.recorded import IdentityRow, SeatRow
from connector.reconcile.policy.policy import MAPPING
from connector.reconcile.state.load import REMOVAL
from ledger.identity import MANUAL, IdentityState
from ledger.instant import new_id, new_ids
from ledger.seat import SeatState
from ledger.store import kept_groups, outbox, people, runs, seats
from ledger.store.book import Book

_decode = msgspec.json.decode


class Rows:
    """Collects the rows of one run. ``identities``: subject of somebody new → identity id, for audit and harm."""

    def __init__(self, ground: Ground) -> None:
        self.recorded = recorded = ground.recorded
        self.policy = ground.policy
        self.now = ground.now
        self.identities: dict[str, str] = {}
        self.invited: list[outbox.Message] = []
        self._begun: dict[str, list[Any]] = {name: [] for name in _TABLES}
        self._ended: dict[str, list[str]] = {name: [] for name in _TABLES}
        self._due: list[tuple[datetime, str, str]] = []
        self._not_due: list[str] = []
        self._seat_rows: dict[str, SeatRow | None] = {}
        self._seat_by_id: dict[str, SeatRow] = {}
        self._used: dict[str, int] = dict(recorded.elsewhere.used)
        self._running = running_by_pool(recorded, ground.now.date())
        self._provenances: dict[str, str] = {}
        for held in recorded.seats.values():
            for seat in held:
                self._seat_by_id[seat.id] = seat
                self._used[seat.subscription_id] = self._used.get(seat.subscription_id, 0) + 1

    def add(self, bundles: Sequence[Bundle]) -> None:
        """Turn every change of these bundles into rows."""
        fresh = iter(new_ids(sum(1 for bundle in bundles if not bundle.identity)))
        for bundle in bundles:
            identity = bundle.identity or next(fresh)
            if not bundle.identity:
                self.identities[bundle.subject] = identity
            _BundleRows(self, bundle, identity).add()
        for seat_id, row in self._seat_rows.items():
            old = self._seat_by_id.get(seat_id)
            if old is not None:
                self._ended["seats"].append(old.row_id)
            if row is not None:
                self._begun["seats"].append(
                    (row.id, row.subscription_id, row.team_id, row.offering_code, row.identity_id, row.state,
                     row.paused_from, row.release_due_at)
                )  # fmt: skip

    def refresh(self, notes: Notes, waiting: Collection[str] = ()) -> None:
        """Links whose fingerprint moved, unless a relink of this run replaced them, or the identity's changes wait:
        with the new fingerprint the next run would take the entry for settled and forget them (G2)."""
        ended = set(self._ended["links"])
        for row_id, identity, source_id, anchor, fingerprint in notes.fingerprints:
            if row_id not in ended and identity not in waiting:
                self._ended["links"].append(row_id)
                self._begun["links"].append((identity, source_id, anchor, fingerprint))

    def provenance(self, mapping: str) -> str:
        """Of what a mapping grants: one text for very many rows."""
        return self._provenances.get(mapping) or self._provenances.setdefault(mapping, MAPPING + mapping)

    def begin(self, table: str, row: tuple[Any, ...]) -> None:
        """A row that begins now."""
        self._begun[table].append(row)

    def end(self, table: str, row_id: str) -> None:
        """A row that ends now."""
        self._ended[table].append(row_id)

    def due(self, at: datetime, identity: str) -> None:
        """The identity is removed at ``at`` unless it returns."""
        self._due.append((at, REMOVAL, identity))

    def not_due(self, identity: str) -> None:
        """It returned, or is removed."""
        self._not_due.append(identity)

    def seat(self, seat_id: str) -> SeatRow:
        """The seat as this run has it so far."""
        return self._seat_rows.get(seat_id) or self._seat_by_id[seat_id]

    def set_seat(self, seat_id: str, row: SeatRow | None) -> None:
        """The seat as this run leaves it; None: released."""
        self._seat_rows[seat_id] = row

    def take(self, team: str, offering: str) -> str:
        """The subscription of a new seat; counts it as used."""
        found = subscription_for(self._running.get((team, offering), ()), self._used)
        self._used[found] = self._used.get(found, 0) + 1
        return found

    def give_back(self, seat: SeatRow) -> None:
        """A unit of its subscription is free again."""
        self._used[seat.subscription_id] = self._used.get(seat.subscription_id, 0) - 1

    async def write(self, book: Book) -> None:
        """Everything, ends first."""
        for name, (end, _) in _TABLES.items():
            await end(book, list(dict.fromkeys(self._ended[name])))
        for name, (_, begin) in _TABLES.items():
            rows = self._begun.pop(name)
            if rows:
                await begin(book, rows)
        if self._not_due:
            await runs.clear_due(book, REMOVAL, self._not_due)
        if self._due:
            await runs.add_due(book, self._due)


_TABLES: dict[str, tuple[Any, Any]] = {
    "identities": (people.end_identities, people.begin_identities),
    "links": (people.end_links, people.begin_links),
    "memberships": (people.end_memberships, people.begin_memberships),
    "seats": (seats.end_seats, seats.begin_seats),
    "grants": (seats.end_grants, seats.begin_grants),
    "waiting": (seats.end_waiting, seats.begin_waiting),
    "roles": (people.end_roles, people.begin_mapped_roles),
    "groups": (kept_groups.end_members, kept_groups.begin_members),
}


class _BundleRows:
    """One person's changes → rows."""

    def __init__(self, rows: Rows, bundle: Bundle, identity: str) -> None:
        self.rows = rows
        self.bundle = bundle
        self.identity = identity
        self.state = ""
        self.update = False
        self.new_seats: dict[str, str] = {}

    def add(self) -> None:
        for change in self.bundle.changes:
            _WRITE[change.kind](self, change)
        if self.state or self.update:
            self._replace_identity()

    @property
    def person(self) -> PersonSeen:
        person = self.bundle.person
        if person is None:
            raise ValueError(f"{self.bundle.subject}: a change needs an entry and there is none")
        return person

    def _invite(self, change: Change) -> None:
        person = self.person
        self.rows.begin("identities", (self.identity, *_fields(person), IdentityState.ACTIVE.value,
                                       person.employee_number, person.attributes))  # fmt: skip
        self._link()
        self.rows.invited.append(message(self.identity, person.mail.text, person.display_name, change.mapping))

    def _link(self) -> None:
        person = self.person
        self.rows.begin("links", (self.identity, person.source_id, person.anchor, person.fingerprint))

    def _reinstate(self, change: Change) -> None:
        if not change.object:
            self.state = change.after
            self.rows.not_due(self.identity)
            return
        seat = self.rows.seat(change.ref)
        self.rows.set_seat(seat.id, _with(seat, state=change.after, paused_from="", release_due_at=None))

    def _update(self, _change: Change) -> None:
        self.update = True

    def _relink(self, _change: Change) -> None:
        for link in self.rows.recorded.links_of(self.identity):
            self.rows.end("links", link.row_id)
        self._link()

    def _join(self, change: Change) -> None:
        provenance = self.rows.provenance(change.mapping)
        source = self.person.source_id
        self.rows.begin("memberships", (self.identity, change.team, provenance, source, change.cause))

    def _leave(self, change: Change) -> None:
        self.rows.end("memberships", change.ref)

    def _end_grant(self, change: Change) -> None:
        self.rows.end("grants" if change.offering else "memberships", change.ref)

    def _assign(self, change: Change) -> None:
        seat_id = new_id()
        self.new_seats[change.offering] = seat_id
        subscription = self.rows.take(change.team, change.offering)
        self.rows.set_seat(seat_id, SeatRow("", seat_id, subscription, change.team, change.offering, self.identity,
                                            change.after, ""))  # fmt: skip
        self._grant(change, seat_id, change.team)
        self._stop_waiting(change.offering)

    def _add_grant(self, change: Change) -> None:
        self._grant(change, change.ref or self.new_seats[change.offering], change.team)

    def _grant(self, change: Change, seat_id: str, team: str) -> None:
        provenance = (
            self.rows.provenance(change.mapping) if change.mapping else MANUAL
        )  # a manual place on the waitlist was served
        self.rows.begin("grants", (seat_id, self.identity, team, provenance, change.cause))

    def _move(self, change: Change) -> None:
        seat = self.rows.seat(change.ref)
        self.rows.give_back(seat)
        subscription = self.rows.take(change.team, change.offering)
        self.rows.set_seat(seat.id, _with(seat, team_id=change.team, subscription_id=subscription))

    def _pause(self, change: Change) -> None:
        seat = self.rows.seat(change.ref)
        due = self.rows.now + release_delay(seat, self.rows.recorded, self.rows.policy)
        self.rows.set_seat(
            seat.id, _with(seat, state=SeatState.PAUSED.value, paused_from=seat.state, release_due_at=due)
        )

    def _release(self, change: Change) -> None:
        self.rows.give_back(self.rows.seat(change.ref))
        self.rows.set_seat(change.ref, None)
        for grant in self.rows.recorded.grants.get(change.ref, ()):
            self.rows.end("grants", grant.row_id)

    def _disable(self, change: Change) -> None:
        self.state = change.after
        delay = removal_delay(self.identity, self.rows.recorded, self.rows.policy)
        self.rows.due(self.rows.now + delay, self.identity)

    def _remove(self, change: Change) -> None:
        self.state = change.after
        self.rows.not_due(self.identity)

    def _wait(self, change: Change) -> None:
        if change.before:
            self.rows.end("waiting", change.ref)
            return
        self._stop_waiting(change.offering)
        rule = self.rows.policy.rules[change.mapping]
        self.rows.begin("waiting", (self.identity, change.team, change.offering, rule.provenance, rule.priority))

    def _grant_role(self, change: Change) -> None:
        row = (self.identity, change.after, change.team, MAPPING + change.mapping, change.cause)
        self.rows.begin("roles", row)

    def _end_role(self, change: Change) -> None:
        self.rows.end("roles", change.ref)

    def _join_group(self, change: Change) -> None:
        self.rows.begin("groups", (self.identity, change.ref, MAPPING + change.mapping, change.cause))

    def _leave_group(self, change: Change) -> None:
        self.rows.end("groups", change.ref)

    def _stop_waiting(self, offering: str) -> None:
        for row in self.rows.recorded.waiting.get(self.identity, ()):
            if row.offering_code == offering:
                self.rows.end("waiting", row.row_id)

    def _replace_identity(self) -> None:
        old: IdentityRow = self.rows.recorded.identities[self.identity]
        state = self.state or old.state
        if self.update:
            person = self.person
            values = (*_fields(person), state, person.employee_number, person.attributes)
        else:
            attributes = _decode(old.attributes)
            values = (old.mail, old.mail_key, old.given_name, old.family_name, old.display_name, state,
                      old.employee_number, attributes)  # fmt: skip
        self.rows.end("identities", old.row_id)
        self.rows.begin("identities", (self.identity, *values))


def _fields(person: PersonSeen) -> tuple[str, str, str, str, str]:
    return (person.mail.text, person.mail.key, person.given_name, person.family_name, person.display_name)


def _with(seat: SeatRow, **values: Any) -> SeatRow:
    return msgspec.structs.replace(seat, **values)


_WRITE = {
    Kind.INVITE: _BundleRows._invite,
    Kind.REINSTATE: _BundleRows._reinstate,
    Kind.UPDATE_IDENTITY: _BundleRows._update,
    Kind.RELINK_ANCHOR: _BundleRows._relink,
    Kind.JOIN_TEAM: _BundleRows._join,
    Kind.LEAVE_TEAM: _BundleRows._leave,
    Kind.ASSIGN_SEAT: _BundleRows._assign,
    Kind.MOVE_SEAT: _BundleRows._move,
    Kind.ADD_GRANT: _BundleRows._add_grant,
    Kind.END_GRANT: _BundleRows._end_grant,
    Kind.PAUSE_SEAT: _BundleRows._pause,
    Kind.RELEASE_SEAT: _BundleRows._release,
    Kind.DISABLE_IDENTITY: _BundleRows._disable,
    Kind.REMOVE_IDENTITY: _BundleRows._remove,
    Kind.WAIT: _BundleRows._wait,
    Kind.GRANT_ROLE: _BundleRows._grant_role,
    Kind.END_ROLE: _BundleRows._end_role,
    Kind.JOIN_GROUP: _BundleRows._join_group,
    Kind.LEAVE_GROUP: _BundleRows._leave_group,
}
