"""Policy: what the organization file wants, as one frozen value with a hash.

Pure: no I/O, no clock here. The hash covers what decides (Teams, mappings, delays, limits), never where it is read
from: the same file pointed at another directory is the same policy (P1).
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import msgspec

from connector.reconcile.invites import InviteSettings
from connector.reconcile.settings import (
    LimitSettings,
    MappingSettings,
    OffboardingSettings,
    SyncSettings,
    TeamSettings,
)
from ledger.errors import BadInput, ManyErrors
from ledger.identity import Email, fold

MAPPING = "mapping:"
"""Prefix of the provenance of what a mapping granted (P3)."""

_ENCODE = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True)
class Rule:
    """One mapping, resolved: directory group → Team, offerings, priority, off-boarding delays."""

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
    hash: str = field(default="")
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
        invites: InviteSettings | None = None,
        directories: Iterable[str] | None = None,
        offerings: Iterable[str] | None = None,
    ) -> Policy:
        """Resolve the sections; raise ``ManyErrors`` naming every contradiction at once.

        ``directories`` and ``offerings`` are the ids and codes that exist, checked when given.
        """
        offboarding = offboarding or OffboardingSettings()
        limits = limits or LimitSettings()
        sync = sync or SyncSettings()
        invites = invites or InviteSettings()
        faults = [
            *_team_faults(teams),
            *_mapping_faults(mappings, teams, directories),
            *_delay_faults(offboarding, mappings),
        ]
        if offerings is not None:
            faults += offering_faults(mappings, offerings)
        if faults:
            raise ManyErrors(faults, next_step="correct the organization file, then run rosterd check")
        names = {fold(team.name): team.name for team in teams}
        rules = {item.id: _rule(item, names, offboarding) for item in mappings}
        owners = {Email.parse(team.primary_admin).key for team in teams if team.primary_admin}
        return cls(
            rules=rules,
            teams=tuple(teams),
            offboarding=offboarding,
            limits=limits,
            protected=frozenset(Email.parse(mail).key for mail in sync.protected) | owners,
            protect_admins=sync.protect_admins,
            correlate_by_employee_number=sync.correlate_by_employee_number,
            hash=_policy_hash(rules.values(), teams, offboarding, limits, sync, invites),
            invites=invites,
        )

    def rule_of(self, provenance: str) -> Rule | None:
        """The mapping that granted ``provenance``; None when it is manual, or no longer in the file."""
        return self.rules.get(provenance[len(MAPPING) :]) if provenance.startswith(MAPPING) else None

    def groups_of(self, directory: str) -> tuple[str, ...]:
        """The group references to read from ``directory``, each once, in file order."""
        return tuple(dict.fromkeys(rule.group for rule in self.rules.values() if rule.directory == directory))

    def require_offerings(self, known: Iterable[str]) -> None:
        """Raise ``ManyErrors`` when a mapping names an offering that is not in the ledger."""
        codes = set(known)
        faults = [
            _unknown_offering(rule.id, code, codes)
            for rule in self.rules.values()
            for code in rule.offerings
            if code not in codes
        ]
        if faults:
            raise ManyErrors(faults, next_step="import the offering with rosterd import FILE, or correct the mapping")


def _rule(item: MappingSettings, names: Mapping[str, str], offboarding: OffboardingSettings) -> Rule:
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
    )


def _team_faults(teams: Sequence[TeamSettings]) -> list[BadInput]:
    faults: list[BadInput] = []
    seen: dict[str, str] = {}
    for position, team in enumerate(teams):
        key = fold(team.name)
        if key in seen:
            faults.append(BadInput(f"Team {team.name!r} is also called {seen[key]!r}", where=f"teams[{position}].name"))
        seen[key] = team.name
    return faults


def _mapping_faults(
    mappings: Sequence[MappingSettings], teams: Sequence[TeamSettings], directories: Iterable[str] | None
) -> list[BadInput]:
    faults: list[BadInput] = []
    team_keys = {fold(team.name): team.name for team in teams}
    known = None if directories is None else set(directories)
    ids: set[str] = set()
    pairs: dict[tuple[str, str, str], str] = {}
    for item in mappings:
        where = f"mappings.{item.id}"
        if item.id in ids:
            faults.append(BadInput(f"two mappings have the id {item.id!r}", where=where))
        ids.add(item.id)
        if fold(item.team) not in team_keys:
            faults.append(
                BadInput(f"unknown Team {item.team!r}{_close(item.team, team_keys.values())}", where=f"{where}.team")
            )
        if known is not None and item.directory not in known:
            text = f"unknown directory {item.directory!r}{_close(item.directory, known)}"
            faults.append(BadInput(text, where=f"{where}.directory"))
        if len(set(item.offerings)) != len(item.offerings):
            faults.append(BadInput("an offering is listed twice", where=f"{where}.offerings"))
        pair = (item.directory, fold(item.group), fold(item.team))
        if pair in pairs:
            text = f"the same group and Team as mapping {pairs[pair]!r}: list all offerings in one of them"
            faults.append(BadInput(text, where=where))
        pairs[pair] = item.id
    return faults


def _delay_faults(offboarding: OffboardingSettings, mappings: Sequence[MappingSettings]) -> list[BadInput]:
    faults: list[BadInput] = []
    everyone = [("offboarding", offboarding.release_after, offboarding.remove_after)]
    for item in mappings:
        release = offboarding.release_after if item.release_after is None else item.release_after
        remove = offboarding.remove_after if item.remove_after is None else item.remove_after
        everyone.append((f"mappings.{item.id}", release, remove))
    for where, release, remove in everyone:
        if release > remove:
            faults.append(
                BadInput("release_after is longer than remove_after: nobody is removed who holds a seat", where=where)
            )
    return faults


def offering_faults(mappings: Sequence[MappingSettings], offerings: Iterable[str]) -> list[BadInput]:
    """One fault per mapping and offering code that does not exist, with the closest known code."""
    codes = set(offerings)
    return [
        _unknown_offering(item.id, code, codes) for item in mappings for code in item.offerings if code not in codes
    ]


def _unknown_offering(mapping: str, code: str, codes: set[str]) -> BadInput:
    return BadInput(f"unknown offering {code!r}{_close(code, codes)}", where=f"mappings.{mapping}.offerings")


def _close(text: str, known: Iterable[str]) -> str:
    by_key = {fold(name): name for name in sorted(known)}
    found = difflib.get_close_matches(fold(text), list(by_key), n=1)
    return f": did you mean {by_key[found[0]]!r}?" if found else ""


def _policy_hash(
    rules: Iterable[Rule],
    teams: Sequence[TeamSettings],
    offboarding: OffboardingSettings,
    limits: LimitSettings,
    sync: SyncSettings,
    invites: InviteSettings,
) -> str:
    """``invites`` counts: whether a plan mails its people is part of what somebody approves."""
    value = {
        "mappings": sorted(
            (rule.id, fold(rule.group), rule.team, sorted(rule.offerings), rule.priority, _seconds(rule.release_after),
             _seconds(rule.remove_after))
            for rule in rules
        ),
        "teams": sorted((team.name, fold(team.primary_admin)) for team in teams),
        "offboarding": offboarding.model_dump(mode="json"),
        "limits": limits.model_dump(mode="json"),
        "invites": invites.model_dump(mode="json", exclude={"domains"}),
        "sync": {**sync.model_dump(mode="json"), "protected": sorted(fold(mail) for mail in sync.protected)},
    }  # fmt: skip
    return hashlib.sha256(_ENCODE(value)).hexdigest()


def _seconds(delay: timedelta) -> int:
    return int(delay.total_seconds())
