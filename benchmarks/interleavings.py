"""Schedules of several processes at once on both databases: how many were played, and whether one found anything.

    python -m benchmarks.interleavings [--seconds 600] [--first 1000] [--on sqlite|postgresql] [--faults] [--small]

Each seed is another company (``tests/interleavings``); what must hold is looked at after every commit. A schedule that
fails is printed with its seed and the fewest acts that show it, and the benchmark ends with 1. ``--faults`` takes one
mend out after the other and counts the schedules until it is found. No figure here is a floor.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack

from tests.interleavings import making
from tests.interleavings.faults import FAULTS, HOSTS
from tests.interleavings.schedules import Made
from tests.interleavings.script import make
from tests.parts.memory import make_folder
from tests.parts.postgres import PostgresServer

_MOST = 1_000_000


def companies(stack: ExitStack, wanted: str) -> dict[str, Made]:
    """What to play on, in memory where there is a place for it; ``stack`` takes it away again."""
    folder = make_folder("rosterd-schedules-")
    stack.callback(shutil.rmtree, folder)
    settings = making.settings(folder / "etc")
    made: dict[str, Made] = {}
    if wanted in {"", "sqlite"}:
        (folder / "empty").mkdir()
        made["sqlite"] = making.on_sqlite(settings, folder / "empty", folder)
    if wanted in {"", "postgresql"}:
        server = PostgresServer.start()
        stack.callback(server.stop)
        made["postgresql"] = making.on_postgres(settings, server, "template0", folder)
    return made


def played(name: str, made: Made, first: int, last: int, seconds: float) -> tuple[int, int, str]:
    """Schedules, steps, and what was wrong with the last of them."""
    began, steps, count = time.monotonic(), 0, 0
    for seed in range(first, last):
        if time.monotonic() - began > seconds:
            break
        script = make(seed, hosts=name == "postgresql")
        schedule = made.play(script)
        steps, count = steps + schedule.steps, count + 1
        if schedule.wrong:
            try:
                made.hold(script)
            except AssertionError as error:
                return count, steps, str(error)
            return count, steps, f"{name}, seed {seed}: {schedule.wrong} once, and not again"
    return count, steps, ""


def faults(made: dict[str, Made], limit: int) -> bool:
    """Print the table: fault → schedules until it is found; whether each was."""
    print(f"{'fault':<18}{'on':<12}{'schedules':>10}  by")
    found_all = True
    for name, fault in FAULTS.items():
        on = "postgresql" if name in HOSTS else "sqlite"
        if on not in made:
            continue
        number, wrong = _until(made[on], fault, limit, hosts=name in HOSTS)
        print(f"{name:<18}{on:<12}{number or 'none':>10}  {wrong}", flush=True)
        found_all = found_all and bool(number)
    return found_all


def _until(made: Made, fault: Callable[..., None], limit: int, *, hosts: bool) -> tuple[int, str]:
    for seed in range(limit):
        if wrong := made.play(make(seed, hosts=hosts), fault).wrong:
            return seed + 1, wrong[0]
    return 0, ""


def main() -> int:
    """Play and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0, help="on each database")
    parser.add_argument("--first", type=int, default=1_000, help="the first seed; those before 300 are in scripts/test")
    parser.add_argument("--schedules", type=int, default=_MOST, help="at most so many on each database")
    parser.add_argument(
        "--on", choices=("", "sqlite", "postgresql"), default="", help="one database; both when left out"
    )
    parser.add_argument("--faults", action="store_true", help="take the mends out, one after the other")
    parser.add_argument("--small", action="store_true", help="fifteen seconds on each database")
    chosen = parser.parse_args()
    seconds = 15.0 if chosen.small else chosen.seconds
    logging.disable(logging.CRITICAL)
    with ExitStack() as stack:
        made = companies(stack, chosen.on)
        if chosen.faults:
            return 0 if faults(made, 600) else 1
        told = []
        print(f"{'':<12}{'schedules':>10}{'steps':>10}{'s':>8}{'ms each':>9}{'found':>7}")
        for name, one in made.items():
            began = time.monotonic()
            count, steps, wrong = played(name, one, chosen.first, chosen.first + chosen.schedules, seconds)
            took = time.monotonic() - began
            each = took / count * 1000
            print(f"{name:<12}{count:>10}{steps:>10}{took:>8.0f}{each:>9.0f}{len(wrong[:1]):>7}", flush=True)
            told += [wrong] if wrong else []
    for wrong in told:
        print(wrong)
    return 1 if told else 0


if __name__ == "__main__":
    raise SystemExit(main())
