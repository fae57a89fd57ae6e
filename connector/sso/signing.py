"""The key that signs our sign-in requests: made once by set-up, kept in two files that only their owner reads.

Prohibition: never replaces an existing key; identity providers have pinned its certificate.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ledger.modes import private_folder

_BITS = 3072
_LIFE = timedelta(days=3650)


def ensure_key(key_file: Path, certificate_file: Path, *, name: str, now: datetime) -> bool:
    """Make key and certificate where the key file does not exist; False when it does. Folder 0700, key 0600."""
    if key_file.exists():
        return False
    for folder in {key_file.parent, certificate_file.parent}:
        private_folder(folder)
    key, certificate = make_certificate(name, now - timedelta(hours=1), now + _LIFE, bits=_BITS)
    _write(certificate_file, certificate, 0o644)
    _write(key_file, key, 0o600)
    return True


def make_certificate(name: str, starts: datetime, ends: datetime, *, bits: int = 2048) -> tuple[bytes, bytes]:
    """A fresh RSA key and its self-signed certificate, both PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name[:64])])
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(ends)
        .sign(key, SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem, built.public_bytes(Encoding.PEM)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all: a crash leaves no half key."""
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        os.fchmod(descriptor, mode)
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
