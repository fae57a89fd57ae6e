"""Mutants of genuine responses, made from a seed: each is refused with a reason, or says exactly what was signed.

``benchmarks/sign_in_fuzz.py`` tries many more, and measures them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from tests.parts.saml_judge import Judge
from tests.parts.saml_mutants import mutants

SEEDS, EACH = range(4), 100


@pytest.mark.parametrize("seed", SEEDS)
def test_no_mutant_is_accepted_for_what_it_changed_nor_ends_in_an_error(seed: int, tmp_path: Path) -> None:
    async def play() -> Counter[str]:
        async with Judge.made(tmp_path) as judge:
            found: Counter[str] = Counter()
            for mutant in mutants(seed, EACH, judge.genuine, judge.attacker):
                found[await judge.verdict(mutant)] += 1
            return found

    found = asyncio.run(play())
    assert sum(found.values()) == EACH
    assert len(found) > 10, f"they reach many rules: {found}"
    assert found["accepted"] > 0, "and what changes nothing is let in"
