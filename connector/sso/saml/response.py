"""Judges a SAML response step by step, strictly: what must hold before and after pysaml2 has checked the signature.

Pure: no I/O, no clock here. Each step is one small function that raises ``SignInRefused`` with its number and a named
reason (sso.md §2; cases of §3 in brackets). Times are compared with our own clock, ``Expected.now``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from xml.etree.ElementTree import Element

from connector.sso.gate.explain_refusal import LONGEST_SHOWN, Carried, minutes, one_line
from connector.sso.saml.metadata import DS, parse_instant
from connector.sso.saml.subject import NameId, NoSubject, Subject, SubjectPolicy, decide
from connector.sso.saml.xml_scan import BadXml, Limits, read
from ledger.errors import Refused
from ledger.identity import Email, fold

SAML = "{urn:oasis:names:tc:SAML:2.0:assertion}"
SAMLP = "{urn:oasis:names:tc:SAML:2.0:protocol}"
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
SKEW = timedelta(seconds=60)
MAX_BASE64 = 350_000
MAX_CONDITIONS = timedelta(hours=24)
MAX_CONFIRMATION = timedelta(hours=1)
_LIMITS = Limits(characters=MAX_BASE64, elements=2000)
_MOST_NAMES, _LONGEST_NAME = 40, 100
_LONGEST_ID = 256  # bytes; providers send about forty


class SignInRefused(Refused):
    """A sign-in response was refused. ``reason`` goes to the audit log; people are told one generic sentence.
    ``detail`` is made one printable line: a part of it may be an anonymous's. ``came``: what stood where ``detail``
    says what belongs; it is told of tests only (``in_test``)."""

    def __init__(self, step: int, reason: str, detail: str = "", *, came: str | None = None) -> None:
        super().__init__("the sign-in response was refused", next_step="start the sign-in again")
        self.step = step
        self.reason = reason
        self.detail = one_line(detail, 2 * LONGEST_SHOWN)
        self.came = came

    @property
    def in_test(self) -> str:
        """``detail`` with what came, as one printable line."""
        if self.came is None:
            return self.detail
        return f"{self.detail}; it says {one_line(' '.join(self.came.split())) or 'nothing'}"


@dataclass(frozen=True, slots=True)
class Expected:
    """What the one response we wait for must say."""

    now: datetime
    acs: str
    audience: str
    issuer: str
    request_id: str
    domains: frozenset[str]
    mail_attribute: str = ""
    response_signed_only: bool = False
    subject_policy: SubjectPolicy = field(default_factory=SubjectPolicy)


@dataclass(frozen=True, slots=True)
class Document:
    """A response that was read: the bytes exactly as they came, their tree, and its only assertion once found."""

    data: bytes
    root: Element

    @property
    def request_id(self) -> str:
        """Which request it says it answers; empty when it says nothing (unsolicited)."""
        return self.root.get("InResponseTo", "")

    @property
    def assertion(self) -> Element:
        """The only assertion; call after ``check_shape``."""
        found = self.root.find(f"{SAML}Assertion")
        if found is None:
            raise SignInRefused(2, "assertion_count")
        return found

    @property
    def sha256(self) -> str:
        """Kept as evidence in place of the body."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, slots=True)
class Accepted:
    """Who signed in, and what is kept of the proof. ``mail`` is for this moment; evidence keeps ``subject.key``.
    ``signer``: the key (``spki``) that verified it."""

    mail: Email
    assertion_id: str
    valid_until: datetime
    subject: Subject
    algorithm: str
    authenticated_at: datetime | None
    signer: str = ""
    issued_at: datetime | None = None


def read_response(text: str) -> Document:
    """① Strict base64 of UTF-8 XML without anything that expands or hides (cases 3, 4, 5, 14)."""
    if len(text) > MAX_BASE64:
        raise SignInRefused(1, "too_large")
    try:
        data = base64.b64decode("".join(text.split()).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError) as error:
        raise SignInRefused(1, "not_base64") from error
    try:
        return Document(data, read(data, _LIMITS))
    except BadXml as error:
        raise SignInRefused(1, error.reason, str(error)) from error


