"""An installation in a temporary folder: first files of ``rosterd init``, then the real command line on it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rosterd import cli
from tests.parts.ports import free_port

START = 60.0
STOP = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What one command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Installation:
    """A folder with rosterd.toml, organizations/acme.toml and keys."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Installation:
        """What ``rosterd init`` writes, listening on a free port."""
        made = cls(folder)
        with ThreadPoolExecutor(max_workers=1) as apart:  # it makes the ledger in a loop of its own
            assert apart.submit(run, "init", str(folder)).result().code == 0
        own = f'listen = "127.0.0.1:{free_port()}"\noperator_listen = "127.0.0.1:0"'
        made.edit("rosterd.toml", 'listen = "127.0.0.1:8080"', own)
        return made

    @property
    def file(self) -> Path:
        """rosterd.toml."""
        return self.folder / "rosterd.toml"

    @property
    def organization(self) -> Path:
        """The one customer's file."""
        return self.folder / "organizations" / "acme.toml"

    def rosterd(self, *arguments: str) -> Answer:
        """One command, in this process; its file is named by the environment, so commands it prints are short."""
        with patch.dict(os.environ, {"ROSTERD_CONFIG": str(self.file)}):
            return run(*arguments)

    def edit(self, name: str, before: str, after: str) -> None:
        """Replace text in a file."""
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        assert before in text, (name, before)
        path.write_text(text.replace(before, after), encoding="utf-8")

    def append(self, text: str) -> None:
        """Add tables to the organization's file."""
        with self.organization.open("a", encoding="utf-8") as handle:
            handle.write(text)

    @contextmanager
    def serving(self, *arguments: str, under: Mapping[str, str] | None = None) -> Iterator[Daemon]:
        """The real daemon in a process of its own; ended by SIGTERM when the block ends. ``under``: more of its
        environment."""
        command = [sys.executable, "-m", "rosterd.cli", "--config", str(self.file), "serve", *arguments]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ROSTERD_")}
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**environment, **(under or {})})
        daemon = Daemon(process)
        try:
            line = daemon.wait_for("serve.listening")
            daemon.url = _url(line)
            daemon.operator_url = _url(next(item for item in daemon.lines if "serve.operator_listening" in item))
            yield daemon
        finally:
            daemon.stop()


class Daemon:
    """A running ``rosterd serve`` and what it has logged so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.url = ""
        self.operator_url = ""
        self._arriving: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, name="daemon's log", daemon=True).start()

    def wait_for(self, text: str) -> str:
        """The next line of the log that holds ``text``; fails when the process ends without one, or is silent."""
        while True:
            try:
                line = self._arriving.get(timeout=START)
            except queue.Empty:
                line = ""
            if not line:
                self._arriving.put("")  # for ``stop``, which waits for the end of the log
                raise AssertionError(f"the daemon did not say {text!r}:\n{''.join(self.lines)}")
            self.lines.append(line)
            if text in line:
                return line

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr:
            for line in self.process.stderr:
                self._arriving.put(line)
        self._arriving.put("")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def files(self) -> int:
        """File descriptors that it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @property
    def peak_memory(self) -> float:
        """Megabytes that it has had at most."""
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the daemon alone."""
        self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM, then its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            code = self.process.wait(STOP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        while line := self._arriving.get(timeout=STOP):
            self.lines.append(line)
        self._arriving.put("")
        return code


def _url(line: str) -> str:
    return f"http://{line.split('address=')[1].split()[0]}"


def run(*arguments: str) -> Answer:
    """One command of the real command line, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(list(arguments))
    return Answer(code, out.getvalue(), err.getvalue())
