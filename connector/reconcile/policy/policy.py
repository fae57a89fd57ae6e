"""Policy: what the organization file wants, as one frozen value with a hash.

Pure: no I/O, no clock here. The hash covers what decides (Teams, mappings, delays, limits), never where it is read
from: the same file pointed at another directory is the same policy (P1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec

from connector.reconcile.plan.settings import (
    GuestSettings,
    LimitSettings,
    MappingSettings,
    OffboardingSettings,
    SyncSettings,
    TeamSettings,
)
from connector.reconcile.policy.contradictions import Sections, find, offering_faults
from connector.reconcile.policy.invites import InviteSettings
from connector.reconcile.policy.person_fields import key_of
from ledger.errors import ManyErrors
from ledger.identity import Email, fold

MAPPING = "mapping:"
"""Prefix of the provenance of what a mapping granted (P3)."""

_ENCODE = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True)
class Rule:
    """One mapping, resolved: directory group or attribute filter → Team, offerings, role, priority, delays.

    Exactly one of ``group`` and ``where`` is not empty. ``where``: our field → the keys of which a person needs one
    (``person_fields.value_of``). ``exclude``: mail keys.
    """

    id: str
    directory: str
    group: str
    team: str
    offerings: tuple[str, ...]
    priority: int
    release_after: timedelta
    remove_after: timedelta
    provenance: str
    """``mapping:<id>``."""
    team_key: str
    """Caseless key of the Team's name."""
    where: tuple[tuple[str, frozenset[str]], ...] = ()
    exclude: frozenset[str] = frozenset()
    exclude_groups: tuple[str, ...] = ()
    role: str = ""
    """``ledger.team.Role`` its people hold, or empty."""
    limits: LimitSettings | None = None
    """``[limits]`` with what the mapping says itself; None: nothing."""
    keep_group: bool = False
    """Whether the directory group is kept beside the Team (``kept_groups``); only with ``group``."""

    @property
    def groups(self) -> tuple[str, ...]:
        """The group references it needs to be read."""
        return (self.group, *self.exclude_groups) if self.group else self.exclude_groups


