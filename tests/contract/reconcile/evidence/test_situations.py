"""Every situation of the table, in an LDIF file and on a real slapd that is read whole or followed in each way (E0–E7).

SQLite alone: what readers see does not depend on the ledger's database.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import repeat
from pathlib import Path

import pytest

from ledger.store.engine import Ledger
from tests.parts import slapd
from tests.parts.directories import stand_in_gate
from tests.parts.played import Played
from tests.parts.situations import HELD, NOTHING, SITUATIONS, Situation
from tests.parts.staged_tree import ACCESS, SCHEMA, SERVER, WAYS, Export, Server

LATER = {
    **dict.fromkeys(("deleted, group told", "moved out, group told"), 1),  # found out by the look-up that confirms
    **dict.fromkeys(("left the filter", "disabled and left the filter", "made anew under the address"), 2),
}
"""How many runs later timestamps show it: they tell of nobody who is gone, so that a whole reading is made each hour.
"""


@pytest.fixture(autouse=True)
def _ground(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


@pytest.fixture(scope="module", params=WAYS)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, slapd.Slapd]]:
    """A server for all situations that are played in one way."""
    way = str(request.param)
    with slapd.running(SERVER, schema=True, extra=(SCHEMA, *WAYS[way]), access=ACCESS) as running:
        yield way, running


@pytest.fixture
async def ledger(sqlite_url: str) -> AsyncIterator[Ledger]:
    opened = Ledger.open(sqlite_url)
    yield opened
    await opened.close()


async def play(played: Played, stage: Export | Server, situation: Situation, later: int = 0, wait: int = 0) -> None:
    """A run after each act, and some. ``later``: how many runs this reader needs more; ``wait``: how many are made
    more."""
    await played.begin()
    before, acts = await played.standing(), [*situation.acts, *repeat(None, wait + 3)]
    expected = [*repeat(NOTHING, later), *situation.outcomes, *repeat(situation.outcomes[-1], wait - later)]
    outcomes = []
    for act, _ in zip(acts, expected, strict=False):
        if act is not None:
            await act(stage)
        outcomes.append(await played.run())
    assert [HELD if outcome.held and not outcome.counts else dict(outcome.counts) for outcome in outcomes] == expected
    assert {outcome.exit_code for outcome in outcomes} <= {0, 3 if HELD in expected else 0}
    texts = [text for run in outcomes for text in (*run.lines, *(problem.what for problem in run.problems))]
    assert any(situation.said in text for text in texts)
    after = await played.standing()
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    taken = any(isinstance(outcome, dict) and outcome for outcome in situation.outcomes)
    assert changed == (set(situation.who) if taken else set())


@pytest.mark.parametrize("situation", [one for one in SITUATIONS if one.name in Export.can], ids=lambda one: one.name)
async def test_e1_e2_e3_what_happens_in_an_export(ledger: Ledger, tmp_path: Path, situation: Situation) -> None:
    stage = Export(situation.name, tmp_path / "people.ldif")
    stage.begin()
    await play(Played(ledger, stage.settings, stage.group, whole=True), stage, situation)


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda one: one.name)
async def test_e1_e2_e3_e5_what_happens_at_a_server(
    ledger: Ledger, server: tuple[str, slapd.Slapd], situation: Situation
) -> None:
    way, running = server
    stage = Server(situation.name, running)
    stage.begin()
    played = Played(ledger, stage.settings, stage.group, whole=way == "read whole")
    dated = way == "modifyTimestamp"
    await play(played, stage, situation, LATER.get(situation.name, 0) if dated else 0, 2 if dated else 0)
