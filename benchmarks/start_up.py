"""How long rosterd takes to start, beside Python doing nothing.

Every row is a command in a fresh process: its wall time (median, in turns with the others), the ratio to
``python -c pass`` of the same rounds, and, from one more process each, the modules imported by its end and its peak
memory. Byte code is compiled before anything is timed, as in an installed package.

    python -m benchmarks.start_up
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_COUNTED = """
import sys
try:
    if len(sys.argv) > 1:
        from rosterd.cli import run
        sys.stdout = sys.stderr
        run(sys.argv[2:])
except SystemExit:
    pass
modules = len(sys.modules)
import json, resource
sys.__stdout__.write("\\n" + json.dumps([modules, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""
_COMPLETING = {"_ROSTERD_COMPLETE": "complete_bash", "COMP_WORDS": "rosterd pl", "COMP_CWORD": "1"}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a few seconds' worth, to see that it runs")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _compare(Path(folder), 2 if arguments.small else arguments.rounds)


def _compare(folder: Path, rounds: int) -> None:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
    installation = ("--config", str(folder / "etc" / "rosterd.toml"))
    _run("-m", "rosterd", "init", str(folder / "etc"))
    _run("-m", "rosterd", *installation, "token", "create", "bench")
    rows: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
        "rosterd --version": (("--version",), {}),
        "rosterd --help": (("--help",), {}),
        "rosterd plan --help": (("plan", "--help"), {}),
        "completing rosterd pl": ((), _COMPLETING),
        "completing `rosterd `": ((), {**_COMPLETING, "COMP_WORDS": "rosterd "}),
        "rosterd token list": ((*installation, "token", "list"), {}),
    }
    counted = {"python -c pass (floor)": _counted((), {}, rosterd=False)}
    counted |= {name: _counted(words, variables) for name, (words, variables) in rows.items()}  # compiles it, too
    times: dict[str, list[float]] = {name: [] for name in counted}
    for _ in range(rounds):
        times["python -c pass (floor)"].append(_run("-c", "pass"))
        for name, (words, variables) in rows.items():
            times[name].append(_run("-m", "rosterd", *words, **variables))
    floor = statistics.median(times["python -c pass (floor)"])
    print(f"fresh processes, byte code compiled; median of {rounds}")
    print(f"{'what':<28}{'seconds':>9}{'x floor':>9}{'modules':>9}{'peak MB':>9}")
    for name, (modules, peak) in counted.items():
        seconds = statistics.median(times[name])
        print(f"{name:<28}{seconds:>9.3f}{seconds / floor:>9.1f}{modules:>9.0f}{peak:>9.0f}")


def _run(*words: str, **variables: str) -> float:
    """Seconds of one process that must end well."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True, cwd=ROOT, env={**os.environ, **variables})
    return time.perf_counter() - began


def _counted(words: tuple[str, ...], variables: dict[str, str], *, rosterd: bool = True) -> tuple[int, float]:
    """Modules and peak memory, in MB, at the end of one process."""
    command = [sys.executable, "-c", _COUNTED, *(("rosterd", *words) if rosterd else ())]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=environment)
    modules, peak = json.loads(done.stdout.splitlines()[-1])
    return int(modules), float(peak)


if __name__ == "__main__":
    main()
