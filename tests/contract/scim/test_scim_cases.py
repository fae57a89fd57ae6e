"""Pushes that left a leaver with a seat (E1, E6), through the real server and a real run over the inbox behind it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.contract.scim.conftest import STAFF, Firm, Provider, mails

CASES = Path(__file__).parents[2] / "cases" / "scim"
LEAVER = {"PauseSeat": 1, "DisableIdentity": 1}
INACTIVE = {"op": "Replace", "path": "active", "value": "False"}


def case(name: str, **filled: str) -> Any:
    """The body that a case pushes. ``filled``: what stands for a name of the case."""
    text = (CASES / name).read_text(encoding="utf-8")
    for old, new in filled.items():
        text = text.replace(old, new)
    found = re.search(r"-d '(.*?)'", text, re.DOTALL)
    body = json.loads(found[1] if found else text)
    body.pop("_", None)  # the case in words
    return body


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


async def test_e1_active_that_is_taken_away_says_nothing(firm: Firm) -> None:
    """A push cannot take it away; a script that does lets nobody in."""
    schemas = case("c03_leaver_other_domain.json")["schemas"]
    await firm.says("p15", {"schemas": schemas, "Operations": [INACTIVE]})
    await leaves(firm, "p15")
    await firm.says("p15", {"schemas": schemas, "Operations": [{"op": "remove", "path": "active"}]})
    outcome = await firm.run()
    assert (outcome.counts, outcome.held_counts) == ({}, {})
    await firm.lost("UPDATE inbox_resource SET document = replace(document, '\"active\":false,', '')")
    outcome = await firm.run()
    assert (outcome.counts, outcome.held_counts) == ({}, {})
    assert any("shows no active" in problem.what for problem in outcome.problems), outcome.problems
    await firm.says("p15", {"schemas": schemas, "Operations": [{"op": "add", "path": "active", "value": True}]})
    assert (await firm.run()).counts == {"Reinstate": 2}


@pytest.mark.parametrize("token", ["entra", "strict"])
async def test_s_r37_c07_members_that_are_null_are_all_removed(provider: Provider, token: str) -> None:
    provider.token = token
    group = await provider.group("CAD", await provider.person("eva"), await provider.person("bo"))
    found = await provider.ask("PATCH", f"/Groups/{group}", case("c07_members_null.json"))
    assert (found.status, await provider.members(group)) == (204, set())
    assert (await provider.writes())[0].bent == []


async def test_s_r23_c08_a_list_of_one_at_a_filtered_path(provider: Provider) -> None:
    eva = await provider.person("eva", emails=[{"type": "work", "value": "eva@x.pl", "primary": True}])
    found = await provider.ask("PATCH", f"/Users/{eva}", case("c08_list_of_one_in_filtered_path.json"))
    assert (found.status, found.body["emails"]) == (200, [{"type": "work", "value": "a@b"}])


@pytest.mark.parametrize("token", ["entra", "strict"])
async def test_s_r37_c10_a_member_chosen_by_value_and_type(provider: Provider, token: str) -> None:
    provider.token = token
    eva, bo = await provider.person("eva"), await provider.person("bo")
    group = await provider.group("CAD", eva, bo)
    found = await provider.ask("PATCH", f"/Groups/{group}", case("c10_members_and_type.json", ID=eva))
    assert (found.status, await provider.members(group)) == (204, {bo})


async def test_s_r46_c12_the_filter_that_microsoft_prints(provider: Provider) -> None:
    text = (CASES / "c12_documented_entra_filter.txt").read_text(encoding="utf-8")
    [printed] = re.findall(r"filter=(.*?)  ", text)
    await provider.person("w", emails=[{"type": "work", "value": "w@x.com"}])
    await provider.person("h", emails=[{"type": "home", "value": "w@x.com"}])
    assert await provider.names("Users", printed) == ["w"]
