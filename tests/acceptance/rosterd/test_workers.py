"""Worker processes: ended past their deadline, gone with their supervisor, one run at a time (A2, A4)."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ledger.jobs import run_lease
from rosterd.clock import utc_now
from rosterd.leasing import leased
from rosterd.loading import load
from rosterd.service import Service
from tests.parts.enabled import enable_sync
from tests.parts.installation import Answer, Installation

SILENT_DIRECTORY = """
[[directories]]
id = "corp"
kind = "ldap"
servers = ["ldap://127.0.0.1:PORT"]
plaintext = true
bind_dn = "cn=reader,dc=x"
bind_password = "file:../secrets/pepper"
people_base = "dc=x"
bind_timeout = "10m"
"""


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


@pytest.fixture
def acme(tmp_path: Path, silent: int) -> Installation:
    made = Installation.make(tmp_path / "etc")
    made.append(SILENT_DIRECTORY.replace("PORT", str(silent)))
    quiet = 'publish_every = "0"\nevidence_every = "0"\n'
    made.edit("rosterd.toml", "[database]", f"[schedule]\n{quiet}\n[database]")
    enable_sync(made)
    return made


def test_a_run_that_overruns_its_deadline_is_ended_a4(acme: Installation) -> None:
    acme.edit("rosterd.toml", "[schedule]", '[schedule]\nrun_deadline = "1s"')
    with acme.serving("--only", "connector") as daemon:
        worker = worker_of(daemon.wait_for("job.started"))
        said = daemon.wait_for("job.failed")
        assert "kind=reconcile" in said
        assert "overran its deadline" in said
        assert ended(worker)
        assert daemon.stop() == 0
    assert acme.rosterd("report", "runs", "--json").document["runs"] == []


def test_a_worker_ends_with_its_supervisor(acme: Installation) -> None:
    with acme.serving("--only", "connector") as daemon:
        worker = worker_of(daemon.wait_for("kind=reconcile"))
        daemon.signal(signal.SIGKILL)
        assert ended(worker)


def test_a_drain_ends_a_worker_that_takes_too_long_and_keeps_its_job(acme: Installation) -> None:
    acme.edit("rosterd.toml", "[server]", '[server]\ndrain = "1s"')
    with acme.serving("--only", "connector") as daemon:
        worker = worker_of(daemon.wait_for("kind=reconcile"))
        assert daemon.stop() == 0
        assert ended(worker)
    assert "the daemon stopped before it was done" in "".join(daemon.lines)


def test_without_file_descriptors_a_job_waits_and_is_done_when_there_are_some(acme: Installation) -> None:
    acme.edit("rosterd.toml", "[schedule]", '[schedule]\nreconcile_every = "2s"')
    acme.edit("rosterd.toml", "[server]", '[server]\ndrain = "1s"')
    with acme.serving("--only", "connector") as daemon:
        daemon.wait_for("kind=reconcile")
        usual = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        open_now = daemon.files
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (open_now + 1, usual[1]))
        said = daemon.wait_for("job.not_started")
        assert "no worker could be started" in said
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, usual)
        assert worker_of(daemon.wait_for("job.started"))
        assert daemon.stop() == 0


def test_one_run_at_a_time_the_other_says_who_is_at_work_a2(acme: Installation) -> None:
    async def while_held() -> Answer:
        async with (
            Service.opened(load(acme.file, {})) as service,
            leased(service.ledger, run_lease("acme"), clock=utc_now),
        ):
            return await asyncio.to_thread(acme.rosterd, "apply", "--auto", "--json")

    answer = asyncio.run(while_held())
    assert answer.code == 4
    assert "another process is at work on run:acme" in answer.document["error"]["what"]
    assert f":{os.getpid()}:" in answer.document["error"]["where"]


def worker_of(line: str) -> int:
    """The process id in a ``job.started`` line."""
    found = re.search(r"worker=(\d+)", line)
    assert found, line
    return int(found[1])


def ended(process: int) -> bool:
    """Whether a process (of any parent) is gone, waiting for it half a minute at most."""
    try:
        handle = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 30.0)[0])
    finally:
        os.close(handle)
