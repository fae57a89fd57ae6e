"""From an entry to a person, or to every reason why not (D5, D7, D8, D14).

Pure: no I/O and no clock here. A bad value never raises: it becomes a reason, and whoever cannot be mapped keeps what
they have.
"""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import blake2b

import msgspec

from connector.directory.base import Entry
from connector.directory.disabled import DIALECT_ATTRIBUTES, account_state, signs
from connector.directory.settings import AnyDirectory
from ledger.identity import Email

MAX_TEXT = 1024
"""Longest usable value, in characters (a mail address has its own limit of 254)."""

NAMED_FIELDS = ("mail", "given_name", "family_name", "display_name", "employee_number")

EXPIRED = "x"
"""Behind the fingerprint of an account whose expiry date has passed."""

_CANONICAL = msgspec.msgpack.Encoder(order="deterministic").encode
_NO_MAIL = "mail: no value in "
_SHOWN = 80
_FORBIDDEN = re.compile("[\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Person:
    """One entry, normalised. ``expires_at``: from then on the account is disabled (None: no date is set).

    ``enabled`` already counts ``expires_at`` when the mapping was told the time. ``fingerprint``: 32 hex digits over
    the mapped attributes, see ``fingerprint``.
    """

    anchor: str
    source_id: str
    mail: Email
    given_name: str
    family_name: str
    display_name: str
    enabled: bool
    employee_number: str
    attributes: dict[str, str]
    fingerprint: str
    dn: str
    expires_at: datetime | None = None
    other_mails: tuple[Email, ...] = ()
    """Further usable addresses, in order: which one counts is chosen by who knows the person (E7)."""
    unusable: tuple[str, ...] = ()
    """Values that are no addresses, each with its attribute and why, where another value is one."""

    blank: tuple[str, ...] = ()
    """The attributes that could say that the account is disabled, and have no value (E1)."""

    def with_mail(self, mail: Email) -> Person:
        """The same entry with another of its addresses as the one that counts."""
        rest = (item for item in (self.mail, *self.other_mails) if item != mail)
        return replace(self, mail=mail, other_mails=tuple(rest))


@dataclass(frozen=True, slots=True)
class Unmappable:
    """An entry that cannot be a person as it is; ``reasons`` are all of them, each naming its attribute.

    It still says whether its account is ``enabled`` (E1): ``expires_at`` and ``blank`` as of a ``Person``.
    """

    anchor: str
    source_id: str
    dn: str
    reasons: tuple[str, ...]
    enabled: bool = True
    expires_at: datetime | None = None
    blank: tuple[str, ...] = ()

    @property
    def only_lacks_mail(self) -> bool:
        """Whether nothing is wrong with the entry but that it has no mail address at all."""
        return len(self.reasons) == 1 and self.reasons[0].startswith(_NO_MAIL)


@dataclass(frozen=True, slots=True)
class AttributeRules:
    """How one source's attributes become our fields; all attribute names are lower case.

    ``requested`` is what to ask the directory for (``ReadRequest.attributes``). ``mark``: 16 bytes that change with
    any rule; fingerprints are keyed with it.
    """

    source_id: str
    fields: Mapping[str, tuple[str, ...]]
    mail_domains: tuple[str, ...] = ()
    dialects: tuple[str, ...] = ()
    disabled_attribute: str = ""
    disabled_values: frozenset[str] = frozenset()
    requested: tuple[str, ...] = field(default=())
    mark: bytes = b""

    @classmethod
    def from_settings(cls, settings: AnyDirectory) -> AttributeRules:
        """The rules of one ``[[directories]]`` table."""
        fields = {name: tuple(text.lower() for text in names) for name, names in settings.field_attributes().items()}
        disabled = settings.disabled
        wanted = [name for names in fields.values() for name in names]
        wanted += [name for dialect in disabled.dialects for name in DIALECT_ATTRIBUTES[dialect]]
        wanted += [disabled.attribute.lower()] if disabled.attribute else []
        rules = cls(
            source_id=settings.id,
            fields=fields,
            mail_domains=tuple(domain.lower() for domain in settings.mail_domains),
            dialects=tuple(disabled.dialects),
            disabled_attribute=disabled.attribute.lower(),
            disabled_values=frozenset(value.casefold() for value in disabled.values),
            requested=tuple(dict.fromkeys(wanted)),
        )
        return replace(rules, mark=rules.digest())

    def account(self, entry: Entry) -> tuple[bool, datetime | None]:
        """(not flagged as disabled, expiry date) by the believed dialects (D7)."""
        return account_state(entry.attributes, self.dialects, self.disabled_attribute, self.disabled_values)

    def signs(self, entry: Entry) -> list[str]:
        """What flags the account as disabled, in words; empty when nothing does."""
        found = signs(entry.attributes, self.dialects, self.disabled_attribute, self.disabled_values)
        return [f"{name} is {' | '.join(map(readable, values))}" for name, values in found.items()]

    @property
    def sign_names(self) -> tuple[str, ...]:
        """The attributes that may say that an account is disabled."""
        names = [name for dialect in self.dialects for name in DIALECT_ATTRIBUTES[dialect]]
        return (*names, self.disabled_attribute) if self.disabled_attribute else tuple(names)

    def digest(self) -> bytes:
        """16 bytes over every rule but ``mark``."""
        disabled = (self.disabled_attribute, sorted(self.disabled_values), self.dialects)
        content = [sorted(self.fields.items()), self.mail_domains, disabled, self.requested]
        return blake2b(_CANONICAL(content), digest_size=16).digest()


def rules_by_source(directories: Iterable[AnyDirectory]) -> dict[str, AttributeRules]:
    """Source id → how it is mapped."""
    return {item.id: AttributeRules.from_settings(item) for item in directories}


def signs_shown(entries: Iterable[Entry], rules: AttributeRules) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(of which signs of a disabled account any entry has a value, of which of them an enabled one has)."""
    shown: set[str] = set()
    open_names = set(rules.sign_names)
    for entry in entries:
        if found := open_names & entry.attributes.keys():
            shown |= found
            if rules.account(entry)[0]:
                open_names -= found
    return tuple(sorted(shown)), tuple(sorted(shown - open_names))


def number_key(number: str) -> str:
    """An employee number beside addresses in one index; no address has a space."""
    return f"number {number}"


def index_keys(mapped: Person | Unmappable) -> tuple[str, ...]:
    """Everything by which an entry is found for a person: its addresses as they are compared, first the one it is
    mapped with, then its employee number."""
    if isinstance(mapped, Unmappable):
        return ()
    keys = (mapped.mail.key, *(mail.key for mail in mapped.other_mails))
    return (*keys, number_key(mapped.employee_number)) if mapped.employee_number else keys


def map_entry(entry: Entry, rules: AttributeRules, *, now: datetime | None = None) -> Person | Unmappable:
    """The person an entry stands for, or all reasons why it stands for none (D8).

    With ``now``, accounts whose expiry date (shadowExpire, accountExpires) has passed are disabled; without it only
    flags count and ``Person.expires_at`` tells the date.
    """
    reasons: list[str] = []
    if not entry.anchor:
        reasons.append("the entry has no anchor")
    mails, unusable = _mails(entry, rules)
    reasons += [] if mails else unusable or [_NO_MAIL + ", ".join(rules.fields["mail"])]
    texts = {name: _text(entry, name, names, reasons) for name, names in rules.fields.items() if name != "mail"}
    enabled, expires_at = rules.account(entry)
    if now is not None and expires_at is not None and now >= expires_at:
        enabled = False
    blank = tuple([name for name in rules.sign_names if not entry.attributes.get(name)])
    if reasons or not mails:
        return Unmappable(entry.anchor, rules.source_id, entry.dn, tuple(reasons), enabled, expires_at, blank)
    given, family = texts.pop("given_name", ""), texts.pop("family_name", "")
    display = texts.pop("display_name", "") or f"{given} {family}".strip() or mails[0].text
    return Person(
        anchor=entry.anchor,
        source_id=rules.source_id,
        mail=mails[0],
        given_name=given,
        family_name=family,
        display_name=display,
        enabled=enabled,
        employee_number=texts.pop("employee_number", ""),
        attributes={name: text for name, text in texts.items() if text},
        fingerprint=fingerprint(entry, rules, now=now),
        dn=entry.dn,
        expires_at=expires_at,
        other_mails=tuple(mails[1:]),
        unusable=tuple(unusable),
        blank=blank,
    )


def fingerprint(entry: Entry, rules: AttributeRules, *, now: datetime | None = None) -> str:
    """32 hex digits (and ``EXPIRED``) that change when a requested attribute of the entry does (D14).

    The DN and the order of values do not count.

    With ``now`` a passed expiry date changes it too, and other rules always do.
    """
    found = blake2b(_CANONICAL(_content(entry, rules)), digest_size=16, key=rules.mark).hexdigest()
    if now is not None and ("shadowexpire" in entry.attributes or "accountexpires" in entry.attributes):
        expires_at = rules.account(entry)[1]
        if expires_at is not None and now >= expires_at:
            return found + EXPIRED
    return found


def entry_mark(entry: Entry, rules: AttributeRules, print_: str = "") -> bytes:
    """24 bytes that change when the entry's DN or a requested attribute does: compared before anything is mapped.
    ``print_``: the entry's fingerprint, where it is known."""
    print_ = print_ or fingerprint(entry, rules)
    place = blake2b(entry.dn.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return bytes.fromhex(print_.removesuffix(EXPIRED)) + place


def _content(entry: Entry, rules: AttributeRules) -> list[object]:
    """The values of requested attributes in a fixed order, tagged forms at the end."""
    attributes = entry.attributes
    values = [attributes.get(name) for name in rules.requested]
    content: list[object] = [found if not found or len(found) == 1 else sorted(found) for found in values]
    if len(values) - values.count(None) != len(attributes):
        tagged = [name for name in attributes if ";" in name and name.partition(";")[0] in rules.requested]
        content += [(name, sorted(attributes[name])) for name in sorted(tagged)]
    return content


def anchor_text(attribute: str, value: bytes) -> str:
    """An anchor as text: objectGUID by its little-endian rule, text in lower case, other bytes as hex (D5)."""
    if attribute.lower() == "objectguid" and len(value) == 16:
        return str(uuid.UUID(bytes_le=value))
    if value.isalnum() or (value.isascii() and value.replace(b"-", b"").isalnum()):
        return value.decode("ascii").lower()
    try:
        text = value.decode("utf-8").strip().lower()
    except UnicodeDecodeError:
        return value.hex()
    return text if text.isprintable() else value.hex()


def _values(entry: Entry, name: str) -> Sequence[bytes]:
    """Values of an attribute: plain first, then its tagged forms (``mail;lang-pl``) in alphabetical order.

    The values of one attribute are a set in LDAP: servers may return them in any order, so the alphabet decides.
    """
    plain = entry.attributes.get(name, ())
    ordered = plain if len(plain) <= 1 else sorted(plain)
    if ";" in name or ";" not in "".join(entry.attributes):
        return ordered
    prefix = name + ";"
    tagged = [key for key in entry.attributes if key.startswith(prefix) and not key.endswith(";binary")]
    return ordered if not tagged else [*ordered, *(v for key in sorted(tagged) for v in sorted(entry.attributes[key]))]


def readable(value: bytes) -> str:
    """A value as a person may be shown it: what cannot be printed is written out, and a long one is cut."""
    text = value[: _SHOWN * 4].decode("utf-8", "backslashreplace")
    shown = "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"


def _clean(value: bytes) -> tuple[str, str]:
    """(usable text, "") or ("", reason); ("", "") for an empty value."""
    if len(value) > MAX_TEXT * 4:
        return "", f"is too long ({len(value)} bytes)"
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return "", "is not UTF-8"
    if not text.isprintable() and (
        _FORBIDDEN.search(text) or any(unicodedata.category(character) in {"Cc", "Cs"} for character in text)
    ):
        return "", "holds control characters"
    text = " ".join(text.split())
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return ("", f"is too long ({len(text)} characters)") if len(text) > MAX_TEXT else (text, "")


def _text(entry: Entry, name: str, attributes: Sequence[str], reasons: list[str]) -> str:
    """First usable value; a field whose values are all unusable adds its reasons (what is empty is only absent)."""
    faults = []
    for attribute in attributes:
        for value in _values(entry, attribute):
            text, fault = _clean(value)
            if text:
                return text
            if fault:
                faults.append(f"{name}: {attribute} {fault}")
    reasons.extend(faults)
    return ""


def _mails(entry: Entry, rules: AttributeRules) -> tuple[list[Email], list[str]]:
    """Every usable address once: by attribute in the stated order, by ``mail_domains``, then by the alphabet; and what
    is wrong with every other value."""
    faults: list[str] = []
    found: dict[str, Email] = {}
    for attribute in rules.fields["mail"]:
        usable: list[Email] = []
        for value in _values(entry, attribute):
            text, fault = _clean(value)
            if text:
                try:
                    usable.append(_relayed(Email.parse(text)))
                except ValueError as error:
                    said = str(error)
                    fault = f"is not usable: {said if repr(text) in said else f'{text!r}: {said}'}"
            if fault:
                faults.append(f"mail: {attribute} {fault}")
        if len(usable) > 1 and rules.mail_domains:
            order = {domain: place for place, domain in enumerate(rules.mail_domains)}
            usable.sort(key=lambda mail: order.get(mail.domain, len(order)))
        for mail in usable:
            found.setdefault(mail.key, mail)
    return list(found.values()), faults


def _relayed(mail: Email) -> Email:
    """The address; raises ``ValueError`` when no relay takes mail for it."""
    if why := mail.refused_by_relays:
        raise ValueError(f"{mail.text!r} is not a mail address: {why}")
    return mail
