"""Names this process so that others can tell whether it still lives: host, process id, and marks of both.

Decides nothing. Reads ``/proc``; where there is none, a process of this host is never said to be gone.
"""

from __future__ import annotations

import os
import socket
from functools import cache
from hashlib import blake2b
from pathlib import Path

from ledger.instant import new_id
from ledger.jobs import Whereabouts

_PROC = Path("/proc")


def holder() -> str:
    """A name nobody else has: ``HOST:PID:PLACE:BORN:ID``."""
    pid = os.getpid()
    return f"{socket.gethostname()}:{pid}:{_place()}:{_born(pid)}:{new_id()[-8:]}"


def whereabouts(name: str) -> Whereabouts:
    """What is known of the process that ``holder`` named. One of another boot or container of this host may as well be
    on another host."""
    host, pid, place, born, *_ = (*name.split(":"), "", "", "", "")
    if host != socket.gethostname() or not _place() or place != _place():
        return Whereabouts.ELSEWHERE
    return Whereabouts.HERE if not born or _born(int(pid)) == born else Whereabouts.GONE


@cache
def _place() -> str:
    """This boot of this host, and among which processes we count: a number means another one elsewhere."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii")
        return blake2b((boot + os.readlink(_PROC / "self/ns/pid")).encode(), digest_size=4).hexdigest()
    except OSError:
        return ""


def _born(pid: int) -> str:
    """When the process began, in ticks since the boot: a number is given again. Empty when it is not there, or only
    waits to be buried."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in {"Z", "X"} else fields[19]
