"""One bound connection to one server (D12): address, TLS, bind, deadlines. ldap3 is spoken here and in search.py only.

Follows no referral and sends no password over an unencrypted connection unless the settings say so by name.
"""

from __future__ import annotations

import contextlib
import math
import re
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import ldap3
from ldap3.core.exceptions import LDAPExceptionError

from connector.directory.settings import LdapSettings
from ledger.errors import BadInput

_UNVERIFIED = re.compile(r"certificate verify failed: ([^(]+)")
"""Why, out of what the TLS library says around it."""
_CODES = {
    1: "operations error",
    2: "protocol error",
    3: "time limit exceeded",
    4: "size limit exceeded",
    8: "stronger authentication required",
    10: "referral",
    11: "administrative limit exceeded",
    12: "unavailable critical extension",
    13: "confidentiality required",
    32: "no such object",
    34: "invalid DN",
    48: "inappropriate authentication",
    49: "invalid credentials",
    50: "insufficient access rights",
    51: "busy",
    52: "unavailable",
    53: "unwilling to perform",
    80: "other",
}
TRANSIENT_CODES = frozenset({51, 52, 80})
"""Results that may be different in a moment (D4)."""


class Failed(Exception):
    """A connection or search that did not work. ``transient``: again may help; ``final``: try no other server."""

    def __init__(self, reason: str, *, transient: bool, final: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.transient = transient
        self.final = final


class Clock:
    """The time a reading has left. ``stop`` (from any thread) ends it at once, with a reason."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._stopped = ""

    def left(self, at_most: float = math.inf) -> float:
        """Seconds left, never more than ``at_most``; raises ``Failed`` when there are none."""
        if self._stopped:
            raise Failed(self._stopped, transient=False, final=True)
        left = self._end - time.monotonic()
        if left <= 0:
            raise Failed("the deadline of the whole reading has passed", transient=False, final=True)
        return min(left, at_most)

    def stop(self, reason: str) -> None:
        """End it now."""
        self._stopped = self._stopped or reason


def words(code: int, diagnostic: str = "") -> str:
    """A result code for an operator: number, name, and what the server said."""
    said = "".join(character for character in diagnostic if character.isprintable())[:200]
    return f"result {code} ({_CODES.get(code, 'see RFC 4511')}{': ' + said if said else ''})"


class _VerifiedTls(ldap3.Tls):  # type: ignore[misc]
    """ldap3's TLS with Python's own host name check, SNI and TLS 1.2 or newer."""

    def __init__(self, context: ssl.SSLContext, name: str) -> None:
        super().__init__(validate=context.verify_mode)
        self._context = context
        self._name = name

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        """Replace the connection's socket; called by ldap3 for ldaps:// and after StartTLS."""
        connection.socket = self._context.wrap_socket(
            connection.socket, server_hostname=self._name, do_handshake_on_connect=do_handshake
        )


def _context(settings: LdapSettings, folder: Path) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(folder / settings.tls_ca) if settings.tls_ca else None)
        if not settings.tls_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.tls_certificate:
            context.load_cert_chain(str(folder / settings.tls_certificate), str(folder / settings.tls_key))
    except (OSError, ValueError) as error:
        names = ", ".join(filter(None, (settings.tls_ca, settings.tls_certificate, settings.tls_key)))
        raise Failed(f"certificate files ({names}) cannot be used: {error}", transient=False, final=True) from error
    return context


