"""Random organizations for property tests: what the ledger holds, what the directories show now, and the policy.

Everything is drawn by Hypothesis, so a failure shrinks. ``Organization.traits`` names what a draw contains (movers,
collisions, rehires …): a test counts them, so that the generator cannot quietly stop making the hard cases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import strategies as st

from connector.directory.mapping import Person, map_entry
from connector.reconcile.desired.seen import Domains, SourceSeen
from connector.reconcile.plan.recorded import (
    GrantRow,
    GroupMemberRow,
    GroupRow,
    IdentityRow,
    LinkRow,
    MembershipRow,
    Recorded,
    SeatRow,
    TeamRow,
    WaitRow,
)
from connector.reconcile.plan.settings import MappingSettings
from connector.reconcile.policy.policy import Policy
from connector.reconcile.reading.whole import see
from ledger.identity import fold
from ledger.seat import Subscription, Tier
from tests.parts.directories import BASE, RULES, HandSource, Somebody, mapping, policy

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
OFFERINGS = ("CAD", "RENDER")
GROUPS = {"corp": ("design", "site", "lab"), "eu": ("field", "studio")}
MAPPINGS: tuple[MappingSettings, ...] = (
    mapping("design", "Design", "CAD", "RENDER", priority=10, keep_group=True),
    mapping("site", "Site", "CAD", priority=20, keep_group=True),
    mapping("lab", "Design", "CAD", priority=5, release_after="0"),
    mapping("rendering", "Studio", "RENDER", group="design", priority=30, keep_group=True),
    mapping("field", "Site", "CAD", directory="eu", priority=20, keep_group=True),
    mapping("studio", "Studio", "RENDER", "CAD", directory="eu", priority=15, remove_after="40d"),
)
"""Shared groups (design), Teams (Design, Site, Studio) and offerings (CAD, RENDER) over two directories; kept groups,
one of them by two mappings."""
LIMITS: tuple[dict[str, Any] | None, ...] = (
    None,
    {},
    {"day_floor": 1, "day_percent": 0, "team_day_floor": 1, "team_day_percent": 0},
    {"day_floor": 0, "day_percent": 0, "month_percent": 0, "team_day_floor": 0, "team_day_percent": 0},
    {"day_floor": 1, "day_percent": 0, "on_held": "apply-nothing"},
)
FATES = (
    *("here", "here", "gone", "disabled", "renamed", "renamed", "broken", "rehired", "moved-over", "abroad", "buried"),
    *("here", "here"),
)
STATES = ("active",) * 7 + ("disabled", "absent", "removed")
TOLD = (False, False, False, True)
"""Whether a directory proves deletions only, as an inbox does."""
OPEN = Domains(frozenset({"acme.example", "eu.example"}), {"closed.example": "domain closed.example is closed: lapse"})
AGES = tuple(NOW - timedelta(minutes=minutes) for minutes in (5, 14, 15, 120, 60 * 24 * 20))


@dataclass
class Organization:
    """One draw. ``entries``: uid → (source id, entry) of everybody the ledger links to an entry."""

    policy: Policy
    recorded: Recorded
    sources: dict[str, HandSource]
    domains: Domains = OPEN
    now: datetime = NOW
    traits: set[str] = field(default_factory=set)

    def seen(self) -> dict[str, SourceSeen]:
        """The readings of now, mapped."""
        return look(self.sources, self.policy, self.now)


def look(sources: Mapping[str, HandSource], chosen: Policy, now: datetime) -> dict[str, SourceSeen]:
    """Readings of these directories, mapped."""
    found = {}
    for name, source in sources.items():
        references = chosen.groups_of(name)
        found[name] = see(source.reading(references, now), references, replace(RULES, source_id=name), now)
    return found


@st.composite
def organizations(draw: st.DrawFn, people: int = 8, *, limits: Any = None) -> Organization:
    """A whole organization; ``limits``: a strategy of limit settings in place of the usual ones."""
    chosen = draw(policies(limits))
    before, ledger = _Ledger(chosen), {name: HandSource(name, told=draw(st.sampled_from(TOLD))) for name in GROUPS}
    traits: set[str] = {"told" for one in ledger.values() if one.told}
    everybody = [draw(_member(f"p{number}", traits)) for number in range(draw(st.integers(2, people)))]
    for member in everybody:
        before.add(member, draw)
    recorded = before.recorded(draw, traits)
    for member in everybody:
        _today(draw, member, ledger, traits)
    for number in range(draw(st.integers(0, 3))):
        _newcomer(draw, f"n{number}", everybody, ledger, traits)
    disturb(draw, ledger, traits)
    return Organization(chosen, recorded, ledger, traits=traits)


@st.composite
def policies(draw: st.DrawFn, limits: Any = None) -> Policy:
    """Some of the mappings (never none), one kind of limits, an admin or two, in any file order."""
    kept = draw(st.permutations(MAPPINGS))[: draw(st.integers(3, len(MAPPINGS)))]
    sync = {"protected": draw(st.sampled_from([(), ("p0@acme.example",)])), "protect_admins": draw(st.booleans())}
    chosen = draw(limits if limits is not None else st.sampled_from(LIMITS))
    return policy(*kept, limits=chosen, sync=sync)


@dataclass
class _Member:
    """Somebody the ledger knows: the entry it knows them by, what its groups were, and how it stands."""

    entry: Somebody
    source: str
    groups: tuple[str, ...]
    state: str
    linked: bool
    plot: str = ""
    """``leaver`` and ``mover`` make sure that the ends of long stories are met, with all the evidence they need;
    who is ``half-moved`` has left two groups for a third one, and a second reading shows it of one of them only."""


@st.composite
def _member(draw: st.DrawFn, uid: str, traits: set[str]) -> _Member:
    plot = draw(st.sampled_from(["", "", "", "", "leaver", "mover", "half-moved"]))
    source = "corp" if plot == "half-moved" else draw(st.sampled_from(["corp", "corp", "eu"]))
    domain = "acme.example" if plot else draw(st.sampled_from(["acme.example"] * 6 + ["eu.example", "closed.example"]))
    number = draw(st.sampled_from([f"n{uid}", f"n{uid}", f"n{uid}", "", "shared"]))
    groups = draw(st.lists(st.sampled_from(GROUPS[source]), min_size=1, max_size=2, unique=True))
    groups = ["lab", "site"] if plot == "half-moved" else groups
    state = draw(st.sampled_from({"": STATES, "leaver": ("disabled", "absent")}.get(plot, ("active",))))
    if domain == "closed.example":
        traits.add("frozen domain")
    linked = bool(plot) or draw(st.sampled_from([True] * 9 + [False]))
    entry = Somebody(uid, f"{uid}@{domain}", number=number)
    return _Member(entry, source, tuple(sorted(groups)), state, linked, plot)


class _Ledger:
    """Builds ``Recorded`` by hand: consistent rows, in states that a long life would lead to."""

    def __init__(self, chosen: Policy) -> None:
        self.policy = chosen
        self.values: dict[str, dict[Any, Any]] = {
            name: {} for name in ("identities", "links", "memberships", "seats", "grants", "waiting", "absences",
                                  "removal_due", "groups", "group_members")
        }  # fmt: skip
        self.signed_in: set[str] = set()
        self.manual = False

    def add(self, member: _Member, draw: st.DrawFn) -> None:
        """The identity with its link, memberships, seats, places on the waitlist and noted absences."""
        uid, values = member.entry.uid, self.values
        person = map_entry(member.entry.entry(), replace(RULES, source_id=member.source), now=NOW)
        assert isinstance(person, Person)
        attributes = msgspec.json.encode(dict(person.attributes), order="deterministic").decode()
        values["identities"][uid] = IdentityRow(
            f"row-{uid}", uid, person.mail.text, person.mail.key, person.given_name, person.family_name,
            person.display_name, member.state, person.employee_number, attributes,
        )  # fmt: skip
        if member.linked:
            link = LinkRow(f"link-{uid}", uid, member.source, person.anchor, person.fingerprint)
            values["links"].setdefault(member.source, {})[person.anchor] = link
            for scope in ("people", *(f"group:{name}" for name in GROUPS[member.source])):
                if member.plot or draw(st.sampled_from([False, False, True])):
                    ages = AGES[2:] if member.plot else AGES
                    if member.plot == "half-moved" and scope == "group:site":
                        ages = AGES[:2]
                    values["absences"][member.source, person.anchor, scope] = draw(st.sampled_from(ages))
        if draw(st.booleans()):
            self.signed_in.add(uid)
        if member.state == "removed":
            return
        if member.state != "active":
            due = [NOW - timedelta(days=1), NOW, NOW + timedelta(days=9)]
            values["removal_due"][uid] = draw(st.sampled_from(due))
        self._teams(member, draw)

    def _teams(self, member: _Member, draw: st.DrawFn) -> None:
        uid = member.entry.uid
        rules = [r for r in self.policy.rules.values() if r.directory == member.source and r.group in member.groups]
        rows = [MembershipRow(f"m-{uid}-{rule.id}", rule.team_key, rule.provenance) for rule in rules]
        if draw(st.sampled_from([False] * 7 + [True])):
            team = draw(st.sampled_from(sorted({rule.team_key for rule in self.policy.rules.values()})))
            rows.append(MembershipRow(f"by-hand-{uid}", team, "manual"))
            self.manual = True
        if draw(st.sampled_from([False] * 8 + [True])):
            rows.append(MembershipRow(f"m-{uid}-ended", rules[0].team_key if rules else "site", "mapping:ended"))
        if rows:
            self.values["memberships"][uid] = rows
        self._groups(uid, rules, draw)
        for code in OFFERINGS:
            asking = sorted((r for r in rules if code in r.offerings), key=lambda rule: (rule.priority, rule.id))
            if asking:
                self._seat(member, code, asking, draw)

    def _groups(self, uid: str, rules: list[Any], draw: st.DrawFn) -> None:
        """The kept groups, by whichever mapping came first; now and then one not joined yet, given by hand, or kept
        by a mapping that no longer does."""
        rows: dict[str, GroupMemberRow] = {}
        for rule in rules:
            group = f"kept-{rule.directory}-{rule.group}"
            fate = draw(st.sampled_from(["joined"] * 6 + ["not yet", "by hand", "once"]))
            if group not in rows and fate != "not yet" and (rule.keep_group or fate == "once"):
                by = "manual" if fate == "by hand" else rule.provenance
                rows[group] = GroupMemberRow(f"in-{uid}-{group}", group, by)
                anchor = f"anchor-{rule.group}"
                self.values["groups"][rule.directory, anchor] = GroupRow(
                    f"row-{group}", group, rule.directory, anchor, rule.group, rule.group
                )
        if rows:
            self.values["group_members"][uid] = list(rows.values())

    def _seat(self, member: _Member, code: str, asking: list[Any], draw: st.DrawFn) -> None:
        uid, seat = member.entry.uid, f"s-{member.entry.uid}-{code}"
        fate = draw(st.sampled_from(["held"] * 5 + ["waiting", "nothing"]))
        if fate == "waiting" and member.state == "active":
            rule = asking[0]
            since = draw(st.sampled_from(AGES))
            row = WaitRow(f"w-{seat}", rule.team_key, code, rule.provenance, rule.priority, since)
            self.values["waiting"].setdefault(uid, []).append(row)
        if fate != "held":
            return
        owner = draw(st.sampled_from(asking)).team_key
        before = "active" if uid in self.signed_in else "invited"
        grants = [GrantRow(f"g-{seat}-{r.id}", seat, r.team_key, r.provenance) for r in asking]
        by_hand = draw(st.sampled_from([False] * 7 + [True]))
        if by_hand:
            grants.append(GrantRow(f"hand-{seat}", seat, owner, "manual"))
            self.manual = True
        if member.state == "active" or by_hand:
            row = SeatRow(f"r-{seat}", seat, f"sub-{owner}", owner, code, uid, before, "")
        else:
            due = draw(st.sampled_from([NOW - timedelta(days=1), NOW, NOW + timedelta(days=5)]))
            row = SeatRow(f"r-{seat}", seat, f"sub-{owner}", owner, code, uid, "paused", before, due)
        self.values["seats"].setdefault(uid, []).append(row)
        self.values["grants"][seat] = grants

    def recorded(self, draw: st.DrawFn, traits: set[str]) -> Recorded:
        """With Teams, admins, and subscriptions whose terms ran out, run, or have not begun."""
        teams = {fold(team.name): TeamRow(fold(team.name), team.name) for team in self.policy.teams}
        sold: list[Subscription] = []
        for team in teams:
            for code in OFFERINGS:
                for number in range(draw(st.sampled_from([1, 2, 0]))):
                    begins, ends = draw(st.sampled_from(TERMS))
                    quantity = draw(st.sampled_from([9, 5, 1, 2, 0]))
                    sold.append(
                        Subscription(f"sub-{team}-{code}-{number}", team, code, quantity, Tier.BUSINESS, begins, ends)
                    )
        living = [uid for uid, row in self.values["identities"].items() if row.state != "removed"]
        owners = {team: frozenset({draw(st.sampled_from(living))}) for team in teams
                  if living and draw(st.sampled_from([False] * 5 + [True]))}  # fmt: skip
        shared = any(len(rows) > 1 for rows in self.values["grants"].values())
        ended = any(not item.runs_on(NOW.date()) for item in sold)
        named = (("shared seat", shared), ("manual row", self.manual), ("admin", owners), ("term ended", ended))
        traits |= {name for name, found in named if found}
        return Recorded(
            **self.values,
            teams=teams,
            offerings=frozenset(OFFERINGS),
            subscriptions=tuple(sold),
            admins=frozenset().union(*owners.values()),
            primary_admins=owners,
            signed_in=frozenset(self.signed_in),
            causes={
                uid: {row.provenance: f"uid={uid},ou=People → group → mapping" for row in rows}
                for uid, rows in self.values["memberships"].items()
            },
        )


TERMS = (
    (date(2026, 1, 1), date(2027, 1, 1)),
    (date(2026, 1, 1), date(2027, 1, 1)),
    (date(2025, 3, 2), date(2026, 3, 2)),  # ended at midnight
    (date(2026, 3, 2), date(2027, 3, 2)),  # its renewal
    (date(2026, 3, 3), date(2027, 3, 3)),  # begins tomorrow
)


def _today(draw: st.DrawFn, member: _Member, sources: dict[str, HandSource], traits: set[str]) -> None:
    """What the directory shows of somebody the ledger knows."""
    uid, source = member.entry.uid, member.source
    fate = draw(st.sampled_from({"": FATES, "leaver": ("gone", "disabled")}.get(member.plot, ("here",))))
    traits.add(fate)
    if fate == "gone":
        return
    if fate == "buried":
        sources[source].tombstones.add(member.entry.key)
        return
    entry = member.entry
    if fate in {"disabled", "broken"}:
        entry = replace(entry, **{fate: True})
    elif fate == "renamed":
        # … or to the address of somebody else, who keeps it, leaves it, or is gone
        entry = replace(entry, mail=draw(st.sampled_from([f"new.{uid}@acme.example", "p1@acme.example"])))
    elif fate == "rehired":
        entry = replace(entry, anchor=f"again-{uid}")
    elif fate == "abroad":
        entry = replace(entry, mail=f"{uid}@closed.example")
    elif fate == "moved-over":
        source = "eu" if source == "corp" else "corp"
        entry = replace(entry, anchor=f"over-{uid}")
    groups = member.groups
    if member.plot == "mover":
        groups = (draw(st.sampled_from([name for name in GROUPS[source] if name not in groups] or GROUPS[source])),)
    elif source != member.source or draw(st.sampled_from([False, True])):
        groups = tuple(draw(st.sets(st.sampled_from(GROUPS[source]), max_size=2)))
    if member.plot == "half-moved":
        groups = ("design",)  # it leads to the Team that lab led to
        traits.add("half-moved")
    if source == member.source and groups and not set(groups) & set(member.groups):
        traits.add("mover")
    sources[source].put(entry, groups=sorted(groups))


def _newcomer(
    draw: st.DrawFn, uid: str, everybody: list[_Member], sources: dict[str, HandSource], traits: set[str]
) -> None:
    """Somebody new; now and then with an address or an employee number that somebody else has or had."""
    source = draw(st.sampled_from(["corp", "eu"]))
    other = draw(st.sampled_from(everybody)).entry
    mail = draw(st.sampled_from(["", "", other.mail]))
    number = draw(st.sampled_from(["", "", other.number]))
    groups = draw(st.sets(st.sampled_from(GROUPS[source]), max_size=2))
    shown = {person.mail for one in sources.values() for person in one.people.values()}
    if mail:
        traits.add("collision" if mail in shown else "recycled address")
    disabled = draw(st.sampled_from([False, False, False, True]))
    sources[source].put(Somebody(uid, mail, number=number, disabled=disabled), groups=sorted(groups))
    traits.add("newcomer")


def disturb(draw: st.DrawFn, sources: dict[str, HandSource], traits: set[str]) -> None:
    """Scopes that are not read to their end, groups that are missing, members nobody stands for."""
    for name, source in sources.items():
        for group in GROUPS[name]:
            source.groups.setdefault(group, [])
        trouble = draw(st.sampled_from(["none"] * 4 + ["base", "group", "missing", "unresolved", "sentinel"]))
        group = draw(st.sampled_from(GROUPS[name]))
        if trouble == "base":
            source.unknown[BASE] = "cut off"
        elif trouble == "group":
            source.unknown[f"group:{group}"] = "cut off"
        elif trouble == "missing":
            source.missing.add(group)
        elif trouble == "unresolved":
            source.unresolved[group] = {"uid=p1,ou=People", "cn=Stranger,dc=elsewhere"}
        elif trouble == "sentinel":
            source.hidden_sentinels.add("uid=sentinel,ou=People")
        if trouble != "none":
            traits.add(f"unknown {trouble}" if trouble in {"base", "group", "sentinel"} else trouble)
