"""Asks the running daemon whether it is ready, and nothing else. Over the standard library: a container asks this once
a minute, beside the daemon.
"""

from __future__ import annotations

from contextlib import closing
from http.client import HTTPConnection, HTTPException

from connector.directory.base import CheckLine
from rosterd.settings import ServerSettings

_SECONDS = 5.0


def ask_daemon(server: ServerSettings, *, required: bool) -> CheckLine:
    """What ``GET /health/ready`` answers; that nothing answers is a fault where it is ``required``. Waits seconds."""
    host, port = server.address
    host = "127.0.0.1" if host in {"0.0.0.0", ""} else "::1" if host == "::" else host  # noqa: S104 - compared only
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{port}/health/ready"
    try:
        with closing(HTTPConnection(host, port, timeout=_SECONDS)) as connection:
            connection.request("GET", "/health/ready")
            status = connection.getresponse().status
    except (OSError, HTTPException):
        return CheckLine(not required, f"daemon: nothing answers at {url}", "rosterd serve", note=not required)
    return CheckLine(status == 200, f"daemon at {url} answers {status}", "read the daemon's log")
