"""Answers of ``rosterd init``: options in, options out, names of groups, ids of mappings, paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.errors import BadInput
from rosterd.first.answers import Answers, ChosenGroup, codes_of, group_name
from rosterd.first.kinds import DirectoryKind

DN = "cn=design,ou=Groups,dc=acme,dc=example"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{DN}=Design:CAD,RENDER", ChosenGroup(DN, "Design", ("CAD", "RENDER"))),
        (f"{DN}=Design", ChosenGroup(DN, "Design")),
        (f"{DN}=:CAD", ChosenGroup(DN, "design", ("CAD",))),
        ("design=Team: Red:CAD", ChosenGroup("design", "Team: Red", ("CAD",))),
        ("anchor:6f1b=Design: CAD , CAD,", ChosenGroup("anchor:6f1b", "Design", ("CAD",))),
    ],
)
def test_a_mapping_is_read_and_written_alike(text: str, expected: ChosenGroup) -> None:
    assert ChosenGroup.parse(text) == expected
    assert ChosenGroup.parse(str(expected)) == expected


@pytest.mark.parametrize("text", ["", "design", "=Design:CAD", DN, "cn=a,b=Design"])
def test_what_names_no_group_and_no_team_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is not GROUP=TEAM"):
        ChosenGroup.parse(text)


@pytest.mark.parametrize(
    ("reference", "name"),
    [(DN, "design"), ("CN=Design Büro,DC=x", "Design Büro"), (r"cn=\C5\BBuraw\2C dźwig,dc=x", "Żuraw, dźwig"),
     (r"cn=a\,b\+c+ou=d,dc=x", "a,b+c"), ("design", "design"), ("anchor:cn=x", "anchor:cn=x")],
)  # fmt: skip
def test_a_group_is_called_by_the_first_value_of_its_dn(reference: str, name: str) -> None:
    assert group_name(reference) == name


@pytest.mark.parametrize(
    ("organization", "kind", "reference"),
    [("acme", DirectoryKind.OPENLDAP, "env:ACME_LDAP_PASSWORD"), ("a-b", DirectoryKind.LATER, "env:A_B_LDAP_PASSWORD"),
     ("3m", DirectoryKind.OPENLDAP, "env:LDAP_PASSWORD_3M"), ("acme", DirectoryKind.SCIM_PULL, "env:ACME_SCIM_TOKEN")],
)  # fmt: skip
def test_a_password_is_looked_for_under_a_name_that_a_shell_takes(
    organization: str, kind: DirectoryKind, reference: str
) -> None:
    assert Answers(organization, kind=kind).password_reference == reference


def test_mappings_of_one_team_and_of_groups_that_are_called_alike(tmp_path: Path) -> None:
    groups = ("cn=Łódź,ou=a,dc=x", "cn=łódź,ou=b,dc=x", "cn=設計,dc=x", "design")
    chosen = tuple(ChosenGroup(group, team) for group, team in zip(groups, ("One", "one", "Two", "ONE"), strict=True))
    answers = Answers(kind=DirectoryKind.LDIF, servers=("people.ldif",), mappings=chosen)
    file = tmp_path / "organizations" / "acme.toml"
    tables = answers.tables(file, tmp_path)
    assert [item["name"] for item in tables["teams"]] == ["One", "Two"]
    shown = [(item["id"], item["team"]) for item in tables["mappings"]]
    assert shown == [("lodz", "One"), ("lodz-2", "One"), ("group", "Two"), ("design", "One")]
    assert answers.faults(lambda _: file, tmp_path) == []


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("people.ldif", "../people.ldif"), ("sub/../people.ldif", "../people.ldif"),
     ("organizations/people.ldif", "people.ldif"), ("/srv/people.ldif", "/srv/people.ldif")],
)  # fmt: skip
def test_a_path_is_meant_from_where_it_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    answers = Answers(kind=DirectoryKind.LDIF, servers=(typed,))
    [directory] = answers.tables(Path("organizations/acme.toml"), Path())["directories"]
    assert directory["file"] == expected


def test_answers_are_given_again_as_options() -> None:
    mappings = (ChosenGroup(DN, "Design", ("CAD",)),)
    servers = ("ldaps://one", "ldaps://two")
    answers = Answers(
        "beta", name="beta", kind=DirectoryKind.OPENLDAP, servers=servers, plaintext=True, mappings=mappings
    )
    expected = [
        "--organization",
        "beta",
        "--directory",
        "openldap",
        "--server",
        "ldaps://one",
        "--server",
        "ldaps://two",
    ]
    assert answers.words() == [*expected, "--plaintext", "--map", f"{DN}=Design:CAD"]


def test_codes_are_told_apart_by_commas() -> None:
    assert codes_of(" CAD, RENDER,,CAD ") == ("CAD", "RENDER")
