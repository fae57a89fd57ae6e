"""What can happen to somebody at a provider whom we read over SCIM, and in an inbox that one pushes to (E1–E7)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connector.directory.mapping import AttributeRules
from connector.directory.scim.inbox import Mailbox, ScimInboxSource
from connector.directory.scim.settings import ScimInboxSettings, ScimSettings
from connector.directory.sources import open_source
from ledger.store.engine import Ledger
from tests.contract.scim.conftest import Provider
from tests.parts import scim_server
from tests.parts.directories import ORGANIZATION, stand_in_gate
from tests.parts.playing import PEOPLE, Play, play
from tests.parts.scim_server import ScimServer
from tests.parts.situations import NOTHING, OFF, SITUATIONS, Situation

EVERY = {"near": timedelta(hours=24), "whole": timedelta()}
"""How often everybody is planned; a provider and an inbox are read whole each time."""
ALIKE = frozenset(
    {
        "renamed, group told", "deleted, group told", "disabled, then deleted", "disabled with a spoiled mail",
        "inner group renamed, outer told", "inner group deleted, outer told", "taken out of the inner group",
        "taken out of one of two", "taken out of the group", "alias that sorts first", "twin with the address",
        "made anew under the address",
    }
)  # fmt: skip
"""What can happen at both: members are ids, which nothing renames."""
pytestmark = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


def mails(*addresses: str) -> list[dict[str, str]]:
    return [{"value": address, "type": "work"} for address in addresses]


@dataclass
class Pulled:
    """A provider that is read. It can hide whom it lists as a member, and cannot prove a deletion."""

    server: ScimServer
    away: dict[str, dict[str, Any]] = field(default_factory=dict)
    can = ALIKE | {
        "left the filter", "hidden", "hidden and shown", "deleted, group stale", "inner group hidden",
        "one path hidden, the other ended",
    }  # fmt: skip

    def found(self) -> None:
        for name in PEOPLE:
            self.person(name, name)
        for name, members in {"second": ("ed",), "inner": ("di", "ed")}.items():
            self.group(name, *members)
        self.group("design", "anna", "bo", "cy", "inner", "second")

    def person(self, name: str, mail: str) -> None:
        self.server.users[f"id-{name}"] = {
            "id": f"id-{name}", "userName": name, "displayName": name, "active": True,
            "emails": mails(f"{mail}@acme.example"),
        }  # fmt: skip

    def group(self, name: str, *members: str) -> None:
        inside = [{"value": f"id-{member}"} for member in members]
        self.server.groups[f"id-{name}"] = {"id": f"id-{name}", "displayName": name, "members": inside}

    def of(self, name: str) -> dict[str, Any]:
        identifier = f"id-{name}"
        return self.server.users[identifier] if identifier in self.server.users else self.server.groups[identifier]

    async def rename(self, name: str, *, told: bool) -> None:
        self.of(name)["userName"] = f"{name}.married"

    async def move_out(self, name: str, *, told: bool) -> None:
        raise NotImplementedError

    async def leave_filter(self, name: str) -> None:
        self.server.behaviour.unlisted.add(f"id-{name}")

    async def hide(self, *names: str) -> None:
        for name in names:
            kind = self.server.users if f"id-{name}" in self.server.users else self.server.groups
            self.away[name] = kind.pop(f"id-{name}")

    async def show(self, *names: str) -> None:
        for name in names:
            kind = self.server.users if "userName" in self.away[name] else self.server.groups
            kind[f"id-{name}"] = self.away.pop(name)

    async def delete(self, name: str, *, told: bool) -> None:
        await self.hide(name)
        for group in self.server.groups if told else ():
            self.without(name, group)

    def without(self, name: str, group: str) -> None:
        found = self.server.groups[group]
        found["members"] = [member for member in found["members"] if member["value"] != f"id-{name}"]

    async def disable(self, name: str) -> None:
        self.of(name)["active"] = False

    async def take(self, name: str, group: str) -> None:
        self.without(name, f"id-{group}")

    async def rename_group(self, name: str, *, told: bool) -> None:
        self.of(name)["displayName"] = f"{name} of old"

    async def spoil_mail(self, name: str) -> None:
        self.of(name)["emails"] = mails("no address")

    async def add(self, name: str, *, mail: str = "", place: str = "") -> None:
        self.person(name, mail or name)

    async def alias(self, name: str, mail: str) -> None:
        self.of(name)["emails"] = mails(f"{name}@acme.example", mail)


@dataclass
class Pushed:
    """An inbox. Whatever happens is told by a push; nothing can be hidden."""

    provider: Provider
    ids: dict[str, str] = field(default_factory=dict)
    can = ALIKE

    async def found(self) -> None:
        for name in PEOPLE:
            await self.add(name)
        for name, members in {
            "second": ["ed"], "inner": ["di", "ed"], "design": ["anna", "bo", "cy", "inner", "second"],
        }.items():  # fmt: skip
            self.ids[name] = await self.provider.group(name, *(self.ids[member] for member in members))

    async def patch(self, kind: str, name: str, **operation: Any) -> None:
        answer = await self.provider.patch(f"/{kind}/{self.ids[name]}", {"op": "replace", **operation})
        assert answer.status in {200, 204}, answer.body

    async def rename(self, name: str, *, told: bool) -> None:
        await self.patch("Users", name, path="userName", value=f"{name}.married")

    async def move_out(self, name: str, *, told: bool) -> None:
        raise NotImplementedError

    async def leave_filter(self, name: str) -> None:
        raise NotImplementedError

    async def hide(self, *names: str) -> None:
        raise NotImplementedError

    async def show(self, *names: str) -> None:
        raise NotImplementedError

    async def delete(self, name: str, *, told: bool) -> None:
        kind = "Users" if name in PEOPLE else "Groups"
        assert (await self.provider.ask("DELETE", f"/{kind}/{self.ids[name]}")).status == 204

    async def disable(self, name: str) -> None:
        await self.patch("Users", name, path="active", value=False)

    async def take(self, name: str, group: str) -> None:
        await self.patch("Groups", group, op="remove", path=f'members[value eq "{self.ids[name]}"]')

    async def rename_group(self, name: str, *, told: bool) -> None:
        await self.patch("Groups", name, path="displayName", value=f"{name} of old")

    async def spoil_mail(self, name: str) -> None:
        await self.patch("Users", name, path="emails", value=mails("no address"))

    async def add(self, name: str, *, mail: str = "", place: str = "") -> None:
        emails = mails(f"{mail or name}@acme.example")
        self.ids[name] = await self.provider.person(name, active=True, displayName=name, emails=emails)

    async def alias(self, name: str, mail: str) -> None:
        await self.patch("Users", name, path="emails", value=mails(f"{name}@acme.example", mail))


Begin = Callable[..., Awaitable[Play]]


@pytest.fixture
async def pulled() -> AsyncIterator[Pulled]:
    async with scim_server.serving(ScimServer()) as server:
        stage = Pulled(server)
        stage.found()
        yield stage


@pytest.fixture
def pull(pulled: Pulled, ledger: Ledger, now: datetime, monkeypatch: pytest.MonkeyPatch) -> Begin:
    monkeypatch.setenv("SCIM_TOKEN", scim_server.TOKEN)

    async def begun(every: str, **more: object) -> Play:
        table = {"id": "corp", "url": pulled.server.url, "plaintext": True, "token": "env:SCIM_TOKEN", "attempts": 1}
        settings = ScimSettings.model_validate({**table, **more})
        source = open_source(settings, folder=Path())
        return await Play.begun(ledger, now, source, AttributeRules.from_settings(settings), EVERY[every])

    return begun


@pytest.fixture
async def pushed(provider: Provider) -> Pushed:
    stage = Pushed(provider)
    await stage.found()
    return stage


@pytest.fixture
def push(pushed: Pushed, ledger: Ledger) -> Begin:
    async def begun(every: str) -> Play:
        settings = ScimInboxSettings(id="entra")
        source = ScimInboxSource(settings, Mailbox(pushed.provider.box, ORGANIZATION.id))
        rules = AttributeRules.from_settings(settings)
        return await Play.begun(ledger, pushed.provider.now, source, rules, EVERY[every])

    return begun


def can(names: frozenset[str]) -> pytest.MarkDecorator:
    found = [item for item in SITUATIONS if item.name in names]
    assert len(found) == len(names)
    return pytest.mark.parametrize("situation", found, ids=lambda item: item.name)


@pytest.mark.parametrize("every", EVERY)
@can(Pulled.can)
async def test_e1_e7_what_happens_at_a_provider(pulled: Pulled, pull: Begin, situation: Situation, every: str) -> None:
    await play(situation, pulled, await pull(every))


@pytest.mark.parametrize("every", EVERY)
@can(Pushed.can)
async def test_e1_e7_what_happens_in_an_inbox(pushed: Pushed, push: Begin, situation: Situation, every: str) -> None:
    await play(situation, pushed, await push(every), proves=True)


def with_new_ids(pulled: Pulled) -> None:
    """A provider that was set up anew: everybody has another id, in the groups too."""
    for kind in (pulled.server.users, pulled.server.groups):
        for key, found in list(kind.items()):
            del kind[key]
            kind[f"new-{key}"] = {**found, "id": f"new-{key}"}
    for group in pulled.server.groups.values():
        group["members"] = [{"value": f"new-{member['value']}"} for member in group["members"]]


@pytest.mark.parametrize("every", EVERY)
async def test_e6_a_provider_that_changes_every_id_takes_nobody(pulled: Pulled, pull: Begin, every: str) -> None:
    playing = await pull(every)
    before = await playing.held()
    with_new_ids(pulled)
    for _ in range(3):
        outcome = await playing.run()
        assert (outcome.counts, outcome.held_counts) == ({}, {"RelinkAnchor": 5}), outcome.problems
    assert await playing.held() == before


@pytest.mark.parametrize("every", EVERY)
async def test_e6_with_numbers_new_ids_are_the_same_people(pulled: Pulled, pull: Begin, every: str) -> None:
    for number, user in enumerate(pulled.server.users.values()):
        user[scim_server.ENTERPRISE] = {"employeeNumber": str(number)}
    playing = await pull(every)
    before = await playing.held()
    with_new_ids(pulled)
    assert await playing.counts() == [{"RelinkAnchor": 5}, {}, {}]
    assert await playing.held() == before


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("side", ["user-groups", "filter"])
async def test_e2_where_only_users_show_their_groups_nothing_keeps_who_is_not_listed(
    pulled: Pulled, pull: Begin, side: str, every: str
) -> None:
    pulled.server.behaviour.hide_members = True
    pulled.server.behaviour.user_groups = side == "user-groups"
    pulled.group("design", *PEOPLE)
    playing = await pull(every, membership=side)
    await pulled.hide("anna")
    assert await playing.counts() == [NOTHING, OFF, NOTHING]


@pytest.mark.parametrize("every", EVERY)
async def test_e1_a_user_beside_the_list_who_is_inactive_says_so(pulled: Pulled, pull: Begin, every: str) -> None:
    playing = await pull(every)
    await pulled.leave_filter("anna")
    await pulled.disable("anna")
    assert await playing.counts() == [OFF, NOTHING, NOTHING]
