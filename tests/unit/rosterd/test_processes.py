"""Whether the process that had a lease or a job still lives: told for this host, left open for any other."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from ledger.jobs import Whereabouts
from rosterd import processes

NAMED = "import sys; from rosterd.processes import holder; print(holder(), flush=True); sys.stdin.read()"


def test_a_process_lives_until_it_is_killed_and_nobody_with_its_number_is_taken_for_it() -> None:
    other = subprocess.Popen([sys.executable, "-c", NAMED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    name = other.stdout.readline().strip()
    assert processes.whereabouts(name) is Whereabouts.HERE
    host, _, place, born, unique = name.split(":")
    assert processes.whereabouts(f"{host}:{os.getpid()}:{place}:{born}:{unique}") is Whereabouts.GONE
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # it is dead, and not buried yet
    assert processes.whereabouts(name) is Whereabouts.GONE
    other.communicate()
    assert processes.whereabouts(name) is Whereabouts.GONE


@pytest.mark.parametrize(
    "name",
    [
        "elsewhere:1:00000000:1:abcdefgh",
        f"{socket.gethostname()}:1:00000000:1:abcdefgh",  # another boot, or another container of this name
        f"{socket.gethostname()}:1:abcdefgh",  # of an older release
        "w1",
        "",
    ],
)
def test_of_others_nothing_is_known(name: str) -> None:
    assert processes.whereabouts(name) is Whereabouts.ELSEWHERE


def test_two_names_of_one_process_differ() -> None:
    first, second = processes.holder(), processes.holder()
    assert first != second
    assert processes.whereabouts(first) is processes.whereabouts(second) is Whereabouts.HERE
