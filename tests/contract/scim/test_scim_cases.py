"""Pushes that left a leaver with a seat (E1, E6), through the real server and a real run over the inbox behind it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from connector.directory.mapping import AttributeRules
from connector.directory.scim.inbox import Mailbox, ScimInboxSource
from connector.directory.scim.settings import ScimInboxSettings
from connector.reconcile import run
from connector.reconcile.run import ConfiguredSource, Setup
from connector.reconcile.show.outcome import RunOutcome
from ledger.store import people, seats
from ledger.store.engine import Ledger
from tests.contract.scim.conftest import Provider
from tests.parts.directories import ORGANIZATION, World, make_world, mapping, policy, stand_in_gate

CASES = Path(__file__).parents[2] / "cases" / "scim"
LEAVER = {"PauseSeat": 1, "DisableIdentity": 1}
INACTIVE = {"op": "Replace", "path": "active", "value": "False"}
STAFF = [f"p{number}" for number in range(14, 20)]


def case(name: str) -> Any:
    """The body that a case pushes."""
    text = (CASES / name).read_text(encoding="utf-8")
    found = re.search(r"-d '(.*?)'", text, re.DOTALL)
    body = json.loads(found[1] if found else text)
    body.pop("_", None)  # the case in words
    return body


def mails(address: str) -> list[dict[str, Any]]:
    return [{"value": address, "type": "work", "primary": True}]


@dataclass
class Firm:
    """Six people whom a provider pushed over HTTP, each with a seat. ``ids``: name → SCIM id."""

    world: World
    provider: Provider
    setup: Setup
    ids: dict[str, str]
    group: str

    async def run(self, **later: float) -> RunOutcome:
        self.provider.now = now = self.world.later(**(later or {"minutes": 1}))
        return await run.apply(self.world.ledger, self.setup, now=now, actor="service:schedule", auto=True)

    async def held(self) -> dict[str, str]:
        """Name → state of the person, and of the seat."""
        async with self.world.ledger.read(ORGANIZATION.id) as reader:
            who = {row[1]: (row[3].partition("@")[0], row[7]) for row in await people.open_identities(reader)}
            states = {row[5]: row[6] for row in await seats.open_seats(reader)}
        return {name: f"{state} {states.get(identity)}" for identity, (name, state) in who.items()}

    async def says(self, name: str, body: Any) -> None:
        """A PATCH of one person."""
        found = await self.provider.ask("PATCH", f"/Users/{self.ids[name]}", body)
        assert found.status in {200, 204}, found.body


@pytest.fixture
async def firm(provider: Provider, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Firm:
    stand_in_gate(monkeypatch)
    chosen = policy(mapping("design", "Design", "CAD", directory="entra"), limits={})
    world = await make_world(ledger, provider.now, chosen, Design_CAD=50)
    ids = {
        name: await provider.person(f"{name}@acme.example", active=True, emails=mails(f"{name}@acme.example"))
        for name in STAFF
    }
    group = await provider.group("design", *ids.values())
    settings = ScimInboxSettings(id="entra")
    source = ScimInboxSource(settings, Mailbox(provider.box, ORGANIZATION.id))
    setup = Setup(ORGANIZATION, chosen, (ConfiguredSource(source, AttributeRules.from_settings(settings)),))
    firm = Firm(world, provider, setup, ids, group)
    seen = await run.plan(ledger, setup, now=world.later(minutes=1))
    await run.apply(ledger, setup, now=world.now, actor="ada", digest=seen.digest)
    world.later(days=2)
    assert await firm.held() == dict.fromkeys(STAFF, "active invited")
    return firm


async def leaves(firm: Firm, name: str) -> None:
    """The next run pauses this person and nobody else, and it counts once."""
    assert (await firm.run()).counts == LEAVER
    assert await firm.held() == {**dict.fromkeys(STAFF, "active invited"), name: "disabled paused"}
    assert (await firm.run(minutes=20)).counts == {}


@pytest.mark.parametrize("pushes", [[(0, 1)], [(1,), (0,)]], ids=["together", "the mail first"])
async def test_e1_c02_a_leaver_whose_mail_is_taken_away(firm: Firm, pushes: list[tuple[int, ...]]) -> None:
    body = case("c02_leaver_without_mail.sh")
    for number, push in enumerate(pushes):
        if number:
            assert (await firm.run()).counts == {}
        await firm.says("p19", {**body, "Operations": [body["Operations"][place] for place in push]})
    await leaves(firm, "p19")


async def test_e1_c03_a_leaver_who_is_moved_to_another_domain(firm: Firm) -> None:
    await firm.says("p16", case("c03_leaver_other_domain.json"))
    await leaves(firm, "p16")


@pytest.mark.parametrize(("name", "active"), [("p18", False), ("p17", True)])
async def test_e1_c04_another_entry_with_the_address_shields_no_leaver(firm: Firm, name: str, active: bool) -> None:
    await firm.provider.person(f"{name}-old@acme.example", active=active, emails=mails(f"{name}@acme.example"))
    await firm.says(name, {"schemas": case("c03_leaver_other_domain.json")["schemas"], "Operations": [INACTIVE]})
    await leaves(firm, name)


async def test_e1_c05_a_rehire_beside_the_disabled_entry_shields_no_leaver(firm: Firm) -> None:
    """What the linked entry states acts at once; the new one is named with what to type, and gets nothing by itself."""
    await firm.says("p15", {"schemas": case("c03_leaver_other_domain.json")["schemas"], "Operations": [INACTIVE]})
    new = await firm.provider.person("p15-back@acme.example", active=True, emails=mails("p15@acme.example"))
    add = {"op": "add", "path": "members", "value": [{"value": new}]}
    assert (await firm.provider.patch(f"/Groups/{firm.group}", add)).status == 204
    outcome = await firm.run()
    assert outcome.counts == LEAVER
    assert await firm.held() == {**dict.fromkeys(STAFF, "active invited"), "p15": "disabled paused"}
    said = [*outcome.lines, *(problem.what for problem in outcome.problems)]
    assert any(f"entra:{new}" in line for line in said), said
    assert (await firm.run(minutes=20)).counts == {}
