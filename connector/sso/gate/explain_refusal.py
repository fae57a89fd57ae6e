"""Refused sign-ins in words for an admin: what each reason means, and the next command. Pure: no I/O, no clock here.

Prohibition: names of attributes and the format of the NameID are told, never a value: those are people's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ledger.instant import to_text

LONGEST_SHOWN = 200
"""How much is shown of one text that somebody else wrote."""
NOT_CLAIMED = "not_claimed"
"""The response was right, and the person may not come in: not invited, paused, or bound to another subject."""
CERTIFICATE_NEW = "certificate_new"
_SIGNATURE = 5
"""The last step of judging a response before its signature is known to be right."""
RELINK_HELD = "relink_held"
"""The response was right, and another subject than the bound one came with somebody's address (N4)."""
REAUTH_NOT_HONOURED = "reauth_not_honoured"
TRANSIENT_NAME_ID = "transient_name_id"
_CLOCK_OFF = "clock_off_"

_TEST = "rosterd sso test {domain}"
_CONNECT = "export its metadata again, rosterd sso connect METADATA, then: rosterd sso test {domain}"
_PLAIN = "nothing that lies between may change a response; ask the provider's support, then: rosterd sso test {domain}"
_CLOCK = "set the clocks of both by a time server (timedatectl), then: rosterd sso test {domain}"
_ACS = "give the provider our addresses again (rosterd sso metadata), then: rosterd sso test {domain}"
_FEWER = "have the provider send fewer attributes, groups above all, then: rosterd sso test {domain}"
_SHORTER = "shorten its life at the provider, then: rosterd sso test {domain}"
_SHA256 = "choose RSA or ECDSA with SHA-256 at the provider, then: rosterd sso test {domain}"
_C14N = "choose exclusive canonicalization (xml-exc-c14n) at the provider, then: rosterd sso test {domain}"
_HOSTILE = "no genuine provider sends this; if it comes again: rosterd sso off"
_BEARER = "configure a browser sign-in (SAML 2.0 Web SSO, HTTP-POST) at the provider, then: rosterd sso test {domain}"
_MAIL = "have the provider send one mail address, or set sso.mail_attribute and connect again: rosterd sso connect"

