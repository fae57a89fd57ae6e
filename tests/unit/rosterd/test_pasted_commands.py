"""A command that is printed names its admin file and, where there are several organizations, which."""

from __future__ import annotations

import pytest

from rosterd.verbs.pasted import named, of_file


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("  → rosterd sso status", "  → rosterd sso status -o acme"),
        ("next: apply with `rosterd apply --digest 9f3c`", "next: apply with `rosterd apply --digest 9f3c -o acme`"),
        ("rosterd approve 9f, or rosterd explain a@b.example",
         "rosterd approve 9f -o acme, or rosterd explain a@b.example -o acme"),
        ("rosterd plan -o globex", "rosterd plan -o globex"),
        ("rosterd report held --organization globex", "rosterd report held --organization globex"),
        ("then: rosterd serve", "then: rosterd serve"),
        ("rosterd reads one file", "rosterd reads one file"),
        ("see rosterd sso", "see rosterd sso"),
        ("rosterd check --live.", "rosterd check --live."),
        ("rosterd publish.", "rosterd publish -o acme."),
        ("`rosterd apply --digest 9f --only 'a b,c'`", "`rosterd apply --digest 9f --only 'a b,c' -o acme`"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_command_names_its_organization_once(line: str, said: str) -> None:
    assert named(line, "acme") == said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("  → rosterd sso status", "  → rosterd -c 'my etc/rosterd.toml' sso status"),
        ("`rosterd approve 9f`, or rosterd undo 01", "`rosterd -c 'my etc/rosterd.toml' approve 9f`, or "
         "rosterd -c 'my etc/rosterd.toml' undo 01"),
        ("rosterd publish.", "rosterd -c 'my etc/rosterd.toml' publish."),
        ("rosterd -c etc/rosterd.toml check", "rosterd -c etc/rosterd.toml check"),
        ("rosterd --config etc/rosterd.toml check", "rosterd --config etc/rosterd.toml check"),
        ("rosterd init --organization beta", "rosterd init --organization beta"),
        ("rosterd reads one file", "rosterd reads one file"),
        ("rosterd: there is no ledger", "rosterd: there is no ledger"),
    ],
)  # fmt: skip
def test_a_command_names_the_file_that_was_named(line: str, said: str) -> None:
    assert of_file(line, "my etc/rosterd.toml") == said


def test_both_are_named() -> None:
    assert named("rosterd -c etc/rosterd.toml sso status", "acme") == "rosterd -c etc/rosterd.toml sso status -o acme"
