"""The real daemon under a wall clock that is stepped: nothing stops, nothing is flooded, and it is told (A4)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.parts.installation import Daemon, Installation

PRELOADED = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


@pytest.fixture
def acme(tmp_path: Path) -> Installation:
    made = Installation.make(tmp_path / "etc")
    every = 'reconcile_every = "2s"\npublish_every = "0"\nevidence_every = "0"'
    made.edit("rosterd.toml", "[database]", f"[schedule]\n{every}\n\n[database]")
    return made


@pytest.mark.parametrize("step", ["-2h", "+3000d"])
def test_a_step_of_the_clock_stops_nothing_and_is_told(acme: Installation, tmp_path: Path, step: str) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0")
    faked = {
        "LD_PRELOAD": str(PRELOADED),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with acme.serving("--only", "connector", under=faked) as daemon:
        run_by_run(daemon, 1)
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