class Session:
    """A connection to one server, opened, encrypted and bound by ``open``."""

    def __init__(self, url: str, settings: LdapSettings, folder: Path, clock: Clock) -> None:
        self.url = url
        self.clock = clock
        self._settings = settings
        self._folder = folder
        parts = urlsplit(url)
        self._scheme = parts.scheme
        self._host = unquote(parts.netloc) if parts.scheme == "ldapi" else parts.hostname or ""
        self._port = parts.port
        self.connection: Any = None

    @property
    def socket(self) -> socket.socket:
        """The open socket; ``Failed`` when there is none (any more)."""
        found = self.connection.socket if self.connection is not None else None
        if found is None:
            raise Failed("the connection is closed", transient=True)
        return found  # type: ignore[no-any-return]

    @property
    def encryption(self) -> str:
        """How the connection is protected, in words."""
        if self._scheme == "ldapi":
            return "local socket"
        if self._scheme == "ldap" and self._settings.plaintext:
            return "NOT encrypted"
        kind = "TLS" if self._scheme == "ldaps" else "StartTLS"
        return f"{kind}, certificate {'verified' if self._settings.tls_verify else 'NOT verified'}"

    def open(self) -> None:
        """Connect, encrypt, bind. ``Failed`` says which step did not work and whether trying again may help."""
        settings, folder = self._settings, self._folder
        password = self._secret()
        if self._scheme == "ldap" and settings.plaintext:
            tls = None
        else:
            tls = None if self._scheme == "ldapi" else _VerifiedTls(_context(settings, folder), self._tls_name())
        self._step("cannot connect", lambda: self._connect(tls, password))
        if self._scheme == "ldap" and tls is not None:
            self._step("no StartTLS", self._start_tls)
        self.socket.settimeout(self.clock.left(settings.bind_timeout.total_seconds()))
        self._step("cannot bind", lambda: self.connection.bind(read_server_info=False))
        result = self.connection.result or {}
        if result.get("result") != 0:
            code = int(result.get("result", 80))
            reason = f"bind failed: {words(code, str(result.get('message') or ''))}"
            # 49 on one server is 49 on all, and every further try counts towards a lock.
            raise Failed(reason, transient=code in TRANSIENT_CODES, final=code == 49)

    def interrupt(self) -> None:
        """Make a thread that waits for the server come back now; callable from any thread."""
        connection = self.connection  # the other thread may let go of it meanwhile
        found = connection.socket if connection is not None else None
        if found is not None:
            with contextlib.suppress(OSError):
                found.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the connection; never raises."""
        if self.connection is not None:
            opened = self.connection.socket
            with contextlib.suppress(OSError, LDAPExceptionError):
                self.connection.strategy.close()
            if opened is not None:  # ldap3 forgets a socket whose handshake failed
                with contextlib.suppress(OSError):
                    opened.close()
            self.connection = None

    def _secret(self) -> str | None:
        if self._settings.bind != "simple" or self._settings.bind_password is None:
            return None
        try:
            return self._settings.bind_password.anchored(self._folder).reveal()
        except BadInput as error:
            raise Failed(error.what, transient=False, final=True) from error

    def _tls_name(self) -> str:
        return self._settings.tls_name or self._host

    def _connect(self, tls: _VerifiedTls | None, password: str | None) -> None:
        if self._scheme == "ldapi":
            return self._connect_to(f"ldapi://{self._host}", tls, password)
        port = self._port or (636 if self._scheme == "ldaps" else 389)
        found = socket.getaddrinfo(self._host, port, type=socket.SOCK_STREAM)
        # One address at a time: ldap3 would leave the sockets of those that failed open.
        for position, (*_, address) in enumerate(found, 1):
            try:
                return self._connect_to(str(address[0]), tls, password)
            except (LDAPExceptionError, OSError):
                self.close()
                if position == len(found):
                    raise
        return None

    def _connect_to(self, address: str, tls: _VerifiedTls | None, password: str | None) -> None:
        settings = self._settings
        timeout = self.clock.left(settings.connect_timeout.total_seconds())
        server = ldap3.Server(
            address,
            port=self._port,
            use_ssl=self._scheme == "ldaps",
            get_info=ldap3.NONE,
            connect_timeout=timeout,
            tls=tls,
        )
        kind = {"simple": ldap3.SIMPLE, "external": ldap3.SASL, "anonymous": ldap3.ANONYMOUS}[settings.bind]
        external = settings.bind == "external"
        self.connection = ldap3.Connection(
            server,
            user=settings.bind_dn or None,
            password=password,
            authentication=kind,
            sasl_mechanism=ldap3.EXTERNAL if external else None,
            sasl_credentials="" if external else None,
            auto_referrals=False,
            check_names=False,
            receive_timeout=math.ceil(timeout),
            read_only=True,
        )
        self.connection.open(read_server_info=False)

    def _start_tls(self) -> None:
        if not self.connection.start_tls(read_server_info=False):
            raise Failed(f"no StartTLS: {self.connection.last_error or 'refused'}", transient=False)

    def _step(self, what: str, act: Callable[[], object]) -> None:
        """Run one step; foreign exceptions stop here."""
        try:
            act()
        except (LDAPExceptionError, OSError, ValueError) as error:
            self.clock.left()  # a stop or the deadline is the better reason
            said = str(error) or type(error).__name__
            untrusted = "CERTIFICATE_VERIFY_FAILED" in said or "certificate" in said.lower()
            said = said.replace("socket ssl wrapping error: ", "").replace("wrap socket error: ", "")
            said = said.replace("socket connection error while opening: ", "")
            if untrusted and (why := _UNVERIFIED.search(said)):
                said = why[1].strip()
            prefix = "the server's certificate is not trusted" if untrusted else what
            raise Failed(f"{prefix}: {said}", transient=not untrusted) from error
