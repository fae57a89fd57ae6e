"""Commands and jobs in a fresh process, and every module that was imported by the end of each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rosterd.handover import Handover

ROOT = Path(__file__).resolve().parents[2]
_COMMAND = """
import sys
from rosterd.cli import run
try:
    code = run(sys.argv[2:])
except SystemExit as left:  # completing leaves by itself
    code = left.code or 0
names = list(sys.modules)
import json
with open(sys.argv[1], "w") as file:
    json.dump(names, file)
sys.exit(code)
"""
_JOB = """
import sys
from rosterd.worker import main
main()
names = list(sys.modules)
import json
with open(sys.argv[1], "w") as file:
    json.dump(names, file)
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a fresh process ended, what it printed, and the modules it had imported."""

    code: int
    out: str
    err: str
    modules: frozenset[str]


def command(*arguments: str, **variables: str) -> Ran:
    """One command line in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        names = Path(folder) / "names"
        done = subprocess.run(
            [sys.executable, "-c", _COMMAND, str(names), *arguments],
            capture_output=True, text=True, check=False, cwd=ROOT, env=environment(**variables),
        )  # fmt: skip
        assert names.exists(), done.stderr
        return Ran(done.returncode, done.stdout, done.stderr, frozenset(json.loads(names.read_text("utf-8"))))


def job(handover: Handover) -> Ran:
    """One job in a worker process, whose supervisor stays until it has answered."""
    with tempfile.TemporaryDirectory() as folder:
        names = Path(folder) / "names"
        with subprocess.Popen(
            [sys.executable, "-c", _JOB, str(names)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment(),
        ) as process:  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(handover.to_line())
            process.stdin.flush()
            out = process.stdout.read().decode()
            code = process.wait()
        return Ran(code, out, "", frozenset(json.loads(names.read_text("utf-8"))))


def environment(**variables: str) -> dict[str, str]:
    """This process's, without what would change rosterd's settings."""
    own = {name: value for name, value in os.environ.items() if "ROSTERD_" not in name}
    return {**own, "PYTHONPATH": str(ROOT), **variables}
