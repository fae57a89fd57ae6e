"""People as the book knows them: mail addresses, identities, links to directories, memberships.

Case rules live inside the types. Pure: no I/O here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache

import idna

INVITE_EXPIRY = "invite_expiry"
"""Kind of the due date after which an invite that nobody accepted is expired; its subject is the identity."""


def fold(text: str) -> str:
    """The caseless key of a name (mail local part, Team, group, DN value): NFC, casefolded, outer space off.

    SQLite's ``lower()`` leaves ``ŁÓDŹ`` alone, so every stored key is made here.
    """
    if text.isascii():
        return text.strip().lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).strip()


_ASCII_BY_NFC = re.compile("([\u037e\u1fef\u212a])")
"""Every sign that NFC alone turns into an ASCII one: the Greek question mark, the varia, the Kelvin sign."""


def caseless(text: str) -> str:
    """Two texts in one letter case are equal; no two letters become one, as ``ß`` and ``ss`` do in ``fold``: for what
    somebody else says of a person. NFC, outer space off."""
    parts = _ASCII_BY_NFC.split(text.strip())
    parts[::2] = (unicodedata.normalize("NFC", part) for part in parts[::2])
    return "".join(map(_lower, "".join(parts)))


def _lower(letter: str) -> str:
    """In lower case where that is one letter and on the same side of the ASCII border; else as it is."""
    lower = letter.lower()
    return lower if len(lower) == 1 and lower.isascii() == letter.isascii() else letter


@lru_cache(maxsize=4096)
def a_label(domain: str) -> str:
    """The ASCII form of a domain (IDNA 2008, UTS 46 mapping); ``faß.de`` and ``fass.de`` stay two owners.

    Raises ``ValueError`` when it is no registrable host name.
    """
    text = domain.strip().rstrip(".")
    if text.isascii():
        text = text.lower()
        labels = text.split(".")
        if not text or len(text) > 253 or any(not _ldh(label) for label in labels):
            raise ValueError(f"{domain!r} is not a domain name")
        return text
    try:
        return idna.encode(text, uts46=True, std3_rules=True).decode("ascii").lower()
    except idna.IDNAError as error:
        raise ValueError(f"{domain!r} is not a domain name: {error}") from error


def _ldh(label: str) -> bool:
    return (
        0 < len(label) <= 63
        and label[0] != "-"
        and label[-1] != "-"
        and all(character.isalnum() or character == "-" for character in label)
    )


_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff]+")
_DOT_ATOM = re.compile(rf"{_ATOM.pattern}(?:\.{_ATOM.pattern})*")
_QUOTED = re.compile(r'"(?:[!#-\[\]-~]|\\[!-~])*"')


@dataclass(frozen=True, slots=True)
class Email:
    """A mail address: ``text`` as written, ``key`` for every comparison (equality and hash use the key only)."""

    text: str = field(compare=False)
    key: str

    @classmethod
    def parse(cls, text: str) -> Email:
        """Parse ``local@domain``; raise ``ValueError`` naming what is wrong. One ``@``, printable only; a dot at the
        end of the domain, as DNS writes it, is no part of ``text``."""
        clean = unicodedata.normalize("NFC", text.strip())
        local, at, domain = clean.partition("@")
        if not at or "@" in domain or not local or not domain:
            raise ValueError(f"{text!r} is not a mail address: exactly one @ with text on both sides")
        if len(clean) > 254 or not local.isprintable() or clean.split() != [clean]:
            raise ValueError(f"{text!r} is not a mail address: too long, or it holds spaces or control characters")
        return cls(clean.rstrip("."), f"{fold(local)}@{a_label(domain)}")

    @classmethod
    def asserted(cls, text: str) -> Email:
        """Parse what an identity provider says; ``ValueError`` also where NFC alone would make an ASCII letter of
        another one (the Kelvin sign, a ``K``): those are two mailboxes."""
        if _ASCII_BY_NFC.search(text.rpartition("@")[0]):
            raise ValueError(f"{text!r} is not a mail address: it holds a letter that is written as another one")
        return cls.parse(text)

    @property
    def mailbox(self) -> str:
        """What says whose mail it is: as ``key``, but two letters are one only if they differ in nothing but case.

        ``key`` also folds ``ß`` to ``ss`` and ``ſ`` to ``s``, so that a directory never has both; at a provider they
        are two accounts, and who has one is not who has the other.
        """
        return f"{caseless(self.text.rpartition('@')[0])}@{self.domain}"

    @property
    def refused_by_relays(self) -> str:
        """Why no relay accepts it (RFC 5321 §4.1.2, §4.5.3.1, RFC 6531); empty where nothing says so."""
        local = self.text.rpartition("@")[0]
        if len(local) <= 64 and self.text.isascii() and _DOT_ATOM.fullmatch(local):
            return ""
        if len(local.encode()) > 64 or len(self.text.encode()) > 254:
            return "longer than 64 octets before the @, or than 254 in all"
        if _QUOTED.fullmatch(local):
            return ""
        if "" in local.split("."):
            return "a dot at an end of the part before the @, or two in a row"
        other = next((atom for atom in local.split(".") if not _ATOM.fullmatch(atom)), "")
        character = next((c for c in other if not _ATOM.fullmatch(c)), "")
        return f"{character!r} before the @" if character else ""

    @property
    def domain(self) -> str:
        """The A-label domain."""
        return self.key.rpartition("@")[2]

    def __str__(self) -> str:
        return self.text


class IdentityState(StrEnum):
    """active · disabled (positive evidence) · absent (confirmed) · removed."""

    ACTIVE = "active"
    DISABLED = "disabled"
    ABSENT = "absent"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Identity:
    """The person, normalised. ``attributes`` holds what the mapping was asked to keep (department, country …)."""

    id: str
    mail: Email
    given_name: str
    family_name: str
    display_name: str
    state: IdentityState
    employee_number: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class IdentityLink:
    """Binds an anchor of a source (or a SAML subject, ``kind='saml'``) to an identity for a time (D9)."""

    identity_id: str
    kind: str
    source_id: str
    anchor: str
    fingerprint: str
    valid_from: datetime
    valid_to: datetime | None = None


MANUAL = "manual"
"""The provenance of what a person granted; the others are ``mapping:<mapping id>`` and ``scim:<connection>``."""