def check_envelope(document: Document, expected: Expected) -> None:
    """② It is a successful Response, for us, to our request, from the identity provider (cases 7, 9, 10, 14)."""
    root = document.root
    if root.tag != f"{SAMLP}Response" or root.get("Version") != "2.0":
        raise SignInRefused(2, "not_a_response")
    if root.get("Destination") != expected.acs:
        raise SignInRefused(2, "destination", _ours(expected), came=root.get("Destination", ""))
    if not document.request_id:
        raise SignInRefused(2, "unsolicited")
    if document.request_id != expected.request_id:
        raise SignInRefused(2, "wrong_request")
    _not_from_the_future(2, root, expected.now)
    issuer = _text(root.find(f"{SAML}Issuer"))
    if issuer != expected.issuer:
        raise SignInRefused(2, "response_issuer", f"connected is {expected.issuer}", came=issuer)
    codes = [node.get("Value", "") for node in root.findall(f"{SAMLP}Status/{SAMLP}StatusCode")]
    if codes != [SUCCESS]:
        inner = [node.get("Value", "") for node in root.findall(f"{SAMLP}Status/{SAMLP}StatusCode/{SAMLP}StatusCode")]
        raise SignInRefused(2, "status", one_line(" ".join(codes + inner)))


def check_shape(document: Document) -> None:
    """② Exactly one Assertion in the whole tree, directly in the Response; no two elements share an ID (case 1), and
    none is longer than any provider's."""
    names = [local_name(node) for node in document.root.iter()]
    if "EncryptedAssertion" in names:
        raise SignInRefused(2, "encrypted_assertion")
    if names.count("Response") != 1 or names.count("Assertion") != 1:
        raise SignInRefused(2, "assertion_count")
    if len(document.root.findall(f"{SAML}Assertion")) != 1:
        raise SignInRefused(2, "assertion_place")
    found = [value for node in document.root.iter() for name, value in node.attrib.items() if _is_id(name)]
    if len(set(found)) != len(found) or not document.root.get("ID") or not document.assertion.get("ID"):
        raise SignInRefused(2, "ids")
    if any(len(value.encode()) > _LONGEST_ID for value in found):
        raise SignInRefused(2, "long_id")  # it is remembered against replay, by a key that a database can hold


def check_verified(document: Document, verified_id: str, signed: bool) -> None:
    """⑤ What pysaml2 verified is the assertion that we read, and a signature stood on the required element."""
    if not signed:
        raise SignInRefused(5, "unsigned")
    if verified_id != document.assertion.get("ID"):
        raise SignInRefused(5, "other_assertion")


def check_issuer(document: Document, expected: Expected) -> None:
    """⑥ The assertion is one of SAML 2.0, by the identity provider of this connection (case 7)."""
    if document.assertion.get("Version") != "2.0":
        raise SignInRefused(6, "assertion_version", one_line(document.assertion.get("Version", ""), _LONGEST_NAME))
    issuers = document.assertion.findall(f"{SAML}Issuer")
    issuer = _text(issuers[0]) if issuers else ""
    if len(issuers) != 1 or issuer != expected.issuer:
        raise SignInRefused(6, "assertion_issuer", f"connected is {expected.issuer}", came=issuer)
    _not_from_the_future(6, document.assertion, expected.now)


def check_conditions(document: Document, expected: Expected) -> None:
    """⑦ Conditions are there, hold now and not for longer than a day, and name us as audience (cases 9, 11)."""
    conditions = document.assertion.findall(f"{SAML}Conditions")
    if len(conditions) != 1:
        raise SignInRefused(7, "conditions")
    ends = _required_instant(7, conditions[0], "NotOnOrAfter")
    starts = _instant(7, conditions[0], "NotBefore")
    if ends <= expected.now - SKEW:
        raise SignInRefused(7, "conditions_expired", _late(document, expected.now, ends))
    if starts is not None and starts > expected.now + SKEW:
        raise SignInRefused(7, "conditions_not_yet", f"it begins {minutes(starts - expected.now)} from now")
    if ends > expected.now + MAX_CONDITIONS:
        raise SignInRefused(7, "conditions_too_long")
    restrictions = conditions[0].findall(f"{SAML}AudienceRestriction")
    audiences = [{_text(node) for node in found.findall(f"{SAML}Audience")} for found in restrictions]
    if not audiences or not all(expected.audience in names for names in audiences):
        named = " and ".join(" or ".join(sorted(names)) for names in audiences)
        raise SignInRefused(7, "audience", f"our entityID is {expected.audience}", came=named)


