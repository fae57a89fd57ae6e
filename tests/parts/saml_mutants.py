"""Mutants of genuine responses: wrappings that were published, and random ones made from a seed.

A mutant under its old signature may be accepted only if nothing that is read from it has changed. One that was signed
anew by the right key (``Mutant.signed``) may say anything, and only has to be judged without an error.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from lxml import etree

from tests.parts.idp import NS, SAML, SAMLP, Forged, Key

Wrapping = Callable[[etree._Element], etree._Element]


def _evil_of(assertion: etree._Element) -> etree._Element:
    """An unsigned assertion about somebody else, made from a signed one."""
    evil = copy.deepcopy(assertion)
    evil.set("ID", "_evil")
    signature = evil.find("ds:Signature", NS)
    if signature is not None:
        evil.remove(signature)
    evil.find("saml:Subject/saml:NameID", NS).text = "ceo@acme.example"
    return evil


def _xsw1(root: etree._Element) -> etree._Element:
    """The signed Response inside the Signature of an evil one."""
    evil = copy.deepcopy(root)
    evil.set("ID", "_evilresponse")
    signature = evil.find("ds:Signature", NS)
    evil.find("saml:Assertion/saml:Subject/saml:NameID", NS).text = "ceo@acme.example"
    inner = copy.deepcopy(root)
    inner.remove(inner.find("ds:Signature", NS))
    signature.append(inner)
    return evil


def _xsw2(root: etree._Element) -> etree._Element:
    """The signed Response before its detached Signature, both in an evil Response."""
    evil = copy.deepcopy(root)
    evil.set("ID", "_evilresponse")
    evil.find("saml:Assertion/saml:Subject/saml:NameID", NS).text = "ceo@acme.example"
    inner = copy.deepcopy(root)
    inner.remove(inner.find("ds:Signature", NS))
    evil.find("ds:Signature", NS).addprevious(inner)
    return evil


def _xsw3(root: etree._Element) -> etree._Element:
    """An evil assertion before the signed one."""
    assertion = root.find("saml:Assertion", NS)
    assertion.addprevious(_evil_of(assertion))
    return root


def _xsw4(root: etree._Element) -> etree._Element:
    """The signed assertion inside an evil one."""
    assertion = root.find("saml:Assertion", NS)
    evil = _evil_of(assertion)
    root.replace(assertion, evil)
    evil.append(assertion)
    return root


def _xsw5(root: etree._Element) -> etree._Element:
    """The evil assertion carries the Signature; the signed one, without it, follows."""
    assertion = root.find("saml:Assertion", NS)
    evil = copy.deepcopy(assertion)
    evil.set("ID", "_evil")
    evil.find("saml:Subject/saml:NameID", NS).text = "ceo@acme.example"
    bare = copy.deepcopy(assertion)
    bare.remove(bare.find("ds:Signature", NS))
    root.replace(assertion, evil)
    evil.addnext(bare)
    return root


def _xsw6(root: etree._Element) -> etree._Element:
    """The signed assertion inside the Signature of an evil one."""
    assertion = root.find("saml:Assertion", NS)
    evil = copy.deepcopy(assertion)
    evil.set("ID", "_evil")
    evil.find("saml:Subject/saml:NameID", NS).text = "ceo@acme.example"
    bare = copy.deepcopy(assertion)
    bare.remove(bare.find("ds:Signature", NS))
    evil.find("ds:Signature", NS).append(bare)
    root.replace(assertion, evil)
    return root


def _xsw7(root: etree._Element) -> etree._Element:
    """A harmless copy of the assertion in Extensions; pysaml2 alone answers the true user here."""
    assertion = root.find("saml:Assertion", NS)
    extensions = etree.Element(f"{{{SAMLP}}}Extensions")
    extensions.append(_evil_of(assertion))
    root.find("saml:Issuer", NS).addnext(extensions)
    return root


def _xsw8(root: etree._Element) -> etree._Element:
    """The signed assertion inside an Object of the evil one's Signature."""
    assertion = root.find("saml:Assertion", NS)
    evil = copy.deepcopy(assertion)
    evil.set("ID", "_evil")
    evil.find("saml:Subject/saml:NameID", NS).text = "ceo@acme.example"
    bare = copy.deepcopy(assertion)
    bare.remove(bare.find("ds:Signature", NS))
    etree.SubElement(evil.find("ds:Signature", NS), f"{{{NS['ds']}}}Object").append(bare)
    root.replace(assertion, evil)
    return root


WRAPPINGS: tuple[Wrapping, ...] = (_xsw1, _xsw2, _xsw3, _xsw4, _xsw5, _xsw6, _xsw7, _xsw8)
"""XSW1 to XSW8 (Somorovsky); the first two are made from a signed Response, the others from a signed Assertion."""

