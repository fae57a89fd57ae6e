"""Mutants of genuine SAML responses, from new seeds, for as long as asked: is each judged rightly, and how cheaply?

Every mutant is judged by real pysaml2 and xmlsec1 in this process; CPU time counts their processes too. Ends with 1
where one ended in an error or was accepted for something that it had changed; its seed and number make it again.

    python -m benchmarks.sign_in_fuzz --seconds 600 --seed 1
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import tempfile
import time
from collections import Counter, defaultdict
from itertools import count
from pathlib import Path

from tests.parts.saml_judge import Judge
from tests.parts.saml_mutants import mutants

MOST = 0.2
_EACH = 500


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a few seconds' worth, to see that it runs")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1000)
    arguments = parser.parse_args()
    sys.exit(asyncio.run(_fuzz(arguments.seed, 10.0 if arguments.small else arguments.seconds)))


async def _fuzz(first: int, seconds: float) -> int:
    spent: dict[str, list[float]] = defaultdict(list)
    verdicts: Counter[str] = Counter()
    wrong = 0
    ends = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        async with Judge.made(Path(folder)) as judge:
            for seed in count(first):
                for number, mutant in enumerate(mutants(seed, _EACH, judge.genuine, judge.attacker)):
                    if time.monotonic() > ends:
                        _print(spent, verdicts, wrong)
                        return 1 if wrong else 0
                    before = _cpu()
                    try:
                        verdicts[await judge.verdict(mutant)] += 1
                    except Exception as error:  # whatever it is, it is what is looked for
                        wrong += 1
                        print(f"WRONG seed {seed} number {number} ({mutant.kind}): {error!r:.300}")
                    spent[mutant.kind].append(_cpu() - before)
    raise AssertionError("seeds do not end")


def _cpu() -> float:
    """Seconds of CPU that this process and those that it has waited for have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _print(spent: dict[str, list[float]], verdicts: Counter[str], wrong: int) -> None:
    print("| kind | mutants | CPU ms, median | 99 of 100 | most | over 200 ms |")
    print("|---|---|---|---|---|---|")
    for kind, values in sorted(spent.items()):
        found = sorted(values)
        middle, high = found[len(found) // 2], found[len(found) * 99 // 100]
        over = sum(value > MOST for value in found)
        print(f"| {kind} | {len(found)} | {middle * 1e3:.1f} | {high * 1e3:.1f} | {found[-1] * 1e3:.1f} | {over} |")
    print(f"{sum(verdicts.values())} judged, {verdicts['accepted']} accepted, {wrong} wrongly")
    print("refused for: " + ", ".join(f"{reason} {times}" for reason, times in verdicts.most_common()))


if __name__ == "__main__":
    main()
