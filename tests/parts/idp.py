"""Identity providers of a test: the demo's real one as a process, and a forger that signs whatever it is told.

The forger builds responses with lxml and signs them with python-xmlsec, so that every mutant carries a right signature
over what it claims; only then does a refusal prove that the mutant itself was noticed.
"""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import xmlsec
from lxml import etree

from connector.sso.saml.signing import make_certificate
from tests.parts.ports import free_port

SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
SAMLP = "urn:oasis:names:tc:SAML:2.0:protocol"
DS = "http://www.w3.org/2000/09/xmldsig#"
NS = {"saml": SAML, "samlp": SAMLP, "ds": DS}
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"


@dataclass(frozen=True, slots=True)
class Key:
    """A signing key with its certificate, PEM."""

    key: bytes
    certificate: bytes

    @classmethod
    def make(cls, now: datetime, *, life: timedelta = timedelta(days=365), bits: int = 2048) -> Key:
        """Valid from the day before ``now`` for ``life`` after it."""
        return cls(*make_certificate("forger", now - timedelta(days=400), now + life, bits=bits))

    @property
    def base64(self) -> str:
        """The certificate as metadata holds it."""
        return "".join(self.certificate.decode().split("-----")[2].split())


def metadata(entity_id: str, *keys: Key, sso: str = "https://idp.acme.example/sso", extra: str = "") -> bytes:
    """An identity provider's metadata with these signing certificates; ``extra`` are attributes of the root."""
    certificates = "".join(
        f'<md:KeyDescriptor use="signing"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{key.base64}'
        "</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
        for key in keys
    )
    return (
        f'<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" xmlns:ds="{DS}" entityID="{entity_id}"'
        f' {extra}><md:IDPSSODescriptor protocolSupportEnumeration="{SAMLP}">{certificates}'
        f'<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="{sso}"/>'
        "</md:IDPSSODescriptor></md:EntityDescriptor>"
    ).encode()


def signed_metadata(text: bytes, key: Key, *, name: str = "_signed") -> bytes:
    """The same metadata, signed whole as Entra ID and AD FS do: the signature is the root's first child."""
    root = etree.fromstring(text)
    root.set("ID", name)
    sha256 = xmlsec.constants.TransformRsaSha256
    template = xmlsec.template.create(root, xmlsec.constants.TransformExclC14N, sha256, ns="ds")
    root.insert(0, template)
    _sign_whole(root, template, key, xmlsec.constants.TransformSha256)
    return bytes(etree.tostring(root))


