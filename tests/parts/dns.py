"""Name servers of a test: real UDP responders in processes of their own, each with a zone that can be changed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from connector.sso.settings import DnsSettings


@dataclass(slots=True)
class NameServer:
    """One responder. ``zone`` replaces everything it answers, at once."""

    address: str
    zone_file: Path

    def zone(self, records: dict[str, Any]) -> None:
        """Answer from ``records`` from now on (format: rosterd.demo.resolver)."""
        new = self.zone_file.with_suffix(".new")
        new.write_text(json.dumps(records), encoding="utf-8")
        new.replace(self.zone_file)

    def fault(self, name: str) -> None:
        """``servfail``, ``refused`` or ``silent`` to every question."""
        self.zone({"!": name})


@dataclass(slots=True)
class NameServers:
    """Two responders, as an installation has."""

    servers: tuple[NameServer, NameServer]

    def settings(self, *, timeout: float = 5.0) -> DnsSettings:
        """The installation's settings."""
        return DnsSettings(
            resolvers=tuple(server.address for server in self.servers), timeout=timedelta(seconds=timeout)
        )

    def publish(self, name: str, *values: str | list[str]) -> None:
        """The same TXT records on both; nothing else exists."""
        for server in self.servers:
            server.zone({name: list(values)})

    def nothing(self) -> None:
        """NXDOMAIN for everything, on both."""
        for server in self.servers:
            server.zone({})

    def fault(self, name: str) -> None:
        """The same fault on both."""
        for server in self.servers:
            server.fault(name)


@contextmanager
def name_servers(folder: Path) -> Iterator[NameServers]:
    """Start two responders on free ports; they end with the block."""
    with ExitStack() as children:
        servers = [children.enter_context(_server(folder / f"zone-{letter}.json")) for letter in "ab"]
        yield NameServers((servers[0], servers[1]))


@contextmanager
def _server(zone_file: Path) -> Iterator[NameServer]:
    command = [sys.executable, "-m", "rosterd.demo.resolver", "--port", "0", "--zone-file", str(zone_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            line = child.stdout.readline()
            assert line.startswith("listening on "), line
            yield NameServer(line.split()[-1], zone_file)
        finally:
            child.terminate()
            child.wait(10)