@dataclass(frozen=True, slots=True)
class GuestRule:
    """One ``[[guests]]`` rule, resolved: people of ``domains`` (of ``mails`` only, when there are any) may be granted
    ``mappings`` (D11)."""

    domains: frozenset[str]
    mappings: frozenset[str]
    mails: frozenset[str]


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything planning needs from the organization file. Make it with ``build``."""

    rules: Mapping[str, Rule]
    teams: tuple[TeamSettings, ...]
    offboarding: OffboardingSettings
    limits: LimitSettings
    protected: frozenset[str]
    protect_admins: bool
    correlate_by_employee_number: bool
    guests: tuple[GuestRule, ...] = ()
    hash: str = field(default="")
    fresh_within: timedelta = timedelta(hours=24)
    doubt_percent: int = 20
    doubt_floor: int = 3
    doubt_after: timedelta = timedelta(days=7)
    invites: InviteSettings = field(default=InviteSettings())

    @classmethod
    def build(
        cls,
        *,
        teams: Sequence[TeamSettings],
        mappings: Sequence[MappingSettings],
        offboarding: OffboardingSettings | None = None,
        limits: LimitSettings | None = None,
        sync: SyncSettings | None = None,
        guests: Sequence[GuestSettings] = (),
        invites: InviteSettings | None = None,
        directories: Iterable[str] | None = None,
        domains: Collection[str] | None = None,
        offerings: Iterable[str] | None = None,
    ) -> Policy:
        """Resolve the sections; raise ``ManyErrors`` naming every contradiction at once.

        One parameter per section of the file. ``directories`` (ids, or id → the names of its ``attributes``),
        ``domains`` (registered names) and ``offerings`` (codes) are what exists, checked when given.
        """
        offboarding = offboarding or OffboardingSettings()
        limits = limits or LimitSettings()
        sync = sync or SyncSettings()
        invites = invites or InviteSettings()
        known = None if directories is None else dict(_fields_of(directories))
        sections = Sections(teams, mappings, guests, offboarding, sync, known, domains)
        faults = find(sections)
        if offerings is not None:
            faults += offering_faults([(item.id, item.offerings) for item in mappings], offerings)
        if faults:
            raise ManyErrors(faults, next_step="correct the organization file, then run rosterd check")
        names = {fold(team.name): team.name for team in teams}
        rules = {item.id: _rule(item, names, offboarding, limits) for item in mappings}
        invited = tuple(_guests(item) for item in guests)
        owners = {Email.parse(team.primary_admin).key for team in teams if team.primary_admin}
        return cls(
            rules=rules,
            teams=tuple(teams),
            offboarding=offboarding,
            limits=limits,
            protected=frozenset(Email.parse(mail).key for mail in sync.protected) | owners,
            protect_admins=sync.protect_admins,
            correlate_by_employee_number=sync.correlate_by_employee_number,
            guests=invited,
            hash=_policy_hash(
                Sections(teams, mappings, guests, offboarding, sync), rules.values(), invited, limits, invites
            ),
            fresh_within=sync.fresh_within,
            doubt_percent=sync.doubt_percent,
            doubt_floor=sync.doubt_floor,
            doubt_after=sync.doubt_after,
            invites=invites,
        )

    def rule_of(self, provenance: str) -> Rule | None:
        """The mapping that granted ``provenance``; None when it is manual, or no longer in the file."""
        return self.rules.get(provenance[len(MAPPING) :]) if provenance.startswith(MAPPING) else None

    def groups_of(self, directory: str) -> tuple[str, ...]:
        """The group references to read from ``directory``, each once, in file order."""
        mine = (rule for rule in self.rules.values() if rule.directory == directory)
        return tuple(dict.fromkeys(group for rule in mine for group in rule.groups))

    def limits_of(self, mapping: str) -> LimitSettings:
        """``[limits]`` as they hold for one mapping: its own ``limits`` replace ``team_day_percent`` and
        ``team_day_floor`` (G1). For a mapping that is no longer in the file, ``[limits]``."""
        rule = self.rules.get(mapping)
        return self.limits if rule is None or rule.limits is None else rule.limits

    def guest(self, mail_key: str) -> frozenset[str] | None:
        """The mappings that the ``[[guests]]`` rules allow the person with this address; None: no rule names them."""
        domain = mail_key.rpartition("@")[2]
        found = [rule for rule in self.guests if domain in rule.domains and (not rule.mails or mail_key in rule.mails)]
        return frozenset().union(*(rule.mappings for rule in found)) if found else None

    def require_offerings(self, known: Iterable[str]) -> None:
        """Raise ``ManyErrors`` when a mapping names an offering that is not in the ledger."""
        faults = offering_faults([(rule.id, rule.offerings) for rule in self.rules.values()], known)
        if faults:
            step = "import the offering with rosterd import offerings FILE, or correct the mapping"
            raise ManyErrors(faults, next_step=step)


def _fields_of(directories: Iterable[str]) -> Iterable[tuple[str, Collection[str] | None]]:
    if isinstance(directories, Mapping):
        return directories.items()
    return ((name, None) for name in directories)


def _rule(
    item: MappingSettings, names: Mapping[str, str], offboarding: OffboardingSettings, limits: LimitSettings
) -> Rule:
    return Rule(
        id=item.id,
        directory=item.directory,
        group=item.group,
        team=names[fold(item.team)],
        offerings=item.offerings,
        priority=item.priority,
        release_after=offboarding.release_after if item.release_after is None else item.release_after,
        remove_after=offboarding.remove_after if item.remove_after is None else item.remove_after,
        provenance=MAPPING + item.id,
        team_key=fold(item.team),
        where=tuple(
            (name, frozenset(key_of(name, value) for value in item.where[name])) for name in sorted(item.where)
        ),
        exclude=frozenset(Email.parse(mail).key for mail in item.exclude),
        exclude_groups=item.exclude_groups,
        role=item.role.value,
        limits=_limits(item, limits),
        keep_group=item.keep_group,
    )


def _limits(item: MappingSettings, limits: LimitSettings) -> LimitSettings | None:
    own = item.limits
    if own is None or (own.day_percent is None and own.day_floor is None):
        return None
    given = {"team_day_percent": own.day_percent, "team_day_floor": own.day_floor}
    return limits.model_copy(update={name: value for name, value in given.items() if value is not None})


def _guests(item: GuestSettings) -> GuestRule:
    mails = frozenset(Email.parse(mail).key for mail in item.mails)
    return GuestRule(frozenset(item.domains), frozenset(item.mappings), mails)


def _policy_hash(
    sections: Sections,
    rules: Collection[Rule],
    guests: Iterable[GuestRule],
    limits: LimitSettings,
    invites: InviteSettings,
) -> str:
    """Over all that decides, whether people are mailed included. What a file does not use leaves no trace, so a new key
    changes no older digest (P1)."""
    idle = {"fresh_within", "doubt_percent", "doubt_floor"}  # decide nothing about anybody
    idle |= set() if sections.sync.allow_roles else {"allow_roles"}
    idle |= set() if sections.sync.doubt_after != SyncSettings().doubt_after else {"doubt_after"}
    sync = sections.sync.model_dump(mode="json", exclude=idle)
    value: dict[str, Any] = {
        "mappings": sorted(
            (rule.id, fold(rule.group), rule.team, sorted(rule.offerings), rule.priority, _seconds(rule.release_after),
             _seconds(rule.remove_after))
            for rule in rules
        ),
        "teams": sorted((team.name, fold(team.primary_admin)) for team in sections.teams),
        "offboarding": sections.offboarding.model_dump(mode="json"),
        "limits": limits.model_dump(mode="json"),
        "sync": {**sync, "protected": sorted(fold(mail) for mail in sections.sync.protected)},
    }  # fmt: skip
    if chosen := sorted((rule.id, _choice(rule)) for rule in rules if _choice(rule)):
        value["choices"] = chosen
    if invited := sorted((sorted(rule.domains), sorted(rule.mappings), sorted(rule.mails)) for rule in guests):
        value["guests"] = invited
    if mailing := invites.model_dump(mode="json", exclude={"domains"}, exclude_defaults=True):
        value["invites"] = mailing
    return hashlib.sha256(_ENCODE(value)).hexdigest()


def _choice(rule: Rule) -> list[Any]:
    """What a mapping says beyond group, Team, offerings, priority and delays; empty when it says nothing more."""
    limits = rule.limits
    found: list[Any] = [
        [[name, sorted(keys)] for name, keys in rule.where],
        sorted(rule.exclude),
        sorted(fold(group) for group in rule.exclude_groups),
        rule.role,
        [limits.team_day_percent, limits.team_day_floor] if limits else [],
    ]
    if rule.keep_group:
        found.append("keep_group")
    return found if any(found) else []


def _seconds(delay: timedelta) -> int:
    return int(delay.total_seconds())
