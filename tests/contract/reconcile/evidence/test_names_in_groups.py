"""Exports in which a group goes on listing a person under a name of theirs, though something else changed too (E3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import pytest

from connector.directory.mapping import AttributeRules
from connector.directory.settings import LdifSettings
from connector.directory.sources import open_source
from connector.reconcile import run
from connector.reconcile.run import ConfiguredSource, Setup
from ledger.store import people
from ledger.store.engine import Ledger
from tests.parts.directories import ORGANIZATION, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE

BASE = "dc=acme,dc=example"
Export = tuple[Mapping[str, Sequence[str]], Mapping[str, tuple[str, str, Sequence[str]]]]
"""People (DN's uid → login names) and groups (cn → anchor, member attribute, values); the anchor of the first person is
``anna``'s whatever it is called."""


def dn(uid: str) -> str:
    return f"uid={uid},ou=people,{BASE}"


def inner(cn: str = "inner") -> str:
    return f"cn={cn},ou=groups,{BASE}"


def ldif(export: Export) -> str:
    lines: list[str] = []
    for uid, logins in export[0].items():
        who = "bo" if uid == "bo" else "anna"
        lines += [f"dn: {dn(uid)}", "objectClass: inetOrgPerson", f"entryUUID: {who}", f"cn: {who}", f"sn: {who}"]
        lines += [f"mail: {who}@acme.example", *(f"uid: {login}" for login in logins), ""]
    for cn, (anchor, attribute, values) in export[1].items():
        kind = "posixGroup" if attribute == "memberUid" else "groupOfNames"
        lines += [f"dn: {inner(cn)}", f"objectClass: {kind}", f"cn: {cn}", f"entryUUID: {anchor}"]
        lines += [*(f"{attribute}: {value}" for value in values), ""]
    return "\n".join(lines) + "\n"


BO = {"bo": ["bo"]}
WAYS: dict[str, list[Export]] = {
    "one of two login names is taken out, the other stays": [
        ({"anna": ["anna", "ann"], **BO}, {"design": ("d", "memberUid", ["anna", "ann", "bo"])}),
        (BO, {"design": ("d", "memberUid", ["anna", "bo"])}),
    ],
    "or the other one": [
        ({"anna": ["anna", "ann"], **BO}, {"design": ("d", "memberUid", ["anna", "ann", "bo"])}),
        (BO, {"design": ("d", "memberUid", ["ann", "bo"])}),
    ],
    "renamed, then hidden while the group is made anew": [
        ({"anna": [], **BO}, {"design": ("d", "member", [dn("anna"), dn("bo")])}),
        ({"hanna": [], **BO}, {"design": ("d", "member", [dn("hanna"), dn("bo")])}),
        (BO, {"design": ("anew", "member", [dn("hanna"), dn("bo")])}),
    ],
    "renamed while the inner group is made anew": [
        ({"anna": [], **BO}, {"design": ("d", "member", [inner(), dn("bo")]), "inner": ("i", "member", [dn("anna")])}),
        ({"hanna": [], **BO},
         {"design": ("d", "member", [inner(), dn("bo")]), "inner": ("anew", "member", [dn("anna")])}),
    ],
    "the outer group is made anew while the inner one is hidden": [
        ({"anna": [], **BO}, {"design": ("d", "member", [inner(), dn("bo")]), "inner": ("i", "member", [dn("anna")])}),
        ({"anna": [], **BO}, {"design": ("anew", "member", [inner(), dn("bo")])}),
    ],
}  # fmt: skip


@pytest.mark.parametrize("way", list(WAYS))
async def test_e3_a_name_that_a_group_still_lists_keeps_its_person(
    ledger: Ledger, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    stand_in_gate(monkeypatch)
    chosen = policy(mapping("design", "Design", "CAD"), limits={})
    world = await make_world(ledger, now, chosen, Design_CAD=9)
    settings = LdifSettings.model_validate({
        "id": "corp", "file": "people.ldif", "people_base": f"ou=people,{BASE}", "groups_base": f"ou=groups,{BASE}",
    })  # fmt: skip
    source = open_source(settings, folder=tmp_path)
    setup = Setup(ORGANIZATION, chosen, (ConfiguredSource(source, AttributeRules.from_settings(settings)),))

    async def played(export: Export) -> tuple[int, set[str]]:
        """How many people are active members after three runs over one export, and what they lost."""
        (tmp_path / "people.ldif").write_text(ldif(export), encoding="utf-8")
        lost: set[str] = set()
        for _ in range(3):
            outcome = await run.apply(ledger, setup, fence=ALONE, now=world.later(hours=1), actor="test", auto=True)
            lost |= outcome.counts.keys() & {"LeaveTeam", "DisableIdentity", "PauseSeat"}
        async with ledger.read(ORGANIZATION.id) as reader:
            return len(await people.open_memberships(reader)), lost

    for export in WAYS[way]:
        assert await played(export) == (2, set())
    people_now, groups = WAYS[way][-1]
    emptied = {cn: (anchor, attribute, [value for value in values if value in {"bo", dn("bo")}] or [dn("bo")])
               for cn, (anchor, attribute, values) in groups.items()}  # fmt: skip
    assert (await played((people_now, emptied)))[1], "and who is listed nowhere any more leaves"
