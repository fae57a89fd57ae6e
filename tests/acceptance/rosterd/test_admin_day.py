"""A day of an admin on the real daemon and the real command line: people by hand beside people of a directory."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rosterd.demo import company
from tests.parts.enabled import enable_sync
from tests.parts.installation import Daemon, Installation

PEOPLE = company.found(12)
TABLES = """
[[directories]]
id = "corp"
kind = "ldif"
file = "people.ldif"
require_count = true

[[mappings]]
id = "design"
directory = "corp"
group = "design"
team = "Design"
offerings = ["CAD"]

[offboarding]
confirm_after = "0"
"""
SCOPES = ("people:read", "people:write", "audit:read", "runs:approve", "teams:restrict")
SYNCED = PEOPLE.in_group("design")[0]


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Everybody of design is in, and two seats of CAD are free."""
    made = Installation.make(tmp_path_factory.mktemp("day") / "etc")
    quiet = 'reconcile_every = "0"\npublish_every = "0"\nevidence_every = "0"\n'
    made.edit("rosterd.toml", "[database]", f"[schedule]\n{quiet}\n[database]")
    made.append(TABLES)
    (made.folder / "organizations" / "people.ldif").write_text(PEOPLE.to_ldif(), encoding="utf-8")
    enable_sync(made)
    seats = len(PEOPLE.in_group("design")) + 2
    for name, text in {
        "offerings": "code,name\nCAD,Cad\n",
        "subscriptions": "id,team,offering,quantity,tier,starts_on,ends_on\n"
        f"s1,Design,CAD,{seats},business,2020-01-01,2090-01-01\n",
    }.items():
        (made.folder / f"{name}.csv").write_text(text, encoding="utf-8")
        assert made.rosterd("import", name, str(made.folder / f"{name}.csv")).code == 0
    digest = made.rosterd("plan", "--json").document["digest"]
    assert made.rosterd("apply", "--digest", digest).code == 0
    return made


@pytest.fixture(scope="module")
def daemon(acme: Installation) -> Iterator[Daemon]:
    with acme.serving("--only", "connector") as running:
        yield running


@pytest.fixture(scope="module")
def token(acme: Installation) -> str:
    scopes = [word for scope in SCOPES for word in ("--scope", scope)]
    made = acme.rosterd("token", "create", "anna", "--role", "primary_admin", *scopes, "--json")
    return str(made.document["token"])


def ask(daemon: Daemon, token: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and document of one request."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{daemon.url}/admin/v1{path}", data=data, method=method)  # noqa: S310
    request.add_header("Authorization", f"Bearer {token}")
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own daemon
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def done(daemon: Daemon, token: str, method: str, path: str, body: Any = None) -> Any:
    """The outcome of the job a request enqueued."""
    status, job = ask(daemon, token, method, path, body)
    assert status == 202, job
    place = job["href"].removeprefix("/admin/v1")
    daemon.wait_for(job["job"])  # started
    said = daemon.wait_for(job["job"])
    assert "job.done" in said
    assert "@" not in said, "the log names nobody"
    found = ask(daemon, token, "GET", place)[1]
    assert found["state"] == "done", found
    return found["outcome"]


def test_r6_somebody_is_invited_given_a_seat_and_outlives_the_next_run(
    acme: Installation, daemon: Daemon, token: str
) -> None:
    status, eve = ask(daemon, token, "POST", "/people", {"mail": "eve@acme.example", "teams": ["Design"]})
    assert status == 201, eve
    status, seat = ask(daemon, token, "PUT", f"/seats/Design/CAD/{eve['id']}", {"reason": "a project"})
    assert (status, seat["changed"]) == (200, True)
    assert acme.rosterd("apply", "--auto").code == 0
    shown = ask(daemon, token, "GET", f"/people/{eve['id']}")[1]
    assert [row["provenance"] for row in shown["memberships"]] == ["manual"]
    assert shown["seats"][0]["grants"][0]["cause"].endswith("a project")
    assert any("by hand" in line for line in shown["explain"])
    listed = acme.rosterd("invite", "list", "--json").document["invites"]
    assert "eve@acme.example" in {row["mail"] for row in listed}


def test_p3_what_the_directory_granted_is_refused_with_what_to_change(daemon: Daemon, token: str) -> None:
    person = ask(daemon, token, "GET", f"/people?mail={SYNCED.mail}")[1]["people"][0]
    for path in (f"/teams/Design/members/{person['id']}", f"/seats/Design/CAD/{person['id']}"):
        status, refused = ask(daemon, token, "DELETE", f"{path}?reason=x")
        assert status == 409
        assert "mapping design" in refused["detail"]
        assert "directory" in refused["next_step"]
    status, refused = ask(daemon, token, "PATCH", f"/people/{person['id']}", {"family_name": "X"})
    assert (status, SYNCED.anchor in refused["detail"]) == (409, True)


def test_a_plan_is_a_job_and_writes_nothing(acme: Installation, daemon: Daemon, token: str) -> None:
    before = ask(daemon, token, "GET", "/runs")[1]
    outcome = done(daemon, token, "POST", "/plans")
    assert (outcome["exit_code"], outcome["changes_total"]) == (0, 0)
    assert ask(daemon, token, "GET", "/runs")[1] == before


