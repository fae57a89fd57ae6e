"""plan, apply, approve, undo and explain as commands: over good directories, and over every way one can be bad."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from ledger.store import people
from rosterd.clock import utc_now
from rosterd.demo import company
from rosterd.loading import load
from rosterd.service import Service
from tests.parts import slapd
from tests.parts.enabled import enable_sync
from tests.parts.fences import ALONE
from tests.parts.installation import Answer, Installation
from tests.parts.ports import free_port

PEOPLE = company.found(40)

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

[limits]
day_floor = 2
day_percent = 0
team_day_floor = 2
team_day_percent = 0
"""

LDAP = f"""
[[directories]]
id = "corp"
kind = "ldap"
servers = ["SERVER"]
plaintext = true
bind_dn = "cn=root,{company.SUFFIX}"
bind_password = "file:../secrets/ldap"
people_base = "{company.PEOPLE_BASE}"
groups_base = "{company.GROUPS_BASE}"
attempts = 1
connect_timeout = "2s"
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation with sync enabled, five CAD seats too few, and everybody of design in by an approved plan."""
    installation = Installation.make(tmp_path_factory.mktemp("prepared") / "etc")
    installation.append(TABLES)
    write_people(installation, PEOPLE)
    enable_sync(installation)
    for name, text in {
        "offerings": "code,name\nCAD,Cad\n",
        "subscriptions": "id,team,offering,quantity,tier,starts_on,ends_on\n"
        "s1,Design,CAD,7,business,2020-01-01,2090-01-01\n",
    }.items():
        (installation.folder / f"{name}.csv").write_text(text, encoding="utf-8")
        assert installation.rosterd("import", name, str(installation.folder / f"{name}.csv")).code == 0
    planned = installation.rosterd("plan", "--json")
    assert planned.code == 3  # twelve invites are more than two
    applied = installation.rosterd("apply", "--digest", planned.document["digest"], "--json")
    assert applied.code == 0, applied.err
    assert applied.document["counts"]["JoinTeam"] == 12
    return installation.folder


@pytest.fixture
def acme(prepared: Path, tmp_path: Path) -> Installation:
    """A copy of it."""
    shutil.copytree(prepared, tmp_path / "etc")
    return Installation(tmp_path / "etc")


def write_people(installation: Installation, people: company.Company) -> None:
    (installation.folder / "organizations" / "people.ldif").write_text(people.to_ldif(), encoding="utf-8")


def leavers(count: int) -> company.Company:
    return PEOPLE.without(*[person.uid for person in PEOPLE.in_group("design")][:count])


def confirmed(installation: Installation, *arguments: str) -> Answer:
    """The second of two complete readings (D3)."""
    assert installation.rosterd("apply", "--auto").code == 0
    return installation.rosterd("apply", "--auto", *arguments)


def test_planning_again_finds_nothing_and_exits_0(acme: Installation) -> None:
    answer = acme.rosterd("plan", "--json")
    assert (answer.code, answer.document["changes"]) == (0, [])


def test_a_digest_nobody_has_seen_is_refused_and_nothing_is_applied(acme: Installation) -> None:
    write_people(acme, leavers(1))
    answer = acme.rosterd("apply", "--digest", "0" * 64, "--json")
    assert answer.code == 3
    assert "next_step" in answer.document["error"]


def test_a_mass_removal_is_held_and_approved_by_digest(acme: Installation) -> None:
    write_people(acme, leavers(6))
    held = confirmed(acme, "--json")
    assert held.code == 3
    digest = held.document["held"]
    assert f"approve with `rosterd approve {digest[:12]}" in "\n".join(held.document["lines"])
    listed = acme.rosterd("report", "runs", "--json").document
    assert [item["digest"] for item in listed["held"]] == [digest]
    assert acme.rosterd("approve", digest).code == 2  # no reason given
    approved = acme.rosterd("approve", digest[:12], "--reason", "the site closes", "--json")
    assert approved.code == 0, approved.err
    assert approved.document["counts"]["PauseSeat"] >= 1
    assert acme.rosterd("approve", digest[:12], "--reason", "again").code == 3


def test_a_run_is_explained_and_undone(acme: Installation) -> None:
    gone = PEOPLE.in_group("design")[0]
    write_people(acme, leavers(1))
    left = confirmed(acme, "--json")
    assert left.code == 0, left.err
    why = acme.rosterd("explain", gone.mail)
    assert why.code == 0
    assert "is absent" in why.out
    looked = acme.rosterd("undo", left.document["run_id"], "--dry-run")
    assert looked.code == 0
    assert acme.rosterd("undo", left.document["run_id"]).code == 2  # no reason given
    undone = acme.rosterd("undo", left.document["run_id"], "--reason", "she is back", "--json")
    assert undone.code == 0, undone.err
    assert "is active" in acme.rosterd("explain", gone.mail).out