def check_subject(document: Document, expected: Expected) -> datetime:
    """⑧ One bearer confirmation, for our address and our request, ending soon (cases 9, 11, 13); when it ends."""
    subjects = document.assertion.findall(f"{SAML}Subject")
    confirmations = document.assertion.findall(f"{SAML}Subject/{SAML}SubjectConfirmation")
    if len(subjects) != 1 or len(confirmations) != 1:
        raise SignInRefused(8, "confirmation_count")
    found = confirmations[0].findall(f"{SAML}SubjectConfirmationData")
    if confirmations[0].get("Method") != BEARER or len(found) != 1:
        raise SignInRefused(8, "confirmation_method")
    if found[0].get("Recipient") != expected.acs:
        came = found[0].get("Recipient", "")
        raise SignInRefused(8, "recipient", f"our ACS is {expected.acs}", came=came)
    if found[0].get("InResponseTo") != expected.request_id:
        raise SignInRefused(8, "confirmation_request")
    if found[0].get("NotBefore") is not None:
        raise SignInRefused(8, "confirmation_not_before")
    ends = _required_instant(8, found[0], "NotOnOrAfter")
    if ends <= expected.now - SKEW:
        raise SignInRefused(8, "confirmation_expired", _late(document, expected.now, ends))
    if ends > expected.now + MAX_CONFIRMATION:
        raise SignInRefused(8, "confirmation_too_long")
    return ends


def check_authentication(document: Document, expected: Expected) -> datetime:
    """⑨ One statement that the person authenticated, not in the future, in a session that has not ended."""
    statements = document.assertion.findall(f"{SAML}AuthnStatement")
    if len(statements) != 1:
        raise SignInRefused(9, "authentication_count")
    at = _required_instant(9, statements[0], "AuthnInstant")
    if at > expected.now + SKEW:
        raise SignInRefused(9, "authentication_future")
    session = _instant(9, statements[0], "SessionNotOnOrAfter")
    if session is not None and session <= expected.now - SKEW:
        raise SignInRefused(9, "session_ended")
    return at


def read_mail(document: Document, expected: Expected) -> Email:
    """⑪ The mail address, whole, of a domain that is linked to this very connection (cases 4, 8)."""
    names = document.assertion.findall(f"{SAML}Subject/{SAML}NameID")
    if len(names) != 1 or len(names[0]):
        raise SignInRefused(11, "name_id")
    where, values = "the NameID", [_text(names[0])]
    if expected.mail_attribute:
        where = f"the attribute {expected.mail_attribute}"
        values = [_text(node) for node in _attribute_values(document.assertion, expected.mail_attribute)]
    found: dict[str, Email | None] = {}
    for value in values:
        try:
            mail = Email.asserted(value)
        except ValueError:
            found.setdefault(value, None)
        else:
            found.setdefault(mail.mailbox, mail)  # the same address twice, in whatever case, is one address
    if len(found) != 1:
        raise SignInRefused(11, "mail_count", f"{len(found)} values in {where}")
    (only,) = found.values()
    if only is None:
        raise SignInRefused(11, "mail", where)
    return _of_ours(only, expected)


def _of_ours(mail: Email, expected: Expected) -> Email:
    if mail.domain not in expected.domains:
        ours = ", ".join(sorted(expected.domains)[:_MOST_NAMES]) or "none"
        raise SignInRefused(11, "mail_domain", f"it is of {mail.domain}; proved of this connection: {ours}")
    return mail


