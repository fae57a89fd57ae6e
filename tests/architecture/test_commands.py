"""A command that a message or a document names can be typed: its verb, its second word and its options exist."""

from __future__ import annotations

import ast
import re
import shlex
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


def incomplete(command: str) -> str:
    """What a command lacks, or has too much of, to be run as it stands; empty: nothing. It names an option at most once
    a word, as people write them."""
    words, at = shlex.split(command)[1:], tree()
    while words and (inner := getattr(at, "commands", {}).get(words[0])):
        at, words = inner, words[1:]
    if getattr(at, "commands", None):
        return "" if at.invoke_without_command and set(words) <= {"X"} else f"{command}: no verb"
    options = {name: item for part in (at, tree()) for item in part.params for name in item.opts}
    given: set[str] = set()
    places: list[str] = []
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            places.append(word)
            continue
        found = options.get(word.partition("=")[0])
        if word == "--help":
            return ""
        if found is None:
            return f"{command}: there is no {word}"
        given.add(found.name)
        if not found.is_flag and "=" not in word and words:
            words.pop(0)
    wanted = [item for item in at.params if item.param_type_name == "argument"]
    needed = sum(item.required for item in wanted)
    most = 99 if any(item.nargs < 0 for item in wanted) else len(wanted)
    if len(places) < needed or len([place for place in places if place != "X"]) > most:
        return f"{command}: {len(places)} of {needed} words"
    missing = [item.opts[0] for item in at.params if item.param_type_name == "option" and item.required]
    return "".join(f"{command}: no {name}" for name in missing if options[name].name not in given)


_PLACED = re.compile(r"(?:^|→ |then: |`)(rosterd [a-z][^`\n]*)")
_PROSE = ("and", "or", "then", "shows", "lists", "names", "says", "with", "reads", "tells", "is", "in", "makes",
          "brings", "starts", "writes", "prints")  # fmt: skip
_ENDS = re.compile(r"[;,()`]|\.$|\. |: | → |" + "|".join(f" {word} " for word in _PROSE))


def typed(path: Path) -> list[str]:
    """The commands that a module's messages set apart as something to type, with X where a value stands."""
    tree_of = ast.parse(path.read_text(encoding="utf-8"))
    prose = {id(node.value) for node in ast.walk(tree_of) if isinstance(node, ast.Expr)}  # docstrings
    parts = {id(part) for node in ast.walk(tree_of) if isinstance(node, ast.JoinedStr) for part in node.values}
    found = []
    for node in ast.walk(tree_of):
        if id(node) in prose | parts or not isinstance(node, ast.Constant | ast.JoinedStr):
            continue
        values = [node] if isinstance(node, ast.Constant) else node.values
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in values)
        found += [_ENDS.split(command)[0].strip() for command in _PLACED.findall(text)]
    known = {verb for verbs in VERBS.values() for verb in verbs}
    return [command for command in found if set(command.split()[1:2]) & known]


def test_the_next_command_of_every_error_can_be_run_as_it_stands() -> None:
    found: dict[str, list[str]] = {}
    count = 0
    for room in ROOMS[:5]:
        for path in sorted((ROOT / room).rglob("*.py")):
            commands = typed(path)
            count += len(commands)
            if faults := [fault for fault in map(incomplete, commands) if fault]:
                found[str(path.relative_to(ROOT))] = faults
    assert count > 100
    assert found == {}


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("rosterd approve X", ""),
        ("rosterd approve", "0 of 1 words"),
        ("rosterd approve one two", "2 of 1 words"),
        ("rosterd approve X --sure", "there is no --sure"),
        ("rosterd approve X -o acme --despite-freeze", ""),
        ("rosterd sso", "no verb"),
        ("rosterd rename X --to Y", ""),
        ("rosterd rename X", "no --to"),
    ],
)
def test_a_command_that_cannot_be_run_is_found(command: str, fault: str) -> None:
    assert incomplete(command).removeprefix(f"{command}: ") == fault


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
