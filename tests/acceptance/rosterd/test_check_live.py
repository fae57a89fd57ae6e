"""``rosterd check --live`` on a real directory: entries by DN, people without mail, what a first plan would hold."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rosterd.demo import company
from tests.parts import slapd
from tests.parts.enabled import enable_sync
from tests.parts.installation import Answer, Installation

PEOPLE = company.found(40)
CANARY = f"uid=zz-canary,{company.PEOPLE_BASE}"
TABLES = f"""
[[directories]]
id = "corp"
kind = "ldap"
servers = ["SERVER"]
plaintext = true
bind_dn = "cn=root,{company.SUFFIX}"
bind_password = "file:../secrets/ldap"
people_base = "{company.PEOPLE_BASE}"
groups_base = "{company.GROUPS_BASE}"
sentinels = ["{CANARY}"]

[[mappings]]
id = "design"
directory = "corp"
group = "design"
team = "Design"
offerings = ["CAD"]

[limits]
day_floor = 2
day_percent = 0
"""
SOLD = """id,team,offering,quantity,tier,starts_on,ends_on
s1,Design,CAD,7,business,2020-01-01,2090-01-01
"""


@pytest.fixture(scope="module")
def server() -> Iterator[slapd.Slapd]:
    """The company, with a canary and seven rooms that have no mail address."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tests.parts.company.SUFFIX", company.SUFFIX)
        with slapd.running(PEOPLE.to_ldif(), schema=True) as started:
            for uid in ("zz-canary", *(f"room-{number}" for number in range(7))):
                started.modify(
                    f"dn: uid={uid},{company.PEOPLE_BASE}\nobjectClass: inetOrgPerson\n"
                    f"uid: {uid}\ncn: {uid}\nsn: {uid}\n",
                    tool="ldapadd",
                )
            yield started


@pytest.fixture
def acme(tmp_path: Path, server: slapd.Slapd) -> Installation:
    """An installation that reads it, before single sign-on was even begun."""
    made = Installation.make(tmp_path / "etc")
    made.append(TABLES.replace("SERVER", server.url))
    secret = made.folder / "secrets" / "ldap"
    secret.write_text(slapd.SLAPPASSWD_FREE, encoding="utf-8")
    secret.chmod(0o600)
    for name, text in {"offerings": "code,name\nCAD,Cad\n", "subscriptions": SOLD}.items():
        (made.folder / f"{name}.csv").write_text(text, encoding="utf-8")
        assert made.rosterd("import", name, str(made.folder / f"{name}.csv")).code == 0
    return made


def checks(answer: Answer, part: str) -> list[dict[str, object]]:
    return [line for line in answer.document["checks"] if part in line["what"]]


def test_entries_without_mail_are_a_note_by_dn_and_the_sentinel_is_called_one(acme: Installation) -> None:
    answer = acme.rosterd("check", "--live", "--json")
    assert answer.code == 0, answer.out
    [line] = checks(answer, "without a mail address")
    assert (line["ok"], line["note"]) == (True, True)
    rooms = "; ".join(f"uid=room-{number},{company.PEOPLE_BASE}" for number in range(5))
    assert line["what"] == (
        f"acme/corp: 8 entries without a mail address: {rooms} and 3 more; they get nothing, and nobody is removed"
        " because of it"
    )
    assert "`[directories.attributes]`" in str(line["fix"])


def test_the_canary_alone_fails_nothing(acme: Installation, server: slapd.Slapd) -> None:
    acme.edit("organizations/acme.toml", "sentinels =", 'people_filter = "(|(mail=*)(uid=zz-canary))"\nsentinels =')
    answer = acme.rosterd("check", "--live", "--json")
    assert answer.code == 0
    [line] = checks(answer, "without a mail address")
    assert f"1 entry without a mail address: {CANARY} (a sentinel); they" in str(line["what"])


def test_that_nobody_has_a_mail_address_is_a_failure(acme: Installation) -> None:
    acme.edit("organizations/acme.toml", "sentinels =", 'attributes = { mail = ["seeAlso"] }\nsentinels =')
    answer = acme.rosterd("check", "--live", "--json")
    assert answer.code == 4
    [line] = checks(answer, "nobody has a mail address")
    assert line["ok"] is False


def test_an_entry_that_cannot_be_mapped_is_named_by_its_dn(acme: Installation, server: slapd.Slapd) -> None:
    dn = f"uid=room-0,{company.PEOPLE_BASE}"
    server.modify(f"dn: {dn}\nchangetype: modify\nadd: mail\nmail: no-address\n")
    try:
        answer = acme.rosterd("check", "--live", "--json")
    finally:
        server.modify(f"dn: {dn}\nchangetype: modify\ndelete: mail\n")
    assert answer.code == 4
    [line] = checks(answer, "cannot be mapped")
    assert str(line["what"]).startswith(f"acme/corp: 1 entry cannot be mapped: {dn} (mail: mail is not usable: ")


def test_it_measures_what_a_first_plan_would_hold_and_reads_once(acme: Installation) -> None:
    before = acme.rosterd("report", "runs", "--json").document
    answer = acme.rosterd("check", "--live", "--json")
    [line] = checks(answer, "a first plan would ")
    assert str(line["what"]).startswith(
        "acme: a first plan would invite 12 people, assign 7 seats (5 short); hold the changes of 12 people: "
    )
    assert line["fix"] == (
        "rosterd sso status --organization acme (single sign-on comes first), then rosterd plan -o acme"
    )
    assert acme.rosterd("report", "runs", "--json").document == before
    assert acme.rosterd("plan", "-o", "acme").out.startswith("SUSPENDED "), "it opened no gate"


def test_after_sign_on_the_measured_plan_is_the_plan(acme: Installation) -> None:
    enable_sync(acme)
    [line] = checks(acme.rosterd("check", "--live", "--json"), "a first plan would ")
    assert line["fix"] == "rosterd plan -o acme"
    planned = acme.rosterd("plan", "-o", "acme", "--json")
    assert planned.code == 3
    applied = acme.rosterd("apply", "-o", "acme", "--digest", planned.document["digest"])
    assert applied.code == 0, applied.err
    [line] = checks(acme.rosterd("check", "--live", "--json"), " plan would ")
    assert line["what"] == "acme: a plan would change nothing"


def test_what_cannot_be_measured_is_a_note_with_its_reason(acme: Installation) -> None:
    acme.edit("organizations/acme.toml", 'sentinels = ["', 'sentinels = ["uid=gone,ou=People,dc=acme,dc=example", "')
    answer = acme.rosterd("check", "--live", "--json")
    assert answer.code == 4
    [failed] = [line for line in answer.document["checks"] if not line["ok"]]
    assert "the sentinel uid=gone" in failed["what"]
    [line] = checks(answer, "a first plan would ")
    assert f" (without people:{company.PEOPLE_BASE} of corp, " in str(line["what"])


def test_on_a_terminal_it_says_what_it_does(acme: Installation) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "rosterd.cli", "--config", str(acme.file), "check", "--live"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # the other end was closed
        pass
    assert process.stdout is not None
    with process.stdout:
        out = process.stdout.read()
    os.close(ours)
    assert process.wait(60) == 0
    assert b"acme: reading corp" in shown
    assert b"a first plan would" in out
