"""The table of verbs is what the modules really add, and only the module of the asked verb is loaded."""

from __future__ import annotations

import pytest
from typer.main import get_command

from rosterd.cli import VERBS, in_question, make, needed


@pytest.mark.parametrize("module", sorted(VERBS))
def test_each_module_adds_the_verbs_it_is_listed_with(module: str) -> None:
    command = get_command(make((module,)))
    assert set(command.commands) == set(VERBS[module])  # type: ignore[attr-defined]


def test_only_the_module_of_the_verb_is_needed() -> None:
    assert needed(["--config", "x.toml", "plan", "--json"]) == ("reconcile",)
    assert needed(["-c", "plan", "token", "list"]) == ("tokens",)


def test_help_and_unknown_verbs_need_every_module() -> None:
    assert needed(["--help"]) == tuple(VERBS)
    assert needed(["explode"]) == tuple(VERBS)


def test_completing_needs_the_modules_of_every_verb_that_may_be_meant() -> None:
    assert in_question(["pl"]) == ("reconcile",)
    assert in_question(["s"]) == ("sso.group", "sso.directory_sync", "look.status", "granting", "serving")
    assert in_question(["-c", "x.toml", "import", "us"]) == ("imports", "usage")
    assert in_question([]) == in_question(["--ver"]) == tuple(VERBS)
