"""The command line: one JSON document with --json, honest exit codes, every bad input a clear error."""

from __future__ import annotations

import json
import re
import shlex
import stat
from pathlib import Path

import pytest

from tests.parts.installation import Installation, run
from tests.parts.ports import free_port


@pytest.fixture(autouse=True)
def _no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def acme(tmp_path: Path) -> Installation:
    return Installation.make(tmp_path / "etc")


def test_init_writes_a_configuration_that_checks_and_keys_nobody_else_reads(tmp_path: Path) -> None:
    answer = run("init", str(tmp_path / "new"), "--json")
    assert answer.code == 0
    assert "secrets/pepper" in answer.document["written"]
    for name in (tmp_path / "new" / "secrets").iterdir():
        expected = 0o644 if "certificate" in name.name else 0o600
        assert stat.S_IMODE(name.stat().st_mode) == expected, name
    assert run("--config", str(tmp_path / "new" / "rosterd.toml"), "check").code == 0


def test_init_overwrites_nothing(acme: Installation) -> None:
    before = acme.file.read_text(encoding="utf-8")
    answer = run("init", str(acme.folder))
    assert answer.code == 0
    assert f"acme is there already: {acme.organization}; nothing is missing" in answer.out
    assert acme.file.read_text(encoding="utf-8") == before
    acme.file.unlink()
    answer = run("init", str(acme.folder))
    assert answer.code == 2
    assert f"there is a configuration already: {acme.organization}" in answer.err
    assert not acme.file.exists()


def test_without_a_configuration_the_next_step_is_named(tmp_path: Path) -> None:
    answer = run("--config", str(tmp_path / "rosterd.toml"), "plan")
    assert answer.code == 2
    assert "→ rosterd init" in answer.err
    assert answer.out == ""


def test_broken_toml_names_file_and_line(acme: Installation) -> None:
    acme.append("[[mappings\n")
    answer = acme.rosterd("check")
    assert answer.code == 2
    assert f"acme.toml:{len(acme.organization.read_text().splitlines())}: broken TOML" in answer.err
    assert "(at line" in answer.err


def test_an_unknown_key_is_refused_with_a_suggestion_also_as_json(acme: Installation) -> None:
    acme.append("[limits]\nday_percnt = 5\n")
    answer = acme.rosterd("check", "--json")
    assert answer.code == 2
    error = answer.document["error"]
    assert error["what"] == "unknown key 'day_percnt': did you mean 'day_percent'?"
    assert error["where"].endswith("limits.day_percnt")
    assert answer.document["exit_code"] == 2


def test_an_unknown_offering_in_a_mapping_is_named(acme: Installation, tmp_path: Path) -> None:
    (acme.folder / "organizations" / "people.ldif").write_text("version: 1\n", encoding="utf-8")
    acme.append(LDIF_DIRECTORY)
    offerings = tmp_path / "offerings.csv"
    offerings.write_text("code,name\nCAD,Cad\n", encoding="utf-8")
    assert acme.rosterd("import", "offerings", str(offerings)).code == 0
    assert "every offering of its mappings is known" in acme.rosterd("check", "--live").out
    acme.edit("organizations/acme.toml", 'offerings = ["CAD"]', 'offerings = ["CAT"]')
    answer = acme.rosterd("check", "--live")
    assert answer.code == 2
    assert "unknown offering 'CAT': did you mean 'CAD'?" in answer.out


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # ldap3 forgets a refused socket
def test_an_unreachable_ldap_server_fails_the_live_check_with_its_fix(acme: Installation) -> None:
    acme.append(LDAP_DIRECTORY.replace("PORT", str(free_port())))
    password = acme.folder / "secrets" / "ldap"
    password.write_text("wrong\n", encoding="utf-8")
    answer = acme.rosterd("check", "--live")
    assert answer.code == 4
    failed = [line for line in answer.out.splitlines() if line.startswith("FAIL")]
    assert len(failed) == 1
    assert failed[0].startswith("FAIL  acme/corp: ")
    assert "→" in answer.out


def test_a_truncated_ldif_fails_the_live_check(acme: Installation) -> None:
    text = "version: 1\n\ndn: uid=a,dc=x\nobjectClass: person\nuid: a\nmail:: YWJ"
    (acme.folder / "organizations" / "people.ldif").write_text(text, encoding="utf-8")
    acme.append(LDIF_DIRECTORY.replace('["CAD"]', "[]"))
    answer = acme.rosterd("check", "--live", "--json")
    assert answer.code == 4
    failed = [line for line in answer.document["checks"] if not line["ok"]]
    assert failed
    assert all(line["what"].startswith("acme/corp") for line in failed)


