"""An identity provider's SAML metadata: parse, lint, fingerprint, and a clean copy for pysaml2 (sso.md §1, §2, §5).

One weak, unreadable or expired certificate is left out by name; a document is refused when no good one is left.

Pure: no I/O, no clock here. pysaml2 never sees the document that came: it loads a copy written here from what was
understood, without expired certificates, because that is the only way an expired one stops validating.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element, SubElement, tostring

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from connector.sso.gate import connections
from connector.sso.gate.connections import Certificate
from connector.sso.gate.explain_refusal import one_line
from connector.sso.saml.subject import SubjectPolicy
from connector.sso.saml.xml_scan import BadXml, Limits, read
from ledger.errors import BadInput, ManyErrors
from ledger.instant import to_text

MD = "{urn:oasis:names:tc:SAML:2.0:metadata}"
DS = "{http://www.w3.org/2000/09/xmldsig#}"
PROTOCOL = "urn:oasis:names:tc:SAML:2.0:protocol"
REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"

METADATA_LIMITS = Limits(characters=1_000_000, elements=20_000, allow_comments=True)
"""How much metadata may hold; written by hand it has comments."""
MOST_CERTIFICATES = 10
"""How many signing certificates that can be used are taken, and how many keys a response may be tried with: each costs
xmlsec1 once for whatever an anonymous posts."""
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_LONGEST_ENTITY = 1024
"""Characters by SAML core §8.3.6; bytes, since it is part of keys in the database, and a URI has no others."""
_MIDNIGHT = "24:00:00"
_ADDRESS = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")
"""The characters of RFC 3986: what else stands in an address is read by each program in its own way."""
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_WEAK_HASHES = (hashes.MD5, hashes.SHA1)


@dataclass(frozen=True, slots=True)
class SigningCertificate:
    """One signing certificate that can be used, as the document holds it and as it was understood."""

    base64: str
    value: Certificate


@dataclass(frozen=True, slots=True)
class IdpMetadata:
    """What was understood of one identity provider. ``services``: binding → address, only Redirect and POST."""

    entity_id: str
    services: Mapping[str, str]
    certificates: tuple[SigningCertificate, ...]
    name_id_formats: tuple[str, ...] = ()
    wants_signed_requests: bool = False
    valid_until: datetime | None = None
    sha256: str = ""
    warnings: tuple[str, ...] = field(default=(), compare=False)

    @property
    def binding(self) -> str:
        """How we send sign-in requests: Redirect where it is offered."""
        return REDIRECT if REDIRECT in self.services else POST


@dataclass(frozen=True, slots=True)
class Wants:
    """How a connection is to be judged; part of its fingerprint."""

    mail_attribute: str = ""
    response_signed_only: bool = False
    subject_attribute: str = ""
    fold_subject: bool = False

    @property
    def subject_policy(self) -> SubjectPolicy:
        """By what people are told apart (N3)."""
        return SubjectPolicy(self.subject_attribute, self.fold_subject)


@dataclass(frozen=True, slots=True)
class Peer:
    """One connection version as pysaml2 needs it. ``key`` names it (organization and fingerprint)."""

    organization: str
    fingerprint: str
    metadata: IdpMetadata
    wants: Wants

    def cache_key(self, now: datetime) -> tuple[str, ...]:
        """Another key as soon as one of its certificates starts or stops being valid."""
        valid = (found.base64 for found in self.metadata.certificates if found.value.valid(now))
        return (self.organization, self.fingerprint, *sorted(valid))

    def keys(self, now: datetime) -> tuple[str, ...]:
        """Its public keys (``spki``) whose certificates are valid at ``now``, in the order of the document."""
        return tuple(dict.fromkeys(one.value.spki for one in self.metadata.certificates if one.value.valid(now)))

    def with_keys(self, keys: Collection[str]) -> Peer:
        """The same with the certificates of these public keys alone."""
        kept = tuple(one for one in self.metadata.certificates if one.value.spki in keys)
        return replace(self, metadata=replace(self.metadata, certificates=kept))


def parse(data: bytes, now: datetime, *, entity_id: str = "", allow_http_on_loopback: bool = False) -> IdpMetadata:
    """Understand metadata; raises ``ManyErrors`` with every fault at once. ``entity_id``: the one that is expected."""
    try:
        root = read(data, METADATA_LIMITS)
    except BadXml as error:
        raise BadInput(f"the metadata cannot be read: {error}", where="metadata") from error
    entities = [root] if root.tag == f"{MD}EntityDescriptor" else root.findall(f".//{MD}EntityDescriptor")
    idps = [found for found in entities if found.find(f"{MD}IDPSSODescriptor") is not None]
    if len(idps) != 1:
        raise BadInput(
            f"the metadata describes {len(idps)} identity providers, exactly one is needed",
            where="metadata",
            next_step="export the metadata of this one application",
        )
    descriptors = [
        node
        for node in idps[0].findall(f"{MD}IDPSSODescriptor")
        if PROTOCOL in node.get("protocolSupportEnumeration", "").split()
    ]
    faults: list[str] = []
    if len(descriptors) != 1:
        raise BadInput("exactly one IDPSSODescriptor for SAML 2.0 is needed", where="metadata")
    certificates, left_out, weak = _certificates(descriptors[0], now)
    found = IdpMetadata(
        idps[0].get("entityID", ""),
        _services(descriptors[0], faults, allow_http_on_loopback),
        certificates,
        tuple(filter(None, ((node.text or "").strip() for node in descriptors[0].findall(f"{MD}NameIDFormat")))),
        descriptors[0].get("WantAuthnRequestsSigned", "").lower() in {"true", "1"},
        _valid_until((root, idps[0], descriptors[0]), faults),
        hashlib.sha256(data).hexdigest(),
        _warnings(certificates, left_out, weak),
    )
    faults += _lint(found, left_out, now, entity_id)
    if faults:
        raise ManyErrors([BadInput(fault) for fault in faults], where="metadata")
    return found


def _lint(found: IdpMetadata, left_out: Sequence[str], now: datetime, expected: str) -> list[str]:
    faults = []
    if not found.entity_id or len(found.entity_id.encode()) > _LONGEST_ENTITY:
        faults.append(f"entityID is missing or longer than {_LONGEST_ENTITY} bytes")
    if not found.entity_id.isprintable():
        faults.append(f"entityID {one_line(found.entity_id)!r} holds characters that cannot be shown")
    if expected and found.entity_id != expected:
        faults.append(f"entityID is {one_line(found.entity_id)!r}, the organization file names {expected!r}")
    if not found.services:
        faults.append("there is no SingleSignOnService for HTTP-Redirect or HTTP-POST")
    if not any(certificate.value.valid(now) for certificate in found.certificates):
        faults += left_out
        if found.certificates:
            faults.append("every signing certificate that could be used is not valid yet")
        elif not left_out:
            faults.append("there is no signing certificate")
    if len(found.certificates) > MOST_CERTIFICATES:
        faults.append(
            f"{len(found.certificates)} signing certificates can be used, at most {MOST_CERTIFICATES} are taken"
            " (two are usual, Google takes three): let the identity provider publish those alone that sign"
        )
    if found.valid_until is not None and found.valid_until <= now:
        faults.append(f"validUntil has passed ({to_text(found.valid_until)})")
    return faults


def _warnings(
    certificates: Sequence[SigningCertificate], left_out: Sequence[str], weak: Sequence[str]
) -> tuple[str, ...]:
    found = [*weak, *(f"{what}; it is left out" for what in left_out)]
    if len(certificates) > 3:
        found.append(f"{len(certificates)} signing certificates: more than three is unusual")
    return tuple(found)


def _services(descriptor: Element, faults: list[str], allow_http_on_loopback: bool) -> dict[str, str]:
    services: dict[str, str] = {}
    for node in descriptor.findall(f"{MD}SingleSignOnService"):
        binding, address = node.get("Binding", ""), node.get("Location", "").strip()
        if binding not in {REDIRECT, POST}:
            continue
        fault = _address_fault(address, allow_http_on_loopback)
        if fault:
            faults.append(f"SingleSignOnService {one_line(address)!r}: {fault}")
        services.setdefault(binding, address)
    return services


def _address_fault(address: str, allow_http_on_loopback: bool) -> str:
    if not _ADDRESS.fullmatch(address):
        return "holds characters that no address has (RFC 3986)" if address else "is not an address"
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return "is not an address"
    if not host or parts.username or parts.password or parts.fragment:
        return "is not a plain address"
    if parts.scheme == "https" or (parts.scheme == "http" and allow_http_on_loopback and host in _LOOPBACK):
        return ""
    return "must be https"


def _valid_until(nodes: Sequence[Element], faults: list[str]) -> datetime | None:
    found = []
    for node in nodes:
        text = node.get("validUntil")
        if text:
            try:
                found.append(parse_instant(text))
            except ValueError:
                faults.append(f"validUntil {one_line(text)!r} is not an instant in UTC")
    return min(found, default=None)


def parse_instant(text: str) -> datetime:
    """An xs:dateTime with a zone; raises ``ValueError``. SAML core §1.3.3 wants UTC; an offset is exact too.

    24:00:00 is the next day's midnight (XML Schema 2, §3.2.7); leap seconds are no instants (SAML core §1.3.3), nor is
    what an offset moves before the year 1 or behind 9999.
    """
    found = _INSTANT.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not an instant with a time zone")
    day, time, fraction, zone = found.groups(default="")
    midnight = time == _MIDNIGHT and not fraction.strip(".0")
    try:
        at = datetime.fromisoformat(f"{day}T{'00:00:00' if midnight else time + fraction}{zone}")
        return (at + timedelta(days=1) if midnight else at).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is not an instant of the calendar") from error


def _certificates(
    descriptor: Element, now: datetime
) -> tuple[tuple[SigningCertificate, ...], tuple[str, ...], tuple[str, ...]]:
    """Those that can be used, once each; why each other one is left out; and warnings of used ones."""
    nodes = [
        node
        for key in descriptor.findall(f"{MD}KeyDescriptor")
        if key.get("use", "signing") == "signing"
        for node in key.iter(f"{DS}X509Certificate")
    ]
    used: dict[str, SigningCertificate] = {}
    left_out: dict[str, str] = {}
    weak: dict[str, str] = {}
    texts = list(dict.fromkeys("".join((node.text or "").split()) for node in nodes))
    for number, text in enumerate(texts, 1):
        name = f"signing certificate {number} of {len(texts)}"
        try:
            loaded = x509.load_der_x509_certificate(base64.b64decode(text, validate=True))
            name += _called(loaded)
            fault = _key_fault(loaded) or ("it has expired" if loaded.not_valid_after_utc <= now else "")
            spki = hashlib.sha256(_public_key(loaded)).hexdigest()
            poor = isinstance(loaded.signature_hash_algorithm, _WEAK_HASHES)
            value = Certificate(
                spki, loaded.not_valid_before_utc, loaded.not_valid_after_utc, hashlib.sha256(_der(loaded)).hexdigest()
            )
        except (ValueError, TypeError, binascii.Error, UnsupportedAlgorithm) as error:
            left_out[text] = f"{name} cannot be read ({type(error).__name__})"
            continue
        if fault:
            left_out[text] = f"{name}: {fault}"
            continue
        used[text] = SigningCertificate(text, value)
        if poor:
            weak[text] = f"{name} is itself signed with MD5 or SHA-1"
    return tuple(used.values()), tuple(left_out.values()), tuple(weak.values())


def _called(loaded: x509.Certificate) -> str:
    """How an admin finds it again: its name and its end."""
    try:
        name = loaded.subject.rfc4514_string()[:64]
    except ValueError:
        name = ""
    shown = name if name.isprintable() else ""
    return f" ({shown + ', ' if shown else ''}until {loaded.not_valid_after_utc:%Y-%m-%d})"


def _key_fault(loaded: x509.Certificate) -> str:
    key = loaded.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"its key is too short: RSA {key.key_size}, at least 2048" if key.key_size < 2048 else ""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"its key is too short: EC {key.key_size}, at least 256" if key.key_size < 256 else ""
    return "its key is neither RSA nor EC"


def _public_key(loaded: x509.Certificate) -> bytes:
    return loaded.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _der(loaded: x509.Certificate) -> bytes:
    return loaded.public_bytes(Encoding.DER)


def fingerprint(found: IdpMetadata, wants: Wants) -> str:
    """SHA-256 over everything a test sign-in proves but the certificates: another value means another test (N1)."""
    facts = {
        "services": dict(found.services),
        "name_id_formats": found.name_id_formats,
        "wants_signed_requests": found.wants_signed_requests,
        "wants": asdict(wants),
    }
    return connections.fingerprint(found.entity_id, facts)


def clean_copy(found: IdpMetadata, now: datetime) -> str:
    """Minimal metadata with the certificates that are valid at ``now``: what pysaml2 loads."""
    root = Element(f"{MD}EntityDescriptor", {"entityID": found.entity_id})
    wants = "true" if found.wants_signed_requests else "false"
    descriptor = SubElement(
        root, f"{MD}IDPSSODescriptor", {"protocolSupportEnumeration": PROTOCOL, "WantAuthnRequestsSigned": wants}
    )
    for certificate in found.certificates:
        if certificate.value.valid(now):
            key = SubElement(SubElement(descriptor, f"{MD}KeyDescriptor", {"use": "signing"}), f"{DS}KeyInfo")
            SubElement(SubElement(key, f"{DS}X509Data"), f"{DS}X509Certificate").text = certificate.base64
    for name in found.name_id_formats:
        SubElement(descriptor, f"{MD}NameIDFormat").text = name
    for binding, address in found.services.items():
        SubElement(descriptor, f"{MD}SingleSignOnService", {"Binding": binding, "Location": address})
    return tostring(root, encoding="unicode")
