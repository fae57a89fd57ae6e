"""Asks the running daemon whether it is ready, and which files it goes by; nothing else. Over the standard library: a
container asks this once a minute, beside the daemon.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

from connector.directory.base import CheckLine
from rosterd.settings import ServerSettings, Settings

_SECONDS = 5.0
_PATIENCE = 1.0
_MOST_BYTES = 1 << 20


def ask_daemon(server: ServerSettings, *, required: bool) -> CheckLine:
    """What ``GET /health/ready`` answers; that nothing answers is a fault where it is ``required``. Waits seconds."""
    host, port = _here(*server.address)
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{port}/health/ready"
    try:
        with closing(HTTPConnection(host, port, timeout=_SECONDS)) as connection:
            connection.request("GET", "/health/ready")
            status = connection.getresponse().status
    except (OSError, HTTPException):
        return CheckLine(not required, f"daemon: nothing answers at {url}", "rosterd serve", note=not required)
    return CheckLine(status == 200, f"daemon at {url} answers {status}", "read the daemon's log")


@dataclass(frozen=True, slots=True)
class RunningDaemon:
    """The daemon on this host. ``files``: organization → mark of the file that it goes by; ``reloads`` and ``refused``:
    how often it has read its files again, and refused one of them."""

    pid: int
    files: Mapping[str, str]
    reloads: int
    refused: int


def running_daemon(settings: Settings) -> RunningDaemon | None:
    """The daemon of this ``rosterd.toml`` on this host; None where none answers its operator's address in a second."""
    host, port = _here(*settings.installation.server.operator_address)
    if not port:
        return None
    try:
        with closing(HTTPConnection(host, port, timeout=_PATIENCE)) as connection:
            connection.request("GET", "/health/ready")
            found = json.loads(connection.getresponse().read(_MOST_BYTES))
        if found["file"] != str(settings.file.absolute()):  # of another installation
            return None
        pid = int(found["pid"])
        if pid <= 0:  # a signal to it would go to many
            return None
        return RunningDaemon(pid, dict(found["files"]), int(found["reloads"]), int(found["refused"]))
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return None


def unread(settings: Settings) -> dict[str, CheckLine]:
    """Organization → a line, of each whose file the daemon on this host does not go by: it was edited and not
    reloaded."""
    found = running_daemon(settings)
    return {
        name: CheckLine(
            True,
            f"the running daemon has not read {customer.file.name} since it was changed",
            "rosterd reload",
            note=True,
        )
        for name, customer in settings.customers.items()
        if found is not None and found.files.get(name) != customer.mark
    }


def _here(host: str, port: int) -> tuple[str, int]:
    """Where a process on this host reaches what listens at this address."""
    return "127.0.0.1" if host in {"0.0.0.0", ""} else "::1" if host == "::" else host, port  # noqa: S104 - compared only
