"""A real OpenLDAP server on a free loopback port, with its own certificate authority; stopped by process id."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.parts import company
from tests.parts.ports import free_ports

SLAPD = "/usr/sbin/slapd"
SLAPADD = "/usr/sbin/slapadd"
SLAPCAT = "/usr/sbin/slapcat"
SLAPPASSWD_FREE = "rootdn-secret"
SYNCPROV = ("index entryCSN eq", "index modifyTimestamp eq", "overlay syncprov")
"""``extra`` lines that let others follow changes; one more, ``syncprov-sessionlog N``, makes it say deletions."""
_START_SECONDS = 20.0


@dataclass(slots=True)
class Authority:
    """A certificate authority of the test and one server certificate for localhost and 127.0.0.1."""

    folder: Path
    ca: Path = field(init=False)
    certificate: Path = field(init=False)
    key: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ca, self.certificate, self.key = (self.folder / name for name in ("ca.pem", "server.pem", "server.key"))
        ca_key, ca_certificate = _signed("rosterd test CA", None)
        key, certificate = _signed("localhost", (ca_key, ca_certificate))
        self.ca.write_bytes(ca_certificate.public_bytes(serialization.Encoding.PEM))
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


def _signed(
    name: str, issuer: tuple[ec.EllipticCurvePrivateKey, x509.Certificate] | None
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[1].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    signer = issuer[0] if issuer else key
    if issuer:
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = builder.add_extension(identifier, critical=False)
    else:
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)
    return key, builder.sign(signer, hashes.SHA256())


@dataclass(slots=True)
class Slapd:
    """A running server. ``process`` is ended by ``stop``."""

    folder: Path
    port: int
    tls_port: int
    ca: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """ldap://, where StartTLS is offered."""
        return f"ldap://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        """ldaps:// with a certificate of the test's authority."""
        return f"ldaps://localhost:{self.tls_port}"

    @property
    def socket_url(self) -> str:
        """ldapi://, where SASL EXTERNAL names the system user."""
        return f"ldapi://{quote(str(self.folder / 'ldapi'), safe='')}"

    def reload(self, ldif: str) -> None:
        """End the server, put other content in place of all it holds, and start it again on the same ports."""
        self.stop()
        for path in (self.folder / "db").iterdir():
            path.unlink()
        _load(self.folder, ldif, schema=True)
        self.restart()

    def copied(self) -> str:
        """A copy of all it holds (slapcat), as a backup would be made of a server that was ended in order."""
        self.stop()
        command = [SLAPCAT, "-f", str(self.folder / "slapd.conf")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        self.restart()
        return done.stdout

    def modify(self, changes: str, *, tool: str = "ldapmodify") -> None:
        """Apply LDIF change records as the database's own administrator."""
        command = [tool, "-x", "-H", self.url, "-D", f"cn=root,{company.SUFFIX}", "-w", SLAPPASSWD_FREE]
        done = subprocess.run(command, input=changes, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]

    def restart(self) -> None:
        """End the server and start it again on the same ports with the same content."""
        self.stop()
        self.process = _launched(self.folder, self.port, self.tls_port)
        until = time.monotonic() + _START_SECONDS
        while not (_answers(self.port) and _answers(self.tls_port)):
            assert time.monotonic() < until, "slapd did not start again"
            time.sleep(0.02)

    def stop(self) -> None:
        """End the server and wait for it."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)


@contextlib.contextmanager
def running(
    ldif: str,
    *,
    limits: Sequence[str] = (),
    extra: Sequence[str] = (),
    access: Sequence[str] = (),
    schema: bool = False,
) -> Iterator[Slapd]:
    """A server that holds ``ldif``; with ``schema`` it has to keep the schema, and can be changed over LDAP.

    ``limits``: slapd.conf ``limits`` lines without the word, such as ``'users size.prtotal=20'``; ``extra``: further
    lines of the database section; ``access``: access rules before the final "everybody reads".
    """
    folder = Path(tempfile.mkdtemp(prefix="rosterd-slapd-"))
    try:
        authority = Authority(folder / "tls")
        _configure(folder, authority, limits=limits, extra=extra, access=access)
        _load(folder, ldif, schema=schema)
        server = _start(folder, authority)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _configure(
    folder: Path, authority: Authority, *, limits: Sequence[str], extra: Sequence[str], access: Sequence[str]
) -> None:
    (folder / "db").mkdir()
    schemas = "\n".join(
        f"include /etc/ldap/schema/{name}.schema" for name in ("core", "cosine", "nis", "inetorgperson")
    )
    uid, gid = os.getuid(), os.getgid()
    peer = f"gidNumber={gid}\\+uidNumber={uid},cn=peercred,cn=external,cn=auth"
    lines = [
        schemas,
        "modulepath /usr/lib/ldap",
        "moduleload back_mdb",
        "moduleload ppolicy",
        *(["moduleload syncprov"] if any("syncprov" in line for line in extra) else []),
        f"pidfile {folder}/slapd.pid",
        f"TLSCACertificateFile {authority.ca}",
        f"TLSCertificateFile {authority.certificate}",
        f"TLSCertificateKeyFile {authority.key}",
        "TLSVerifyClient never",
        "sizelimit unlimited",
        "timelimit unlimited",
        f'authz-regexp "{peer}" "{company.READER}"',
        "database mdb",
        f"directory {folder}/db",
        "maxsize 2147483648",
        "dbnosync",
        f'suffix "{company.SUFFIX}"',
        f'rootdn "cn=root,{company.SUFFIX}"',
        f"rootpw {SLAPPASSWD_FREE}",
        "index objectClass eq",
        "index entryUUID eq",
        *(f"limits {line}" for line in limits),
        *(f"access to {rule}" for rule in access),
        "access to attrs=userPassword by anonymous auth by * none",
        "access to * by * read",
        *extra,
    ]
    (folder / "slapd.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _load(folder: Path, ldif: str, *, schema: bool) -> None:
    source = folder / "content.ldif"
    # slapadd takes a version line for an entry without a DN.
    source.write_text(ldif.removeprefix("version: 1\n").lstrip("\n"), encoding="utf-8")
    command = [SLAPADD, "-q", *([] if schema else ["-s"]), "-f", str(folder / "slapd.conf"), "-l", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def _start(folder: Path, authority: Authority) -> Slapd:
    for _ in range(5):
        port, tls_port = free_ports(2)
        process = _launched(folder, port, tls_port)
        server = Slapd(folder, port, tls_port, authority.ca, process)
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until and process.poll() is None:
            if _answers(port) and _answers(tls_port):
                return server
            time.sleep(0.02)
        server.stop()
    raise AssertionError(f"slapd did not start: {(folder / 'log').read_text()[-2000:]}")


def _launched(folder: Path, port: int, tls_port: int) -> subprocess.Popen[bytes]:
    urls = f"ldap://127.0.0.1:{port} ldaps://127.0.0.1:{tls_port} ldapi://{quote(str(folder / 'ldapi'), safe='')}"
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [SLAPD, "-d", "0", "-h", urls, "-f", str(folder / "slapd.conf")], stdout=log, stderr=log
        )  # fmt: skip


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
