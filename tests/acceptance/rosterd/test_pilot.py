"""A pilot by commands, at a directory server: one group first, then the rest (docs/operations.md, decision 0033)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rosterd.demo import company
from tests.acceptance.rosterd.test_first_configuration import pasted
from tests.parts import slapd
from tests.parts.enabled import enable_sync
from tests.parts.installation import Answer, Installation

PEOPLE = company.found(60)
DESIGN = {person.mail for person in PEOPLE.in_group("design")}
SITE = {person.mail for person in PEOPLE.in_group("site")} - DESIGN
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

[directories.disabled]
attribute = "employeeType"
values = ["gone"]

[[teams]]
name = "Site"

[[mappings]]
id = "design"
directory = "corp"
group = "{company.group_dn("design")}"
team = "Design"
offerings = ["CAD"]

[[mappings]]
id = "site"
directory = "corp"
group = "{company.group_dn("site")}"
team = "Site"
offerings = ["CAD"]
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[slapd.Slapd]:
    monkeypatch.setattr("tests.parts.company.SUFFIX", company.SUFFIX)
    with slapd.running(PEOPLE.to_ldif(), schema=True) as running:
        yield running


@pytest.fixture
def acme(server: slapd.Slapd, tmp_path: Path) -> Installation:
    """An installation that has never applied anything, with fifty seats for each Team."""
    made = Installation.make(tmp_path / "etc")
    made.append(TABLES.replace("SERVER", server.url))
    (made.folder / "secrets" / "ldap").write_text(slapd.SLAPPASSWD_FREE + "\n", encoding="utf-8")
    enable_sync(made)
    for name, text in {
        "offerings": "code,name\nCAD,Cad\n",
        "subscriptions": "id,team,offering,quantity,tier,starts_on,ends_on\n"
        "s1,Design,CAD,50,business,2020-01-01,2090-01-01\ns2,Site,CAD,50,business,2020-01-01,2090-01-01\n",
    }.items():
        (made.folder / f"{name}.csv").write_text(text, encoding="utf-8")
        assert made.rosterd("import", name, str(made.folder / f"{name}.csv")).code == 0
    return made


def mails(acme: Installation) -> set[str]:
    return {row["mail"] for row in acme.rosterd("people", "--json").document["people"]}


def printed(answer: Answer) -> str:
    """The command that it says applies it."""
    found = re.search(r"`(rosterd [^`]*apply [^`]*)`", answer.out)
    assert found, answer.out
    return found[1]


def test_one_group_first_and_then_everybody(acme: Installation) -> None:
    whole = acme.rosterd("plan", "--json").document
    shown = acme.rosterd("plan", "--only", company.group_dn("design").upper())
    assert shown.code == 0, shown.out
    assert shown.out.count("@acme.example:") == len(DESIGN)
    done = pasted(printed(shown), acme.folder)
    assert done.code == 0, done.err
    assert f"the changes of {len(SITE)} people outside this part are left" in done.out
    assert mails(acme) == DESIGN
    assert acme.rosterd("apply", "--digest", whole["digest"]).code == 3, "the whole is another plan now"
    rest = acme.rosterd("plan")
    assert rest.out.count("is invited") >= 1
    assert pasted(printed(rest), acme.folder).code == 0
    assert mails(acme) == DESIGN | SITE
    assert acme.rosterd("plan").out.startswith("nothing to change")


def test_three_people_first_by_their_addresses(acme: Installation) -> None:
    three = sorted(DESIGN)[:2] + sorted(SITE)[:1]
    options = [word for mail in three for word in ("--only", mail)]
    digest = acme.rosterd("plan", *options, "--json").document["digest"]
    assert acme.rosterd("apply", "--digest", digest).code == 3, "a part is applied by its name and its digest"
    assert acme.rosterd("apply", "--auto", *options).code == 2
    assert acme.rosterd("apply", "--only", three[0], "--digest", digest).code == 3
    done = acme.rosterd("apply", *options, "--digest", digest[:12], "--json")
    assert (done.code, done.document["digest"], done.document["counts"]["Invite"]) == (0, digest, 3)
    assert mails(acme) == set(three)


def test_a_big_removal_does_not_go_by_small_parts(acme: Installation, server: slapd.Slapd) -> None:
    assert pasted(printed(acme.rosterd("plan")), acme.folder).code == 0
    gone = PEOPLE.in_group("design")
    for person in gone:
        server.modify(f"dn: {person.dn}\nchangetype: modify\nreplace: employeeType\nemployeeType: gone\n")
    for person in gone[:4]:
        shown = acme.rosterd("plan", "--only", person.mail)
        assert shown.code == 3
        done = pasted(printed(shown), acme.folder)
        assert done.code == 3
        assert "0 removals applied, 1 held; approve with `rosterd " in done.out
    assert mails(acme) == DESIGN | SITE
    assert "active" in acme.rosterd("explain", gone[0].mail, "--offline").out.splitlines()[0]
