"""Our metadata: held against the SAML metadata schema by a table written by hand, the same bytes each time (N17)."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

import pytest
from defusedxml.ElementTree import fromstring

from connector.sso.saml.metadata import DS, MD
from connector.sso.saml.own_metadata import EMAIL, PERSISTENT, OwnSide
from connector.sso.settings import SsoSettings

URL = "https://rosterd.example"
ONE, TWO = "MIIBone=", "MIIBtwo="
SCHEMA: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "EntityDescriptor": (
        ("entityID",),
        ("validUntil", "cacheDuration", "ID"),
        ("Signature", "Extensions", "SPSSODescriptor", "Organization", "ContactPerson"),
    ),
    "SPSSODescriptor": (
        ("protocolSupportEnumeration",),
        ("AuthnRequestsSigned", "WantAssertionsSigned", "validUntil", "cacheDuration", "errorURL", "ID"),
        ("Signature", "Extensions", "KeyDescriptor", "Organization", "ContactPerson", "ArtifactResolutionService",
         "SingleLogoutService", "ManageNameIDService", "NameIDFormat", "AssertionConsumerService",
         "AttributeConsumingService"),
    ),
    "KeyDescriptor": ((), ("use",), ("KeyInfo", "EncryptionMethod")),
    "NameIDFormat": ((), (), ()),
    "AssertionConsumerService": (("Binding", "Location", "index"), ("isDefault", "ResponseLocation"), ()),
    "KeyInfo": ((), ("Id",), ("X509Data",)),
    "X509Data": ((), (), ("X509Certificate",)),
    "X509Certificate": ((), (), ()),
}  # fmt: skip
"""Element → attributes it must have, attributes it may have, children in the order of saml-schema-metadata-2.0.xsd."""


def faults(node: Element) -> list[str]:
    """What the schema would say of a document of ours."""
    namespace, name = node.tag.strip("{").split("}")
    home = DS if name in {"KeyInfo", "X509Data", "X509Certificate"} else MD
    required, optional, order = SCHEMA[name]
    found = [f"{name}: namespace {namespace}"] if f"{{{namespace}}}" != home else []
    found += [f"{name}: no {missing}" for missing in required if missing not in node.attrib]
    found += [f"{name}: {other}" for other in node.attrib if other not in {*required, *optional}]
    children = [child.tag.rpartition("}")[2] for child in node]
    found += [f"{name}: {child}" for child in children if child not in order]
    if not found and children != sorted(children, key=order.index):
        found.append(f"{name}: order {children}")
    if not order and len(node) == 0 and name in {"NameIDFormat", "X509Certificate"} and not (node.text or "").strip():
        found.append(f"{name}: empty")
    return found + [fault for child in node if not found for fault in faults(child)]


@pytest.mark.parametrize("certificates", [[ONE], [ONE, TWO]])
@pytest.mark.parametrize("sso", [SsoSettings(), SsoSettings(mail_attribute="mail", response_signed_only=True)])
def test_n17_our_metadata_follows_the_schema(certificates: list[str], sso: SsoSettings) -> None:
    root = fromstring(OwnSide(URL, "acme", sso).metadata(certificates))
    assert faults(root) == []
    assert [node.text for node in root.iter(f"{DS}X509Certificate")] == certificates
    assert [node.get("use") for node in root.iter(f"{MD}KeyDescriptor")] == ["signing"] * len(certificates)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (r"(<md:NameIDFormat>.*?</md:NameIDFormat>)\s*(<md:AssertionConsumerService[^>]*/>)", r"\2\1"),
        (r' index="0"', ""),
        (r' entityID="[^"]*"', ""),
        (r"<md:KeyDescriptor", "<md:KeyDescriptor kind='x'"),
        (r"<md:NameIDFormat>[^<]*", "<md:NameIDFormat>"),
        (r"X509Data", "Extensions"),
    ],
)
def test_the_table_notices_what_the_schema_forbids(before: str, after: str) -> None:
    text = OwnSide(URL, "acme", SsoSettings()).metadata([ONE]).decode()
    broken, count = re.subn(before, after, text, flags=re.DOTALL)
    assert count
    assert faults(fromstring(broken)) != []


def test_n17_only_algorithms_that_we_use_and_no_end() -> None:
    text = OwnSide(URL, "acme", SsoSettings()).metadata([ONE]).decode().lower()
    for word in ("md5", "sha1", "ripemd", "digestmethod", "validuntil", "cacheduration", "encryption"):
        assert word not in text


def test_n17_the_same_settings_give_the_same_bytes() -> None:
    own = OwnSide(URL, "acme", SsoSettings())
    assert own.metadata([ONE]) == OwnSide(URL, "acme", SsoSettings()).metadata([ONE])
    assert own.metadata([ONE]) != own.metadata([ONE, TWO]) != own.metadata([TWO, ONE])


@pytest.mark.parametrize(
    ("sso", "name_id", "assertions"),
    [
        (SsoSettings(), EMAIL, "true"),
        (SsoSettings(mail_attribute="mail"), PERSISTENT, "true"),
        (SsoSettings(response_signed_only=True), EMAIL, "false"),
        (SsoSettings(mail_attribute="mail", response_signed_only=True), PERSISTENT, "false"),
    ],
)
def test_n17_what_is_asked_for_follows_the_connection(sso: SsoSettings, name_id: str, assertions: str) -> None:
    root = fromstring(OwnSide(URL, "acme", sso).metadata([ONE]))
    descriptor = root.find(f"{MD}SPSSODescriptor")
    assert descriptor is not None
    assert [node.text for node in descriptor.findall(f"{MD}NameIDFormat")] == [name_id]
    assert descriptor.get("WantAssertionsSigned") == assertions
    assert descriptor.get("AuthnRequestsSigned") == "true"
