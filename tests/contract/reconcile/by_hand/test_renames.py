"""E7: another address of somebody's own entry is made the one that counts, by hand. Both databases."""

from __future__ import annotations

from datetime import datetime

import pytest

from connector.reconcile import run
from connector.reconcile.by_hand.people import Edited
from connector.reconcile.by_hand.renames import rename
from ledger.errors import BadInput, Refused
from ledger.store.engine import Ledger
from tests.parts.directories import ORGANIZATION, RULES, Somebody, World, make_world, mapping, policy, stand_in_gate
from tests.parts.edits import act, holdings, identity, invite, register, verbs
from tests.parts.fences import ALONE


@pytest.fixture
async def world(ledger: Ledger, now: datetime, monkeypatch: pytest.MonkeyPatch) -> World:
    """Zoe has three addresses, one of a domain that is not open."""
    stand_in_gate(monkeypatch)
    made = await make_world(ledger, now, policy(mapping("design", "Design", "CAD")), Design_CAD=3)
    made.source.put(Somebody("zoe", also=("zz.K@acme.example", "zoe@closed.example")), "bo", groups=["design"])
    await register(made)
    await settle(made)
    return made


async def settle(world: World) -> dict[str, int]:
    world.later(hours=1)
    return dict(
        (await run.apply(world.ledger, world.setup, fence=ALONE, now=world.now, actor="test", auto=True)).counts
    )


async def renamed(world: World, who: str, to: str, reason: str = "marriage") -> Edited:
    return await rename(world.ledger, ORGANIZATION.id, who, to, {"corp": RULES}, act(world.now, reason))


async def test_e7_a_rename_by_hand_lasts_while_the_entry_shows_the_address(world: World) -> None:
    zoe, before = await identity(world, "zoe"), await holdings(world.ledger, "zoe")
    done = await renamed(world, zoe, "ZZ.k@acme.example")
    assert (done.changed, done.what) == (True, "zoe@acme.example is zz.K@acme.example from now on")
    assert (await verbs(world.ledger, zoe))[-1] == "person.renamed"
    assert not (await renamed(world, zoe, "ZZ.k@acme.example")).changed
    for _ in range(2):
        assert await settle(world) == {}
    world.source.change("zoe", department="D2")
    assert await settle(world) == {"UpdateIdentity": 1}
    assert await holdings(world.ledger, "zz.k") == before
    world.source.change("zoe", also=())
    assert await settle(world) == {"UpdateIdentity": 1}, "the address left the entry"
    assert await identity(world, "zoe") == zoe


async def test_e7_only_an_address_of_the_entry_in_an_open_domain_and_nobody_elses(world: World) -> None:
    zoe = await identity(world, "zoe")
    for to, why in (
        ("other@acme.example", "did not show other@acme.example when it was last read"),
        ("bo@acme.example", "did not show"),
        ("zoe@closed.example", "domain closed.example is not registered"),
    ):
        with pytest.raises(Refused, match=why):
            await renamed(world, zoe, to)
    with pytest.raises(BadInput, match="needs a reason"):
        await renamed(world, zoe, "ZZ.k@acme.example", "")
    with pytest.raises(BadInput, match="is not a mail address"):
        await renamed(world, zoe, "zz")
    eve = await invite(world, "eve")
    with pytest.raises(Refused, match="no directory owns"):
        await renamed(world, eve, "eve.k@acme.example")
    world.source.change("bo", also=("eve@acme.example",))
    await settle(world)
    with pytest.raises(Refused, match="somebody's address already"):
        await renamed(world, await identity(world, "bo"), "eve@acme.example")
