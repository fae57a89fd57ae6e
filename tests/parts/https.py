"""HTTPS servers of a test, with certificates of an authority of its own: they say any bytes and keep what was asked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Parts = Callable[[], AsyncIterator[bytes]]
_DAY = timedelta(days=1)


class Authority:
    """Issues certificates; ``file`` is its own, in PEM."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        made = self._builder(self._name, self._key.public_key(), now - 9 * _DAY, now + 9 * _DAY).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(self, *names: str, ended: timedelta = -_DAY) -> ssl.SSLContext:
        """What a server of these names and addresses shows; the certificate ended ``ended`` ago."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        now = datetime.now(UTC)
        made = self._builder(subject, key.public_key(), now - 8 * _DAY, now - ended)
        named = made.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        certificate = named.sign(self._key, hashes.SHA256())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file = self._folder / f"server-{certificate.serial_number}.pem"
        file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, since: datetime, until: datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(since)
            .not_valid_after(until)
        )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@dataclass(slots=True)
class Listening:
    """A server: where it listens, how often it was connected to, the heads it was sent, the names asked for in SNI."""

    port: int = 0
    connections: int = 0
    heads: list[str] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)


@asynccontextmanager
async def listening(
    answer: bytes | Parts, tls: ssl.SSLContext | None = None, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Listening]:
    """A server on loopback that says ``answer`` to whoever has sent a head; in the clear without ``tls``."""
    seen = Listening()
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            seen.connections += 1
            seen.heads.append((await reader.readuntil(b"\r\n\r\n")).decode("latin-1"))
            if isinstance(answer, bytes):
                writer.write(answer)
            else:
                async for part in answer():
                    writer.write(part)
                    await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    if tls is not None:
        tls.sni_callback = lambda _connection, name, _context: seen.names.append(name)
    server = await asyncio.start_server(talk, host, port, ssl=tls)
    seen.port = server.sockets[0].getsockname()[1]
    try:
        yield seen
    finally:
        server.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        await server.wait_closed()


def document(body: bytes, content_type: str = "text/plain", *, status: str = "200 OK", more: str = "") -> bytes:
    """An answer with a body. ``more``: further header lines, each with its end."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode("latin-1") + body
