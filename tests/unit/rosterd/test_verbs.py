"""The table of verbs is what the modules really add, and only the module of the asked verb is loaded."""

from __future__ import annotations

import pytest
from typer.main import get_command

from rosterd.cli import VERBS, make, needed


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
