"""``rosterd init`` at a terminal: it asks, tries a real directory, shows its groups, and writes what was answered."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts import company, slapd
from tests.parts.installation import run
from tests.parts.terminal import at_a_terminal

FIRM = company.firm(40)


@pytest.fixture(scope="module")
def server() -> Iterator[slapd.Slapd]:
    with slapd.running(FIRM.ldif()) as running:
        yield running


def written(folder: Path, organization: str = "acme") -> dict[str, Any]:
    """The organization's file; the whole configuration passes the check."""
    return tomllib.loads((folder / "organizations" / f"{organization}.toml").read_text(encoding="utf-8"))


def test_every_question_up_to_mapped_groups(
    server: slapd.Slapd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    under = {"ACME_LDAP_PASSWORD": company.PASSWORD}
    with at_a_terminal(["init", "etc"], cwd=tmp_path, under=under) as terminal:
        assert "never changes" in terminal.answer(r"Organization id \[acme\]", "Acme!")
        assert "'Acme!' is no id" in terminal.answer(r"Organization id \[acme\]", "")
        terminal.answer(r"Name \[acme\]", "Acme Sp. z o.o.")
        terminal.answer(r"Mail domain \[acme.example\]", "firma.example")
        kinds = terminal.answer(r"Directory \[later\]", "openldap")
        assert [word for word in ("active-directory", "scim-push", "scim-pull", "ldif", "later") if word in kinds]
        terminal.answer(r"Addresses \[ldaps://ldap.firma.example\]", "server.example")
        assert "is not a server" in terminal.answer("Addresses", server.tls_url)
        terminal.answer(r"Authority \[system\]", str(server.ca))
        terminal.answer(r"Bind DN \[cn=reader,dc=firma,dc=example\]", "")
        why = terminal.answer(r"Password \[env:ACME_LDAP_PASSWORD\]", company.PASSWORD)
        assert "never the password itself" in why
        assert "by reference" in terminal.answer(r"Password \[env:ACME_LDAP_PASSWORD\]", "")
        assert f"The server holds {company.SUFFIX}" in terminal.answer(rf"People base \[{company.PEOPLE}\]", "")
        terminal.answer(rf"Groups base \[{company.GROUPS}\]", "")
        found = terminal.answer(r"Groups \[none\]", "nothing")
        assert "connected, TLS, certificate verified" in found
        assert "the first page shows 40 people, and no more" in found
        assert "design" in found
        assert "10 members" in found
        assert "'nothing' is no group of these" in terminal.answer(r"Groups \[none\]", "/dźwig")
        searched = terminal.answer(r"Groups \[none\]", "design, 8")
        assert "Żuraw, dźwig" in searched
        assert "design" not in searched
        terminal.answer(r"Team \[design\]", "")
        terminal.answer(r"Offering codes, with commas between \[none\]", "CAD,RENDER")
        terminal.answer(r"Team \[Żuraw, dźwig\]", "Cranes")
        terminal.answer(r"Offering codes, with commas between \[none\]", "")
        terminal.answer(r"Primary Admin \[nobody yet\]", "anna")
        assert "is not a mail address" in terminal.answer(r"Primary Admin \[nobody yet\]", "anna@firma.example")
        assert terminal.end() == 0, terminal.shown
    assert company.PASSWORD not in (tmp_path / "etc" / "organizations" / "acme.toml").read_text(encoding="utf-8")
    file = written(tmp_path / "etc")
    assert file["organization"]["name"] == "Acme Sp. z o.o."
    assert file["domains"] == [{"name": "firma.example"}]
    assert {item["primary_admin"] for item in file["teams"]} == {"anna@firma.example"}
    [directory] = file["directories"]
    assert directory["bind_password"] == "env:ACME_LDAP_PASSWORD"
    assert [(item["id"], item["group"], item["team"], item["offerings"]) for item in file["mappings"]] == [
        ("design", company.group_dn("design"), "design", ["CAD", "RENDER"]),
        ("zuraw-dzwig", company.group_dn("Żuraw, dźwig").replace("\\,", "\\2C"), "Cranes", []),
    ]
    assert "  → rosterd -c etc/rosterd.toml check\n" in terminal.shown
    monkeypatch.setenv("ACME_LDAP_PASSWORD", company.PASSWORD)
    checked = run("-c", str(tmp_path / "etc" / "rosterd.toml"), "check")
    assert checked.code == 0, checked.out


def test_what_does_not_answer_is_said_and_asked_again(server: slapd.Slapd, tmp_path: Path) -> None:
    words = ["init", "etc", "-o", "acme", "--name", "A", "--domain", "firma.example", "--directory", "openldap"]
    under = {"ACME_LDAP_PASSWORD": company.PASSWORD}
    with at_a_terminal(words, cwd=tmp_path, under=under) as terminal:
        terminal.answer("Addresses", server.tls_url)
        terminal.answer(r"Authority \[system\]", "")
        terminal.answer("Bind DN", company.READER)
        terminal.answer("Password", "")
        terminal.answer("People base", company.PEOPLE)
        terminal.answer("Groups base", company.GROUPS)
        why = terminal.answer(r"Change an answer and try again\? \[Y/n\]", "")
        assert "the server's certificate is not trusted" in why
        assert "set `tls_ca` to the authority's PEM file" in why
        terminal.answer(rf"Addresses \[{server.tls_url}\]", "")
        terminal.answer(r"Authority \[system\]", str(server.ca))
        terminal.answer(r"Certificate name \[as in the address\]", "")
        terminal.answer(rf"Bind DN \[{company.READER}\]", "")
        terminal.answer("Password", "")
        terminal.answer(rf"People base \[{company.PEOPLE}\]", "")
        terminal.answer("Groups base", "")
        terminal.answer(r"Groups \[none\]", "")
        assert terminal.end() == 0, terminal.shown
    assert written(tmp_path / "etc")["directories"][0]["tls_ca"] == str(server.ca)


def test_a_secret_that_is_not_there_is_named_and_nothing_is_tried(server: slapd.Slapd, tmp_path: Path) -> None:
    words = ["init", "etc", "-o", "acme", "--name", "A", "--domain", "firma.example", "--directory", "openldap",
             "--server", server.url, "--bind-dn", company.READER, "--people-base", company.PEOPLE,
             "--groups-base", company.GROUPS]  # fmt: skip
    with at_a_terminal(words, cwd=tmp_path) as terminal:
        terminal.answer(r"Without TLS \(yes or no\) \[no\]", "yes")
        terminal.answer("Password", "file:etc/secrets/ldap")
        assert terminal.end() == 0, terminal.shown
    assert "Not tried: secret file:" in terminal.shown
    assert "Trying" not in terminal.shown
    [directory] = written(tmp_path / "etc")["directories"]
    assert directory["bind_password"] == "file:../secrets/ldap"
    assert directory["plaintext"] is True


def test_an_ldif_file_shows_its_groups(tmp_path: Path) -> None:
    (tmp_path / "export.ldif").write_text(FIRM.ldif(), encoding="utf-8")
    words = ["init", ".", "-o", "acme", "--name", "A", "--domain", "firma.example", "--directory", "ldif"]
    with at_a_terminal(words, cwd=tmp_path) as terminal:
        terminal.answer(r"File \[people.ldif\]", "export.ldif")
        assert "40 people mapped" in terminal.answer(r"Groups \[none\]", "site")
        terminal.answer(r"Team \[site\]", "Site")
        terminal.answer("Offering codes", "FIELD")
        terminal.answer("Primary Admin", "")
        assert terminal.end() == 0, terminal.shown
    file = written(tmp_path)
    assert file["directories"] == [{"id": "corp", "kind": "ldif", "file": "../export.ldif"}]
    assert "  → rosterd check\n" in terminal.shown


def test_whoever_leaves_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    with at_a_terminal(["init", "etc"], cwd=tmp_path) as terminal:
        terminal.answer("Organization id", "")
        terminal.answer(r"Name \[acme\]", "\x04")
        assert terminal.end() == 130
    assert list(tmp_path.iterdir()) == []


def test_a_second_customer_at_the_terminal(tmp_path: Path) -> None:
    assert run("init", str(tmp_path)).code == 0
    with at_a_terminal(["init", "."], cwd=tmp_path) as terminal:
        assert "There are: acme" in terminal.answer(r"Organization id \[acme\]", "beta")
        terminal.answer(r"Name \[beta\]", "")
        assert "also claimed" not in terminal.answer(r"Mail domain \[beta.example\]", "")
        terminal.answer(r"Directory \[later\]", "")
        assert terminal.end() == 0, terminal.shown
    assert "beta is added beside acme; no other file was changed." in terminal.shown
    assert written(tmp_path, "beta")["organization"]["id"] == "beta"


def test_one_that_is_there_is_not_asked_about(tmp_path: Path) -> None:
    assert run("init", str(tmp_path)).code == 0
    with at_a_terminal(["init", "."], cwd=tmp_path) as terminal:
        terminal.answer(r"Organization id \[acme\]", "")
        assert terminal.end() == 0, terminal.shown
    assert "nothing is missing" in terminal.shown
