"""Our side as identity providers are told of it: entityID, ACS and the SAML metadata document (N17).

Pure: no I/O here. The same settings and certificates give the same bytes: whoever compares two copies sees changes
only. The document is written here and not by pysaml2, which offers MD5 and SHA-1 as algorithms and no NameIDFormat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, indent, register_namespace, tostring

from connector.sso.saml.metadata import DS, MD, POST, PROTOCOL
from connector.sso.settings import SsoSettings

EMAIL = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"

register_namespace("md", MD.strip("{}"))
register_namespace("ds", DS.strip("{}"))


@dataclass(frozen=True, slots=True)
class OwnSide:
    """Us towards one organization's identity provider. ``public_url`` has no slash at its end."""

    public_url: str
    organization: str
    sso: SsoSettings

    @property
    def entity_id(self) -> str:
        """Our entityID; also the address of our metadata."""
        return f"{self.public_url}/sso/{self.organization}/metadata"

    @property
    def acs(self) -> str:
        """Where responses are posted."""
        return f"{self.public_url}/sso/{self.organization}/acs"

    @property
    def name_id_format(self) -> str:
        """The NameID that the organization's settings can use (N3): the mail address, where no attribute holds it;
        else a persistent one, which stays when somebody's address changes. Without a word Keycloak sends user names.

        Requests carry no NameIDPolicy: AD FS and Shibboleth answer one that they were not set up for with an error
        (InvalidNameIDPolicy), and a NameID that does not fit is named by the test sign-in, to us.
        """
        return PERSISTENT if self.sso.mail_attribute else EMAIL

    def metadata(self, certificates: Sequence[str]) -> bytes:
        """The document. ``certificates``: base64 of DER, the one that signs first.

        No validUntil and no cacheDuration: an end that nobody watches is an outage. Signed requests are announced and
        sent always; whether the Assertion has to be signed follows ``response_signed_only`` (then the Response has to
        be, for which SAML metadata has no word). There is no key to encrypt for: encrypted assertions are refused.
        """
        root = Element(f"{MD}EntityDescriptor", {"entityID": self.entity_id})
        descriptor = SubElement(
            root,
            f"{MD}SPSSODescriptor",
            {
                "AuthnRequestsSigned": "true",
                "WantAssertionsSigned": "false" if self.sso.response_signed_only else "true",
                "protocolSupportEnumeration": PROTOCOL,
            },
        )
        for certificate in certificates:
            key = SubElement(SubElement(descriptor, f"{MD}KeyDescriptor", {"use": "signing"}), f"{DS}KeyInfo")
            SubElement(SubElement(key, f"{DS}X509Data"), f"{DS}X509Certificate").text = certificate
        SubElement(descriptor, f"{MD}NameIDFormat").text = self.name_id_format
        SubElement(
            descriptor,
            f"{MD}AssertionConsumerService",
            {"Binding": POST, "Location": self.acs, "index": "0", "isDefault": "true"},
        )
        indent(root)
        document: bytes = tostring(root, encoding="UTF-8", xml_declaration=True)
        return document + b"\n"
