"""What each directory says about one person beside what the ledger says: entry, groups, and where the two differ (P6).

Pure: values only; no I/O, no clock here. For the operator who asked about this person, so nothing is masked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from connector.directory.base import Entry
from connector.directory.finding import Finding, FoundEntry
from connector.directory.mapping import NAMED_FIELDS, AttributeRules, Person, map_entry, readable
from connector.reconcile.desired.seen import Domains
from connector.reconcile.evidence.addresses import chosen, first_beside
from connector.reconcile.policy.policy import Policy, Rule
from ledger.identity import Email, IdentityState
from ledger.instant import to_text

_OFF = frozenset({IdentityState.DISABLED.value, IdentityState.ABSENT.value})
"""Characters of one attribute value that are shown."""


@dataclass(frozen=True, slots=True)
class Known:
    """The person in the ledger. ``fields``: our names → values; ``links``: (source, anchor) → since when;
    ``provenances``: of open Team memberships."""

    identity: str
    state: str
    fields: Mapping[str, str]
    links: Mapping[tuple[str, str], str]
    provenances: frozenset[str]


@dataclass(frozen=True, slots=True)
class Context:
    """What an answer is compared with. ``known`` None: nobody in the ledger. ``holders``: (source, anchor) → identity
    of every link to an anchor that was found."""

    policy: Policy
    domains: Domains
    now: datetime
    known: Known | None = None
    holders: Mapping[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reach:
    """A mapped group that reaches the person: names walked from it to their own group, and where it leads."""

    group: str
    path: tuple[str, ...]
    mapping: str
    team: str

    @property
    def text(self) -> str:
        """``build / site → mapping build → Team Site``."""
        return f"{' / '.join(self.path)} → mapping {self.mapping} → Team {self.team}"


@dataclass(frozen=True, slots=True)
class EntrySide:
    """One entry. ``enabled`` None: it cannot be mapped (``standing`` says why, else why it is disabled or until when,
    and what is to be known of its addresses).

    ``link``: how the ledger is bound to it; ``differs``: where ledger and entry disagree; ``outlook``: what a run makes
    of somebody the ledger does not know.
    """

    dn: str
    anchor: str
    link: str
    fields: Mapping[str, str]
    enabled: bool | None
    standing: tuple[str, ...] = ()
    groups: tuple[Reach, ...] = ()
    differs: tuple[str, ...] = ()
    outlook: str = ""

    @property
    def lines(self) -> tuple[str, ...]:
        """Plain text, the entry first."""
        said = {True: "enabled", False: "DISABLED", None: "cannot be mapped"}[self.enabled]
        why = f": {'; '.join(self.standing)}" if self.standing else ""
        out = [f"entry {self.dn} (anchor {self.anchor}), {self.link}", f"  {said}{why}"]
        out += [f"  {name}: {value}" for name, value in self.fields.items()]
        out += [f"  in {reach.text}" for reach in self.groups] or ["  not in any mapped group"]
        out += [f"  DIFFERS: {text}" for text in self.differs]
        if self.outlook:
            out.append(f"  {self.outlook}")
        elif not self.differs:
            out.append("  ledger and directory agree")
        return tuple(out)

    def to_json(self) -> dict[str, Any]:
        """One object."""
        return {
            "dn": self.dn,
            "anchor": self.anchor,
            "link": self.link,
            "enabled": self.enabled,
            "standing": list(self.standing),
            "fields": dict(self.fields),
            "groups": [{"group": reach.group, "path": list(reach.path), "mapping": reach.mapping, "team": reach.team}
                       for reach in self.groups],
            "differs": list(self.differs),
            "outlook": self.outlook,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class SourceSide:
    """One directory's answer. ``unread``: why it could not be asked; ``fix``: the next step then. ``notes``: what else
    it said (groups that could not be told, links without an entry, entries that are nobody to us)."""

    source: str
    server: str = ""
    entries: tuple[EntrySide, ...] = ()
    unread: str = ""
    fix: str = ""
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """Plain text under its heading."""
        if self.unread:
            return (f"directory {self.source}: NOT ASKED: {self.unread}", f"  → {self.fix}")
        out = [f"directory {self.source}{f' ({self.server})' if self.server else ''}:"]
        out += [f"  {line}" for entry in self.entries for line in entry.lines]
        out += [] if self.entries else ["  no entry has this address or is linked to this person"]
        return (*out, *(f"  note: {text}" for text in self.notes))

    def to_json(self) -> dict[str, Any]:
        """One object."""
        return {
            "source": self.source,
            "server": self.server,
            "asked": not self.unread,
            "reason": self.unread,
            "fix": self.fix,
            "entries": [entry.to_json() for entry in self.entries],
            "notes": list(self.notes),
        }


def compare(finding: Finding, rules: AttributeRules, context: Context, *, fix: str = "") -> SourceSide:
    """A directory's answer beside the ledger. ``fix``: what to do when it could not be asked."""
    source = finding.source_id
    if finding.unread:
        return SourceSide(source, finding.server, unread=finding.unread, fix=fix)
    entries = tuple(_entry(finding, found, rules, context) for found in finding.entries)
    notes = [f"group {reference}: not known whether it holds the person ({reason})"
             for reference, reason in sorted(finding.unread_groups.items())]  # fmt: skip
    notes += [f"{dn} has the address and is nobody to us: the people filter leaves it out" for dn in finding.outside]
    if len(entries) > 1:
        notes.append("several entries are meant: with one address twice none of them is granted anything new")
    anchors = {entry.anchor for entry in entries}
    for (where, anchor), since in sorted(context.known.links.items() if context.known else ()):
        if where == source and anchor not in anchors:
            notes.append(
                f"the linked entry (anchor {anchor}, since {since}) is not visible now: that takes access only when two"
                " complete readings agree"
            )
    return SourceSide(source, finding.server, entries, notes=tuple(notes))