def test_malformed_rows_are_all_named_and_nothing_is_imported(acme: Installation, tmp_path: Path) -> None:
    file = tmp_path / "subscriptions.csv"
    file.write_text(
        "id,team,offering,quantity,starts_on,ends_on\n"
        "s1,Desing,CAD,ten,2026-01-01,2027-01-01\n"
        "s2,Design,CAD,5,2026-01-01,2025-01-01\n"
        "s3,Design,CAD\n",
        encoding="utf-8",
    )
    answer = acme.rosterd("import", "subscriptions", str(file))
    assert answer.code == 2
    assert "subscriptions.csv:4: this row has fewer values" in answer.err
    file.write_text(file.read_text(encoding="utf-8").rsplit("s3", 1)[0], encoding="utf-8")
    answer = acme.rosterd("import", "subscriptions", str(file), "--json")
    assert answer.code == 2
    where = [fault["where"] for fault in answer.document["error"]["faults"]]
    assert where == ["subscriptions.csv:2: quantity", "subscriptions.csv:3: ends_on"]
    file.write_text("id,team,offering,quantity,starts_on,ends_on\ns1,Desing,CAD,5,2026-01-01,2027-01-01\n", "utf-8")
    answer = acme.rosterd("import", "subscriptions", str(file))
    assert "unknown Team 'Desing': did you mean 'Design'?" in answer.err
    assert "unknown offering 'CAD'" in answer.err


def test_offerings_and_subscriptions_are_imported_once(acme: Installation, tmp_path: Path) -> None:
    offerings, subscriptions = tmp_path / "offerings.ndjson", tmp_path / "subscriptions.csv"
    offerings.write_text('{"code": "CAD", "name": "Cad", "kind": "single_user", "eligible": true}\n', encoding="utf-8")
    subscriptions.write_text(
        "id,team,offering,quantity,tier,starts_on,ends_on,contract_number\n"
        "s1,design,CAD,5,business,2026-01-01,2027-01-01,C-1\n",
        encoding="utf-8",
    )
    for changed in (1, 0):
        for what, file in (("offerings", offerings), ("subscriptions", subscriptions)):
            answer = acme.rosterd("import", what, str(file), "--json")
            assert answer.document == {"what": what, "rows": 1, "changed": changed}, answer.err


def test_malformed_usage_rows_are_quarantined_and_said(acme: Installation, tmp_path: Path) -> None:
    file = tmp_path / "usage.ndjson"
    file.write_text('{"event_id": "1"}\nnot json\n', encoding="utf-8")
    refused = acme.rosterd("import", "usage", str(file))
    assert refused.code == 3
    assert "rosterd usage basis" in refused.out
    recorded = acme.rosterd("usage", "basis", "--kind", "notice", "--purpose", "report", "--category", "employees",
                            "--evidence", "intranet page 7", "--effective-on", "2026-01-01")  # fmt: skip
    assert recorded.code == 0, recorded.err
    answer = acme.rosterd("import", "usage", str(file))
    assert answer.code == 2
    assert "2 quarantined" in answer.out
    assert "line 2" in answer.out


def test_what_was_set_aside_is_summed_listed_replayed_and_dropped(acme: Installation, tmp_path: Path) -> None:
    file = tmp_path / "many rows.csv"
    head = "event_id;occurred_at;mail;offering_code;source;tokens\n"
    lines = (f"m{n};2026-11-29T10:00:00Z;nobody{n}@acme.example;CAD;flex;1,500\n" for n in range(30))
    file.write_text(head + "".join(lines), encoding="utf-16")
    acme.rosterd("usage", "basis", "--kind", "notice", "--purpose", "report", "--category", "employees",
                 "--evidence", "intranet page 7", "--effective-on", "2026-01-01")  # fmt: skip
    refused = acme.rosterd("import", "usage", str(file), "--encoding", "cp1250")
    assert refused.code == 2
    assert "looks like UTF-16" in refused.err
    command = shlex.split(refused.err.rpartition("→ rosterd ")[2])
    assert command[-4:] == ["--encoding", "utf-16", "--separator", "semicolon"]
    taken = acme.rosterd(*command)
    assert taken.code == 2
    assert "0 accepted, 0 known already, 0 in conflict, 30 quarantined, 0 dropped" in taken.out
    assert "set aside 30: tokens is not a number" in taken.out
    assert taken.out.count("    line ") == 20
    listed = acme.rosterd("usage", "quarantine", "list", "--cause", "tokens", "--limit", "3")
    assert "30 rows in quarantine" in listed.out
    assert "rosterd usage quarantine list --limit 30" in listed.out
    assert len(acme.rosterd("usage", "quarantine", "list", "--source", "file:many rows.csv", "--json").document[
        "quarantined_rows"]) == 30  # fmt: skip
    again = acme.rosterd("usage", "quarantine", "replay", "--cause", "tokens", "--json")
    assert (again.code, again.document["rows"], again.document["quarantined"]) == (0, 30, 30)
    assert acme.rosterd("usage", "quarantine", "drop", "--reason", "test").code == 2
    dropped = acme.rosterd("usage", "quarantine", "drop", "--reason", "a test", "--source", "file:many rows.csv")
    assert (dropped.code, dropped.out) == (0, "30 rows dropped\n")


