"""What waits for approval, by command and over HTTP: plans, report held, freezes, a second approver (G2, G3)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from rosterd.demo import company
from tests.acceptance.rosterd.test_commands_on_directories import TABLES
from tests.acceptance.rosterd.test_daemon import ask
from tests.parts.enabled import enable_sync
from tests.parts.installation import Installation

PEOPLE = company.found(90)
DESIGN = PEOPLE.in_group("design")
QUIET = '[schedule]\nreconcile_every = "0"\npublish_every = "0"\nevidence_every = "0"\n\n[database]'


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everybody of design is in; then all but three vanish, and the held set is kept."""
    installation = Installation.make(tmp_path_factory.mktemp("prepared") / "etc")
    installation.append(TABLES)
    write_people(installation, PEOPLE)
    enable_sync(installation)
    for name, text in {
        "offerings": "code,name\nCAD,Cad\n",
        "subscriptions": "id,team,offering,quantity,tier,starts_on,ends_on\n"
        "s1,Design,CAD,90,business,2020-01-01,2090-01-01\n",
    }.items():
        (installation.folder / f"{name}.csv").write_text(text, encoding="utf-8")
        assert installation.rosterd("import", name, str(installation.folder / f"{name}.csv")).code == 0
    digest = installation.rosterd("plan", "--json").document["digest"]
    assert installation.rosterd("apply", "--digest", digest).code == 0
    write_people(installation, PEOPLE.without(*[person.uid for person in DESIGN[3:]]))
    assert installation.rosterd("apply", "--auto").code == 0
    return installation.folder


@pytest.fixture
def acme(prepared: Path, tmp_path: Path) -> Installation:
    """A copy of it."""
    shutil.copytree(prepared, tmp_path / "etc")
    return Installation(tmp_path / "etc")


def write_people(installation: Installation, people: company.Company) -> None:
    (installation.folder / "organizations" / "people.ldif").write_text(people.to_ldif(), encoding="utf-8")


def limit(installation: Installation, text: str) -> None:
    """More keys for [limits], the last table of the file."""
    installation.append(text)


def test_p1_a_held_plan_says_first_what_why_and_what_next(acme: Installation) -> None:
    gone = len(DESIGN) - 3
    answer = acme.rosterd("plan")
    assert answer.code == 3
    lines = answer.out.splitlines()
    assert lines[0].endswith(f": {gone} people lose something")
    assert lines[1].startswith(f"HELD: the changes of {gone} people wait until they are approved")
    assert any("disable and pause of" in line for line in lines[2:8])
    assert any(line.startswith("next: if this is meant, apply all of it") for line in lines)
    assert [line.split() for line in lines if line.lstrip().startswith("Design")] == [
        ["Design", "PauseSeat", "CAD", str(gone), str(gone)]
    ]
    assert sum("@acme.example:" in line for line in lines) == 20
    assert f"… and {gone - 20} people more: `rosterd plan --all` lists everybody" in answer.out
    everybody = acme.rosterd("plan", "--all")
    assert sum("@acme.example:" in line for line in everybody.out.splitlines()) == gone
    document = acme.rosterd("plan", "--markdown").out
    assert f"| Design | PauseSeat CAD | {gone} | {gone} |" in document
    assert document.count("| PauseSeat |") == gone


def test_g2_report_held_says_what_waits_how_long_and_who(acme: Installation) -> None:
    assert acme.rosterd("report", "held").out == "nothing is held\n"
    digest = acme.rosterd("apply", "--auto", "--json").document["held"]
    listed = acme.rosterd("report", "held")
    assert listed.code == 0
    assert f"held set {digest[:12]} (open): {len(DESIGN) - 3} people" in listed.out
    assert "expires in 3 days (" in listed.out
    assert f"if it is meant: rosterd approve {digest[:12]}" in listed.out
    assert "expires in 3 days (" in acme.rosterd("report", "runs").out
    one = acme.rosterd("report", "held", digest[:12])
    assert one.out.count("PauseSeat  ") == len(DESIGN) - 3
    document = acme.rosterd("report", "held", digest[:12], "--json").document
    assert len(document["what"]) == 2 * (len(DESIGN) - 3)
    assert "it expires in 3 days (" in acme.rosterd("plan").out, "the plan knows that it was kept"
    assert acme.rosterd("report", "held", "0123456789").code == 2