WORDS: Mapping[str, tuple[str, str]] = {
    # ① what was posted
    "too_large": ("the response is larger than 350,000 characters", _FEWER),
    "not_base64": ("what was posted is no SAML response (not base64)", _BEARER),
    "not_utf8": ("the response is not written in UTF-8", _PLAIN),
    "malformed": ("the response is not well-formed XML", _PLAIN),
    "doctype": ("the response holds a document type or an entity", _HOSTILE),
    "comment": ("the response holds a comment, which can hide a part of a name", _HOSTILE),
    "instruction": ("the response holds a processing instruction", _HOSTILE),
    "cdata": ("the response holds a CDATA section", _HOSTILE),
    "namespace": ("the response has a relative namespace name, which signatures do not cover", _HOSTILE),
    "too_many_elements": ("the response has more than 2000 elements", _FEWER),
    "too_deep": ("elements of the response are nested deeper than 64", _HOSTILE),
    # ② the envelope
    "not_a_response": ("what was posted is no Response of SAML 2.0", _BEARER),
    "destination": ("the response is addressed to somebody else (Destination)", _ACS),
    "unsolicited": (
        "the response does not say which request it answers (InResponseTo)",
        "switch IdP-initiated sign-in off for this application at the provider, then: " + _TEST,
    ),
    "unknown_request": (
        "the response answers no request that this browser made here",
        "allow cookies, open the link in one browser, answer within 10 minutes: " + _TEST,
    ),
    "request_used": ("the response to this request came before: a request is good for one", _TEST),
    "request_expired": ("the response came more than 10 minutes after its request", _TEST),
    "wrong_request": ("the response answers another request", _TEST),
    "relay_state": ("RelayState did not come back as it went", "have it sent back unchanged, then: " + _TEST),
    "issued_in_future": ("the response was issued in the future by our clock", _CLOCK),
    "response_issuer": ("the response is by another provider than the connected one (Issuer)", _CONNECT),
    "status": (
        "the provider itself says that the sign-in failed (Status)",
        "read why in the provider's own log; often the person is not assigned to the application, then: " + _TEST,
    ),
    "encrypted_assertion": ("the assertion is encrypted", "switch encryption of assertions off, then: " + _TEST),
    "assertion_count": ("the response does not hold exactly one assertion", _PLAIN),
    "assertion_place": ("the assertion is not where it belongs", _HOSTILE),
    "ids": ("elements share an ID, or have none", _HOSTILE),
    "long_id": ("an ID is longer than 256 bytes", _HOSTILE),
    # ③ ④ ⑤ signatures
    "signature_place": ("a signature is not where it belongs", _HOSTILE),
    "signature_shape": ("a signature has parts that it must not have", _HOSTILE),
    "reference": ("a signature covers something else than what it stands in", _HOSTILE),
    "canonicalization": ("the signature's canonicalization is not the exclusive one", _C14N),
    "transform": ("the signature uses a transform that is not allowed", _C14N),
    "signature_algorithm": ("the signature's algorithm is weak or unknown", _SHA256),
    "digest_algorithm": ("the digest's algorithm is weak or unknown", _SHA256),
    "unsigned": (
        "what must be signed is not: the assertion, or the response where sso.response_signed_only says so",
        "have the provider sign assertions, then: " + _TEST,
    ),
    "not_verified": (
        "the signature is not by a valid certificate of the connected metadata, or the response was changed",
        _CONNECT,
    ),
    "content": (
        "the signature is right, but the SAML library refuses what the response says",
        _PLAIN,
    ),
    "other_assertion": ("the signature covers another assertion than the one that would be read", _HOSTILE),
    # ⑥ ⑦ the assertion
    "assertion_version": ("the assertion is not of SAML 2.0 (Version)", _BEARER),
    "assertion_issuer": ("the assertion is by another provider than the connected one (Issuer)", _CONNECT),
    "instant": ("an instant is no date and time with a zone, or at the edge of time", _PLAIN),
    "lifetime": ("an instant that is needed is missing", _BEARER),
    "conditions": ("the assertion has no Conditions, or several", _BEARER),
    "conditions_expired": ("the assertion had run out when it came", _CLOCK),
    "conditions_not_yet": ("the assertion is not valid yet by our clock", _CLOCK),
    "conditions_too_long": ("the assertion is valid for more than a day", _SHORTER),
    "audience": ("the assertion is meant for another application (Audience)", _ACS),
    # ⑧ ⑨ subject and authentication
    "confirmation_count": ("the assertion does not have exactly one subject with one confirmation", _BEARER),
    "confirmation_method": ("the subject's confirmation is not bearer", _BEARER),
    "recipient": ("the assertion is addressed to somebody else (Recipient)", _ACS),
    "confirmation_request": ("the assertion answers another request (its own InResponseTo)", _TEST),
    "confirmation_not_before": ("the subject's confirmation has a NotBefore, which SAML forbids", _BEARER),
    "confirmation_expired": ("the subject's confirmation had run out when it came", _CLOCK),
    "confirmation_too_long": (
        "the subject's confirmation is valid for more than an hour",
        _SHORTER,
    ),
    "authentication_count": ("the assertion does not have exactly one AuthnStatement", _BEARER),
    "authentication_future": ("the person authenticated in the future by our clock", _CLOCK),
    "session_ended": ("the person's session at the provider has ended", _TEST),
    # ⑩ the book
    "replay": ("this assertion was used before", _TEST),
    "not_live": ("single sign-on was turned off or changed while the person was at the provider", "rosterd sso status"),
    # ⑪ the person
    "name_id": ("the assertion does not have exactly one NameID of text", "have one sent, then: " + _TEST),
    "mail_count": ("there is not exactly one mail address where it is looked for", _MAIL),
    "mail": ("where the mail address is looked for there is something else", _MAIL),
    "mail_domain": (
        "the mail address is of no proved domain of this connection (in a test: not of the tested domain)",
        "sign in as somebody of {domain}, or prove the other domain: rosterd sso status",
    ),
    CERTIFICATE_NEW: (
        "it is signed with a certificate that a refresh of the metadata added less than a day ago",
        "compare its SHA-256 with what the provider shows, rosterd sso confirm-certificate SHA256, then: " + _TEST,
    ),
    "subject_attribute_missing": (
        "the attribute that sso.subject_attribute names did not come",
        "have the provider send it, or name another and connect again: rosterd sso connect",
    ),
    "subject_attribute_several": (
        "the attribute that sso.subject_attribute names came with several values",
        "have the provider send one, or name another and connect again: rosterd sso connect",
    ),
    NOT_CLAIMED: (
        "the provider vouched for the person, who may not come in",
        "ask them for their address (NAME@{domain}); rosterd explain NAME@{domain} says what book and directory know",
    ),
    RELINK_HELD: (
        "the provider vouched for the address, by another account (another NameID) than the one that is bound here",
        "ask the person, by another way than mail, whether it was them, then: rosterd sso relinks",
    ),
}  # fmt: skip
"""Reason → what it means → what an admin does next; ``{domain}`` is the domain that was asked for."""