_TEXTS = (
    "", " ", "ceo@acme.example", "ceo@acme.example.evil.example", "admin@evil.example", "a" * 3000, "\u202e\u0430",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-01:00", "9999-12-31T23:59:59Z", "2026-03-02T09:00:00Z", "24:00",
    "https://evil.example", "https://rosterd.example/sso/acme/acs", "_assertion1", "_response1", "id-request1", "true",
    "urn:oasis:names:tc:SAML:2.0:cm:sender-vouches", "urn:oasis:names:tc:SAML:2.0:nameid-format:transient", "1.1",
    "http://www.w3.org/2000/09/xmldsig#rsa-sha1", "http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments",
    "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256", "http://www.w3.org/TR/1999/REC-xpath-19991116",
)  # fmt: skip
_INSTANTS = (
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-01:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z",
    "2026-03-02T09:00:30Z", "2026-03-02T09:00:00+00:00", "2026-03-02T08:58:00Z", "2026-03-02T09:30:00Z",
    "2026-03-03T10:00:00Z", "2026-03-02T09:00:00.123456789Z", "2026-02-30T09:00:00Z", "2026-03-02T24:00:00Z",
)  # fmt: skip
_PIECES = (
    b"<!--x-->", b"<?x y?>", b"<![CDATA[x]]>", b"<!DOCTYPE r>", b"&lt;", b"&#46;", b"&#x0;", b"&x;", b"<", b">", b'"',
    b' xmlns:x="1"', b' ID="_assertion1"', b' Id="x"', b"</saml:Assertion>", b"\x00", b"\xff\xfe", b"\xc3", b"\n", b" ",
    b'<?xml version="1.1"?>', b'<?xml version="1.0" encoding="utf-16"?>', b"\xef\xbb\xbf", b"<a>" * 70, b"<a/>" * 2100,
)  # fmt: skip
_ATTRIBUTES = ("ID", "Id", "id", "Version", "IssueInstant", "Destination", "InResponseTo", "Recipient", "NotBefore",
               "NotOnOrAfter", "AuthnInstant", "SessionNotOnOrAfter", "Method", "Algorithm", "URI", "Name", "Format",
               "FriendlyName", "Value", "NameQualifier", "{http://www.w3.org/XML/1998/namespace}id")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutant:
    """``kind`` says how it was made; ``signed``: by the right key, after the change."""

    kind: str
    posted: str
    signed: bool = False


def mutants(seed: int, count: int, genuine: Forged, attacker: Key) -> Iterator[Mutant]:
    """``count`` mutants, the same for the same seed."""
    chance = Random(seed)
    trees = [genuine.tree(), genuine.but(sign_response=True).tree()]
    for _ in range(count):
        yield chance.choice(_KINDS)(chance, trees, genuine, attacker)


def _bytes(chance: Random, trees: Sequence[etree._Element], genuine: Forged, attacker: Key) -> Mutant:
    data = bytearray(etree.tostring(chance.choice(trees)))
    for _ in range(chance.randint(1, 3)):
        at, length = chance.randrange(len(data) + 1), chance.randint(1, 40)
        match chance.randrange(6):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = data[chance.randrange(len(data) + 1) :][:length]
            case 3:
                data[at:at] = chance.choice(_PIECES)
            case 4:
                del data[at:]
            case _:
                data[at : at + length] = data[at : at + length].swapcase()
        if not data:
            data = bytearray(b" ")
    return Mutant("bytes", base64.b64encode(bytes(data)).decode())


def _coding(chance: Random, trees: Sequence[etree._Element], genuine: Forged, attacker: Key) -> Mutant:
    text = etree.tostring(chance.choice(trees)).decode()
    match chance.randrange(6):
        case 0:
            data = text.encode(chance.choice(("utf-16", "utf-32", "utf-7", "cp037", "utf-8-sig")))
        case 1:
            name = chance.choice(("utf-16", "latin-1", "utf-7", "UTF-8", "us-ascii", "x"))
            data = f'<?xml version="1.0" encoding="{name}"?>{text}'.encode()
        case 2:
            data = text.replace("acme", "&#97;cme", chance.randint(1, 4)).encode()
        case 3:
            data = text.replace(">", ">\n", chance.randint(1, 9)).encode()
        case 4:
            data = (text + chance.choice((" ", "\n<x/>", "<!--x-->", text))).encode()
        case _:
            data = text.encode()
    posted = base64.b64encode(data).decode()
    at = chance.randrange(len(posted))
    changes = (posted, posted[:at] + "\n" + posted[at:], posted[:at] + "=" + posted[at:], posted + "====",
               posted[:at] + "ł" + posted[at:], posted.replace("+", "-"), posted * 2, posted[:at], "")  # fmt: skip
    return Mutant("coding", chance.choice(changes))


