"""A command at a terminal of its own: what it shows is read, and its questions are answered, as somebody would."""

from __future__ import annotations

import codecs
import contextlib
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_PATIENCE = 60.0


class Terminal:
    """A running command. ``shown``: everything so far."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self._process = process
        self._master = master
        self.shown = ""
        self._answered = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a read may end inside a character

    def answer(self, question: str, typed: str) -> str:
        """Wait until ``question`` stands at the end, type, and return what was shown since the last answer; fails when
        it never comes."""
        until = time.monotonic() + _PATIENCE
        while not re.search(rf"{question}[^\n]*: $", self.shown[self._answered :]):
            if not self._read(until):
                raise AssertionError(f"it did not ask {question!r}:\n{self.shown}")
        before, self._answered = self.shown[self._answered :], len(self.shown)
        os.write(self._master, f"{typed}\n".encode())
        return before

    def end(self) -> int:
        """Wait for its end; its exit code."""
        until = time.monotonic() + _PATIENCE
        while self._read(until):
            pass
        return self._process.wait(_PATIENCE)

    def _read(self, until: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, until - time.monotonic()))
        try:
            found = os.read(self._master, 65536) if ready else b""
        except OSError:  # Linux: the other end is closed
            found = b""
        self.shown += self._decoder.decode(found).replace("\r\n", "\n")
        return bool(found)


@contextlib.contextmanager
def at_a_terminal(words: Sequence[str], *, cwd: Path, under: Mapping[str, str] | None = None) -> Iterator[Terminal]:
    """``rosterd WORDS`` at a terminal of 80 columns; ended when the block ends."""
    master, slave = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ROSTERD_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "rosterd.cli", *words], stdin=slave, stdout=slave, stderr=slave, cwd=cwd,
        env={**environment, "COLUMNS": "80", "TERM": "dumb", "PYTHONPATH": os.getcwd(), **(under or {})},
        start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(master)