def test_a_token_is_made_listed_and_revoked(acme: Installation) -> None:
    made = acme.rosterd("token", "create", "Power BI", "--team", "design", "--json")
    assert made.code == 0, made.err
    assert made.document["token"].startswith("rpt_")
    listed = acme.rosterd("token", "list")
    assert "Power BI" in listed.out
    assert made.document["token"] not in listed.out
    assert acme.rosterd("token", "revoke", made.document["id"]).code == 0
    assert "revoked" in acme.rosterd("token", "list").out
    assert acme.rosterd("token", "revoke", made.document["id"]).code == 2


def test_a_token_for_an_unknown_team_is_refused(acme: Installation) -> None:
    answer = acme.rosterd("token", "create", "x", "--team", "Desing")
    assert answer.code == 2
    assert "unknown Team 'Desing': did you mean 'Design'?" in answer.err


def test_plan_is_suspended_without_single_sign_on_and_says_so_r5(acme: Installation) -> None:
    answer = acme.rosterd("plan", "--json")
    assert answer.code == 3
    assert answer.document["suspended"]
    assert answer.document["changes"] == []


def test_apply_wants_a_digest_or_auto(acme: Installation) -> None:
    assert acme.rosterd("apply").code == 2
    assert acme.rosterd("apply", "--auto", "--digest", "ab").code == 2


def test_unknown_people_runs_and_held_sets_are_said(acme: Installation) -> None:
    assert "rosterd" in acme.rosterd("explain", "nobody@acme.example").err
    assert acme.rosterd("explain", "nobody@acme.example").code == 2
    assert acme.rosterd("undo", "nothing", "--dry-run").code == 2
    assert acme.rosterd("approve", "0123456789", "--reason", "x").code == 2


def test_an_unknown_organization_names_the_known_ones(acme: Installation) -> None:
    answer = acme.rosterd("plan", "-o", "acne")
    assert answer.code == 2
    assert "known: acme" in answer.err


def test_a_missing_secret_fails_the_check_with_its_fix(acme: Installation) -> None:
    (acme.folder / "secrets" / "pepper").unlink()
    answer = acme.rosterd("check")
    assert answer.code == 2
    assert re.search(r"rosterd\.toml:\d+: secrets\.pepper: secret file:", answer.out)
    assert acme.rosterd("token", "create", "x").code == 2


def test_an_unexpected_error_is_one_line_and_a_trace_only_under_debug(
    acme: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> None:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr("rosterd.loading.load", broken)
    answer = acme.rosterd("check", "--json")
    assert answer.code == 1
    assert answer.err.count("\n") == 2
    assert json.loads(answer.out)["exit_code"] == 1
    assert "Traceback" in acme.rosterd("--debug", "check").err


def test_usage_errors_exit_with_2() -> None:
    assert run("no-such-verb").code == 2
    assert run("token", "create").code == 2


LDIF_DIRECTORY = """
[[directories]]
id = "corp"
kind = "ldif"
file = "people.ldif"

[[mappings]]
id = "design"
directory = "corp"
group = "design"
team = "Design"
offerings = ["CAD"]
"""

LDAP_DIRECTORY = """
[[directories]]
id = "corp"
kind = "ldap"
servers = ["ldap://127.0.0.1:PORT"]
plaintext = true
bind_dn = "cn=reader,dc=acme,dc=example"
bind_password = "file:../secrets/ldap"
people_base = "ou=People,dc=acme,dc=example"
attempts = 1
connect_timeout = "2s"
"""
