"""Where a lab is: its folder, its ports, whose configuration it serves. Its zone, in which records are published."""

from __future__ import annotations

import errno
import json
import shlex
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ledger.errors import BadInput, Refused
from ledger.modes import private_file, private_folder
from rosterd.checks.addresses import is_loopback
from rosterd.settings import Settings

HOST = "127.0.0.1"
_ZONES = ("zone-a.json", "zone-b.json")
_NAME, _VALUE = 253, 4096
_PORTS = {
    "--idp-port": ("idp_port", socket.SOCK_STREAM, 1),
    "--dns-port": ("dns_port", socket.SOCK_DGRAM, 2),
    "--mail-port": ("mail_port", socket.SOCK_STREAM, 2),
}
"""Option → where ``Lab`` has the port, of what kind it is, and how many in a row there are."""


@dataclass(frozen=True, slots=True)
class Lab:
    """One lab. ``config``: the rosterd.toml that it was asked for; ``public_url``: where its daemon is reached."""

    folder: Path
    config: Path
    organization: str
    domains: tuple[str, ...]
    public_url: str
    idp_port: int
    dns_port: int
    mail_port: int

    @property
    def mail_page(self) -> str:
        """Where every mail can be read: one port after the mail server's."""
        return f"http://{HOST}:{self.mail_port + 1}/"

    @property
    def metadata(self) -> Path:
        """The identity provider's metadata, which it writes when it starts."""
        return self.folder / "idp-metadata.xml"

    @property
    def entity_id(self) -> str:
        """The identity provider, by name and address."""
        return f"http://{HOST}:{self.idp_port}/metadata"

    @property
    def dns_ports(self) -> tuple[int, int]:
        """Two name servers, because two have to agree."""
        return self.dns_port, self.dns_port + 1

    @property
    def resolvers(self) -> tuple[str, ...]:
        """The same as ``[dns] resolvers`` has them."""
        return tuple(f"{HOST}:{port}" for port in self.dns_ports)

    @property
    def zones(self) -> tuple[Path, ...]:
        """The file of each name server."""
        return tuple(self.folder / name for name in _ZONES)


def folder_of(config: Path, given: Path | None) -> Path:
    """The folder that was named; else ``lab`` beside rosterd.toml, or its own folder where that is a lab's copy."""
    if given is not None:
        return given
    return config.parent if (config.parent / _ZONES[0]).exists() else config.parent / "lab"


def planned(
    settings: Settings, organization: str, *, folder: Path | None, idp_port: int, dns_port: int, mail_port: int
) -> Lab:
    """The lab of one organization. Raises ``Refused`` where others could reach it, ``BadInput`` for its ports."""
    server, customer = settings.installation.server, settings.customer(organization).settings
    if not is_loopback(urlsplit(server.public_url).hostname or ""):
        raise Refused(
            f"public_url {server.public_url} is not this machine alone: who can reach it could sign in as anybody",
            where=f"{settings.file}: server.public_url",
            next_step='use a configuration with [server] public_url = "http://127.0.0.1:8080": rosterd init FOLDER',
        )
    domains = tuple(item.name for item in customer.domains)
    if not domains:
        raise BadInput(
            "the organization has no domain to prove",
            where=str(settings.customer(organization).file),
            next_step='add [[domains]] name = "acme.example" to the file',
        )
    lab = Lab(
        folder_of(settings.file, folder).absolute(),
        settings.file,
        organization,
        domains,
        server.public_url,
        idp_port,
        dns_port,
        mail_port,
    )
    daemon = {server.address[1], server.operator_address[1]} - {0}
    for option, port in (("--idp-port", idp_port), ("--mail-port", mail_port), ("--mail-port", mail_port + 1)):
        if port in daemon:
            raise BadInput(f"port {port} is the daemon's", where=option, next_step="choose another port")
    return lab


def claim(lab: Lab, *, write: bool = False) -> None:
    """Make the folder and an empty zone, where there are none. Raises ``BadInput`` for a port that is taken, with the
    command that takes a free one; ``write``: as that command says."""
    chosen: dict[str, int] = {option: getattr(lab, name) for option, (name, _, _) in _PORTS.items()}
    for option, (_, kind, count) in _PORTS.items():
        for port in range(chosen[option], chosen[option] + count):
            why = _not_free(port, kind)
            if why:
                others = {one + more for name, one in chosen.items() for more in range(_PORTS[name][2])}
                chosen[option] = _free(chosen[option] + count, kind, count, others)
                raise BadInput(f"port {port} of {HOST} {why}", where=option, next_step=_again(lab, chosen, write))
    private_folder(lab.folder)
    private_file(lab.folder / ".gitignore", b"*\n")  # its keys belong into no repository either
    for zone in lab.zones:
        private_file(zone, b"{}\n")


def publish(folder: Path, name: str, value: str) -> tuple[str, ...]:
    """Add a TXT record to the lab's zone, as both name servers show it from now on; returns all records of the name.

    Raises ``BadInput`` where there is no lab, and for what is no name or value.
    """
    name = name.rstrip(".").lower()
    if not name or len(name) > _NAME or any(sign.isspace() or sign in '"!' for sign in name):
        raise BadInput(f"{name!r} is no name of a record", where="NAME", next_step="as rosterd sso add printed it")
    if not value or len(value) > _VALUE:
        raise BadInput("the record is empty or too long", where="VALUE", next_step="as rosterd sso add printed it")
    zone = _zone(folder)
    zone[name] = list(dict.fromkeys((*zone.get(name, []), value)))
    _write(folder, zone)
    return tuple(zone[name])


def withdraw(folder: Path, name: str) -> bool:
    """Take every record of a name out of the lab's zone, to see a proof lapse; False when there was none."""
    zone = _zone(folder)
    found = zone.pop(name.rstrip(".").lower(), None)
    _write(folder, zone)
    return found is not None


def _zone(folder: Path) -> dict[str, Any]:
    file = folder / _ZONES[0]
    try:
        zone: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(
            "there is no lab", where=str(folder), next_step="start one with rosterd lab, or name its folder"
        ) from error
    except ValueError as error:
        raise BadInput(f"is no zone: {error}", where=str(file), next_step="remove it and start the lab anew") from error
    return zone


def _write(folder: Path, zone: dict[str, Any]) -> None:
    """Both files, each at once: the name servers read them at every question."""
    for name in _ZONES:
        fresh = folder / f"{name}.new"
        fresh.write_text(json.dumps(zone, indent=1) + "\n", encoding="utf-8")
        fresh.replace(folder / name)


def _not_free(port: int, kind: socket.SocketKind) -> str:
    """Why a port cannot be listened at; empty where it can."""
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was just left is free
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            return "is in use already, perhaps by another lab" if taken else f"cannot be used: {error}"
    return ""


def _free(after: int, kind: socket.SocketKind, count: int, others: set[int]) -> int:
    """The first of ``count`` ports in a row from ``after`` on, or from 8100 on, that nobody has or is about to."""
    return next(
        first
        for first in chain(range(after, 65536 - count), range(8100, after))
        if not others & set(range(first, first + count))
        and not any(_not_free(first + more, kind) for more in range(count))
    )


def _again(lab: Lab, ports: Mapping[str, int], write: bool) -> str:
    """The command that runs this lab at these ports."""
    words = ["rosterd", "lab", *(["--write"] if write else [])]
    if lab.folder != folder_of(lab.config, None).absolute():
        words += ["--folder", str(lab.folder)]
    return shlex.join([*words, *(word for option, port in ports.items() for word in (option, str(port)))])