@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_the_first_line_on_a_truncated_ldif_says_what_is_unknown(acme: Installation, verb: str) -> None:
    people = acme.folder / "organizations" / "people.ldif"
    people.write_text(people.read_text(encoding="utf-8")[:-400], encoding="utf-8")
    answer = acme.rosterd(verb, *(["--auto"] if verb == "apply" else []))
    assert answer.code == 4
    first = answer.out.splitlines()[0]
    assert first.startswith("UNKNOWN ")
    assert first.endswith("Nobody leaves for absence because of it.")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # ldap3 forgets a refused socket
def test_an_unreachable_ldap_server_is_unknown_and_nobody_is_removed(acme: Installation) -> None:
    use_ldap(acme, f"ldap://127.0.0.1:{free_port()}")
    answer = acme.rosterd("apply", "--auto", "--json")
    assert answer.code == 4
    assert answer.document["counts"] == {}
    assert any(not scope["complete"] and "127.0.0.1" in scope["reason"] for scope in answer.document["scopes"])


def test_a_wrong_bind_password_is_unknown_and_says_so(acme: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.parts.company.SUFFIX", company.SUFFIX)
    with slapd.running(PEOPLE.to_ldif()) as server:
        use_ldap(acme, server.url)
        answer = acme.rosterd("plan")
        assert answer.code == 4
        assert answer.out.startswith("UNKNOWN ")
        assert "assword" in answer.out or "redential" in answer.out
        checked = acme.rosterd("check", "--live", "--json")
        assert checked.code == 4
        failed = [line for line in checked.document["checks"] if not line["ok"]]
        assert failed[0]["what"].startswith("acme/corp")
        assert failed[0]["fix"]


def test_a_missing_password_reference_is_a_configuration_error(acme: Installation) -> None:
    use_ldap(acme, f"ldap://127.0.0.1:{free_port()}")
    (acme.folder / "secrets" / "ldap").unlink()
    answer = acme.rosterd("plan")
    assert answer.code in {2, 4}
    assert "secrets/ldap" in answer.out + answer.err


def test_an_approval_over_http_is_done_by_a_worker(acme: Installation) -> None:
    from tests.acceptance.rosterd.test_daemon import ask

    write_people(acme, leavers(6))
    digest = confirmed(acme, "--json").document["held"]
    acme.edit(
        "rosterd.toml",
        "[database]",
        '[schedule]\nreconcile_every = "0"\npublish_every = "0"\nevidence_every = "0"\n\n[database]',
    )
    token = acme.rosterd("token", "create", "ada", "--role", "secondary_admin", "--scope", "runs:approve", "--json")
    with acme.serving("--only", "connector") as daemon:
        status, document, _ = ask(daemon, "/admin/v1/held", token.document["token"])
        assert (status, [item["digest"] for item in document["held"]]) == (200, [digest])
        body = {"digest": digest[:16], "reason": "the site closes"}
        status, document, headers = ask(daemon, "/admin/v1/approvals", token.document["token"], body)
        assert (status, headers["Location"]) == (202, document["href"])
        daemon.wait_for("kind=approve organization=acme outcome")
        status, job, _ = ask(daemon, document["href"], token.document["token"])
        assert (status, job["state"], job["outcome"]["state"]) == (200, "done", "applied")
    runs = json.loads(acme.rosterd("report", "runs", "--json").out)["runs"]
    assert runs[0]["actor"].startswith("token:")


def test_usage_is_taken_in_published_and_reported_by_team(acme: Installation) -> None:
    person = PEOPLE.in_group("design")[0].mail
    today = utc_now().date()
    event = {"event_id": "1", "occurred_at": f"{today}T00:00:00Z", "mail": person, "offering_code": "CAD"}
    (acme.folder / "usage.ndjson").write_text(json.dumps(event) + "\n", encoding="utf-8")
    permit = ("--kind", "notice", "--purpose", "report", "--category", "employees", "--evidence", "page 7")
    assert acme.rosterd("usage", "basis", *permit, "--effective-on", "2026-01-01").code == 0
    assert acme.rosterd("report", "usage").code == 2  # nothing was published yet
    assert acme.rosterd("import", "usage", str(acme.folder / "usage.ndjson")).code == 0
    published = acme.rosterd("publish", "--json")
    assert published.document["rows"]["usage_daily"] == 1
    found = acme.rosterd("report", "usage", "--json").document
    assert found["publication"] == published.document["publication"]
    assert found["teams"] == [{"team": "Design", "people": None, "days_used": 1, "suppressed": True}]
    assert "fewer than 5" in acme.rosterd("report", "usage").out
    backwards = acme.rosterd("report", "usage", "--from", "2026-03-02", "--to", "2026-03-02")
    assert (backwards.code, "--to 2026-03-03 counts that one day" in backwards.err) == (2, True)


def test_p3_what_was_given_by_hand_is_adopted_by_digest_and_undone(acme: Installation) -> None:
    inside, outside = PEOPLE.in_group("design")[0], PEOPLE.in_group("design")[1]
    give_by_hand(acme, inside.mail, outside.mail)
    gone = PEOPLE.changed(outside.uid)
    members = tuple(uid for uid in gone.groups["design"] if uid != outside.uid)
    write_people(acme, company.Company(gone.people, {**gone.groups, "design": members}))
    shown = acme.rosterd("adopt", "design", "--json")
    assert (shown.code, shown.document["counts"]) == (0, {"AdoptGrant": 1})
    assert [item["subjects"] for item in shown.document["problems"]] == [[outside.mail]]
    looked = acme.rosterd("adopt", "design", "--dry-run")
    assert "nobody gains or loses access" in looked.out
    assert looked.out.splitlines()[-1] == f"apply with `rosterd adopt design --digest {shown.document['digest'][:12]}`"
    assert acme.rosterd("adopt", "design", "--dry-run", "--digest", "x").code == 2
    assert acme.rosterd("adopt", "desing").code == 2
    assert acme.rosterd("adopt", "design", "--digest", "0" * 64).code == 3
    done = acme.rosterd("adopt", "design", "--digest", shown.document["digest"], "--reason", "brownfield", "--json")
    assert (done.code, done.document["counts"]) == (0, {"AdoptGrant": 1}), done.err
    assert "by hand" not in acme.rosterd("explain", inside.mail).out.partition("before:")[0]
    assert acme.rosterd("adopt", "design").out.startswith("nothing to adopt")
    undone = acme.rosterd("undo", done.document["run_id"], "--reason", "too early", "--json").document
    assert [(item["kind"], item["subject"]) for item in undone["changes"]] == [("AdoptGrant", inside.mail)]
    assert acme.rosterd("adopt", "design", "--json").document["digest"] == shown.document["digest"]


def test_p3_a_truncated_export_adopts_nobody(acme: Installation) -> None:
    give_by_hand(acme, PEOPLE.in_group("design")[0].mail)
    people = acme.folder / "organizations" / "people.ldif"
    people.write_text(people.read_text(encoding="utf-8")[:-400], encoding="utf-8")
    shown = acme.rosterd("adopt", "design")
    assert shown.code == 4
    assert shown.out.startswith("UNKNOWN ")
    assert acme.rosterd("adopt", "design", "--digest", "0" * 64).code == 4


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # ldap3 forgets a refused socket
def test_p6_explain_shows_the_entry_and_says_when_it_could_not_ask(acme: Installation) -> None:
    person, stranger = PEOPLE.in_group("design")[0], PEOPLE.in_group("visual")[0]
    why = acme.rosterd("explain", person.mail)
    assert why.code == 0
    assert f"entry {person.dn} (anchor {person.anchor}), linked since" in why.out
    assert "in design → mapping design → Team Design" in why.out
    never = acme.rosterd("explain", stranger.mail)
    assert never.code == 0
    assert "is not in the ledger" in never.out
    assert "never invited: not in any mapped group" in never.out
    assert acme.rosterd("explain", "nobody@acme.example").code == 2
    use_ldap(acme, f"ldap://127.0.0.1:{free_port()}")
    deaf = acme.rosterd("explain", person.mail, "--json")
    assert deaf.code == 4
    assert deaf.document["teams"]
    assert deaf.document["source"][0]["asked"] is False
    assert deaf.document["source"][0]["fix"] == "check the address, the firewall, and that the server runs"
    assert acme.rosterd("explain", person.mail, "--offline").code == 0


def test_the_audit_is_verified(acme: Installation) -> None:
    answer = acme.rosterd("check", "--audit")
    assert answer.code == 0, answer.out
    assert "acme: audit: " in answer.out
    assert "acme: history: every interval runs forward" in answer.out


def use_ldap(installation: Installation, server: str) -> None:
    """Read the same people from a server, with a password that it does not know."""
    table = TABLES[: TABLES.index("[[mappings]]")]
    installation.edit("organizations/acme.toml", table, LDAP.replace("SERVER", server) + "\n")
    (installation.folder / "secrets" / "ldap").write_text("wrong\n", encoding="utf-8")


def give_by_hand(installation: Installation, *mails: str) -> None:
    """A manual membership of Design for each, beside what the mapping gave."""

    async def give() -> None:
        async with (
            Service.opened(load(installation.file, {})) as service,
            service.ledger.write("acme", ALONE, at=service.clock()) as book,
        ):
            team = next(row[0] for row in await people.open_teams(book) if row[1] == "Design")
            for mail in mails:
                who = (await people.identities_by_mail(book, mail))[0][1]
                await people.begin_memberships(book, [(who, team, "manual", "", "by hand")])

    asyncio.run(give())
