"""What a reading looked like, line by line, for ``rosterd check --live``: each failure with its fix.

Pure: no I/O here. People are shown masked; an entry about which something has to be done is named by its DN.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from connector.directory.assembly import PEOPLE
from connector.directory.base import CheckLine, Reading, Scope
from connector.directory.mapping import AttributeRules, Person, Unmappable, map_entry
from connector.directory.names import dn_key
from ledger.counted import counted

_NAMED = 5

_FIXES = (
    ("no such group", "correct `group` in the mapping, or let the account read it"),
    ("groups have this name", "give the group's DN or anchor:<value> in the mapping"),
    ("none is visible", "let the account that reads see the members of groups"),
    ("the sentinel", "let the account that reads see the sentinel, or correct `sentinels`"),
    ("no entry is a person", "correct `people_base` and `people_filter` (LDIF: `people_classes`)"),
    ("no such base", "correct the base, or let the account read it"),
    ("result 3 ", "raise the server's time limit for this account, or page by less (`page_size`)"),
    ("result 4 ", "raise the server's size limit for this account (OpenLDAP: limits … size.prtotal=unlimited)"),
    ("result 11 ", "raise the server's limits for this account (OpenLDAP: limits … size.prtotal=unlimited)"),
    ("result 49 ", "correct `bind_dn` and `bind_password`"),
    ("result 50 ", "give the account read rights"),
    ("result 53 ", "ask the directory's administrator why it refuses this search"),
    ("referral", "point `servers` at the server that holds this part; referrals are never followed"),
    ("certificate", "set `tls_ca` to the authority's PEM file, or `tls_name` to the name in the certificate"),
    ("no StartTLS", "use ldaps://, or let the server offer StartTLS"),
    ("confidentiality", "use ldaps:// or StartTLS"),
    ("secret", "set the secret that `bind_password` names"),
    ("cut off", "export the file again, completely"),
    ("have the same", "one anchor names one entry: correct `anchor_attribute`"),
    ("not an active directory", 'write kind = "ldap", or point `servers` at a domain controller'),
    ("not synchronized", "wait for the domain controller's first replication, or read from another one"),
    ("no primarygroupid", "let the account read primaryGroupID of people"),
    ("no entryuuid", 'let the account read the anchor attribute (Active Directory: write kind = "active_directory")'),
    ("anchor", "let the account read `anchor_attribute`, or correct it"),
    ("answers 401", "set `token` to a token that is valid for this provider"),
    ("answers 403", "give the token read rights on users and groups"),
    ("answers 404", "correct `url`: /Users and /Groups must be right below it"),
    ("answers 429", "allow more time, read less often, or ask the provider for a higher limit"),
    ("another host", "set `url` to the final address"),
    ("is not JSON", "correct `url`: something else than SCIM answers there"),
    ("filter groups.value", "set `membership` to what the provider shows, or give the token more rights"),
    ("set `membership`", "set `membership` to what the provider shows, or give the token more rights"),
    ("totalResults", "run it again; if it stays, ask the provider's administrator: the list and its total disagree"),
    ("came twice", "run it again; if it stays, set `paging`, or ask the provider for a stable order"),
    ("the list moved", "run it again when the directory is quieter"),
    ("shrank", "look at what was removed in the provider, then run it again"),
    ("connect", "check the address, the firewall, and that the server runs"),
    ("deadline", "look at the server's load, or allow more time"),
    ("timed out", "look at the server's load, or allow more time"),
)


def fix_for(reason: str) -> str:
    """The next step for a scope's reason."""
    lowered = reason.lower()
    return next((fix for sign, fix in _FIXES if sign.lower() in lowered), "correct it, then run rosterd check --live")


def reading_lines(reading: Reading, rules: AttributeRules, sentinels: Sequence[str] = ()) -> list[CheckLine]:
    """Scopes first, then what the mapping made of the people, with up to three masked samples. ``sentinels``: DNs of
    entries that need no mail address, since nobody is behind them."""
    return [*(_scope_line(scope) for scope in reading.scopes.values()), *_people_lines(reading, rules, sentinels)]


def mask(text: str) -> str:
    """The first letter of each word, the rest hidden: ``Anna Kowalska`` → ``A… K…``; of a mail also its domain."""
    local, at, domain = text.partition("@")
    if at:
        return f"{local[:1]}…@{domain}"
    return " ".join(f"{word[:1]}…" for word in text.split())


def _scope_line(scope: Scope) -> CheckLine:
    if scope.complete:
        pages = f", {counted(scope.pages, 'page')}" if scope.name.startswith(PEOPLE) else ""
        return CheckLine(True, f"{scope.name}: {scope.entries} entries{pages}")
    return CheckLine(False, f"{scope.name}: {scope.reason}", fix_for(scope.reason))


def _people_lines(reading: Reading, rules: AttributeRules, sentinels: Sequence[str]) -> Iterator[CheckLine]:
    mapped = [map_entry(entry, rules) for entry in reading.people.values()]
    people = [person for person in mapped if isinstance(person, Person)]
    if people:
        disabled = sum(not person.enabled for person in people)
        dated = sum(person.expires_at is not None for person in people)
        yield CheckLine(True, f"{len(people)} people mapped, {disabled} disabled, {dated} with an expiry date")
    for person in islice(people, 3):
        yield CheckLine(True, f"for example {mask(person.display_name)} <{mask(person.mail.text)}>")
    bad = sorted((entry for entry in mapped if isinstance(entry, Unmappable)), key=lambda entry: entry.dn)
    if mailless := [entry for entry in bad if entry.only_lacks_mail]:
        yield _mailless_line(mailless, frozenset(map(dn_key, sentinels)), anybody=bool(people))
    if others := [entry for entry in bad if not entry.only_lacks_mail]:
        said = [f"{entry.dn} ({'; '.join(entry.reasons)})" for entry in others]
        fix = "correct these entries, or `[directories.attributes]`; until then these people keep what they have"
        yield CheckLine(False, f"{_entries(len(others))} cannot be mapped: {_first(said)}", fix)


def _mailless_line(entries: Sequence[Unmappable], sentinels: frozenset[str], *, anybody: bool) -> CheckLine:
    """Entries without an address are allowed (a canary, a machine), unless nobody has one."""
    names = [f"{entry.dn} (a sentinel)" if dn_key(entry.dn) in sentinels else entry.dn for entry in entries]
    what = f"{_entries(len(entries))} without a mail address: {_first(names)}"
    fix = "if they are people, give the entries one, or name its attribute as `mail` in `[directories.attributes]`"
    if not anybody:
        return CheckLine(False, f"nobody has a mail address: {what}", fix)
    return CheckLine(True, f"{what}; they get nothing, and nobody is removed because of it", fix, note=True)


def _entries(number: int) -> str:
    return "1 entry" if number == 1 else f"{number} entries"


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return "; ".join(names[:_NAMED]) + more