def test_g3_a_freeze_is_said_and_only_the_word_goes_through(acme: Installation) -> None:
    limit(
        acme,
        '[[limits.freeze]]\nfrom = 2020-01-01T00:00:00Z\nuntil = 2090-01-01T00:00:00Z\nreason = "stock-taking"\n',
    )
    held = acme.rosterd("apply", "--auto", "--json")
    digest = held.document["held"]
    assert held.document["lines"][1].startswith("held: no harm is applied before 2090-01-01T00:00:00Z: stock-taking")
    refused = acme.rosterd("approve", digest, "--reason", "the site closes")
    assert refused.code == 3
    assert f"rosterd approve {digest[:12]} --despite-freeze" in refused.err
    assert "--despite-freeze" in acme.rosterd("report", "held").out
    done = acme.rosterd("approve", digest, "--reason", "the site closes", "--despite-freeze", "--json")
    assert (done.code, done.document["counts"]["PauseSeat"]) == (0, len(DESIGN) - 3)


def test_g3_a_freeze_that_names_no_zone_is_a_configuration_error(acme: Installation) -> None:
    limit(acme, '[[limits.freeze]]\nfrom = 2026-12-24T00:00:00\nuntil = 2027-01-02T00:00:00Z\nreason = "x"\n')
    answer = acme.rosterd("plan")
    assert answer.code == 2
    assert "limits.freeze" in answer.err
    assert "names no zone: write an instant such as 2026-12-24T00:00:00Z" in answer.err


def test_g3_a_second_principal_over_http_completes_what_the_command_line_began(acme: Installation) -> None:
    limit(acme, "approvers = 2\n")
    digest = acme.rosterd("apply", "--auto", "--json").document["held"]
    first = acme.rosterd("approve", digest, "--reason", "the site closes")
    assert first.code == 3
    assert "one more approval by another principal is needed" in first.out
    again = acme.rosterd("approve", digest, "--reason", "really")
    assert again.code == 3
    assert "one more approval by another principal is needed" in again.err
    assert "needs 1 more approval" in acme.rosterd("report", "held").out
    acme.edit("rosterd.toml", "[database]", QUIET)
    token = acme.rosterd("token", "create", "ada", "--role", "secondary_admin", "--scope", "runs:approve", "--json")
    with acme.serving("--only", "connector") as daemon:
        _, document, _ = ask(daemon, "/admin/v1/held", token.document["token"])
        assert [item["by"].partition(":")[0] for item in document["held"][0]["approvals"]] == ["operator"]
        job = asked(daemon, token.document["token"], {"digest": digest, "reason": "I have seen it too"})
        assert (job["outcome"]["state"], job["outcome"]["counts"]["PauseSeat"]) == ("applied", len(DESIGN) - 3)


def test_g3_the_first_approval_over_http_says_that_another_one_is_needed(acme: Installation) -> None:
    limit(acme, "approvers = 2\n")
    digest = acme.rosterd("apply", "--auto", "--json").document["held"]
    acme.edit("rosterd.toml", "[database]", QUIET)
    token = acme.rosterd("token", "create", "ada", "--role", "secondary_admin", "--scope", "runs:approve", "--json")
    with acme.serving("--only", "connector") as daemon:
        job = asked(daemon, token.document["token"], {"digest": digest, "reason": "meant"})
        assert job["outcome"]["state"] == "held"
        assert "one more approval by another principal is needed" in job["outcome"]["lines"][0]
        bad = {"digest": digest, "reason": "meant", "despite_freeze": "yes"}
        assert ask(daemon, "/admin/v1/approvals", token.document["token"], bad)[0] == 400
    second = acme.rosterd("approve", digest, "--reason", "meant", "--json")
    assert second.document["state"] == "applied"


def asked(daemon: Any, token: str, body: dict[str, Any]) -> dict[str, Any]:
    """Ask for an approval and wait until its job is done."""
    status, document, _ = ask(daemon, "/admin/v1/approvals", token, body)
    assert status == 202, document
    daemon.wait_for("kind=approve organization=acme outcome")
    found: dict[str, Any] = ask(daemon, document["href"], token)[1]
    assert found["state"] == "done", found
    return found
