"""Whole runs by the real command line over Samba AD and a SCIM provider: 300 people, a leaver, a mover, a disabled one.

The same story on each, from plan to undo, with what ``explain`` says of each person at each directory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rosterd.demo import company, files
from tests.parts import company_at_servers
from tests.parts.company_at_servers import Place
from tests.parts.enabled import enable_sync
from tests.parts.installation import Answer, Installation
from tests.parts.ports import free_port

PEOPLE = company.found(300)
LEAVER, DISABLED = PEOPLE.in_group("design")[3], PEOPLE.in_group("design")[4]
MOVER = PEOPLE.in_group("site")[5]
BRIDGES = PEOPLE.in_group("bridges")[2]


@dataclass
class World:
    """An installation over a running directory; ``stop`` ends the directory."""

    installation: Installation
    place: Place
    stop: ExitStack

    def does(self, *arguments: str, code: int = 0) -> Any:
        """One command with ``--json``; returns its document."""
        answer: Answer = self.installation.rosterd(*arguments, "--json")
        assert answer.code == code, (arguments, answer.code, answer.out[-3000:], answer.err)
        return answer.document

    def reads(self, table: str) -> None:
        """The same organization file with another ``[[directories]]`` table; groups by name, confirmed at once."""
        text = files.organization(PEOPLE, directory=table)
        for name in PEOPLE.groups:
            text = text.replace(f'group = "{company.group_dn(name)}"', f'group = "{name}"')
        self.installation.organization.write_text(f'{text}\n[offboarding]\nconfirm_after = "0"\n', encoding="utf-8")


@pytest.fixture(autouse=True)
def _whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every reading is a whole one here; following is ``test_following_runs``."""
    monkeypatch.setenv("ROSTERD_SCHEDULE_FULL_READING_EVERY", "0")


@pytest.fixture(params=["samba", "scim"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Sync enabled, catalogue imported, nothing reconciled yet."""
    folder = tmp_path / "installation"
    with ExitStack() as parts, ExitStack() as running:
        parts.enter_context(company_at_servers.at_suffix(PEOPLE))
        place: Place = running.enter_context(getattr(company_at_servers, f"at_{request.param}")(PEOPLE))
        today = datetime.now(UTC).date()
        files.write(folder, PEOPLE, today=today, port=free_port(), resolvers=("127.0.0.1:1", "127.0.0.1:2"))
        made = World(Installation(folder), place, running)
        made.reads(place.table)
        enable_sync(made.installation)
        for name in ("offerings", "subscriptions"):
            made.does("import", name, str(folder / "import" / f"{name}.csv"))
        yield made


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # ldap3 forgets a refused socket
def test_p1_one_whole_story_on_every_server(world: World) -> None:
    first = everybody_comes_in(world)
    sign = world.place.is_disabled(DISABLED)
    world.place.leaves(LEAVER)
    world.place.moves(MOVER, "site", "visual")
    disabled_at_once_and_absence_only_when_confirmed(world)
    each_of_them_is_explained(world, sign)
    a_directory_that_does_not_answer_takes_nothing(world)
    assert len(world.does("undo", first, "--dry-run")["changes"]) > 290


def everybody_comes_in(world: World) -> str:
    """Plan, the same plan from an export, apply what was seen; returns the run."""
    seen = world.does("plan", code=3)
    assert seen["counts"]["Invite"] == seen["counts"]["JoinTeam"] == 300
    assert all(scope["complete"] for scope in seen["scopes"])
    (world.installation.folder / "people.ldif").write_text(PEOPLE.to_ldif(), encoding="utf-8")
    world.reads(company_at_servers.ldif_table("../people.ldif"))
    assert world.does("plan", code=3)["digest"] == seen["digest"]
    world.reads(world.place.table)
    done = world.does("apply", "--digest", seen["digest"])
    assert done["counts"] == seen["counts"]
    assert world.does("plan")["counts"] == {}
    return str(done["run_id"])


def disabled_at_once_and_absence_only_when_confirmed(world: World) -> None:
    """Three things happened in the directory; one of them is positive evidence."""
    once = world.does("apply", "--auto")
    assert once["counts"] == {"PauseSeat": seats_of(world, DISABLED), "DisableIdentity": 1}
    noted = {name for item in once["problems"] if item["code"] == "unconfirmed" for name in item["subjects"]}
    assert noted == {LEAVER.mail, f"{MOVER.mail} in Site"}
    again = world.does("apply", "--auto")
    assert {kind: again["counts"].get(kind) for kind in ("DisableIdentity", "LeaveTeam", "JoinTeam")} == {
        "DisableIdentity": 1, "LeaveTeam": 1, "JoinTeam": 1,
    }  # fmt: skip
    assert world.does("apply", "--auto")["counts"] == {}


def seats_of(world: World, person: company.Employee) -> int:
    return len(world.does("explain", person.mail, "--offline")["seats"])


def each_of_them_is_explained(world: World, sign: str) -> None:
    nested = world.does("explain", BRIDGES.mail)
    reach = nested["source"][0]["entries"][0]["groups"]
    assert [item["path"] for item in reach] == [["engineering", "bridges"]]
    assert nested["source"][0]["entries"][0]["differs"] == []
    off = world.does("explain", DISABLED.mail)
    assert off["state"] == "disabled"
    assert off["source"][0]["entries"][0]["enabled"] is False
    assert off["source"][0]["entries"][0]["standing"] == [sign]
    gone = world.does("explain", LEAVER.mail)
    assert (gone["state"], gone["source"][0]["entries"]) == ("absent", [])
    assert "is not visible now" in gone["source"][0]["notes"][0]
    moved = world.installation.rosterd("explain", MOVER.mail)
    assert moved.code == 0
    assert "in visual → mapping visual → Team Visual" in moved.out
    assert "ledger and directory agree" in moved.out


def a_directory_that_does_not_answer_takes_nothing(world: World) -> None:
    world.stop.close()
    answer = world.does("apply", "--auto", code=4)
    assert answer["counts"] == {}
    asked = world.installation.rosterd("explain", BRIDGES.mail)
    assert asked.code == 4
    assert "member of Engineering" in asked.out
    assert "directory corp: NOT ASKED: " in asked.out
    assert world.installation.rosterd("explain", BRIDGES.mail, "--offline").code == 0
