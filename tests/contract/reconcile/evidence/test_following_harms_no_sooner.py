"""Following takes nothing that whole readings of the same history do not take, and nothing sooner (E5).

One server, one random history, two organizations that run at the same instants after each step: one reads everything,
the other what has changed. What following misses comes with the next whole reading; where that one alone does not prove
it any more, it stays a doubt that a person ends (E15).
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from connector.reconcile.show.outcome import RunOutcome
from ledger.store.engine import Ledger
from tests.parts import slapd
from tests.parts.directories import stand_in_gate
from tests.parts.effort import LONG, TIMES
from tests.parts.played import Played
from tests.parts.random_history import History
from tests.parts.staged_tree import ACCESS, SCHEMA, SERVER, WAYS, Server

STEPS = 12
FOLLOWED = ("syncrepl", "present list", "modifyTimestamp")
HISTORIES = [(way, seed) for way in FOLLOWED for seed in range(TIMES if LONG else 1)]
Standing = dict[str, tuple[str, bool, str]]


@pytest.fixture(autouse=True)
def _ground(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[slapd.Slapd]:
    with slapd.running(SERVER, schema=True, extra=(SCHEMA, *WAYS[str(request.param)]), access=ACCESS) as running:
        yield running


@pytest.mark.parametrize(("server", "seed"), HISTORIES, indirect=["server"])
async def test_e5_following_takes_no_more_and_no_sooner_than_whole_readings(
    server: slapd.Slapd, sqlite_template: Path, tmp_path: Path, seed: int
) -> None:
    stage = Server(f"history {seed}", server)
    stage.begin()
    history = History(stage, seed)
    ledgers = []
    for name in ("whole", "followed"):
        shutil.copytree(sqlite_template, tmp_path / name)
        ledgers.append(Ledger.open(f"sqlite:///{tmp_path / name}"))
    one, other = (
        Played(ledger, stage.settings, stage.group, whole=ledger is ledgers[0], limits=None) for ledger in ledgers
    )
    other.now = one.now
    try:
        whole, followed = await Taken.begin(one), await Taken.begin(other)
        for _ in range(STEPS):
            await history.step()
            await whole.run()
            await followed.run()
            assert followed.count <= whole.count, (history.told, followed.count - whole.count)
        for _ in range(2):
            await whole.run()
            outcome = await followed.run(whole=True)
        doubted = {
            subject.partition("@")[0] for item in outcome.problems if item.code == "doubt" for subject in item.subjects
        }
        differs = {name for name in whole.standing if whole.standing[name] != followed.standing.get(name)}
        assert differs <= doubted, (history.told, whole.standing, followed.standing, outcome.problems)
    finally:
        for ledger in ledgers:
            await ledger.close()


class Taken:
    """An organization, and how often each person lost access, the Team or the seat in it."""

    def __init__(self, played: Played, standing: Standing) -> None:
        self._played = played
        self.standing = standing
        self.count: Counter[tuple[str, str]] = Counter()

    @classmethod
    async def begin(cls, played: Played) -> Taken:
        await played.begin()
        return cls(played, await played.standing())

    async def run(self, *, whole: bool = False) -> RunOutcome:
        outcome = await self._played.run(whole=whole)
        before, self.standing = self.standing, await self._played.standing()
        self.count.update(has(before) - has(self.standing))
        return outcome


def has(standing: Standing) -> set[tuple[str, str]]:
    found = set()
    for name, (state, member, seat) in standing.items():
        held = {"access": state == "active", "team": member, "seat": seat in {"invited", "active"}}
        found |= {(name, kind) for kind, true in held.items() if true}
    return found
