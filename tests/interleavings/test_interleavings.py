"""Many schedules of one company, on both databases: whatever the order, what must hold holds; what was wrong once is
found."""

from __future__ import annotations

import ast
import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from ledger.errors import Busy
from ledger.store.engine import Ledger
from tests.interleavings import company
from tests.interleavings.faults import FAULTS, FOUND, HOSTS
from tests.interleavings.schedules import Made
from tests.interleavings.script import Act, Script, make
from tests.interleavings.shrinking import shrunk

EACH = 30
ON_SQLITE, ON_POSTGRES, AGAIN = 300, 60, 100


@pytest.mark.parametrize("first", range(0, ON_SQLITE, EACH))
def test_whatever_the_order_what_must_hold_holds(on_sqlite: Made, first: int) -> None:
    for seed in range(first, first + EACH):
        on_sqlite.hold(make(seed))


@pytest.mark.parametrize("first", range(0, ON_POSTGRES, EACH))
def test_it_holds_on_postgresql_and_between_hosts(on_postgres: Made, first: int) -> None:
    for seed in range(first, first + EACH):
        on_postgres.hold(make(seed, hosts=True))


@pytest.mark.parametrize("fault", FAULTS)
def test_what_was_wrong_once_is_found_by_its_seed_and_gone_without_it(
    request: pytest.FixtureRequest, fault: str
) -> None:
    made: Made = request.getfixturevalue("on_postgres" if fault in HOSTS else "on_sqlite")
    seeds = (FOUND[fault], *range(AGAIN))  # another step in the product, and another seed may be the first
    scripts = (make(seed, hosts=fault in HOSTS) for seed in seeds)
    found = next((script for script in scripts if made.play(script, FAULTS[fault]).wrong), None)
    assert found is not None, "look for it again: python -m benchmarks.interleavings --faults"
    assert not made.play(found).wrong


def test_the_same_seed_tells_the_same_story(on_sqlite: Made, on_postgres: Made) -> None:
    for made in (on_sqlite, on_postgres):
        first, again = made.play(make(7)), made.play(make(7))
        assert len(first.story) > 50
        assert first.story == again.story


def test_a_failing_script_is_told_with_nothing_it_does_not_need(on_sqlite: Made) -> None:
    script = make(FOUND["unsettled"])
    fewer = shrunk(script, lambda one: bool(on_sqlite.play(one, FAULTS["unsettled"]).wrong))
    assert 1 <= len(fewer.acts) < len(script.acts)
    schedule = on_sqlite.play(fewer, FAULTS["unsettled"])
    assert schedule.wrong
    assert schedule.told().startswith(f"sqlite, seed {script.seed}: ")
    assert all(str(act) in schedule.told() for act in fewer.acts)


@pytest.mark.parametrize("needed", [(0,), (3, 17), (1, 2, 3), tuple(range(20))])
def test_shrinking_keeps_what_is_needed_and_nothing_else(needed: tuple[int, ...]) -> None:
    acts = tuple(Act("job", float(number)) for number in range(20))
    script = Script(1, pushed=False, busy=0.0, lost=0.0, looking=False, acts=acts)
    found = shrunk(script, lambda one: {acts[number] for number in needed} <= set(one.acts))
    assert found == replace(script, acts=tuple(acts[number] for number in needed))


async def test_the_model_of_the_lock_is_the_drivers(sqlite_url: str) -> None:
    """One writer at a time for the whole file, whoever it is for; readers never wait, and see what was committed when
    they first looked."""
    first, second = (Ledger.open(sqlite_url, busy_seconds=0.2) for _ in range(2))
    count = text("SELECT COUNT(*) FROM lease")
    insert = text("INSERT INTO lease (name, holder, token, expires_at) VALUES (:name, '', 1, 0)")
    async with first.unscoped_read() as begun, first.unscoped_read() as looked:
        assert (await looked.execute(count)).scalar() == 0
        async with first.unscoped_write() as writer:
            await writer.execute(insert, {"name": "a"})
            with pytest.raises(Busy):
                async with second.unscoped_write():
                    pass
            async with second.unscoped_read() as reader:
                assert (await reader.execute(count)).scalar() == 0
        async with second.unscoped_write() as writer:
            await writer.execute(insert, {"name": "b"})
        assert (await begun.execute(count)).scalar() == 2, "a reader's snapshot begins with its first look"
        assert (await looked.execute(count)).scalar() == 0
    await asyncio.gather(first.close(), second.close())


def test_actors_reach_the_book_through_the_product_only() -> None:
    tree = ast.parse(Path(company.__file__).read_text(encoding="utf-8"))
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert [name for name in names if name.startswith(("ledger.store", "sqlalchemy"))] == []
