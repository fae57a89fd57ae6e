"""docs/guides/files.md is what the code does: its tables are the decoders' own, its example is run as it stands."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connector.usage.formats.columns import Column
from connector.usage.formats.text import SEPARATORS
from rosterd.templates import columns_of
from tests.parts.enabled import enable_sync
from tests.parts.installation import Installation

PAGE = (Path(__file__).parents[3] / "docs" / "guides" / "files.md").read_text(encoding="utf-8")
INTAKE = (Path(__file__).parents[3] / "docs" / "guides" / "usage-intake.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VARIES = (
    (r"\b[0-9a-f]{32}\b", "ID"),
    (r"\b[0-9a-f]{12}\b", "DIGEST"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "INSTANT"),
    (r"\d{4}-\d\d-\d\d", "DAY"),
    (r" +", " "),
)


def row(column: Column) -> str:
    return f"| `{column.name}` | {'yes' if column.needed else ''} | {column.holds} | {column.about} |"


@pytest.mark.parametrize("what", ["offerings", "subscriptions", "usage"])
def test_the_tables_of_the_page_are_those_of_the_decoders(what: str) -> None:
    section = PAGE.split(f"\n## {what.title()}\n")[1].split("\n## ")[0]
    told = [line for line in section.splitlines() if line.startswith("| `")]
    assert told == [row(column) for column in columns_of(what)]


def test_the_page_of_usage_says_the_same() -> None:
    for column in columns_of("usage"):
        assert (
            f"| `{column.name}` | {'yes' if column.needed else ''} | {column.holds} |".replace("|  |", "| |") in INTAKE
        )


def test_the_page_names_every_separator() -> None:
    for name in SEPARATORS:
        assert f"{name}s" in PAGE


def blocks() -> dict[str, list[str]]:
    """Language → the fenced blocks of the worked example."""
    found: dict[str, list[str]] = {}
    for language, text in _BLOCK.findall(PAGE.split("## A worked example")[1]):
        found.setdefault(language, []).append(text)
    return found


def same(text: str) -> str:
    """Text without what differs from day to day."""
    for pattern, word in _VARIES:
        text = re.sub(pattern, word, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def test_the_worked_example_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    acme = Installation.make(tmp_path / "etc")
    monkeypatch.chdir(acme.folder)
    found = blocks()
    year = datetime.now(UTC).year
    acme.organization.write_text(found["toml"][0], encoding="utf-8")
    (acme.folder / "organizations" / "people.ldif").write_text(found["ldif"][0], encoding="utf-8")
    for name, text in zip(("offerings.csv", "subscriptions.csv"), found["csv"], strict=True):
        of_today = text.replace("2027-", f"{year + 1}-").replace("2026-", f"{year}-")
        (acme.folder / name).write_text(of_today, encoding="utf-8")
    Path("usage.csv").write_text(acme.rosterd("import", "usage", "--template").out, encoding="utf-8")
    said, digest = [], ""
    for number, block in enumerate(found["console"]):
        if number == 2:
            enable_sync(acme)
        lines = []
        for command in re.findall(r"^\$ rosterd (.*)$", block, re.MULTILINE):
            answer = acme.rosterd(*shlex.split(re.sub(r"\b[0-9a-f]{12}\b", digest, command)))
            digest = next(iter(re.findall(r"--digest (\w+)", answer.out)), digest)
            lines += [f"$ rosterd {command}", answer.out + answer.err]
        said.append("\n".join(line.rstrip("\n") for line in lines if line))
    assert [same(text) for text in said] == [same(block) for block in found["console"]], "\n\n".join(said)
