"""An identity provider's SAML metadata: parse, lint, fingerprint, and a clean copy for pysaml2 (sso.md §1, §2, §5).

Pure: no I/O, no clock here. pysaml2 never sees the document that came: it loads a copy written here from what was
understood, without expired certificates, because that is the only way an expired one stops validating.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element, SubElement, tostring

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from connector.sso.gate.connections import Certificate
from connector.sso.saml.subject import SubjectPolicy
from connector.sso.saml.xml_scan import BadXml, Limits, read
from ledger.errors import BadInput, ManyErrors
from ledger.instant import to_text

MD = "{urn:oasis:names:tc:SAML:2.0:metadata}"
DS = "{http://www.w3.org/2000/09/xmldsig#}"
PROTOCOL = "urn:oasis:names:tc:SAML:2.0:protocol"
REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"

_LIMITS = Limits(characters=1_000_000, elements=20_000, allow_comments=True)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_WEAK_HASHES = (hashes.MD5, hashes.SHA1)


@dataclass(frozen=True, slots=True)
class SigningCertificate:
    """One signing certificate with what was found wrong with it."""

    base64: str
    value: Certificate
    fault: str = ""
    warning: str = ""


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


def parse(data: bytes, now: datetime, *, entity_id: str = "", allow_http_on_loopback: bool = False) -> IdpMetadata:
    """Understand metadata; raises ``ManyErrors`` with every fault at once. ``entity_id``: the one that is expected."""
    try:
        root = read(data, _LIMITS)
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
    certificates = _certificates(descriptors[0], faults)
    found = IdpMetadata(
        idps[0].get("entityID", ""),
        _services(descriptors[0], faults, allow_http_on_loopback),
        certificates,
        tuple(filter(None, ((node.text or "").strip() for node in descriptors[0].findall(f"{MD}NameIDFormat")))),
        descriptors[0].get("WantAuthnRequestsSigned", "").lower() in {"true", "1"},
        _valid_until((root, idps[0], descriptors[0]), faults),
        hashlib.sha256(data).hexdigest(),
        _warnings(certificates, now),
    )
    faults += _lint(found, now, entity_id)
    if faults:
        raise ManyErrors([BadInput(fault) for fault in faults], where="metadata")
    return found


def _lint(found: IdpMetadata, now: datetime, expected: str) -> list[str]:
    faults = []
    if not found.entity_id or len(found.entity_id) > 1024:
        faults.append("entityID is missing or longer than 1024 characters")
    if expected and found.entity_id != expected:
        faults.append(f"entityID is {found.entity_id!r}, the organization file names {expected!r}")
    if not found.services:
        faults.append("there is no SingleSignOnService for HTTP-Redirect or HTTP-POST")
    if not found.certificates:
        faults.append("there is no signing certificate")
    elif not any(certificate.value.valid(now) for certificate in found.certificates):
        faults.append("every signing certificate has expired or is not valid yet")
    faults += [certificate.fault for certificate in found.certificates if certificate.fault]
    if found.valid_until is not None and found.valid_until <= now:
        faults.append(f"validUntil has passed ({to_text(found.valid_until)})")
    return faults


def _warnings(certificates: Sequence[SigningCertificate], now: datetime) -> tuple[str, ...]:
    found = [certificate.warning for certificate in certificates if certificate.warning]
    expired = sum(1 for certificate in certificates if certificate.value.not_after <= now)
    if expired:
        found.append(f"{expired} signing certificate(s) have expired and are not trusted")
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
            faults.append(f"SingleSignOnService {address!r}: {fault}")
        services.setdefault(binding, address)
    return services


def _address_fault(address: str, allow_http_on_loopback: bool) -> str:
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return "is not an address"
    if not host or parts.username or parts.password or parts.fragment or not address.isprintable():
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
                faults.append(f"validUntil {text!r} is not an instant in UTC")
    return min(found, default=None)


def parse_instant(text: str) -> datetime:
    """An xs:dateTime with a zone; raises ``ValueError``. SAML core §1.3.3 wants UTC; an offset is exact too."""
    if not _INSTANT.fullmatch(text.strip()):
        raise ValueError(f"{text!r} is not an instant with a time zone")
    return datetime.fromisoformat(text.strip()).astimezone(UTC)


def _certificates(descriptor: Element, faults: list[str]) -> tuple[SigningCertificate, ...]:
    found: dict[str, SigningCertificate] = {}
    for key in descriptor.findall(f"{MD}KeyDescriptor"):
        if key.get("use", "signing") != "signing":
            continue
        for node in key.iter(f"{DS}X509Certificate"):
            try:
                certificate = _certificate("".join((node.text or "").split()))
            except (ValueError, binascii.Error, TypeError) as error:
                faults.append(f"a signing certificate cannot be read ({type(error).__name__})")
                continue
            found.setdefault(certificate.base64, certificate)
    return tuple(found.values())


def _certificate(text: str) -> SigningCertificate:
    loaded = x509.load_der_x509_certificate(base64.b64decode(text, validate=True))
    key = loaded.public_key()
    fault = ""
    if isinstance(key, rsa.RSAPublicKey):
        fault = f"a signing key is too short: RSA {key.key_size}, at least 2048" if key.key_size < 2048 else ""
    elif isinstance(key, ec.EllipticCurvePublicKey):
        fault = f"a signing key is too short: EC {key.key_size}, at least 256" if key.key_size < 256 else ""
    else:
        fault = "a signing key is neither RSA nor EC"
    spki = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
    weak = isinstance(loaded.signature_hash_algorithm, _WEAK_HASHES)
    warning = "a signing certificate is itself signed with MD5 or SHA-1" if weak else ""
    value = Certificate(spki, loaded.not_valid_before_utc, loaded.not_valid_after_utc)
    return SigningCertificate(text, value, fault, warning)


def fingerprint(found: IdpMetadata, wants: Wants) -> str:
    """SHA-256 over everything a test sign-in proves: another value means another test (sso.md §1)."""
    parts: dict[str, Any] = {
        "entity_id": found.entity_id,
        "services": dict(found.services),
        "spki": sorted(certificate.value.spki for certificate in found.certificates),
        "name_id_formats": list(found.name_id_formats),
        "wants_signed_requests": found.wants_signed_requests,
        "mail_attribute": wants.mail_attribute,
        "response_signed_only": wants.response_signed_only,
    }
    if wants.subject_policy != SubjectPolicy():  # versions of before there was one keep their fingerprint
        parts["subject"] = [wants.subject_attribute, wants.fold_subject]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


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
