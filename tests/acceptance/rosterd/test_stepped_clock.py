"""The real daemon under a wall clock that is stepped: nothing stops, nothing is flooded, and it is told (A4)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.parts.installation import Daemon, Installation
from tests.parts.moved_clock import movable


@pytest.fixture
def acme(tmp_path: Path) -> Installation:
    made = Installation.make(tmp_path / "etc")
    every = 'reconcile_every = "2s"\npublish_every = "0"\nevidence_every = "0"'
    made.edit("rosterd.toml", "[database]", f"[schedule]\n{every}\n\n[database]")
    return made


def test_a_step_of_the_clock_stops_nothing_and_is_told(acme: Installation, tmp_path: Path) -> None:
    clock, moved = movable(tmp_path)
    with acme.serving("--only", "connector", under=moved) as daemon:
        run_by_run(daemon, 1)
        for step in ("-2h", "+3000d"):
            clock.write_text(step)
            assert "seconds=" in daemon.wait_for("clock.stepped")
            began = time.monotonic()
            run_by_run(daemon, 3)
            assert time.monotonic() - began < 30, "a run every two seconds, on a busy machine"
        assert "job.dead" not in "".join(daemon.lines)


def run_by_run(daemon: Daemon, count: int) -> None:
    for _ in range(count):
        while "kind=reconcile" not in daemon.wait_for("job.done"):
            pass


def test_a_clock_that_cannot_be_right_is_told_until_it_is_corrected_or_accepted(
    acme: Installation, tmp_path: Path
) -> None:
    clock, moved = movable(tmp_path)
    with acme.serving("--only", "connector", under=moved) as daemon:
        assert becomes_ready(daemon)
        clock.write_text("-2h")
        status, why = ready(daemon)
        assert (status, "behind what was written last" in why) == (503, True)
        refused = apart(acme, moved, "token", "create", "bi", "--scope", "reports:aggregate")
        assert refused.returncode == 4, refused
        assert "nothing is written" in refused.stderr
        assert "rosterd clock accept" in refused.stderr
        clock.write_text("+0")
        assert becomes_ready(daemon)
        clock.write_text("-2h")
        assert ready(daemon)[0] == 503
        accepted = apart(acme, moved, "clock", "accept", "--reason", "the host was two hours ahead")
        assert accepted.returncode == 0, accepted.stderr
        assert "is accepted; its time stands at" in accepted.stdout
        assert becomes_ready(daemon)


def becomes_ready(daemon: Daemon) -> bool:
    """Whether it does, on a busy machine too."""
    end = time.monotonic() + 20
    while ready(daemon) != (200, "") and time.monotonic() < end:
        time.sleep(0.2)
    return ready(daemon) == (200, "")


def ready(daemon: Daemon) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{daemon.operator_url}/health/ready", timeout=20) as answer:  # noqa: S310 - our own daemon
            return answer.status, ""
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["why"]


def apart(acme: Installation, environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """One command in a process of its own, under the moved clock."""
    command = [sys.executable, "-m", "rosterd.cli", *words]
    own = {**os.environ, "ROSTERD_CONFIG": str(acme.file), **environment}
    return subprocess.run(command, env=own, capture_output=True, text=True, check=False)
