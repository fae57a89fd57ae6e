"""Directories and policies made by hand, for tests of reconcile: a ``Source`` whose next reading the test decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

from connector.directory.base import Checked, Entry, GroupView, Listing, Reading, ReadRequest, Scope, ScopeState
from connector.directory.changes import Traced, TraceRequest
from connector.directory.mapping import AttributeRules
from connector.directory.names import dn_key
from connector.reconcile.desired.seen import Domains
from connector.reconcile.plan.settings import (
    GuestSettings,
    LimitSettings,
    MappingSettings,
    OffboardingSettings,
    SyncSettings,
    TeamSettings,
)
from connector.reconcile.policy.invites import InviteSettings
from connector.reconcile.policy.policy import Policy
from connector.reconcile.reading import how
from connector.reconcile.run import ConfiguredSource, Setup
from connector.reconcile.state import gate
from connector.reconcile.state.teams import ensure_organization
from ledger.identity import fold
from ledger.instant import new_id
from ledger.seat import Offering, OfferingKind, Subscription, Tier
from ledger.store import people, runs, seats
from ledger.store.engine import Ledger
from ledger.team import Organization
from tests.parts.fences import ALONE

ORGANIZATION = Organization("acme", "Acme", "Europe/Warsaw")
BASE = "people:ou=People"

RULES = AttributeRules(
    source_id="corp",
    fields={
        "mail": ("mail",),
        "given_name": ("givenname",),
        "family_name": ("sn",),
        "display_name": ("displayname",),
        "employee_number": ("employeenumber",),
        "department": ("department",),
        "country": ("country",),
    },
    disabled_attribute="disabled",
    disabled_values=frozenset({"yes"}),
    requested=("mail", "givenname", "sn", "displayname", "employeenumber", "department", "country", "disabled"),
)


@dataclass(frozen=True)
class Somebody:
    """One entry; ``anchor`` empty: made from the uid; ``also``: more values of ``mail``; ``disabled`` None: nothing is
    said of it."""

    uid: str
    mail: str = ""
    anchor: str = ""
    number: str = ""
    name: str = ""
    disabled: bool | None = False
    department: str = ""
    country: str = ""
    broken: bool = False
    also: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return self.anchor or f"anchor-{self.uid}"

    def entry(self) -> Entry:
        values = {
            "mail": "broken" if self.broken else (self.mail or f"{self.uid}@acme.example"),
            "givenname": self.name or self.uid,
            "sn": "Test",
            "displayname": self.name or self.uid,
            "employeenumber": self.number,
            "department": self.department,
            "country": self.country,
            "disabled": {True: "yes", False: "no", None: ""}[self.disabled],
        }
        raw = {name: (value.encode(),) for name, value in values.items() if value}
        if self.also:
            raw["mail"] = (*raw["mail"], *(value.encode() for value in self.also))
        return Entry(self.key, f"uid={self.uid},ou=People", raw)


@dataclass
class HandSource:
    """A directory in memory. ``unknown``, ``missing``: scopes that are not complete, by name and reference.

    ``named``: reference → what its group is called now; ``meant``: reference → anchor, where it means another group.
    ``told``: like an inbox, it proves deletions only.
    """

    id: str = "corp"
    people: dict[str, Somebody] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    unresolved: dict[str, set[str]] = field(default_factory=dict)
    tombstones: set[str] = field(default_factory=set)
    told: bool = False
    hidden_sentinels: set[str] = field(default_factory=set)
    reads: int = 0
    named: dict[str, str] = field(default_factory=dict)
    meant: dict[str, str] = field(default_factory=dict)

    def put(self, *everybody: Somebody | str, groups: Sequence[str] = ()) -> None:
        for item in everybody:
            person = Somebody(item) if isinstance(item, str) else item
            self.people[person.uid] = person
            for group in groups:
                self.groups.setdefault(group, []).append(person.uid)

    def change(self, uid: str, **values: Any) -> None:
        self.people[uid] = replace(self.people[uid], **values)

    def drop(self, *uids: str) -> None:
        """Entry and memberships gone."""
        for uid in uids:
            self.people.pop(uid, None)
            for members in self.groups.values():
                if uid in members:
                    members.remove(uid)

    def move(self, uid: str, old: str, new: str) -> None:
        self.groups[old].remove(uid)
        self.groups.setdefault(new, []).append(uid)

    async def read(self, request: ReadRequest, *, now: datetime) -> Reading:
        self.reads += 1
        return self.reading(request.groups, now)

    def reading(self, references: Sequence[str], now: datetime) -> Reading:
        scopes = {BASE: self._scope(BASE, len(self.people))}
        groups: dict[str, GroupView] = {}
        for reference in references:
            name = f"group:{reference}"
            if reference in self.missing or reference not in self.groups:
                scopes[name] = Scope(name, ScopeState.UNKNOWN, "no such group", missing=True)
                continue
            members = [self.people[uid].key for uid in self.groups[reference] if uid in self.people]
            scopes[name] = self._scope(name, len(members))
            if scopes[name].complete:
                unresolved = frozenset(self.unresolved.get(reference, ()))
                name = self.named.get(reference, reference)
                anchor = self.meant.get(reference, f"anchor-{reference}")
                own = Listing(
                    anchor, name, frozenset(members), unresolved={dn_key(value): value for value in unresolved}
                )
                people = frozenset(members)
                groups[reference] = GroupView(reference, anchor, name, name, people, {}, unresolved, listings=(own,))
        entries = {person.key: person.entry() for person in self.people.values()}
        return Reading(self.id, now, now, entries, groups, scopes, frozenset(self.tombstones),
                       frozenset(self.hidden_sentinels), {"at": now.isoformat()}, deletions_told=self.told)  # fmt: skip

    def _scope(self, name: str, entries: int) -> Scope:
        reason = self.unknown.get(name, "")
        return Scope(name, ScopeState.UNKNOWN if reason else ScopeState.COMPLETE, reason, entries=entries)

    async def check(self, request: ReadRequest) -> Checked:
        return Checked(())

    async def close(self) -> None:
        return None


@dataclass
class TracingSource(HandSource):
    """One that can be asked for what its reading leaves out. ``elsewhere``: entries beside the filter or outside the
    base; ``deleted``: anchors whose deletion it proves when asked; ``deaf``: why it cannot be asked. ``asked``: the
    anchors of each request."""

    elsewhere: dict[str, Somebody] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    deaf: str = ""
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def leave(self, uid: str, **values: Any) -> None:
        """No longer read, and still there; its groups drop it."""
        self.elsewhere[uid] = replace(self.people[uid], **values)
        self.drop(uid)

    def come_back(self, uid: str, *groups: str, **values: Any) -> None:
        """Read again, and in these groups."""
        self.put(replace(self.elsewhere.pop(uid), **values))
        for group in groups:
            self.groups[group].append(uid)

    async def trace(self, request: TraceRequest, *, now: datetime) -> Traced:
        self.asked.append(request.anchors)
        if self.deaf:
            return Traced(unknown=self.deaf)
        there = {person.key: person for person in self.elsewhere.values()}
        wanted = [anchor for anchor in request.anchors if anchor in there]
        found = {anchor: there[anchor].entry() for anchor in wanted}
        logins = {anchor: (there[anchor].uid,) for anchor in wanted}
        return Traced(found, logins, frozenset(self.deleted.intersection(request.anchors)))


@dataclass
class World:
    """A ledger, one hand-made directory and a policy; time moves only when the test says so."""

    ledger: Ledger
    now: datetime
    policy: Policy
    source: HandSource = field(default_factory=HandSource)
    others: tuple[HandSource, ...] = ()

    @property
    def setup(self) -> Setup:
        sources = (self.source, *self.others)
        return Setup(
            ORGANIZATION,
            self.policy,
            tuple(ConfiguredSource(item, replace(RULES, source_id=item.id)) for item in sources),
        )

    def later(self, **parts: float) -> datetime:
        self.now += timedelta(**parts)
        return self.now


def mapping(name: str, team: str, *offerings: str, **values: Any) -> MappingSettings:
    """A mapping of the group of the same name, or of ``where``."""
    group = "" if "where" in values else name
    settings = {"id": name, "directory": "corp", "group": group, "team": team, "offerings": offerings, **values}
    return MappingSettings.model_validate(settings)


def policy(
    *mappings: MappingSettings,
    limits: Mapping[str, Any] | None = None,
    offboarding: Mapping[str, Any] | None = None,
    sync: Mapping[str, Any] | None = None,
    admins: Mapping[str, str] | None = None,
    guests: Sequence[Mapping[str, Any]] = (),
    invites: InviteSettings | None = None,
) -> Policy:
    """A policy over these mappings; every Team they name exists. Limits are wide unless given."""
    wide = {"day_percent": 100, "day_floor": 1000, "day_ceiling": 100000, "month_percent": 100,
            "team_day_percent": 100, "team_day_floor": 1000}  # fmt: skip
    names = list(dict.fromkeys(item.team for item in mappings))
    return Policy.build(
        teams=[TeamSettings(name=name, primary_admin=(admins or {}).get(name, "")) for name in names],
        mappings=mappings,
        limits=LimitSettings.model_validate(wide if limits is None else limits),
        offboarding=OffboardingSettings.model_validate(offboarding or {}),
        sync=SyncSettings.model_validate(sync or {}),
        guests=[GuestSettings.model_validate(item) for item in guests],
        invites=invites,
    )


async def open_gate(ledger: Ledger, now: datetime, *domains: str, state: str = "open") -> None:
    """Set the stand-in gate of these domains, as a row that transactions see."""
    async with ledger.write(ORGANIZATION.id, ALONE, at=now) as book:
        await runs.put_cursor(book, "gate", dict.fromkeys(domains, state))


async def stand_in_look(reader: Any, now: datetime) -> Domains:
    """The gate as that row says; nothing set: nothing open."""
    found = await runs.cursor(reader, "gate") or {}
    shut = {name: f"domain {name} is {state}: stand_in" for name, state in found.items() if state != "open"}
    return Domains(frozenset(name for name, state in found.items() if state == "open"), shut)


def stand_in_gate(monkeypatch: Any) -> None:
    """Replace the sign-on side by a row in the ledger, so that these tests need no identity provider; readings take no
    time."""

    async def enabled(_reader: Any, _now: datetime) -> bool:
        return False

    async def nothing(*_args: Any) -> None:
        return None

    monkeypatch.setattr(gate, "look", stand_in_look)
    monkeypatch.setattr(gate, "require_enabled", enabled)
    monkeypatch.setattr(gate, "suspend", nothing)
    monkeypatch.setattr(gate, "resume", nothing)
    monkeypatch.setattr(how, "elapsed", lambda: 0.0)  # time moves only when the test says so


async def sell(ledger: Ledger, now: datetime, team: str, code: str, quantity: int, **terms: Any) -> str:
    """An offering and a subscription of ``quantity`` seats for the Team; returns the subscription's id."""
    async with ledger.write(ORGANIZATION.id, ALONE, at=now) as book:
        await seats.put_offering(book, Offering(code, code.title(), OfferingKind.SINGLE_USER, True))
        ids = {row[2]: row[0] for row in await people.open_teams(book)}
        subscription = Subscription(
            terms.get("id", new_id()), ids[fold(team)], code, quantity, Tier.BUSINESS,
            terms.get("starts_on", date(2026, 1, 1)), terms.get("ends_on", date(2027, 1, 1)), terms.get("renews", ""),
        )  # fmt: skip
        await seats.put_subscription(book, subscription)
        return subscription.id


async def make_world(ledger: Ledger, now: datetime, chosen: Policy, **quantities: int) -> World:
    """An organization with an open gate, the policy's Teams, and ``TEAM_OFFERING=quantity`` subscriptions."""
    await ensure_organization(ledger, ORGANIZATION, chosen.teams, now=now)
    await open_gate(ledger, now, "acme.example")
    for name, quantity in quantities.items():
        team, _, code = name.partition("_")
        await sell(ledger, now, team, code, quantity)
    return World(ledger, now, chosen)
