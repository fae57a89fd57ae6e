"""Reads the address of a document so strictly that everybody else who reads it means the same host.

Pure. Parsers differ in what they forgive (tabs, backslashes, ``@``, ``127.1``): here nothing is forgiven but an
upper-case letter, a dot at the end of the host, and international letters in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

from access.outbound.addresses import Address
from ledger.errors import BadInput
from ledger.identity import a_label

MOST_CHARACTERS = 2048
_PORTS = {"https": 443, "http": 80}
_AUTHORITY = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:@%]+))(?::(?P<port>[0-9]{1,5}))?")
_ENDS_IN_A_NUMBER = re.compile(r"(?:[0-9]+|0[xX][0-9A-Fa-f]*)")
_NEVER = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ufeff]")


@dataclass(frozen=True, slots=True)
class Target:
    """A document on a host. ``host``: an A-label in lower case or a plain IP address; ``path``: with its query."""

    scheme: str
    host: str
    literal: Address | None
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Host, and port where it is not the usual one: what stands in a URL and in the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """The URL without its query, which may hold a secret."""
        return f"{self.scheme}://{self.authority}{self.path.partition('?')[0]}"

    def at(self, address: Address) -> str:
        """The same URL with an address in place of the host, so that nobody needs to look the host up again."""
        host = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read a URL; raises ``BadInput`` that names what is wrong and repeats neither user, password nor query."""
        if fault := _fault(text):
            raise _bad(text, fault)
        try:
            parts = urlsplit(text)
        except ValueError:
            raise _bad(text, "is not an address that can be read") from None
        found = _AUTHORITY.fullmatch(parts.netloc)
        if parts.scheme not in _PORTS or found is None:
            raise _bad(text, "is not an https address of a host")
        if not parts.path.isascii() or not parts.query.isascii():
            raise _bad(text, "has letters in its path that must be written as %XX")
        port = int(found["port"] or _PORTS[parts.scheme])
        if not 0 < port < 65536:
            raise _bad(text, "has a port that does not exist")
        try:
            literal, host = _host(found["v6"], found["name"])
        except ValueError:
            raise _bad(text, "names a host that is neither a domain name nor a plainly written IP address") from None
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, host, literal, port, path)


def _fault(text: str) -> str:
    """What is wrong with the characters; these are looked for first because parsers drop some of them unasked."""
    if len(text) > MOST_CHARACTERS:
        return f"is longer than {MOST_CHARACTERS} characters"
    if _NEVER.search(text):
        return "holds a space, a control character or a backslash"
    if "#" in text:
        return "holds a fragment (#): name the document itself"
    if "@" in text.partition("?")[0].partition("://")[2].partition("/")[0]:
        return "holds a user name or password"
    return ""


def _host(v6: str | None, name: str | None) -> tuple[Address | None, str]:
    """Raises ``ValueError``."""
    if v6 is not None:
        address = IPv6Address(v6)
        return address, str(address)
    assert name is not None  # noqa: S101  # the expression has two sides
    host = host_name(name)
    if not _ENDS_IN_A_NUMBER.fullmatch(host.rpartition(".")[2]):
        return None, host
    # 127.1, 2130706433 and 0x7f.1 mean loopback to some, and so do digits of other scripts
    literal = IPv4Address(name)
    return literal, str(literal)


def host_name(name: str) -> str:
    """The A-label of a host, without a dot at its end; raises ``ValueError``."""
    text = name.removesuffix(".")
    host = a_label(text)
    if text.endswith(".") or not all(host.split(".")):
        raise ValueError(f"{name!r} has an empty label")
    return host


def _bad(text: str, what: str) -> BadInput:
    return BadInput(what, where=_shown(text), next_step="write https://HOST/PATH as in a browser's address line")


def _shown(text: str) -> str:
    """What may be repeated of an address that cannot be read: nothing that could be a password."""
    if "@" in text:
        return "URL"
    bare = re.split(r"[?#]", text, maxsplit=1)[0]
    return "".join(character if character.isprintable() else " " for character in bare)[:100]
