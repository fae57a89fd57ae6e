"""Where an installation has several organizations, a command that is printed says which."""

from __future__ import annotations

import pytest

from rosterd.verbs.several import named


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
        ("", ""),
    ],
)  # fmt: skip
def test_a_command_names_its_organization_once(line: str, said: str) -> None:
    assert named(line, "acme") == said