def _structure(chance: Random, trees: Sequence[etree._Element], genuine: Forged, attacker: Key) -> Mutant:
    root = copy.deepcopy(chance.choice(trees))
    for _ in range(chance.randint(1, 3)):
        _edit(chance, root)
    return Mutant("structure", _posted(root))


def _wrapped(chance: Random, trees: Sequence[etree._Element], genuine: Forged, attacker: Key) -> Mutant:
    root = copy.deepcopy(trees[1])
    root = chance.choice(WRAPPINGS)(root)
    if chance.random() < 0.5:
        _edit(chance, root)
    return Mutant("wrapping", _posted(root))


def _signature(chance: Random, trees: Sequence[etree._Element], genuine: Forged, attacker: Key) -> Mutant:
    root = copy.deepcopy(chance.choice(trees))
    signature = chance.choice(root.findall(".//ds:Signature", NS))
    node = chance.choice([signature, *signature.iter("*")])
    match chance.randrange(4):
        case 0 if node is not signature:
            node.getparent().remove(node)
        case 1:
            node.addnext(copy.deepcopy(node))
        case 2:
            node.set(chance.choice(("Algorithm", "URI", "Id")), chance.choice(_TEXTS))
        case _:
            node.text = chance.choice((*_TEXTS, attacker.base64))
    return Mutant("signature", _posted(root))


def _by_attacker(chance: Random, trees: Sequence[etree._Element], genuine: Forged, attacker: Key) -> Mutant:
    forged = genuine.but(key=attacker, sign_response=chance.random() < 0.5, before_signing=_editing(chance, 1))
    return Mutant("attacker's key", _made(forged))


def _signed_anew(chance: Random, trees: Sequence[etree._Element], genuine: Forged, attacker: Key) -> Mutant:
    forged = genuine.but(sign_response=chance.random() < 0.3, before_signing=_editing(chance, chance.randint(1, 3)))
    return Mutant("signed anew", _made(forged), True)


_KINDS = (_bytes, _coding, _structure, _structure, _wrapped, _signature, _by_attacker, *[_signed_anew] * 4)


def _made(forged: Forged) -> str:
    try:
        return forged.post()
    except Exception:  # what cannot be signed any more (no assertion, no issuer) is posted as it is
        return forged.but(sign_assertion=False, sign_response=False).post()


def _editing(chance: Random, times: int) -> Callable[[etree._Element], None]:
    seed = chance.random()  # the same edits when it is made a second time
    edit = chance.choice((_edit, _value, _value))

    def change(root: etree._Element) -> None:
        again = Random(seed)
        for _ in range(times):
            edit(again, root)

    return change


def _value(chance: Random, root: etree._Element) -> None:
    """Another value where there is one, most often an instant for an instant: what stays a response to the schema."""
    places = [(node, name) for node in root.iter("*") for name in node.attrib]
    node, name = chance.choice(places)
    if chance.random() < 0.6:
        node, name = chance.choice(
            [(node, name) for node, name in places if name.endswith(("Instant", "After", "Before"))]
        )
        node.set(name, chance.choice(_INSTANTS))
    elif node.text and chance.random() < 0.5:
        node.text = chance.choice([text for text in _TEXTS if text.isprintable()])
    else:
        node.set(name, chance.choice(_TEXTS))


def _edit(chance: Random, root: etree._Element) -> None:
    """One change somewhere in a tree."""
    nodes = list(root.iter("*"))
    node, other = chance.choice(nodes), chance.choice(nodes)
    match chance.randrange(9):
        case 0 if node is not root:
            node.getparent().remove(node)
        case 1 if node is not root:
            node.addnext(copy.deepcopy(node))
        case 2:
            other.insert(chance.randint(0, len(other)), copy.deepcopy(node))
        case 3 if node is not root:
            node.tag = chance.choice(nodes).tag
        case 4:
            node.text = chance.choice(("admin@evil.example", *(text for text in _TEXTS if text.isprintable())))
        case 5 if node.attrib:
            del node.attrib[chance.choice(list(node.attrib))]
        case 6 if node.attrib:
            node.set(chance.choice(list(node.attrib)), chance.choice(_TEXTS))
        case 7:
            node.set(chance.choice(_ATTRIBUTES), chance.choice(_TEXTS))
        case _:
            node.insert(0, etree.Comment("x") if chance.random() < 0.3 else etree.Element(f"{{{SAML}}}Advice"))


def _posted(root: etree._Element) -> str:
    return base64.b64encode(etree.tostring(root)).decode()