def _entry(finding: Finding, found: FoundEntry, rules: AttributeRules, context: Context) -> EntrySide:
    entry, source = found.entry, finding.source_id
    person = map_entry(entry, rules, now=context.now)
    groups = tuple(
        Reach(rule.group, found.groups[rule.group], rule.id, rule.team)
        for rule in _rules_of(context.policy, source)
        if rule.group in found.groups
    )
    if not isinstance(person, Person):
        link, raw = _link(entry, source, context), _raw(entry, rules)
        keeps = "whoever is linked to it keeps what they have until the entry can be mapped"
        if not person.enabled:
            off = context.known is not None and context.known.state in _OFF
            then = "stays off" if off else "has their seats paused by the next run"
            keeps = f"the entry is disabled, which counts though it cannot be mapped: whoever is linked to it {then}"
        why = (*person.reasons, *rules.signs(entry))
        return EntrySide(entry.dn, entry.anchor, link, raw, None, why, groups, (keeps,))
    notes = [f"{text}; another address counts" for text in person.unusable]
    if context.known is not None and (source, entry.anchor) in context.known.links:
        present = context.known.fields.get("mail", "")
        key = Email.parse(present).key
        first = first_beside(person, key, context.domains.open)
        if first is not None:
            notes.append(
                f"shows {first.text} first and still {present}: runs keep the present one, `rosterd rename {present}"
                f" --to {first.text}` changes it"
            )
        person = person.with_mail(chosen(person, key, context.domains.open))
    side = EntrySide(
        entry.dn, entry.anchor, _link(entry, source, context), _fields(person), person.enabled,
        (*_standing(entry, person, rules, context.now), *notes), groups,
    )  # fmt: skip
    if context.known is None:
        holder = context.holders.get((source, entry.anchor), "")
        belongs = f"the entry belongs to {holder}: rosterd explain {holder} says more"
        return replace(side, outlook=belongs if holder else _outlook(person, groups, context.domains))
    return replace(side, differs=tuple(_differences(side, finding, person, context)))


def _rules_of(policy: Policy, source: str) -> Iterable[Rule]:
    return (rule for rule in policy.rules.values() if rule.directory == source)


def _fields(person: Person) -> dict[str, str]:
    named = {name: str(getattr(person, name)) for name in NAMED_FIELDS}
    return {name: text for name, text in {**named, **person.attributes}.items() if text}


def _raw(entry: Entry, rules: AttributeRules) -> dict[str, str]:
    """The attributes behind a bad entry's fields, as far as they can be shown."""
    names = [name for field_names in rules.fields.values() for name in field_names]
    texts = {name: " | ".join(readable(value) for value in entry.attributes.get(name, ())) for name in names}
    return {name: text for name, text in texts.items() if text}


def _standing(entry: Entry, person: Person, rules: AttributeRules, now: datetime) -> tuple[str, ...]:
    """Why the account is disabled, sign by sign, or until when it is not (D7)."""
    out = rules.signs(entry)
    if person.expires_at is not None:
        past = now >= person.expires_at
        out.append(f"the account {'expired' if past else 'expires'} at {to_text(person.expires_at)}")
    return tuple(out)


def _link(entry: Entry, source: str, context: Context) -> str:
    known, key = context.known, (source, entry.anchor)
    if known is not None and key in known.links:
        return f"linked since {known.links[key]}"
    holder = context.holders.get(key, "")
    return f"linked to another person ({holder})" if holder else "not linked"


def _outlook(person: Person, groups: tuple[Reach, ...], domains: Domains) -> str:
    """What a run makes of somebody who is not in the ledger, in the order in which it looks."""
    domain = person.mail.domain
    if domain not in domains.open:
        return f"frozen: {domains.reason(domain)}"
    if not person.enabled:
        return "never invited: nobody is while their account is disabled"
    if not groups:
        return "never invited: not in any mapped group"
    return "the next run would invite them (rosterd plan shows it, with whatever limits or rules hold it)"


def _differences(side: EntrySide, finding: Finding, person: Person, context: Context) -> Iterable[str]:
    known = context.known
    assert known is not None  # noqa: S101  # the caller looked
    if side.link == "not linked":
        yield "the ledger is not linked to this entry"
    elif side.link.startswith("linked to another"):
        yield "the entry belongs to another person of the ledger"
        return
    if not person.enabled and known.state == IdentityState.ACTIVE:
        yield "the entry is disabled, the ledger has the person as active: the next run pauses their seats"
    if person.enabled and known.state in _OFF:
        unless = f", unless no entry shows {' or '.join(person.blank)} any more" if person.blank else ""
        yield f"the entry is enabled, the ledger has the person as {known.state}: the next run reinstates them{unless}"
    if known.state == IdentityState.REMOVED:
        yield "the person was removed from the ledger"
        return
    for name in sorted({*side.fields, *known.fields}):
        mine, theirs = known.fields.get(name, ""), side.fields.get(name, "")
        if mine != theirs:
            yield f"{name}: the ledger has {mine or 'nothing'}, the entry {theirs or 'nothing'}"
    reached = {reach.mapping for reach in side.groups}
    for rule in _rules_of(context.policy, finding.source_id):
        member = rule.provenance in known.provenances
        if rule.id in reached and not member:
            yield f"in group {rule.group}, and no member of Team {rule.team} through mapping {rule.id}"
        elif member and rule.id not in reached and rule.group not in finding.unread_groups:
            yield f"member of Team {rule.team} through mapping {rule.id}, and not in group {rule.group} now"