def test_a_run_is_looked_at_before_it_is_undone(daemon: Daemon, token: str) -> None:
    run = ask(daemon, token, "GET", "/runs")[1]["runs"][-1]["id"]
    outcome = done(daemon, token, "POST", "/undo", {"run": run, "dry_run": True})
    assert outcome["outcome"] is None
    assert outcome["changes_total"] >= len(PEOPLE.in_group("design"))


def test_r16_a_team_is_restricted_on_the_command_line_and_seen_over_http(
    acme: Installation, daemon: Daemon, token: str
) -> None:
    assert acme.rosterd("restrict", "Design").code == 2, "a reason is needed"
    restricted = acme.rosterd("restrict", "Design", "--reason", "unpaid", "--json")
    assert restricted.document["changed"] is True
    team = ask(daemon, token, "GET", "/teams")[1]["teams"][0]
    assert team["restricted"]["reason"] == "unpaid"
    assert team["restricted"]["actor"].startswith("operator:")
    assert "restricted (R16)" in acme.rosterd("plan").out
    assert ask(daemon, token, "DELETE", "/teams/Design/restriction?reason=paid")[1]["changed"] is True
    events = ask(daemon, token, "GET", f"/audit?subject={team['id']}")[1]["events"]
    assert [row["verb"] for row in events] == ["team.lifted", "team.restricted"]


def test_d9_a_person_is_relinked_on_the_command_line(acme: Installation) -> None:
    nobody = acme.rosterd("relink", "nobody@acme.example", "--to", "corp:x", "--reason", "x")
    assert nobody.code == 2
    assert acme.rosterd("relink", SYNCED.mail, "--to", "corp", "--reason", "x").code == 2
    taken = PEOPLE.in_group("design")[1].anchor
    refused = acme.rosterd("relink", SYNCED.mail, "--to", f"corp:{taken}", "--reason", "x", "--json")
    assert refused.code == 3
    assert "somebody else" in refused.document["error"]["what"]
    moved = acme.rosterd("relink", SYNCED.mail, "--to", "corp:9F1C-NEW", "--reason", "new directory", "--json")
    assert moved.document["what"].endswith("corp:9f1c-new")
    back = acme.rosterd("relink", SYNCED.mail, "--to", f"corp:{SYNCED.anchor}", "--reason", "a slip", "--json")
    assert (back.code, back.document["changed"]) == (0, True)
    assert acme.rosterd("apply", "--auto").code == 0


def test_e7_an_address_the_entry_does_not_show_is_refused_on_the_command_line(acme: Installation) -> None:
    refused = acme.rosterd("rename", SYNCED.mail, "--to", "other@acme.example", "--reason", "x", "--json")
    assert refused.code == 3
    assert f"it showed: {SYNCED.mail}" in refused.document["error"]["what"]


def test_an_invite_is_made_and_sent_again_on_the_command_line(acme: Installation, tmp_path: Path) -> None:
    assert acme.rosterd("invite", "add", "dan@elsewhere.example").code == 3
    assert acme.rosterd("invite", "add", "dan").code == 2
    made = acme.rosterd("invite", "add", "dan@acme.example", "--team", "Design", "--json")
    assert made.document["changed"] is True
    assert acme.rosterd("invite", "add", "dan@acme.example").code == 3
    again = acme.rosterd("invite", "resend", "dan@acme.example")
    assert "is invited again; it stands until" in again.out
    assert acme.rosterd("invite", "list", "--expired").out == "no invite is open\n"


def test_p3_teams_and_seats_are_given_and_taken_by_hand_on_the_command_line(acme: Installation) -> None:
    assert acme.rosterd("invite", "add", "ewa@acme.example").code == 0
    assert acme.rosterd("team", "join", "Nowhere", "ewa@acme.example").code == 2
    assert acme.rosterd("team", "join", "Design", "nobody@acme.example").code == 2
    joined = acme.rosterd("team", "join", "design", "ewa@acme.example", "--reason", "helps out", "--json")
    assert (joined.code, joined.document["changed"]) == (0, True)
    given = acme.rosterd("seat", "grant", "Design", "CAD", "ewa@acme.example")
    assert "has a seat of CAD in Team Design: invited" in given.out
    assert "helps out" in acme.rosterd("explain", "ewa@acme.example").out
    refused = acme.rosterd("seat", "release", "Design", "CAD", SYNCED.mail, "--reason", "x")
    assert refused.code == 3
    assert "mapping design" in refused.err
    assert acme.rosterd("team", "leave", "Design", SYNCED.mail, "--reason", "x").code == 3
    taken = acme.rosterd("seat", "release", "Design", "CAD", "ewa@acme.example", "--reason", "done", "--json")
    assert (taken.code, taken.document["changed"]) == (0, True)
    left = acme.rosterd("team", "leave", "Design", "ewa@acme.example", "--reason", "done", "--json")
    assert (left.code, left.document["changed"]) == (0, True)
    assert acme.rosterd("apply", "--auto").code == 0
