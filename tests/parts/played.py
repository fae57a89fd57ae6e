"""An organization over one stage: situations are played act by act, a run after each, twenty minutes apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from connector.directory.mapping import AttributeRules
from connector.directory.settings import AnyDirectory
from connector.directory.sources import open_source
from connector.reconcile import run
from connector.reconcile.policy.policy import Policy
from connector.reconcile.run import ConfiguredSource, Setup
from connector.reconcile.show.outcome import RunOutcome, RunState
from ledger.store import people, seats
from ledger.store.engine import Ledger
from tests.parts.directories import ORGANIZATION, make_world, mapping, policy
from tests.parts.fences import ALONE


@dataclass
class Played:
    """``group``: what is mapped; ``whole``: every run reads everything and plans everybody; ``limits``: None: wide
    ones, else the product's, but for one invite more than the first five."""

    ledger: Ledger
    settings: AnyDirectory
    group: str
    whole: bool
    limits: Mapping[str, object] | None = field(default_factory=lambda: {"day_floor": 6})
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def policy(self) -> Policy:
        return policy(mapping("design", "Design", "CAD", group=self.group), limits=self.limits)

    async def begin(self) -> None:
        """Everybody is in."""
        await make_world(self.ledger, self.now, self.policy, Design_CAD=50)
        first = await self.run()
        assert (first.state, first.counts["JoinTeam"]) == (RunState.APPLIED, 5), first.lines

    async def run(self, *, whole: bool = False) -> RunOutcome:
        """What the schedule does, later."""
        self.now += timedelta(minutes=20)
        source = open_source(self.settings, folder=Path())
        every = timedelta() if self.whole or whole else timedelta(days=1)
        rules = AttributeRules.from_settings(self.settings)
        setup = Setup(ORGANIZATION, self.policy, (ConfiguredSource(source, rules),), every)
        try:
            return await run.apply(self.ledger, setup, fence=ALONE, now=self.now, actor="test", auto=True)
        finally:
            await source.close()

    async def standing(self) -> dict[str, tuple[str, bool, str]]:
        """Name → state, whether in the Team, state of the seat."""
        async with self.ledger.read(ORGANIZATION.id) as reader:
            names = {row[1]: (row[3].partition("@")[0], row[7]) for row in await people.open_identities(reader)}
            members = {row[1] for row in await people.open_memberships(reader)}
            held = {row[5]: row[6] for row in await seats.open_seats(reader)}
        return {name: (state, who in members, held.get(who, "")) for who, (name, state) in names.items()}
