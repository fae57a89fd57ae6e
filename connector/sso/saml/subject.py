"""Whom an assertion is about: one key per person that stays, whatever the provider changes in its writing (N3).

Pure: no I/O, no clock here. A key is a SHA-256; it says nothing of the person to whoever reads it, and keys of two
kinds are never equal. What is checked of an assertion before this is in ``response``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ledger.identity import Email, caseless

PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
TRANSIENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
ON_MAIL_FOR_TRANSIENT = "transient_name_id"
"""The warning of a test whose NameID is another one each time: people are known by their address alone."""
_CASELESS = ("subject-id", "pairwise-id")
"""Attributes whose values are compared without case (SAML V2.0 Subject Identifier Attributes Profile 1.0, §3.3)."""


class SubjectKind(StrEnum):
    """What a key is made of. mail: nothing but the address, so that whoever has the address has it."""

    ATTRIBUTE = "attribute"
    PERSISTENT = "persistent"
    MAIL = "mail"
    OTHER = "other"


class NoSubject(ValueError):
    """The configured attribute names nobody, or several. ``reason``: a code; the text is for the admin who tests, and
    repeats no value."""

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(words)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class SubjectPolicy:
    """What an organization says of its subjects; part of the connection's fingerprint."""

    attribute: str = ""
    fold_case: bool = False


@dataclass(frozen=True, slots=True)
class NameId:
    """The NameID of an assertion as it came, without outer space."""

    value: str
    format: str = ""
    name_qualifier: str = ""
    sp_name_qualifier: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """The key of a person at one identity provider. ``earlier``: keys under which a bond of before N3 may stand;
    ``earlier_by_address``: those were made of nothing but the address. ``warning``: for whoever tests."""

    key: str
    kind: SubjectKind
    earlier: tuple[str, ...] = ()
    earlier_by_address: bool = False
    warning: str = ""

    @property
    def by_address(self) -> bool:
        """Whether whoever has the address has the key."""
        return self.kind is SubjectKind.MAIL


def decide(
    issuer: str, audience: str, name: NameId, given: Sequence[str], mail: Email, policy: SubjectPolicy
) -> Subject:
    """The subject of an accepted assertion. ``given``: values of the policy's attribute; ``audience``: our entityID.

    Raises ``NoSubject`` where the configured attribute is missing or says several things. An address is an address
    whatever its NameID's format says, so that a provider may change the format and its people stay who they are.
    """
    on_mail = _is(name.value, mail)
    earlier = raw_keys(issuer, (name.value, mail.text, mail.key) if on_mail else (name.value,))

    def made(kind: SubjectKind, *parts: str, warning: str = "") -> Subject:
        return Subject(_key(kind, issuer, *parts), kind, earlier, on_mail, warning)

    if policy.attribute:
        return made(SubjectKind.ATTRIBUTE, policy.attribute, _only(given, policy.attribute))
    if on_mail:
        return made(SubjectKind.MAIL, mail.key)
    if name.format == PERSISTENT:
        # left out means the same as the provider's or our own name (saml-core 8.3.7); ours changes with public_url
        qualifiers = (name.name_qualifier, issuer), (name.sp_name_qualifier, audience)
        return made(SubjectKind.PERSISTENT, *("" if said == own else said for said, own in qualifiers), name.value)
    if name.format == TRANSIENT:
        return made(SubjectKind.MAIL, mail.key, warning=ON_MAIL_FOR_TRANSIENT)
    return made(SubjectKind.OTHER, caseless(name.value) if policy.fold_case else name.value.strip())


def key_of_mailbox(issuer: str, mail: Email) -> str:
    """The key of an address that somebody signs in with whose address in the directory is another mailbox, though the
    two fold to one: an administrator may let it in (N4), and it is never the key of the directory's own."""
    return _key(SubjectKind.MAIL, issuer, mail.key, mail.mailbox)


def raw_keys(issuer: str, texts: Sequence[str]) -> tuple[str, ...]:
    """The keys of before N3: over a NameID's text as it came, whatever it was."""
    return tuple(hashlib.sha256(f"{issuer}\n{text}".encode()).hexdigest() for text in dict.fromkeys(texts))


def _key(kind: SubjectKind, *parts: str) -> str:
    return hashlib.sha256(json.dumps([kind.value, *parts]).encode()).hexdigest()


def _only(given: Sequence[str], attribute: str) -> str:
    """The one value of the subject attribute; the same value twice is one."""
    any_case = attribute.rpartition(":")[2] in _CASELESS
    values = {caseless(value) if any_case else value.strip() for value in given}
    if not values - {""}:
        raise NoSubject(
            "subject_attribute_missing",
            f"the response has no value of {attribute}, which [sso] subject_attribute names: let the identity provider"
            " send it, or correct the setting and connect again",
        )
    if len(values) > 1:
        raise NoSubject(
            "subject_attribute_several",
            f"the response has {len(values)} values of {attribute}, which [sso] subject_attribute names: exactly one"
            " says who somebody is",
        )
    return values.pop()


def _is(text: str, mail: Email) -> bool:
    """Whether a text is that address: the same mailbox (a key folds more than case)."""
    try:
        return Email.asserted(text).mailbox == mail.mailbox
    except ValueError:
        return False