def accepted(document: Document, expected: Expected, ends: datetime, at: datetime) -> Accepted:
    """The result of ⑪, with what is kept; ⑩ (replay) is the ledger's and comes before anything is granted."""
    mail = read_mail(document, expected)
    methods = [node.get("Algorithm", "") for node in document.root.iter(f"{DS}SignatureMethod")]
    return Accepted(
        mail,
        document.assertion.get("ID", ""),
        ends + SKEW,
        _subject(document.assertion, expected, mail),
        methods[0].rpartition("#")[2],
        at,
        issued_at=_instant(6, document.assertion, "IssueInstant"),
    )


def carried_by(document: Document) -> Carried:
    """What came, by name only: for the admin who tests. Whatever the response claims, believed or not, but short
    and printable."""
    names = [
        one_line(node.get("FriendlyName") or node.get("Name") or "", _LONGEST_NAME)
        for node in document.root.iter(f"{SAML}Attribute")
    ]
    formats = [node.get("Format", "unspecified") for node in document.root.iter(f"{SAML}NameID")]
    return Carried(tuple(dict.fromkeys(names))[:_MOST_NAMES], one_line(formats[0], _LONGEST_NAME) if formats else "")


def _subject(assertion: Element, expected: Expected, mail: Email) -> Subject:
    """Whom it is about (N3), by the one NameID that ``read_mail`` found."""
    node = assertion.find(f"{SAML}Subject/{SAML}NameID")
    found = {} if node is None else node.attrib
    name = NameId(
        _text(node), found.get("Format", ""), found.get("NameQualifier", ""), found.get("SPNameQualifier", "")
    )
    policy = expected.subject_policy
    given = [_text(value) for value in _attribute_values(assertion, policy.attribute)] if policy.attribute else []
    try:
        return decide(expected.issuer, expected.audience, name, given, mail, policy)
    except NoSubject as error:
        raise SignInRefused(11, error.reason, str(error)) from error


def _attribute_values(assertion: Element, name: str) -> Iterator[Element]:
    """Names of attributes are compared without case: providers disagree about it, and mean the same."""
    for attribute in assertion.findall(f"{SAML}AttributeStatement/{SAML}Attribute"):
        if fold(name) in {fold(attribute.get("Name", "")), fold(attribute.get("FriendlyName", ""))}:
            yield from attribute.findall(f"{SAML}AttributeValue")


def local_name(node: Element) -> str:
    """The tag without its namespace."""
    return str(node.tag).rpartition("}")[2]


def _is_id(name: str) -> bool:
    return name.rpartition("}")[2].lower() == "id"


def _text(node: Element | None) -> str:
    """The full text; elements inside make it empty, never a part of it."""
    return "" if node is None or len(node) else (node.text or "").strip()


def _instant(step: int, node: Element, name: str) -> datetime | None:
    text = node.get(name)
    if text is None:
        return None
    try:
        return parse_instant(text)
    except (ValueError, OverflowError) as error:  # an offset can lead over the edge of time
        raise SignInRefused(step, "instant", name) from error


def _required_instant(step: int, node: Element, name: str) -> datetime:
    found = _instant(step, node, name)
    if found is None:
        raise SignInRefused(step, "lifetime", name)
    return found


def _not_from_the_future(step: int, node: Element, now: datetime) -> None:
    ahead = _required_instant(step, node, "IssueInstant") - now
    if ahead > SKEW:
        raise SignInRefused(
            step, "issued_in_future", f"by its IssueInstant the provider's clock is {minutes(ahead)} ahead of ours"
        )


def _late(document: Document, now: datetime, ends: datetime) -> str:
    """By how much it came too late, and, where its instant of issue says so too, that it is the clock."""
    behind = now - _required_instant(6, document.assertion, "IssueInstant")
    clock = f": the provider's clock is {minutes(behind)} behind ours" if behind > SKEW else ""
    return f"it ended {minutes(now - ends)} ago{clock}"


def _ours(expected: Expected) -> str:
    return f"our entityID is {expected.audience}, our ACS {expected.acs}"
