"""Staged off-boarding and the way back: pause at once, release later, remove last (D7, G7). Pure: no I/O here."""

from __future__ import annotations

from datetime import datetime, timedelta

from connector.reconcile.desired.ground import Ground
from connector.reconcile.evidence.judge import Evidence, following, removal
from connector.reconcile.plan.changes import Change, Harm, Kind, Problem
from connector.reconcile.plan.recorded import OFF, IdentityRow, Recorded, SeatRow
from connector.reconcile.policy.policy import MAPPING, Policy
from ledger.identity import IdentityState
from ledger.seat import SeatState

_PAUSABLE = frozenset({SeatState.INVITED.value, SeatState.ACTIVE.value})


def leave(
    identity: IdentityRow, state: IdentityState, evidence: Evidence, ground: Ground
) -> tuple[list[Change], Problem | None]:
    """What a leaver loses in this run: first the pause, then what is due. Manual grants are never touched (P3)."""
    recorded, policy, now = ground.recorded, ground.policy, ground.now
    if identity.state == IdentityState.REMOVED:
        return [], None
    changes: list[Change] = []
    subject = identity.mail_key
    if identity.state not in OFF:
        changes.append(removal(evidence, Kind.DISABLE_IDENTITY, subject, Harm.DISABLE,
                               before=identity.state, after=state.value))  # fmt: skip
    if removal_is_due(identity, recorded, now):
        return _remove(identity, following(evidence, "off-boarding: the removal delay is over"), recorded, policy)
    names = recorded.team_names()
    for seat in recorded.seats.get(identity.id, ()):
        if recorded.manual_seat(seat):
            continue
        delay = release_delay(seat, recorded, policy)
        if seat.state in _PAUSABLE and delay:
            changes.append(_taken(evidence, Kind.PAUSE_SEAT, Harm.PAUSE, subject, seat, names))
        elif seat.state in _PAUSABLE or (seat.release_due_at is not None and seat.release_due_at <= now):
            why = "off-boarding: the release delay is over" if delay else f"{evidence.why}; seats are released at once"
            changes.append(_taken(following(evidence, why), Kind.RELEASE_SEAT, Harm.RELEASE, subject, seat, names))
    return changes, None


def removal_is_due(identity: IdentityRow, recorded: Recorded, now: datetime) -> bool:
    """Whether the last stage has come: Teams and groups are left, the identity is removed (G7)."""
    due = recorded.removal_due.get(identity.id)
    return identity.state in OFF and due is not None and due <= now


def _taken(evidence: Evidence, kind: Kind, harm: Harm, subject: str, seat: SeatRow, names: dict[str, str]) -> Change:
    after = SeatState.PAUSED.value if kind is Kind.PAUSE_SEAT else ""
    return removal(evidence, kind, subject, harm, object=_name(seat, names), before=seat.state, after=after,
                   team=seat.team_id, offering=seat.offering_code, ref=seat.id)  # fmt: skip


def _name(seat: SeatRow, names: dict[str, str]) -> str:
    return f"{seat.offering_code} @ {names.get(seat.team_id, seat.team_id)}"


def _remove(
    identity: IdentityRow, evidence: Evidence, recorded: Recorded, policy: Policy
) -> tuple[list[Change], Problem | None]:
    """The last stage: synced memberships and seats end; the identity goes unless something manual holds it."""
    subject, names = identity.mail_key, recorded.team_names()
    changes: list[Change] = []
    rows = recorded.memberships.get(identity.id, ())
    manual = {row.team_id for row in rows if not row.provenance.startswith(MAPPING)}
    ended: set[str] = set()
    for row in sorted(rows, key=lambda item: item.provenance):
        if not row.provenance.startswith(MAPPING):
            continue
        last = row.team_id not in manual and row.team_id not in ended
        ended.add(row.team_id)
        kind, harm = (Kind.LEAVE_TEAM, Harm.LEAVE) if last else (Kind.END_GRANT, Harm.NONE)
        name, mapping = names.get(row.team_id, row.team_id), row.provenance[len(MAPPING) :]
        changes.append(removal(evidence, kind, subject, harm, object=name, before="member", mapping=mapping,
                               team=row.team_id, ref=row.row_id))  # fmt: skip
    kept = bool(manual)
    for seat in recorded.seats.get(identity.id, ()):
        if recorded.manual_seat(seat):
            kept = True
            changes += _ended_grants(subject, seat, recorded, names)
        else:
            changes.append(_taken(evidence, Kind.RELEASE_SEAT, Harm.RELEASE, subject, seat, names))
    for wait in recorded.waiting.get(identity.id, ()):
        name = f"{wait.offering_code} @ {names.get(wait.team_id, wait.team_id)}"
        mapping = wait.provenance[len(MAPPING) :]
        changes.append(Change(Kind.WAIT, subject, name, "waiting", "", mapping, Harm.NONE, evidence.why, wait.team_id,
                              wait.offering_code, wait.row_id))  # fmt: skip
    if kept:
        return changes, Problem("kept-manual", "not removed: something was granted by hand", (subject,))
    changes.append(
        removal(evidence, Kind.REMOVE_IDENTITY, subject, Harm.REMOVE,
                before=identity.state, after=IdentityState.REMOVED.value)
    )  # fmt: skip
    return changes, None


def _ended_grants(subject: str, seat: SeatRow, recorded: Recorded, names: dict[str, str]) -> list[Change]:
    """Reasons that ended with their memberships, of a seat that is kept for one given by hand."""
    name, cause = f"{seat.offering_code} @ {names.get(seat.team_id, seat.team_id)}", "the seat is still held by hand"
    return [
        Change(Kind.END_GRANT, subject, name, "granted", "", grant.provenance[len(MAPPING) :], Harm.NONE, cause,
               grant.team_id, seat.offering_code, grant.row_id)
        for grant in recorded.grants.get(seat.id, ())
        if grant.provenance.startswith(MAPPING)
    ]  # fmt: skip


def restore(identity: IdentityRow, subject: str, recorded: Recorded) -> list[Change]:
    """Somebody is back: active again, and every seat off-boarding paused returns to what it was (G7)."""
    cause = "the entry is present and enabled"
    changes = [Change(Kind.REINSTATE, subject, "", identity.state, IdentityState.ACTIVE.value, "", Harm.NONE, cause)]
    names = recorded.team_names()
    for seat in recorded.seats.get(identity.id, ()):
        if seat.state == SeatState.PAUSED and seat.release_due_at is not None:
            after = seat.paused_from or SeatState.ACTIVE.value
            changes.append(Change(Kind.REINSTATE, subject, _name(seat, names), seat.state, after, "", Harm.NONE, cause,
                                  seat.team_id, seat.offering_code, seat.id))  # fmt: skip
    return changes


def release_delay(seat: SeatRow, recorded: Recorded, policy: Policy) -> timedelta:
    """The longest delay of the mappings that grant the seat (G7)."""
    rules = [policy.rule_of(grant.provenance) for grant in recorded.grants.get(seat.id, ())]
    return max((rule.release_after for rule in rules if rule), default=policy.offboarding.release_after)


def removal_delay(identity: str, recorded: Recorded, policy: Policy) -> timedelta:
    """The longest delay of the mappings that brought the person in (G7)."""
    rules = [policy.rule_of(row.provenance) for row in recorded.memberships.get(identity, ())]
    return max((rule.remove_after for rule in rules if rule), default=policy.offboarding.remove_after)
