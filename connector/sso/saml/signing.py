"""The keys that sign our sign-in requests: made once by set-up, read from two references, changed by ``rotation``.

Each reference holds PEM blocks one after the other. The first key signs, with the certificate of the same public key;
every other certificate is published beside it: the next one's before a switch, the former one's after it. A key
without a certificate is nothing: what a crash left. So one renamed file is one step, whole or not at all.
Prohibition: never replaces an existing key here; identity providers have pinned its certificate.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from connector.sso.gate.connections import Certificate
from connector.sso.settings import SamlSettings
from ledger.errors import BadInput, Busy
from ledger.modes import private_folder

BITS = 3072
LIFE = timedelta(days=3650)
BACKDATED = timedelta(hours=1)
"""A new certificate begins this long before it is made: the clock of whoever checks it may be behind ours."""
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s.*?-----END \1-----", re.DOTALL)


class KeyState(StrEnum):
    """STEADY: one certificate is published · ANNOUNCED: the next one beside it · SWITCHED: the former one beside it."""

    STEADY = "steady"
    ANNOUNCED = "announced"
    SWITCHED = "switched"


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """One certificate of ours. ``pem`` as it stands in the file, ``base64`` of its DER form as metadata shows it."""

    pem: bytes
    base64: str
    sha256: str
    value: Certificate


@dataclass(frozen=True, slots=True)
class Pair:
    """A private key, PEM as it stands in the file, and its certificate."""

    key: bytes
    certificate: OwnCertificate


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """``signing`` signs. ``beside`` are the other certificates that are published; ``waiting`` is the key of the first
    of them, None where it is not here (an operator who published a certificate of a key kept elsewhere)."""

    signing: Pair
    beside: tuple[OwnCertificate, ...] = ()
    waiting: Pair | None = None

    @property
    def certificates(self) -> tuple[OwnCertificate, ...]:
        """What is published, the signing one first."""
        return (self.signing.certificate, *self.beside)

    @property
    def state(self) -> KeyState:
        """Which step of a rotation has been done: read from the certificates alone, so that it survives anything."""
        if not self.beside:
            return KeyState.STEADY
        newer = self.beside[0].value.not_before > self.signing.certificate.value.not_before
        return KeyState.ANNOUNCED if newer else KeyState.SWITCHED

    @property
    def announced_at(self) -> datetime | None:
        """Since when the next certificate is published; None unless one is announced."""
        return self.beside[0].value.not_before + BACKDATED if self.state is KeyState.ANNOUNCED else None


def read_keys(settings: SamlSettings) -> OwnKeys:
    """The keys as they are now; raises ``BadInput`` that names the reference."""
    key, certificate = settings.signing_key, settings.signing_certificate
    try:
        texts = key.reveal().encode(), certificate.reveal().encode()
    except BadInput as error:
        step = "restore the key and its certificate from a backup: identity providers have pinned it"
        raise BadInput(error.what, next_step=step) from error
    return parse_keys(*texts, key_at=str(key), certificate_at=str(certificate))


def parse_keys(keys: bytes, certificates: bytes, *, key_at: str, certificate_at: str) -> OwnKeys:
    """What two texts of PEM blocks mean; raises ``BadInput`` at ``key_at`` or ``certificate_at``."""
    private = [(_spki(key.public_key()), block) for block, key in _private_keys(keys, key_at)]
    published = list(_certificates(certificates, certificate_at))
    signing_spki, signing_key = private[0]
    signing = [one for one in published if one.value.spki == signing_spki]
    if not signing:
        raise BadInput(
            "no certificate in it belongs to the key that signs",
            where=certificate_at,
            next_step=f"put the certificate of {key_at} into it, or restore both from a backup",
        )
    chosen = max(signing, key=lambda one: one.value.not_after)
    others = [one for one in published if one.value.spki != signing_spki]
    beside = tuple(sorted(others, key=lambda one: one.value.not_before, reverse=True))
    kept = dict(private[1:])
    waiting = Pair(kept[beside[0].value.spki], beside[0]) if beside and beside[0].value.spki in kept else None
    return OwnKeys(Pair(signing_key, chosen), beside, waiting)


def ensure_key(key_file: Path, certificate_file: Path, *, name: str, now: datetime) -> bool:
    """Make key and certificate where the key file does not exist; False when it does. Folder 0700, key 0600."""
    if key_file.exists():
        return False
    for folder in {key_file.parent, certificate_file.parent}:
        private_folder(folder)
    with held(key_file, wait=True):  # two commands at once must not leave the key of one and the other's certificate
        if key_file.exists():
            return False
        key, certificate = make_certificate(name, now - BACKDATED, now + LIFE, bits=BITS)
        write_whole(certificate_file, certificate, 0o644)
        write_whole(key_file, key, 0o600)
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


@contextmanager
def held(key_file: Path, *, wait: bool = False) -> Iterator[None]:
    """Keep every other process from changing the keys while the block runs; raises ``Busy`` unless ``wait``.

    The lock is on the key's folder and ends with the process, however it ends.
    """
    descriptor = os.open(key_file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise Busy(
                "another process is changing the signing key", where=str(key_file), next_step="run it again"
            ) from error
        yield
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all: a crash leaves the file of before. Who owned it owns it afterwards; raises ``OSError``."""
    before = path.stat() if path.exists() else None
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        if before is not None:
            os.fchown(descriptor, before.st_uid, before.st_gid)
        os.fchmod(descriptor, mode)
        with os.fdopen(os.dup(descriptor), "wb") as handle:
            handle.write(content)
        os.fsync(descriptor)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _private_keys(text: bytes, where: str) -> Sequence[tuple[bytes, rsa.RSAPrivateKey]]:
    found = []
    for block in _blocks(text, b"PRIVATE KEY"):
        try:
            key = load_pem_private_key(block, None)
        except (ValueError, TypeError) as error:  # TypeError: it has a password
            raise BadInput(
                "a private key in it cannot be read", where=where, next_step="an RSA key in PEM without a password"
            ) from error
        if not isinstance(key, rsa.RSAPrivateKey):
            raise BadInput("a private key in it is not RSA", where=where, next_step="an RSA key of at least 2048 bits")
        found.append((block + b"\n", key))
    if not found:
        raise BadInput("there is no private key in it", where=where, next_step="an RSA key in PEM without a password")
    return found


def _certificates(text: bytes, where: str) -> Iterator[OwnCertificate]:
    for block in _blocks(text, b"CERTIFICATE"):
        try:
            loaded = x509.load_pem_x509_certificate(block)
            spki = _spki(loaded.public_key())
        except ValueError as error:
            raise BadInput("a certificate in it cannot be read", where=where, next_step="X.509 in PEM") from error
        der = loaded.public_bytes(Encoding.DER)
        value = Certificate(spki, loaded.not_valid_before_utc, loaded.not_valid_after_utc)
        yield OwnCertificate(
            block + b"\n", base64.b64encode(der).decode("ascii"), hashlib.sha256(der).hexdigest(), value
        )


def _blocks(text: bytes, label: bytes) -> Iterator[bytes]:
    return (found[0] for found in _BLOCK.finditer(text) if found[1].endswith(label))


def _spki(key: Any) -> str:
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
