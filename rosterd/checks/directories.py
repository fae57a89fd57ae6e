"""What the values of an organization file mean for its directories: names, filters, addresses that cannot work.

Reads no file and asks no directory; what only the directory knows is looked at by ``answers``.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import urlsplit

from connector.directory import dn
from connector.directory.base import CheckLine
from connector.directory.scim.settings import SCIM_ATTRIBUTES, ScimSettings
from connector.directory.settings import (
    DEFAULT_ATTRIBUTES,
    ActiveDirectorySettings,
    AnyDirectory,
    LdapSettings,
    LdifSettings,
)
from ledger.identity import a_label
from rosterd.checks.addresses import is_loopback
from rosterd.checks.keys import CustomerKeys, Keys, values_of
from rosterd.toml_places import Path as Place

_FREE_TEXT = frozenset({("organization", "name"), ("mail", "sender_name")})
_FREE_KEYS = frozenset({"team", "reason", "sender_name"})
_ACCOUNT = re.compile(r"[^@\\\s]+@[^@\\\s]+|[^@\\\s]+\\[^@\\]+")
"""How Active Directory takes an account too: ``reader@acme.example``, ``ACME\\reader``."""
_ANCHOR = "anchor:"
_PORTS = {"ldap": 636, "ldaps": 389}
"""Scheme → the port that speaks the other one."""


def spaces(keys: Keys) -> Iterator[CheckLine]:
    """Spaces around a value are no part of it and were read away; characters that nobody sees stay, and harm."""
    for path, written in keys.document.spaced.items():
        yield keys.fault(path, f"there is a space around the value: {written!r}", f"write {written.strip()!r}")
    for path, value in values_of(keys.document.raw):
        free = path in _FREE_TEXT or path[-1] in _FREE_KEYS or path[:1] == ("teams",)
        if isinstance(value, str) and not free and (unseen := [one for one in value if _unseen(one)]):
            names = ", ".join(dict.fromkeys(unicodedata.name(one, f"U+{ord(one):04X}") for one in unseen))
            clean = "".join(" " if one.isspace() else one for one in value if one.isspace() or not _unseen(one))
            yield keys.fault(path, f"the value holds characters that nobody sees: {names}", f"write {clean!r}")


def names(keys: CustomerKeys) -> Iterator[CheckLine]:
    """Accounts, groups, filters, addresses and attributes of every directory."""
    kinds = {item.id: item for item in keys.settings.directories}
    for position, item in enumerate(keys.settings.directories):
        place: Place = ("directories", position)
        if isinstance(item, LdapSettings):
            yield from _account(keys, place, item)
            yield from _servers(keys, place, item)
            yield from _filters(keys, place, item)
        if isinstance(item, ScimSettings) and not item.tls_verify:
            yield _unverified(keys, (*place, "tls_verify"))
        if isinstance(item, LdapSettings | LdifSettings):
            yield from _sentinels(keys, place, item)
        yield from _preferred_domains(keys, place, item)
        yield from _fields(keys, place, item)
    for position, mapping in enumerate(keys.settings.mappings):
        directory = kinds.get(mapping.directory)
        if isinstance(directory, LdapSettings | LdifSettings):
            place = ("mappings", position)
            if mapping.group:
                yield from _group(keys, (*place, "group"), mapping.group, directory)
            for number, group in enumerate(mapping.exclude_groups):
                yield from _group(keys, (*place, "exclude_groups", number), group, directory)


def _account(keys: Keys, place: Place, item: LdapSettings) -> Iterator[CheckLine]:
    if not item.bind_dn:
        return
    path = (*place, "bind_dn")
    account = bool(_ACCOUNT.fullmatch(item.bind_dn))
    if account and isinstance(item, ActiveDirectorySettings):
        return
    if fault := _fault(item.bind_dn):
        hint = '; or, where this is Active Directory, kind = "active_directory"' if account else ""
        yield keys.fault(path, fault, f"write the account's whole DN, such as cn=reader,{_suffix(item)}{hint}")
    elif dn.key(item.bind_dn) in {dn.key(base) for base in (*item.people_bases, item.groups_base) if base}:
        what = f"{item.bind_dn} is where people or groups are, and no account"
        yield keys.fault(path, what, f"name the account that reads, such as cn=reader,{_suffix(item)}")


def _servers(keys: Keys, place: Place, item: LdapSettings) -> Iterator[CheckLine]:
    beyond = False
    for number, url in enumerate(item.servers):
        parts = urlsplit(url)
        path = (*place, "servers", number)
        try:
            port = parts.port
        except ValueError:
            yield keys.fault(path, f"{url!r} has no usable port", "write a port from 1 to 65535, or none")
            continue
        if port and _PORTS.get(parts.scheme) == port:
            other = "ldaps" if parts.scheme == "ldap" else "ldap"
            what = f"port {port} speaks {other}://, and {parts.scheme}:// is asked for"
            yield keys.fault(path, what, f"write {other}://{parts.netloc}, or the port that is meant")
        beyond = beyond or (parts.scheme == "ldap" and not is_loopback(parts.hostname or ""))
    if item.plaintext and beyond:
        what = "plaintext sends the password and everybody's data unencrypted over the network"
        yield keys.note((*place, "plaintext"), what, "take plaintext away: ldap:// then means StartTLS")
    if not item.tls_verify:
        yield _unverified(keys, (*place, "tls_verify"))


def _unverified(keys: Keys, path: Place) -> CheckLine:
    what = "tls_verify = false lets anybody in between answer as the directory; tls_ca has no effect with it"
    return keys.note(path, what, "take tls_verify away, and name the authority's PEM file as tls_ca")


def _filters(keys: Keys, place: Place, item: LdapSettings) -> Iterator[CheckLine]:
    from connector.directory.ldap.session.search import filter_fault

    for name in ("people_filter", "groups_filter"):
        text = getattr(item, name)
        if filter_fault(text):
            whole = next((one for one in (f"({text})", f"{text})", f"({text}") if not filter_fault(one)), "")
            hint = f"write {name} = {whole!r}" if whole else "count its parentheses: each condition stands in its own"
            yield keys.fault((*place, name), f"{text!r} is no filter (RFC 4515)", hint)


def _sentinels(keys: Keys, place: Place, item: LdapSettings | LdifSettings) -> Iterator[CheckLine]:
    bases = [dn.key(base) for base in (*item.people_bases, item.groups_base) if base]
    for number, name in enumerate(item.sentinels):
        if bases and not any(dn.is_under(dn.key(name), base) for base in bases):
            what = f"{name} lies under no base that is read: while it is missing, nobody's absence is believed"
            fix = f"name an entry below {item.people_bases[0] if item.people_bases else item.groups_base}"
            yield keys.note((*place, "sentinels", number), what, fix)


def _preferred_domains(keys: Keys, place: Place, item: AnyDirectory) -> Iterator[CheckLine]:
    for number, name in enumerate(item.mail_domains):
        try:
            wanted = a_label(name.rpartition("@")[2])
        except ValueError as error:
            yield keys.fault((*place, "mail_domains", number), str(error), "write a domain, such as acme.example")
            continue
        if wanted != name:
            what = f"{name!r} is the domain of no address: they are compared in small letters, without @"
            yield keys.fault((*place, "mail_domains", number), what, f"write {wanted!r}")


def _fields(keys: CustomerKeys, place: Place, item: AnyDirectory) -> Iterator[CheckLine]:
    """A field that is one of ours but for a slip of the pen, and that no mapping asks for."""
    known = SCIM_ATTRIBUTES if item.kind in {"scim", "scim_inbox"} else DEFAULT_ATTRIBUTES
    asked = {field for mapping in keys.settings.mappings for field in mapping.where}
    for name in item.attributes:
        others = {"email": "mail", "e_mail": "mail", "firstname": "given_name", "lastname": "family_name"}
        near = others.get(name) or next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.8)), "")
        if name not in known and name not in asked and near:
            what = f"{name!r} is kept as one more attribute of people, and does not say what {near} is"
            yield keys.note((*place, "attributes", name), what, f"if {near} is meant, write {near}")


def _group(keys: Keys, path: Place, group: str, item: LdapSettings | LdifSettings) -> Iterator[CheckLine]:
    if group.startswith(_ANCHOR):
        return
    if not _meant_as_dn(group):
        if isinstance(item, LdapSettings) and not item.groups_base:
            what = f"{group!r} is a name, and the directory {item.id} has no groups_base to look for it in"
            yield keys.fault(path, what, f"set groups_base of {item.id}, or give the group's DN")
        return
    if fault := _fault(group):
        base = item.groups_base or "ou=Groups,dc=acme,dc=example"
        yield keys.fault(path, fault, f"write its whole DN, such as cn=design,{base}, or its name alone")
        return
    key = dn.key(group)
    if not isinstance(item, LdapSettings) or (item.groups_base and dn.is_under(key, dn.key(item.groups_base))):
        return
    suffixes = {_domain_part(dn.key(base)) for base in (*item.people_bases, item.groups_base) if base}
    own = _domain_part(key)
    if own and all(suffixes) and own not in suffixes:
        what = f"{group} lies in {own}, and the directory {item.id} is read in {' and '.join(sorted(suffixes))}"
        yield keys.fault(path, what, "correct the end of the DN, or read that part as a directory of its own")
    elif item.groups_base:
        what = f"{group} lies outside groups_base ({item.groups_base}): it is read by itself, if it is there"
        yield keys.note(path, what, "nothing, if it is meant: rosterd check --live looks for it")


def _meant_as_dn(text: str) -> bool:
    return dn.looks_like_dn(text) or bool(re.match(r"\s*(?:cn|ou|uid|o|dc)\s*=", text, re.IGNORECASE)) or (
        "=" in text and "," in text
    )  # fmt: skip


def _fault(text: str) -> str:
    """Why a text is no DN; empty when it is one."""
    try:
        parts = dn.parse(text)
    except ValueError as error:
        return str(error)
    empty = any(not value for part in parts for _, value in part)
    return f"{text!r} is not a DN: a part of it has no value" if empty else ""


def _domain_part(key: str) -> str:
    """The ``dc=`` names at the end of a DN's key."""
    match = re.search(r"(?:^|,)((?:dc=[^,]+)(?:,dc=[^,]+)*)$", key)
    return match[1] if match else ""


def _suffix(item: LdapSettings) -> str:
    return _domain_part(dn.key(item.people_bases[0])) or item.people_bases[0]


def _unseen(character: str) -> bool:
    """Whether a character looks like nothing, or like a plain space."""
    return unicodedata.category(character) in {"Cf", "Cc"} or (
        character != " " and unicodedata.category(character) == "Zs"
    )
