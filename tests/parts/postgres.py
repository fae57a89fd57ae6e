"""A real PostgreSQL on a free loopback port: one server per test process, one cloned database per test.

Refuses to be shared between test processes: each xdist worker starts its own, so nothing has to be agreed on. The
server dies with the process that started it, also when that one is killed.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg import sql

from tests.parts.memory import make_folder
from tests.parts.ports import free_port

_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off")
_START_SECONDS = 60
_PR_SET_PDEATHSIG = 1


class PostgresServer:
    """One running server. ``start()``, then ``create_database`` / ``clone``; ``stop()`` removes its files."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], port: int) -> None:
        self._folder = folder
        self._process = process
        self.port = port
        self._databases = 0

    @classmethod
    def start(cls, *, durable: bool = False) -> PostgresServer:
        """Start one; ``durable`` keeps fsync on, for tests whose subject is what survives."""
        folder = Path(tempfile.mkdtemp(prefix="rosterd-pg-")) if durable else make_folder("rosterd-pg-")
        owner = "postgres" if os.getuid() == 0 else None
        if owner:
            shutil.chown(folder, owner, owner)
        binaries = _binaries()
        cluster = folder / "cluster"
        command = [
            binaries / "initdb",
            "-D",
            cluster,
            "-A",
            "trust",
            "-U",
            "rosterd",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "-N",
        ]
        done = subprocess.run(command, user=owner, group=owner, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stderr}")
        for _ in range(5):
            port = free_port()
            process = _launch(binaries / "postgres", cluster, folder, port, owner, () if durable else _FAST)
            server = cls(folder, process, port)
            if server._wait():
                return server
        log = (folder / "log").read_text(errors="replace")
        shutil.rmtree(folder, ignore_errors=True)
        raise RuntimeError(f"PostgreSQL does not start:\n{log}")

    def _wait(self) -> bool:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            try:
                with psycopg.connect(self.url("postgres"), connect_timeout=5):
                    return True
            except psycopg.OperationalError:
                time.sleep(0.02)
        self._terminate()
        return False

    @property
    def pid(self) -> int:
        """Process id of the postmaster."""
        return self._process.pid

    def url(self, database: str) -> str:
        """``postgresql://rosterd@127.0.0.1:PORT/DATABASE``."""
        return f"postgresql://rosterd@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str = "", *, template: str = "template0") -> str:
        """Create an empty database (or a copy of ``template``, which nobody may be connected to); return its URL."""
        self._databases += 1
        name = name or f"test_{os.getpid()}_{self._databases}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
            )
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop it, and break whatever is still connected."""
        name = url.rpartition("/")[2]
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def crash(self) -> None:
        """Kill it as a power cut would (``kill -9`` of the postmaster; its children notice and end)."""
        self._process.kill()
        self._process.wait(20)

    def restart(self) -> None:
        """Start it again over the same files, after ``crash``."""
        owner = "postgres" if os.getuid() == 0 else None
        for _ in range(50):  # the children of the dead postmaster hold its memory for a moment
            self._process = _launch(
                _binaries() / "postgres", self._folder / "cluster", self._folder, self.port, owner, ()
            )
            if self._wait():
                return
            time.sleep(0.1)
        raise RuntimeError(f"PostgreSQL does not start again:\n{(self._folder / 'log').read_text(errors='replace')}")

    def stop(self) -> None:
        """Stop by process id and remove the files."""
        self._terminate()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _terminate(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait(20)


def _launch(
    binary: Path, cluster: Path, folder: Path, port: int, owner: str | None, settings: tuple[str, ...]
) -> subprocess.Popen[bytes]:
    options = ["listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", "max_connections=100", *settings]
    command = [str(binary), "-D", str(cluster), "-p", str(port)]
    for option in options:
        command += ["-c", option]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            command, user=owner, group=owner, cwd=folder, stdout=log, stderr=log, preexec_fn=_die_with_parent()
        )


def _die_with_parent() -> Callable[[], None]:
    """A child's first act: ask the kernel for SIGINT (a fast shutdown) when the process that started it dies."""
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGINT)

    return ask


def _binaries() -> Path:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if installed:
        return installed[-1].parent
    on_path = shutil.which("postgres")
    if on_path:
        return Path(on_path).parent
    raise RuntimeError("PostgreSQL is not installed: run scripts/setup --tests (apt package postgresql)")
