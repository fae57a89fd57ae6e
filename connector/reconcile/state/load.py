"""Fills ``Recorded`` from the ledger: one query per table, rows straight into lean structs.

Reads only. Which rows matter is the pure files' business.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from connector.reconcile.guard.limits import ORGANIZATION, ScopeKey
from connector.reconcile.plan.recorded import (
    Elsewhere,
    GrantRow,
    GroupMemberRow,
    GroupRow,
    IdentityRow,
    LinkRow,
    MembershipRow,
    Recorded,
    RoleRow,
    SeatRow,
    TeamRow,
    WaitRow,
)
from connector.reconcile.policy.policy import MAPPING
from ledger.collector import without_collector
from ledger.identity import INVITE_EXPIRY, IdentityState
from ledger.store import edges, kept_groups, people, roster, runs, seats, some_people
from ledger.store.book import Reader
from ledger.team import Role

REMOVAL = "identity_removal"
"""Kind of the due date at which a leaver's identity is removed (G7)."""

MONTH = timedelta(days=30)


async def load(reader: Reader, *, with_edges: bool = False, with_causes: bool = False) -> Recorded:
    """The recorded state. ``with_edges``: also what memberships through groups rest on; ``with_causes``: and why each
    was granted."""
    with without_collector():
        return await _load(reader, with_edges, with_causes)


async def _load(reader: Reader, with_edges: bool, with_causes: bool) -> Recorded:
    links: dict[str, dict[str, LinkRow]] = {}
    for row in await people.directory_links(reader):
        links.setdefault(row[2], {})[row[3]] = LinkRow(*row)
    return Recorded(
        identities={row[1]: IdentityRow(*row) for row in await people.open_identities(reader)},
        links=links,
        memberships=_memberships(await people.open_memberships(reader)),
        seats=_by(await seats.open_seats(reader), 5, SeatRow),
        grants=_by(await seats.open_grants(reader), 1, GrantRow),
        waiting=_grouped(await seats.open_waiting(reader), 1, WaitRow),
        signed_in=await people.signed_in(reader),
        invite_due=await runs.due_dates(reader, INVITE_EXPIRY),
        edges=await edges.known(reader, None) if with_edges else {},
        causes=_causes(await people.membership_causes(reader)) if with_causes else {},
        **await _shared(reader),
        **await _groups(reader, None),
    )


async def load_some(
    reader: Reader,
    identities: dict[str, IdentityRow],
    links: dict[str, dict[str, LinkRow]],
    counts: Mapping[tuple[str, str, str], int],
) -> Recorded:
    """The recorded state of these people; ``counts`` (``some_people.seat_counts``) says what the others hold."""
    ids = identities.keys()
    held = await some_people.seats_of(reader, ids)
    return Recorded(
        identities=identities,
        links=links,
        memberships=_memberships(await some_people.memberships_of(reader, ids)),
        seats=_by(held, 5, SeatRow),
        grants=_by(await some_people.grants_of(reader, ids), 1, GrantRow),
        waiting=_grouped(await some_people.waiting_of(reader, ids), 1, WaitRow),
        signed_in=await some_people.signed_in_of(reader, ids),
        invite_due=await runs.due_dates_of(reader, INVITE_EXPIRY, ids),
        edges=await edges.known(reader, ids),
        causes=_causes(await some_people.membership_causes_of(reader, ids)),
        elsewhere=_elsewhere(counts, held),
        **await _shared(reader),
        **await _groups(reader, ids),
    )


async def _groups(reader: Reader, ids: Collection[str] | None) -> dict[str, Any]:
    """Kept groups, and who of these people (None: everybody) is in them; nobody is asked for where none is kept."""
    rows = [GroupRow(*row) for row in await kept_groups.open_groups(reader)]
    found = await kept_groups.members(reader, ids) if rows else []
    members = _grouped(found, 1, GroupMemberRow)
    return {"groups": {(row.source_id, row.anchor): row for row in rows}, "group_members": members}


async def _shared(reader: Reader) -> dict[str, Any]:
    """What planning needs whoever is planned: Teams, offerings, subscriptions, admins, absences, due dates."""
    primary: dict[str, set[str]] = defaultdict(set)
    admins: set[str] = set()
    for _, identity, role, team in await people.open_roles(reader):
        admins.add(identity)
        if role == Role.PRIMARY_ADMIN:
            primary[team].add(identity)
    return {
        "teams": {row[2]: TeamRow(row[0], row[1]) for row in await people.open_teams(reader)},
        "offerings": frozenset(item.code for item in await seats.open_offerings(reader)),
        "subscriptions": tuple(await seats.open_subscriptions(reader)),
        "admins": frozenset(admins),
        "primary_admins": {team: frozenset(owners) for team, owners in primary.items()},
        "absences": {(row[0], row[1], row[2]): row[3] for row in await people.absences(reader)},
        "removal_due": await runs.due_dates(reader, REMOVAL),
        "roles": _grouped(await people.held_roles(reader), 1, RoleRow),
        "restricted": frozenset(await roster.restrictions(reader)),
        "undone": _undone(await people.undone(reader)),
    }