WARNINGS: Mapping[str, str] = {
    TRANSIENT_NAME_ID: "the provider sends another (transient) NameID each time, so that people are known by their mail"
    " address alone: better, let it send an attribute that stays and name it in sso.subject_attribute",
    REAUTH_NOT_HONOURED: "the provider did not ask the person to sign in anew, though the test asked for it"
    " (ForceAuthn): a fresh sign-in proves nothing here, and will not count as one",
}


def one_line(text: str, most: int = LONGEST_SHOWN) -> str:
    """What somebody else wrote, as a part of one line that an admin reads in a terminal: nothing in it begins a line,
    moves the cursor or turns the direction of reading (controls, separators, bidi and zero-width characters)."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text[:most])


def clock_off(off: timedelta) -> str:
    """The warning of a test that the provider's clock is so much ahead of ours (negative: behind)."""
    return f"{_CLOCK_OFF}{off.total_seconds():+.0f}s"


def minutes(time: timedelta) -> str:
    """``3 minutes``, and hours and days where it is more; never less than a minute."""
    whole = max(1, round(abs(time).total_seconds() / 60))
    for size, word in ((1440, "day"), (60, "hour")):
        if whole >= 2 * size:
            return f"{whole // size} {word}s"
    return "1 minute" if whole == 1 else f"{whole} minutes"


def warning_in_words(code: str) -> str:
    """A warning of a test; one without words of its own says itself what it means."""
    if code.startswith(_CLOCK_OFF):
        off = timedelta(seconds=float(code.removeprefix(_CLOCK_OFF).removesuffix("s")))
        way = "behind" if off < timedelta(0) else "ahead of"
        what = f"the provider's clock is {minutes(off)} {way} ours, so that a fresh sign-in can look old"
        return f"{what}: set the clocks of both by a time server (timedatectl)"
    return f"{WARNINGS[code]} ({code})" if code in WARNINGS else code


@dataclass(frozen=True, slots=True)
class Carried:
    """What a response had in it, by name only: attributes in their order, and the format of the NameID."""

    attributes: tuple[str, ...] = ()
    name_id_format: str = ""

    def in_words(self) -> str:
        """One sentence."""
        names = ", ".join(self.attributes) or "none"
        return f"it carried the attributes: {names}; NameID format: {self.name_id_format or 'none'}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused response to a request of ours. ``reference`` names it on the page and in the audit."""

    reference: str
    at: datetime
    purpose: str
    connection_id: str
    version: int
    domain: str
    step: int
    reason: str
    detail: str = ""
    carried: Carried = Carried()
    linked: tuple[str, ...] = ()
    """Domains of the connection, where they are known: for a sign-in that asked for none."""

    @property
    def signed(self) -> bool:
        """Whether the provider signed what was refused: all that comes after ⑤, and what is said of its signer."""
        return self.step > _SIGNATURE or self.reason == CERTIFICATE_NEW

    def in_words(self) -> tuple[str, ...]:
        """What happened, what came, and what to do next; a line each."""
        meaning, step = WORDS.get(self.reason, (self.reason, "rosterd sso status"))  # kept by another release
        detail = f": {self.detail}" if self.detail else ""
        lines = [f"{meaning} ({self.reason}, step {self.step}{detail})"]
        if self.reason not in {NOT_CLAIMED, RELINK_HELD}:
            lines.append(self.carried.in_words())
        domain = self.domain or next(iter(self.linked), "DOMAIN")
        return (*lines, f"→ {step.format(domain=domain)}")

    def facts(self) -> dict[str, Any]:
        """What evidence and audit keep; ``refusal_of`` is its inverse."""
        return {
            "reference": self.reference,
            "purpose": self.purpose,
            "connection": self.connection_id,
            "version": self.version,
            "domain": self.domain,
            "step": self.step,
            "reason": self.reason,
            "detail": self.detail,
            "attributes": list(self.carried.attributes),
            "name_id_format": self.carried.name_id_format,
        }

    def to_json(self) -> dict[str, Any]:
        """For ``--json`` and the admin API."""
        return {**self.facts(), "at": to_text(self.at), "words": list(self.in_words())}


def refusal_of(at: datetime, facts: Mapping[str, Any]) -> Refusal:
    """Back from ``Refusal.facts``."""
    names = ("purpose", "version", "domain", "step", "reason", "detail")
    # what was kept before it was made one line then
    carried = Carried(tuple(one_line(name) for name in facts["attributes"]), one_line(facts["name_id_format"]))
    known = {name: facts[name] for name in names} | {"detail": one_line(facts["detail"], 2 * LONGEST_SHOWN)}
    return Refusal(reference=facts["reference"], at=at, connection_id=facts["connection"], carried=carried, **known)
