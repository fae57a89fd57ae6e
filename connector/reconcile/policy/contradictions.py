"""Every contradiction of an organization file's policy, each with its place and, where there is one, a suggestion.

Pure: no I/O here. Nothing raises: all faults are found before any is reported.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from connector.reconcile.plan.settings import (
    GuestSettings,
    MappingSettings,
    OffboardingSettings,
    RoleSettings,
    SyncSettings,
    TeamSettings,
)
from connector.reconcile.policy.person_fields import MAIL, MAIL_DOMAIN, OWN, key_of
from ledger.errors import BadInput
from ledger.identity import Email, fold


@dataclass(frozen=True, slots=True)
class Sections:
    """What is compared. ``directories``: id → our fields there (None: only the id is known); ``domains``: registered
    names. Either is None when it is not known, and then not compared."""

    teams: Sequence[TeamSettings]
    mappings: Sequence[MappingSettings]
    guests: Sequence[GuestSettings]
    offboarding: OffboardingSettings
    sync: SyncSettings
    directories: Mapping[str, Collection[str] | None] | None = None
    domains: Collection[str] | None = None


def find(sections: Sections) -> list[BadInput]:
    """All of them, in the order Teams, mappings, delays, guests."""
    return [
        *_team_faults(sections.teams),
        *_mapping_faults(sections),
        *_delay_faults(sections.offboarding, sections.mappings),
        *_guest_faults(sections),
    ]


def _team_faults(teams: Sequence[TeamSettings]) -> list[BadInput]:
    faults: list[BadInput] = []
    seen: dict[str, str] = {}
    for position, team in enumerate(teams):
        key = fold(team.name)
        if key in seen:
            faults.append(BadInput(f"Team {team.name!r} is also called {seen[key]!r}", where=f"teams[{position}].name"))
        seen[key] = team.name
    return faults


def _mapping_faults(sections: Sections) -> list[BadInput]:
    faults: list[BadInput] = []
    team_keys = {fold(team.name): team.name for team in sections.teams}
    known = sections.directories
    ids: set[str] = set()
    same: dict[tuple[object, ...], str] = {}
    for item in sections.mappings:
        where = f"mappings.{item.id}"
        if item.id in ids:
            faults.append(BadInput(f"two mappings have the id {item.id!r}", where=where))
        ids.add(item.id)
        if fold(item.team) not in team_keys:
            faults.append(
                BadInput(f"unknown Team {item.team!r}{close(item.team, team_keys.values())}", where=f"{where}.team")
            )
        if known is not None and item.directory not in known:
            text = f"unknown directory {item.directory!r}{close(item.directory, known)}"
            faults.append(BadInput(text, where=f"{where}.directory"))
        if len(set(item.offerings)) != len(item.offerings):
            faults.append(BadInput("an offering is listed twice", where=f"{where}.offerings"))
        faults += _selection_faults(item, sections)
        faults += _role_faults(item, sections)
        meant = (item.directory, fold(item.group), _canonical(item), fold(item.team))
        if meant in same:
            people = "group" if item.group else "people"
            text = f"the same {people} and Team as mapping {same[meant]!r}: list all offerings in one of them"
            faults.append(BadInput(text, where=where))
        same[meant] = item.id
    return faults


def _canonical(item: MappingSettings) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """An attribute filter as it is compared with another."""
    return tuple(
        (field, tuple(sorted(fold(value) for value in values))) for field, values in sorted(item.where.items())
    )


def _selection_faults(item: MappingSettings, sections: Sections) -> list[BadInput]:
    """Whom a mapping means: group or where, and what is excluded."""
    place = f"mappings.{item.id}"
    faults: list[BadInput] = []
    if item.group and item.where:
        faults.append(BadInput("group and where: a mapping has one of them; make two mappings", where=f"{place}.where"))
    elif not item.group and not item.where:
        text = "neither group nor where: say whose people these are"
        faults.append(BadInput(text, where=place))
    if item.keep_group and not item.group:
        text = "keep_group keeps the mapping's directory group, and where names none: leave keep_group out"
        faults.append(BadInput(text, where=f"{place}.keep_group"))
    known = (sections.directories or {}).get(item.directory)
    for field, values in item.where.items():
        faults += [BadInput(text, where=f"{place}.where") for text in _field_faults(field, values, known)]
    faults += _domain_faults(item, sections)
    if item.group and fold(item.group) in {fold(group) for group in item.exclude_groups}:
        text = f"the mapping's own group {item.group!r} is excluded: nobody would be left"
        faults.append(BadInput(text, where=f"{place}.exclude_groups"))
    if any(not group.strip() for group in item.exclude_groups):
        faults.append(BadInput("an empty group", where=f"{place}.exclude_groups"))
    if len({fold(group) for group in item.exclude_groups}) != len(item.exclude_groups):
        faults.append(BadInput("a group is listed twice", where=f"{place}.exclude_groups"))
    return [*faults, *_exclusion_faults(item)]


def _exclusion_faults(item: MappingSettings) -> list[BadInput]:
    place = f"mappings.{item.id}.exclude"
    keys = {Email.parse(mail).key for mail in item.exclude}
    faults = [] if len(keys) == len(item.exclude) else [BadInput("an address is listed twice", where=place)]
    named = {fold(value) for value in item.where.get(MAIL, ())}
    if named and named <= keys:
        faults.append(BadInput("everybody whom where names by mail is excluded", where=place))
    return faults


def _field_faults(field: str, values: Sequence[str], known: Collection[str] | None) -> list[str]:
    faults: list[str] = []
    names = None if known is None else {*known, *OWN}
    if names is not None and field not in names:
        faults.append(f"unknown field {field!r}{close(field, names)} (known here: {', '.join(sorted(names))})")
    elif field == MAIL_DOMAIN and MAIL_DOMAIN in (known or ()):
        faults.append(f"{MAIL_DOMAIN} is the domain of the mail address: give your attribute of that name another one")
    if not values:
        faults.append(f"{field} has no values: nobody can match, leave the field out or name its values")
    keys: set[str] = set()
    for value in values:
        try:
            key = key_of(field, value)
        except ValueError as error:
            faults.append(f"{field}: {error}")
            continue
        if not key:
            faults.append(f"{field}: an empty value asks for people who have none, and absence proves nothing")
        elif key in keys:
            faults.append(f"{field}: {value!r} is listed twice (case does not count)")
        keys.add(key)
    return faults


def _domain_faults(item: MappingSettings, sections: Sections) -> list[BadInput]:
    """Domains of a filter whose people could never be granted anything (D11)."""
    if sections.domains is None:
        return []
    invited = {domain for rule in sections.guests if item.id in rule.mappings for domain in rule.domains}
    faults: list[BadInput] = []
    for value in item.where.get(MAIL_DOMAIN, ()):
        try:
            domain = key_of(MAIL_DOMAIN, value)
        except ValueError:
            continue
        if domain not in sections.domains and domain not in invited:
            text = (
                f"{MAIL_DOMAIN} {value!r} is no domain of the organization{close(domain, sections.domains)}:"
                " nobody there can be granted anything, unless a [[guests]] rule names it with this mapping"
            )
            faults.append(BadInput(text, where=f"mappings.{item.id}.where"))
    return faults


def _role_faults(item: MappingSettings, sections: Sections) -> list[BadInput]:
    if item.role is RoleSettings.NONE:
        return []
    where = f"mappings.{item.id}.role"
    faults: list[BadInput] = []
    if not sections.sync.allow_roles:
        text = f"role = {item.role.value!r} lets whoever edits the directory make admins: set [sync] allow_roles = true"
        faults.append(BadInput(text, where=where))
    if item.role is RoleSettings.PRIMARY_ADMIN:
        for team in sections.teams:
            if fold(team.name) == fold(item.team) and team.primary_admin:
                text = (
                    f"Team {team.name!r} has the Primary Admin {team.primary_admin} already: name them in the Team or"
                    " by this mapping, not both"
                )
                faults.append(BadInput(text, where=where))
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


def _guest_faults(sections: Sections) -> list[BadInput]:
    """A guests rule that names what is not there, invites the organization's own people, or makes outsiders admins."""
    faults: list[BadInput] = []
    known = {item.id: item for item in sections.mappings}
    for position, rule in enumerate(sections.guests):
        where = f"guests[{position}]"
        for name in rule.mappings:
            if name not in known:
                faults.append(BadInput(f"unknown mapping {name!r}{close(name, known)}", where=f"{where}.mappings"))
            elif known[name].role is not RoleSettings.NONE:
                text = f"mapping {name!r} grants a role: an admin is of the organization or an affiliate, never a guest"
                faults.append(BadInput(text, where=f"{where}.mappings"))
        for domain in rule.domains:
            if domain in (sections.domains or ()):
                text = f"{domain} is a domain of the organization: its people are no guests"
                faults.append(BadInput(text, where=f"{where}.domains"))
        for title, names in (("domains", rule.domains), ("mappings", rule.mappings)):
            if len(set(names)) != len(names):
                faults.append(BadInput(f"one of the {title} is listed twice", where=f"{where}.{title}"))
        for mail in rule.mails:
            if Email.parse(mail).domain not in rule.domains:
                text = f"{mail} is not of {', '.join(rule.domains)}"
                faults.append(BadInput(text, where=f"{where}.mails"))
    return faults


def offering_faults(mappings: Iterable[tuple[str, Sequence[str]]], offerings: Iterable[str]) -> list[BadInput]:
    """One fault per (mapping id, its codes) and code that does not exist, with the closest known code."""
    codes = set(offerings)
    return [
        BadInput(f"unknown offering {code!r}{close(code, codes)}", where=f"mappings.{name}.offerings")
        for name, wanted in mappings
        for code in wanted
        if code not in codes
    ]


def close(text: str, known: Iterable[str]) -> str:
    """``: did you mean 'x'?`` for the nearest known name, or nothing."""
    by_key = {fold(name): name for name in sorted(known)}
    found = difflib.get_close_matches(fold(text), list(by_key), n=1)
    return f": did you mean {by_key[found[0]]!r}?" if found else ""