def _elsewhere(counts: Mapping[tuple[str, str, str], int], held: Iterable[tuple[Any, ...]]) -> Elsewhere:
    """What is held by people who are not loaded: everything less what is ``held`` by those who are."""
    left = Counter(counts)
    left.subtract(Counter((row[2], row[3], row[4]) for row in held))
    pools: Counter[tuple[str, str]] = Counter()
    used: Counter[str] = Counter()
    for (subscription, team, offering), count in left.items():
        pools[team, offering] += count
        used[subscription] += count
    return Elsewhere(dict(pools), dict(used))


async def load_elsewhere(reader: Reader, recorded: Recorded, scopes: Collection[ScopeKey], now: datetime) -> Recorded:
    """With whoever was harmed lately, and with how many others are active in these scopes of limits (G1)."""
    harmed = {row[1] for row in await runs.harm_since(reader, now - MONTH)} - recorded.identities.keys()
    identities = {row[1]: IdentityRow(*row) for row in await some_people.identities_of(reader, harmed)}
    memberships = _memberships(await some_people.memberships_of(reader, harmed))
    recorded = msgspec.structs.replace(
        recorded,
        identities={**recorded.identities, **identities},
        memberships={**recorded.memberships, **memberships},
    )
    groups = {key for kind, key in scopes if kind == "group"}
    if groups:
        others = _grouped(await kept_groups.members(reader, harmed), 1, GroupMemberRow)
        recorded = msgspec.structs.replace(recorded, group_members={**recorded.group_members, **others})
    teams = {key for kind, key in scopes if kind == "team"}
    provenances = {MAPPING + key for kind, key in scopes if kind == "mapping"}
    total, by_team, by_provenance = await some_people.active_in(reader, teams, provenances)
    found: Counter[ScopeKey] = Counter({("team", team): count for team, count in by_team.items()})
    found.update({("mapping", name.removeprefix(MAPPING)): count for name, count in by_provenance.items()})
    found.update({("group", group): count for group, count in (await kept_groups.active_in(reader, groups)).items()})
    found[ORGANIZATION, ""] = total
    for identity, known in recorded.identities.items():
        if known.state != IdentityState.ACTIVE:
            continue
        rows = recorded.memberships.get(identity, ())
        inside = [row for row in rows if row.team_id in teams or row.provenance in provenances]
        found.subtract({("team", row.team_id) for row in inside} | {(ORGANIZATION, "")})
        found.subtract({("mapping", row.provenance.removeprefix(MAPPING)) for row in inside})
        if groups:
            found.subtract({("group", row.group_id) for row in recorded.group_members.get(identity, ())})
    elsewhere = msgspec.structs.replace(recorded.elsewhere, active=dict(found))
    return msgspec.structs.replace(recorded, elsewhere=elsewhere)


def _by(rows: Iterable[tuple[Any, ...]], key: int, make: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for row in rows:
        item = make(*row)
        held = found.get(row[key])
        if held is None:
            found[row[key]] = [item]
        else:
            held.append(item)
    return found


def _memberships(rows: Iterable[tuple[str, str, str, str]]) -> dict[str, list[MembershipRow]]:
    """By identity. Team ids and provenances repeat in very many rows: each text is kept once."""
    found: dict[str, list[MembershipRow]] = {}
    once = {}.setdefault  # type: ignore[var-annotated]
    for row_id, identity, team, provenance in rows:
        item = MembershipRow(row_id, once(team, team), once(provenance, provenance))
        held = found.get(identity)
        if held is None:
            found[identity] = [item]
        else:
            held.append(item)
    return found


def _grouped(rows: Iterable[tuple[Any, ...]], key: int, make: Any) -> dict[str, list[Any]]:
    """As ``_by``, for structs that do not repeat the key."""
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row[key], []).append(make(*row[:key], *row[key + 1 :]))
    return found


def _causes(rows: Iterable[tuple[Any, ...]]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for identity, provenance, cause in rows:
        found[identity][provenance] = cause
    return found


def _undone(rows: Iterable[tuple[Any, ...]]) -> dict[str, dict[tuple[str, str], str]]:
    found: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
    for identity, kind, mapping, rule in rows:
        found[identity][kind, mapping] = rule
    return found
