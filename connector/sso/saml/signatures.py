"""③ The shape and algorithms of XML signatures, judged before any library follows a reference in them.

Pure: no I/O here. pysaml2 checks neither which algorithms were used nor that an expired certificate is refused.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

from connector.sso.gate.explain_refusal import one_line
from connector.sso.saml.metadata import DS
from connector.sso.saml.response import Document, Expected, SignInRefused, local_name

SIGNATURE_METHODS = frozenset(
    f"http://www.w3.org/2001/04/xmldsig-more#{kind}-sha{size}" for kind in ("rsa", "ecdsa") for size in (256, 384, 512)
)
DIGEST_METHODS = frozenset(
    {
        "http://www.w3.org/2001/04/xmlenc#sha256",
        "http://www.w3.org/2001/04/xmldsig-more#sha384",
        "http://www.w3.org/2001/04/xmlenc#sha512",
    }
)
_EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
_TRANSFORMS = frozenset({"http://www.w3.org/2000/09/xmldsig#enveloped-signature", _EXCLUSIVE})


def check_signatures(document: Document, expected: Expected) -> None:
    """③ Every signature is where it belongs, covers its parent whole, with sound algorithms (cases 1, 5, 6, 12)."""
    parents = [document.root, document.assertion]
    signatures = [node for node in document.root.iter() if local_name(node) == "Signature"]
    placed = [(parent, node) for parent in parents for node in parent.findall(f"{DS}Signature")]
    if len(placed) != len(signatures) or len({id(parent) for parent, _ in placed}) != len(placed):
        raise SignInRefused(3, "signature_place")
    for parent, signature in placed:
        check_signature(parent, signature)
    needed = document.root if expected.response_signed_only else document.assertion
    if not any(parent is needed for parent, _ in placed):
        raise SignInRefused(3, "unsigned")


def named_certificates(document: Document) -> frozenset[str]:
    """Certificates (base64) that its signatures say they were made with: a hint where to look first, never a key."""
    path = f"{DS}Signature/{DS}KeyInfo/{DS}X509Data/{DS}X509Certificate"
    found = [node for parent in (document.root, document.assertion) for node in parent.findall(path)]
    return frozenset("".join((node.text or "").split()) for node in found)


def check_signature(parent: Element, signature: Element) -> None:
    """One signature that covers its parent whole, with sound algorithms; raises ``SignInRefused``."""
    if signature.findall(f"{DS}Object") or signature.findall(f".//{DS}RetrievalMethod"):
        raise SignInRefused(3, "signature_shape")
    infos = signature.findall(f"{DS}SignedInfo")
    references = signature.findall(f".//{DS}Reference")
    if len(infos) != 1 or len(references) != 1 or infos[0].findall(f"{DS}Reference") != references:
        raise SignInRefused(3, "signature_shape")
    info, reference = infos[0], references[0]
    if reference.get("URI") != f"#{parent.get('ID')}":
        raise SignInRefused(3, "reference")
    if _algorithms(info, "CanonicalizationMethod") != [_EXCLUSIVE]:
        raise SignInRefused(3, "canonicalization")
    transforms = _algorithms(reference, "Transforms/{http://www.w3.org/2000/09/xmldsig#}Transform")
    if not set(transforms) <= _TRANSFORMS or len(transforms) > 2:
        raise SignInRefused(3, "transform")
    methods = _algorithms(info, "SignatureMethod")
    if len(methods) != 1 or methods[0] not in SIGNATURE_METHODS:
        raise SignInRefused(3, "signature_algorithm", one_line(" ".join(methods)))
    digests = _algorithms(reference, "DigestMethod")
    if len(digests) != 1 or digests[0] not in DIGEST_METHODS:
        raise SignInRefused(3, "digest_algorithm", one_line(" ".join(digests)))


def _algorithms(node: Element, path: str) -> list[str]:
    return [found.get("Algorithm", "") for found in node.findall(f"{DS}{path}")]
