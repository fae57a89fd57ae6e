"""Who signed a metadata document: only a signature that covers the whole document counts.

Prohibition: a key is never believed because the document names it. At the first time it is written down beside the
version that an admin tested; afterwards a document is signed by *that* key or it is not (N1).
"""

from __future__ import annotations

import asyncio
import base64
import shutil
import subprocess
import tempfile
from pathlib import Path
from xml.etree.ElementTree import Element

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from connector.sso.saml.metadata import DS, METADATA_LIMITS
from connector.sso.saml.response import SignInRefused, local_name
from connector.sso.saml.signatures import check_signature
from connector.sso.saml.xml_scan import read
from ledger.errors import Unavailable

_SECONDS = 10.0
_MOST_TRIED = 5  # a chain is as long; each costs xmlsec1 once
_METADATA = "urn:oasis:names:tc:SAML:2.0:metadata"


class NotSigned(ValueError):
    """The document carries a signature that proves nothing; the text says why."""


async def signer_of(document: bytes) -> str:
    """The certificate (base64) in the document's signature whose key verifies it; empty for an unsigned document.

    Raises ``NotSigned`` when there is a signature and none of the first few certificates in it verifies it.
    """
    root = read(document, METADATA_LIMITS)
    if not _signatures(root):
        return ""
    _require_whole(root)
    found = root.findall(f"{DS}Signature/{DS}KeyInfo/{DS}X509Data/{DS}X509Certificate")
    for certificate in list(dict.fromkeys("".join((node.text or "").split()) for node in found))[:_MOST_TRIED]:
        if await asyncio.to_thread(_verifies, document, local_name(root), certificate):
            return certificate
    raise NotSigned("no certificate in its signature verifies it")


async def signed_by(document: bytes, certificate: str) -> bool:
    """Whether the whole document is signed by the key of this certificate (base64)."""
    root = read(document, METADATA_LIMITS)
    try:
        _require_whole(root)
    except NotSigned:
        return False
    return await asyncio.to_thread(_verifies, document, local_name(root), certificate)


def _signatures(root: Element) -> list[Element]:
    return [node for node in root.iter() if local_name(node) == "Signature"]


def _require_whole(root: Element) -> None:
    """One signature, directly in the root, over the root, whose ID nothing else has (against wrapping). xmlsec1
    verifies the first signature that it meets: there must not be another."""
    if _signatures(root) != root.findall(f"{DS}Signature") or len(_signatures(root)) != 1:
        raise NotSigned("its signature does not stand directly in the root, alone")
    ids = [value for node in root.iter() for name, value in node.attrib.items() if _is_id(name)]
    if not root.get("ID") or ids.count(root.get("ID", "")) != 1:
        raise NotSigned("its signature does not name the root")
    try:
        check_signature(root, _signatures(root)[0])
    except SignInRefused as error:
        raise NotSigned(f"its signature is not one that counts ({error.reason} {error.detail})".strip()) from error


def _is_id(name: str) -> bool:
    return name.rpartition("}")[2].lower() == "id"


def _verifies(document: bytes, root: str, certificate: str) -> bool:
    """Ask xmlsec1, with this one key: ``raw-x509-cert`` alone keeps it from taking any that the document brings."""
    program = shutil.which("xmlsec1")
    if program is None:
        raise Unavailable("the program xmlsec1 is not installed", next_step="apt-get install xmlsec1")
    try:
        pem = x509.load_der_x509_certificate(base64.b64decode(certificate, validate=True)).public_bytes(Encoding.PEM)
    except (ValueError, TypeError):
        return False
    with tempfile.TemporaryDirectory(prefix="rosterd-metadata-") as folder:
        text, key = Path(folder) / "metadata.xml", Path(folder) / "certificate.pem"
        text.write_bytes(document)
        key.write_bytes(pem)
        command = [program, "--verify", "--enabled-reference-uris", "same-doc", "--enabled-key-data", "raw-x509-cert"]
        command += ["--pubkey-cert-pem", str(key), "--id-attr:ID", f"{_METADATA}:{root}", str(text)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603 (our own words)
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == 0
