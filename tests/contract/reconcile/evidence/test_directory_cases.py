"""Exports of a directory that cost somebody access, or left a leaver with it (E0–E7): before → after, with the right
value. The first is applied as somebody saw it, the second read twice by what the guard lets through."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connector.directory.mapping import AttributeRules
from connector.directory.settings import LdifSettings
from connector.directory.sources import open_source
from connector.reconcile import run
from connector.reconcile.run import ConfiguredSource, Setup
from connector.reconcile.show.outcome import RunOutcome
from ledger.store import people, seats
from ledger.store.engine import Ledger
from tests.parts.directories import ORGANIZATION, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE

CASES = Path(__file__).parents[3] / "cases" / "directory"
LEAVER = {"PauseSeat": 1, "DisableIdentity": 1}
DESIGN = mapping("design", "Design", "CAD")


@dataclass
class Case:
    """One installation that reads an export of which the test decides the content."""

    ledger: Ledger
    setup: Setup
    file: Path
    name: str
    outcomes: list[RunOutcome]
    planned: run.Planned

    async def held(self) -> tuple[str, ...]:
        """Addresses, Teams and seat states, one line each."""
        async with self.ledger.read(ORGANIZATION.id) as reader:
            who = {row[1]: (row[3], row[7]) for row in await people.open_identities(reader)}
            members = {who[row[1]][0] for row in await people.open_memberships(reader)}
            states = {who[row[5]][0]: row[6] for row in await seats.open_seats(reader)}
        return tuple(sorted(f"{mail} {state} {mail in members} {states.get(mail)}" for mail, state in who.values()))


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


async def play(ledger: Ledger, tmp_path: Path, name: str) -> Case:
    """Apply the first export, then read the second one twice, ``confirm_after`` being over each time."""
    chosen = policy(DESIGN, offboarding={"confirm_after": "0"}, limits={})
    world = await make_world(ledger, datetime(2026, 3, 2, 9, tzinfo=UTC), chosen, Design_CAD=50)
    file = tmp_path / "people.ldif"
    settings = LdifSettings.model_validate({
        "id": "corp", "kind": "ldif", "file": str(file), "people_base": "ou=people,dc=acme,dc=example",
        "groups_base": "ou=groups,dc=acme,dc=example",
    })  # fmt: skip
    source = open_source(settings, folder=tmp_path)
    setup = Setup(ORGANIZATION, chosen, (ConfiguredSource(source, AttributeRules.from_settings(settings)),))
    shutil.copy(CASES / f"{name}.before.ldif", file)
    seen = await run.plan(ledger, setup, now=world.now)
    await run.apply(ledger, setup, fence=ALONE, now=world.now, actor="ada", digest=seen.digest)
    shutil.copy(CASES / f"{name}.after.ldif", file)
    planned = await run.plan(ledger, setup, now=world.later(hours=1))
    outcomes = [
        await run.apply(ledger, setup, fence=ALONE, now=world.later(hours=1), actor="service:schedule", auto=True)
        for _ in range(2)
    ]
    return Case(ledger, setup, file, name, outcomes, planned)


@pytest.mark.parametrize(
    "name", ["disabled-mail-removed", "disabled-mail-spoiled", "disabled-name-control", "disabled-foreign-mail",
             "disabled-collision"],
)  # fmt: skip
async def test_e1_what_the_linked_entry_states_acts_whatever_else_is_wrong_with_it(
    ledger: Ledger, tmp_path: Path, name: str
) -> None:
    case = await play(ledger, tmp_path, name)
    assert case.outcomes[0].counts == LEAVER
    assert case.outcomes[1].counts == {}
    twin = {"Reinstate": 2, "UpdateIdentity": 1, "RelinkAnchor": 1} if name == "disabled-collision" else {}
    assert case.outcomes[1].held_counts == twin, "the living twin waits for a person, what was stated does not"
    assert "p0@acme.example disabled True paused" in await case.held()


async def test_e9_somebody_unmappable_leaves_a_group_that_no_longer_lists_them(ledger: Ledger, tmp_path: Path) -> None:
    case = await play(ledger, tmp_path, "unmappable-left-group")
    assert [outcome.counts for outcome in case.outcomes] == [{}, {"LeaveTeam": 1, "ReleaseSeat": 1}]
    assert "p0@acme.example active False None" in await case.held()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rename-stale-member", "group design still lists uid=p0,ou=people,dc=acme,dc=example"),
        ("memberuid-hidden", "group design still lists memberUid=p0"),
        ("spelled-member-hidden", "group design still lists"),
        ("nested-group-hidden", "group design still lists cn=inner,ou=groups,dc=acme,dc=example"),
        ("group-missing-person-absent", "group design is missing: nobody leaves for absence because of it"),
    ],
)
async def test_e3_e4_who_is_still_listed_or_whose_group_is_unknown_keeps_everything(
    ledger: Ledger, tmp_path: Path, name: str, said: str
) -> None:
    case = await play(ledger, tmp_path, name)
    assert [outcome.counts for outcome in case.outcomes] == [{}, {}]
    assert {line.partition(" ")[2] for line in await case.held()} == {"active True invited"}
    assert any(said in problem.what and "p0@acme.example" in problem.subjects for problem in case.outcomes[1].problems)


@pytest.mark.parametrize("name", ["alias-sorts-first", "alias-foreign-domain"])
async def test_e7_an_alias_renames_and_freezes_nobody(ledger: Ledger, tmp_path: Path, name: str) -> None:
    case = await play(ledger, tmp_path, name)
    assert [outcome.counts for outcome in case.outcomes] == [{}, {}]
    assert "zoe@acme.example active True invited" in await case.held()
    assert not any(problem.code == "frozen" for problem in case.outcomes[1].problems)


async def test_e6_a_new_entry_with_the_address_is_relinked_by_a_person_and_nobody_is_disabled(
    ledger: Ledger, tmp_path: Path
) -> None:
    case = await play(ledger, tmp_path, "recreated-entry")
    first, second = case.outcomes
    assert [(outcome.counts, outcome.held_counts, outcome.exit_code) for outcome in (first, second)] == [
        ({}, {"RelinkAnchor": 1}, 3)
    ] * 2
    assert first.held == second.held
    assert {line.partition(" ")[2] for line in await case.held()} == {"active True invited"}
    text = "\n".join(case.planned.lines)
    old, new = "08c0be0b-5f26-55d4-835f-4f7aa1428082", "de97fe58-99b4-5132-9ae4-137b502e2a30"
    for said in (f"corp:{old}", f"corp:{new}", "uid=p0,ou=people,dc=acme,dc=example", "if it is the same person"):
        assert said in text
    at = datetime(2026, 3, 2, 13, tzinfo=UTC)
    shutil.copy(CASES / "recreated-entry.after.ldif", case.file)
    done = await run.approve(
        ledger, case.setup, second.held, reason="re-created by hand", actor="boss", fence=ALONE, now=at
    )
    assert done.counts == {"RelinkAnchor": 1}
    after = await run.apply(ledger, case.setup, fence=ALONE, now=at, actor="service:schedule", auto=True)
    assert (after.counts, after.exit_code) == ({}, 0)


async def test_e6_a_rehire_beside_the_disabled_entry_is_only_relinked(ledger: Ledger, tmp_path: Path) -> None:
    case = await play(ledger, tmp_path, "rehired-beside-disabled")
    assert [(outcome.counts, outcome.exit_code) for outcome in case.outcomes] == [
        ({"UpdateIdentity": 1, "RelinkAnchor": 1}, 0), ({}, 0),
    ]  # fmt: skip
    assert "p0@acme.example active True invited" in await case.held()


async def test_e6_a_second_account_with_the_number_is_held_in_every_run(ledger: Ledger, tmp_path: Path) -> None:
    """Both were in the reading before; the second of these runs compares with a reading that shows only one."""
    case = await play(ledger, tmp_path, "second-account")
    assert [outcome.counts for outcome in case.outcomes] == [{}, {}]
    assert {outcome.held_counts["RelinkAnchor"] for outcome in case.outcomes} == {1}
    assert "p0@acme.example active True invited" in await case.held()
    assert "was there while that one was enabled" in "\n".join(case.outcomes[1].lines)
