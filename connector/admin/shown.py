"""How people, Teams, seats, subscriptions and events look as JSON. Shapes only; reads and decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from connector.reconcile.by_hand.rules import Person
from ledger.instant import to_text
from ledger.seat import Subscription
from ledger.store.pages import Event


def when(value: datetime | None) -> str | None:
    """RFC 3339, or null."""
    return to_text(value) if value is not None else None


def person(row: Any) -> dict[str, Any]:
    """An identity in lists; ``invite_expires_at`` where the list asked for invites."""
    found = {name: getattr(row, name) for name in ("id", "mail", "display_name", "given_name", "family_name", "state")}
    found["employee_number"] = row.employee_number
    if hasattr(row, "due_at"):
        found["invite_expires_at"] = when(row.due_at)
    return found


def whole_person(
    who: Person, teams: Mapping[str, str], restricted: Mapping[str, Any], invite: datetime | None, now: datetime
) -> dict[str, Any]:
    """Everything open about one person; ``teams``: those the asker may see, by id."""
    grants: dict[str, list[Any]] = {}
    for row in who.grants:
        grants.setdefault(row.seat_id, []).append(row)
    return {
        **person(who.identity),
        "attributes": dict(who.identity.attributes),
        "links": [link(row) for row in who.links],
        "roles": [{"role": role, "team": teams.get(team, team) or None} for role, team in who.roles],
        "memberships": [membership(row, teams) for row in who.memberships if row.team_id in teams],
        "seats": [seat(row, teams, grants.get(row.id, ()), restricted) for row in who.seats if row.team_id in teams],
        "waiting": [waiting(row, teams) for row in who.waiting if row.team_id in teams],
        "invite": {
            "accepted": who.signed_in,
            "expires_at": when(invite),
            "expired": invite is not None and not who.signed_in and invite <= now,
        },
    }


def link(row: Any) -> dict[str, Any]:
    """A link to a directory entry; of a SAML subject only that it is there."""
    shown = row.anchor if row.kind == "directory" else None
    return {"kind": row.kind, "source": row.source_id, "anchor": shown, "since": when(row.valid_from)}


def membership(row: Any, teams: Mapping[str, str]) -> dict[str, Any]:
    """One reason for one Team."""
    name = teams.get(row.team_id, row.team_id)
    return {"team": {"id": row.team_id, "name": name}, **reason(row)}


def reason(row: Any) -> dict[str, Any]:
    """Who says so, and why."""
    return {"provenance": row.provenance, "cause": row.cause, "since": when(row.valid_from)}


def group(row: Any) -> dict[str, Any]:
    """A kept group; ``named_since``: since when it has this name and place."""
    found = {name: getattr(row, name) for name in ("id", "name", "dn", "anchor", "members")}
    return {**found, "source": row.source_id, "named_since": when(row.valid_from)}


def group_membership(row: Any, names: Mapping[str, str]) -> dict[str, Any]:
    """One kept group somebody is in; ``names``: by group id."""
    return {"group": {"id": row.group_id, "name": names.get(row.group_id, row.group_id)}, **reason(row)}


def seat(row: Any, teams: Mapping[str, str], grants: Sequence[Any], restricted: Mapping[str, Any]) -> dict[str, Any]:
    """A seat with every reason for it. ``restricted``: its Team is (R16), so it gives no access now."""
    return {
        "id": row.id,
        "offering": row.offering_code,
        "team": {"id": row.team_id, "name": teams.get(row.team_id, row.team_id)},
        "subscription": row.subscription_id,
        "identity": row.identity_id,
        "state": row.state,
        "restricted": row.team_id in restricted,
        "since": when(row.valid_from),
        "release_due_at": when(row.release_due_at),
        "grants": [{"team": teams.get(item.team_id, item.team_id), **reason(item)} for item in grants],
    }


def waiting(row: Any, teams: Mapping[str, str]) -> dict[str, Any]:
    """A place on the waitlist."""
    name = teams.get(row.team_id, row.team_id)
    return {
        "offering": row.offering_code,
        "team": {"id": row.team_id, "name": name},
        "provenance": row.provenance,
        "priority": row.priority,
        "since": when(row.valid_from),
    }


def restriction(row: Any | None) -> dict[str, Any] | None:
    """A Team's restriction (R16), or null."""
    if row is None:
        return None
    return {"since": when(row.valid_from), "actor": row.actor, "reason": row.reason}


def subscription(item: Subscription, used: int, day: date) -> dict[str, Any]:
    """A Team's right to seats for a term; ``used``: open seats bought under it."""
    return {
        "id": item.id,
        "team": item.team_id,
        "offering": item.offering_code,
        "tier": item.tier.value,
        "quantity": item.quantity,
        "used": used,
        "starts_on": item.starts_on.isoformat(),
        "ends_on": item.ends_on.isoformat(),
        "running": item.runs_on(day),
        "renews": item.renews or None,
    }


def event(row: Event) -> dict[str, Any]:
    """An audit event; ``payload`` null and ``erased`` true once its readable part is gone."""
    return {
        "seq": row.seq,
        "at": when(row.at),
        "actor": row.actor,
        "verb": row.verb,
        "subject": row.subject,
        "run": row.run_id or None,
        "plan_digest": row.plan_digest or None,
        "payload": row.payload,
        "erased": row.payload is None,
    }