@dataclass(frozen=True, slots=True)
class Forged:
    """What a forged response says. Every field is right by default; a test makes one of them wrong."""

    key: Key
    now: datetime
    acs: str
    audience: str
    issuer: str
    request_id: str
    name_id: str = "anna@acme.example"
    name_id_format: str = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
    name_id_qualifiers: str = ""  # attributes of the NameID, as XML
    response_id: str = "_response1"
    assertion_id: str = "_assertion1"
    destination: str | None = None
    recipient: str | None = None
    assertion_issuer: str | None = None
    method: str = BEARER
    status: str = SUCCESS
    confirmation_life: timedelta = timedelta(minutes=5)
    conditions_life: timedelta = timedelta(minutes=5)
    not_before: timedelta = timedelta(minutes=-5)
    authenticated: timedelta = timedelta(0)
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    signature: str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
    digest: str = "http://www.w3.org/2001/04/xmlenc#sha256"
    sign_response: bool = False
    sign_assertion: bool = True
    before_signing: Callable[[etree._Element], None] | None = None

    def but(self, **changes: object) -> Forged:
        """The same with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def tree(self) -> etree._Element:
        """The signed response."""
        root = etree.fromstring(self._text(), etree.XMLParser(strip_cdata=False))
        if self.before_signing is not None:
            self.before_signing(root)
        if self.sign_assertion:
            sign(root.find("saml:Assertion", NS), self.key, self.signature, self.digest)
        if self.sign_response:
            sign(root, self.key, self.signature, self.digest)
        return root

    def post(self) -> str:
        """The form field."""
        return encode(self.tree())

    def _text(self) -> str:
        at = _instant(self.now)
        destination = self.acs if self.destination is None else self.destination
        recipient = self.acs if self.recipient is None else self.recipient
        issuer = self.issuer if self.assertion_issuer is None else self.assertion_issuer
        attributes = "".join(
            f'<saml:Attribute Name="{name}">'
            + "".join(f"<saml:AttributeValue>{value}</saml:AttributeValue>" for value in values)
            + "</saml:Attribute>"
            for name, values in self.attributes.items()
        )
        statement = f"<saml:AttributeStatement>{attributes}</saml:AttributeStatement>" if attributes else ""
        return (
            f'<samlp:Response xmlns:samlp="{SAMLP}" xmlns:saml="{SAML}" ID="{self.response_id}" Version="2.0"'
            f' IssueInstant="{at}" Destination="{destination}" InResponseTo="{self.request_id}">'
            f"<saml:Issuer>{self.issuer}</saml:Issuer>"
            f'<samlp:Status><samlp:StatusCode Value="{self.status}"/></samlp:Status>'
            f'<saml:Assertion ID="{self.assertion_id}" Version="2.0" IssueInstant="{at}">'
            f"<saml:Issuer>{issuer}</saml:Issuer><saml:Subject>"
            f'<saml:NameID Format="{self.name_id_format}" {self.name_id_qualifiers}>'
            f'{self.name_id}</saml:NameID><saml:SubjectConfirmation Method="{self.method}">'
            f'<saml:SubjectConfirmationData NotOnOrAfter="{_instant(self.now + self.confirmation_life)}"'
            f' Recipient="{recipient}" InResponseTo="{self.request_id}"/></saml:SubjectConfirmation></saml:Subject>'
            f'<saml:Conditions NotBefore="{_instant(self.now + self.not_before)}"'
            f' NotOnOrAfter="{_instant(self.now + self.conditions_life)}"><saml:AudienceRestriction>'
            f"<saml:Audience>{self.audience}</saml:Audience></saml:AudienceRestriction></saml:Conditions>"
            f'<saml:AuthnStatement AuthnInstant="{_instant(self.now + self.authenticated)}"><saml:AuthnContext>'
            "<saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef>"
            f"</saml:AuthnContext></saml:AuthnStatement>{statement}</saml:Assertion></samlp:Response>"
        )


def sign(node: etree._Element, key: Key, signature: str, digest: str) -> None:
    """Sign an element in place, as identity providers do: enveloped, exclusive, right after the Issuer."""
    template = xmlsec.template.create(node, xmlsec.constants.TransformExclC14N, _transform(signature), ns="ds")
    node.find("saml:Issuer", NS).addnext(template)
    _sign_whole(node, template, key, _transform(digest))


def _sign_whole(node: etree._Element, template: etree._Element, key: Key, digest: object) -> None:
    reference = xmlsec.template.add_reference(template, digest, uri=f"#{node.get('ID')}")
    xmlsec.template.add_transform(reference, xmlsec.constants.TransformEnveloped)
    xmlsec.template.add_transform(reference, xmlsec.constants.TransformExclC14N)
    xmlsec.template.add_x509_data(xmlsec.template.ensure_key_info(template))
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_memory(key.key, xmlsec.constants.KeyDataFormatPem)
    context.key.load_cert_from_memory(key.certificate, xmlsec.constants.KeyDataFormatPem)
    context.register_id(node, "ID")
    context.sign(template)


def _transform(uri: str) -> object:
    for name in dir(xmlsec.constants):
        found = getattr(xmlsec.constants, name)
        if name.startswith("Transform") and getattr(found, "href", None) == uri:
            return found
    raise ValueError(uri)


def encode(tree: etree._Element) -> str:
    """As posted."""
    return base64.b64encode(etree.tostring(tree)).decode()


def _instant(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class RunningIdp:
    """The demo's identity provider as a process. ``ahead`` is the file its clock follows."""

    address: str
    folder: Path

    @property
    def metadata(self) -> bytes:
        """Its metadata."""
        return (self.folder / "idp-metadata.xml").read_bytes()

    def set_clock(self, now: datetime) -> None:
        """Make its clock show ``now``, from now on."""
        _set_clock(self.folder, now)


def _set_clock(folder: Path, now: datetime) -> None:
    ahead = (now - datetime.now(UTC)).total_seconds()
    (folder / "ahead").write_text(str(ahead), encoding="ascii")


@contextmanager
def running_idp(folder: Path, sp_metadata: str, *, person: str, now: datetime, port: int = 0) -> Iterator[RunningIdp]:
    """Start the demo's identity provider; its clock shows ``now``, it signs in ``person``, it ends with the block.

    It imports ``sp_metadata`` (address or file) at its first sign-in and never again. ``port``: that of an earlier
    one, which it then is again, with the same folder.
    """
    folder.mkdir(exist_ok=True)
    _set_clock(folder, now)
    port = port or free_port()
    command = [sys.executable, "-m", "rosterd.demo.idp", "--port", str(port), "--folder", str(folder)]
    command += ["--sp-metadata", sp_metadata, "--person", person, "--ahead", str(folder / "ahead")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            line = child.stdout.readline()
            assert line.startswith("listening on "), line
            yield RunningIdp(f"http://127.0.0.1:{port}", folder)
        finally:
            child.terminate()
            child.wait(10)


def posted_form(page: str) -> tuple[str, dict[str, str]]:
    """Where a page that posts itself posts to, and its hidden fields: what a browser would do."""
    action = re.search(r'action="([^"]+)"', page)
    assert action is not None, page
    fields = {}
    for tag in re.findall(r"<input[^>]*>", page):
        found = dict(re.findall(r'(name|value|type)="([^"]*)"', tag))
        if found.get("type") == "hidden":
            fields[unescape(found["name"])] = unescape(found["value"])
    return unescape(action[1]), fields
