"""Plays situations (``tests/parts/situations.py``): one organization with one directory, and runs 20 minutes apart."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from connector.directory.base import Source
from connector.directory.mapping import AttributeRules
from connector.reconcile import run
from connector.reconcile.run import ConfiguredSource, Setup
from connector.reconcile.show.outcome import RunOutcome
from ledger.store import people, runs, seats
from ledger.store.engine import Ledger
from tests.parts.directories import ORGANIZATION, make_world, mapping, policy
from tests.parts.fences import ALONE
from tests.parts.situations import HELD, NOTHING, Situation, Stage

PEOPLE = ("anna", "bo", "cy", "di", "ed")


@dataclass
class Play:
    """An organization that was applied once: five people of ``design``, each with a seat."""

    ledger: Ledger
    setup: Setup
    now: datetime

    @classmethod
    async def begun(
        cls, ledger: Ledger, now: datetime, source: Source, rules: AttributeRules, every: timedelta, *more: str
    ) -> Play:
        """``every``: how often everything is read; ``more``: other groups that are mapped to the same Team."""
        chosen = policy(
            *(mapping(name, "Design", "CAD", directory=source.id, group=name) for name in ("design", *more)), limits={}
        )
        await make_world(ledger, now, chosen, Design_CAD=50)
        play = cls(ledger, Setup(ORGANIZATION, chosen, (ConfiguredSource(source, rules),), every), now)
        await play.run()
        assert set((await play.held()).values()) == {"active member invited"}
        assert set(await play.held()) == set(PEOPLE)
        return play

    async def run(self, **later: float) -> RunOutcome:
        self.now += timedelta(**(later or {"minutes": 20}))
        return await run.apply(self.ledger, self.setup, fence=ALONE, now=self.now, actor="service:schedule", auto=True)

    def everything(self) -> None:
        """The next runs read everything."""
        self.setup = replace(self.setup, whole_every=timedelta())

    async def counts(self, times: int = 3) -> list[dict[str, int]]:
        return [dict((await self.run()).counts) for _ in range(times)]

    async def held(self) -> dict[str, str]:
        """Name → state of the person, whether they are in the Team, and the state of the seat."""
        async with self.ledger.read(ORGANIZATION.id) as reader:
            who = {row[1]: (row[3].partition("@")[0], row[7]) for row in await people.open_identities(reader)}
            members = {row[1] for row in await people.open_memberships(reader)}
            states = {row[5]: row[6] for row in await seats.open_seats(reader)}
        return {
            name: " ".join(filter(None, (state, "member" * (identity in members), states.get(identity))))
            for identity, (name, state) in who.items()
        }

    async def said(self, outcome: RunOutcome) -> str:
        """Everything a run says, of its held set too."""
        texts = [*(problem.what for problem in outcome.problems), *outcome.lines]
        async with self.ledger.read(ORGANIZATION.id) as reader:
            texts += [found.why for found in await runs.held_sets(reader, ["open"]) if found.digest == outcome.held]
        return "\n".join(texts)


async def play(
    situation: Situation, stage: Stage, playing: Play, *, proves: bool = False, unseen: bool = False
) -> None:
    """Play one; whoever it is not about has what they had before. ``proves``: the source proves deletions; ``unseen``:
    whoever follows it learns nothing of this, so that the last run reads everything."""
    before = await playing.held()
    outcomes = (situation.proved if proves else ()) or situation.outcomes
    for number, expected in enumerate(outcomes):
        last = number == len(outcomes) - 1
        if unseen and last:
            playing.everything()
        act = situation.acts[number] if number < len(situation.acts) else None
        if act is not None:
            await act(stage)
        outcome = await playing.run()
        found = HELD if outcome.held and not outcome.counts else dict(outcome.counts)
        text = await playing.said(outcome)
        assert found == expected, f"run {number + 1}: {outcome.held_counts}\n{text}"
        if expected in (NOTHING, HELD) and (last or not unseen):
            assert situation.said in text, f"run {number + 1} does not say it"
    after = await playing.held()
    assert {name for name in before if before[name] != after.get(name)} <= set(situation.who)
