"""A terminal of 80 columns, with a person who answers what is asked."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_SECONDS = 120.0
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


@dataclass(frozen=True, slots=True)
class Screen:
    """How the command ended, and everything it showed: as it came, and without colours."""

    code: int
    raw: str

    @property
    def text(self) -> str:
        """As it is read."""
        return _CONTROL.sub("", self.raw)


def types(
    arguments: Sequence[str],
    answers: Sequence[tuple[str, str]] = (),
    *,
    columns: int = 80,
    environment: Mapping[str, str] | None = None,
) -> Screen:
    """``rosterd`` with these arguments; each answer is (what is asked for, what is typed then), in order."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(  # noqa: S606
            sys.executable,
            [sys.executable, "-m", "rosterd.cli", *arguments],
            {**os.environ, "TERM": "xterm-256color", **(environment or {})},
        )
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    shown, waiting, seen, until = b"", list(answers), 0, time.monotonic() + _SECONDS
    while time.monotonic() < until:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                read = os.read(terminal, 65536)
            except OSError:  # the command has gone
                break
            if not read:
                break
            shown += read
        if waiting and waiting[0][0] in _CONTROL.sub("", shown[seen:].decode("utf-8", "replace")):
            seen = len(shown)
            os.write(terminal, waiting.pop(0)[1].encode() + b"\n")
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert not waiting, (waiting, shown.decode("utf-8", "replace"))
    return Screen(os.waitstatus_to_exitcode(status), shown.decode("utf-8", "replace"))
