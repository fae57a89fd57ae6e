"""Whole years of an organization on both databases: what happened in them, and that every invariant held throughout.

    python -m benchmarks.simulation [--runs 200] [--seeds 5] [--first-seed 1] [--small]

Each seed is another year of joiners, movers, outages, lapses, approvals and undo; the checks are those of
``tests/parts/simulated_year.py``, after every run. A broken invariant is printed with its seed and ends the benchmark
with 1. No figure here is a floor: the table says how much was really tried, and what one simulated run cost.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import tempfile
import time
from collections import Counter

from ledger.store.engine import Ledger
from tests.parts.directories import stand_in_gate
from tests.parts.postgres import PostgresServer
from tests.parts.simulated_year import Broken, Year


class Patch:
    """Sets attributes for good: this process does nothing else."""

    setattr = staticmethod(setattr)


async def one_year(url: str, seed: int, runs: int) -> Counter[str]:
    """What happened; raises ``Broken``."""
    ledger = Ledger.open(url)
    try:
        await ledger.migrate()
        year = Year(ledger, seed, runs)
        await year.live()
        return year.happened
    finally:
        await ledger.close()


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="runs in a year")
    parser.add_argument("--seeds", type=int, default=5, help="years on each database")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="one short year on each database")
    chosen = parser.parse_args()
    runs, seeds = (60, 1) if chosen.small else (chosen.runs, chosen.seeds)
    stand_in_gate(Patch())
    columns: dict[str, Counter[str]] = {}
    seconds: dict[str, float] = {}
    broken: list[str] = []
    with tempfile.TemporaryDirectory(prefix="rosterd-years-") as folder, contextlib.ExitStack() as stack:
        server = PostgresServer.start()
        stack.callback(server.stop)
        for name in ("SQLite", "PostgreSQL"):
            columns[name], began = Counter(), time.perf_counter()
            for seed in range(chosen.first_seed, chosen.first_seed + seeds):
                url = f"sqlite:///{folder}/{seed}" if name == "SQLite" else server.create_database(f"year_{seed}")
                try:
                    columns[name] += asyncio.run(one_year(url, seed, runs))
                except Broken as error:
                    broken.append(str(error))
            seconds[name] = time.perf_counter() - began
    print(f"{seeds} year(s) of {runs} runs on each database\n")
    print(f"{'':34}{'SQLite':>12}{'PostgreSQL':>12}")
    for what in sorted(set().union(*columns.values())):
        print(f"{what:34}" + "".join(f"{found[what]:>12}" for found in columns.values()))
    print(
        f"{'ms for each run and its checks':34}"
        + "".join(f"{1000 * s / runs / seeds:>12.0f}" for s in seconds.values())
    )
    for line in broken:
        print(f"BROKEN {line}")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
