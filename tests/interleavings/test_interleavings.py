"""Many schedules of one company, on SQLite: whatever the order, what must hold holds; what was wrong once is found."""

from __future__ import annotations

import ast
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rosterd.settings import Settings
from tests.interleavings import company as acts
from tests.interleavings.conftest import BEGIN, the_policy
from tests.interleavings.faults import FAULTS, FOUND
from tests.interleavings.schedules import Schedule, play
from tests.parts.directories import stand_in_gate

EACH, ALL = 30, 150

Played = Callable[..., Schedule]


@pytest.fixture
def played(company: Path, tmp_path: Path, settings: Settings) -> Iterator[Played]:
    """One schedule by its seed; with a fault put back by its name."""

    def once(seed: int, fault: str = "") -> Schedule:
        with pytest.MonkeyPatch.context() as patch:
            stand_in_gate(patch)
            if fault:
                FAULTS[fault](patch)
            return play(seed, company, tmp_path / str(seed), settings, the_policy(), BEGIN, patch)

    logging.disable(logging.CRITICAL)
    yield once
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("first", range(0, ALL, EACH))
def test_whatever_the_order_what_must_hold_holds(played: Played, first: int) -> None:
    for seed in range(first, first + EACH):
        schedule = played(seed)
        assert not schedule.wrong, schedule.told()


@pytest.mark.parametrize("fault", FAULTS)
def test_what_was_wrong_once_is_found_by_its_seed_and_gone_without_it(played: Played, fault: str) -> None:
    assert played(FOUND[fault], fault).wrong, "take the fault's mend out: the simulator says so"
    assert not played(FOUND[fault]).wrong


def test_the_same_seed_tells_the_same_story(played: Played) -> None:
    first, again = played(7), played(7)
    assert len(first.story) > 50
    assert first.story == again.story


def test_actors_reach_the_book_through_the_product_only() -> None:
    tree = ast.parse(Path(acts.__file__).read_text(encoding="utf-8"))
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert [name for name in names if name.startswith("ledger.store")] == []
