"""A command that a message or a document names can be typed: its verb, its second word and its options exist."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from rosterd.cli import VERBS, make

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("access", "connector", "ledger", "reporting_api", "rosterd", "docs", "config", "scripts")
NAMED = re.compile(r"(?<![\w./-])(?<!from )rosterd ((?:[a-z][a-z-]*[ \n]+)*[a-z][a-z-]*)((?:[^\n`\"';,()→]|\\\n)*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
STRICT = {"sso", "sync"}
"""Groups of which every next word is a command; of the others only where the text is set as code."""


@lru_cache
def tree() -> Any:
    """The whole command line."""
    return get_command(make(VERBS))


def written() -> list[Path]:
    """Everything that tells somebody what to type."""
    found = [ROOT / "README.md", ROOT / "CHANGELOG.md"]
    for room in ROOMS:
        found += [path for path in sorted((ROOT / room).rglob("*")) if path.suffix in {".py", ".md", ".toml", ""}]
    return [path for path in found if path.is_file() and "decisions" not in path.parts]


def wrong(text: str) -> list[str]:
    """What of the commands in a text does not exist."""
    found = []
    for match in NAMED.finditer(text):
        words, command, said = match[1].split(), tree(), "rosterd"
        code = text[match.start() - 1 : match.start()] == "`"
        while words and (inner := getattr(command, "commands", {}).get(words[0])):
            command, said = inner, f"{said} {words.pop(0)}"
        if command is tree():
            found += [f"rosterd {words[0]}"] if code else []
            continue
        if getattr(command, "commands", {}) and words and (code or said.split()[1] in STRICT):
            found.append(f"{said} {words[0]}")
        known = {option for part in (command, tree()) for item in part.params for option in item.opts} | {"--help"}
        found += [f"{said} {option}" for option in OPTION.findall(match[2]) if option not in known]
    return found


def test_every_command_that_is_named_exists() -> None:
    found = {
        str(path.relative_to(ROOT)): wrong(path.read_text(encoding="utf-8", errors="replace")) for path in written()
    }
    assert len(found) > 400
    assert {name: commands for name, commands in found.items() if commands} == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rosterd sso add acme.example", []),
        ("then: rosterd sso domain add acme.example", ["rosterd sso domain"]),
        ("rosterd sso release acme.example --yes", []),
        ("rosterd sso release acme.example --sure", ["rosterd sso release --sure"]),
        ("`rosterd reconcile` and `rosterd token make`", ["rosterd reconcile", "rosterd token make"]),
        ("rosterd reads one file", []),
        ("from rosterd import sso", []),
    ],
)
def test_a_command_that_does_not_exist_is_found(text: str, expected: list[str]) -> None:
    assert wrong(text) == expected
